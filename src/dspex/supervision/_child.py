"""
A child as its supervisor keeps it, and one life of it.

A `Child` is kept as long as it is listed. A `Run` is one life: from the start of its task to the end of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import anyio

from ._facts import ChildState
from ._policy import Ending, Window

if TYPE_CHECKING:
    from ._spec import ChildSpec, Start

# What a stop may leave, the strongest last: who asks for more gets it.
_STRENGTH: dict[str, int] = {ChildState.RESTARTING: 0, ChildState.STOPPED: 1, "gone": 2}


class Run:
    """
    One life of a child.

    Attributes:
        task: whose end is the life's end.
        begun: whether its task has made its first step. One that is asked to stop before has nothing to do any more.
        started: whether it has said that it is ready.
        over: whether it has ended.
        overdue: whether it was asked to stop, has had its time, and is still there.
        revival: whether it is a restart by the supervisor itself, for which nobody waits.
        failed: the state that it leaves the child in if it fails before it is up. Not of a revival: what follows from its failure is a restart.
        leaves: once it was asked to stop: the state that it leaves the child in.
        error: what it raised.
        below: the supervisor that this life runs, from before it is up.
        grace: while it is asked to end by itself: the time it has.

    """

    __slots__ = (
        "_passed",
        "_settled",
        "begun",
        "below",
        "error",
        "failed",
        "grace",
        "leaves",
        "over",
        "overdue",
        "pause",
        "revival",
        "since",
        "started",
        "task",
        "value",
    )

    def __init__(self, *, failed: str = "stopped", revival: bool = False, pause: float = 0.0) -> None:
        self.task: anyio.TaskHandle[None] | None = None
        self.value: Any = None
        self.begun: bool = False
        self.started: bool = False
        self.over: bool = False
        self.overdue: bool = False
        self.failed: str = failed
        self.revival: bool = revival
        self.pause: float = pause
        self.since: float = 0.0
        self.leaves: str | None = None
        self.error: BaseException | None = None
        self.below: Any = None
        self.grace: anyio.CancelScope | None = None
        self._passed: anyio.Event | None = None
        self._settled: anyio.Event | None = None

    @property
    def asked(self) -> bool:
        """Whether it was asked to stop."""
        return self.leaves is not None

    def ask(self, leaves: str) -> bool:
        """Notes that it is asked to stop, and what that leaves. Whether it is the first time."""
        first = self.leaves is None
        if self.leaves is None or _STRENGTH[leaves] > _STRENGTH[self.leaves]:
            self.leaves = leaves

        return first

    def ending(self, *, cancelled: bool) -> Ending:
        """How it ended."""
        if self.asked:
            return Ending.ASKED

        if cancelled:
            return Ending.CANCELLED

        return Ending.RETURNED if self.error is None else Ending.RAISED

    def settle(self) -> None:
        """It is ready, or over: who waits to know looks."""
        if self._settled is not None:
            self._settled.set()
            self._settled = None  # of no use to anybody from now on, and larger than all else here

    async def wait_settled(self) -> None:
        """Waits until it is ready or over."""
        if not self.started and not self.over:
            self._settled = self._settled or anyio.Event()
            await self._settled.wait()

    async def wait_gone(self) -> None:
        """Waits until nothing of it is left."""
        assert self.task is not None
        await self.task.wait()

    def let_pass(self) -> None:
        """It is over, or overdue: whoever stops it goes on past it."""
        if self._passed is not None:
            self._passed.set()

    async def wait_passed(self) -> None:
        """Waits until it is over, or overdue."""
        if not self.over and not self.overdue:
            self._passed = self._passed or anyio.Event()
            await self._passed.wait()

    def cancel(self) -> None:
        """Cancels its task."""
        if self.task is not None:
            self.task.cancel()

    def cut_grace(self, seconds: float) -> None:
        """It has no more than *seconds* from now to end by itself, and who asked it to has no more to do so."""
        if self.grace is not None:
            self.grace.deadline = min(self.grace.deadline, anyio.current_time() + seconds)


class Child:
    """
    What is known of a child that is listed.

    Attributes:
        is_supervisor: whether it has children of its own.
        run: its life, None between two and after the last.
        lives: how many there were, this one included.
        last_value: what it last gave as its value: it draws a child that has no life now.
        window: of its own budget, if it has one.
        strikes: restarts in a row.
        down: whether it was stopped by `terminate_child`: it stays so when its group is restarted.
        recalled: wakes who pauses before its restart, if somebody wants it stopped.

    """

    __slots__ = ("down", "error", "id", "is_supervisor", "last_value", "lives", "recalled", "run", "spec", "state", "strikes", "window")

    def __init__(self, spec: ChildSpec, child_id: str, window: Window | None) -> None:
        self.spec: ChildSpec = spec
        self.id: str = child_id
        self.is_supervisor: bool = bool(getattr(spec.start, "makes_supervisor", False))
        self.state: ChildState = ChildState.NEW
        self.run: Run | None = None
        self.error: BaseException | None = None
        self.window: Window | None = window
        self.lives: int = 0
        self.last_value: Any = None
        self.strikes: int = 0
        self.down: bool = False
        self.recalled: anyio.Event | None = None

    def __repr__(self) -> str:
        return f"<Child {self.id!r} [{self.state}]>"

    @property
    def kind(self) -> Literal["supervisor", "worker"]:
        """In a word."""
        return "supervisor" if self.is_supervisor else "worker"

    @property
    def start(self) -> Start:
        """What starts it."""
        return self.spec.start

    def let_go_of_start(self) -> None:
        """It will not be started again, and what its start holds is not kept for it."""
        self.spec = self.spec.with_start(_spent)

    def recall(self) -> None:
        """Its restart is not wanted any more."""
        self.down = True
        if self.recalled is not None:
            self.recalled.set()


async def _spent() -> None:
    """In the place of the start of a temporary child that was started."""
