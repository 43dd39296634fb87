"""Each planted bug of the toy is found, by few runs, and the correct toy passes all of them."""

from __future__ import annotations

import pytest

from .choosers import Fifo
from .clients import MIXED, Menu
from .explore import BACKENDS, explore, minimal, play
from .failpoints import Fault, Kind
from .fakes import BUGS
from .toy import ToyRun

READS = Menu({"set_many": 3, "snapshot": 3, "get_many": 1})
LOAD = Fault("bridged.load", Kind.BEFORE, 2)
FAULTS = (
    *(Fault(f"bridged.{point}", kind) for point in ("open", "load", "verify") for kind in (Kind.BEFORE, Kind.AFTER)),
    Fault("local.scan", Kind.BEFORE),
    Fault("local.close", Kind.BEFORE),
)
SEEDS = range(200)

# By what a bug is found: a plan of faults, and a menu, for walks and PCT.
EXPLORED = {
    "early swap": ((), MIXED),
    "writes not held": ((), MIXED),
    "reads bypass": ((), READS),
    "backend chosen before the lock": ((), MIXED),
    "no rollback": ((LOAD,), MIXED),
    "lost queued calls": ((LOAD,), MIXED),
    "version reset": ((), MIXED),
    "double apply": ((Fault("local.put", Kind.AFTER, 2), Fault("bridged.put", Kind.AFTER)), MIXED),
}


def swept(bug, faults=()):
    """The cancellations at suspension k = 1..K that go wrong, and K; single runs, first come first served."""
    counted = []
    for backend in BACKENDS:
        play(ToyRun(bug=bug, suspensions=counted), backend, 1, Fifo())

    most = max(counted)
    wrong = [
        (backend, at)
        for backend in BACKENDS
        for at in range(1, most + 1)
        if play(ToyRun(bug=bug, faults=faults, cancel_at=at), backend, 1, Fifo())[0].wrong
    ]
    return wrong, most


def test_the_correct_toy_is_never_accused():
    for faults in ((), *((fault,) for fault in FAULTS)):
        tally = explore(ToyRun(faults=faults), range(60))
        assert tally.finding is None, str(tally.finding)


def test_the_correct_toy_survives_a_cancellation_at_every_suspension():
    assert swept("")[0] == []
    for fault in FAULTS:
        assert swept("", (fault,))[0] == [], fault


@pytest.mark.parametrize("bug", EXPLORED)
def test_exploring_finds(bug):
    faults, menu = EXPLORED[bug]
    tally = explore(ToyRun(bug=bug, faults=faults, menu=menu), SEEDS)
    assert tally.finding is not None, f"{bug!r} was not found: {tally}"
    assert len(tally.finding.preemptions) < 25, str(tally.finding)


@pytest.mark.parametrize("bug", ["no rollback", "unshielded rollback", "unshielded cleanup"])
def test_cancelling_at_every_suspension_finds(bug):
    wrong, _ = swept(bug)
    assert wrong


def test_what_only_a_cancellation_shows_no_failpoint_shows():
    for fault in FAULTS:
        tally = explore(ToyRun(bug="unshielded rollback", faults=(fault,)), range(20))
        assert tally.finding is None


def test_every_planted_bug_has_a_test():
    assert {*EXPLORED, "unshielded rollback", "unshielded cleanup"} == set(BUGS)


def test_a_finding_is_small_and_readable():
    program = ToyRun(bug="backend chosen before the lock")
    tally = explore(program, SEEDS)
    found = tally.finding
    assert found is not None
    assert found.wrong == minimal(program, found.backend, found.seed, found.choices).wrong
    assert len(found.preemptions) <= 5
    for part in ("replay(program", "what is wrong:", "preemptions that it needs:", "the longest order that the model explains", "history:"):
        assert part in str(found)


def test_a_run_in_which_nothing_overlapped_the_switch_is_counted_as_rejected():
    tally = explore(ToyRun(clients=0), range(4))
    assert (tally.runs, tally.rejected) == (4, 4)
