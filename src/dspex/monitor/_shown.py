"""
A value as one line, whatever it is: the work is bounded by the length of the line, and no foreign code is asked how it would like to look.

Text comes in pieces, and is taken only until there is enough of it. So neither a value of 100 MB nor one that contains itself is a special case.
"""

from __future__ import annotations

import datetime as dt
import enum
import sys
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from itertools import islice
from typing import Any, Final
from uuid import UUID

from ..supervision._drawing import safe
from ..variables._misfit import class_of
from ..wire.records import Tagged

LONGEST: Final = 80
"""Characters."""

# So many of an array of any size are shown.
_FIRST: Final = 16
# A number beyond these takes time to write down that grows with its square.
_LARGEST_BITS: Final = 512
_LARGEST_DECIMAL: Final = 256


def shown(value: Any, longest: int = LONGEST) -> str:
    """*value* on one line of at most *longest* characters, with nothing in it that could harm a terminal. Never raises."""
    text = ""
    try:
        for piece in _pieces(value):
            text += piece
            if len(text) > longest:
                break
    except Exception:  # noqa: BLE001 - a foreign attribute may raise anything, and what is read may change meanwhile
        text = f"<{_class_of(value)}>"

    return shortened("".join(map(_visible, text[: longest + 1])), longest)


def shortened(text: str, longest: int) -> str:
    """*text*, cut at *longest* characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def one_line(text: str, longest: int) -> str:
    """Any text on one line of at most *longest* characters, safe to print."""
    return shortened(safe(" ".join(text[: 4 * longest].split()), longest + 1), longest)


def _visible(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode()


def _pieces(value: Any) -> Iterator[str]:
    kind = class_of(value)
    told = _PLAIN.get(kind)
    if told is not None:
        yield told(value)
        return

    if isinstance(value, enum.Enum):
        yield f"{kind.__name__}.{value.name}"
        return

    for base, show in _CONTAINERS:
        if isinstance(value, base):
            yield from show(value)
            return

    yield from _record(value)


# --- what is written down at once --------------------------------------------------------------------------------------------------


def _integer(value: int) -> str:
    return repr(value) if value.bit_length() <= _LARGEST_BITS else f"<an int of {value.bit_length():,} bits>"


def _decimal(value: Decimal) -> str:
    return repr(value) if sys.getsizeof(value) <= _LARGEST_DECIMAL else "<a long Decimal>"


def _text(value: Any) -> str:
    return repr(value[: LONGEST + 1])


_PLAIN: Final[dict[type, Callable[[Any], str]]] = {
    **dict.fromkeys((type(None), bool, float, complex), repr),
    **dict.fromkeys((UUID, dt.datetime, dt.date, dt.time, dt.timedelta), str),
    int: _integer,
    Decimal: _decimal,
    **dict.fromkeys((str, bytes, bytearray), _text),
}


# --- what is written down piece by piece -------------------------------------------------------------------------------------------


def _joined(opening: str, items: Iterable[Any], closing: str) -> Iterator[str]:
    yield opening
    for number, item in enumerate(items):
        if number:
            yield ", "

        yield from _pieces(item)

    yield closing


def _mapping(value: dict[Any, Any]) -> Iterator[str]:
    kind: Any = dict
    yield "{"
    for number, (key, item) in enumerate(kind.items(value)):
        if number:
            yield ", "

        yield from _pieces(key)
        yield ": "
        yield from _pieces(item)

    yield "}"


def _sequence(kind: Any, opening: str, closing: str) -> Callable[[Any], Iterator[str]]:
    # The methods of the built-in class itself: those of a class derived from it are foreign.
    return lambda value: _joined(opening, kind.__iter__(value), closing)


def _tuple(value: Any) -> Iterator[str]:
    kind: Any = tuple
    return _joined("(", kind.__iter__(value), ",)" if kind.__len__(value) == 1 else ")")


def _derived(kind: Any) -> Callable[[Any], Iterator[str]]:
    """What is shown of a value whose class is derived from a plain one."""
    return lambda value: iter((_text(kind.__getitem__(value, slice(LONGEST + 1))),))


_CONTAINERS: Final[tuple[tuple[type, Callable[[Any], Iterator[str]]], ...]] = (
    (dict, _mapping),
    (list, _sequence(list, "[", "]")),
    (tuple, _tuple),
    (set, _sequence(set, "{", "}")),
    (frozenset, _sequence(frozenset, "frozenset({", "})")),
    (str, _derived(str)),
    (bytes, _derived(bytes)),
    (int, lambda value: iter((_integer(int.__add__(value, 0)),))),
    (float, lambda value: iter((float.__repr__(value),))),
)


# --- what has fields ---------------------------------------------------------------------------------------------------------------


def _record(value: Any) -> Iterator[str]:
    kind: Any = class_of(value)
    if kind.__module__ == "numpy" and hasattr(kind, "dtype"):
        yield from _array(value)
        return

    if kind is Tagged:
        yield f"{value.label.rpartition(':')[2]} "
        yield from _pieces(value.data)
        return

    names = _fields(kind)
    if names is None:
        yield f"<{_class_of(value)}>"
        return

    yield f"{kind.__name__}("
    for number, name in enumerate(names):
        yield f"{', ' if number else ''}{name}="
        yield from _pieces(getattr(value, name))

    yield ")"


def _fields(kind: Any) -> Iterable[str] | None:
    """The fields of a class that are for showing; None of one that has none we know of."""
    if (attributes := getattr(kind, "__attrs_attrs__", None)) is not None:
        return (each.name for each in attributes if each.repr)

    if (attributes := getattr(kind, "__dataclass_fields__", None)) is not None:
        return (each.name for each in attributes.values() if each.repr)

    if (attributes := getattr(kind, "__pydantic_fields__", None)) is not None:
        return (name for name, each in attributes.items() if each.repr)

    return None


def _array(value: Any) -> Iterator[str]:
    if value.ndim != 1 or value.dtype.hasobject:
        yield f"<array of {value.dtype}, {' × '.join(map(str, value.shape)) or 'one'}>"
        return

    yield from _joined("array([", islice(value[:_FIRST].tolist(), _FIRST), "]" if len(value) <= _FIRST else ", …]")
    yield f", {value.dtype})"


def _class_of(value: Any) -> str:
    return type(value).__qualname__
