"""numpy arrays and scalars cross with their dtype, byte order, shape and layout."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from dspex.wire import Limits, Malformed, Tagged, Unencodable, decode, encode

ARRAYS: dict[str, Any] = {
    "floats": np.linspace(0, 1, 7),
    "big endian": np.arange(5, dtype=">i4"),
    "of no dimension": np.array(3.5),
    "empty": np.empty((0, 3), dtype="u1"),
    "empty by a later dimension": np.empty((2, 0, 5)),
    "non-contiguous": np.arange(24).reshape(4, 6)[::2, ::-3],
    "in Fortran's order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "bools": np.array([True, False]),
    "complex": np.array([1 + 2j, complex("nan")]),
    "half floats": np.array([1.5], dtype="f2"),
    "long doubles": np.array([1.1], dtype=np.longdouble),
    "texts": np.array(["a", "grüße"]),
    "texts of no width": np.array(["", ""], dtype="U0"),
    "bytes": np.array([b"ab", b""]),
    "times": np.array(["2020-01-01", "NaT"], dtype="M8[ns]"),
    "time spans": np.array([1, 2], dtype="m8[25s]"),
    "NaNs of other bits": np.frombuffer(b"\x34\x12\x00\x00\x00\x00\xf8\xff"),
}

SCALARS: list[Any] = [
    np.float64(0.1),
    np.float32("nan"),
    np.int8(-1),
    np.uint64(2**64 - 1),
    np.longlong(5),
    np.bool_(True),
    np.complex64(1j),
    np.str_("grüße"),
    np.bytes_(b"x"),
    np.datetime64("2020-01-01T00:00", "m"),
    np.timedelta64(5, "D"),
]


@pytest.mark.parametrize("kind", ARRAYS)
def test_an_array_comes_back_the_same(in_use: str, kind: str) -> None:
    array = ARRAYS[kind]
    back = decode(encode({"array": array}), limits=Limits())["array"]
    assert type(back) is np.ndarray
    assert (back.dtype, back.dtype.str, back.shape) == (array.dtype, array.dtype.str, array.shape)
    assert back.tobytes() == array.tobytes()


def test_the_layout_of_an_array_is_kept(in_use: str) -> None:
    assert decode(encode(ARRAYS["in Fortran's order"])).flags.f_contiguous
    assert decode(encode(ARRAYS["non-contiguous"])).flags.c_contiguous


def test_a_decoded_array_is_a_read_only_view(in_use: str) -> None:
    back = decode(encode(ARRAYS["floats"]))
    assert not back.flags.writeable
    assert not back.flags.owndata


@pytest.mark.parametrize("scalar", SCALARS, ids=lambda scalar: type(scalar).__name__)
def test_a_scalar_comes_back_the_same(in_use: str, scalar: Any) -> None:
    back = decode(encode([scalar]), limits=Limits())[0]
    assert type(back) is type(scalar)
    assert back.dtype == scalar.dtype
    assert back.tobytes() == scalar.tobytes()


@pytest.mark.parametrize(
    "array",
    [
        np.array([object()]),
        np.zeros(2, dtype=[("a", "i4")]),
        np.zeros(2, dtype=[("a", "i4")])[0],
        np.ma.masked_array([1, 2], mask=[0, 1]),
        np.array(["a"], dtype=np.dtypes.StringDType()),
    ],
    ids=["objects", "fields", "a record", "masked", "texts of any length"],
)
def test_arrays_that_are_more_than_numbers_are_refused(in_use: str, array: Any) -> None:
    with pytest.raises(Unencodable, match=r"at \['a'\] can't be encoded"):
        encode({"a": array})


def _array(dtype: str, shape: list[int], order: str, data: bytes) -> bytes:
    return encode(Tagged("ndarray", dtype, [shape, order, data]))


@pytest.mark.parametrize(
    "data",
    [
        _array("<f8", [2], "C", b"\0" * 15),
        _array("<f8", [1 << 62, 1 << 62], "C", b""),
        _array("<f8", [-1], "C", b"\0" * 8),
        _array("<f8", [1], "K", b"\0" * 8),
        _array("|O", [1], "C", b"\0" * 8),
        _array("i4,i4", [1], "C", b"\0" * 8),
        _array("(2,)i4", [1], "C", b"\0" * 8),
        _array("<T8", [1], "C", b"\0" * 8),
        _array("float64x", [1], "C", b"\0" * 8),
        encode(Tagged("scalar", "<f8", [b"\0"])),
    ],
)
def test_an_array_that_lies_about_itself_is_malformed(in_use: str, data: bytes) -> None:
    with pytest.raises(Malformed):
        decode(data, limits=Limits())


def test_without_numpy_an_array_stays_tagged_and_goes_back_as_it_came(in_use: str, monkeypatch: pytest.MonkeyPatch) -> None:
    array, scalar = encode(ARRAYS["floats"]), encode(np.float32(1))
    monkeypatch.setitem(sys.modules, "numpy", None)
    tagged = decode(array)
    assert (tagged.kind, tagged.label, tagged.data[0]) == ("ndarray", "<f8", [7])
    assert encode(tagged) == array
    assert decode(scalar) == Tagged("scalar", "<f4", [b"\x00\x00\x80?"])
    assert encode(decode(scalar)) == scalar
