"""``typing.Any``: data made of the plain types, as JSON is, and of what else the codec carries exactly without knowing a class."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import Any, Final

from dspex.variables._arrays import ANY_ARRAY, is_array, is_numpy_scalar
from dspex.variables._copying import MAX_DEPTH, Copier, Layout, copy_value
from dspex.variables._misfit import Misfit, class_of
from dspex.variables._scalars import SCALARS, Kind, unwrapped
from dspex.wire.records import is_record

EXPECTED: Final = "plain data (None, bool, int, float, str, bytes, list, dict, tuple, set, a date, Decimal, UUID or numpy array)"

_ATOMS: Final = frozenset({type(None), *SCALARS})


class AnyKind(Kind):
    """Any plain data, at most `MAX_DEPTH` levels deep."""

    family = "any"

    @property
    def copy(self) -> Copier | None:
        return copy_value

    def accepts(self, value: Any) -> Any:
        return _accept(value, 0)

    def size(self, value: Any) -> int:
        return size_of(value)


class KeyKind(Kind):
    """What a dict may have as keys when none is declared."""

    family = "key"

    def accepts(self, value: Any) -> Any:
        if type(value) in _KEYS:
            return value

        number = unwrapped(value)
        for base in _KEYS:
            if isinstance(number, base) and not isinstance(number, enum.Enum):
                return SCALARS[base].accepts(number)

        raise Misfit(self.expected, value)

    def size(self, value: Any) -> int:
        return size_of(value)


_STR: Final = frozenset({str})
_KEYS: Final = (str, bool, int, bytes)

KEY: Final = KeyKind("Any", "a str, int, bool or bytes")
ANY: Final = AnyKind("Any", EXPECTED)


def _accept(value: Any, depth: int) -> Any:
    cls = class_of(value)
    if cls in _ATOMS:
        return value

    if depth >= MAX_DEPTH and cls in _ACCEPT:
        raise Misfit(EXPECTED, value, problem=f"nested deeper than {MAX_DEPTH} levels, or holding itself")

    accept = _ACCEPT.get(cls, _accept_foreign)
    return accept(value, depth + 1)


def _accept_items(value: Iterable[Any], depth: int) -> list[Any]:
    made = list(value)
    if not _ATOMS.issuperset(map(type, made)):
        for index, item in enumerate(made):
            if type(item) not in _ATOMS:
                made[index] = _accept_at(index, item, depth)

    return made


def _accept_dict(value: dict[Any, Any], depth: int) -> dict[Any, Any]:
    made = dict(value) if _STR.issuperset(map(type, value)) else {_accept_key(key): item for key, item in value.items()}
    for key, item in made.items():
        if type(item) not in _ATOMS:
            made[key] = _accept_at(key, item, depth)

    return made


def _accept_at(step: Any, item: Any, depth: int) -> Any:
    try:
        return _accept(item, depth)
    except Misfit as misfit:
        raise misfit.at(f"[{step!r}]") from None


def _accept_key(key: Any) -> Any:
    try:
        return KEY.accepts(key)
    except Misfit as misfit:
        raise misfit.at(".keys()") from None


_ACCEPT: Final[dict[type, Callable[[Any, int], Any]]] = {
    list: _accept_items,
    dict: _accept_dict,
    tuple: lambda value, depth: tuple(_accept_items(value, depth)),
    set: lambda value, depth: set(_accept_items(value, depth)),
    frozenset: lambda value, depth: frozenset(_accept_items(value, depth)),
}


def _accept_foreign(value: Any, depth: int) -> Any:
    """A subclass of a plain type, a numpy scalar or array: stored as the plain type. Anything else is refused."""
    if is_array(value):
        return ANY_ARRAY.accepts(value)

    number = unwrapped(value)
    if is_numpy_scalar(number):
        return number

    if not isinstance(number, enum.Enum) and not hasattr(number, "_fields"):
        for base in _ACCEPT:
            if isinstance(number, base):
                return _accept(_ACCEPT[base](number, depth), depth)

        for base, kind in SCALARS.items():
            if isinstance(number, base):
                return kind.accepts(number)

    raise Misfit(EXPECTED, value, problem="declare the variable with its class to store instances")


def size_of(value: Any) -> int:
    """About how many bytes any value has when encoded; of one that isn't plain, what its attributes have."""
    cls = class_of(value)
    if cls is dict:
        return sum(map(size_of, value)) + sum(map(size_of, value.values())) + 5

    if cls in _SEQUENCES:
        return sum(map(size_of, value)) + 5

    if cls is str or cls is bytes:
        return len(value) + 5

    if cls in _ATOMS:
        return 9

    nbytes = getattr(value, "nbytes", None)
    if nbytes is not None:
        return int(nbytes) + 32

    named = len(cls.__module__) + len(cls.__qualname__) + 16
    return size_of(Layout(cls).held(value)) + named if is_record(cls) else named


_SEQUENCES: Final = frozenset({list, tuple, set, frozenset})
