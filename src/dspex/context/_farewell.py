"""
How a context of a family is parted with: saved in its owner's turn, and ended in that same turn.

The turn is a request in the mailbox like any other. While it is in service nothing else is taken, so what was acknowledged is in the snapshot, and
what comes later is not acknowledged: once the snapshot is saved the context ends in that very step, and who is still in line is told so. If it
can't be saved the turn is over and the line is served, as if nothing had been.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import anyio
from attrs import frozen

from .._exceptions import CallTimeout, ContextClosed
from ..variables import Snapshot
from ._life import SETTLE
from ._mailbox import TAKEN
from ._status import PAUSED, Status

if TYPE_CHECKING:
    from ._handle import Context
    from ._mailbox import Request
    from ._tenant import Tenant

Save = Callable[[str, Snapshot], Awaitable[object] | object]

# So many snapshots are saved at once; the others wait.
AT_ONCE = 64

# The keys that this code loads, furnishes or saves: it can't wait for them.
at_work: ContextVar[tuple[Tenant, ...]] = ContextVar("dspex_at_work", default=())


@contextlib.contextmanager
def working_on(tenant: Tenant) -> Generator[None]:
    """Notes that the code in the block is what others wait for."""
    token = at_work.set((*at_work.get(), tenant))
    try:
        yield
    finally:
        at_work.reset(token)


@frozen
class Parting:
    """
    What came of it.

    Attributes:
        gone: whether it has ended.
        error: why it couldn't be saved, if that was to be done.
        snapshot: what wasn't saved then.

    """

    gone: bool
    error: Exception | None = None
    snapshot: Snapshot | None = None


class Saver:
    """
    Saves snapshots, so many at once.

    *At the end* there is a limit for each save, and not for all of them: however many there are, they are saved as long as it goes on. Once nothing
    has been saved for that long, those that wait for their turn are given up.
    """

    def __init__(self, save: Save | None) -> None:
        self._save = save
        self._places = anyio.Semaphore(AT_ONCE)
        self._scopes: set[anyio.CancelScope] = set()
        self._limit = math.inf
        self._progress = 0.0
        self.saved: int = 0
        self.failed: int = 0

    @property
    def saves(self) -> bool:
        """Whether there is anything to save with."""
        return self._save is not None

    def hurry(self, limit: float) -> None:
        """From now on each save has *limit* seconds, those that are under way included."""
        self._limit = limit
        self._progress = anyio.current_time()
        for scope in self._scopes:
            scope.deadline = self._progress + limit

    async def save(self, tenant: Tenant, snapshot: Snapshot) -> Exception | None:
        """Saves *snapshot*. Returns what kept it from being saved."""
        if self._save is None:
            return None

        async with self._places:
            error = await self._save_in_time(self._save, tenant, snapshot)

        if error is None:
            self.saved += 1
            self._progress = anyio.current_time()
        else:
            self.failed += 1

        return error

    async def _save_in_time(self, save: Save, tenant: Tenant, snapshot: Snapshot) -> Exception | None:
        began = anyio.current_time()
        if began - self._progress >= self._limit:
            return self._late(tenant)

        with anyio.CancelScope(deadline=began + self._limit) as scope:
            self._scopes.add(scope)
            try:
                return await self._saved(save, tenant, snapshot)
            finally:
                self._scopes.discard(scope)

        return self._late(tenant)

    def _late(self, tenant: Tenant) -> CallTimeout:
        return CallTimeout(what=f"save({tenant.key!r}, ...)", seconds=self._limit)

    @staticmethod
    async def _saved(save: Save, tenant: Tenant, snapshot: Snapshot) -> Exception | None:
        try:
            with working_on(tenant):
                made = save(tenant.key, snapshot)
                if isawaitable(made):
                    await made
        except Exception as error:  # noqa: BLE001 - the user's function: its failure keeps the context, and is told
            return error

        return None


async def part(tenant: Tenant, saver: Saver, *, forced: bool, last: bool) -> Parting:
    """
    Saves the context of *tenant* if anything has happened in it, and ends it.

    Args:
        tenant: whose context it is.
        saver: what saves it.
        forced: whether it ends although programs run in it.
        last: whether it ends although it couldn't be saved.

    Raises:
        DspexError: it crashed meanwhile, or had ended already.

    """
    context = tenant.context
    assert context is not None

    async def in_turn(request: Request) -> Parting:
        """In the owner's turn."""
        entry = context.variables
        if context._inside.calls and not forced:
            return Parting(gone=False)

        # One operation is this very turn.
        if entry.operations - 1 == tenant.unchanged or not saver.saves:
            parting = Parting(gone=True)
        else:
            snapshot = await _taken(context)
            error = await saver.save(tenant, snapshot)
            parting = Parting(gone=error is None or last, error=error, snapshot=None if error is None else snapshot)

        # If it crashed meanwhile the turn was answered, and the state belongs to the next life.
        if parting.gone and request.state == TAKEN:
            entry.mailbox.answer(request, parting)
            entry.finish(Status.CLOSED)

        return parting

    unchanged = context.variables.operations == tenant.unchanged
    parting: Parting = await context.variables.enqueue("run", in_turn)
    if not parting.gone and unchanged and context.variables.operations == tenant.unchanged + 1:
        tenant.unchanged += 1

    return parting


async def _taken(context: Context) -> Snapshot:
    found: Any = [variable async for page in context.variables.pages() for variable in page]
    return Snapshot(session_id=context.id, variables=found)


async def remains(tenant: Tenant, saver: Saver, ended: Exception) -> tuple[Snapshot | None, Exception | None]:
    """
    Of a context that *ended* for good: what is to be saved of it, and why that can't be told any more, if it can't.

    Neither, where nothing has happened since it was loaded or saved.
    """
    context = tenant.context
    if context is None or not saver.saves or context.variables.operations == tenant.unchanged:
        return None, None

    entry = context.variables
    if entry.backend is None or entry.status not in {*PAUSED, Status.CRASHED}:
        if not is_over(context):
            # It goes on, and doesn't answer.
            return None, ended

        return None, ContextClosed(context.id, status=entry.status.value, hint="It was stopped by somebody else, and what it held with it.")

    try:
        with anyio.fail_after(SETTLE):
            return await _taken(context), None
    except Exception as error:  # noqa: BLE001 - it may be what the context crashed of
        return None, error


def is_over(context: Context) -> bool:
    """Whether *context* serves no more, and doesn't come back by itself."""
    return context.status not in (Status.RUNNING, Status.SWITCHING, Status.RESTARTING)
