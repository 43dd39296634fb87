"""
Copying in and out (I13), faster than `copy.deepcopy`: no memo, no reduce protocol, and what can't change is shared.

A container is copied whole by its own C method, then the few items that can change are put in their place. A kind that knows its items
compiles a copier of its own (`_containers.py`, `_classes.py`); the functions here copy what nobody declared: the insides of
`typing.Any` and of fields without a type we know.
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
    made = value.copy()
    if not ATOMS.issuperset(map(type, value)):
        for index, item in enumerate(value):
            if type(item) not in ATOMS:
                made[index] = copy_value(item)

    return made


def _copy_dict(value: dict[Any, Any]) -> dict[Any, Any]:
    made = value.copy()
    for key, item in value.items():
        if type(item) not in ATOMS:
            made[key] = copy_value(item)

    return made


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


def _copy_tagged(value: Tagged) -> Tagged:
    return Tagged(value.kind, value.label, copy_value(value.data))


def _copy_other(value: Any) -> Any:
    cls = class_of(value)
    if issubclass(cls, enum.Enum | type):
        return value

    if cls.__module__ == "numpy" and hasattr(value, "tobytes"):
        return value

    if is_record(cls):
        return Layout(cls).copy(value, {})

    # A class nobody declared (a field of type Any in someone's record): only its own protocol knows what a copy of it is.
    return copy.deepcopy(value)


COPIERS: Final[dict[type, Copier | None]] = {
    **dict.fromkeys(ATOMS, None),
    list: _copy_list,
    dict: _copy_dict,
    tuple: _copy_tuple,
    set: _copy_set,
    frozenset: _copy_frozenset,
    Tagged: _copy_tagged,
}


class Layout:
    """
    Where the instances of a class hold their attributes, so that one can be taken apart and made again without its ``__init__``.

    Slots are read and written through their descriptors: a ``__getattr__``, a frozen ``__setattr__`` or a property is never asked.
    """

    __slots__ = ("_cls", "_has_dict", "_slots")

    def __init__(self, cls: type[Any]) -> None:
        self._cls = cls
        self._has_dict = cls.__dictoffset__ != 0
        self._slots = {
            name: member
            for owner in cls.__mro__
            for name, member in owner.__dict__.items()
            if type(member) is types.MemberDescriptorType and owner is not object
        }

    def held(self, value: Any) -> dict[str, Any]:
        """What an instance holds, by name."""
        held: dict[str, Any] = dict(value.__dict__) if self._has_dict else {}
        for name, member in self._slots.items():
            try:
                held[name] = member.__get__(value, self._cls)
            except AttributeError:
                continue

        return held

    def make(self, held: dict[str, Any]) -> Any:
        """An instance that holds just that; *held* becomes its own."""
        made = object.__new__(self._cls)
        for name in held.keys() & self._slots.keys():
            self._slots[name].__set__(made, held.pop(name))

        if held:
            made.__dict__.update(held)

        return made

    def copy(self, value: Any, copiers: Mapping[str, Copier | None]) -> Any:
        """A copy of an instance. *copiers* are those of its attributes; one without is copied by what it holds."""
        held = self.held(value)
        for name, item in held.items():
            copier = copiers.get(name, copy_value)
            if copier is not None:
                held[name] = copier(item)

        return self.make(held)
