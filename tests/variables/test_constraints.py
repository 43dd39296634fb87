"""What may be asked of values, of which types, and what is said of declarations that ask the impossible."""

from __future__ import annotations

import datetime as dt
import enum
import math
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest

from dspex import InvalidDefinition, InvalidValue, Var
from dspex.variables import Definition

HERE = __name__
NAN = math.nan


class Color(enum.Enum):
    RED = 1
    BLUE = 2


def define(declared: Any, **constraints: Any) -> Definition:
    return Definition.make("v", declared, constraints=constraints)


@pytest.mark.parametrize(
    ("declared", "constraints", "fits", "misfits"),
    [
        (float, {"min": 0, "max": 2}, [0, 2.0, 1], [-0.001, 2.5, NAN, math.inf]),
        (float, {"min": 0.0}, [math.inf], [NAN, -math.inf]),
        (float, {}, [NAN, math.inf], []),
        (int, {"max": 2**70}, [2**70, -(2**90)], [2**70 + 1]),
        (float | None, {"min": 1.0}, [None, 1.0], [0.0]),
        (Decimal, {"min": Decimal("0.1")}, [Decimal("0.1")], [Decimal("0.09"), Decimal("NaN"), Decimal("sNaN")]),
        (dt.date, {"min": dt.date(2026, 1, 1)}, [dt.date(2026, 1, 1)], [dt.date(2025, 12, 31)]),
        (dt.datetime, {"max": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}, [dt.datetime(2025, 1, 1, tzinfo=dt.UTC)], [dt.datetime(2025, 1, 1)]),
        (dt.timedelta, {"min": dt.timedelta()}, [dt.timedelta(1)], [dt.timedelta(-1)]),
        (str, {"min_length": 1, "max_length": 2}, ["a", "ab"], ["", "abc"]),
        (bytes, {"max_length": 1}, [b""], [b"ab"]),
        (list[int], {"min_length": 1}, [[1]], [[]]),
        (dict[str, int], {"max_length": 1}, [{"a": 1}], [{"a": 1, "b": 2}]),
        (set[int], {"max_length": 1}, [{1}], [{1, 2}]),
        (tuple[int, ...], {"min_length": 2}, [(1, 2)], [(1,)]),
        (str, {"pattern": "a+"}, ["a", "aa"], ["", "ab", "ba", "a\n"]),
        (str | None, {"pattern": "a+"}, [None, "a"], ["b"]),
        (str, {"choices": ["a", "b"]}, ["a"], ["c", ""]),
        (int, {"choices": (1, 2)}, [1], [3]),
        (Color, {"choices": [Color.RED]}, [Color.RED], [Color.BLUE]),
        (Literal["a", "b"], {"choices": ["a"]}, ["a"], ["b"]),
        ("choice", {"choices": ["a", "b"]}, ["b"], ["c"]),
        ("embedding", {"dimensions": 2}, [[1, 2]], [[1], [1, 2, 3]]),
        (list[int], {"dimensions": 1}, [[1]], [[]]),
        ("tensor", {"dimensions": (2, 1)}, [[[1], [2]]], [[[1, 2]], [1, 2]]),
        (np.ndarray, {"dimensions": (2, None)}, [np.zeros((2, 5))], [np.zeros((3, 5)), np.zeros(2)]),
        (npt.NDArray[np.float64], {"dimensions": 3}, [np.zeros(3)], [np.zeros(4), np.zeros((3, 1))]),
    ],
)
def test_a_constraint_parts_the_values_that_fit_from_those_that_do_not(
    declared: Any, constraints: dict[str, Any], fits: list[Any], misfits: list[Any]
) -> None:
    definition = define(declared, **constraints)
    for value in fits:
        definition.check(value)
    for value in misfits:
        with pytest.raises(InvalidValue):
            definition.check(value)


@pytest.mark.parametrize(
    ("declared", "constraints", "value", "sentence"),
    [
        (float, {"min": 0, "max": 2}, 3, "Variable 'v': expected a float (min 0.0, max 2.0), got 3 (int)."),
        (float, {"min": 0}, NAN, "Variable 'v': expected a float (min 0.0), got nan (float)."),
        (str, {"choices": ["a", "b"]}, "c", "Variable 'v': expected a str (choices 'a', 'b'), got 'c' (str)."),
        (str, {"pattern": "[a-z]+", "max_length": 3}, "A", "Variable 'v': expected a str (pattern '[a-z]+', max_length 3), got 'A' (str)."),
        (Color, {"choices": [Color.RED]}, Color.BLUE, f"Variable 'v': expected a member of {HERE}:Color (choices {HERE}:Color.RED), got <Color.BLUE: 2> ({HERE}.Color)."),
        ("tensor", {"dimensions": (2, None)}, [[1.0]], "Variable 'v': expected a tensor (nested lists of floats, all of one length at each level) (dimensions 2, None), got [[1.0]] (list)."),
    ],
)  # fmt: skip
def test_a_value_outside_is_told_with_the_constraints(declared: Any, constraints: dict[str, Any], value: Any, sentence: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        define(declared, **constraints).check(value)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("declared", "constraints", "problem"),
    [
        (float, {"mni": 0}, "there is no constraint 'mni'; there are min, max, min_length, max_length, pattern, choices, dimensions"),
        (str, {"min": 0}, "'min' says nothing about str; it is for numbers and moments"),
        (bool, {"max": True}, "'max' says nothing about bool; it is for numbers and moments"),
        (list[float], {"min": 0}, "'min' says nothing about list[float]; it is for numbers and moments"),
        (float, {"max_length": 3}, "'max_length' says nothing about float; it is for str, bytes and containers"),
        (int, {"pattern": "a"}, "'pattern' says nothing about int; it is for str"),
        (bytes, {"pattern": "a"}, "'pattern' says nothing about bytes; it is for str"),
        (
            list[str],
            {"choices": ["a"]},
            "'choices' says nothing about list[str]; it is for numbers, str, bytes, moments, UUIDs and enumerations",
        ),
        (str, {"dimensions": 3}, "'dimensions' says nothing about str; it is for arrays, tensors and lists of numbers"),
        (list[str], {"dimensions": 3}, "'dimensions' says nothing about list[str]; it is for arrays, tensors and lists of numbers"),
        (Any, {"min": 3}, "'min' says nothing about Any; it is for numbers and moments"),
        (float, {"min": 2, "max": 1}, "'min' is 2.0, above 'max', which is 1.0: no value would fit"),
        (str, {"min_length": 2, "max_length": 1}, "'min_length' is 2, above 'max_length', which is 1: no value would fit"),
        (float, {"min": NAN}, "'min' is NaN, which nothing can be compared with"),
        (float, {"min": "low"}, "'min' must be a float, as the values are, not 'low' (str)"),
        (int, {"max": 0.5}, "'max' must be an int, as the values are, not 0.5 (float)"),
        (str, {"min_length": -1}, "'min_length' must be a length, an int from 0 up, not -1 (int)"),
        (str, {"max_length": True}, "'max_length' must be a length, an int from 0 up, not True (bool)"),
        (str, {"pattern": "("}, "'pattern' is no regular expression (missing ), unterminated subpattern at position 0): '(' (str)"),
        (str, {"pattern": b"a"}, "'pattern' must be the text of a regular expression of at most 1000 characters, not b'a' (bytes)"),
        (str, {"choices": "abc"}, "'choices' must be the values to choose from, in a list, not 'abc' (str)"),
        (str, {"choices": []}, "'choices' is empty: no value would fit"),
        (str, {"choices": ["a", 1]}, "'choices' has 1 (int), which is not a str"),
        ("embedding", {"dimensions": -1}, "'dimensions' must be a length, or a tuple of lengths (None: any), not -1 (int)"),
        ("embedding", {"dimensions": (2, 3)}, "'dimensions' of list[float] is one length, not (2, 3) (tuple)"),
        ("tensor", {"dimensions": ()}, "'dimensions' must be a length, or a tuple of lengths (None: any), not () (tuple)"),
        ("choice", {}, "a 'choice' variable has no 'choices'"),
    ],
)
def test_a_constraint_that_can_not_be_is_refused_at_definition(declared: Any, constraints: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        define(declared, **constraints)
    assert str(caught.value).startswith(f"Variable 'v': {problem}.")


def test_a_pattern_is_at_most_1000_characters() -> None:
    with pytest.raises(InvalidDefinition):
        define(str, pattern="a" * 1001)


def test_bounds_that_can_not_be_compared_are_refused() -> None:
    with pytest.raises(InvalidDefinition, match="'min' and 'max' can't be compared"):
        define(dt.datetime, min=dt.datetime(2026, 1, 1), max=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))


def test_a_misspelt_constraint_is_a_type_error_of_python() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'mni'"):
        Var("v", float, 0.5, mni=0)  # type: ignore[call-overload]


def test_an_initial_value_that_does_not_fit_is_refused_at_declaration() -> None:
    with pytest.raises(InvalidValue, match=r"Variable 'v': expected a float \(max 1.0\), got 2.0 \(float\)\."):
        Var("v", float, 2.0, max=1.0)


def test_constraints_are_kept_normalised_and_in_their_order() -> None:
    definition = define(float, max=2, min=0)
    assert list(definition.constraints.items()) == [("max", 2.0), ("min", 0.0)]
    assert type(definition.constraints["max"]) is float
    with pytest.raises(TypeError):
        definition.constraints["max"] = 3  # type: ignore[index]
