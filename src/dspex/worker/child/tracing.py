"""
A traced call in a worker: the worker's own span of it, and those that the program makes itself through OpenTelemetry.

They go back to the host as plain data, with the end of the call, and are exported there: a worker needs neither OpenTelemetry nor an
exporter. Where the program's own code has imported OpenTelemetry, the call's span is its current one; see `otel`.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Dict, List, Mapping, Optional

from ...wire import Unencodable, codec

API = "opentelemetry.trace"

MAX_SPANS = 256
"""Spans of one call that travel, the worker's own not counted. What comes on top is counted only."""

MAX_BYTES = 131_072
"""Bytes of them, encoded."""

MAX_ATTRIBUTES = 32
MAX_EVENTS = 32
MAX_ELEMENTS = 32
"""Elements of an attribute that is a sequence."""

MAX_TEXT = 1024
"""Characters of a text."""

UNSET, ERROR = 0, 2
"""How a span went, as OpenTelemetry numbers it. 1 is for programs that say of themselves that all is well."""


def traced(meta: Mapping[str, Any]) -> Optional[Trace]:
    """The trace of the call whose facts are *meta*; None if its traceparent is none we know."""
    parts = str(meta["traceparent"]).split("-")
    return Trace(parts[1], parts[2], parts[3], str(meta.get("tracestate") or "")) if len(parts) == 4 else None


class Trace:
    """
    What is recorded of one call.

    Attributes:
        trace_id: as 32 hexadecimal digits, the host's.
        span_id: as 16, of the worker's own span.
        flags: the host's.
        state: the host's ``tracestate``, or nothing.
        attributes: what the program has said of the span it found itself in.
        over: whether the call has ended: what ends later is lost.

    """

    def __init__(self, trace_id: str, parent_id: str, flags: str, state: str) -> None:
        self.trace_id: str = trace_id
        self.span_id: str = os.urandom(8).hex()
        self.flags: str = flags
        self.state: str = state
        self.attributes: Dict[str, Any] = {}
        self.status: List[Any] = [UNSET, ""]
        self.over: bool = False
        self._parent_id = parent_id
        self._events: List[List[Any]] = []
        self._spans: List[Dict[str, Any]] = []
        self._unsent = 0
        self._began = time.time_ns()
        self._clock = time.perf_counter_ns()
        self._ended: Optional[int] = None

    # --- the program runs --------------------------------------------------------------------------------------------------------

    @staticmethod
    def unprepared() -> bool:
        """Whether there is something to `prepare`."""
        if API not in sys.modules:
            return False

        from . import otel

        return not otel.prepared

    @classmethod
    def prepare(cls) -> None:
        """Sees to it that the spans that programs make are collected, if this process has what it takes."""
        if cls.unprepared():
            from . import otel

            _carefully(otel.prepare)

    def enter(self) -> None:
        """Makes the worker's span the current one of the running context, for a program that knows OpenTelemetry."""
        if API in sys.modules:
            from . import otel

            _carefully(otel.enter, self)

    def here(self) -> str:
        """The span that the program is in, as a traceparent."""
        found = None
        if API in sys.modules:
            from . import otel

            found = _carefully(otel.current_span_id, self)

        return f"00-{self.trace_id}-{found or self.span_id}-{self.flags}"

    def event(self, name: str, at: Optional[int], attributes: Any) -> None:
        """Something happened during the call. *at* is Unix time in nanoseconds."""
        if len(self._events) < MAX_EVENTS:
            self._events.append([name[:MAX_TEXT], self._now() if at is None else at, plain(attributes)])

    def take(self, span: Dict[str, Any]) -> None:
        """A span of the program's has ended."""
        if len(self._spans) < MAX_SPANS and not self.over:
            self._spans.append(span)
        else:
            self._unsent += 1

    def _now(self) -> int:
        # Whatever becomes of the clock on the wall: nothing ends before it began.
        return self._began + time.perf_counter_ns() - self._clock

    # --- its end -----------------------------------------------------------------------------------------------------------------

    def fail(self, failed: Any) -> None:
        """The call ends with the `Error` *failed*."""
        facts = failed.facts
        kind = str(facts.get("type") or "") if failed.code == "ProgramFailed" else f"dspex.{failed.code}"
        message = str(facts.get("message") or "") if failed.code == "ProgramFailed" else failed.sentence
        kind = kind.removeprefix("builtins.").replace("dspex._exceptions.", "dspex.", 1)
        self.status = [ERROR, message[:MAX_TEXT]]
        self.attributes["error.type"] = kind[:MAX_TEXT]
        self.event("exception", None, {"exception.type": kind, "exception.message": message})

    def told(self) -> Dict[str, Any]:
        """What the host is told with the end of the call."""
        if self._ended is None:
            self._ended = self._now()

        self.over = True
        rows, size = [self._own()], 0
        for span in self._spans:
            row = _encoded(span)
            size += MAX_BYTES if row is None else len(row)
            if row is not None and size <= MAX_BYTES:
                rows.append(row)

        return {"spans": codec.encode(rows), "unsent": self._unsent + len(self._spans) + 1 - len(rows)}

    def _own(self) -> bytes:
        span = {
            "trace": self.trace_id,
            "span": self.span_id,
            "parent": self._parent_id,
            "name": "dspex.run",
            "start": self._began,
            "end": self._ended,
            "attributes": plain(self.attributes),
            "events": self._events,
            "status": self.status,
        }
        row = _encoded(span)
        return row if row is not None and len(row) <= MAX_BYTES else codec.encode({**span, "attributes": {}, "events": []})


def plain(attributes: Any) -> Dict[str, Any]:
    """*attributes* as data: what OpenTelemetry knows as values of attributes, not too many, and not too long."""
    taken: Dict[str, Any] = {}
    for key, value in dict(attributes or {}).items():
        if len(taken) < MAX_ATTRIBUTES and isinstance(key, str):
            found = _value(value)
            if found is not None:
                taken[str.__str__(key)[:MAX_TEXT]] = found

    return taken


def _value(value: Any) -> Any:
    if type(value) in (list, tuple):
        elements = [_scalar(element) for element in value[:MAX_ELEMENTS]]
        return [element for element in elements if element is not None]

    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return str.__str__(value)[:MAX_TEXT]

    if type(value) is int:
        return value if -(1 << 63) <= value < 1 << 63 else None

    return value if type(value) in (bool, float) else None


def _encoded(span: Dict[str, Any]) -> Optional[bytes]:
    try:
        return codec.encode(span)
    except Unencodable:
        return None


def _carefully(do: Any, *args: Any) -> Any:
    """What another library makes of it, in whichever version the program brings, is no reason for a call to fail."""
    try:
        return do(*args)
    except Exception:
        return None
