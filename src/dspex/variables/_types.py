"""
From a declared type to its `Kind`: a Python type, a special form of `typing`, one of the seed's names, or a label read from a store.

Nothing is imported by name here. A label of a class that this process hasn't been given by code stays opaque.
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable
from typing import Any, Final, Literal, Union, get_args, get_origin

from dspex.variables._arrays import ANY_ARRAY, TENSOR, ArrayKind
from dspex.variables._choices import LiteralKind, OpaqueKind, union_of
from dspex.variables._classes import EnumKind, RecordKind, record_kind
from dspex.variables._containers import DictKind, ListKind, ManyKind, TupleKind
from dspex.variables._misfit import UnknownType
from dspex.variables._plain import ANY, KEY
from dspex.variables._scalars import NOTHING, SCALARS, Kind
from dspex.wire.records import is_record

SEED_NAMES: Final[dict[str, Kind]] = {
    "float": SCALARS[float],
    "integer": SCALARS[int],
    "string": SCALARS[str],
    "boolean": SCALARS[bool],
    "choice": SCALARS[str],
    "module": SCALARS[str],
    "binary": SCALARS[bytes],
    "embedding": ListKind(SCALARS[float]),
    "tensor": TENSOR,
    "map": DictKind(KEY, ANY),
    "any": ANY,
}

KNOWN: Final = (
    "float, int, str, bool, bytes, list[...], dict[...], tuple[...], set[...], X | None, Literal[...], an Enum, attrs, data or pydantic class, "
    "datetime, date, time, timedelta, Decimal, UUID, numpy.ndarray, NDArray[...], typing.Any; or a name: "
    "'float', 'integer', 'string', 'boolean', 'choice', 'module', 'embedding', 'tensor', 'any'"
)


def resolve(declared: Any) -> Kind:
    """The kind of a declared type. Raises `UnknownType`."""
    return _Resolution().kind(declared)


def required_constraint(declared: Any) -> str | None:
    """The constraint a seed name can't do without."""
    return "choices" if declared == "choice" and isinstance(declared, str) else None


class _Resolution:
    """One walk over a type, which knows the classes it is in the middle of."""

    def __init__(self) -> None:
        self._started: dict[Any, RecordKind] = {}

    def kind(self, declared: Any) -> Kind:
        if isinstance(declared, str):
            return named(declared)

        if declared is Any:
            return ANY

        scalar = SCALARS.get(declared) if isinstance(declared, type) else None
        if scalar is not None:
            return scalar

        origin = get_origin(declared)
        if origin is not None:
            return self._form(declared, origin)

        return self._class(declared) if isinstance(declared, type) else self._special(declared)

    def _special(self, declared: Any) -> Kind:
        if isinstance(declared, Kind):
            return declared

        if declared is None:
            return NOTHING

        inner = getattr(declared, "__supertype__", None) or getattr(declared, "__value__", None)
        if inner is not None:
            return self.kind(inner)

        raise _unknown(declared)

    def _class(self, declared: type[Any]) -> Kind:
        if declared in _BARE:
            return _BARE[declared]()

        if declared in self._started:
            return self._started[declared]

        if issubclass(declared, enum.Enum):
            return EnumKind(declared)

        if is_record(declared):
            return record_kind(declared, self.kind, self._started)

        if declared.__module__ == "numpy" and declared.__name__ == "ndarray":
            return ANY_ARRAY

        raise _unknown(declared)

    def _form(self, declared: Any, origin: Any) -> Kind:
        arguments = get_args(declared)
        make = _FORMS.get(origin)
        if make is not None:
            return make(self, arguments)

        if isinstance(origin, type) and origin.__module__ == "numpy":
            return _array(arguments)

        if isinstance(origin, type) and is_record(origin):
            return self._class(origin)

        value = getattr(origin, "__value__", None)
        if value is not None:
            return self.kind(value[arguments])

        raise _unknown(declared)

    def list_(self, arguments: tuple[Any, ...]) -> Kind:
        return ListKind(self.kind(arguments[0]))

    def dict_(self, arguments: tuple[Any, ...]) -> Kind:
        key = KEY if arguments[0] is Any else self.kind(arguments[0])
        return DictKind(key, self.kind(arguments[1]))

    def tuple_(self, arguments: tuple[Any, ...]) -> Kind:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return ManyKind(tuple, self.kind(arguments[0]))

        return TupleKind(tuple(map(self.kind, arguments)))

    def set_(self, arguments: tuple[Any, ...]) -> Kind:
        return ManyKind(set, self.kind(arguments[0]))

    def frozenset_(self, arguments: tuple[Any, ...]) -> Kind:
        return ManyKind(frozenset, self.kind(arguments[0]))

    def union(self, arguments: tuple[Any, ...]) -> Kind:
        return union_of(list(map(self.kind, arguments)))

    def literal(self, arguments: tuple[Any, ...]) -> Kind:
        return LiteralKind(arguments)

    def annotated(self, arguments: tuple[Any, ...]) -> Kind:
        return self.kind(arguments[0])


_FORMS: Final[dict[Any, Callable[[_Resolution, tuple[Any, ...]], Kind]]] = {
    list: _Resolution.list_,
    dict: _Resolution.dict_,
    tuple: _Resolution.tuple_,
    set: _Resolution.set_,
    frozenset: _Resolution.frozenset_,
    Union: _Resolution.union,
    types.UnionType: _Resolution.union,
    Literal: _Resolution.literal,
    typing.Annotated: _Resolution.annotated,
}

_BARE: Final[dict[type, Callable[[], Kind]]] = {
    list: lambda: ListKind(ANY),
    dict: lambda: DictKind(KEY, ANY),
    tuple: lambda: ManyKind(tuple, ANY),
    set: lambda: ManyKind(set, ANY),
    frozenset: lambda: ManyKind(frozenset, ANY),
    type(None): lambda: NOTHING,
}


def _array(arguments: tuple[Any, ...]) -> Kind:
    declared = get_args(arguments[-1]) if arguments else ()
    if not declared or not isinstance(declared[0], type):
        return ANY_ARRAY

    import numpy as np  # somebody has just declared an array

    try:
        return ArrayKind(np.dtype(declared[0]))
    except TypeError:
        return ANY_ARRAY


def _unknown(declared: Any) -> UnknownType:
    name = declared.__qualname__ if isinstance(declared, type) else repr(declared)
    return UnknownType(f"{name} is no type a variable can have")


def named(text: str) -> Kind:
    """The kind of a seed name or of a label; the label of a class is opaque."""
    from dspex.variables._labels import parse  # it builds kinds through this module

    return SEED_NAMES[text] if text in SEED_NAMES else parse(text)


def opaque(label: str) -> Kind:
    """The kind of a class known by its label only."""
    return OpaqueKind(label)
