"""What a program may ask, and how."""

from __future__ import annotations

from typing import Any

import pytest

from dspex.wire import Malformed
from dspex.wire.operations import OPERATIONS, check, complete

GOOD: list[list[Any]] = [
    [1, "get", "t"],
    [1, "read", "t"],
    [1, "ids"],
    [1, "list"],
    [1, "get_many", ["a", "b"]],
    [1, "set", "t", object()],
    [1, "set", "t", None, {"by": "me"}],
    [1, "set", "t", None, None, 3],
    [1, "set_many", {"a": 1}],
    [1, "set_many", {"a": 1}, None, False],
    [1, "add", "n", 1.5],
    [1, "append", "log", {"a": 1}],
    [1, "merge", "m", {}],
    [1, "define", {"name": "x"}, 1],
    [1, "call", "other"],
    [1, "call", "other", {"n": object()}, 0.5],
    [1, "call", "other", None, None, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
    [2, "cancel", 1],
]

BAD: list[tuple[Any, str]] = [
    ("get", "Expected an operation as [id, name, *arguments], got 'get'."),
    ([1], "Expected an operation as [id, name, *arguments], got [1]."),
    ([True, "ids"], "Expected an operation as [id, name, *arguments], got [True, 'ids']."),
    ([1, "update", "t"], f"There is no operation 'update' for a program. There are: {', '.join(OPERATIONS)}."),
    ([1, "set", "t"], "The operation set takes 2 to 4 arguments (key, value, metadata, expected_version), got 1."),
    ([1, "ids", 1], "The operation ids takes 0 to 0 arguments (), got 1."),
    ([1, "add", "n", True], "The operation add: expected n as int or float, got bool."),
    ([1, "set", "t", 1, [], None], "The operation set: expected metadata as dict or None, got list."),
    ([1, "call", "other", [1]], "The operation call: expected inputs as dict or None, got list."),
    ([1, "call", "other", None, True], "The operation call: expected timeout as float or int or None, got bool."),
    ([1, "call", "other", None, None, 7], "The operation call: expected parent as str or None, got int."),
    ([1, "call", None], "The operation call: expected program as str, got NoneType."),
    ([1, "cancel", "1"], "The operation cancel: expected operation as int, got str."),
    ([1, "set", "t", 1, None, True], "The operation set: expected expected_version as int or None, got bool."),
]


def test_operations_as_the_table_has_them_pass() -> None:
    check(GOOD)


@pytest.mark.parametrize(("op", "sentence"), BAD)
def test_any_other_is_malformed(op: Any, sentence: str) -> None:
    with pytest.raises(Malformed) as refused:
        check([op])

    assert str(refused.value) == sentence


def test_what_is_left_out_is_none() -> None:
    assert complete("set", ["t", 1]) == ["t", 1, None, None]
    assert complete("ids", []) == []
