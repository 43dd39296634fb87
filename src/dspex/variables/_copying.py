"""
Copying in and out (I13), faster than `copy.deepcopy`: no memo, no reduce protocol, and what can't change is shared.

A container whose items can't change is copied by its own C method. A kind that knows its items compiles a copier of its own
(`_containers.py`); the functions here copy what nobody declared: the insides of `typing.Any` and of fields without a type we know.
"""

from __future__ import annotations

import copy
import datetime as dt
import decimal
import enum
import re
import types
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

from dspex.variables._misfit import class_of
from dspex.wire.records import Tagged, is_record

Copier = Callable[[Any], Any]

MAX_DEPTH: Final = 64

ATOMS: Final[frozenset[type]] = frozenset(
    {
        type(None), bool, int, float, complex, str, bytes,
        dt.datetime, dt.date, dt.time, dt.timedelta, dt.timezone, ZoneInfo,
        decimal.Decimal, uuid.UUID, re.Pattern, range, type(Ellipsis),
        type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType,
    },
)  # fmt: skip


def copy_value(value: Any) -> Any:
    """A copy of *value* that shares only what can't change."""
    copier = COPIERS.get(class_of(value), _copy_other)
    return value if copier is None else copier(value)


def _copy_list(value: list[Any]) -> list[Any]:
    if ATOMS.issuperset(map(type, value)):
        return value.copy()

    return [copy_value(item) for item in value]


def _copy_dict(value: dict[Any, Any]) -> dict[Any, Any]:
    if ATOMS.issuperset(map(type, value.values())):
        return value.copy()

    return {key: copy_value(item) for key, item in value.items()}


def _copy_tuple(value: tuple[Any, ...]) -> tuple[Any, ...]:
    if ATOMS.issuperset(map(type, value)):
        return value

    return tuple([copy_value(item) for item in value])


def _copy_set(value: set[Any]) -> set[Any]:
    if ATOMS.issuperset(map(type, value)):
        return value.copy()

    return {copy_value(item) for item in value}


def _copy_frozenset(value: frozenset[Any]) -> frozenset[Any]:
    if ATOMS.issuperset(map(type, value)):
        return value

    return frozenset([copy_value(item) for item in value])


def _copy_other(value: Any) -> Any:
    cls = class_of(value)
    if issubclass(cls, enum.Enum | type):
        return value

    if cls.__module__ == "numpy" and hasattr(value, "tobytes"):
        return value

    if cls is Tagged:
        return Tagged(value.kind, value.label, copy_value(value.data))

    if is_record(cls):
        return copy_record(value, {})

    # A class nobody declared (a field of type Any in someone's record): only its own protocol knows what a copy of it is.
    return copy.deepcopy(value)


COPIERS: Final[dict[type, Copier | None]] = {
    **dict.fromkeys(ATOMS, None),
    list: _copy_list,
    dict: _copy_dict,
    tuple: _copy_tuple,
    set: _copy_set,
    frozenset: _copy_frozenset,
}


def copy_record(value: Any, copiers: Mapping[str, Copier | None]) -> Any:
    """
    Copies an instance without calling its ``__init__``, its slots and its ``__dict__`` alike.

    *copiers* are those of its attributes by name; an attribute without one is copied by what it holds.
    """
    made = object.__new__(class_of(value))
    for name, held in attributes(value):
        copier = copiers.get(name, copy_value)
        object.__setattr__(made, name, held if copier is None else copier(held))

    return made


def attributes(value: Any) -> list[tuple[str, Any]]:
    """What an instance holds, by name: its ``__dict__``, then its slots."""
    own: dict[str, Any] = getattr(value, "__dict__", {})
    held = list(own.items())
    for name in slot_names(class_of(value)):
        if hasattr(value, name):
            held += [(name, getattr(value, name))]

    return held


def slot_names(cls: type) -> list[str]:
    """The real names (mangled where private) of all slots of a class, its bases' included."""
    names: list[str] = []
    for owner in cls.__mro__:
        slots = owner.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            private = slot.startswith("__") and not slot.endswith("__")
            names.append(f"_{owner.__name__.lstrip('_')}{slot}" if private else slot)

    return [name for name in names if name not in {"__dict__", "__weakref__"}]
