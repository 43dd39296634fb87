"""
What a context tells of itself: its status, its backend, its counts, and how it ended. All frozen.
"""

from __future__ import annotations

import builtins
from datetime import datetime
from enum import StrEnum
from typing import Literal

from attrs import field, frozen

from ..abc import Capabilities


class Status(StrEnum):
    """Where a context is in its life."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    SWITCHING = "switching"
    RESTARTING = "restarting"
    PARKED = "parked"
    STOPPING = "stopping"
    CRASHED = "crashed"
    EXPIRED = "expired"
    CLOSED = "closed"


# In these an operation of a newcomer is taken, at once or through the mailbox.
SERVING = frozenset({Status.RUNNING, Status.SWITCHING})
# Between two lives under a supervisor: nobody serves, the state is kept.
PAUSED = frozenset({Status.RESTARTING, Status.PARKED})
# From these only a supervisor leads back, to a new state.
ENDED = frozenset({Status.CLOSED, Status.EXPIRED, Status.CRASHED})

BackendKind = Literal["local", "bridged", "custom"]


@frozen
class SwitchReport:
    """
    The last switch that was committed.

    Attributes:
        seconds: from the owner's taking it to its commit, as a float.
        variables: how many moved.
        bytes: the size of their encoded records.

    """

    seconds: float
    variables: int
    bytes: int


@frozen
class BackendInfo:
    """
    What is known of the backend that serves now.

    Attributes:
        kind: ``"local"``, ``"bridged"`` or ``"custom"``.
        type: its class.
        requires_bridge: whether it lives on a bridge.
        capabilities: what it can do.
        switching: whether a switch is under way. Until its commit all else here is of the old backend.
        switches: how many were committed.
        history: each backend's class with the time it began to serve, aware UTC, oldest first.
        last_switch: of the last commit, or None.

    """

    kind: BackendKind
    type: builtins.type
    requires_bridge: bool
    capabilities: Capabilities
    switching: bool
    switches: int
    history: tuple[tuple[builtins.type, datetime], ...]
    last_switch: SwitchReport | None


@frozen
class CloseReason:
    """
    How a context ended.

    Attributes:
        status: ``closed`` (it was stopped), ``expired`` or ``crashed``.
        error: what it crashed of, or None.

    """

    status: Status
    error: BaseException | None = field(default=None)


@frozen
class ContextStatistics:
    """
    Counts of one context, read from plain integers.

    Attributes:
        operations: taken so far, delivered directly or through the mailbox.
        queued: of these, how many went through the mailbox.
        pending: requests accepted and not answered yet.
        mailbox_size: how many the mailbox holds before a caller has to wait for room.
        calls: programs running now.
        watches: open watches.
        switches: committed switches of the state it has now.
        lives: how often its owner came up: more than once only under a supervisor.

    """

    operations: int
    queued: int
    pending: int
    mailbox_size: int
    calls: int
    watches: int
    switches: int
    lives: int
