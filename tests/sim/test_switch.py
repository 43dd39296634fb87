"""
The real switch: clients use a context while it switches, and something goes wrong.

L1 to L7 of the claims hold in every run; see `switching` for what a scenario throws at it, and a finding for how to get it again.
"""

from __future__ import annotations

import itertools
import logging

import pytest

from .choosers import Fifo, Walk
from .clients import WHOLE, Menu
from .explore import BACKENDS, explore, play, replay
from .failpoints import Fault, Kind
from .switching import SwitchRun

PLACES = [
    {"source": source, "store": store, "private": private}
    for source, store, private in itertools.product(("local", "far"), ("memory", "far"), (False, True))
]
# The first and the last have everything between them: no await and only awaits, a shared bridge and a private one.
FEW = [PLACES[0], PLACES[1], PLACES[-2], PLACES[-1]]
POINTS = ("store.open", "store.stage", "staging.put", "staging.scan", "staging.commit", "backend.scan", "backend.close")
CLEANING = ("staging.abort", "store.drop")
MORE = Menu({"get": 3, "info": 3, "set": 4, "cas": 1, "add": 1, "update": 2, "set_many": 2, "get_many": 1, "snapshot": 1, "list": 1})

SCENARIOS = {
    "under load": SwitchRun(menu=MORE, lines=7),
    "a private bridge": SwitchRun(private=True, menu=MORE, lines=7),
    "all far away": SwitchRun(source="far", store="far", menu=MORE),
    "a far backend into memory": SwitchRun(source="far", menu=MORE),
    "whole objects": SwitchRun(source="far", store="far", menu=WHOLE),
    "every bound reached": SwitchRun(clients=5, lines=5, impatient=2, cramped=True, menu=MORE),
    "every bound reached, far away": SwitchRun(clients=5, source="far", store="far", private=True, cramped=True, give_up=True),
    "every bound reached, and stopped": SwitchRun(clients=5, source="far", cramped=True, stop=True),
    "two switches at once": SwitchRun(switchers=2, private=True, menu=MORE),
    "two switches at once, far away": SwitchRun(switchers=2, source="far", store="far"),
    "impatient clients": SwitchRun(clients=1, impatient=4, source="far", menu=MORE),
    "watched": SwitchRun(watch=True, menu=MORE),
    "watched from far away": SwitchRun(source="far", watch=True, menu=MORE),
    "stopped meanwhile": SwitchRun(stop=True, session="s"),
    "stopped meanwhile, far away": SwitchRun(source="far", store="far", private=True, stop=True),
    "given up meanwhile": SwitchRun(source="far", store="far", give_up=True, switchers=2),
    "given up meanwhile, private": SwitchRun(source="far", private=True, give_up=True),
    "wrong data, then stopped": SwitchRun(faults=(Fault("staging.scan", Kind.WRONG),), stop=True),
    "a slow store and a timeout": SwitchRun(store="far", faults=(Fault("staging.put", Kind.SLOW),), timeout=20.0),
    "a reply lost by the store": SwitchRun(store="far", session="s", steady=True, faults=(Fault("store.apply", Kind.AFTER, 2),)),
    "a store that fails before it writes": SwitchRun(store="far", session="s", steady=True, faults=(Fault("store.apply", Kind.BEFORE, 2),)),
}


@pytest.fixture(autouse=True)
def quiet():
    """What is thrown at the switch is logged by it, thousands of times."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def wrong_of(program, seed=1):
    """What is wrong in one run on each loop, first come first served."""
    found = []
    for backend in BACKENDS:
        stage, ran = play(program, backend, seed, Fifo())
        if stage.wrong:
            found.append(f"{program}\n{replay(program, backend, seed, ran.trace.ranks)}")

    return found


def suspensions(**plan):
    """How many the owner's switch has."""
    counted = []
    play(SwitchRun(suspensions=counted, **plan), "asyncio", 1, Fifo())
    return counted[0]


def check(programs):
    """Run each on both loops, and tell the first that goes wrong and how many others did."""
    found = [told for program in programs for told in wrong_of(program)]
    assert not found, f"{len(found)} runs went wrong. The first:\n{found[0]}"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_exploring(scenario, seeds):
    tally = explore(SCENARIOS[scenario], seeds)
    assert tally.finding is None, f"{scenario}: {tally}\n{tally.finding}"
    assert tally.rejected < tally.runs * 0.6, f"{scenario}: too few runs had anything in flight during the switch: {tally}"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_of_the_real_thing_can_be_had_again(backend):
    program = SCENARIOS["given up meanwhile, private"]
    for seed in range(20):
        stage, ran = play(program, backend, seed, Walk(seed))
        again = replay(program, backend, seed, ran.trace.ranks)
        assert (again.history, again.steps) == (str(stage.recorder), ran.controller.steps)


@pytest.mark.parametrize("nemesis", ["cancel", "stop"])
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_cancelled_or_stopped_at_every_suspension(nemesis, place):
    count = suspensions(**place)
    check(
        SwitchRun(cancel_at=at, nemesis=nemesis, session=session, **place)
        for at in range(1, count + 1)
        for session in (None, "s")
    )  # fmt: skip


@pytest.mark.parametrize("kind", [Kind.BEFORE, Kind.AFTER, Kind.WRONG, Kind.SLOW])
def test_failing_at_every_step(kind):
    check(SwitchRun(faults=(Fault(point, kind, nth),), **place) for place in PLACES for point in POINTS for nth in (1, 2))


@pytest.mark.parametrize("point", POINTS)
def test_hanging_at_every_step_with_a_timeout(point):
    check(SwitchRun(faults=(Fault(point, Kind.HANG),), timeout=5.0, **place) for place in PLACES)


@pytest.mark.parametrize("point", POINTS)
def test_slow_at_every_step_and_out_of_time(point):
    check(SwitchRun(faults=(Fault(point, Kind.SLOW),), timeout=5.0, **place) for place in PLACES)


@pytest.mark.parametrize("cleaning", CLEANING)
@pytest.mark.parametrize("kind", Kind)
def test_failing_and_then_failing_to_clean_up(kind, cleaning):
    firsts = (
        Fault("staging.scan", Kind.WRONG),
        Fault("staging.commit", Kind.AFTER),
        Fault("staging.put", Kind.BEFORE),
        Fault("store.stage", Kind.BEFORE),
    )
    timeout = 5.0 if kind is Kind.HANG else None
    check(SwitchRun(faults=(first, Fault(cleaning, kind)), timeout=timeout, **place) for place in PLACES for first in firsts)


@pytest.mark.parametrize("place", FEW, ids=str)
@pytest.mark.parametrize("kind", [Kind.BEFORE, Kind.AFTER])
def test_failing_and_cancelled_at_every_suspension(kind, place):
    count = suspensions(**place)
    check(
        SwitchRun(faults=(Fault(point, kind),), cancel_at=at, nemesis=nemesis, **place)
        for point in (*POINTS, *CLEANING)
        for at in range(1, count + 3)
        for nemesis in ("cancel", "stop")
    )


def test_out_of_time_at_the_very_moment_of_each_step(seeds):
    slow = tuple(Fault(point, Kind.SLOW, 0) for point in ("store.open", "store.stage", "staging.put", "staging.scan"))
    for place in ({"store": "far"}, {"source": "far", "private": True}):
        for timeout in range(15, 240, 15):
            tally = explore(SwitchRun(faults=slow, timeout=float(timeout), **place), seeds[:6])
            assert tally.finding is None, f"{timeout}: {tally.finding}"


def test_a_timeout_counts_while_the_switch_waits_for_its_turn():
    hanging = (Fault("backend.set", Kind.HANG),)
    check([SwitchRun(source="far", steady=True, faults=hanging, timeout=5.0, menu=Menu({"set": 1}))])


def test_a_store_that_hangs_does_not_keep_a_context_from_stopping():
    faults = (Fault("store.apply", Kind.HANG, 2),)
    check(SwitchRun(store="far", steady=True, faults=faults, stop=True, stop_after=(60, 120), private=private) for private in (False, True))
