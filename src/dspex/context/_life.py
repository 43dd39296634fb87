"""
A life: the task that owns the state, the group it lives in, and the scope around the body.

*Inside.* The owner never raises into the group. It records how it ended and cancels the scope around the body, which is opened inside the
group. On the way out that scope closes first; then the context closes, under a shield; then the group, which has nothing left in it, is
left empty-handed. So an exception of the body comes out as itself, whatever happens meanwhile, and ours comes out bare when the body has none.

*Shields.* A cancelled outer scope reaches the body, and the body's clean-up may still use the context: the end of the body is what stops the
owner and a private bridge. So the bridge runs shielded, and so does what the owner has taken. While it waits for the next request the owner is
not shielded, which saves each idle context a scope: cancelled there, it shields itself and goes on.
"""

from __future__ import annotations

import logging
import math
import sys
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from .._exceptions import BackendInitError, DspexError, SessionNotFound
from ..abc import SyncStateBackend
from ..state import bridged_over
from ..supervision._hosting import settle
from ._mailbox import Request
from ._status import SERVING, Status

if TYPE_CHECKING:
    from ..abc import SessionStore
    from ..bridge import Bridge
    from ._inside import Inside

# Seconds that calls in flight have to end by themselves when a context stops.
DRAIN = 5.0
# Seconds that what was cancelled has to go, and the mailbox to be served when no drain is left.
SETTLE = 5.0

log = logging.getLogger(__name__)


_BRIDGE = f"{__name__.partition('.')[0]}.bridge"


async def _nothing(request: Request) -> None:
    """A request that marks a place in the mailbox."""


async def load_the_bridge() -> None:
    """Imports what a private bridge needs, once a process, in a thread: it takes longer than anybody may hold the loop."""
    if _BRIDGE not in sys.modules:
        await anyio.to_thread.run_sync(import_module, _BRIDGE)


class Life:
    """From entering the block to leaving it."""

    __slots__ = ("_begun", "_body", "_closing", "_context", "_group", "_owner", "_up")

    def __init__(self, context: Inside) -> None:
        self._context = context
        self._group: TaskGroup = anyio.create_task_group()
        self._body = anyio.CancelScope()
        self._owner: anyio.TaskHandle[None] | None = None
        self._begun = False
        self._up = False
        self._closing = False

    @property
    def up(self) -> bool:
        """Whether it came up."""
        return self._up

    # --- the block ---------------------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Enters: opens the backend, starts the owner, defines and registers what the context is to begin with."""
        entry = self._context.variables
        entry.thread = settle()
        entry.on_crash = self._on_crash
        self._claim()
        await self._group.__aenter__()
        self._body.__enter__()
        try:
            await self._come_up()
            if self._body.cancel_called:
                # Stopped where nothing was awaited any more. To ask always would walk through all scopes that this one is in.
                await anyio.lowlevel.checkpoint_if_cancelled()

            self._up = True
            self._context.publish()
        except BaseException as error:
            if await self.end(type(error), error, error.__traceback__):
                raise entry.refusal() from None

            raise

    def _on_crash(self) -> None:
        self._body.cancel()
        self._context.tell_status()

    def _claim(self) -> None:
        entry = self._context.variables
        try:
            self._context.reserve()
        except DspexError:
            self._closing = True
            entry.finish(Status.CLOSED)
            self._context.over()
            raise

        entry.status = Status.STARTING

    async def _come_up(self) -> None:
        context = self._context
        entry = context.variables
        await self._open()
        entry.mailbox.open()
        entry.status = Status.RUNNING
        self._start_owner()
        entry.open_gate()
        await context.furnish()
        if context.ttl is not None:
            self._expire_when_idle(context.ttl)

    async def end(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> bool:
        """
        Leaves. What the body raised goes on as it is; ours is raised where the body has nothing of its own.

        Returns whether the body was ended from here.
        """
        ended_by_us = False
        try:
            # On trio it may raise: what is left of a group of the body's exceptions, with our own cancellation taken out of it.
            ended_by_us = bool(self._body.__exit__(kind, error, traceback))
        finally:
            await self._leave(self._grace() if error is None else 0.0)

        if self._has_crashed() and (ended_by_us or error is None):
            raise self._context.variables.refusal()

        return ended_by_us

    def _grace(self) -> float:
        """Seconds that calls in flight have to end by themselves."""
        return DRAIN

    def _patience(self) -> float:
        """Seconds that the owner has to finish what it has taken."""
        return SETTLE

    def _has_crashed(self) -> bool:
        return self._context.status is Status.CRASHED

    async def _leave(self, grace: float) -> None:
        try:
            with anyio.CancelScope(shield=True):
                await self._close(grace)
        finally:
            self._group.cancel_scope.shield = True
            self._group.cancel_scope.cancel()
            await self._group.__aexit__(None, None, None)

    # --- opening -----------------------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        context = self._context
        spec = context.spec
        backend: Any = None
        context.resolve_bridge()
        try:
            backend = await self._resumed()
            if backend is None:
                store = await self._store() if spec.kind == "bridged" else None
                backend = spec.make(store, holder=context.id)
                await self._open_backend(backend)
        except DspexError:
            raise
        except Exception as error:
            raise BackendInitError(spec.name, problem=f"{type(error).__name__}: {error}") from error

        context.install(backend)

    def _start_owner(self) -> None:
        context = self._context
        self._owner = self._group.start_soon(self._own, name=f"dspex owner of {context.name or context.id}")

    async def _resumed(self) -> Any:
        """The backend of a session that the given bridge's store knows already; None if there is none."""
        context = self._context
        if context.spec.kind == "custom" or not context.may_resume:
            return None

        backend = bridged_over(await self._store(), holder=context.id, mode="resume")
        try:
            await self._open_backend(backend)
        except SessionNotFound:
            return None

        context.resumed = True
        return backend

    async def _store(self) -> SessionStore:
        await load_the_bridge()
        return (await self._context.open_bridge()).store

    async def _open_backend(self, backend: Any) -> None:
        context = self._context
        existing = context.existing
        if not isinstance(backend, SyncStateBackend):
            await backend.open(context.id, ttl=context.ttl, existing=existing)
        elif not existing:
            backend.open(context.id, ttl=context.ttl)
        else:
            for _ in backend.open_in_slices(context.id, ttl=context.ttl, existing=existing):
                await anyio.lowlevel.checkpoint()

    async def _own(self) -> None:
        self._begun = True
        entry = self._context.variables
        try:
            await (entry.serve() if entry.synchronous else entry.serve_sheltered())
        except Exception as error:  # noqa: BLE001 - the owner never raises into the group
            entry.crash(error, "the owner itself")
        except BaseException as error:
            if self._closing:
                raise

            # No scope of ours is cancelled: a stranger cancelled the task itself, and that is a crash.
            if anyio.current_effective_deadline() > -math.inf:
                entry.crash(error, "the owner itself")
                raise

            # An outer scope is: the body, cancelled too, may still use the context while it cleans up, and its end is what stops us.
            with anyio.CancelScope(shield=True):
                await self._own_shielded()

            raise

    async def _own_shielded(self) -> None:
        entry = self._context.variables
        try:
            await entry.serve()
        except Exception as error:  # noqa: BLE001 - as above
            entry.crash(error, "the owner itself")
        except BaseException as error:
            if not self._closing:
                entry.crash(error, "the owner itself")

            raise

    def _expire_when_idle(self, ttl: float) -> None:
        """Watches for use in eighths of *ttl*, so that a use costs nothing and expiry is at most a quarter late."""
        self._group.start_soon(self._watch_use, ttl, name=f"dspex ttl of {self._context.id}")

    async def _watch_use(self, ttl: float) -> None:
        context = self._context
        seen, since = context.uses, anyio.current_time()
        while context.status in SERVING:
            await anyio.sleep(ttl / 8)
            now = anyio.current_time()
            if context.status not in SERVING:
                return

            if context.uses != seen or context.in_use:
                seen, since = context.uses, now
            elif now - since >= ttl:
                context.variables.finish(Status.EXPIRED)
                context.release_host()
                with anyio.CancelScope(shield=True):
                    await self._close(0.0)

    # --- a private bridge --------------------------------------------------------------------------------------------------------

    async def open_private_bridge(self) -> Bridge:
        """A bridge of this context's own, in a task of this group. It waits for no worker."""
        context = self._context
        if context.private is None:
            from ..bridge import Bridge

            context.private = Bridge(name=f"bridge of {context.id}")
            context.private.open_nowait(self._group)

        return context.private

    async def stop_private_bridge(self) -> None:
        """Stops it, if there is one, and waits until nothing of it runs. What its store has is kept."""
        if self._context.private is not None:
            await self._context.private.stop()

    # --- closing -----------------------------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Closes the context while its block goes on. One that is still starting is turned back."""
        if not self._up:
            self.turn_back()
        elif not self._closing:
            self._group.start_soon(self._close_shielded, name=f"dspex stop of {self._context.id}")

        await self._context.closed.wait()

    def turn_back(self) -> None:
        """Ends the start, if it isn't up yet. It raises `ContextClosed`."""
        if not self._up:
            self._body.cancel()

    async def _close_shielded(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._close(DRAIN)

    async def _close(self, grace: float) -> None:
        if self._closing:
            await self._context.closed.wait()
            return

        self._closing = True
        try:
            await self._drain(grace)
            await self._end_owner()
            await self._close_backend()
            await self._context.close_private_bridge()
        finally:
            self._context.over()

    async def _drain(self, grace: float) -> None:
        """Newcomers are refused; calls have *grace* seconds, then are cancelled and told; then the mailbox is served."""
        context = self._context
        entry = context.variables
        if entry.status in SERVING:
            entry.close_gate()
            entry.status = Status.STOPPING

        deadline = anyio.current_time() + grace
        calls = context.calls
        if calls:
            if entry.status is Status.STOPPING:
                with anyio.move_on_at(deadline):
                    await calls.wait_idle()

            calls.cancel(entry.refusal())
            with anyio.move_on_after(SETTLE):
                await calls.wait_idle()

        if entry.status is Status.STOPPING and entry.mailbox.ledger:
            with anyio.move_on_at(max(deadline, anyio.current_time() + SETTLE)):
                await entry.mailbox.ask(Request("run", (_nothing,)))

        # It may have crashed while it was served.
        if entry.status in (Status.STOPPING, Status.STARTING, Status.RESTARTING):
            entry.finish(Status.CLOSED)

    async def _end_owner(self) -> None:
        """The mailbox is closed, which ends the owner; one that is held up in its backend is cancelled."""
        if self._owner is None or await self._never_begins():
            return

        with anyio.move_on_after(self._patience()):
            await self._owner.wait()
            return

        if (taking := self._context.variables.taking) is not None:
            taking.cancel()

        await self._owner.wait()

    async def _never_begins(self) -> bool:
        """Whether a stranger cancelled the owner's task before its first step. Then it makes none, and nobody hears of its end."""
        for _ in range(2):
            if not self._begun:
                # Once the loop has come round, every task has made its first step that ever does.
                await anyio.lowlevel.cancel_shielded_checkpoint()

        return not self._begun

    async def _close_backend(self) -> None:
        context = self._context
        if context.variables.backend is not None:
            await close(context.variables.backend, context.id, drop=not context.keeps_session)


async def close(backend: Any, context_id: str, *, drop: bool) -> bool:
    """Closes *backend*. One that fails is reported, and nothing else. Whether it closed."""
    try:
        with anyio.fail_after(SETTLE):
            closing = backend.close(drop=drop)
            if closing is not None:
                await closing
    except Exception:
        log.exception("context %r: closing its backend failed", context_id, extra={"dspex_context": context_id})
        return False

    return True


def close_nowait(backend: SyncStateBackend, context_id: str, *, drop: bool) -> None:
    """The same of a backend that needs no await."""
    try:
        backend.close(drop=drop)
    except Exception:
        log.exception("context %r: closing its backend failed", context_id, extra={"dspex_context": context_id})
