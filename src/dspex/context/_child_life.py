"""
A life of a context that is a supervisor's child: one of many, each in a task of its own, with the handle as their heir.

*Keep or fresh.* A life that follows another goes on with its backend, if every operation of that is either before or after where it was cut, and the
state was furnished; then what is queued is served in order, and that is all. Any other life begins with a new backend and furnishes it:
what furnishing asks goes ahead, everybody else's requests wait in the ledger until it is done, and nobody sees anything before.

*Pause.* A life after which another may follow doesn't close the context. What its owner had taken is answered, its calls in flight are cancelled and
told, its private bridge stops; the ledger, the backend, the programs, the watches and the bridge's store stay. Nothing of it is
left when its task ends.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskStatus

from .._exceptions import ContextClosed, DspexError, in_short
from ._behalf import furnishing
from ._life import SETTLE, Life, close
from ._mailbox import Request
from ._status import ENDED, PAUSED, Status

if TYPE_CHECKING:
    from ._inside import Inside
    from ._seat import Seat

log = logging.getLogger(__name__)


class ChildLife(Life):
    """
    From its supervisor's starting it to the end of its task.

    Attributes:
        asked: whether it was asked to stop: True for good, False to be started again.
        last: whether it ends for good because its user stopped it.

    """

    __slots__ = ("_crashed", "_follows", "_seat", "_wake", "asked", "last")

    def __init__(self, context: Inside, seat: Seat) -> None:
        super().__init__(context)
        self._seat = seat
        self._follows = context.status in PAUSED
        self._crashed = False
        self._wake = anyio.Event()
        self.asked: bool | None = None
        self.last: bool = False

    async def live(self, task_status: TaskStatus[Any]) -> None:
        """The whole of it. Returns when it was stopped, raises when it can't start or has crashed."""
        await self.begin()
        try:
            task_status.started(self._context.handle)
            await self._wake.wait()
        except BaseException as error:
            if not self._seat.stopping and self.asked is None:
                # Nobody in the tree asked for it: a stranger cancelled the task, and that is a crash.
                self._context.variables.crash(error, "its own task")

            if not await self.end(type(error), error, error.__traceback__):
                raise
        else:
            await self.end(None, None, None)

    # --- coming up ---------------------------------------------------------------------------------------------------------------

    def _claim(self) -> None:
        context = self._context
        context.calls = None
        context.variables.inflight = bool
        if self._follows:
            context.variables.status = Status.RESTARTING
        else:
            context.renew()
            super()._claim()

    async def _come_up(self) -> None:
        context = self._context
        entry = context.variables
        if self._goes_on():
            await self._take_over()
        else:
            await self._begin_anew()

        entry.outlives = not self._seat.temporary
        entry.crash_error = None
        entry.status = Status.RUNNING
        entry.mailbox.hand_over()
        entry.open_gate()
        self._seat.came_up()
        if context.ttl is not None:
            self._expire_when_idle(context.ttl)

    def _goes_on(self) -> bool:
        backend: Any = self._context.variables.backend
        keeps = self._follows and self._seat.furnished and not self._seat.fresh
        return keeps and backend is not None and bool(backend.capabilities.atomic_updates)

    async def _take_over(self) -> None:
        """Goes on with the state of the life before."""
        context = self._context
        context.resolve_bridge()
        if context.private is not None:
            context.private.open_nowait(self._group)

        context.variables.mailbox.open(ahead=self)
        self._start_owner()

    async def _begin_anew(self) -> None:
        """Begins a new state, and furnishes it before anybody else gets to it."""
        context, seat = self._context, self._seat
        seat.furnished = False
        if self._follows:
            await self._clear_away()

        if context.left_garbage and context.spec.kind == "bridged" and not context.options.given_id:
            await self._drop_leftover()

        await self._open()
        context.variables.mailbox.open(ahead=self)
        self._start_owner()
        token = furnishing.set(self)
        try:
            await context.furnish()
            if context.variables.hub is not None:
                await context.variables.enqueue("run", self._tell_watches)
        finally:
            furnishing.reset(token)

        seat.furnished = True
        seat.former.clear()

    async def _clear_away(self) -> None:
        """Closes what a former life left: the next state has nothing of it."""
        context = self._context
        entry = context.variables
        if entry.hub is not None:
            entry.hub.hush()
            self._seat.former.update(await self._names())

        backend = entry.uninstall()
        context.forget()
        if backend is not None:
            with anyio.CancelScope(shield=True):
                # A session that couldn't be dropped is dropped by the one that takes its place.
                if not await close(backend, context.id, drop=not context.keeps_session):
                    context.left_garbage = True

    async def _drop_leftover(self) -> None:
        self._context.resolve_bridge()
        store = await self._store()
        await store.drop(await store.open(self._context.id, "any", holder=self._context.id))
        self._context.left_garbage = False

    async def _names(self) -> Iterable[str]:
        """The variables of the former state, as far as that can still tell."""
        entry = self._context.variables
        if entry.backend is None:
            return ()

        try:
            with anyio.fail_after(SETTLE):
                return [variable.name async for page in entry.pages() for variable in page]
        except Exception as error:  # noqa: BLE001 - it may be what the former life crashed of
            context_id = self._context.id
            told = "context %r: what its watches lose can't be told to them: %s"
            log.warning(told, context_id, in_short(error), extra={"dspex_context": context_id})
            return ()

    async def _tell_watches(self, request: Request) -> None:
        """In the owner's turn: to those who watch, everything is another state's now."""
        entry = self._context.variables
        versions = {variable.name: variable.version async for page in entry.pages() for variable in page}
        if entry.hub is not None:
            entry.hub.reset(versions, self._seat.former - versions.keys())

    # --- ending ------------------------------------------------------------------------------------------------------------------

    def _on_crash(self) -> None:
        self._crashed = True
        self._context.end_calls(self._told())
        self._wake.set()
        if not self._up:
            self._body.cancel()

        self._context.tell_status()

    def _told(self) -> DspexError:
        """What calls of this life are told when it ends under them."""
        context = self._context
        if self._crashed:
            return context.variables.crashed_of(context.variables.crash_error)

        hint = "Its supervisor restarts it."
        closed = ContextClosed(context.id, status=Status.RESTARTING.value, hint=hint, name=context.name or "")
        closed.applied = None
        return closed

    def ask(self, final: bool) -> None:
        """Its supervisor asks it to end; not *final*: to be started again."""
        self.asked = final
        self._wake.set()
        self.turn_back()

    async def stop(self) -> None:
        """Its user ends it for good; what its supervisor makes of that is another matter."""
        self.last = True
        await super().stop()

    async def end(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> bool:
        """See `Life.end`."""
        try:
            return await super().end(kind, error, traceback)
        finally:
            if self._context.life is self and self._context.status in PAUSED:
                self._context.life = None

            if self.last:
                await self._seat.retire()

    def _grace(self) -> float:
        return self._seat.drain

    def _patience(self) -> float:
        return SETTLE if self._seat.is_patient else 0.0

    def _has_crashed(self) -> bool:
        return self._crashed

    def _pauses(self) -> bool:
        """Whether another life may follow this one."""
        if self.last or self.asked or self._context.status in ENDED:
            return False

        return (self._follows or self._up) and not (self._seat.temporary and self.asked is None)

    async def _close(self, grace: float) -> None:
        if self._closing:
            await self._context.closed.wait()
        elif self._pauses():
            self._closing = True
            await self._pause(grace)
        else:
            await super()._close(grace)
            self._wake.set()

    async def _pause(self, grace: float) -> None:
        context = self._context
        entry, calls = context.variables, context.calls
        if calls and self.asked is False and entry.mailbox.is_open:
            # Until they have ended all goes on as it was: they may wait for what others have queued.
            calls.waits = True
            with anyio.move_on_after(grace):
                await calls.wait_idle()

        if entry.mailbox.is_open or entry.status is not Status.RESTARTING:
            entry.pause()
            context.tell_status()

        context.end_calls(self._told())
        if calls:
            with anyio.move_on_after(SETTLE):
                await calls.wait_idle()

        await self._end_owner()
        entry.give_up_turns()
        await self.stop_private_bridge()
