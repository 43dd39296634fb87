"""
The same encoded form through msgspec, for what it is quick at: trees of plain values.

msgspec would take a tuple for a list and a date for a text, so a value is first lowered to types that mean the same to it. The types
of a container's items are looked at all at once, and a container of nothing but scalars is handed over as it is.
"""

from __future__ import annotations

from typing import Union

import msgspec

from ._lowering import extend
from ._msgpack import ext_header, map_header
from ._raising import restore
from ._refusals import Unencodable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    from ._raising import Resolve

_SCALARS: frozenset[type] = frozenset((str, int, float, bool, bytes, type(None)))
_KEYS: frozenset[type] = frozenset((str, int, float, bool, bytes))
_pack = msgspec.msgpack.Encoder().encode
_Raw = msgspec.Raw

# What msgspec raises on an int beyond 64 bits and on a text with lone surrogates: the plain codec has a form for both.
BEYOND = (OverflowError, UnicodeEncodeError)


def pack(value: Any, depth: int) -> bytes:
    """The encoded form of *value*. Raises `Unencodable`, or one of `BEYOND`."""
    if type(value) in _SCALARS:
        return _pack(value)

    return _pack(_lower(value, depth))


def row(items: list[Any]) -> Optional[bytes]:
    """The encoded form of ``[[items]]`` if they are all scalars, else None. Raises as `pack` does."""
    return _pack([[items]]) if _SCALARS.issuperset(map(type, items)) else None


_read_row = msgspec.msgpack.Decoder(tuple[tuple[list[Union[str, int, float, bool, None]]]]).decode


def row_of(data: bytes) -> Optional[list[Any]]:
    """
    The *items* that `row` was given, None if *data* is anything else, or malformed.

    It needs no check against limits: what nests deeper, or is of one of our types, is not of this shape.
    """
    try:
        return _read_row(data)[0][0]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _lower(value: object, depth: int) -> Any:
    return _LOWER.get(type(value), _lower_other)(value, depth)


def _lower_scalar(value: Any, depth: int) -> Any:
    return value


def _lower_other(value: Any, depth: int) -> Any:
    code, payload = extend(value, pack, depth)
    return _Raw(ext_header(code, len(payload)) + payload)


def _lower_list(value: list[object], depth: int) -> Any:
    if not depth:
        raise _too_deep(value)

    if _SCALARS.issuperset(map(type, value)):
        return value

    depth -= 1
    return [_LOWER.get(type(item), _lower_other)(item, depth) for item in value]


def _lower_dict(value: dict[Any, Any], depth: int) -> Any:
    if not depth:
        raise _too_deep(value)

    depth -= 1
    if not _KEYS.issuperset(map(type, value)):
        pairs = [pack(part, depth) for pair in value.items() for part in pair]
        return _Raw(map_header(len(value)) + b"".join(pairs))

    if _SCALARS.issuperset(map(type, value.values())):
        return value

    return {key: _lower(item, depth) for key, item in value.items()}


_LOWER: dict[type, Callable[[Any, int], Any]] = {**dict.fromkeys(_SCALARS, _lower_scalar), list: _lower_list, dict: _lower_dict}


def _too_deep(value: object) -> Unencodable:
    return Unencodable("", type(value).__name__, "it nests too deep, or contains itself")


def reader(resolve: Resolve) -> Callable[[Any], Any]:
    """A function that gives the value for its encoded form."""

    def back(code: int, payload: memoryview) -> Any:
        return restore(code, payload, read, resolve)

    read = msgspec.msgpack.Decoder(ext_hook=back).decode
    return read
