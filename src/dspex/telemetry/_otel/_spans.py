"""
The tracer: `dspex.call`, with what the worker tells of it below, `dspex.switch` and `dspex.restart`.

What a provider's own parts raise, a processor or a sampler, is logged once. It never gets into a call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from ..._version import __version__
from .._hooks import Subscription, subscribe
from .._tracing import TRACING
from . import _names
from ._names import error_message, error_type
from ._replay import Replay, below
from ._restarts import Restarts
from ._worker_spans import ordered, parse_parent, parse_span

if TYPE_CHECKING:
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext, TracerProvider

    from .._records import SwitchStep
    from ._worker_spans import WorkerSpan

SLICE: Final = 32
"""Spans that are made in one step of the loop: half a millisecond's worth, with a processor that is quick."""

MAX_TEXT: Final = 1024
"""Characters of a description or a message."""

MAX_INT: Final = (1 << 63) - 1
"""The largest number that can be exported."""

MAX_TRACESTATE: Final = 512
"""Characters of a ``tracestate`` that travels. A longer one stays at home."""

_CLIENT, _SERVER = SpanKind.CLIENT, SpanKind.SERVER.value
_OF_STEPS: Final = {name: event.name for name, event in _names.STEPS.items()}

log = logging.getLogger(__name__)


class Care:
    """A block that lets no failure of a provider's parts out."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False

        if not self._told:
            self._told = True
            facts = {"dspex_error": type(error).__name__}
            log.error("A span could not be told; of further failures nothing is said", exc_info=error, extra=facts)

        return True


class Spans:
    """
    Spans of what happens, through *provider*, or through OpenTelemetry's global one.

    Args:
        provider: where they go.
        operations_per_call: how many operations of a call get spans of their own; the others are counted.

    """

    def __init__(self, provider: TracerProvider | None, *, operations_per_call: int) -> None:
        self.care: Care = Care()
        self.operations_per_call: int = operations_per_call
        self.replay: Replay = Replay(provider)
        self._provider = provider
        self.tracer: trace.Tracer = trace.get_tracer(_names.SCOPE, __version__, provider)
        self._listening: Subscription | None = None

    def install(self) -> None:
        """Traces from now on."""
        from .._records import ChildChanged

        self._listening = subscribe(Restarts(lambda: self.tracer), only=ChildChanged)
        TRACING.tracer = self

    def remove(self) -> None:
        """Begins no more. What has begun still ends. Idempotent."""
        if TRACING.tracer is self:
            TRACING.tracer = None

        if self._listening is not None:
            self._listening.unsubscribe()

    def call(self, context_id: str, program_id: str, *, where: str, pool: str | None) -> CallSpan | None:
        """See `Tracer.call`."""
        about = {_names.CONTEXT: context_id, _names.PROGRAM: program_id}
        if pool is not None:
            about[_names.POOL] = pool

        kind = SpanKind.INTERNAL if pool is None else _CLIENT
        with self.care:
            span = self.tracer.start_span(_names.CALL.name, kind=kind, attributes={**about, _names.PROGRAM_WHERE: where})
            return CallSpan(self, span, about) if span.get_span_context().is_valid else None

        return None

    def switch(self, context_id: str) -> SwitchSpan:
        """See `Tracer.switch`."""
        return SwitchSpan(self, context_id)


class CallSpan:
    """One call. See `CallTrace`."""

    __slots__ = ("_about", "_context", "_kept", "_lost", "_operations", "_pid", "_span", "_spans", "_token", "_unrecorded")

    def __init__(self, spans: Spans, span: Span, about: dict[str, str]) -> None:
        self._spans = spans
        self._span = span
        self._about = about
        self._context: SpanContext = span.get_span_context()
        self._token: Any = otel.attach(trace.set_span_in_context(span))
        self._operations: list[tuple[str, str | None, int, int, BaseException | None]] = []
        self._kept = self._unrecorded = self._lost = 0
        self._pid: int | None = None

    def carrier(self) -> Mapping[str, str]:
        """See `CallTrace.carrier`."""
        context = self._context
        if not context.trace_flags.sampled or not self._span.is_recording():
            return {}

        parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        state = context.trace_state.to_header()
        return {"traceparent": parent, "tracestate": state} if 0 < len(state) <= MAX_TRACESTATE else {"traceparent": parent}

    def placed(self, pid: int | None, queued: float) -> None:
        """See `CallTrace.placed`."""
        self._pid = pid
        with self._spans.care:
            self._span.set_attribute(_names.PROGRAM_QUEUED, queued)
            if pid is not None:
                self._span.set_attribute(_names.WORKER, pid)

    def operated(self, operation: str, variable: str | None, began_ns: int, ended_ns: int, error: BaseException | None) -> None:
        """See `CallTrace.operated`. The span that it goes below is told when the worker has ended it."""
        if self._kept >= self._spans.operations_per_call:
            self._unrecorded += 1
            return

        self._kept += 1
        self._operations.append((operation, variable, began_ns, ended_ns, error))

    def below(self, parent: str) -> None:
        """See `CallTrace.below`. The running task has a context of its own, which ends with it."""
        span_id = parse_parent(parent, self._context.trace_id)
        if span_id is None:
            self._lost += 1
            return

        otel.attach(trace.set_span_in_context(trace.NonRecordingSpan(_sibling(self._context, span_id))))

    def told(self, spans: Sequence[Any], lost: int) -> Iterator[None]:
        """See `CallTrace.told`."""
        self._lost += lost
        with self._spans.care:
            root, root_id = self._context, self._context.span_id
            own = parse_span(spans[0], root.trace_id) if spans else None
            if own is not None and own.parent_id == root_id != own.span_id:
                about: dict[str, str | int] = {**self._about, **({} if self._pid is None else {_names.PROCESS: self._pid})}
                root_id = own.span_id
                root = self._spans.replay.make(own, root, name=_names.RUN.name, kind=_SERVER, attributes=about)

            elif spans:
                self._lost += 1

            yield from self._make_spans(spans[1:], root, root_id)
            yield from self._make_operations(root)

    def _make_spans(self, rows: Sequence[Any], root: SpanContext, root_id: int) -> Iterator[None]:
        """Makes the program's spans below *root*, whose id is *root_id* in the worker."""
        spans: list[WorkerSpan] = []
        for number, row in enumerate(rows, 1):
            span = parse_span(row, root.trace_id)
            if span is not None:
                spans.append(span)

            if not number % SLICE:
                yield

        found = ordered(spans, root_id, self._context.span_id)
        self._lost += len(rows) - len(found)
        made = {root_id: root}
        for number, (span, parent) in enumerate(found, 1):
            made[span.span_id] = self._spans.replay.make(span, made[parent])
            if not number % SLICE:
                yield

    def _make_operations(self, root: SpanContext) -> Iterator[None]:
        done, self._operations = self._operations, []
        parent = below(root)
        for number, (operation, variable, began, ended, error) in enumerate(done, 1):
            self._make_operation(parent, operation, variable, error, began)(ended)
            if not number % SLICE:
                yield

    def _make_operation(
        self, parent: Context, operation: str, variable: str | None, error: BaseException | None, began: int
    ) -> Callable[[int], None]:
        attributes = {_names.CONTEXT: self._about[_names.CONTEXT], _names.OPERATION: operation}
        if variable is not None:
            attributes[_names.VARIABLE] = variable

        span = self._spans.tracer.start_span(_names.VARIABLE_OPERATION.name, parent, attributes=attributes, start_time=began)
        if error is not None:
            _set_error(span, error)

        return span.end

    def ended(self, outcome: str, error: BaseException | None, usage: Mapping[str, Any]) -> None:
        """See `CallTrace.ended`."""
        otel.detach(self._token)
        span = self._span
        with self._spans.care:
            span.set_attribute(_names.PROGRAM_OUTCOME, outcome)
            span.set_attributes(_of_usage(usage))
            for name, number in ((_names.UNRECORDED, self._unrecorded), (_names.SPANS_LOST, self._lost)):
                if number:
                    span.set_attribute(name, number)

            if isinstance(error, Exception):
                _set_error(span, error)
                about = {_names.EXCEPTION_TYPE: error_type(error), _names.EXCEPTION_MESSAGE: error_message(error)[:MAX_TEXT]}
                span.add_event(_names.EXCEPTION.name, about)
            elif outcome == "timeout":
                span.set_attribute(_names.ERROR_TYPE, outcome)
                span.set_status(Status(StatusCode.ERROR, "Its caller's deadline has passed"))

        with self._spans.care:
            span.end()


def _sibling(context: SpanContext, span_id: int) -> SpanContext:
    """Another span of the same trace, of which nothing else is known."""
    return trace.SpanContext(context.trace_id, span_id, is_remote=True, trace_flags=context.trace_flags, trace_state=context.trace_state)


def _set_error(span: Span, error: BaseException) -> None:
    span.set_attribute(_names.ERROR_TYPE, error_type(error))
    span.set_status(Status(StatusCode.ERROR, error_message(error)[:MAX_TEXT]))


def _of_usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """What OpenTelemetry has words for of what language models counted."""
    models = [str(model)[:MAX_TEXT] for model in usage]
    attributes: dict[str, Any] = {_names.MODEL: models[0]} if len(models) == 1 else {}
    for attribute, words in _TOKENS.items():
        counts = [count for counted in usage.values() if (count := _count(counted, words)) is not None]
        if counts:
            attributes[attribute] = min(sum(counts), MAX_INT)

    return attributes


_TOKENS: Final = {_names.INPUT_TOKENS: ("prompt_tokens", "input_tokens"), _names.OUTPUT_TOKENS: ("completion_tokens", "output_tokens")}


def _count(counted: Any, words: Sequence[str]) -> int | None:
    found = (counted.get(word) for word in words if hasattr(counted, "get"))
    return next((count for count in found if type(count) is int and 0 <= count <= MAX_INT), None)


class SwitchSpan:
    """One switch. See `SwitchTrace`. Its span is made when it has ended: often there was nothing to do."""

    __slots__ = ("_above", "_began", "_context_id", "_spans")

    def __init__(self, spans: Spans, context_id: str) -> None:
        self._spans = spans
        self._context_id = context_id
        self._above = otel.get_current()
        self._began = time_ns()

    def ended(self, steps: Sequence[SwitchStep], error: BaseException | None, *, switched: bool) -> None:
        """See `SwitchTrace.ended`."""
        if not steps and error is None:
            return

        about = {_names.CONTEXT: self._context_id, _names.SWITCH_OUTCOME: "switched" if switched else "rolled back"}
        with self._spans.care:
            span = self._spans.tracer.start_span(_names.SWITCH.name, self._above, attributes=about, start_time=self._began)
            for step in steps:
                told = {_names.STEP_DURATION: step.seconds, _names.STEP_OK: step.ok}
                span.add_event(_OF_STEPS[step.name], told, int(step.at * 1e9))

            if error is not None:
                _set_error(span, error)

            span.end()
