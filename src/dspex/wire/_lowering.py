"""
The types that MessagePack doesn't have, to bytes: each as an extension, whose payload is bytes or one array encoded in its turn.

A class of the standard library is met by name: nothing is imported to find out that a value isn't of it.
"""

from __future__ import annotations

import sys
from struct import pack

from . import limits as codes
from ._msgpack import array_header
from ._refusals import Unencodable
from .records import Tagged, parts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    Nest = Callable[[Any, int], bytes]  # (value, levels left) -> its encoded form
    Lower = Callable[[Any, Nest, int], tuple[int, bytes]]

_INT_BYTES = 4096


def extend(value: object, nest: Nest, depth: int) -> tuple[int, bytes]:
    """The code and the payload for *value*. Raises `Unencodable` if it has none."""
    cls = type(value)
    lower = _LOWER.get(cls) or _known_by_name(cls)
    if lower is not None:
        return lower(value, nest, depth)

    tagged = parts(value)
    if tagged is not None:
        return _lower_tagged(tagged, nest, depth)

    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return _lower_scalar(value, nest, depth)

    raise Unencodable("", _qualified(cls), _why_not(cls))


def _known_by_name(cls: type) -> Optional[Lower]:
    lower = _LOWER_BY_NAME.get((cls.__module__, cls.__qualname__))
    if lower is not None and getattr(sys.modules.get(cls.__module__), cls.__qualname__, None) is cls:
        _LOWER[cls] = lower
        return lower

    return None


def _class_name(value: object) -> str:
    return _qualified(type(value))


def _qualified(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _why_not(cls: type) -> str:
    for plain in (str, int, float, list, dict, tuple, bytes, set, frozenset):
        if issubclass(cls, plain):
            return f"it is a subclass of {plain.__name__}, and would come back as another type; convert it to {plain.__name__}"

    if cls is bytearray or cls is memoryview:
        return "it can be changed under its reader's feet; convert it to bytes"

    return "this type has no encoded form; use plain data, a dataclass, an attrs class or a pydantic model"


def _lower_int(value: int, nest: Nest, depth: int) -> tuple[int, bytes]:
    size = value.bit_length() // 8 + 1
    if size > _INT_BYTES:
        raise Unencodable("", "int", f"it takes {size:,} bytes, at most {_INT_BYTES:,} are allowed")

    return codes.BIGINT, value.to_bytes(size, "big", signed=True)


def _lower_str(value: str, nest: Nest, depth: int) -> tuple[int, bytes]:
    return codes.SURROGATES, value.encode("utf-8", "surrogatepass")


def _lower_tuple(value: tuple[Any, ...], nest: Nest, depth: int) -> tuple[int, bytes]:
    return codes.TUPLE, nest(list(value), depth)


def _lower_members(value: Any, nest: Nest, depth: int) -> bytes:
    if not depth:
        raise Unencodable("", type(value).__name__, "it nests too deep")

    members = sorted([nest(member, depth - 1) for member in value])
    return array_header(len(members)) + b"".join(members)


def _lower_set(value: set[Any], nest: Nest, depth: int) -> tuple[int, bytes]:
    return codes.SET, _lower_members(value, nest, depth)


def _lower_frozenset(value: frozenset[Any], nest: Nest, depth: int) -> tuple[int, bytes]:
    return codes.FROZENSET, _lower_members(value, nest, depth)


def _lower_complex(value: complex, nest: Nest, depth: int) -> tuple[int, bytes]:
    return codes.COMPLEX, pack(">dd", value.real, value.imag)


def _lower_tagged(value: Tagged, nest: Nest, depth: int) -> tuple[int, bytes]:
    code = _TAGS.get(value.kind)
    if code is None:
        raise Unencodable("", "Tagged", f"it is of the unknown kind {value.kind!r}")

    if value.kind in ("enum", "record"):
        return code, nest([value.label, value.data], depth)

    return code, nest([*value.data, value.label] if value.kind in ("datetime", "time") else [value.label, *value.data], depth)


def _zone(zone: Any) -> Any:
    """A tzinfo as data: None, a key, or an offset in microseconds with or without a name, as in `timezone`'s own arguments."""
    if zone is None:
        return None

    name = _class_name(zone)
    if name == "datetime.timezone":
        offset, *named = zone.__getinitargs__()
        return [(offset.days * 86_400 + offset.seconds) * 1_000_000 + offset.microseconds, *named]

    if name == "zoneinfo.ZoneInfo" and zone.key is not None:
        return zone.key

    raise Unencodable("", name, "of time zones only datetime.timezone and zoneinfo.ZoneInfo with a key have an encoded form")


def _clock(value: Any) -> list[Any]:
    return [value.hour, value.minute, value.second, value.microsecond, value.fold, _zone(value.tzinfo)]


def _lower_datetime(value: Any, nest: Nest, depth: int) -> tuple[int, bytes]:
    return codes.DATETIME, nest([value.year, value.month, value.day, *_clock(value)], depth)


def _lower_time(value: Any, nest: Nest, depth: int) -> tuple[int, bytes]:
    return codes.TIME, nest(_clock(value), depth)


def _lower_date(value: Any, nest: Nest, depth: int) -> tuple[int, bytes]:
    return codes.DATE, nest([value.year, value.month, value.day], depth)


def _lower_timedelta(value: Any, nest: Nest, depth: int) -> tuple[int, bytes]:
    return codes.TIMEDELTA, nest([value.days, value.seconds, value.microseconds], depth)


def _lower_decimal(value: Any, nest: Nest, depth: int) -> tuple[int, bytes]:
    digits = str(value).encode()
    if len(digits) > _INT_BYTES:
        raise Unencodable("", "decimal.Decimal", f"it takes {len(digits):,} characters, at most {_INT_BYTES:,} are allowed")

    return codes.DECIMAL, digits


def _lower_uuid(value: Any, nest: Nest, depth: int) -> tuple[int, bytes]:
    return codes.UUID, value.bytes


def _dtype(dtype: Any) -> str:
    """The dtype as text. Two C types of one size (``long`` and ``long long``) are one in ``dtype.str``, and two here."""
    if dtype.kind not in "biufcSUmM":
        raise Unencodable("", f"numpy {dtype}", "of numpy's dtypes only bool, numbers, texts, bytes and times have an encoded form")

    text: str = dtype.str
    same = sys.modules["numpy"].dtype(text).char == dtype.char
    return text if same else text[0] + dtype.char


def _lower_scalar(value: Any, nest: Nest, depth: int) -> tuple[int, bytes]:
    return codes.SCALAR, nest([_dtype(value.dtype), value.tobytes()], depth)


def _lower_ndarray(value: Any, nest: Nest, depth: int) -> tuple[int, bytes]:
    order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    return codes.NDARRAY, nest([_dtype(value.dtype), list(value.shape), order, value.tobytes(order)], depth)


_TAGS = {
    "enum": codes.ENUM,
    "record": codes.RECORD,
    "ndarray": codes.NDARRAY,
    "scalar": codes.SCALAR,
    "datetime": codes.DATETIME,
    "time": codes.TIME,
}
_LOWER: dict[type, Lower] = {
    int: _lower_int,
    str: _lower_str,
    tuple: _lower_tuple,
    set: _lower_set,
    frozenset: _lower_frozenset,
    complex: _lower_complex,
    Tagged: _lower_tagged,
}
_LOWER_BY_NAME: dict[tuple[str, str], Lower] = {
    ("datetime", "datetime"): _lower_datetime,
    ("datetime", "date"): _lower_date,
    ("datetime", "time"): _lower_time,
    ("datetime", "timedelta"): _lower_timedelta,
    ("decimal", "Decimal"): _lower_decimal,
    ("uuid", "UUID"): _lower_uuid,
    ("numpy", "ndarray"): _lower_ndarray,
}
