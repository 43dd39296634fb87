"""
The types that MessagePack doesn't have, each as an extension: what its payload is, and how it comes back.

A payload is bytes, or one array encoded in its turn. A class of the standard library is met by name: nothing is imported to find out
that a value isn't of it, and it is imported to bring one back.
"""

from __future__ import annotations

import sys
from struct import pack, unpack

from . import limits as codes
from ._msgpack import array_header
from ._refusals import Malformed, Unencodable
from .records import Tagged, build, parts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    Nest = Callable[[Any, int], bytes]  # (value, levels left) -> its encoded form
    Unnest = Callable[[Any], Any]
    Resolve = Optional[Callable[[str, str], Optional[type]]]
    Lower = Callable[[Any, Nest, int], tuple[int, bytes]]
    Raise = Callable[[Any, Unnest, Resolve], Any]

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


def restore(code: int, payload: Any, unnest: Unnest, resolve: Resolve) -> Any:
    """The value that an extension stands for. Raises whatever its class raises on data that is none of its own."""
    back = _RAISE.get(code)
    if back is None:
        raise Malformed(f"An extension of the unknown code {code}.")

    return back(payload, unnest, resolve)


def _known_by_name(cls: type) -> Optional[Lower]:
    lower = _LOWER_BY_NAME.get((cls.__module__, cls.__qualname__))
    if lower is not None and getattr(sys.modules.get(cls.__module__), cls.__qualname__, None) is cls:
        _LOWER[cls] = lower
        return lower

    return None


def _qualified(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _why_not(cls: type) -> str:
    for plain in (str, int, float, list, dict, tuple, bytes, set, frozenset):
        if issubclass(cls, plain):
            return f"it is a subclass of {plain.__name__}, and would come back as another type; convert it to {plain.__name__}"

    if cls is bytearray or cls is memoryview:
        return "it can be changed under its reader's feet; convert it to bytes"

    return "this type has no encoded form; use plain data, a dataclass, an attrs class or a pydantic model"


# --- to bytes --------------------------------------------------------------------------------------------------------------------


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

    name = _qualified(type(zone))
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


# --- and back --------------------------------------------------------------------------------------------------------------------


def _array(payload: Any, unnest: Unnest) -> list[Any]:
    items: list[Any] = unnest(payload)
    if type(items) is list:
        return items

    raise Malformed(f"The payload of an extension: expected an array, got {type(items).__name__}.")


def _raise_int(payload: Any, unnest: Unnest, resolve: Resolve) -> int:
    return int.from_bytes(payload, "big", signed=True)


def _raise_str(payload: Any, unnest: Unnest, resolve: Resolve) -> str:
    return str(payload, "utf-8", "surrogatepass")


def _raise_tuple(payload: Any, unnest: Unnest, resolve: Resolve) -> tuple[Any, ...]:
    return tuple(_array(payload, unnest))


def _raise_set(payload: Any, unnest: Unnest, resolve: Resolve) -> set[Any]:
    return set(_array(payload, unnest))


def _raise_frozenset(payload: Any, unnest: Unnest, resolve: Resolve) -> frozenset[Any]:
    return frozenset(_array(payload, unnest))


def _raise_complex(payload: Any, unnest: Unnest, resolve: Resolve) -> complex:
    return complex(*unpack(">dd", payload))


def _unzone(zone: Any) -> Any:
    """The tzinfo, or the key itself where this interpreter doesn't know the zone."""
    if zone is None:
        return None

    if type(zone) is str:
        return _zone_of(zone)

    from datetime import timedelta, timezone

    offset, *named = zone
    return timezone(timedelta(microseconds=offset), *named)


def _zone_of(key: str) -> Any:
    if len(key) > 255 or not key.replace("/", "").replace("_", "").replace("-", "").replace("+", "").isalnum():
        raise Malformed(f"A time zone {key!r:.100}.")

    try:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError
    except ImportError:
        return key

    try:
        return ZoneInfo(key)
    except ZoneInfoNotFoundError:
        return key


def _raise_datetime(payload: Any, unnest: Unnest, resolve: Resolve) -> Any:
    from datetime import datetime

    *fields, fold, zone = _array(payload, unnest)
    tzinfo = _unzone(zone)
    value = datetime(*fields, fold=fold)  # noqa: DTZ001 - its zone follows, or it has none
    return Tagged("datetime", zone, [*fields, fold]) if type(tzinfo) is str else value.replace(tzinfo=tzinfo)


def _raise_time(payload: Any, unnest: Unnest, resolve: Resolve) -> Any:
    from datetime import time

    *fields, fold, zone = _array(payload, unnest)
    tzinfo = _unzone(zone)
    value = time(*fields, fold=fold)
    return Tagged("time", zone, [*fields, fold]) if type(tzinfo) is str else value.replace(tzinfo=tzinfo)


def _raise_date(payload: Any, unnest: Unnest, resolve: Resolve) -> Any:
    from datetime import date

    return date(*_array(payload, unnest))


def _raise_timedelta(payload: Any, unnest: Unnest, resolve: Resolve) -> Any:
    from datetime import timedelta

    return timedelta(*_array(payload, unnest))


def _raise_decimal(payload: Any, unnest: Unnest, resolve: Resolve) -> Any:
    from decimal import Decimal

    text = str(payload, "ascii")
    value = Decimal(text)
    if str(value) != text:
        raise Malformed(f"A decimal {text!r:.100}.")

    return value


def _raise_uuid(payload: Any, unnest: Unnest, resolve: Resolve) -> Any:
    from uuid import UUID

    return UUID(bytes=bytes(payload))


def _undtype(text: str) -> Any:
    """The dtype; None where numpy isn't installed. Nothing that names fields, objects or shapes."""
    if not text.isascii() or len(text) > 24 or not text.strip("<>|=").replace("[", "").replace("]", "").replace("?", "").isalnum():
        raise Malformed(f"A dtype {text!r:.100}.")

    try:
        import numpy as np
    except ImportError:
        return None

    dtype = np.dtype(text)
    if dtype.kind not in "biufcSUmM" or dtype.names is not None:
        raise Malformed(f"A dtype {text!r:.100}.")

    return dtype


def _raise_ndarray(payload: Any, unnest: Unnest, resolve: Resolve) -> Any:
    text, shape, order, data = _array(payload, unnest)
    dtype = _undtype(text)
    if dtype is None:
        return Tagged("ndarray", text, [shape, order, data])

    size = dtype.itemsize
    for length in shape:
        size *= length

    if size != len(data) or order not in ("C", "F"):
        raise Malformed(f"An array of {text} in the shape {shape!r:.100} takes {size:,} bytes, got {len(data):,}.")

    import numpy as np

    return np.ndarray(tuple(shape), dtype, data, order=order)


def _raise_scalar(payload: Any, unnest: Unnest, resolve: Resolve) -> Any:
    text, data = _array(payload, unnest)
    dtype = _undtype(text)
    if dtype is None:
        return Tagged("scalar", text, [data])

    if len(data) != dtype.itemsize:
        raise Malformed(f"A scalar of {text} takes {dtype.itemsize} bytes, got {len(data):,}.")

    import numpy as np

    return np.ndarray((), dtype, data)[()]


def _raise_enum(payload: Any, unnest: Unnest, resolve: Resolve) -> Any:
    label, name = _array(payload, unnest)
    if type(label) is not str or type(name) is not str:
        raise Malformed("A member of an enum: expected its class and its name as texts.")

    return _resolved(Tagged("enum", label, name), resolve)


def _raise_record(payload: Any, unnest: Unnest, resolve: Resolve) -> Any:
    label, data = _array(payload, unnest)
    fields: dict[Any, Any] = data
    if type(label) is not str or type(fields) is not dict or not all(type(name) is str for name in fields):
        raise Malformed("A record: expected its class as a text and its fields by name.")

    return _resolved(Tagged("record", label, fields), resolve)


def _resolved(tagged: Tagged, resolve: Resolve) -> Any:
    cls = resolve(tagged.label, tagged.kind) if resolve is not None else None
    return tagged if cls is None else build(tagged, cls)


_RAISE: dict[int, Raise] = {
    codes.BIGINT: _raise_int,
    codes.TUPLE: _raise_tuple,
    codes.SET: _raise_set,
    codes.FROZENSET: _raise_frozenset,
    codes.COMPLEX: _raise_complex,
    codes.SURROGATES: _raise_str,
    codes.DATETIME: _raise_datetime,
    codes.DATE: _raise_date,
    codes.TIME: _raise_time,
    codes.TIMEDELTA: _raise_timedelta,
    codes.DECIMAL: _raise_decimal,
    codes.UUID: _raise_uuid,
    codes.NDARRAY: _raise_ndarray,
    codes.SCALAR: _raise_scalar,
    codes.ENUM: _raise_enum,
    codes.RECORD: _raise_record,
}
