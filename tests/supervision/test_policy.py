"""The tables, pure: who is started again, who goes down with whom, how many restarts are too many, when it ends by itself."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, strategies as st

from dspex.supervision._policy import AFFECTED, ENDS_ITSELF, RESTARTED, Ending, Window

RESTARTS = ("permanent", "transient", "temporary")
TIMES = st.lists(st.floats(0, 100, allow_nan=False), max_size=40).map(sorted)


def test_the_table_of_restarts_is_complete() -> None:
    assert set(RESTARTED) == set(itertools.product(RESTARTS, Ending))


@given(st.sampled_from(RESTARTS))
def test_nobody_is_started_again_who_was_asked_to_stop(restart: Any) -> None:
    assert RESTARTED[restart, Ending.ASKED] is False


@given(st.sampled_from([Ending.RETURNED, Ending.RAISED, Ending.CANCELLED]))
def test_each_type_restarts_for_all_that_the_next_one_does(ending: Ending) -> None:
    answers = [RESTARTED[restart, ending] for restart in RESTARTS]

    assert answers == sorted(answers, reverse=True)
    assert answers[0] is True
    assert answers[2] is False


@given(st.sampled_from(RESTARTS))
def test_a_strangers_cancellation_is_as_good_as_a_crash(restart: Any) -> None:
    assert RESTARTED[restart, Ending.CANCELLED] == RESTARTED[restart, Ending.RAISED]


def test_only_a_return_tells_transient_from_permanent() -> None:
    assert [ending for ending in Ending if RESTARTED["permanent", ending] != RESTARTED["transient", ending]] == [Ending.RETURNED]


@given(st.integers(0, 5), st.floats(0.001, 50), TIMES)
def test_a_window_allows_a_restart_while_fewer_than_that_lie_within_its_length(allowed: int, seconds: float, times: Any) -> None:
    window = Window(allowed, seconds)
    granted: list[float] = []
    for now in times:
        room = sum(now - then <= seconds for then in granted) < allowed
        assert window.add(now) is room
        granted += [now] * room
        assert window.count(now) == sum(now - then <= seconds for then in granted)


@given(st.floats(0.001, 50), TIMES, st.floats(0, 100))
def test_a_windows_count_only_falls_while_nothing_is_added(seconds: float, times: Any, later: float) -> None:
    window = Window(3, seconds)
    for now in times:
        window.add(now)

    last = times[-1] if times else 0.0
    before = window.count(last)
    assert window.count(last + later) <= before
    assert window.count(last + 2 * seconds + 1) == 0


def test_a_window_that_was_cleared_begins_anew() -> None:
    window = Window(1, 10.0)
    window.add(0.0)
    window.clear()

    assert window.count(0.0) == 0
    assert window.add(0.0) is True


@given(st.lists(st.integers(), min_size=1, unique=True), st.data())
def test_those_affected_are_in_the_order_of_their_start_and_the_failed_one_is_among_them(children: Any, data: Any) -> None:
    failed = data.draw(st.sampled_from(children))
    affected = {strategy: list(choose(children, failed)) for strategy, choose in AFFECTED.items()}

    assert affected == {
        "one_for_one": [failed],
        "one_for_all": children,
        "rest_for_one": children[children.index(failed) :],
    }


@pytest.mark.parametrize(
    ("mode", "with_others", "as_the_last"), [("never", False, False), ("any_significant", True, True), ("all_significant", False, True)]
)
def test_when_a_supervisor_ends_by_itself(mode: str, with_others: bool, as_the_last: bool) -> None:
    assert (ENDS_ITSELF[mode](2), ENDS_ITSELF[mode](0)) == (with_others, as_the_last)
