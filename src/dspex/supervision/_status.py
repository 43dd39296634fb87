"""What a supervisor tells of itself."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import frozen


class SupervisorStatus(StrEnum):
    """Where a supervisor is in its life."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    CLOSED = "closed"


@frozen
class SupervisorStatistics:
    """
    Counts of one supervisor, read from plain integers.

    Attributes:
        status: where it is in its life.
        children: how many are in each state; states in which none is are left out.
        starts: children started, restarts and failed starts included, ever.
        restarts: restarts of children that had ended by themselves, ever.

    """

    status: SupervisorStatus
    children: Mapping[str, int]
    starts: int
    restarts: int
