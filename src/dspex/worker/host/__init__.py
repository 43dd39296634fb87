"""
The host's side of the workers: processes, their channels, the door to the variables, and pools.

From below: `process` (one process) and `launch` (how it starts); `channel` (a socket with the protocol's state), `door` (operations) and
`conversation` (one call); `worker` (a process with its channels); `visit` (a call in a worker); `places` and `restarts` (who may, and
when again); `pool`. `port` has the words shared with whoever owns the variables.
"""

from .options import Pool
from .pool import WorkerPool
from .port import GateClosed, Port, ProgramShape, WorkerCall
from .statistics import PoolStatistics, WorkerStatistics

__all__ = ["GateClosed", "Pool", "PoolStatistics", "Port", "ProgramShape", "WorkerCall", "WorkerPool", "WorkerStatistics"]
