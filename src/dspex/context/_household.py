"""
A household: one life of a family, from entering its block to leaving it.

What is to be done is decided by its `Tenancy`, and done by the `Upkeep` that this is. The supervisor of the contexts is kept by a task of its own;
what one of them opens for all, the private bridge, closes last.
"""

from __future__ import annotations

import logging
from _thread import get_ident
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import anyio

from .._exceptions import CallCycle, CallTimeout, ContextClosed, SaveFailed, WrongThread
from ..supervision import DynamicSupervisor
from ._farewell import AT_ONCE, Parting, at_work, is_over
from ._handle import Context
from ._life import SETTLE
from ._tenancy import PAUSE
from ._tenant import Claim, Stage, Tenant, Wish
from ._upkeep import SAVING, Upkeep

if TYPE_CHECKING:
    from types import TracebackType

log = logging.getLogger(__name__)

# What this code holds, outermost first; those it has let go of may still be in it.
_holding: ContextVar[tuple[Claim, ...]] = ContextVar("dspex_holding", default=())

# With these there is something to part with at the end.
_LEFT = (Stage.LIVE, Stage.LOST)


class Household(Upkeep):
    """The running part of a family."""

    # --- the block ---------------------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Enters: from here on contexts can be opened."""
        await self._group.__aenter__()
        try:
            # Not by start(): cancelled there, it would wait for the end of a task that waits for ours.
            self._group.start_soon(self._keep, name=f"{self._name} (its contexts)")
            await self._founded.wait()
        except BaseException:
            self._over.set()
            await self._leave_group()
            raise

        self._group.start_soon(self._sweep, name=f"{self._name} (idle contexts)")

    async def end(self, error: BaseException | None) -> None:
        """Leaves. What the body raised goes on as it is; what couldn't be saved is raised where the body has nothing of its own."""
        try:
            await self._close(self._ways.drain if error is None else 0.0)
        finally:
            await self._leave_group()

        if error is None and self.failure is not None:
            raise self.failure

    async def _leave_group(self) -> None:
        self._group.cancel_scope.shield = True
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(None, None, None)

    async def _keep(self) -> None:
        try:
            with anyio.CancelScope(shield=True):
                supervisor = DynamicSupervisor(name=self._path)
                supervisor.is_part = True
                async with supervisor as self._supervisor:
                    self._founded.set()
                    await self._over.wait()
        finally:
            self._kept.set()

    # --- for holders -------------------------------------------------------------------------------------------------------------

    async def obtain(self, key: str, wish: Wish) -> Claim:
        """Waits until *wish* is granted, and returns the claim that has it. See `Contexts.open`."""
        self.check_thread()
        while True:
            claim = await self._obtain(key, wish)
            if claim.context is None or not is_over(claim.context):
                return claim

            # It ended before this code had its turn.
            self.release(claim)

    async def _obtain(self, key: str, wish: Wish) -> Claim:
        flow = tuple(claim for claim in _holding.get() if _is_held(claim))
        self._refuse_circle(key, wish, flow)
        claim = Claim(wish, flow=flow)
        if self.closing and (self._final is not None or not self._holds(flow, key)):
            raise self._closed(key)

        tenant = self.tenancy.claim(key, claim, anyio.current_time())
        self._act()
        if not claim.settled:
            await self._wait(claim, tenant)

        if claim.error is not None:
            raise claim.error

        return claim

    async def _wait(self, claim: Claim, tenant: Tenant) -> None:
        event = anyio.Event()
        claim.wake = event.set
        try:
            circle = self.tenancy.circle(tenant, claim.flow) if tenant.stage is Stage.LIVE else []
            if circle:
                mine = [held.tenant.key for held in claim.flow if held.tenant is not None]
                raise CallCycle(
                    chain=[*map(repr, mine), *map(repr, circle)], problem=f"Who holds {tenant.key!r} waits for a key that is held here."
                )

            await event.wait()
        except BaseException:
            self.tenancy.withdraw(claim, anyio.current_time())
            self._act()
            raise

    def release(self, claim: Claim) -> None:
        """*claim* is held no longer."""
        self.tenancy.release(claim, anyio.current_time())
        self._act()

    def check_thread(self) -> None:
        """Raises `WrongThread` unless the caller is on the family's thread."""
        if get_ident() != self._thread:
            raise WrongThread(self._name, what="Family")

    def refuse_holder(self, what: str) -> None:
        """
        Whether the caller may wait for the end of the household.

        Raises:
            CallCycle: it holds a key, and would be waited for.

        """
        busy = [claim.tenant for claim in _holding.get() if _is_held(claim) and claim.tenant is not None]
        mine = [tenant.key for tenant in (*busy, *at_work.get()) if self.tenancy.tenants.get(tenant.key) is tenant]
        if mine:
            raise CallCycle(chain=[*map(repr, mine), what], problem=f"Who holds a key of family {self._name!r} can't wait for its end.")

    def _refuse_circle(self, key: str, wish: Wish, flow: tuple[Claim, ...]) -> None:
        tenant = self.tenancy.tenants.get(key)
        if tenant is None:
            return

        asked = {Wish.JOIN: "open", Wish.EXCLUSIVE: "open exclusively", Wish.DROP: "drop"}[wish]
        if tenant in at_work.get():
            raise CallCycle(chain=[repr(key), f"{asked} {key!r}"], problem=f"What loads, furnishes or saves {key!r} can't wait for it.")

        inside = tenant.context._inside if tenant.context is not None else None
        chain = inside.calls.own_chain() if inside is not None and inside.calls else ()
        if wish is not Wish.JOIN and (self._holds(flow, key) or chain):
            raise CallCycle(
                chain=[*(chain or [repr(key)]), f"{asked} {key!r}"],
                problem=f"Who holds {key!r} would wait for itself. Leave the block first.",
            )

    def _holds(self, flow: tuple[Claim, ...], key: str) -> bool:
        tenant = self.tenancy.tenants.get(key)
        return any(claim.tenant is tenant for claim in flow)

    def _closed(self, key: str) -> ContextClosed:
        return ContextClosed(key, status="closed", hint=f"Its family {self._name!r} is {'closed' if self.closed.is_set() else 'stopping'}.")

    # --- the end -----------------------------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Ends it while its block goes on."""
        if not self.closing:
            self.closing = True
            self._group.start_soon(self._close_once, self._ways.drain, name=f"{self._name} (its end)")

        await self.closed.wait()
        if self.failure is not None:
            raise self.failure

    async def _close(self, grace: float) -> None:
        if not self.closing:
            self.closing = True
            await self._close_once(grace)
            return

        if grace == 0 and self._unheld is not None:
            self._unheld.set()

        with anyio.CancelScope(shield=True):
            await self.closed.wait()

    async def _close_once(self, grace: float) -> None:
        """Holders have *grace* seconds; a cancellation, such as of an outer scope, cuts them short. The rest is done whatever comes."""
        try:
            self.tenancy.refuse_all(self._closed)
            self._act()
            await self._wait_unheld(grace)
        finally:
            with anyio.CancelScope(shield=True):
                await self._save_and_end()

    async def _save_and_end(self) -> None:
        try:
            self._sweeping.cancel()
            self.saver.hurry(SAVING)
            await self._wait_still()
            await self._part_with_all()
        finally:
            self._over.set()
            await self._kept.wait()
            if self._bridge is not None:
                await self._bridge.stop()

            self._report()
            self.closed.set()
            self._ended()

    async def _wait_unheld(self, grace: float) -> None:
        self._calm_by = anyio.current_time() + grace
        if self.tenancy.holds and grace > 0:
            self._unheld = anyio.Event()
            try:
                with anyio.move_on_after(grace):
                    await self._unheld.wait()
            except BaseException:
                self._calm_by = anyio.current_time()
                raise

    async def _wait_still(self) -> None:
        """No start and no eviction is under way."""
        with anyio.move_on_after(SAVING + SETTLE):
            while self._tasks:
                self._still = anyio.Event()
                await self._still.wait()

    async def _part_with_all(self) -> None:
        """Saves and ends all that are left. Those that can't be saved are tried once more, after a pause, and end with that."""
        self._final = deque()
        self.tenancy.refuse_all(self._closed)
        await self._part_with_each(last=False)
        if any(tenant.stage in _LEFT for tenant in self.tenancy.tenants.values()):
            await anyio.sleep(PAUSE)
            self.saver.hurry(SAVING)
            await self._part_with_each(last=True)

    async def _part_with_each(self, *, last: bool) -> None:
        for tenant in tuple(self.tenancy.tenants.values()):
            if tenant.stage in _LEFT:
                self.tenancy.evict(tenant)

        self._act()
        assert self._final is not None
        async with anyio.create_task_group() as tasks:
            for _ in range(min(AT_ONCE, len(self._final))):
                tasks.start_soon(self._part_with_some, last)

    async def _part_with_some(self, last: bool) -> None:
        while self._final:
            tenant = self._final.popleft()
            try:
                parting = await self._part(tenant, last=last)
            except Exception as error:  # noqa: BLE001 - a defect in here; the others are still to be saved
                parting = Parting(gone=last, error=error)

            if last and parting is not None and parting.error is not None:
                self._unsaved[tenant.key] = parting

            self._settle(tenant, parting)
            self._act()

    def _report(self) -> None:
        for tenant in self.tenancy.tenants.values():
            if tenant.stage is Stage.LEAVING:
                self._unsaved[tenant.key] = Parting(gone=True, error=CallTimeout(what=f"The context {tenant.key!r}", seconds=SAVING))

        if self._unsaved:
            unsaved = sorted(self._unsaved.items())
            errors = {key: parting.error for key, parting in unsaved if parting.error is not None}
            snapshots = {key: parting.snapshot for key, parting in unsaved if parting.snapshot is not None}
            self.failure = self.last_error = SaveFailed(self._name, errors=errors, snapshots=snapshots)
            self.failure.__cause__ = next(iter(errors.values()), None)
            log.error("%s", self.failure, extra={"dspex_family": self._name, "dspex_unsaved": len(unsaved)})


class Opening(AbstractAsyncContextManager[Context]):
    """What ``open()`` gives: the block in which its context is held."""

    __slots__ = ("_at_home", "_claim", "_house", "_key", "_wish")

    def __init__(self, at_home: Callable[[str], Household], key: str, wish: Wish) -> None:
        self._at_home = at_home
        self._key = key
        self._wish = wish
        self._claim: Claim | None = None
        self._house: Household | None = None

    async def __aenter__(self) -> Context:
        if self._claim is not None:
            raise RuntimeError(f"open({self._key!r}) was entered already. Call open() again.")

        house = self._at_home(self._key)
        claim = await house.obtain(self._key, self._wish)
        self._claim, self._house = claim, house
        _note_held(claim)
        assert claim.context is not None
        return claim.context

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._claim is not None
        assert self._house is not None
        claim, self._claim = self._claim, None
        _note_released(claim)
        self._house.release(claim)


def _is_held(claim: Claim) -> bool:
    return claim.tenant is not None and claim in (claim.tenant.holds or ())


def _note_held(claim: Claim) -> None:
    """This code holds *claim*. Noted by value: who lets go of it may be another task, as with a dependency of a web framework."""
    _holding.set((*(held for held in _holding.get() if _is_held(held)), claim))


def _note_released(claim: Claim) -> None:
    """It holds it no longer."""
    _holding.set(tuple(held for held in _holding.get() if held is not claim))
