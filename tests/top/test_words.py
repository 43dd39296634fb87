"""Numbers that fit into columns, and rows of them as bars."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from dspex._top import _words as words
from dspex._top._lines import apart, as_many_as_fit, cut, filled, in_columns, width_of, within
from dspex.supervision._drawing import width


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (None, "–"), (0.0, "0 s"), (4.2e-8, "42 ns"), (3.1e-6, "3.1 µs"), (0.00125, "1.25 ms"), (0.5, "500 ms"), (2.0, "2 s"), (59.94, "59.9 s"),
        (60, "1 min"), (3725, "1 h 2 min"), (90061, "1 d 1 h"),
    ],
)  # fmt: skip
def test_times_have_three_digits_and_a_unit(seconds, told):
    assert words.of_seconds(seconds) == told


@pytest.mark.parametrize(
    ("size", "told"), [(None, "–"), (0, "0 B"), (999, "999 B"), (1000, "1 kB"), (41_200_000, "41.2 MB"), (10**18, "1000 PB")]
)
def test_sizes(size, told):
    assert words.of_bytes(size) == told


@pytest.mark.parametrize(("rate", "told"), [(None, "–"), (0, "0/s"), (0.5, "0.5/s"), (12_431, "12.4k/s"), (999_700, "1M/s"), (2e9, "2G/s")])
def test_rates(rate, told):
    assert words.of_rate(rate) == told


def test_a_row_of_bars_goes_from_zero_to_the_highest_and_is_empty_where_nothing_was_measured():
    assert words.of_bars([0, 1, None, 7]) == "▁▂ ▇"


def test_few_are_not_drawn_as_many():
    assert words.of_bars([2, 2], least=16) == "▁▁"


def test_nothing_at_all_draws_nothing():
    assert words.of_bars([]) == ""
    assert words.of_bars([None, None]) == "  "
    assert words.of_bars([0, 0]) == "▁▁"


def test_of_several_samples_in_a_column_the_highest_stands():
    assert words.of_columns([1, 5, None, None, 2, 3], 4) == [5, None, 3]


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e6)), max_size=80), st.integers(1, 40), st.integers(0, 1000))
def test_columns_fit_and_lose_no_peak(values, columns, before):
    gathered = words.of_columns(values, columns, before=before)
    assert len(gathered) <= columns
    numbers = [value for value in values if value is not None]
    if numbers and len(values) <= columns:
        assert [value for value in gathered if value is not None] == numbers
    assert {value for value in gathered if value is not None} <= set(numbers)


@given(st.lists(st.floats(0, 1), min_size=30, max_size=30), st.integers(0, 500))
def test_columns_stand_still_while_samples_go_by(values, before):
    """A peak moves on by whole columns: what was gathered with what stays gathered with that."""
    now = words.of_columns(values, 10, before=before)
    later = words.of_columns([*values[1:], 0.0], 10, before=before + 1)
    assert now[1:-1] == later[-len(now) + 1 : -1] or now[2:-1] == later[-len(now) + 1 : -2]


@given(st.text(max_size=40), st.integers(0, 30))
def test_what_is_filled_takes_exactly_its_columns(text, columns):
    shown = "".join(letter for letter in text if letter.isprintable())
    assert width(filled(shown, columns)) == columns
    assert width(filled(shown, columns, right=True)) == columns
    assert width(cut(shown, columns)) <= columns


def test_wide_letters_count_twice():
    assert cut("日本語のテキスト", 7) == "日本語…"
    assert filled("日本", 6) == "日本  "


def test_a_line_is_cut_at_the_piece_that_does_not_fit():
    assert within((("one ", "a"), ("two three", "b"), ("four", "c")), 8) == (("one ", "a"), ("two…", "b"))


def test_the_right_end_of_a_line_stays_and_the_left_one_gives_way():
    assert width_of(apart((("a long beginning", ""),), (("end", ""),), 12)) == 12
    assert apart((("a long beginning", ""),), (("end", ""),), 12)[-1] == ("end", "")


def test_parts_that_do_not_fit_are_dropped_from_the_end():
    parts = [(("first", ""),), (("second", ""),), (("third", ""),)]
    assert "".join(text for text, _ in as_many_as_fit(parts, 15)) == "first   second"
    assert "".join(text for text, _ in as_many_as_fit(parts, 3)) == "fi…"
    assert as_many_as_fit([], 10) == ()


def test_rows_stand_under_each_other():
    rows = in_columns([[("a", ""), ("12", ""), ("x", "")], [("bcd", ""), ("3", ""), ("yz", "")]], right=(1,))
    assert ["".join(text for text, _ in row) for row in rows] == ["a    12  x", "bcd   3  yz"]
