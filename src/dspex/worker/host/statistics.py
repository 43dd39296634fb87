"""What a pool tells of itself: frozen counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from .worker import Standing

if TYPE_CHECKING:
    from .worker import Worker


LIVING: Final[tuple[str, ...]] = ("starting", "ready", "retiring", "leaving")
"""The states of workers that have not ended."""


def status_of(worker: Worker) -> str:
    """Where in its life *worker* is, as `WorkerStatistics` has it."""
    return "starting" if worker.standing is Standing.READY and worker.ready_at is None else worker.standing.value


@frozen(kw_only=True)
class WorkerStatistics:
    """
    One worker.

    Attributes:
        pid: its process id.
        status: ``"starting"`` (until it has imported its pool's ``imports``), ``"ready"``, ``"retiring"``, ``"leaving"`` or ``"gone"``.
        running: calls in it now.
        served: calls it was given since it started, and programs to look at as they were registered.

    """

    pid: int
    status: str
    running: int
    served: int

    @classmethod
    def of(cls, worker: Worker) -> WorkerStatistics:
        """What *worker* is doing now."""
        return cls(pid=worker.process.pid, status=status_of(worker), running=worker.running, served=worker.taken)


@frozen(kw_only=True)
class PoolStatistics:
    """
    One pool.

    Attributes:
        workers: those that exist now.
        running: calls that hold a place.
        waiting: calls that wait for one.
        calls: calls that were given a place, since the pool was made; to look at a program as it is registered takes one too.
        started: workers that got ready, since then.
        deaths: workers that ended without being asked to, or before they were ready, since then.
        last_death: how the last of these ended, in words, ``"worker 4711 exited with code 3"``; empty if there was none.
        last_words: the end of what that one wrote to stdout and stderr.

    """

    workers: tuple[WorkerStatistics, ...]
    running: int
    waiting: int
    calls: int
    started: int
    deaths: int
    last_death: str = ""
    last_words: str = ""
