"""The checkers say of thousands of small histories what trying every order says."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from .claims import History, complaints, lost_or_doubled, objects, refused_but_seen, registers, torn, unanswered
from .histories import OBJECT, PLAIN, SINGLE, drawn, explained
from .model import Model, project
from .recorder import UNKNOWN, Op, Outcome
from .wgl import Verdict, by_versions, check_key, resolve, search

ONE, TWO = Model(("x",)), Model(("x", "y"))
ZERO = ONE.initial({"x": 0})


def op(name, *args, call, ret=float("inf"), result=UNKNOWN, outcome=Outcome.OK, client=1):
    return Op(client, name, args, call, ret, outcome, result)


@pytest.mark.parametrize(("unknown", "runs"), [(0.0, 8000), (0.3, 4000)])
def test_the_search_agrees_with_trying_every_order(unknown, runs):
    draw, violations = random.Random(1), 0
    for _ in range(runs):
        ops = drawn(draw, ["x"], SINGLE, size=5, unknown=unknown)
        expected = explained(ONE, ops, ZERO)
        assert (search(ONE, ops, ZERO).verdict is Verdict.OK) == expected, ops
        violations += not expected

    assert violations > runs / 20  # else it says little


def test_the_search_agrees_for_operations_on_many_keys():
    draw, violations = random.Random(2), 0
    for _ in range(4000):
        ops = drawn(draw, ["x", "y"], OBJECT, size=5, unknown=0.1)
        expected = explained(TWO, ops, TWO.initial({"x": 0, "y": 0}))
        assert (search(TWO, ops, TWO.initial({"x": 0, "y": 0})).verdict is Verdict.OK) == expected, ops
        violations += not expected

    assert violations > 300


def test_versions_say_what_the_search_says():
    draw, violations = random.Random(3), 0
    for _ in range(8000):
        ops = drawn(draw, ["x"], PLAIN, size=draw.randrange(4, 14))
        quick = by_versions(ops, 0)
        assert quick is not None
        assert quick.verdict is search(ONE, ops, ZERO).verdict, ops
        violations += quick.verdict is Verdict.VIOLATION

    assert violations > 300


def test_solving_unknown_outcomes_changes_no_verdict():
    draw = random.Random(4)
    for _ in range(4000):
        ops = drawn(draw, ["x"], PLAIN, size=7, unknown=0.3)
        assert check_key("x", ops, 0).verdict is search(ONE, ops, ZERO).verdict, ops


def test_a_long_correct_history_takes_the_quick_way():
    ops = drawn(random.Random(5), ["x"], PLAIN, size=5000, wrong=0.0)
    report = by_versions(ops, 0)
    assert report is not None
    assert report.verdict is Verdict.OK


def test_a_used_up_budget_is_no_pass():
    ops = drawn(random.Random(6), ["x"], SINGLE, size=60, wrong=0.0)
    assert search(ONE, ops, ZERO, budget=10).verdict is Verdict.UNKNOWN


def test_the_longest_explained_prefix_is_told():
    ops = [
        op("set", "x", 5, call=0, ret=1, result=1),
        op("get", "x", call=2, ret=3, result=0),
    ]
    report = search(ONE, ops, ZERO)
    assert report.verdict is Verdict.VIOLATION
    assert report.prefix == (ops[0],)
    assert report.stuck == ops[1]
    assert "nothing explains" in str(report)


def test_a_torn_snapshot_shows_only_to_the_whole_object_check():
    ops = [
        op("set_many", {"x": 1, "y": 1}, call=0, ret=3, result={"x": 1, "y": 1}),
        op("snapshot", call=1, ret=2, result={"x": (1, 1), "y": (0, 0)}, client=2),
    ]
    history = History(ops, {"x": 0, "y": 0}, {"x": (1, 1), "y": (1, 1)})
    assert registers(history) == []
    assert len(objects(history)) == len(torn(history)) == 1
    assert complaints(history) == torn(history)


def test_a_lost_write_shows_by_versions_where_values_alone_hide_it():
    ops = [
        op("set", "x", 5, call=0, ret=1, result=1),
        op("set", "x", 6, call=2, ret=3, result=1),
        op("get", "x", call=4, ret=5, result=6),
    ]
    assert check_key("x", ops, 0).verdict is Verdict.VIOLATION
    assert lost_or_doubled(History(ops, {"x": 0}, {"x": (1, 6)}))


def test_an_unknown_write_may_have_happened_or_not_but_only_once():
    lost = op("set", "x", 5, call=0, outcome=Outcome.INFO)
    for value, version in ((0, 0), (5, 1)):
        assert check_key("x", [lost, op("info", "x", call=1, ret=2, result=(version, value))], 0).verdict is Verdict.OK

    assert check_key("x", [lost, op("info", "x", call=1, ret=2, result=(2, 5))], 0).verdict is Verdict.VIOLATION


def test_an_unknown_write_that_was_read_is_solved_and_one_that_had_no_version_never_happened():
    lost = op("set", "x", 5, call=0, outcome=Outcome.INFO)
    seen = resolve([lost, op("info", "x", call=1, ret=2, result=(1, 5))])[0]
    assert (seen.outcome, seen.result) == (Outcome.OK, 1)
    written = op("set", "x", 6, call=1, ret=2, result=1)
    assert resolve([lost, written], final_version=1) == [written]


def test_a_refused_write_that_was_read_is_a_complaint():
    ops = [op("set", "x", 5, call=0, ret=1, outcome=Outcome.FAIL), op("get", "x", call=2, ret=3, result=5)]
    assert refused_but_seen(History(ops, {"x": 0}, {"x": (0, 0)}))


def test_an_operation_that_never_ends_is_a_complaint():
    assert unanswered(History([], {}, {}, unanswered=1)) == ["L5 1 operations never ended"]


def test_many_keys_become_one_by_projection():
    many = op("set_many", {"x": 1, "y": 2}, call=0, ret=1, result={"x": 3, "y": 4})
    assert [(single.name, single.args, single.result) for single in project([many], "y")] == [("set", ("y", 2), 4)]
    unknown = replace(many, outcome=Outcome.INFO, result=UNKNOWN)
    assert project([unknown], "x")[0].result is UNKNOWN
