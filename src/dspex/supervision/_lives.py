"""
One life of a child: its task, from launch to end.

Each life is a task of its own, started in a copy of the context variables that the supervisor was entered with. Whatever it raises stays in it. Its last
step, `_over`, is plain: what follows from its end, a restart among it, is begun in that very step.
"""

from __future__ import annotations

import inspect
import logging
from abc import abstractmethod
from collections.abc import Awaitable
from typing import Any

import anyio
import anyio.lowlevel

from .._exceptions import in_short
from ._block import Block, unwrapped
from ._child import Child, Run
from ._facts import ChildState
from ._hosting import Stranger
from ._place import Place, place
from ._policy import Ending, Window
from ._status import SupervisorStatus
from ._stopping import MOMENT, asks_first, report_until_gone, see_out, wait_settled
from ._told import Told

log = logging.getLogger(__name__)


class Lives(Told):
    """Begins lives of children, and ends them."""

    def __init__(self, name: str | None, window: Window) -> None:
        super().__init__(name, window)
        self._unborn: set[Run] = set()

    @abstractmethod
    def _ended(self, child: Child, run: Run, ending: Ending) -> None:
        """What follows from the end of a life that nobody asked for. A plain step."""

    def _launch(self, child: Child, *, failed: str = "stopped", revival: bool = False, pause: float = 0.0) -> Run:
        """Begins a life of *child*. A plain step."""
        assert self._kids is not None
        run = child.run = Run(failed=failed, revival=revival, pause=pause)
        self._starts += 1
        child.lives += 1
        if not revival:
            self._tell(child, ChildState.STARTING)

        context = self._context.copy()
        path = self._path_of(child)
        context.run(place.set, Place(self, path, run, self._above))
        run.task = self._kids.create_task(self._live(child, run), name=path, context=context)
        return run

    async def _live(self, child: Child, run: Run) -> None:
        if run.over:
            # It was asked to stop before this, its first step.
            self._unborn.discard(run)
            return

        run.begun = True
        cancelled = False
        try:
            if run.revival:
                # Never a restart without a checkpoint before it.
                await (anyio.sleep(run.pause) if run.pause else anyio.lowlevel.checkpoint())
                if self._is_ending or run.asked:
                    return

                self._tell(child, ChildState.STARTING)

            await self._run(child, run)
        except anyio.get_cancelled_exc_class():
            # Not swallowed but ended: this is the last step of a task that was cancelled, by us or by a stranger. Let out, a stranger's would cancel
            # the group, and with it all siblings.
            cancelled = True
        except BaseException as error:  # noqa: BLE001 - kept, and raised by the block if it is for nobody but the whole program
            cancelled, run.error = _sorted_out(error)
        finally:
            self._over(child, run, run.ending(cancelled=cancelled))

    async def _run(self, child: Child, run: Run) -> None:
        if run.asked:
            return

        awaitable = self._called(child, run)
        if not child.spec.says_when_ready:
            self._ready(child, run, None)

        await awaitable

    def _called(self, child: Child, run: Run) -> Awaitable[Any]:
        # In a step of its own: nothing in the frames of a temporary child holds on to what it was started with.
        start = child.start
        if child.spec.restart == "temporary":
            child.let_go_of_start()

        awaitable: Any = start(task_status=_TaskStatus(self, child, run)) if child.spec.says_when_ready else start()
        if not inspect.isawaitable(awaitable):
            raise TypeError(f"expected start to return an awaitable, got {awaitable!r}. Is {start!r} async?")

        return awaitable

    def _ready(self, child: Child, run: Run, value: Any) -> None:
        run.started = True
        run.value = child.last_value = value
        run.since = anyio.current_time()
        if not run.asked:
            self._tell(child, ChildState.RUNNING)

        run.settle()

    def _over(self, child: Child, run: Run, ending: Ending) -> None:
        """The last step of a life: what follows from its end is begun."""
        run.over = True
        child.run = None
        run.settle()
        run.let_pass()
        run.cut_grace(MOMENT)
        if run.error is not None and not isinstance(run.error, Exception):
            self._end_from_within("error", run.error)
        elif ending is Ending.CANCELLED:
            run.error = Stranger(self._path_of(child))
            if self._kids is not None and self._kids.cancel_scope.cancel_called:
                self._crashed()

        if run.leaves is not None:
            self._after_asking(child, run)
        else:
            self._ended(child, run, ending)

    def _after_asking(self, child: Child, run: Run) -> None:
        assert run.leaves is not None
        if isinstance(run.error, Exception):
            path = self._path_of(child)
            log.warning("%s raised as it was stopped: %s", path, in_short(run.error), exc_info=run.error, extra={"dspex_child": path})

        if run.leaves == "gone":
            self._forget(child)
        else:
            self._tell(child, ChildState(run.leaves))

    async def _settled(self, child: Child, run: Run) -> None:
        """Waits until *run* is ready or over."""
        await (wait_settled(run, path=self._path_of(child)) if child.spec.says_when_ready else run.wait_settled())

    # --- stopping ----------------------------------------------------------------------------------------------------------------

    def _ask(self, child: Child, run: Run, leaves: str) -> None:
        """Asks *run* to stop, from this step on, and has it seen out. One that has not begun is over at once."""
        if run.ask(leaves):
            if run.begun:
                self._have_seen_out(child, run, self._ask_or_cancel(child, run))
            else:
                self._unborn.add(run)
                self._over(child, run, Ending.ASKED)

    def _bury_unborn(self) -> None:
        super()._bury_unborn()
        for run in self._unborn:
            if run.task is not None:
                run.task.coro.close()

    def _have_seen_out(self, child: Child, run: Run, politely: bool) -> None:
        self._beside(self._see_out, child, run, politely, name=f"{self._path_of(child)} (its stop)")

    def _ask_or_cancel(self, child: Child, run: Run) -> bool:
        self._tell(child, ChildState.STOPPING)
        politely = asks_first(child, run)
        if not politely:
            run.cancel()

        return politely

    async def _see_out(self, child: Child, run: Run, politely: bool) -> None:
        began = anyio.current_time()
        try:
            in_time = await see_out(child, run, path=self._path_of(child), politely=politely)
            if not in_time:
                await self._wait_overdue(child, run, anyio.current_time() - began)
        except GeneratorExit:
            raise  # the loop is gone
        except BaseException as error:
            # A stranger cancelled this task, or the stop function was interrupted. The child's time is cut short, and it is seen out all the same.
            run.cancel()
            if not run.over:
                self._have_seen_out(child, run, politely=False)

            if not isinstance(error, anyio.get_cancelled_exc_class()):
                raise

    async def _wait_overdue(self, child: Child, run: Run, waited: float) -> None:
        if run.over:
            return

        if not run.overdue:
            run.overdue = True
            self._tell(child, ChildState.OVERDUE)

        run.let_pass()
        await report_until_gone(run, path=self._path_of(child), waited=waited)

    async def _stopped(self, child: Child, leaves: str) -> None:
        """Stops *child*, whatever it is at, and returns when it is gone, or overdue."""
        run = child.run
        if run is not None:
            self._ask(child, run, leaves)
            await run.wait_passed()
        elif leaves == "gone":
            self._forget(child)
        elif child.state is not ChildState.STOPPED:
            self._tell(child, ChildState(leaves))

    def _hurry(self) -> None:
        """Ends it and cancels all that is left, at once: graces are cut short, in subtrees too."""
        if self.status is SupervisorStatus.NEW:
            return

        self._turn_back()
        self._end("stop")
        for child in list(self._children.values()):
            run = child.run
            if run is not None:
                below = run.below or run.value
                if isinstance(below, Block):
                    below._hurry()

                self._ask(child, run, "gone")
                run.cancel()
                run.cut_grace(0.0)


class _TaskStatus:
    """What a child says that it is ready with."""

    __slots__ = ("_child", "_children", "_run")

    def __init__(self, children: Lives, child: Child, run: Run) -> None:
        self._children = children
        self._child = child
        self._run = run

    def started(self, value: Any = None) -> None:
        """It is ready; *value* is what its supervisor shows as its value."""
        if self._run.started:
            raise RuntimeError(f"{self._children._path_of(self._child)} called task_status.started() twice")

        if self._run.over:
            raise RuntimeError(f"{self._children._path_of(self._child)} called task_status.started() after it had ended")

        self._children._ready(self._child, self._run, value)


def _sorted_out(error: BaseException) -> tuple[bool, BaseException | None]:
    """Whether there is a cancellation in *error*, and what else there is."""
    group: Any = error
    if not isinstance(error, BaseExceptionGroup):
        return False, error

    cancellations: BaseException | None
    rest: BaseException | None
    cancellations, rest = group.split(anyio.get_cancelled_exc_class())
    if cancellations is None and isinstance(error, Exception):
        return False, error

    if rest is None:
        return True, None

    # What came with a cancellation tells more of the end than it.
    return False, rest if isinstance(rest, Exception) else unwrapped(rest)
