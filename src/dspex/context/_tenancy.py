"""
Who has which key of a family, who waits for one, and which context has to go to make room. Plain steps; no I/O.

`Tenancy` is all keys; its methods are what happens, and what has to be done about it is left in `deeds` for whoever does it.

*The stages of a key*::

    ABSENT -> STARTING -> LIVE <-> LEAVING -> ABSENT        a context that is evicted, or dropped; back to LIVE if it can't be saved
                           |
                           +-> LOST <-> LEAVING             it crashed for good, and what it held waits to be saved: no context, a snapshot

*Idle order.* A key that nobody holds goes to the end of `idle`. All keys may be idle equally long, so the first in it is both the least recently
used and the first whose time is up: each step takes the same time however many there are.

*Rooms.* A key that isn't ABSENT has one of so many rooms. When they are taken, a new key is heir to the room of one that leaves, and starts when
that is gone. A context that couldn't be saved stays, and its heir is given another.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from ._tenant import UP, Claim, Deed, Stage, Tenant, Wish

if TYPE_CHECKING:
    from ..variables import Snapshot
    from ._handle import Context

# How many contexts are tried, each of which can't be saved or turns out to be busy, before a newcomer is told that there is no room.
TRIES = 3
# Seconds that a context which couldn't be saved is left alone: the first time, by what it grows, and the longest.
PAUSE, GROWTH, LONGEST = 1.0, 2.0, 300.0


class Tenancy:
    """
    All keys of a family.

    Args:
        rooms: how many of them may have a context at once.
        idle: seconds that one stays without anybody holding it.
        refusal: makes the error for a newcomer that finds no room: of what kept the last one tried from leaving, or None.
        over: whether a context has ended, which may be known before it is told here.

    Attributes:
        deeds: what is to be done, in order. Taken by whoever does it.
        holds: how many claims are held; *held*: how many keys are; *waiting*: how many claims wait.
        stages: how many keys are where.

    """

    def __init__(
        self, *, rooms: int, idle: float, refusal: Callable[[BaseException | None], BaseException], over: Callable[[Context], bool]
    ) -> None:
        self.tenants: dict[str, Tenant] = {}
        self.stages: Counter[Stage] = Counter()
        self.deeds: list[tuple[Deed, Tenant]] = []
        self.holds: int = 0
        self.held: int = 0
        self.waiting: int = 0
        self._free = rooms
        self._idle_seconds = idle
        self._refusal = refusal
        self._over = over
        self._idle: OrderedDict[Tenant, float] = OrderedDict()
        self._leaving: OrderedDict[Tenant, None] = OrderedDict()
        self._pauses: list[tuple[float, int, Tenant]] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return sum(self.stages[stage] for stage in UP)

    # --- claims ------------------------------------------------------------------------------------------------------------------

    def claim(self, key: str, claim: Claim, now: float) -> Tenant:
        """Somebody wants *key*. If the claim isn't settled after this step, it waits."""
        tenant = self.tenants.get(key)
        if tenant is None:
            tenant = self.tenants[key] = Tenant(key)

        tenant.queue(claim)
        self.waiting += 1
        self._advance(tenant, now)
        if not claim.settled:
            claim.wait()

        return tenant

    def withdraw(self, claim: Claim, now: float) -> None:
        """Whoever made *claim* has gone. A start that nobody waits for any more is turned back."""
        tenant = claim.tenant
        assert tenant is not None
        if claim.settled:
            self.release(claim, now)
            return

        self._settle(tenant, claim)
        if tenant.stage is Stage.STARTING and all(waiting.wish is Wish.DROP for waiting in tenant.line or ()):
            self._abandon(tenant)

        self._advance(tenant, now)

    def release(self, claim: Claim, now: float) -> None:
        """*claim* is held no longer."""
        tenant = claim.tenant
        if tenant is None or not tenant.holds or claim not in tenant.holds:
            return

        tenant.let_go(claim)
        self.holds -= 1
        self.held -= not tenant.holds
        self._advance(tenant, now)

    def refuse_all(self, error: Callable[[str], BaseException]) -> None:
        """Nobody waits any more: each is told *error*. Starts are turned back."""
        for tenant in tuple(self.tenants.values()):
            for claim in tuple(tenant.line or ()):
                self._settle(tenant, claim, error(tenant.key))

            if tenant.stage is Stage.STARTING:
                self._abandon(tenant)
                self._advance(tenant, 0.0)

    def circle(self, tenant: Tenant, flow: tuple[Claim, ...]) -> list[str]:
        """The keys from *tenant* on that wait for one another and, at the end, for what *flow* holds; empty if waiting would end."""
        seen = {tenant}
        paths = [(tenant, [tenant.key])]
        while paths:
            at, path = paths.pop()
            for held in at.holds or ():
                if held in flow:
                    return path

                for waiting in held.pending or ():
                    there = waiting.tenant
                    if there is not None and there not in seen:
                        seen.add(there)
                        paths.append((there, [*path, there.key]))

        return []

    # --- what became of a deed ---------------------------------------------------------------------------------------------------

    def started(self, tenant: Tenant, context: Context, now: float) -> None:
        """Its context is up."""
        tenant.context = context
        tenant.snapshot = None
        self._move(tenant, Stage.LIVE)
        self._advance(tenant, now)

    def start_failed(self, tenant: Tenant, error: Callable[[], BaseException] | None, now: float) -> None:
        """It isn't, and all who waited for it are told *error*. None: it was turned back, and who came since tries anew."""
        self._move(tenant, Stage.ABSENT if tenant.snapshot is None else Stage.LOST)
        if error is not None:
            self._refuse_line(tenant, error)

        if tenant.snapshot is not None:
            self._pause(tenant, now)

        self._vacate(tenant)
        self._advance(tenant, now)

    def left(self, tenant: Tenant, now: float) -> None:
        """It is gone, and what had to be saved is."""
        self._gone(tenant, None, now)

    def lost(self, tenant: Tenant, snapshot: Snapshot | None, now: float) -> None:
        """Its context is gone for good, leaving *snapshot* to be saved. None: nothing that isn't saved."""
        self._gone(tenant, snapshot, now)

    def stayed(self, tenant: Tenant, now: float, error: BaseException | None = None) -> None:
        """It couldn't leave: of *error*, which stopped it from being saved, or None: it was busy after all."""
        self._leaving.pop(tenant, None)
        self._move(tenant, Stage.LIVE if tenant.snapshot is None else Stage.LOST)
        if error is not None:
            self._pause(tenant, now)

        heir = self._disinherit(tenant)
        self._advance(tenant, now)
        if heir is not None:
            heir.tries += 1
            self._settle_in(heir, error)
            self._advance(heir, now)

    # --- time --------------------------------------------------------------------------------------------------------------------

    def next_due(self) -> float:
        """When `evict_due` will have something to do, on the loop's clock."""
        while self._pauses and self._pauses[0][2].retry_at != self._pauses[0][0]:
            heapq.heappop(self._pauses)

        return min(self._first_idle(), self._pauses[0][0] if self._pauses else math.inf)

    def _first_idle(self) -> float:
        return next(iter(self._idle.values()), math.inf) + self._idle_seconds

    def evict_due(self, now: float, most: int) -> None:
        """Those whose time is up have to go, the longest idle first; at most *most*."""
        for _ in range(most):
            if self.next_due() > now:
                return

            tenant = next(iter(self._idle)) if self._first_idle() <= now else self._pauses[0][2]
            self._depart(tenant, Deed.EVICT)

    def evict(self, tenant: Tenant) -> None:
        """It has to go now, whoever holds it: the family ends."""
        self._depart(tenant, Deed.EVICT)

    # --- the line ----------------------------------------------------------------------------------------------------------------

    def _advance(self, tenant: Tenant, now: float) -> None:
        """Looks at the line: grants what can be granted, and says what has to be done for the first of those that are left."""
        while (claim := tenant.first) is not None and self._serve(tenant, claim):
            pass

        if tenant.line is None:
            self._rest(tenant, now)

    def _serve(self, tenant: Tenant, claim: Claim) -> bool:
        """Whether *claim*, the first in line, is settled in this step."""
        if tenant.stage in (Stage.STARTING, Stage.LEAVING):
            return False

        if claim.wish is Wish.DROP:
            return self._serve_drop(tenant, claim)

        if tenant.stage is not Stage.LIVE:
            tenant.tries = 0
            return self._settle_in(tenant)

        if tenant.context is not None and self._over(tenant.context):
            self._depart(tenant, Deed.EVICT)
            return False

        if tenant.admits(claim):
            self._grant(tenant, claim)
            return True

        return False

    def _serve_drop(self, tenant: Tenant, claim: Claim) -> bool:
        if tenant.holds:
            return False

        if tenant.stage is not Stage.ABSENT:
            self._depart(tenant, Deed.DROP)
            return False

        self._settle(tenant, claim)
        return True

    def _grant(self, tenant: Tenant, claim: Claim) -> None:
        self._settle(tenant, claim)
        claim.context = tenant.context
        self.held += not tenant.holds
        tenant.hold(claim)
        self.holds += 1
        self._idle.pop(tenant, None)
        tenant.retry_at = None

    def _settle(self, tenant: Tenant, claim: Claim, error: BaseException | None = None) -> None:
        tenant.unqueue(claim)
        self.waiting -= 1
        claim.settle(error)

    def _refuse_line(self, tenant: Tenant, error: Callable[[], BaseException]) -> None:
        for claim in tuple(tenant.line or ()):
            if claim.wish is not Wish.DROP:
                self._settle(tenant, claim, error())

    def _rest(self, tenant: Tenant, now: float) -> None:
        """Nobody waits for it."""
        if tenant.stage is Stage.LOST and tenant.retry_at is None:
            self._depart(tenant, Deed.EVICT)
        elif tenant.holds:
            return
        elif tenant.stage is Stage.ABSENT:
            if self.tenants.get(tenant.key) is tenant:
                del self.tenants[tenant.key]
        elif tenant.stage is Stage.LIVE and tenant.retry_at is None and tenant not in self._idle:
            self._idle[tenant] = now

    # --- stages and rooms --------------------------------------------------------------------------------------------------------

    def _move(self, tenant: Tenant, stage: Stage) -> None:
        self.stages[tenant.stage] -= 1
        self.stages[stage] += 1
        tenant.stage = stage

    def _depart(self, tenant: Tenant, deed: Deed) -> None:
        self._idle.pop(tenant, None)
        tenant.retry_at = None
        self._leaving[tenant] = None
        self._move(tenant, Stage.LEAVING)
        self.deeds.append((deed, tenant))

    def _gone(self, tenant: Tenant, snapshot: Snapshot | None, now: float) -> None:
        self._idle.pop(tenant, None)
        self._leaving.pop(tenant, None)
        tenant.retry_at = None
        tenant.strikes = 0
        tenant.context = None
        tenant.snapshot = snapshot
        self._move(tenant, Stage.ABSENT if snapshot is None else Stage.LOST)
        heir = self._disinherit(tenant)
        self._vacate(tenant)
        if heir is not None:
            self._settle_in(heir)
            self._advance(heir, now)

        self._advance(tenant, now)

    def _pause(self, tenant: Tenant, now: float) -> None:
        """It is left alone for a while, longer each time."""
        tenant.strikes += 1
        tenant.retry_at = now + min(LONGEST, PAUSE * GROWTH ** min(tenant.strikes - 1, 64))
        heapq.heappush(self._pauses, (tenant.retry_at, next(self._numbers), tenant))

    def _settle_in(self, tenant: Tenant, error: BaseException | None = None) -> bool:
        """Starts it as soon as it has a room. Whether it gets none, and all in line were told so, with the *error* that kept one taken."""
        if not tenant.room and self._free > 0:
            self._free -= 1
            tenant.room = True

        if not tenant.room and not self._expects_room(tenant):
            self._move(tenant, Stage.ABSENT)
            self._refuse_line(tenant, lambda: self._refusal(error))
            return True

        tenant.retry_at = None
        self._move(tenant, Stage.STARTING)
        if tenant.room:
            self.deeds.append((Deed.START, tenant))

        return False

    def _expects_room(self, tenant: Tenant) -> bool:
        """Makes *tenant* the heir of one that leaves already, or else of the one least recently used, which then has to."""
        if tenant.tries >= TRIES:
            return False

        if not self._leaving and self._idle:
            self._depart(next(iter(self._idle)), Deed.EVICT)

        if not self._leaving:
            return False

        leaving, _ = self._leaving.popitem(last=False)
        leaving.heir, tenant.heir_of = tenant, leaving
        return True

    def _vacate(self, tenant: Tenant) -> None:
        if tenant.room and tenant.stage is Stage.ABSENT:
            tenant.room = False
            self._free += 1

    def _disinherit(self, tenant: Tenant) -> Tenant | None:
        heir, tenant.heir = tenant.heir, None
        if heir is not None:
            heir.heir_of = None

        return heir

    def _abandon(self, tenant: Tenant) -> None:
        """Nobody waits for its start any more."""
        if tenant.room:
            self.deeds.append((Deed.TURN_BACK, tenant))
            return

        self._move(tenant, Stage.ABSENT)
        leaving, tenant.heir_of = tenant.heir_of, None
        if leaving is not None:
            leaving.heir = None
            self._leaving[leaving] = None
