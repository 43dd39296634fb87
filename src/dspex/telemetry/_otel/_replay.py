"""Spans that a worker made, made again in this process' provider: with their own ids, below their own parents, at their own times."""

from __future__ import annotations

import sys
from copy import copy
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.context import Context

from ..._version import __version__
from . import _names

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext, TracerProvider
    from opentelemetry.util.types import Attributes

    from ._worker_spans import WorkerSpan

MAX_SCOPES: Final = 64
"""Instrumentation scopes that workers may name: a provider keeps each for ever. Spans of those on top are told as ours."""

_OURS: Final = (_names.SCOPE, __version__)
_KINDS: Final = {kind.value: kind for kind in trace.SpanKind}
_STATUS: Final = {code.value: code for code in trace.StatusCode}


class _GivenId:
    """An id generator that hands out one span id, which there is already. The trace's follows from the parent."""

    __slots__ = ("_span_id", "_usual")

    def __init__(self, span_id: int, usual: Any) -> None:
        self._span_id = span_id
        self._usual = usual

    def generate_span_id(self) -> int:
        return self._span_id

    def generate_trace_id(self) -> int:
        return int(self._usual.generate_trace_id())

    def is_trace_id_random(self) -> bool:
        return bool(self._usual.is_trace_id_random())


def below(parent: SpanContext) -> Context:
    """A context in which nothing but the span *parent* is current."""
    return trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())


class Replay:
    """
    Makes spans again in one provider.

    With the SDK's tracers, or others that have an ``id_generator``, ids are kept. With those of another kind a span gets a new id, and what
    is below it is made below that.
    """

    def __init__(self, provider: TracerProvider | None) -> None:
        self._provider = provider
        self._tracers: dict[tuple[str, str], Any] = {}

    def make(
        self, span: WorkerSpan, parent: SpanContext, *, name: str = "", kind: int | None = None, attributes: Attributes = None
    ) -> SpanContext:
        """Makes *span* below *parent*, with *attributes* on top of its own, and gives what it is now."""
        made: Span = self._tracer(span).start_span(
            name or span.name,
            below(parent),
            _KINDS[span.kind if kind is None else kind],
            {**span.attributes, **(attributes or {})},
            start_time=span.start,
        )
        for event in span.events:
            made.add_event(event.name, event.attributes, event.at)

        if span.status:
            code = _STATUS[span.status]
            made.set_status(trace.Status(code, span.description if code is trace.StatusCode.ERROR else None))

        made.end(span.end)
        return made.get_span_context()

    def _tracer(self, span: WorkerSpan) -> Any:
        tracer: Any = self._tracer_of(span.scope, span.version)
        if not hasattr(tracer, "id_generator"):
            return tracer

        # The provider's own goes on as it is: the program's spans in this process may be made with it.
        mine: Any = copy(tracer)
        mine.id_generator = _GivenId(span.span_id, tracer.id_generator)
        sampler = _always_on()
        if sampler is not None and hasattr(tracer, "sampler"):
            mine.sampler = sampler  # that was decided when the call began

        return mine

    def _tracer_of(self, scope: str, version: str) -> Any:
        named = (scope, version)
        if not scope or (named not in self._tracers and len(self._tracers) > MAX_SCOPES):
            named = _OURS

        tracer = self._tracers.get(named)
        if tracer is None:
            tracer = self._tracers[named] = trace.get_tracer(*named, tracer_provider=self._provider)

        return tracer


def _always_on() -> Any:
    # Where a tracer has a sampler to replace, it is the SDK's, or a likeness of it.
    return getattr(sys.modules.get("opentelemetry.sdk.trace.sampling"), "ALWAYS_ON", None)
