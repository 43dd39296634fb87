"""
How large a container may be: measured where it is about to be written, in the owner's turn, whoever writes it.

Text, bytes and arrays by themselves may be of any size: they can't be changed, and are shared rather than copied.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import msgpack

from .._exceptions import DspexError, InvalidValue
from ..state import AsyncBridgedState, BridgedState, LocalState
from ..variables import Definition

if TYPE_CHECKING:
    from ..variables import Cell
    from ._service import Service

# Encoded bytes. A container up to this can be copied and encoded within a step of 5 ms.
LARGE = 256 << 10

_UNBOUNDED = frozenset({int, float, bool, str, bytes, type(None)})
_ANYTHING = Definition.make("anything", Any)
_encode = msgpack.Encoder().encode

log = logging.getLogger(__name__)


class Bounds:
    """The bound of one context, and whether the log has said that a container can hold the loop."""

    __slots__ = ("_entry", "_told", "limit")

    def __init__(self, entry: Service, limit: int) -> None:
        self._entry = entry
        self._told = False
        self.limit: int = limit

    def check(self, name: str, args: Sequence[Any]) -> None:
        """
        Measures what the operation *name*, one of `WRITTEN`, is about to write.

        Raises:
            InvalidValue: it is larger than the limit.

        """
        for key, made in WRITTEN[name](self, *args):
            self.measure(key, made)

    def measure(self, key: Any, value: Any) -> None:
        """The same for one *value* of the variable *key*."""
        if type(value) in _UNBOUNDED or hasattr(value, "nbytes"):
            return

        definition = key if isinstance(key, Definition) else self._definition(key)
        size = _size(definition or _ANYTHING, value)
        if size > min(LARGE, self.limit):
            self._large(key if definition is None else definition.name, size)

    def _large(self, name: Any, size: int) -> None:
        name = name if isinstance(name, str) else name.name
        if size > self.limit:
            raise InvalidValue(name, expected=f"at most {self.limit} bytes (max_container)", got=f"about {size} bytes")

        if not self._told:
            self._told = True
            told = "variable %r holds a container of about %d bytes: copying it may hold the event loop"
            log.warning(told, name, size, extra={"dspex_variable": name, "dspex_bytes": size})

    def _definition(self, key: Any) -> Definition | None:
        cell = self.cell(key)
        return None if cell is None else cell.definition

    def cell(self, key: Any) -> Cell | None:
        """The cell behind *key*, of a backend that has cells."""
        backend = self._entry.backend
        if not isinstance(backend, (LocalState, BridgedState, AsyncBridgedState)):
            return None

        try:
            return backend.table.find(key)
        except DspexError:
            # What there is to say about it the operation itself says.
            return None


def _size(definition: Definition, value: Any) -> int:
    if definition.copy is None:
        return 0

    try:
        return _encoded(value) if definition.kind is _ANYTHING.kind else definition.size(value)
    except (TypeError, ValueError, AttributeError, KeyError, RecursionError):
        # It isn't of the type at all: the backend refuses it in better words.
        return 0


def _encoded(value: Any) -> int:
    # Of data without a declared shape every item has to be looked at: encoding it does that at a tenth of the time.
    try:
        return len(_encode(value))
    except (TypeError, ValueError, OverflowError):
        return _ANYTHING.size(value)


# --- what each operation makes of which variable

Pairs = Iterable[tuple[Any, Any]]


def _one(bounds: Bounds, key: Any, value: Any, *_: Any) -> Pairs:
    return ((key, value),)


def _many(bounds: Bounds, updates: Any, *_: Any) -> Pairs:
    return updates.items() if _is_mapping(updates) else ()


def _appended(bounds: Bounds, key: Any, item: Any) -> Pairs:
    cell = bounds.cell(key)
    held: Any = None if cell is None else cell.value
    return ((key, [*held, item]),) if isinstance(held, list) else ((_ANYTHING, item),)


def _merged(bounds: Bounds, key: Any, mapping: Any) -> Pairs:
    cell = bounds.cell(key)
    held: Any = None if cell is None else cell.value
    if not _is_mapping(held) or not _is_mapping(mapping):
        return ((_ANYTHING, mapping),)

    whole: dict[Any, Any] = {**held, **mapping}
    return ((key, whole),)


def _is_mapping(given: Any) -> bool:
    return isinstance(given, Mapping)


WRITTEN: dict[str, Callable[..., Pairs]] = {"define": _one, "set": _one, "set_many": _many, "append": _appended, "merge": _merged}
