"""
What a person looks at: what happens and how long it takes in the log, a context drawn with all that is known of it, operations and switches as they
happen, what operations cost, what is stuck, and a socket through which all of it is looked at from outside.

::

    from dspex import monitor

    monitor.attach(watchdog=True)  # slow ones, failures and what is stuck, in the log
    await monitor.inspect_context(ctx)
    async for operation in monitor.trace(ctx):
        ...
"""

# _attach.py        attach and detach; _sentences.py: which records are logged, how, and at which level
# _inspect.py       inspect_context; _report.py: what it tells; _reading.py: how the variables are read; _drawing.py: how it is drawn
# _following.py     trace and watch_switches; _feed.py: what they have in common
# _benchmark.py     what operations cost on a context, now
# _watchdog/        a thread that looks for what is stuck: owners, event loops, and where they are
# _service/         the socket that `dspex top` attaches to: what it serves, its other end, and what is printed of it
# _shown.py         values on one line; _contexts.py: which context is meant; _bounds.py: bounds, as arguments; _loops.py: a loop, as other threads see it

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._attach import Attachment as Attachment, attach as attach, detach as detach
    from ._benchmark import BenchmarkReport as BenchmarkReport, OperationCost as OperationCost, benchmark_operations as benchmark_operations
    from ._following import SwitchWatch as SwitchWatch, Trace as Trace, trace as trace, watch_switches as watch_switches
    from ._inspect import describe_context as describe_context, inspect_context as inspect_context
    from ._report import ContextReport as ContextReport, VariableFacts as VariableFacts
    from ._service.client import MonitoredService as MonitoredService, ServiceWatch as ServiceWatch, connect as connect
    from ._service.serving import MonitorServer as MonitorServer, child_spec as child_spec, serve as serve
    from ._watchdog.watchdog import Watchdog as Watchdog, watchdog as watchdog

# Loaded when they are first asked for.
_ROOMS: dict[str, tuple[str, ...]] = {
    "_attach": ("Attachment", "attach", "detach"),
    "_benchmark": ("BenchmarkReport", "OperationCost", "benchmark_operations"),
    "_service.client": ("MonitoredService", "ServiceWatch", "connect"),
    "_following": ("SwitchWatch", "Trace", "trace", "watch_switches"),
    "_inspect": ("describe_context", "inspect_context"),
    "_report": ("ContextReport", "VariableFacts"),
    "_service.serving": ("MonitorServer", "child_spec", "serve"),
    "_watchdog.watchdog": ("Watchdog", "watchdog"),
}

__all__ = [
    "Attachment",
    "BenchmarkReport",
    "ContextReport",
    "MonitorServer",
    "MonitoredService",
    "OperationCost",
    "ServiceWatch",
    "SwitchWatch",
    "Trace",
    "VariableFacts",
    "Watchdog",
    "attach",
    "benchmark_operations",
    "child_spec",
    "connect",
    "describe_context",
    "detach",
    "inspect_context",
    "serve",
    "trace",
    "watch_switches",
    "watchdog",
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
