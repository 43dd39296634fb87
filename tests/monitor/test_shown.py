"""A value on one line: what it is, within 80 characters and bounded time, and nothing that a terminal would obey."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import time
import uuid
from decimal import Decimal
from typing import Any

import attrs
import numpy as np
import pydantic
import pytest

from dspex.monitor._shown import one_line, shown
from dspex.wire.records import Tagged


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 3


@attrs.define
class Point:
    x: int
    token: str = attrs.field(default="hidden", repr=False)


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any = dataclasses.field(default="hidden", repr=False)


class Model(pydantic.BaseModel):
    name: str = "a"
    key: pydantic.SecretStr = pydantic.SecretStr("hidden")


class Foreign(list):
    """What it would say of itself isn't asked for."""

    def __repr__(self):
        raise SystemError

    def __iter__(self):
        raise SystemError


class Loud:
    def __repr__(self):
        raise SystemError


UUID = uuid.uuid4()
SELF: list[Any] = [1]
SELF.append(SELF)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        (7, "7"),
        (10**1000, "<an int of 3,322 bits>"),
        (0.1, "0.1"),
        (float("inf"), "inf"),
        ("text", "'text'"),
        ("\x1b[31mred\n\x07", r"'\x1b[31mred\n\x07'"),
        ("\u202eevil", r"'\u202eevil'"),
        ("\ud800", r"'\ud800'"),
        (b"\x00a", r"b'\x00a'"),
        (Decimal("1.50"), "Decimal('1.50')"),
        (Decimal("1" * 10_000), "<a long Decimal>"),
        (dt.date(2024, 5, 1), "2024-05-01"),
        (dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC), "2024-05-01 12:00:00+00:00"),
        (UUID, str(UUID)),
        (Colour.RED, "Colour.RED"),
        (Level.HIGH, "Level.HIGH"),
        ([1, "a"], "[1, 'a']"),
        ([], "[]"),
        ((1,), "(1,)"),
        ({1}, "{1}"),
        (frozenset({1}), "frozenset({1})"),
        ({"a": [1, {"b": None}]}, "{'a': [1, {'b': None}]}"),
        (Point(1), "Point(x=1)"),
        (Pair([1]), "Pair(left=[1])"),
        (Model(), "Model(name='a', key=<SecretStr>)"),
        (Foreign([1, 2]), "[1, 2]"),
        (Loud(), "<Loud>"),
        (Tagged("record", "app.models:Money", {"amount": 3}), "Money {'amount': 3}"),
        (np.array([1.0, 2.0]), "array([1.0, 2.0], float64)"),
        (np.zeros((3, 4), dtype="int8"), "<array of int8, 3 × 4>"),
        (np.array(object()), "<array of object, one>"),
        (SELF, "[1, " * 19 + "[1,…"),
    ],
)
def test_a_value_on_one_line(value, text):
    assert shown(value) == text


@pytest.mark.parametrize(
    "value",
    ["x" * 100_000_000, b"x" * 100_000_000, list(range(1_000_000)), {n: n for n in range(1_000_000)}, np.zeros(10_000_000)],
    ids=["str", "bytes", "list", "dict", "array"],
)
def test_a_huge_one_takes_no_longer(value):
    began = time.thread_time()
    for _ in range(10):
        text = shown(value)

    assert len(text) == 80
    assert text.endswith("…")
    assert (time.thread_time() - began) / 10 < 0.005


def test_it_is_cut_where_asked():
    assert shown([1, 2, 3, 4], longest=8) == "[1, 2, …"
    assert shown([1, 2], longest=6) == "[1, 2]"


def test_any_text_on_one_line():
    assert one_line(" a\n b\t\x1b[0m", 80) == r"a b \x1b[0m"
    assert one_line("\x00" * 1000, 10) == r"\x00\x00\…"
    assert one_line("", 10) == ""
