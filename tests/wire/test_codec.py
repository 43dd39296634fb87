"""Every value comes back equal and of its own type, from either codec, and both write the same bytes."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest
from hypothesis import given
from wire.samples import EVERY_KIND, same, values

from dspex.wire import Malformed, Tagged, Unencodable, _msgspec, codec, decode, encode


def _pure(value: Any) -> bytes:
    return codec._pack_plainly(value, codec.DEPTH)


def _quick(value: Any) -> bytes:
    try:
        return _msgspec.pack(value, codec.DEPTH)
    except _msgspec.BEYOND:
        return _pure(value)


read_purely = codec._plain_reader(None)
read_quickly = _msgspec.reader(None)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_each_kind_of_value_comes_back_the_same(in_use: str, kind: str) -> None:
    value = EVERY_KIND[kind]
    assert same(decode(encode(value)), value)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_both_codecs_write_the_same_bytes(kind: str) -> None:
    assert _pure(EVERY_KIND[kind]) == _quick(EVERY_KIND[kind])


@given(values)
def test_any_value_crosses_between_the_codecs(value: Any) -> None:
    written = _pure(value)
    assert _quick(value) == written
    assert same(read_purely(written), value)
    assert same(read_quickly(written), value)


@given(values)
def test_what_was_decoded_encodes_to_the_same_bytes(value: Any) -> None:
    written = encode(value)
    assert encode(decode(written)) == written


def test_equal_sets_have_equal_bytes_in_whatever_order_they_grew(in_use: str) -> None:
    grown: set[int] = set()
    for number in range(3992, -8, -8):
        grown.add(number)

    assert encode(set(range(0, 4000, 8))) == encode(grown)


def test_the_order_of_a_dict_is_kept(in_use: str) -> None:
    assert list(decode(encode({"b": 1, "a": 2}))) == ["b", "a"]
    assert encode({"b": 1, "a": 2}) != encode({"a": 2, "b": 1})


class Text(str):
    __slots__ = ()


class Zone(tzinfo):
    def utcoffset(self, when: datetime | None) -> timedelta:
        return timedelta(0)


REFUSED: list[tuple[Any, str, str]] = [
    (
        object(),
        "",
        "A value of type object can't be encoded: this type has no encoded form; use plain data, a dataclass, an attrs class or a pydantic model",
    ),
    (
        {"rows": [1, Text("x")]},
        "['rows'][1]",
        "A value of type test_codec.Text at ['rows'][1] can't be encoded: it is a subclass of str, and would come back as another type; convert it to str",
    ),
    (
        (1, {2: bytearray()}),
        "[1][2]",
        "A value of type bytearray at [1][2] can't be encoded: it can be changed under its reader's feet; convert it to bytes",
    ),
    ({(1, Text("k")): 1}, "<key (1, 'k')>[1]", ""),
    ({frozenset({Text("m")})}, "{...}{...}", ""),
    (Tagged("record", "app:Point", {"x": [open]}), ".x[0]", ""),
    (Tagged("planet", "app:Mars", 4), "", "A value of type Tagged can't be encoded: it is of the unknown kind 'planet'"),
    ([1 << 40_000], "[0]", "A value of type int at [0] can't be encoded: it takes 5,001 bytes, at most 4,096 are allowed"),
    (
        [datetime(2020, 1, 1, tzinfo=Zone())],
        "[0]",
        "A value of type test_codec.Zone at [0] can't be encoded: of time zones only datetime.timezone and zoneinfo.ZoneInfo with a key have an encoded form",
    ),
]


@pytest.mark.parametrize(("value", "path", "sentence"), REFUSED)
def test_what_has_no_encoded_form_is_refused_with_its_place_and_the_reason(in_use: str, value: Any, path: str, sentence: str) -> None:
    with pytest.raises(Unencodable) as refused:
        encode(value)

    assert refused.value.path == path
    if sentence:
        assert str(refused.value).replace(f"{__name__}.", "test_codec.") == sentence


def test_a_refusal_survives_pickling() -> None:
    refusal = pickle.loads(pickle.dumps(Unencodable("[0]", "object", "it can't")))
    assert (str(refusal), refusal.path) == ("A value of type object at [0] can't be encoded: it can't", "[0]")


def _nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]

    return value


@pytest.mark.parametrize("wrap", [list, tuple, frozenset])
def test_containers_nest_64_levels_and_no_more(in_use: str, wrap: Any) -> None:
    value: Any = wrap()
    for _ in range(63):
        value = wrap([value])

    assert same(decode(encode(value)), value)
    with pytest.raises(Unencodable, match="it nests too deep"):
        encode(wrap([value]))


def test_a_list_that_contains_itself_is_refused(in_use: str) -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(Unencodable, match="contains itself"):
        encode(value)


def test_a_dict_that_contains_itself_is_refused(in_use: str) -> None:
    value: dict[str, Any] = {}
    value["me"] = value
    with pytest.raises(Unencodable, match="contains itself"):
        encode(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x92\x01",
        b"\x01\x01",
        b"\xa5abc",
        b"\xcb\x00",
        b"\xdd\xff\xff\xff\xff\x01",
        b"\xdf\xff\xff\xff\xff\x01\x01",
        b"\xc6\xff\xff\xff\xff\x01",
        b"\xa2\xff\xfe",
        b"\x91" * 100_000,
        b"\x81\x01" * 100_000,
        b"\x81\x80\x01",
        b"\xd4\x63\x00",  # an extension of code 99
        b"\xc7\x01\x02\x01",  # a tuple whose payload is an int
        b"\xc7\x02\x03\x91\x90",  # a set that holds a list
        b"\xc7\x04\x08\x93\xcd\x07\xe4",  # a date cut short
        b"\xc7\x04\x08\x93\x01\x0d\x01",  # the first of a 13th month
        b"\xc7\x03\x0b 12",  # a decimal that isn't how one is written
        b"\xd6\x0c1234",  # a uuid of 4 bytes
        b"\xc7\x0a\x0e\x92\xa3|O8\xc4\x03abc",  # an object of numpy's
    ],
)
def test_bytes_that_are_no_value_have_one_error(in_use: str, data: bytes) -> None:
    with pytest.raises(Malformed):
        decode(data)


@given(values, values)
def test_the_hash_of_a_tagged_value_follows_its_equality(one: Any, other: Any) -> None:
    first, second = Tagged("record", "app:A", {"x": one}), Tagged("record", "app:A", {"x": one})
    assert first == second or one != one or encode(first) == encode(second)
    assert hash(first) == hash(second)
    assert Tagged("record", "app:A", {"x": one}) != Tagged("record", "app:B", {"x": one})


def test_a_tagged_value_tells_what_it_is_and_survives_pickling() -> None:
    tagged = Tagged("enum", "app:Color", "RED")
    assert repr(tagged) == "Tagged('enum', 'app:Color', 'RED')"
    assert pickle.loads(pickle.dumps(tagged)) == tagged
    assert tagged != "RED"


def test_many_resolvers_are_served_and_few_are_kept(in_use: str) -> None:
    data = encode(Tagged("enum", "app:Color", "RED"))
    for _ in range(50):
        assert decode(data, resolve=lambda label, kind: None) == Tagged("enum", "app:Color", "RED")

    assert len(codec._readers) <= 8
