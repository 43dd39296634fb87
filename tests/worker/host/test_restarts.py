"""When a worker that ended is replaced."""

from __future__ import annotations

import random

import pytest

from dspex.worker.host.restarts import FREE, INITIAL_DELAY, JITTER, MAX_DELAY, MAX_WAIT, PROVED_SECONDS, Ending, Restarts


class Even(random.Random):
    def random(self):
        return 0.5


def delays(endings, lived=0.0, told=False):
    restarts = Restarts(random=Even())
    return [restarts.delay_after(ending, lived=lived, told=told) for ending in endings]


def test_one_that_started_well_is_replaced_at_once_the_first_times_and_then_ever_more_slowly():
    assert delays([Ending.DIED] * 7) == pytest.approx([0, 0, 0, 0.1, 0.2, 0.4, 0.8])


def test_one_that_can_not_start_is_tried_more_slowly_from_the_first_time():
    assert delays([Ending.NEVER_STARTED] * 4) == pytest.approx([0.1, 0.2, 0.4, 0.8])


def test_the_delay_grows_to_its_maximum_and_no_further():
    assert delays([Ending.NEVER_STARTED] * 2000, told=True)[-1] == MAX_DELAY


@pytest.mark.parametrize("ending", [Ending.DIED, Ending.CUT_DOWN, Ending.BROKEN])
def test_callers_who_are_told_nothing_never_wait_long_for_the_next(ending):
    assert delays([ending] * 2000)[-1] == MAX_WAIT < MAX_DELAY


def test_what_was_asked_to_end_or_killed_here_counts_for_nothing():
    assert delays([Ending.RETIRED, Ending.KILLED] * 5 + [Ending.DIED]) == [0] * 11


def test_one_that_has_proved_itself_starts_anew():
    assert delays([Ending.DIED] * 20, lived=PROVED_SECONDS) == [0] * 20


def test_the_delay_varies_by_a_fifth():
    restarts = Restarts(random=random.Random(1))
    found = []
    for _ in range(200):
        restarts.strikes = 0
        found.append(restarts.delay_after(Ending.NEVER_STARTED, lived=0.0))

    assert INITIAL_DELAY * (1 - JITTER) <= min(found) < max(found) <= INITIAL_DELAY * (1 + JITTER)


def test_what_fails_to_run_a_worker_is_tried_more_slowly_from_the_first_time():
    assert delays([Ending.BROKEN] * 3) == pytest.approx([0.1, 0.2, 0.4])


def test_every_ending_has_its_row():
    assert set(FREE) == set(Ending)
