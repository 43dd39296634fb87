"""
The supervisor against a pure model of it: random trees, crashes, starts, stops, cancellations.

After each command everything happens that can; then children, their order and states, the counts, what callers were told and the order of
all that the children did must be what `model` says.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import anyio
import pytest
import virtual_time
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from supervision.cast import IGNORE, Boom, Cast, forever
from supervision.model import Child, Supervisor as Modelled
from supervision.model_world import FAILS, IGNORES, Plan, World

from dspex import Backoff, ChildSpec, ChildState, Supervisor
from dspex.supervision import _child, _policy

MOMENT = 2.0**-20
"""Virtual seconds after which all has happened that can without time passing. Times here are sums of powers of two: they are exact."""

AGES = 4096.0


# --- programs --------------------------------------------------------------------------------------------------------------------

# Times that don't add up to one another: what happens at the same time has no order.
FIRST = st.sampled_from([None, None, None, None, None, None, 2.0625, IGNORES, FAILS])
STARTS = st.builds(lambda first, others: (first, *others), FIRST, st.lists(st.sampled_from([None, FAILS, 2.0625, IGNORES]), max_size=3))
LEAVES = st.sampled_from(
    [
        {},
        {},
        {"lingers": 1.125},
        {"lingers": 1.125, "shutdown": 0.5},
        {"refuses": True},
        {"asked": 0.75},
        {"asked": 1.25, "shutdown": 0.5},
        {"last_words": True},
    ]
)
FAILURES = st.sampled_from([{}, {}, {"backoff": 0.28125}, {"budget": (1, 8.0)}, {"parks": True}, {"parks": True, "backoff": 4.03125}])
LIMITS = st.sampled_from([{"allowed": 20, "seconds": 64.0}, {}, {"allowed": 1}, {"allowed": 0}, {"allowed": 2, "seconds": 1.0}])
STRATEGIES = st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"])


@st.composite
def plans(draw: Any, prefix: str, depth: int, *, auto_shutdown: str) -> Plan:
    restart = draw(st.sampled_from(["permanent", "permanent", "transient", "temporary"]))
    significant = restart != "permanent" and auto_shutdown != "never" and draw(st.booleans())
    if depth and draw(st.integers(0, 3)) == 3:
        return replace(draw(supervisors(prefix, depth - 1)), restart=restart, significant=significant)

    return Plan(prefix, restart, draw(STARTS), significant=significant, **draw(LEAVES), **draw(FAILURES))


@st.composite
def supervisors(draw: Any, prefix: str, depth: int, *, fewest: int = 0) -> Plan:
    auto_shutdown = draw(st.sampled_from(["never", "never", "any_significant", "all_significant"]))
    count = draw(st.integers(fewest, 4))
    children = tuple(draw(plans(f"{prefix}{letter}", depth, auto_shutdown=auto_shutdown)) for letter in "abcd"[:count])
    return Plan(prefix, children=children, strategy=draw(STRATEGIES), auto_shutdown=auto_shutdown, **draw(LIMITS))


def verbs(*verbs: str) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(st.sampled_from(verbs), st.integers(0, 6))


COMMANDS = st.one_of(
    verbs("crash"),
    verbs("crash", "finish"),
    verbs("terminate", "restart"),
    verbs("break", "restart", "crash", "terminate", "delete", "mend", "release"),
    st.tuples(st.just("crash two"), st.integers(0, 6), st.integers(0, 6)),
    st.tuples(st.just("start"), st.integers(0, 6), plans("n", 1, auto_shutdown="never")),
    st.tuples(st.just("wait"), st.sampled_from([0.375, 1.4375, 5.0, 37.0])),
)
ENDS = st.sampled_from([(), (("stop",),), (("cancel",),)])


@dataclass(frozen=True)
class Program:
    root: Plan
    commands: tuple[tuple[Any, ...], ...]


def programs(*, depth: int, fewest: int) -> st.SearchStrategy[Program]:
    return st.builds(
        lambda root, commands, end, more: Program(root, (*commands, *end, *more)),
        supervisors("", depth, fewest=fewest),
        st.lists(COMMANDS, min_size=4, max_size=20),
        ENDS,
        st.lists(COMMANDS, max_size=2),
    )


PROGRAMS = programs(depth=2, fewest=1)
FLAT_ONES = programs(depth=0, fewest=3)


# --- the model's plans for real --------------------------------------------------------------------------------------------------


def spec_of(plan: Plan, cast: Cast, told: dict[str, str]) -> ChildSpec:
    backoff = None if plan.backoff is None else Backoff(plan.backoff, maximum=8 * plan.backoff, jitter=0.0)
    usual: dict[str, Any] = {"significant": plan.significant, "backoff": backoff, "on_limit": "park" if plan.parks else "escalate"}
    if plan.children is not None:
        children = [spec_of(child, cast, told) for child in plan.children]
        return Supervisor.child_spec(plan.id, children, restart=plan.restart, **usual, **options_of(plan))

    if plan.budget is not None:
        usual["max_restarts"], usual["max_seconds"] = plan.budget

    usual["on_change"] = lambda state, error: told.update({plan.id: state})
    starts = [{FAILS: Boom(plan.id), IGNORES: IGNORE}.get(how, how) for how in plan.starts]
    part = {"lingers": plan.lingers, "refuses": plan.refuses, "last_words": Boom("its last words") if plan.last_words else None}
    return cast(plan.id, plan.restart, starts=starts, asked=plan.asked, shutdown=plan.shutdown, **part, **usual)


def renamed(plan: Plan, prefix: str) -> Plan:
    children = None if plan.children is None else tuple(renamed(child, f"{prefix}{child.id[-1]}") for child in plan.children)
    return replace(plan, id=prefix, children=children)


def options_of(plan: Plan) -> dict[str, Any]:
    return {
        "strategy": plan.strategy,
        "max_restarts": plan.allowed,
        "max_seconds": plan.seconds,
        "auto_shutdown": plan.auto_shutdown,
    }


class Stage:
    """The real supervisor and the modelled one, given the same commands."""

    def __init__(self, root: Plan) -> None:
        self.cast = Cast()
        self.told: dict[str, str] = {}
        self.world = World()
        self.root = Modelled(self.world, root)
        self.world.begin(self.root.reign(lambda: self.world.cancelled, self.world.chain()))
        self.real = Supervisor([spec_of(child, self.cast, self.told) for child in root.children or ()], **options_of(root))
        self.scope = anyio.CancelScope()
        self.raised: str | None = None
        self.outcomes: dict[int, str] = {}
        self.calls = 0
        self.newcomers: list[tuple[Plan, ChildSpec]] = []
        self.differences: list[str] = []

    async def own(self) -> None:
        with self.scope:
            try:
                async with self.real:
                    await self.real.wait()
            except Exception as error:
                self.raised = type(error).__name__

    async def call(self, number: int, work: Callable[[], Awaitable[Any]]) -> None:
        try:
            await work()
        except Exception as error:
            self.outcomes[number] = type(error).__name__
        else:
            self.outcomes[number] = "ok"

    async def perform(self, commands: tuple[tuple[Any, ...], ...]) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self.own)
            await self.wait(MOMENT)
            for verb, *details in commands:
                if self.agree(f"before {verb!r}"):
                    await self.obey(group, verb, *details)
                    await self.wait(MOMENT)

            self.agree("after the last command")
            for id in self.cast.parts:
                self.release(id)
                await self.wait(MOMENT)

            await self.obey(group, "stop")
            await self.wait(AGES)
            self.agree("after the end")
            group.cancel_scope.cancel()

        assert not self.differences, "\n".join(self.differences)
        assert self.root.status == "closed"

    async def wait(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        self.world.advance(seconds)

    # --- commands ----------------------------------------------------------------------------------------------------------------

    async def obey(self, group: Any, verb: str, *details: Any) -> None:
        if verb == "wait":
            await self.wait(*details)
        elif verb in ("stop", "cancel"):
            self.end_all(group, verb)
        elif verb in ("crash", "finish"):
            self.cue([self.pick([child for _, child in self.all_up()], *details)], verb)
        elif verb == "crash two":
            self.cue(self.two(*details), "crash")
        elif verb in ("break", "mend", "release"):
            self.direct(verb, self.pick(list(self.cast.parts), *details))
        else:
            self.order(group, verb, *details)

    @staticmethod
    def pick(among: list[Any], number: int) -> Any:
        return among[number % len(among)] if among else None

    def all_up(self) -> Iterator[tuple[Modelled, Child]]:
        for above, child in self.root.all_below():
            if child.plan.children is None and child.life is not None and child.life.up and not child.life.leaves:
                yield above, child

    def two(self, first: int, second: int) -> list[Child]:
        """Two that are restarted each by itself, and don't end their supervisor: who of two is first is for the loop to say."""
        alone = [(above, child) for above, child in self.all_up() if above.plan.strategy == "one_for_one" and self.has_room(above, child)]
        one, other = self.pick(alone, first), self.pick(alone, second)
        return [one[1], other[1]] if one and one[0] is other[0] and one is not other else []

    def has_room(self, above: Modelled, child: Child) -> bool:
        room = above.window.allowed - above.window.count()
        endless = child.plan.id in self.world.broken or child.plan.significant
        return child.plan.parks or (child.plan.budget is None and not endless and room > 10)

    def cue(self, children: list[Child | None], verb: str) -> None:
        for child in children:
            if child is not None and child.life is not None:
                child.life.cue = "crashed" if verb == "crash" else "returned"
                child.life.chain = self.world.chain()
                self.cast[child.plan.id].take_cue(Boom(child.plan.id) if verb == "crash" else None)

    def direct(self, verb: str, id: str | None) -> None:
        if id is not None and verb == "release":
            self.release(id)
        elif id is not None:
            self.cast[id].broken = verb == "break"
            (self.world.broken.add if verb == "break" else self.world.broken.discard)(id)

    def release(self, id: str) -> None:
        self.cast[id].released.set()
        self.world.released.add(id)

    def end_all(self, group: Any, verb: str) -> None:
        if verb == "cancel":
            self.scope.cancel()
            self.world.cancelled = True
        else:
            group.start_soon(self.real.stop)
            self.root.end("stop", self.world.chain())

    def order(self, group: Any, verb: str, number: int, *newcomer: Plan) -> None:
        """One more call of the API: to one of the supervisors, or for one of their children."""
        self.calls += 1
        if verb == "start":
            above, real = self.pick(list(self.pairs()), number)
            subject, to_real = self.newcomer(above, number, *newcomer)
        else:
            above, subject = self.pick([(above, child.plan.id) for above, child in self.root.all_below()], number) or (
                self.root,
                "x",
            )
            real = next(real for modelled, real in self.pairs() if modelled is above)
            to_real = subject

        group.start_soon(self.call, self.calls, lambda: getattr(real, f"{verb}_child")(to_real))
        self.world.begin(getattr(above, f"{verb}_child")(subject, self.calls))

    def newcomer(self, above: Modelled, number: int, plan: Plan) -> tuple[Plan, ChildSpec]:
        """As a rule a new one, but also one that was here before, or one of an id that is here now."""
        listed = {child.plan.id for _, child in self.root.all_below()}
        former = [each for each in self.newcomers if each[0].id not in listed]
        if number == 5 and former:
            return former[0]

        if number == 6 and above.children:
            taken = next(iter(above.children))
            return Plan(taken), ChildSpec(taken, forever)

        plan = renamed(plan, f"n{self.calls}")
        spec = spec_of(plan, self.cast, self.told)
        self.newcomers += [(plan, spec)] if plan.children is None else []
        return plan, spec

    def pairs(self) -> Iterator[tuple[Modelled, Supervisor]]:
        """Each supervisor that is up, modelled and real."""
        waiting = [(self.root, self.real)]
        while waiting:
            above, real = waiting.pop()
            yield above, real
            waiting += [
                (below, real.which_child(child.plan.id).value)
                for child in above.children.values()
                if (below := above.below(child)) is not None
            ]

    # --- comparing ---------------------------------------------------------------------------------------------------------------

    def agree(self, when: str) -> bool:
        """Whether all that can be seen is as expected. Only the first difference is kept."""
        if not self.differences:
            self.differences = [
                f"{when}, {what}: expected {expected}, got {got}" for what, expected, got in self.views() if expected != got
            ]
            if not self.differences:
                self.differences = [f"{when}: expected in this order {chain}, got {self.cast.timed}" for chain in self.out_of_order()]

        return not self.differences

    def views(self) -> Iterator[tuple[str, Any, Any]]:
        """Of all that can be seen: what it is, what the model says, what is real."""
        root = self.root
        yield "status", (root.status, root.ended_by), (str(self.real.status), self.real.ended_by or "")
        yield "children", root.seen(), seen(self.real)
        yield "last told", *self.last_told()
        yield "answers", self.world.outcomes, self.outcomes
        yield "events", sorted(event for chain in self.world.chains for event in chain), sorted(self.cast.timed)
        for modelled, real in self.pairs():
            told = real.count_children()
            yield f"counts of {real!r}", modelled.counts(), (told.specs, told.active, told.supervisors, told.workers)
            # It counts them as they change, and doesn't look at each.
            yield f"states in {real!r}", Counter(info.state for info in real.which_children()), Counter(real.statistics().children)

    def last_told(self) -> tuple[dict[str, str], dict[str, str]]:
        """What was told of each child last is the state that it is in."""
        visible = [child for above, child in self.root.all_below() if not above.ending and child.state != "new"]
        states = {child.plan.id: child.state for child in visible if child.plan.id in self.told}
        if self.root.status == "closed":
            states = dict.fromkeys(self.told, "gone")

        return states, {id: self.told[id] for id in states}

    def out_of_order(self) -> Iterator[Any]:
        for chain in self.world.chains:
            happened = iter(self.cast.timed)
            if not all(event in happened for event in chain):
                yield chain


def seen(real: Supervisor) -> list[Any]:
    return [
        (info.id, str(info.state), info.restarts, seen(info.value) if isinstance(info.value, Supervisor) else None)
        for info in real.which_children()
        if not (real._is_ending and info.state == "new")
    ]


def check(library: str, program: Program) -> None:
    async def main() -> None:
        stage = Stage(program.root)
        await stage.perform(program.commands)

    virtual_time.run(library, main)


@pytest.mark.parametrize("library", ["asyncio", "trio"])
@settings(max_examples=2 * settings().max_examples)
@given(PROGRAMS)
def test_children_order_and_counts_are_those_of_the_model_after_each_command(library, program):
    check(library, program)


# --- and would it notice? --------------------------------------------------------------------------------------------------------


def in_the_order_of_their_start(patch: pytest.MonkeyPatch) -> None:
    async def stop_children(self: Any) -> None:
        for child in list(self._children.values()):
            await self._stopped(child, "gone")

    patch.setattr(Supervisor, "_stop_children", stop_children)


def all_at_once(patch: pytest.MonkeyPatch) -> None:
    async def stop_children(self: Any) -> None:
        async with anyio.create_task_group() as group:
            for child in reversed(list(self._children.values())):
                group.start_soon(self._stopped, child, "gone")

    patch.setattr(Supervisor, "_stop_children", stop_children)


def every_other_restart_goes_uncounted(patch: pytest.MonkeyPatch) -> None:
    add = _policy.Window.add
    uncounted = itertools.cycle([False, True])
    patch.setattr(_policy.Window, "add", lambda window, now: next(uncounted) or add(window, now))


def allowing(more: int) -> Callable[[Any, float], bool]:
    def add(window: Any, now: float) -> bool:
        window._times.append(now)
        return window.count(now) <= window.allowed + more

    return add


def one_restart_too_many(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_policy.Window, "add", allowing(1))


def one_restart_too_few(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_policy.Window, "add", allowing(-1))


def restarts_are_never_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_policy.Window, "count", lambda window, now: len(window._times))


def one_that_was_terminated_comes_back_with_its_group(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_child.Child, "recall", lambda child: None)


def nobody_waits_for_one_that_is_overdue(patch: pytest.MonkeyPatch) -> None:
    async def stop_group(self: Any, affected: Any) -> None:
        for child in reversed(affected):
            if child.run is not None:
                await self._stopped(child, "restarting" if self._keeps(child) else "gone")
            elif child.state == "stopped" and not child.down:
                self._tell(child, ChildState.RESTARTING)

    patch.setattr(Supervisor, "_stop_group", stop_group)


def the_rest_are_all(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(_policy.AFFECTED, "rest_for_one", _policy.AFFECTED["one_for_all"])


def all_are_the_rest(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(_policy.AFFECTED, "one_for_all", _policy.AFFECTED["rest_for_one"])


def a_transient_one_that_returned_is_restarted(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(_policy.RESTARTED, ("transient", _policy.Ending.RETURNED), True)


def a_temporary_one_is_restarted(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(_policy.RESTARTED, ("temporary", _policy.Ending.RAISED), True)


def a_significant_end_means_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(_policy.ENDS_ITSELF, "any_significant", lambda others: False)


DEFECTS = [
    in_the_order_of_their_start,
    all_at_once,
    every_other_restart_goes_uncounted,
    one_restart_too_many,
    one_restart_too_few,
    restarts_are_never_forgotten,
    one_that_was_terminated_comes_back_with_its_group,
    nobody_waits_for_one_that_is_overdue,
    the_rest_are_all,
    all_are_the_rest,
    a_transient_one_that_returned_is_restarted,
    a_temporary_one_is_restarted,
    a_significant_end_means_nothing,
]


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_the_model_notices_a_defect(defect, monkeypatch):
    @settings(max_examples=1000, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(FLAT_ONES)
    def search(program):
        check("asyncio", program)

    defect(monkeypatch)
    with pytest.raises(AssertionError, match="expected"):
        search()
