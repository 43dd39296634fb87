"""What a supervisor tells of its children: their states and counts. All frozen; a later look gives new ones."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from attrs import field, frozen


class ChildState(StrEnum):
    """Where a child is. A running one may be waiting for something, but nobody wants it to end."""

    NEW = "new"
    """Listed, never started yet."""
    STARTING = "starting"
    """Its start has been called and isn't ready."""
    RUNNING = "running"
    STOPPING = "stopping"
    """Asked to end, within its time."""
    OVERDUE = "overdue"
    """Asked to end, past its time and still there."""
    RESTARTING = "restarting"
    """It ended, or a restart of it failed: it will be started again."""
    PARKED = "parked"
    """It failed more often than its own budget allows. It stays so until ``restart_child``."""
    STOPPED = "stopped"
    """It ended and isn't started again by itself. ``restart_child`` starts it, and a restart of its group may."""


@frozen
class ChildInfo:
    """One child of a supervisor at one moment."""

    id: str
    """As its supervisor knows it."""
    state: ChildState
    """Where it is."""
    restart: Literal["permanent", "transient", "temporary"] = "permanent"
    """When it is started again by itself: always, after a failure, never."""
    value: Any = field(default=None, repr=False)
    """What it gave to ``task_status.started(value)``, None while it isn't running."""
    restarts: int = 0
    """How many restarts its budget has counted within the last `seconds`."""
    allowed: int = 0
    """How many that budget allows. Without one of its own a child shares its supervisor's with its siblings."""
    seconds: float = 0.0
    """The length of the window in seconds."""
    significant: bool = False
    """Whether its end may end the supervisor, as ``auto_shutdown`` says."""
    kind: Literal["supervisor", "worker"] = "worker"
    """A supervisor has children of its own."""
    error: BaseException | None = None
    """The last error it ended with or failed to start with, None if there was none."""
    own_budget: bool = False
    """Whether its restarts are counted apart from its siblings'."""
    lives: int = 0
    """How often its start was called."""
    path: str = ""
    """The ids from the root down to it, with slashes between: also the name of its task."""


@frozen
class ChildCounts:
    """How many children a supervisor has, as OTP counts them (``supervisor:count_children/1``)."""

    specs: int = 0
    """All that are listed, whether they run or not."""
    active: int = 0
    """Those that are there: running, and those stopping or overdue."""
    supervisors: int = 0
    """All supervisors, whether they run or not."""
    workers: int = 0
    """All others, whether they run or not."""
