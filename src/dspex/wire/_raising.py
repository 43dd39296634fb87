"""
The types that MessagePack doesn't have, back from their extensions.

What a class of the standard library, or numpy, makes of data that is none of its own comes out as whatever it raises; the codec has
one word for all of it. A value that can't be brought back here, but is one, comes as a `Tagged`.
"""

from __future__ import annotations

from struct import unpack

from . import limits as codes
from ._refusals import Malformed
from .records import Tagged, build

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    Unnest = Callable[[Any], Any]
    Resolve = Optional[Callable[[str, str], Optional[type]]]
    Raise = Callable[[Any, Unnest, Resolve], Any]


def restore(code: int, payload: Any, unnest: Unnest, resolve: Resolve) -> Any:
    """The value that an extension stands for. Raises whatever its class raises on data that is none of its own."""
    back = _RAISE.get(code)
    if back is None:
        raise Malformed(f"An extension of the unknown code {code}.")

    return back(payload, unnest, resolve)


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
    if cls is None:
        return tagged

    try:
        return build(tagged, cls)
    except ValueError:
        return tagged


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
