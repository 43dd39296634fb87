"""Errors cross as data and come back as themselves, and data from a worker can make nothing else of them."""

from __future__ import annotations

import inspect
import types
from typing import Any

import pytest

from dspex import _exceptions
from dspex._exceptions import (
    BatchError,
    CallCancelled,
    ContextCrashed,
    DspexError,
    InvalidValue,
    NotBridgeable,
    ProgramFailed,
    RemoteProtocolError,
    VariableNotFound,
    VersionConflict,
    WorkerDied,
)
from dspex.wire import Limits, decode, encode, error_from_wire, error_to_wire

ERRORS: list[DspexError] = [
    VariableNotFound("t", known=["a"], context="c"),
    InvalidValue("t", expected="a float", got="'x'", path="[0]"),
    VersionConflict("t", expected=1, actual=2),
    ContextCrashed("c", operation="set", applied=True),
    NotBridgeable("c", variables={"a": "it holds a lock"}),
    ProgramFailed("p", type="builtins.KeyError", message="'k'", traceback="Traceback", types=["builtins.KeyError", "builtins.LookupError"]),
    WorkerDied(pid=1, exit_code=-9, ended="was killed by SIGKILL (signal 9)", last_words="oh"),
    CallCancelled("p"),
    RemoteProtocolError("nonsense", code="malformed"),
    DspexError("only a sentence"),
]


def _across(error: BaseException) -> DspexError:
    return error_from_wire(decode(encode(error_to_wire(error)), limits=Limits()))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_comes_back_with_its_class_its_sentence_and_its_facts(in_use: str, error: DspexError) -> None:
    back = _across(error)
    assert type(back) is type(error)
    assert (str(back), back.applied) == (str(error), error.applied)
    for name, fact in error.facts.items():
        assert back.facts[name] == fact
        assert getattr(back, name) == fact


def test_a_batch_error_brings_the_errors_in_it(in_use: str) -> None:
    inner = BatchError(versions={}, errors={"deep": VersionConflict("deep", expected=1, actual=2)})
    back = _across(BatchError(versions={"a": 3}, errors={"b": VariableNotFound("b"), "c": inner}))
    assert isinstance(back, BatchError)
    assert back.versions == {"a": 3}
    assert back.applied is True
    assert isinstance(back.errors["b"], VariableNotFound)
    assert isinstance(back.errors["c"], BatchError)
    assert isinstance(back.errors["c"].errors["deep"], VersionConflict)
    assert back.errors["c"].errors["deep"].actual == 2


def test_an_error_of_somebody_else_is_told_with_its_type(in_use: str) -> None:
    assert error_to_wire(ZeroDivisionError("division by zero")) == [
        "DspexError",
        {"type": "builtins.ZeroDivisionError"},
        "ZeroDivisionError: division by zero",
        None,
    ]
    assert _across(ZeroDivisionError()).applied is None


class Mine(VariableNotFound):
    """A user's own, derived from one of the tree."""


def test_an_error_derived_from_one_of_the_tree_crosses_as_that_one(in_use: str) -> None:
    assert type(_across(Mine("x"))) is VariableNotFound


def test_facts_that_are_no_data_are_told_as_text(in_use: str) -> None:
    back = _across(InvalidValue("t", expected="a float", got=types))  # type: ignore[arg-type]
    assert isinstance(back, InvalidValue)
    assert back.got.startswith("<module 'types'")


def test_only_errors_of_the_tree_are_made_whatever_the_code() -> None:
    for code in ("Exception", "Any", "_rebuild", "os", "__builtins__", 5, None, ["DspexError"]):
        back = error_from_wire([code, {}, "said", True])
        assert (type(back), str(back), back.applied) == (DspexError, "said", True)


@pytest.mark.parametrize("data", [[], ["ProgramFailed"], None, ["ProgramFailed", 5, 5, 5], ["ProgramFailed", {1: 2}, None, "yes"]])
def test_what_is_missing_or_of_another_type_is_empty(data: Any) -> None:
    back = error_from_wire(data)
    assert (str(back), back.applied) == ("", None)
    if isinstance(back, ProgramFailed):
        assert (back.program, back.type, back.types) == ("", "", [])
        assert not back.is_a("ValueError")


def test_facts_hide_nothing_that_the_class_has() -> None:
    hostile = dict.fromkeys(
        ["__class__", "args", "with_traceback", "is_a", "applied", "sentence", "facts", "__dict__", "_x", "a b", "types"], "X"
    )
    back = error_from_wire(["ProgramFailed", {**hostile, "type": ["x"], "message": "m"}, "said", False])
    assert isinstance(back, ProgramFailed)
    assert (back.types, back.type, back.message, back.sentence, back.args, back.applied) == ([], "", "m", "said", ("said",), False)
    assert not back.is_a("X")


def test_every_error_of_the_tree_is_known_by_name() -> None:
    names = [name for name, cls in vars(_exceptions).items() if inspect.isclass(cls) and issubclass(cls, DspexError)]
    assert len(names) > 30
    for name in names:
        assert type(error_from_wire([name, {}, "", None])).__name__ == name


def test_errors_of_another_copy_of_the_tree_cross_both_ways(in_use: str) -> None:
    copy = types.ModuleType("copy_of_exceptions")
    exec(inspect.getsource(_exceptions), copy.__dict__)
    assert type(_across(copy.VersionConflict("t", expected=1, actual=2))) is VersionConflict
    back = error_from_wire(error_to_wire(VersionConflict("t", expected=1, actual=2)), home=copy)
    assert type(back) is copy.VersionConflict
