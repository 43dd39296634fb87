"""
I8 under every schedule: clients use a context whose owner crashes, is stopped with its group, or is cut off, and that is started again.

The claims of a switch hold over restarts too: nothing accepted is lost, nothing is served twice, what is said never to have happened hasn't.
"""

from __future__ import annotations

import itertools
import logging

import pytest

from . import planted_lives
from .choosers import Fifo
from .clients import MIXED, Menu
from .explore import BACKENDS, explore, play, replay
from .failpoints import Fault, Kind
from .restarting import RestartRun

LOST = tuple(Fault(f"backend.{point}", Kind.AFTER, nth) for point, nth in (("set", 2), ("set_many", 2), ("add", 1), ("info", 3)))
NOT_DONE = tuple(Fault(f"backend.{point}", Kind.BEFORE, nth) for point, nth in (("set", 1), ("get", 3), ("scan", 4)))
# In the store of a bridged state, whose own operations are steps.
IN_STORE = (Fault("store.apply", Kind.AFTER, 2), Fault("store.apply", Kind.BEFORE, 5))
MORE = Menu({"get": 3, "info": 3, "set": 4, "cas": 1, "add": 1, "update": 2, "set_many": 2, "get_many": 1, "snapshot": 1, "list": 1})
WRITES = Menu({"set": 3, "add": 3, "info": 2})

SCENARIOS = {
    "replies lost": RestartRun(faults=LOST, menu=MORE),
    "writes that never happened": RestartRun(faults=NOT_DONE),
    "both, with a mailbox for two": RestartRun(faults=(*LOST, *NOT_DONE), cramped=True, clients=5),
    "stopped with its group": RestartRun(stops=3),
    "stopped with its group, in this process": RestartRun(source="local", stops=3, menu=MORE),
    "cut off": RestartRun(cuts=3, menu=MORE),
    "cut off, in this process": RestartRun(source="local", cuts=3),
    "everything at once": RestartRun(faults=LOST, stops=2, cuts=2, impatient=3),
    "while it switches": RestartRun(source="local", store="far", switch=True, stops=2, cuts=1, faults=IN_STORE),
    "while it switches on a bridge of its own": RestartRun(private=True, switch=True, stops=2, cuts=1, faults=LOST[:2]),
    "a new state each time": RestartRun(fresh=True, faults=LOST, stops=1),
    "a new state each time, in this process": RestartRun(fresh=True, source="local", stops=3, switch=True),
}

# By what a bug is found.
BUGS = {
    planted_lives.queue_dropped: {"faults": LOST},
    planted_lives.queue_refused: {"stops": 2, "source": "far"},
    planted_lives.taken_again: {"faults": LOST, "menu": WRITES},
    planted_lives.taken_denied: {"faults": LOST, "menu": WRITES},
    planted_lives.unfurnished: {"fresh": True, "stops": 2},
    planted_lives.gate_before_the_queue: {"source": "local", "stops": 3, "switch": True},
    planted_lives.backend_reopened: {"stops": 2},
}


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_i8_exploring(scenario, seeds):
    tally = explore(SCENARIOS[scenario], seeds)
    assert tally.finding is None, f"{scenario}: {tally}\n{tally.finding}"
    assert tally.rejected < tally.runs * 0.8, f"{scenario}: too few runs had anything in flight when a life ended: {tally}"


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_exploring_finds(bug):
    tally = explore(RestartRun(planted=bug, **BUGS[bug]), range(200))
    assert tally.finding is not None, f"{bug.__name__} was not found: {tally}"


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_what_is_found_is_the_bug(bug):
    tally = explore(RestartRun(**BUGS[bug]), range(30))
    assert tally.finding is None, str(tally.finding)


PLACES = [
    {"source": "far"},
    {"source": "far", "fresh": True},
    {"source": "local", "fresh": True, "switch": True},
    {"source": "local", "switch": True, "private": True},
]


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("start", [1, 2])
def test_a_life_cut_at_every_suspension(place, start):
    counted = []
    for backend in BACKENDS:
        play(RestartRun(stops=2, suspensions=counted, start=start, **place), backend, 1, Fifo())

    found = []
    for at, backend in itertools.product(range(1, max(counted) + 1), BACKENDS):
        program = RestartRun(stops=2, cut_at=at, start=start, **place)
        stage, ran = play(program, backend, 1, Fifo())
        if stage.wrong:
            found.append(f"cut at {at} of {counted}\n{replay(program, backend, 1, ran.trace.ranks)}")

    assert not found, f"{len(found)} runs went wrong. The first:\n{found[0]}"


def test_the_menu_has_everything():
    assert set(MIXED.weights) <= set(MORE.weights)
