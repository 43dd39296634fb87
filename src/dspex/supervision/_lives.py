"""
One life of a child: its task, from launch to end.

Each life is a task of its own, started in a copy of the context variables that the supervisor was entered with. Whatever it raises stays in it. Its last
step, `_over`, is plain: what follows from its end, a restart among it, is begun in that very step.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Awaitable
from typing import Any

import anyio
import anyio.lowlevel

from ._block import Block, in_short, log, unwrapped
from ._child import Child, Run
from ._facts import ChildState
from ._place import Place, place
from ._policy import Ending
from ._stopping import asks_first, report_until_gone, see_out
from ._told import Told


class Lives(Told):
    """Begins lives of children, and ends them."""

    @abstractmethod
    def _ended(self, child: Child, run: Run, ending: Ending) -> None:
        """What follows from the end of a life that nobody asked for. A plain step."""

    def _launch(self, child: Child, *, revival: bool = False, pause: float = 0.0) -> Run:
        """Begins a life of *child*. A plain step."""
        assert self._kids is not None
        run = child.run = Run(revival=revival, pause=pause)
        self._starts += 1
        child.lives += 1
        if not revival:
            self._tell(child, ChildState.STARTING)

        context = self._context.copy()
        path = self.path_of(child)
        context.run(place.set, Place(self, path, run, self._above))
        run.task = self._kids.create_task(self._live(child, run), name=path, context=context)
        return run

    async def _live(self, child: Child, run: Run) -> None:
        cancelled = False
        try:
            if run.revival:
                # Never a restart without a checkpoint before it.
                await (anyio.sleep(run.pause) if run.pause else anyio.lowlevel.checkpoint())
                if self.is_ending:
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
        error = run.error
        if error is not None and not isinstance(error, Exception):
            self._tell(child, ChildState.STOPPED, error)
            self._end_from_within("error", error)
        elif run.leaves is not None:
            self._after_asking(child, run)
        elif run.started or run.revival:
            self._ended(child, run, ending)

    def _after_asking(self, child: Child, run: Run) -> None:
        assert run.leaves is not None
        if run.error is not None:
            log.warning("%s raised as it was stopped: %s", self.path_of(child), in_short(run.error), exc_info=run.error)

        if run.leaves == "gone":
            self._forget(child)
        else:
            self._tell(child, ChildState(run.leaves))

    # --- stopping ----------------------------------------------------------------------------------------------------------------

    def _ask(self, child: Child, run: Run, leaves: str) -> None:
        """Asks *run* to stop, from this step on, and has it seen out."""
        if run.ask(leaves):
            politely = self._ask_or_cancel(child, run)
            assert self._kids is not None
            self._kids.start_soon(self._see_out, child, run, politely, name=f"{self.path_of(child)} (its stop)")

    def _ask_or_cancel(self, child: Child, run: Run) -> bool:
        self._tell(child, ChildState.STOPPING)
        politely = asks_first(child, run)
        if not politely:
            run.cancel()

        return politely

    async def _see_out(self, child: Child, run: Run, politely: bool) -> None:
        path = self.path_of(child)
        began = anyio.current_time()
        in_time = await see_out(child, run, path=path, politely=politely)
        if not in_time:
            await self._wait_overdue(child, run, anyio.current_time() - began)

    async def _wait_overdue(self, child: Child, run: Run, waited: float) -> None:
        run.overdue = True
        self._tell(child, ChildState.OVERDUE)
        run.let_pass()
        await report_until_gone(run, path=self.path_of(child), waited=waited)

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

    def hurry(self) -> None:
        """Cancels all that is left, at once: graces are cut short, in subtrees too."""
        self._end("stop")
        for child in list(self._children.values()):
            run = child.run
            if run is not None:
                if isinstance(run.value, Block):
                    run.value.hurry()

                self._ask(child, run, "gone")
                run.cancel()


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
            raise RuntimeError(f"{self._children.path_of(self._child)} called task_status.started() twice")

        if self._run.over:
            raise RuntimeError(f"{self._children.path_of(self._child)} called task_status.started() after it had ended")

        self._children._ready(self._child, self._run, value)


class Stranger(Exception):
    """What a child ended with whose task was cancelled by nobody we know."""

    def __init__(self, path: str) -> None:
        super().__init__(f"the task of {path} was cancelled by a stranger")


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

    if rest is not None and not isinstance(rest, Exception):
        return cancellations is not None, unwrapped(rest)

    return cancellations is not None, rest
