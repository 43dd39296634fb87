"""
What keeps things alive and finds them again. Knows nothing of contexts.

`Supervisor` and `DynamicSupervisor` run any async callable as a child, as OTP's do: see `ChildSpec`. `serve` runs a tree until a signal.

From the ground up: `_policy` (the tables: who is restarted, who goes with whom) and `_spec` are pure; `_child` is what is kept of a child and of one life
of it; `_stopping` is how a life is ended; `_block` is the ``async with`` that all of it stands in. On the block stand, each on the one before, `_told`
(what is told of children), `_lives` (how one life begins and ends) and `_children` (what follows when one ends); `_supervisor` and `_dynamic` say
what differs. `_facts` and `_tree` are the words it is told in, `_bounded` a tree of no more than one has time for, `_place` is where in a tree some code runs.

`HostTask` is what stands behind every ``start()`` of ours: one task that enters and leaves every scope, so that ``start`` and
``stop`` may be called from any task. `Names` is who is called what in one event loop run.
"""

from ._block import unwrapped
from ._bounded import bounded, others_line
from ._dynamic import DynamicSupervisor
from ._facts import ChildCounts, ChildInfo, ChildState
from ._hosting import HostTask, leave_all, starting
from ._names import Names
from ._place import current_path, sibling
from ._serving import serve
from ._spec import Backoff, ChildSpec, Delays, OnLimit, Restart, Shutdown
from ._status import SupervisorStatistics, SupervisorStatus
from ._supervisor import Supervisor
from ._tree import Branch, Tree

__all__ = [
    "Backoff",
    "Branch",
    "ChildCounts",
    "ChildInfo",
    "ChildSpec",
    "ChildState",
    "Delays",
    "DynamicSupervisor",
    "HostTask",
    "Names",
    "OnLimit",
    "Restart",
    "Shutdown",
    "Supervisor",
    "SupervisorStatistics",
    "SupervisorStatus",
    "Tree",
    "bounded",
    "current_path",
    "leave_all",
    "others_line",
    "serve",
    "sibling",
    "starting",
    "unwrapped",
]
