"""
The canonical encoded form of values: MessagePack, with an extension for each type that it doesn't have.

A value comes back equal and of the same type, all the way down: a tuple as a tuple, True as True, NaN as NaN. Equal values have equal
bytes, whichever codec wrote them (sets are written in the order of their members' bytes, dicts in their own).

Whether this is done in plain Python or by msgspec is decided by `upgrade`; the bytes are the same.
"""

from __future__ import annotations

from . import _msgpack
from ._lowering import extend
from ._raising import restore
from ._refusals import LimitExceeded, Malformed, Unencodable
from .limits import check
from .records import Tagged, parts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, Iterator, Optional

    from ._raising import Resolve
    from .limits import Limits

    Read = Callable[[Any], Any]
    Rows = tuple[Callable[[list[Any]], Optional[bytes]], Callable[[bytes], Optional[list[Any]]]]

__all__ = [
    "DEPTH",
    "LimitExceeded",
    "Malformed",
    "Tagged",
    "Unencodable",
    "check_sendable",
    "decode",
    "decode_row",
    "encode",
    "encode_row",
    "name",
    "upgrade",
]

DEPTH = 64
_READERS_KEPT = 8


# --- in plain Python -------------------------------------------------------------------------------------------------------------


def _extend(value: Any, depth: int) -> tuple[int, bytes]:
    return extend(value, _pack_plainly, depth)


def _pack_plainly(value: Any, depth: int) -> bytes:
    return _msgpack.pack(value, _extend, depth)


def _plain_reader(resolve: Resolve) -> Read:
    def back(code: int, payload: Any) -> Any:
        return restore(code, payload, read, resolve)

    def read(data: Any) -> Any:
        return _msgpack.unpack(data, back)

    return read


def _no_row(_: Any) -> None:
    return None


_NO_ROWS: Rows = (_no_row, _no_row)

# --- in use ----------------------------------------------------------------------------------------------------------------------

_name = "pure"
_pack: Callable[[Any, int], bytes] = _pack_plainly
_beyond: tuple[type[Exception], ...] = ()
_pack_row, _read_row = _NO_ROWS
_reader: Callable[[Resolve], Read] = _plain_reader
_readers: dict[Resolve, Read] = {None: _plain_reader(None)}
_read = _readers[None]


def name() -> str:
    """Which codec is in use: ``"msgspec"`` or ``"pure"``."""
    return _name


def upgrade() -> str:
    """Goes over to msgspec if it can be imported. Gives the name of the codec now in use."""
    try:
        from . import _msgspec
    except ImportError:
        return _name

    _use("msgspec", _msgspec.pack, _msgspec.BEYOND, _msgspec.reader, (_msgspec.row, _msgspec.row_of))
    return _name


def _use(
    chosen: str,
    pack: Callable[[Any, int], bytes],
    beyond: tuple[type[Exception], ...],
    reader: Callable[[Resolve], Read],
    rows: Rows = _NO_ROWS,
) -> None:
    global _name, _pack, _beyond, _reader, _readers, _read, _pack_row, _read_row
    # Other threads may be encoding: what the new one raises has to be known before the first call of it.
    _beyond = beyond
    _pack, _reader, _pack_row, _read_row = pack, reader, *rows
    _read = reader(None)
    _readers = {None: _read}
    _name = chosen


def encode(value: Any, *, depth: int = DEPTH) -> bytes:
    """
    The encoded form of *value*: None, bool, int, float, str, bytes, list, dict, tuple, set, frozenset, complex, datetime, date, time,
    timedelta, Decimal, UUID, numpy arrays and scalars, enum members, dataclass, attrs and pydantic instances, and `Tagged`.

    Args:
        value: the value. Its type and those of its parts must be exactly of these, not derived from them.
        depth: how deep containers may nest.

    Raises:
        Unencodable: it, or something in it, has no encoded form. Says where and why.

    """
    try:
        return _pack(value, depth)
    except _beyond:
        return _encode_plainly(value, depth)
    except Unencodable as error:
        raise _located(value, error, _pack_plainly, depth) from None


def encode_row(items: list[Any]) -> Optional[bytes]:
    """
    The encoded form of ``[[items]]``, in short: an operation or its answer, alone in its message.

    None where that isn't to be had: no quick codec is in use, or they aren't all scalars within its reach. `encode` has the rest.
    """
    try:
        return _pack_row(items)
    except _beyond:
        return None


def decode_row(data: bytes) -> Optional[list[Any]]:
    """The items of a row, from any peer. None where it isn't one, or isn't to be had so: `decode` has the rest, and the refusals."""
    return _read_row(data)


def _encode_plainly(value: Any, depth: int) -> bytes:
    try:
        return _pack_plainly(value, depth)
    except Unencodable as error:
        raise _located(value, error, _pack_plainly, depth) from None


def decode(data: bytes, *, limits: Optional[Limits] = None, resolve: Resolve = None) -> Any:
    """
    The value of an encoded form.

    Args:
        data: the bytes, of one value.
        limits: bounds to hold before anything is built, for data from whom one doesn't trust; None for one's own.
        resolve: gives the class for a label and a kind (``"enum"`` or ``"record"``), or None to leave the value a `Tagged`.

    Raises:
        Malformed: *data* is not the encoded form of a value (`LimitExceeded`: not of one within the *limits*).

    """
    if limits is not None:
        check(data, limits)

    try:
        return _read(data) if resolve is None else _reader_for(resolve)(data)
    except Malformed:
        raise
    except Exception as error:  # whatever a decoder or a value's own class makes of data that is none
        raise Malformed(f"The data is no value: {type(error).__name__}: {error}") from error


def _reader_for(resolve: Resolve) -> Read:
    read = _readers.get(resolve)
    if read is None:
        if len(_readers) >= _READERS_KEPT:
            _readers.clear()

        read = _readers[resolve] = _reader(resolve)

    return read


def check_sendable(data: bytes, value: Any, limits: Limits) -> None:
    """Raises `Unencodable` if the other end would refuse *data*, the encoded form of *value*, under its *limits*."""
    try:
        check(data, limits)
    except Malformed as refusal:
        error = Unencodable("", type(value).__name__, str(refusal))
        raise _located(value, error, _checking(limits), limits.depth) from None


def _checking(limits: Limits) -> Callable[[Any, int], object]:
    def attempt(part: Any, depth: int) -> None:
        data = _pack_plainly(part, depth)
        try:
            check(data, limits)
        except Malformed as refusal:
            raise Unencodable("", type(part).__name__, str(refusal)) from None

    return attempt


# --- where it failed -------------------------------------------------------------------------------------------------------------


def _located(value: Any, error: Unencodable, attempt: Callable[[Any, int], object], depth: int) -> Unencodable:
    """*error* with the path to what it is about: the parts are tried again, one by one, level by level."""
    path = ""
    while depth:
        depth -= 1
        failed = _first_failing(value, attempt, depth)
        if failed is None:
            break

        step, value, error = failed
        path += step

    return Unencodable(path, error.type_name, error.reason)


def _first_failing(value: Any, attempt: Callable[[Any, int], object], depth: int) -> Optional[tuple[str, Any, Unencodable]]:
    for step, part in _parts(value):
        try:
            attempt(part, depth)
        except Unencodable as error:  # noqa: PERF203 - each part on its own is the point
            return step, part, error

    return None


def _parts(value: object) -> Iterable[tuple[str, Any]]:
    return _PARTS.get(type(value), _fields)(value)


def _pairs(value: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        yield f"[{key!r:.60}]", item
        yield f"<key {key!r:.60}>", key


def _items(value: list[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"[{index}]", item) for index, item in enumerate(value))


def _members(value: set[Any]) -> Iterator[tuple[str, Any]]:
    return (("{...}", item) for item in value)


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    tagged = value if isinstance(value, Tagged) else parts(value)
    if tagged is not None and tagged.kind == "record":
        yield from ((f".{field}", part) for field, part in tagged.data.items())


_PARTS: dict[type, Callable[[Any], Iterator[tuple[str, Any]]]] = {
    dict: _pairs,
    list: _items,
    tuple: _items,
    set: _members,
    frozenset: _members,
}
