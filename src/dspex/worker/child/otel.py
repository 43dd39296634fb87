"""
A traced call for a program that has imported OpenTelemetry: the worker's span is its current one, and its own spans are collected.

OpenTelemetry is reached through `sys.modules` only: nothing of it is loaded unless the program's own code has loaded its API. Of the SDK
what collects is loaded then, if it is there and nobody has set a tracer provider in this process. With a provider of its own a program
exports by itself, below the same span.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import threading
import weakref
from typing import Any, Dict, Optional

from .tracing import API, ERROR, MAX_ATTRIBUTES, MAX_EVENTS, MAX_TEXT, UNSET, Trace, plain

KEY = "dspex-call"
"""What a call's `Trace` is called in an OpenTelemetry context. Whatever is made below the call's span has it too."""

MAX_OPEN = 4096
"""Spans that have begun and not ended, of all calls. Of those on top nothing is told."""

prepared: bool = False
"""Whether it was looked for the SDK."""

_preparing = threading.Lock()


def prepare() -> None:
    """Gives the process a provider that collects, if it has none and can have one."""
    global prepared
    with _preparing:
        if not prepared:
            try:
                _provide()
            finally:
                prepared = True


def _provide() -> None:
    trace = sys.modules[API]
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return

    try:
        sdk, sampling, ids, resources = map(importlib.import_module, _SDK)
    except ImportError:
        return

    provider = sdk.TracerProvider(
        sampler=sampling.ParentBased(sampling.ALWAYS_OFF),  # outside of a traced call nobody wants to know
        resource=resources.Resource.get_empty(),  # the host's holds
        shutdown_on_exit=False,
        id_generator=type("Ids", (_Ids, ids.IdGenerator), {})(),
        span_limits=sdk.SpanLimits(max_attributes=MAX_ATTRIBUTES, max_events=MAX_EVENTS, max_attribute_length=MAX_TEXT),
    )
    provider.add_span_processor(type("Collector", (_Collector, sdk.SpanProcessor), {})())
    trace.set_tracer_provider(provider)


_SDK = (
    "opentelemetry.sdk.trace",
    "opentelemetry.sdk.trace.sampling",
    "opentelemetry.sdk.trace.id_generator",
    "opentelemetry.sdk.resources",
)


class _Ids:
    """Ids from the system: programs seed `random`, and those of two workers would be the same."""

    def generate_span_id(self) -> int:
        return int.from_bytes(os.urandom(8), "big") or 1

    def generate_trace_id(self) -> int:
        return int.from_bytes(os.urandom(16), "big") or 1

    def is_trace_id_random(self) -> bool:
        return True


class _Collector:
    """Hands each span that ends to the call it was made in. Called in any thread of the program."""

    def __init__(self) -> None:
        # Weakly: a span that never ends would keep all that its call has told.
        self._owners: weakref.WeakValueDictionary[int, Trace] = weakref.WeakValueDictionary()

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        owner = _owner(parent_context) or _owner(None)
        context = span.get_span_context()
        if owner is None or owner.over or context.trace_id != int(owner.trace_id, 16):
            return

        if len(self._owners) >= MAX_OPEN:
            self._forget_those_of_ended_calls()

        if len(self._owners) < MAX_OPEN:
            self._owners[context.span_id] = owner

    def on_end(self, span: Any) -> None:
        owner = self._owners.pop(span.get_span_context().span_id, None)
        if owner is not None:
            owner.take(_told(span))

    def _forget_those_of_ended_calls(self) -> None:
        # They never ended their spans.
        for span_id, owner in list(self._owners.items()):
            if owner.over:
                self._owners.pop(span_id, None)


def _owner(context: Any) -> Optional[Trace]:
    owner: Optional[Trace] = sys.modules["opentelemetry.context"].get_value(KEY, context)
    return owner


def _told(span: Any) -> Dict[str, Any]:
    context, scope = span.get_span_context(), span.instrumentation_scope
    return {
        "trace": f"{context.trace_id:032x}",
        "span": f"{context.span_id:016x}",
        "parent": None if span.parent is None else f"{span.parent.span_id:016x}",
        "name": str(span.name)[:MAX_TEXT],
        "kind": span.kind.value,
        "start": span.start_time,
        "end": span.end_time,
        "attributes": plain(span.attributes),
        "events": [[str(event.name)[:MAX_TEXT], event.timestamp, plain(event.attributes)] for event in span.events[:MAX_EVENTS]],
        "status": [span.status.status_code.value, str(span.status.description or "")[:MAX_TEXT]],
        "scope": ["", ""] if scope is None else [str(scope.name)[:MAX_TEXT], str(scope.version or "")[:MAX_TEXT]],
    }


def enter(call: Trace) -> None:
    """Makes the span of *call* the current one of the running context, which is the call's own: nobody has to leave it."""
    trace, context = sys.modules[API], sys.modules["opentelemetry.context"]
    span_context = trace.SpanContext(
        int(call.trace_id, 16),
        int(call.span_id, 16),
        is_remote=False,
        trace_flags=trace.TraceFlags(int(call.flags, 16)),
        trace_state=trace.TraceState.from_header([call.state]) if call.state else None,
    )
    span = _run_class()(call, span_context)
    context.attach(context.set_value(KEY, call, trace.set_span_in_context(span)))


@functools.lru_cache(maxsize=1)
def _run_class() -> Any:
    return type("Run", (_Run, sys.modules[API].Span), {})


class _Run:
    """The worker's span, as the program sees it: it may say what it likes of it, and the worker ends it."""

    def __init__(self, call: Trace, context: Any) -> None:
        self._call = call
        self._context = context

    def get_span_context(self) -> Any:
        return self._context

    def is_recording(self) -> bool:
        return not self._call.over

    def set_attribute(self, key: str, value: Any) -> None:
        if len(self._call.attributes) < MAX_ATTRIBUTES:
            self._call.attributes.update(plain({key: value}))

    def set_attributes(self, attributes: Any) -> None:
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Any = None, timestamp: Optional[int] = None) -> None:
        self._call.event(str(name), timestamp, attributes)

    def add_link(self, context: Any, attributes: Any = None) -> None:
        """Links don't travel."""

    def record_exception(
        self, exception: BaseException, attributes: Any = None, timestamp: Optional[int] = None, escaped: bool = False
    ) -> None:
        told = {"exception.type": type(exception).__qualname__, "exception.message": str(exception)}
        self._call.event("exception", timestamp, {**told, **(attributes or {})})

    def set_status(self, status: Any, description: Optional[str] = None) -> None:
        code = getattr(status, "status_code", status).value
        told = getattr(status, "description", description) if code == ERROR else ""
        self._call.status = [code if code in (UNSET, 1, ERROR) else UNSET, str(told or "")[:MAX_TEXT]]

    def update_name(self, name: str) -> None:
        """What it is called is the host's business."""

    def end(self, end_time: Optional[int] = None) -> None:
        """It ends with the call."""


def current_span_id(call: Trace) -> Optional[str]:
    """The id of the span that the running code is in; None if that isn't of *call*."""
    context = sys.modules[API].get_current_span().get_span_context()
    return f"{context.span_id:016x}" if context.is_valid and f"{context.trace_id:032x}" == call.trace_id else None
