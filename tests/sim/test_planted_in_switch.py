"""Each bug planted in the real switch is found within what a plain test run explores."""

from __future__ import annotations

import logging

import pytest

from . import planted
from .choosers import Fifo
from .clients import Menu
from .explore import BACKENDS, explore, play
from .failpoints import Fault, Kind
from .switching import SwitchRun

SEEDS = range(200)
WRONG = (Fault("staging.scan", Kind.WRONG),)
READS = Menu({"set_many": 3, "get_many": 2, "info": 1})

# By what scenario a bug is found.
EXPLORED = {
    planted.early_swap: {},
    planted.writes_not_held: {},
    planted.gate_opened_early: {},
    planted.reads_bypass: {"source": "far", "menu": READS},
    planted.backend_chosen_early: {},
    planted.no_rollback: {"faults": WRONG},
    planted.lost_queued_calls: {"faults": WRONG},
    planted.burst_drops_the_next: {"cramped": True},
    planted.version_reset: {},
    planted.double_apply: {"store": "far", "steady": True, "session": "s", "faults": (Fault("store.apply", Kind.AFTER),)},
    planted.old_closed_first: {"faults": (Fault("staging.commit", Kind.BEFORE),)},
}
# By cancelling at each suspension.
SWEPT = {
    planted.unshielded_rollback: {},
    planted.unshielded_cleanup: {"source": "far"},
    planted.torn_commit: {"store": "far"},
}


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def swept(**plan):
    """The suspensions at which a cancelled caller leaves something wrong."""
    counted = []
    play(SwitchRun(suspensions=counted, **plan), "asyncio", 1, Fifo())
    return [
        at
        for at in range(1, counted[0] + 1)
        for backend in BACKENDS
        if play(SwitchRun(cancel_at=at, **plan), backend, 1, Fifo())[0].wrong
    ]  # fmt: skip


@pytest.mark.parametrize("bug", EXPLORED, ids=lambda bug: bug.__name__)
def test_exploring_finds(bug):
    tally = explore(SwitchRun(planted=bug, **EXPLORED[bug]), SEEDS)
    assert tally.finding is not None, f"{bug.__name__} was not found: {tally}"


@pytest.mark.parametrize("bug", EXPLORED, ids=lambda bug: bug.__name__)
def test_what_is_found_is_the_bug(bug):
    tally = explore(SwitchRun(**EXPLORED[bug]), range(20))
    assert tally.finding is None, str(tally.finding)


@pytest.mark.parametrize("bug", SWEPT, ids=lambda bug: bug.__name__)
def test_cancelling_at_every_suspension_finds(bug):
    assert swept(planted=bug, **SWEPT[bug])
    assert swept(**SWEPT[bug]) == []
    assert swept(planted=planted.no_bug, **SWEPT[bug]) == []
