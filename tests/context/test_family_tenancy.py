"""Who has which key of a family, who waits, and who has to go: decided in plain steps, and checked against a model of what was promised."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dspex import Overloaded, Snapshot
from dspex.context._tenancy import LONGEST, TRIES, Tenancy
from dspex.context._tenant import Claim, Deed, Stage, Tenant, Wish

CONTEXT: Any = object()


def full(error: BaseException | None) -> BaseException:
    refusal = Overloaded(what="The family", limit=0)
    refusal.__cause__ = error
    return refusal


class Family:
    """A tenancy and whoever does its deeds, at once and without fail."""

    def __init__(self, rooms: int = 2, idle: float = 10.0) -> None:
        self.tenancy = Tenancy(rooms=rooms, idle=idle, refusal=full, over=lambda context: False)
        self.now = 0.0
        self.done: list[tuple[str, str]] = []

    def claim(self, key: str, wish: Wish = Wish.JOIN, *, flow: tuple[Claim, ...] = ()) -> Claim:
        claim = Claim(wish, flow=flow)
        self.tenancy.claim(key, claim, self.now)
        return claim

    def release(self, *claims: Claim) -> None:
        for claim in claims:
            self.tenancy.release(claim, self.now)

    def run(self) -> None:
        while self.tenancy.deeds:
            deed, tenant = self.tenancy.deeds.pop(0)
            self.done.append((deed.value, tenant.key))
            if deed is Deed.START:
                self.tenancy.started(tenant, CONTEXT, self.now)
            elif deed in (Deed.EVICT, Deed.DROP):
                self.tenancy.left(tenant, self.now)

    def up(self, key: str) -> Claim:
        claim = self.claim(key)
        self.run()
        assert has(claim)
        return claim

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.tenancy.evict_due(self.now, 10_000)
        self.run()

    def keys(self) -> list[str]:
        return [key for key, tenant in self.tenancy.tenants.items() if tenant.stage is Stage.LIVE]


def has(claim: Claim) -> bool:
    return claim.settled and claim.error is None


def test_the_first_claim_starts_a_key_and_the_others_join_that_start() -> None:
    family = Family()
    claims = [family.claim("a") for _ in range(3)]
    assert [claim.settled for claim in claims] == [False] * 3
    family.run()
    assert [has(claim) for claim in claims] == [True] * 3
    assert family.done == [("start", "a")]


def test_all_who_waited_for_a_start_that_fails_are_told_and_the_next_one_tries_again() -> None:
    family = Family()
    claims = [family.claim("a") for _ in range(2)]
    _, tenant = family.tenancy.deeds.pop()
    family.tenancy.start_failed(tenant, lambda: RuntimeError("no"), 0.0)
    assert [str(claim.error) for claim in claims] == ["no", "no"]
    assert len({id(claim.error) for claim in claims}) == 2
    assert family.tenancy.tenants == {}
    family.up("a")


def test_an_exclusive_claim_waits_for_all_others_and_they_for_it_in_their_order() -> None:
    family = Family()
    first = family.up("a")
    alone, after, last = family.claim("a", Wish.EXCLUSIVE), family.claim("a"), family.claim("a", Wish.EXCLUSIVE)
    assert not alone.settled
    family.release(first)
    assert (has(alone), after.settled, last.settled) == (True, False, False)
    family.release(alone)
    assert (has(after), last.settled) == (True, False)
    family.release(after)
    assert has(last)


def test_who_has_it_exclusively_may_join_itself_and_passes_those_who_wait() -> None:
    family = Family()
    family.release(family.up("a"))
    alone = family.claim("a", Wish.EXCLUSIVE)
    other = family.claim("a")
    again = family.claim("a", flow=(alone,))
    assert (has(again), other.settled) == (True, False)
    family.release(again)
    assert not other.settled
    family.release(alone)
    assert has(other)


def test_what_nobody_holds_goes_after_its_time_the_longest_idle_first() -> None:
    family = Family(rooms=10)
    claims = {key: family.up(key) for key in "abc"}
    for key in "cab":
        family.now += 1
        family.release(claims[key])

    assert family.tenancy.next_due() == 11.0
    family.wait(9)
    assert family.done[3:] == [("evict", "c"), ("evict", "a")]
    family.wait(1)
    assert family.done[5:] == [("evict", "b")]
    assert family.tenancy.next_due() == math.inf


def test_what_is_held_is_never_idle() -> None:
    family = Family()
    held = family.up("a")
    family.wait(1e9)
    assert family.keys() == ["a"]
    family.release(held)
    again = family.up("a")
    family.wait(1e9)
    assert family.keys() == ["a"]
    family.release(again)
    family.wait(10)
    assert family.keys() == []


def test_past_the_bound_the_least_recently_used_makes_room() -> None:
    family = Family(rooms=2)
    a, b = family.up("a"), family.up("b")
    family.release(b, a)
    family.up("c")
    assert family.done[2:] == [("evict", "b"), ("start", "c")]
    assert family.keys() == ["a", "c"]


def test_with_all_held_a_newcomer_is_refused_at_once_and_nothing_of_it_is_left() -> None:
    family = Family(rooms=2)
    family.up("a")
    family.up("b")
    refused = family.claim("c")
    assert isinstance(refused.error, Overloaded)
    assert set(family.tenancy.tenants) == {"a", "b"}


def test_each_that_leaves_makes_room_for_one() -> None:
    family = Family(rooms=2)
    family.release(family.up("a"), family.up("b"))
    c, d, e = family.claim("c"), family.claim("d"), family.claim("e")
    assert (c.settled, d.settled, isinstance(e.error, Overloaded)) == (False, False, True)
    family.run()
    assert has(c)
    assert has(d)


def test_one_that_leaves_anyway_makes_room_before_another_has_to() -> None:
    family = Family(rooms=2, idle=10.0)
    a, b = family.up("a"), family.up("b")
    family.release(a)
    family.now = 10.0
    family.release(b)
    family.tenancy.evict_due(family.now, 10)
    family.claim("c")
    family.run()
    assert family.done[2:] == [("evict", "a"), ("start", "c")]
    assert family.keys() == ["b", "c"]


def test_one_that_cannot_be_saved_stays_and_the_next_one_goes() -> None:
    family = Family(rooms=2)
    family.release(family.up("a"), family.up("b"))
    c = family.claim("c")
    deed, a = family.tenancy.deeds.pop()
    assert (deed, a.key) == (Deed.EVICT, "a")
    family.tenancy.stayed(a, family.now, OSError("disk full"))
    family.run()
    assert has(c)
    assert family.keys() == ["a", "c"]


def test_after_a_few_that_cannot_be_saved_the_newcomer_is_refused_with_the_reason() -> None:
    family = Family(rooms=9)
    family.release(*[family.up(key) for key in "abcdefghi"])
    newcomer = family.claim("z")
    for _ in range(TRIES):
        assert not newcomer.settled
        _, tenant = family.tenancy.deeds.pop()
        family.tenancy.stayed(tenant, family.now, OSError("disk full"))

    assert isinstance(newcomer.error, Overloaded)
    assert isinstance(newcomer.error.__cause__, OSError)
    assert family.tenancy.deeds == []
    assert len(family.keys()) == 9


def test_one_that_cannot_be_saved_is_tried_again_after_pauses_that_grow() -> None:
    family = Family(idle=10.0)
    family.release(family.up("a"))
    tried: list[float] = []
    for _ in range(12):
        family.now = family.tenancy.next_due()
        tried.append(family.now)
        family.tenancy.evict_due(family.now, 1)
        _, tenant = family.tenancy.deeds.pop()
        family.tenancy.stayed(tenant, family.now, OSError("disk full"))

    pauses = [later - earlier for earlier, later in itertools.pairwise(tried)]
    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == LONGEST


def test_one_that_is_used_again_meanwhile_is_not_tried_before_it_is_idle() -> None:
    family = Family(idle=10.0)
    family.release(family.up("a"))
    family.now = 10.0
    family.tenancy.evict_due(10.0, 1)
    _, tenant = family.tenancy.deeds.pop()
    family.tenancy.stayed(tenant, 10.0, OSError("disk full"))
    held = family.up("a")
    family.wait(1000)
    assert family.done == [("start", "a")]
    family.release(held)
    assert family.tenancy.next_due() == family.now + 10.0


def test_who_comes_while_it_leaves_waits_and_starts_it_anew() -> None:
    family = Family(idle=10.0)
    family.release(family.up("a"))
    family.tenancy.evict_due(10.0, 1)
    late = family.claim("a")
    assert not late.settled
    family.run()
    assert has(late)
    assert family.done == [("start", "a"), ("evict", "a"), ("start", "a")]


def test_a_start_that_nobody_waits_for_is_turned_back_and_who_comes_later_has_one_of_its_own() -> None:
    family = Family()
    first = family.claim("a")
    (start,) = family.tenancy.deeds
    family.tenancy.deeds.clear()
    family.tenancy.withdraw(first, 0.0)
    assert family.tenancy.deeds == [(Deed.TURN_BACK, start[1])]
    family.tenancy.deeds.clear()
    second = family.claim("a")
    assert family.tenancy.deeds == []
    family.tenancy.start_failed(start[1], None, 0.0)
    family.run()
    assert has(second)


def test_a_waiter_that_leaves_does_not_turn_back_the_start_of_others() -> None:
    family = Family()
    first, second = family.claim("a"), family.claim("a")
    family.tenancy.withdraw(first, 0.0)
    family.run()
    assert has(second)
    assert family.done == [("start", "a")]


def test_a_drop_waits_for_holders_and_who_comes_after_it_gets_a_new_one() -> None:
    family = Family()
    held = family.up("a")
    drop, late = family.claim("a", Wish.DROP), family.claim("a")
    family.run()
    assert (drop.settled, late.settled) == (False, False)
    family.release(held)
    family.run()
    assert has(drop)
    assert has(late)
    assert family.done == [("start", "a"), ("drop", "a"), ("start", "a")]


def test_a_drop_of_an_unknown_key_is_done_at_once() -> None:
    family = Family()
    assert has(family.claim("a", Wish.DROP))
    assert family.tenancy.tenants == {}


def test_a_crash_for_good_leaves_a_snapshot_that_is_saved_and_who_comes_meanwhile_gets_it() -> None:
    family = Family()
    held = family.up("a")
    tenant = family.tenancy.tenants["a"]
    family.tenancy.lost(tenant, Snapshot(session_id="x"), 0.0)
    assert family.tenancy.deeds == [(Deed.EVICT, tenant)]
    again = family.claim("a")
    family.tenancy.deeds.clear()
    family.tenancy.stayed(tenant, 0.0, OSError("disk full"))
    assert family.tenancy.deeds == [(Deed.START, tenant)]
    assert tenant.snapshot is not None
    family.run()
    assert has(again)
    family.release(held, again)
    assert family.keys() == ["a"]


def test_who_waits_in_a_circle_is_found_out() -> None:
    family = Family()
    family.release(family.up("a"), family.up("b"))
    mine, yours = family.claim("a", Wish.EXCLUSIVE), family.claim("b", Wish.EXCLUSIVE)
    waiting = family.claim("b", Wish.EXCLUSIVE, flow=(mine,))
    assert family.tenancy.circle(family.tenancy.tenants["b"], (mine,)) == []
    assert family.tenancy.circle(family.tenancy.tenants["a"], (yours,)) == ["a", "b"]
    family.tenancy.withdraw(waiting, 0.0)
    assert family.tenancy.circle(family.tenancy.tenants["a"], (yours,)) == []


KEYS = st.sampled_from("abcde")
ROOMS = 3
IDLE = 10.0


class Model(RuleBasedStateMachine):
    """Any order of everything, and what was promised after each step. Deeds take their time and end as they like."""

    def __init__(self) -> None:
        super().__init__()
        self.tenancy = Tenancy(rooms=ROOMS, idle=IDLE, refusal=full, over=lambda context: False)
        self.now = 0.0
        self.open: list[Claim] = []
        self.asked: dict[str, list[Claim]] = {}
        self.doing: dict[Tenant, Deed] = {}
        self.turned: set[Tenant] = set()
        self.unheld_since: dict[str, int] = {}
        self.steps = 0

    def take_deeds(self) -> None:
        """Starts what is to be done. Nothing is begun about a key while something else is being done about it."""
        for deed, tenant in self.tenancy.deeds:
            if deed is Deed.TURN_BACK:
                assert self.doing[tenant] is Deed.START
                self.turned.add(tenant)
                continue

            assert tenant not in self.doing, f"{deed} of {tenant} while {self.doing[tenant]}"
            self.doing[tenant] = deed
            if deed is Deed.DROP or (deed is Deed.EVICT and tenant.snapshot is None):
                assert not tenant.holds, f"{deed} of {tenant}, which is held"
            if deed is Deed.EVICT and tenant.snapshot is None and tenant.strikes == 0:
                self.check_order(tenant)

        self.tenancy.deeds.clear()

    def check_order(self, tenant: Tenant) -> None:
        """Of those that could go it was the least recently used."""
        mine = self.unheld_since[tenant.key]
        others = [
            self.unheld_since[other.key]
            for other in self.tenancy.tenants.values()
            if other.stage is Stage.LIVE and not other.holds and other.retry_at is None
        ]
        assert all(mine < other for other in others)

    def note_unheld(self, *tenants: Tenant | None) -> None:
        for tenant in tenants:
            if tenant is not None and not tenant.holds:
                self.steps += 1
                self.unheld_since[tenant.key] = self.steps

    @rule(key=KEYS, wish=st.sampled_from(Wish), nested=st.booleans(), data=st.data())
    def claim(self, key: str, wish: Wish, nested: bool, data: Any) -> None:
        held = [claim for claim in self.open if self.holds(claim)]
        flow = (data.draw(st.sampled_from(held)),) if nested and held else ()
        if wish is not Wish.JOIN and any(claim.tenant is self.tenancy.tenants.get(key) for claim in flow):
            return

        claim = Claim(wish, flow=flow)
        tenant = self.tenancy.claim(key, claim, self.now)
        if not tenant.is_again(claim):
            self.asked.setdefault(key, []).append(claim)

        if isinstance(claim.error, Overloaded):
            assert self.rooms_taken() == ROOMS

        self.open.append(claim)
        self.take_deeds()

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def leave(self, data: Any) -> None:
        """Somebody lets go, or stops waiting."""
        claim = data.draw(st.sampled_from(self.open))
        self.open.remove(claim)
        before = claim.tenant
        self.tenancy.withdraw(claim, self.now)
        self.note_unheld(before)
        for others in self.asked.values():
            if claim in others:
                others.remove(claim)

        self.take_deeds()

    @precondition(lambda self: self.doing)
    @rule(data=st.data(), fails=st.booleans(), busy=st.booleans())
    def finish(self, data: Any, fails: bool, busy: bool) -> None:
        """A deed is done, or isn't."""
        tenant = data.draw(st.sampled_from(list(self.doing)))
        deed = self.doing.pop(tenant)
        turned = tenant in self.turned
        self.turned.discard(tenant)
        if deed is Deed.START and turned:
            self.tenancy.start_failed(tenant, None, self.now)
        elif deed is Deed.START and fails:
            self.tenancy.start_failed(tenant, lambda: RuntimeError("no"), self.now)
        elif deed is Deed.START:
            self.note_unheld(tenant)
            self.tenancy.started(tenant, CONTEXT, self.now)
        elif deed is Deed.DROP or not fails:
            self.tenancy.left(tenant, self.now)
        else:
            self.note_unheld(tenant)
            self.tenancy.stayed(tenant, self.now, None if busy and tenant.snapshot is None else OSError("disk full"))

        self.take_deeds()

    @precondition(lambda self: any(tenant.stage is Stage.LIVE for tenant in self.tenancy.tenants.values()))
    @rule(data=st.data(), salvaged=st.booleans())
    def crash(self, data: Any, salvaged: bool) -> None:
        tenant = data.draw(st.sampled_from([each for each in self.tenancy.tenants.values() if each.stage is Stage.LIVE]))
        self.tenancy.lost(tenant, Snapshot(session_id="x") if salvaged else None, self.now)
        self.take_deeds()

    @rule(seconds=st.sampled_from([0.5, 1.0, 9.0, 10.0, 400.0]), most=st.integers(1, 5))
    def time_passes(self, seconds: float, most: int) -> None:
        self.now += seconds
        self.tenancy.evict_due(self.now, most)
        self.take_deeds()

    @rule()
    def close(self) -> None:
        self.tenancy.refuse_all(RuntimeError)
        self.asked.clear()
        assert self.tenancy.waiting == 0
        self.take_deeds()

    def holds(self, claim: Claim) -> bool:
        return claim.tenant is not None and claim in (claim.tenant.holds or ())

    def rooms_taken(self) -> int:
        return sum(tenant.room for tenant in self.tenancy.tenants.values())

    @invariant()
    def there_are_never_more_than_the_rooms(self) -> None:
        assert self.rooms_taken() <= ROOMS

    @invariant()
    def who_has_it_exclusively_has_it_alone(self) -> None:
        for tenant in self.tenancy.tenants.values():
            held = list(tenant.holds or ())
            if any(claim.wish is Wish.EXCLUSIVE for claim in held):
                assert len([claim for claim in held if not claim.flow]) == 1 or all(claim.flow for claim in held)

    @invariant()
    def claims_are_answered_in_their_order(self) -> None:
        for key, claims in self.asked.items():
            # Who is refused, with a start that failed, is told at once.
            settled = [claim.settled for claim in claims if claim.error is None and claim.tenant is self.tenancy.tenants.get(key)]
            assert settled == sorted(settled, reverse=True), f"{key}: {settled}"

    @invariant()
    def whoever_waits_waits_for_something(self) -> None:
        for tenant in self.tenancy.tenants.values():
            first = tenant.first
            if first is None:
                continue

            working = tenant in self.doing or (tenant.heir_of is not None and tenant.heir_of in self.doing)
            assert working or (tenant.holds and not (tenant.stage is Stage.LIVE and tenant.admits(first) and first.wish is not Wish.DROP))

    @invariant()
    def counts_are_what_they_count(self) -> None:
        tenants = self.tenancy.tenants.values()
        assert self.tenancy.holds == sum(len(tenant.holds or ()) for tenant in tenants)
        assert self.tenancy.held == sum(bool(tenant.holds) for tenant in tenants)
        assert self.tenancy.waiting == sum(len(tenant.line or ()) for tenant in tenants)
        assert len(self.tenancy) == sum(tenant.stage in (Stage.LIVE, Stage.LEAVING) for tenant in tenants)

    @invariant()
    def nothing_is_kept_of_a_key_that_nobody_wants(self) -> None:
        for tenant in self.tenancy.tenants.values():
            assert tenant.stage is not Stage.ABSENT or tenant.holds

    @invariant()
    def whatever_is_unheld_has_its_time(self) -> None:
        if any(tenant.stage is Stage.LIVE and not tenant.holds for tenant in self.tenancy.tenants.values()):
            assert self.tenancy.next_due() <= self.now + max(IDLE, LONGEST)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


@pytest.mark.parametrize("count", [1000, 4000])
def test_a_step_takes_the_same_time_however_many_there_are(count: int) -> None:
    """Counted, not timed: no step looks at more keys than it has to do with."""
    family = Family(rooms=count, idle=10.0)
    for number in range(count):
        family.release(family.up(str(number)))

    looked = 0

    class Counting(dict[str, Tenant]):
        def values(self) -> Any:
            nonlocal looked
            looked += 1
            return super().values()

    family.tenancy.tenants = Counting(family.tenancy.tenants)
    family.release(family.up("another"))
    family.wait(10.0)
    assert looked == 0
    assert family.tenancy.tenants == {}
