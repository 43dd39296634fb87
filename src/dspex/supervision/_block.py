"""
The ``async with`` block of a supervisor, and what stands behind it.

*Two tasks.* The block's own task holds a group and, in it, a scope around the body. A second task, the keeper, holds the group that the
children live in, under one shield: a cancelled outer scope reaches the body and no child. The end of the body, however it comes, is what stops the
children, in order, and the block ends when all of them are gone.

*Nothing is raised into a group*, neither by a child nor by a task of ours beside the children. What ends the supervisor is kept, and a cancelled
scope ends the body. On the way out that scope closes first. So an exception of the body comes out as itself, whatever happens meanwhile, and ours
comes out bare when the body has none. An interrupt of the whole program (KeyboardInterrupt, SystemExit) out of a child weighs more than a
cancellation.

*A stranger's* ``Task.cancel()`` of a child is that child's crash. Of the block's own task it is a stop. Of a task that all children depend on it is
ours: they are stopped, in order, and `Stranger` is raised. It can come before a task's first step, so that nothing in it ever runs; who waits for a
task that has not begun waits for nothing that only the task could do.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from types import TracebackType
from typing import Any, Self, TypeVarTuple, overload

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from .._exceptions import CallCycle, StartFailed, SupervisorClosed
from ..telemetry._live import ROOTS
from ._hosting import HostTask, Stranger
from ._place import Place, current_path, place, way_down_from
from ._policy import EndedBy
from ._spec import check_name
from ._status import SupervisorStatus

_Args = TypeVarTuple("_Args")

_numbers = itertools.count(1)


class Block(ABC):
    """From entering the block to leaving it; what its children are is the subclasses' business."""

    # Made with the block: a supervisor may be made where no loop runs, and a scope may not.
    _body: anyio.CancelScope

    def __init__(self, name: str | None) -> None:
        if name is not None:
            check_name("name", name)

        self.name: str | None = name
        self.path: str = name or f"supervisor-{next(_numbers)}"
        self.status: SupervisorStatus = SupervisorStatus.NEW
        self.ended_by: EndedBy | None = None
        # Whether it belongs to something else, which draws it: then it is the root of no tree.
        self.is_part: bool = False
        self._failure: BaseException | None = None
        self._host: HostTask | None = None
        self._group: TaskGroup | None = None
        self._keeper: anyio.TaskHandle[None] | None = None
        self._kids: TaskGroup | None = None
        self._context: Context = Context()
        self._above: Place | None = None
        self._opened: anyio.Event = anyio.Event()
        self._ending: anyio.Event = anyio.Event()
        self._gone: anyio.Event = anyio.Event()

    # --- what the subclasses do --------------------------------------------------------------------------------------------------

    @abstractmethod
    async def _start_children(self) -> None:
        """Starts them, each ready before the next."""

    @abstractmethod
    async def _stop_children(self) -> None:
        """Asks them all to end, and returns when they are gone or overdue."""

    @abstractmethod
    def _hurry(self) -> None:
        """Ends it, and cancels all that is left, at once."""

    @abstractmethod
    async def _finish_unkept(self) -> None:
        """Does what would have been done beside the children, where there was no keeper for them."""

    # --- the block ---------------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self.status is not SupervisorStatus.NEW:
            raise SupervisorClosed(self.path, status=f"{self.status.value}; it is started once. Make a new one")

        self._find_its_place()
        self.status = SupervisorStatus.STARTING
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._body = anyio.CancelScope()
        self._body.__enter__()
        try:
            if self._above is None and not self.is_part:
                ROOTS.enter(self)

            self._keeper = self._group.start_soon(self._keep, name=f"{self.path} (its children)")
            await self._opened.wait()
            await self._start_children()
            if self._body.cancel_called:
                await anyio.lowlevel.checkpoint_if_cancelled()
            elif self.ended_by == "auto_shutdown":
                self._body.cancel()
        except BaseException as error:
            if await self._leave(type(error), error, error.__traceback__):
                problem = f"it was ended by its {self.ended_by or 'owner'} before all children were up"
                raise StartFailed(f"The supervisor {self.path!r}", problem=problem) from None

            if self._failure is None or not isinstance(error, SupervisorClosed):
                raise

            # That it was closed meanwhile was only what the start saw of it.
            raise self._failure from self._failure.__cause__

        if self.status is SupervisorStatus.STARTING:
            self.status = SupervisorStatus.RUNNING

        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> bool:
        return await self._leave(kind, error, traceback)

    async def _leave(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> bool:
        """What the body raised goes on as it is. Returns whether the body was ended from here, without an error to tell."""
        ended_by_us = False
        try:
            # On trio it may raise: what is left of a group of the body's exceptions, with our own cancellation taken out of it.
            ended_by_us = bool(self._body.__exit__(kind, error, traceback))
        finally:
            if isinstance(self._failure, Stranger) and error is not None and not ended_by_us:
                self._failure = None  # who cancelled the keeper has cancelled the body too, and that is a stop

            await self._close("stop" if error is None else "error")

        if self._failure is not None and (ended_by_us or error is None or self._interrupts(error)):
            raise self._failure

        return ended_by_us

    def _interrupts(self, error: BaseException) -> bool:
        """Whether an interrupt of the whole program, out of a child, is what goes on: it weighs more than a cancellation."""
        return not isinstance(self._failure, Exception) and isinstance(error, anyio.get_cancelled_exc_class())

    async def _close(self, why: EndedBy) -> None:
        assert self._group is not None
        group = self._group
        try:
            self._end(why)
            with anyio.CancelScope(shield=True):
                if not self._opened.is_set():
                    # The keeper has not begun, and no child has. If it ever does, it finds that there is nothing to keep.
                    await self._stop_children()
                    await self._finish_unkept()
                    self._gone.set()

                # However long it takes: the block ends when nothing of its children is left.
                await self._gone.wait()
        finally:
            group.cancel_scope.shield = True
            group.cancel_scope.cancel()
            try:
                await group.__aexit__(None, None, None)
            except BaseExceptionGroup as error:
                # A second Ctrl-C, while trio's group waited.
                raise unwrapped(error) from None
            finally:
                self.status = SupervisorStatus.CLOSED
                ROOTS.leave(self)
                self._bury_unborn()

    def _find_its_place(self) -> None:
        self._above = place.get()
        above = current_path()
        self.path = f"{above}/{self.name}" if above and self.name else above or self.path
        self._context = copy_context()

    async def _keep(self) -> None:
        try:
            if not self._is_ending:
                await self._keep_children()
        except anyio.get_cancelled_exc_class():
            # Not swallowed but ended: the last step of a task that a stranger cancelled, again, when all were asked to stop.
            pass
        except BaseException as error:  # noqa: BLE001 - a defect in here ends the supervisor, and is told to who leaves its block
            self._failure = self._failure or unwrapped(error)
            self._body.cancel()
        finally:
            self._opened.set()
            self._gone.set()

    async def _keep_children(self) -> None:
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as self._kids:
                self._opened.set()
                try:
                    await self._ending.wait()
                except anyio.get_cancelled_exc_class():
                    # By a stranger; or the group was, by one who cancelled a child before its first step. The one crash of ours there is.
                    self._crashed()

                with anyio.CancelScope(shield=True):
                    await self._stop_children_regardless()

    async def _stop_children_regardless(self) -> None:
        while True:
            try:
                await self._stop_children()
                return
            except anyio.get_cancelled_exc_class():
                # By a stranger, within a shield. It goes on with those that are left.
                continue

    def _bury_unborn(self) -> None:
        """No task of ours is left. Those that a stranger cancelled before their first step left coroutines, about which Python would complain."""
        if self._keeper is not None:
            self._keeper.coro.close()

    def _crashed(self) -> None:
        """A stranger cancelled a task that all children depend on."""
        self._end_from_within("error", Stranger(self.path))

    def _beside(self, work: Callable[[*_Args], Awaitable[None]], *args: *_Args, name: str) -> None:
        """Starts a task of ours beside the children, which ends before the supervisor does."""
        assert self._kids is not None
        self._kids.start_soon(self._kept_in, work, args, name=name)

    async def _kept_in(self, work: Callable[..., Awaitable[None]], args: tuple[Any, ...]) -> None:
        try:
            with anyio.CancelScope(shield=True):
                await work(*args)
        except anyio.get_cancelled_exc_class():
            self._crashed()
        except BaseException as error:  # noqa: BLE001 - kept, and raised by the block
            self._end_from_within("error", unwrapped(error))

    def _end(self, why: EndedBy) -> None:
        """From this step on nothing is started, and what runs is stopped."""
        if not self._ending.is_set():
            self.ended_by = why
            self.status = SupervisorStatus.STOPPING
            self._ending.set()

    def _end_from_within(self, why: EndedBy, failure: BaseException | None = None) -> None:
        """The same, for a reason of the children's: the body is ended too."""
        if not self._ending.is_set():
            # One that has done its work before all children were up has started, as in OTP: then the body is ended where it waits first.
            goes_on = why == "auto_shutdown" and self.status is SupervisorStatus.STARTING
            self._failure = failure
            self._end(why)
            if not goes_on:
                self._body.cancel()
        elif failure is not None and not isinstance(failure, Exception) and (self._failure is None or isinstance(self._failure, Exception)):
            self._failure = failure  # an interrupt, as it stopped: it is for the whole program

    @property
    def _is_ending(self) -> bool:
        """Whether it takes no more children and restarts none."""
        return self._ending.is_set()

    def _admit(self) -> None:
        if self._is_ending or self._kids is None:
            raise SupervisorClosed(self.path, status=self.status.value if self.status is not SupervisorStatus.NEW else "not started")

    # --- from any task -----------------------------------------------------------------------------------------------------------

    async def _start_beside(self) -> Self:
        host = HostTask(self, f"dspex {self.path}")
        self._host = host
        await host.open()
        return self

    async def stop(self) -> None:
        """
        Stops the children, in order, and returns when nothing of them is left. Idempotent: all callers wait for the one end.

        In the block it leaves the body alone. What ended the supervisor before, if anything did, is raised by `wait` and by the block.

        Raises:
            CallCycle: called by one of its own children, which it would wait for.

        """
        self._refuse_own("stop()")
        if self.status is SupervisorStatus.NEW:
            return

        self._turn_back()
        self._end("stop")
        if self._host is not None:
            self._host.release()
            await self._host.closed.wait()
        else:
            await self._gone.wait()

    def _turn_back(self) -> None:
        """Ends the start, if it isn't up yet: those children that are up are stopped."""
        if self.status is SupervisorStatus.STARTING:
            self._end_from_within("stop")

    async def wait(self) -> None:
        """
        Waits until it is over.

        Raises:
            RestartLimitReached: it gave up.
            SupervisorClosed: it was never started.
            CallCycle: called by one of its own children.

        """
        if self.status is SupervisorStatus.NEW:
            raise SupervisorClosed(self.path, status="not started")

        self._refuse_own("wait()")
        await self._gone.wait()
        if self._failure is not None:
            raise self._failure

    def _refuse_own(self, what: str) -> None:
        inside = way_down_from(self)
        if inside is not None:
            chain, _ = inside
            raise CallCycle(chain=[*chain, f"{self.path}.{what}"], problem=f"A child of supervisor {self.path!r} can't wait for its end.")


@overload
def unwrapped(error: Exception) -> Exception: ...
@overload
def unwrapped(error: BaseException) -> BaseException: ...
def unwrapped(error: Any) -> Any:
    """The one error in a group of one."""
    inner: tuple[Any, ...] = getattr(error, "exceptions", ())
    return unwrapped(inner[0]) if len(inner) == 1 else error
