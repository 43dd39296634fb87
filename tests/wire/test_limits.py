"""What a worker sends is held to the limits before anything is built from it, and the check costs little where little is sent."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given, strategies as st
from wire.samples import EVERY_KIND, keys, plain_values, same

from dspex.wire import LimitExceeded, Limits, Malformed, _msgspec, codec, decode, encode, limits

LIMITS = Limits()
READERS = {"pure": codec._plain_reader(None), "msgspec": _msgspec.reader(None)}


@given(plain_values)
def test_a_plain_value_passes_and_is_the_same(value: Any) -> None:
    assert same(decode(encode(value), limits=LIMITS), value)


STRANGE_KEYS = {"a dict with keys of many kinds"}
LARGE = {"dicts around each size", "lists around each size"}


@pytest.mark.parametrize("kind", EVERY_KIND.keys() - STRANGE_KEYS)
def test_each_kind_of_value_passes(in_use: str, kind: str) -> None:
    assert same(decode(encode(EVERY_KIND[kind]), limits=LIMITS), EVERY_KIND[kind])


@pytest.mark.parametrize(
    "key",
    [None, 1.5, (1, 2), frozenset(), 1 << 63, 1 << 70, 1j],
    ids=["None", "float", "tuple", "frozenset", "uint64", "big int", "complex"],
)
def test_a_key_is_a_string_an_int64_a_bool_or_bytes(in_use: str, key: Any) -> None:
    data = encode([{1: 1, key: 2}])
    assert same(decode(data), [{1: 1, key: 2}])
    with pytest.raises(Malformed, match="begins a key that is no string, int of 64 bits, bool or bytes"):
        decode(data, limits=LIMITS)


@given(st.dictionaries(keys, st.integers()))
def test_all_keys_allowed_pass(value: dict[Any, int]) -> None:
    assert same(decode(encode(value), limits=LIMITS), value)


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\x01", b"\xdc\x00\x01", b"\xdf\x00\x00\x00\x01\xa1x"])
def test_64_levels_pass_and_one_more_does_not(in_use: str, opening: bytes) -> None:
    decode(opening * 64 + b"\x01", limits=LIMITS)
    with pytest.raises(LimitExceeded, match="nests deeper than 64 levels"):
        decode(opening * 65 + b"\x01", limits=LIMITS)


@pytest.mark.parametrize("levels", [64, 65, 5_000])
def test_levels_count_within_extensions_too(in_use: str, levels: int) -> None:
    data = b"\x90"
    for _ in range(levels - 1):
        payload = b"\x91" + b"\xc9" + struct.pack(">IB", len(data), limits.TUPLE) + data
        data = payload

    if levels == 64:
        decode(data, limits=LIMITS)
        return

    with pytest.raises(LimitExceeded, match="nests deeper than 64 levels"):
        decode(data, limits=LIMITS)


def test_65536_containers_pass_and_one_more_does_not(in_use: str) -> None:
    decode(encode([[]] * 65_535), limits=LIMITS)
    with pytest.raises(LimitExceeded, match="more than 65,536 containers"):
        decode(encode([[]] * 65_536), limits=LIMITS)


def test_containers_within_extensions_count(in_use: str) -> None:
    with pytest.raises(LimitExceeded, match="more than 65,536 containers"):
        decode(encode([((), ())] * 30_000), limits=LIMITS)


def test_an_int_takes_4_kib_at_most(in_use: str) -> None:
    largest = (1 << (8 * 4096 - 1)) - 1
    assert decode(encode(largest), limits=LIMITS) == largest
    data = b"\xc8\x10\x01\x01" + b"\x7f" * 4097
    with pytest.raises(LimitExceeded, match="of 4,097 bytes, at most 4,096 are allowed"):
        decode(data, limits=LIMITS)


LYING = [
    b"\xdd\xff\xff\xff\xff",
    b"\xdd\x7f\xff\xff\xff" * 60,
    b"\xdc\xff\xff" * 60 + b"\0" * 1000,
    b"\xdd\x00\x03\xff\x00" * 64 + b"\0" * (256 << 10),
    b"\xdf\xff\xff\xff\xff\x01\x01",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x02",
]


@pytest.mark.parametrize("data", LYING, ids=lambda data: data[:6].hex())
def test_a_header_that_lies_allocates_nothing(in_use: str, data: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(Malformed):
        decode(data, limits=LIMITS)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * len(data) + 100_000


@pytest.mark.parametrize("header", [b"\xd6\xff\0\0\0\0", b"\xd7\xff" + b"\0" * 8, b"\xc7\x0c\xff" + b"\0" * 12])
def test_a_timestamp_of_messagepack_is_no_value_of_ours(in_use: str, header: bytes) -> None:
    with pytest.raises(Malformed, match="unknown code 255"):
        decode(b"\x91" + header, limits=LIMITS)


def test_small_plain_values_are_not_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_Walk", None)
    for value in (0.7, 5, "text", b"bytes", [[1, "get", "temperature"]], [[[7, True, 0.7]]], ["x" * 70_000]):
        limits.check(encode(value), LIMITS)


def _outcome(read: Any, data: bytes) -> Any:
    try:
        limits.check(data, LIMITS)
        return read(data)
    except Malformed:
        return Malformed
    except RecursionError:
        raise
    except Exception:
        return Malformed


def _mutated(data: bytes, seed: int) -> bytes:
    chance = random.Random(seed)
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        kind = chance.randrange(4)
        at = chance.randrange(len(changed) + 1)
        if kind == 0 and at < len(changed):
            changed[at] = chance.randrange(256)
        elif kind == 1:
            changed[at:at] = bytes(chance.choice(b"\x81\x91\xc7\xc9\xd4\xdc\xdd\xde\xdf\xff") for _ in range(chance.randint(1, 6)))
        elif kind == 2:
            del changed[at : at + chance.randint(1, 8)]
        else:
            del changed[at:]

    return bytes(changed)


@given(st.binary(max_size=200))
@example(b"\x81\xc0\x01")
def test_random_bytes_are_a_value_to_both_codecs_or_to_neither(data: bytes) -> None:
    one, other = (_outcome(READERS[name], data) for name in ("pure", "msgspec"))
    assert (one is Malformed) == (other is Malformed)
    if one is not Malformed:
        assert same(one, other)


@given(plain_values, st.integers(0, 1 << 32))
def test_mutated_values_are_a_value_to_both_codecs_or_to_neither(value: Any, seed: int) -> None:
    data = _mutated(encode(value), seed)
    one, other = (_outcome(READERS[name], data) for name in ("pure", "msgspec"))
    assert (one is Malformed) == (other is Malformed)
    if one is not Malformed:
        assert same(one, other)


@given(st.sampled_from(sorted(EVERY_KIND.keys() - LARGE)), st.integers(0, 1 << 32))
def test_each_kind_mutated_is_malformed_or_a_value_and_nothing_else(kind: str, seed: int) -> None:
    data = _mutated(encode(EVERY_KIND[kind])[:2000], seed)
    for read in READERS.values():
        _outcome(read, data)


@given(plain_values)
def test_a_value_cut_anywhere_is_malformed(value: Any) -> None:
    data = encode(value)
    for end in range(0, len(data), max(1, len(data) // 20)):
        with pytest.raises(Malformed):
            decode(data[:end], limits=LIMITS)


SLOW = {
    "floats": [number / 7 for number in range(29_000)],
    "small ints": [number % 128 for number in range(262_000)],
    "ints of one size": [70_000 + number for number in range(50_000)],
    "one long text": "ü" * 130_000,
}


@pytest.mark.parametrize("kind", SLOW)
def test_256_kib_of_one_sort_are_checked_within_5_ms(kind: str) -> None:
    data = encode(SLOW[kind])
    times = []
    for _ in range(5):
        began = time.perf_counter()
        limits.check(data, LIMITS)
        times.append(time.perf_counter() - began)

    assert min(times) < 0.005
