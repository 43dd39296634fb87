"""
What happened, told as frozen records to whoever listens, and through OpenTelemetry.

::

    from dspex import telemetry

    with telemetry.subscribe(print, only=[telemetry.BackendSwitched, telemetry.WorkerEnded]):
        ...

    telemetry.instrument()  # spans and metrics, through the providers that OpenTelemetry has been given
"""

# _records.py   what happened: one frozen class a kind
# _hooks.py     who listens to which; what a place that tells asks first
# _live.py      what lives now, for whoever counts or draws it
# _tracing.py   what a tracer is asked, at the few places where a span begins before its end is known
# _otel/        the OpenTelemetry sink, loaded by instrument()

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._hooks import Subscription as Subscription, subscribe as subscribe

if TYPE_CHECKING:
    from ._otel import Instrumentation as Instrumentation, instrument as instrument
    from ._records import (
        BackendSwitched as BackendSwitched,
        ChildChanged as ChildChanged,
        ContextChanged as ContextChanged,
        LoopHeld as LoopHeld,
        OperationFailed as OperationFailed,
        OwnerStuck as OwnerStuck,
        ProgramCalled as ProgramCalled,
        Record as Record,
        SwitchFailed as SwitchFailed,
        SwitchStep as SwitchStep,
        VariableOperation as VariableOperation,
        WorkerEnded as WorkerEnded,
        WorkerStarted as WorkerStarted,
    )

# Loaded when they are first asked for: whoever only tells has no use for them until somebody listens.
_ROOMS: dict[str, tuple[str, ...]] = {
    "_otel": ("Instrumentation", "instrument"),
    "_records": (
        "BackendSwitched",
        "ChildChanged",
        "ContextChanged",
        "LoopHeld",
        "OperationFailed",
        "OwnerStuck",
        "ProgramCalled",
        "Record",
        "SwitchFailed",
        "SwitchStep",
        "VariableOperation",
        "WorkerEnded",
        "WorkerStarted",
    ),
}

__all__ = [
    "BackendSwitched",
    "ChildChanged",
    "ContextChanged",
    "Instrumentation",
    "LoopHeld",
    "OperationFailed",
    "OwnerStuck",
    "ProgramCalled",
    "Record",
    "Subscription",
    "SwitchFailed",
    "SwitchStep",
    "VariableOperation",
    "WorkerEnded",
    "WorkerStarted",
    "instrument",
    "subscribe",
]


def __getattr__(name: str) -> Any:
    for room, names in _ROOMS.items():
        if name in names:
            from importlib import import_module

            value = globals()[name] = getattr(import_module(f".{room}", __name__), name)
            return value

    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
