"""
The OpenTelemetry sink: spans and metrics of what happens, through the providers of whoever runs this.

Only OpenTelemetry's API is needed here. Without its SDK, and a provider made with it, nothing comes of what is told.
"""

# _names.py          every span, event, metric and attribute, in tables
# _metrics.py        the instruments: what is recorded when it happens
# _reading.py        what is read from living things when a reader collects; _outlet.py: how it gets to the instruments
# _sampling.py       which operations are timed, and when; _few.py: attributes that have few values
# _spans.py          the tracer; _restarts.py: spans that are made of records
# _worker_spans.py   what workers tell of their spans; _replay.py: how it becomes spans here

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from ._metrics import Meters
from ._spans import Spans

if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Self

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

_lock = threading.Lock()
_current: Instrumentation | None = None


class Instrumentation:
    """
    Spans and metrics are told, until `uninstrument`. As a context manager, as long as the block runs.

    Attributes:
        active: whether they are told.
        by: where it was asked for: ``"app.py:12"``.

    """

    __slots__ = ("_meters", "_spans", "active", "by")

    def __init__(self, spans: Spans, meters: Meters, by: str) -> None:
        self.active: bool = False
        self.by: str = by
        self._spans = spans
        self._meters = meters

    def __repr__(self) -> str:
        return f"<Instrumentation by {self.by} [{'active' if self.active else 'ended'}]>"

    def uninstrument(self) -> None:
        """Tells no more, and leaves nothing behind: no hook, no tracer, and what a reader still asks yields nothing. Idempotent."""
        global _current
        with _lock:
            if not self.active:
                return

            self.active = False
            _current = None
            self._remove()

    def install(self) -> None:
        """Begins to tell. All of it, or nothing."""
        try:
            self._spans.install()
            self._meters.install()
        except BaseException:
            self._remove()
            raise

        self.active = True

    def _remove(self) -> None:
        self._meters.remove()
        self._spans.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.uninstrument()


def instrument(
    *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None, operations_per_call: int = 128
) -> Instrumentation:
    """
    Has what happens told to OpenTelemetry: spans of switches, calls and restarts, and metrics.

    ::

        telemetry.instrument()  # the providers that OpenTelemetry has been given, now or later

    docs/telemetry.md has the tables of all that is told. While no span is recorded and no reader collects it costs next to nothing.

    Args:
        tracer_provider: where spans go; OpenTelemetry's global one unless told.
        meter_provider: where metrics go; OpenTelemetry's global one unless told.
        operations_per_call: how many operations of a call are told as spans below it; of the others only their number is.

    Returns:
        What ends it: ``uninstrument()``, or the end of a ``with`` block.

    Raises:
        RuntimeError: it is on already; says since where.
        ValueError: *operations_per_call* is negative.
        TypeError: it is no integer.

    """
    global _current
    _check_operations_per_call(operations_per_call)
    by = _place(sys._getframe(1))
    with _lock:
        if _current is not None:
            raise RuntimeError(
                f"dspex is instrumented already, by {_current.by}. Call uninstrument() on what instrument() returned there first."
            )

        made = Instrumentation(Spans(tracer_provider, operations_per_call=operations_per_call), Meters(meter_provider), by)
        made.install()
        _current = made
        return made


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _check_operations_per_call(number: object) -> None:
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"operations_per_call: expected a number of operations, got {number!r}")

    if number < 0:
        raise ValueError(f"operations_per_call: expected at least 0, got {number}")
