"""
Values in JSON: readable, and exact for every type.

What JSON holds exactly is written as itself. Everything else is an object with one key that begins with ``$`` and says what it is::

    {"$tuple": [1, 2]}   {"$datetime": "2026-05-01T12:00:00+00:00"}   {"$enum": ["app.models:Color", "RED"]}

and what has no form of its own in the table is ``{"$canonical": "..."}``, its canonical encoding in base64. Classes are labels here:
reading gives tagged records, which only a declared type turns into instances.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import decimal
import math
import uuid
from collections.abc import Callable
from typing import Any, Final

from dspex.variables._copying import MAX_DEPTH
from dspex.variables._misfit import class_of
from dspex.wire import codec
from dspex.wire.records import Tagged

CANONICAL: Final = "$canonical"

_LIST: type[Any] = list
_DICT: type[Any] = dict


class Unreadable(ValueError):  # internal: a snapshot turns it into InvalidSnapshot
    """
    JSON that stands for no value.

    Attributes:
        problem: what is wrong.
        path: where, such as ``[3].name``.

    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = ""

    def at(self, step: str) -> Unreadable:
        """The same, one *step* further out."""
        self.path = f"{step}{self.path}"
        return self


# --- writing ---------------------------------------------------------------------------------------------------------------------


def to_plain(value: Any, *, tagged: bool) -> Any:
    """*value* as JSON's own types. *tagged*: it may hold instances, which the codec first turns into tagged records."""
    return _written(codec.decode(codec.encode(value)) if tagged else value)


def _written(value: Any) -> Any:
    if value is None or value is True or value is False:
        return value

    write = _WRITE.get(class_of(value))
    written = None if write is None else write(value)
    return _canonical(value) if written is None else written


def _canonical(value: Any) -> dict[str, str]:
    return {CANONICAL: base64.b64encode(codec.encode(value)).decode("ascii")}


def _write_int(value: int) -> int | None:
    return value if -(2**63) <= value < 2**64 else None


def _write_float(value: float) -> Any:
    return value if math.isfinite(value) else {"$float": repr(value)}


def _write_str(value: str) -> str | None:
    return None if any("\ud800" <= character <= "\udfff" for character in value) else value


def _write_dict(value: dict[Any, Any]) -> Any:
    readable = all(type(key) is str and not key.startswith("$") and _write_str(key) is not None for key in value)
    if readable:
        return {key: _written(item) for key, item in value.items()}

    return {"$dict": [[_written(key), _written(item)] for key, item in value.items()]}


def _write_datetime(value: dt.datetime | dt.time) -> Any:
    if value.fold or not (value.tzinfo is None or type(value.tzinfo) is dt.timezone):
        return None

    text = value.isoformat()
    exact = type(value).fromisoformat(text)
    return {f"${type(value).__name__}": text} if _zone_text(exact) == _zone_text(value) else None


def _zone_text(value: dt.datetime | dt.time) -> str:
    return repr(value.tzinfo)


def _write_record(value: Tagged) -> Any:
    if value.kind == "enum":
        return {"$enum": [value.label, _written(value.data)]}

    return {"$record": [value.label, _written(value.data)]}


_WRITE: Final[dict[type, Callable[[Any], Any]]] = {
    int: _write_int,
    float: _write_float,
    str: _write_str,
    list: lambda value: [_written(item) for item in value],
    dict: _write_dict,
    tuple: lambda value: {"$tuple": [_written(item) for item in value]},
    bytes: lambda value: {"$bytes": base64.b64encode(value).decode("ascii")},
    dt.datetime: _write_datetime,
    dt.time: _write_datetime,
    dt.date: lambda value: {"$date": value.isoformat()},
    decimal.Decimal: lambda value: {"$decimal": str(value)},
    uuid.UUID: lambda value: {"$uuid": str(value)},
    Tagged: _write_record,
}


# --- reading ---------------------------------------------------------------------------------------------------------------------


def from_plain(data: Any, depth: int = 0) -> Any:
    """The value that `to_plain` wrote *data* for, instances as tagged records. Raises `Unreadable`."""
    if depth > 4 * MAX_DEPTH:
        msg = "nested too deep"
        raise Unreadable(msg)

    if type(data) is _LIST:
        return [_read_at(f"[{index}]", item, depth + 1) for index, item in enumerate(data)]

    return _read_object(data, depth) if type(data) is _DICT else data


def _read_object(data: dict[str, Any], depth: int) -> Any:
    if len(data) == 1:
        tag, held = next(iter(data.items()))
        if tag.startswith("$"):
            return _read_tag(tag, held, depth)

    return {key: _read_at(f".{key}", item, depth + 1) for key, item in data.items()}


def _read_at(step: str, data: Any, depth: int) -> Any:
    try:
        return from_plain(data, depth)
    except Unreadable as error:
        raise error.at(step) from None


def _read_tag(tag: str, held: Any, depth: int) -> Any:
    read = _READ.get(tag)
    if read is None:
        msg = f"{tag!r} is no form of a value; there are {', '.join(_READ)}"
        raise Unreadable(msg)

    try:
        return read(held, depth + 1)
    except Unreadable as error:
        raise error.at(f".{tag}") from None
    except (ValueError, TypeError, ArithmeticError, AttributeError) as error:
        msg = f"{held!r:.80} is no {tag[1:]} ({error})"
        raise Unreadable(msg).at(f".{tag}") from None


def _read_items(held: Any, depth: int) -> list[Any]:
    if type(held) is not list:
        msg = f"a list was expected, not {held!r:.80}"
        raise Unreadable(msg)

    made: list[Any] = from_plain(held, depth)
    return made


def _read_pairs(held: Any, depth: int) -> dict[Any, Any]:
    pairs = _read_items(held, depth)
    if not all(type(pair) is list and len(pair) == 2 for pair in pairs):
        msg = "pairs of key and value were expected"
        raise Unreadable(msg)

    return dict(pairs)


def _read_float(held: Any, depth: int) -> float:
    if held not in {"nan", "inf", "-inf"}:
        msg = f"'nan', 'inf' or '-inf' was expected, not {held!r:.80}"
        raise Unreadable(msg)

    return float(held)


def _read_canonical(held: Any, depth: int) -> Any:
    return codec.decode(_read_bytes(held, 0))


def _read_bytes(held: Any, depth: int) -> bytes:
    try:
        return base64.b64decode(held, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        msg = f"base64 was expected ({error})"
        raise Unreadable(msg) from None


def _read_tagged(kind: str) -> Callable[[Any, int], Tagged]:
    def read(held: Any, depth: int) -> Tagged:
        items = _read_items(held, depth)
        if len(items) != 2 or type(items[0]) is not str:
            msg = "the label of a class, and its data, were expected"
            raise Unreadable(msg)

        return Tagged(kind, items[0], items[1])

    return read


_READ: Final[dict[str, Callable[[Any, int], Any]]] = {
    "$float": _read_float,
    "$dict": _read_pairs,
    "$tuple": lambda held, depth: tuple(_read_items(held, depth)),
    "$bytes": _read_bytes,
    "$datetime": lambda held, _: dt.datetime.fromisoformat(held),
    "$time": lambda held, _: dt.time.fromisoformat(held),
    "$date": lambda held, _: dt.date.fromisoformat(held),
    "$decimal": lambda held, _: decimal.Decimal(held),
    "$uuid": lambda held, _: uuid.UUID(held),
    "$enum": _read_tagged("enum"),
    "$record": _read_tagged("record"),
    CANONICAL: _read_canonical,
}
