"""
The host's side of the workers: processes, their channels, the door to the variables, and pools.

From below: `process` (one process) and `launch` (how it starts); `channel` (a socket with the protocol's state), `door` (operations),
`nested` (calls that a program makes of others) and `conversation` (one call); `worker` (a process with its channels); `visit` (a call in a
worker); `places` and `restarts` (who may, and when again); `seats` (each with one worker after the other, under a supervisor); `pool`.
`port` has the words shared with whoever owns the variables.
"""

# A context that stays local needs the words of `port` and no pool: what is behind a name is loaded when the name is used.

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .options import Pool as Pool
    from .pool import WorkerPool as WorkerPool
    from .port import GateClosed as GateClosed, Port as Port, ProgramShape as ProgramShape, WorkerCall as WorkerCall
    from .statistics import PoolStatistics as PoolStatistics, WorkerStatistics as WorkerStatistics

_ROOMS = {
    "options": ("Pool",),
    "pool": ("WorkerPool",),
    "port": ("GateClosed", "Port", "ProgramShape", "WorkerCall"),
    "statistics": ("PoolStatistics", "WorkerStatistics"),
}


def __getattr__(name: str) -> Any:
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(f".{room}", __name__), name)

    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
