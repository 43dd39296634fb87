"""Values of every kind that crosses, and what it means that two are the same."""

from __future__ import annotations

import struct
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from dspex.wire import Tagged

NAN = float("nan")
BERLIN = ZoneInfo("Europe/Berlin")

EVERY_KIND: dict[str, Any] = {
    "nothing": None,
    "true": True,
    "false": False,
    "zero": 0,
    "one, not True": 1,
    "ints around each size": [
        sign * (1 << bits) + off for bits in (5, 7, 8, 15, 16, 31, 32, 63, 64) for sign in (1, -1) for off in (-1, 0, 1)
    ],
    "a big int": 10**1000,
    "a big negative int": -(10**1000),
    "float": 0.1,
    "negative zero": -0.0,
    "not a number": NAN,
    "a NaN of another bit pattern": struct.unpack(">d", b"\xff\xf8\x00\x00\x00\x00\x12\x34")[0],
    "infinity": float("inf"),
    "negative infinity": float("-inf"),
    "the smallest float": 5e-324,
    "text": "grüße \N{PILE OF POO}",
    "empty text": "",
    "texts around each size": ["x" * size for size in (31, 32, 255, 256, 65_535, 65_536)],
    "a lone surrogate": "\ud800 alone",
    "a lone surrogate as a key": {"\udfff": 1},
    "bytes": b"\x00\xff",
    "bytes around each size": [b"x" * size for size in (0, 255, 256, 65_535, 65_536)],
    "list": [1, "two", [3.0]],
    "lists around each size": [[None] * size for size in (0, 15, 16, 65_535, 65_536)],
    "tuple": (1, (2, [3]), ()),
    "dict": {"b": 1, "a": {"c": []}},
    "dicts around each size": [dict.fromkeys(range(size)) for size in (0, 15, 16, 65_536)],
    "a dict with keys of many kinds": {
        1: 1,
        "1": 2,
        b"1": 3,
        None: 4,
        1.5: 5,
        (1, 2): 6,
        date(2020, 1, 1): 7,
        frozenset({1}): 8,
        1 << 70: 9,
    },
    "a dict keyed by a bool": {True: "yes", False: "no"},
    "set": {1, "a", (2, 3), b"x"},
    "nested sets": {frozenset({frozenset(), frozenset({1})}), 2},
    "frozenset": frozenset("abc"),
    "complex": complex(-0.0, NAN),
    "naive datetime": datetime(2026, 11, 1, 1, 30, 0, 123_456),
    "utc datetime": datetime(2026, 11, 1, tzinfo=UTC),
    "the later of two equal times": datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
    "a datetime with a fixed offset": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=-5, microseconds=-1))),
    "a datetime with a named offset": datetime(9999, 12, 31, tzinfo=timezone(timedelta(hours=5), "FIVE")),
    "UTC by its zone": datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC")),
    "date": date(1, 1, 1),
    "time": time(23, 59, 59, 999_999, fold=1),
    "a time with a zone": time(1, tzinfo=BERLIN),
    "timedelta": timedelta(days=-999_999_999),
    "timedelta with all its parts": timedelta(1, 2, 3),
    "decimal": Decimal("-0.00"),
    "a decimal with an exponent": Decimal("1E+5"),
    "decimal NaN": Decimal("NaN123"),
    "decimal sNaN": Decimal("-sNaN7"),
    "decimal infinity": Decimal("-Infinity"),
    "uuid": uuid.UUID(int=2**128 - 1),
    "a tagged enum": Tagged("enum", "app:Color", "RED"),
    "a tagged record": Tagged("record", "app:Point", {"x": 1, "y": (2,)}),
    "a set of tagged records": {Tagged("record", "app:Point", {"x": 1})},
}


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same type, all the way down: floats to their bits, dicts to their order."""
    if type(one) is not type(other):
        return False

    if isinstance(one, float):
        return struct.pack(">d", one) == struct.pack(">d", other)

    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)

    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))

    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))

    if isinstance(one, (set, frozenset)):
        return sorted(map(_told, one)) == sorted(map(_told, other))

    if isinstance(one, Decimal):
        return one.as_tuple() == other.as_tuple()

    if isinstance(one, Tagged):
        return (one.kind, one.label) == (other.kind, other.label) and same(one.data, other.data)

    if isinstance(one, (datetime, time)):
        return repr(one) == repr(other) and one.fold == other.fold and type(one.tzinfo) is type(other.tzinfo)

    return bool(one == other)


def _told(member: Any) -> str:
    told = " ".join(sorted(map(_told, member))) if isinstance(member, (set, frozenset)) else repr(member)
    return f"{type(member).__name__}({told})"


offsets = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
zones = st.none() | st.just(UTC) | offsets | st.sampled_from([BERLIN, ZoneInfo("UTC"), ZoneInfo("America/New_York")])
texts = st.text(st.characters(), max_size=20)
keys = st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | texts | st.binary(max_size=20)
hashable = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | texts
    | st.text(st.characters(categories=["Cs", "L"]), max_size=5)
    | st.binary(max_size=20)
    | st.complex_numbers()
    | st.datetimes(timezones=zones)
    | st.dates()
    | st.times(timezones=zones)
    | st.timedeltas()
    | st.uuids()
)
scalars = hashable | st.decimals()


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inner, max_size=6)
        | st.lists(inner, max_size=6).map(tuple)
        | st.dictionaries(keys, inner, max_size=6)
        | st.dictionaries(hashable, inner, max_size=4)
        | st.sets(hashable, max_size=6)
        | st.frozensets(hashable | st.frozensets(hashable, max_size=3), max_size=6)
        | st.builds(Tagged, st.just("record"), texts, st.dictionaries(texts, inner, max_size=4))
        | st.builds(Tagged, st.just("enum"), texts, texts)
    )


values = st.recursive(scalars, _containers, max_leaves=20)
plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=8) | st.lists(inner, max_size=8).map(tuple) | st.dictionaries(keys, inner, max_size=8),
    max_leaves=30,
)
