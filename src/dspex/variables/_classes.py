"""
Kinds of classes: enumerations, attrs classes, data classes and pydantic models.

An instance is checked field by field and copied without its ``__init__``. A frozen one whose fields can't change is shared.
Only instances of exactly the declared class fit: a subclass could not be told from what is stored.
"""

from __future__ import annotations

import enum
import inspect
import sys
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final, get_type_hints

from dspex.variables._copying import Copier, Layout, copy_value
from dspex.variables._misfit import Misfit, UnknownType
from dspex.variables._plain import size_of
from dspex.variables._scalars import Kind
from dspex.wire import records
from dspex.wire.records import label as class_label

Resolver = Callable[[Any], Kind]


def _article(label: str) -> str:
    name = label.rpartition(":")[2]
    return f"an instance of {label}" if "<" in name else f"a {name} ({label})"


class EnumKind(Kind):
    """A member of an enumeration. Members are single objects: shared, and compared by identity."""

    family = "enum"

    def __init__(self, cls: type[enum.Enum]) -> None:
        label = class_label(cls)
        super().__init__(label, f"a member of {label}")
        self.cls = cls
        self.exact = cls
        self.classes = MappingProxyType({label: cls})

    def accepts(self, value: Any) -> Any:
        if isinstance(value, self.cls):
            return value

        raise Misfit(self.expected, value)

    def size(self, value: Any) -> int:
        return len(self.label) + 16


class UncheckedKind(Kind):
    """A field whose type says nothing to us: its value is kept as it is, and copied by what it holds."""

    family = "unchecked"

    def __init__(self) -> None:
        super().__init__("object", "anything")

    @property
    def copy(self) -> Copier | None:
        return copy_value

    def accepts(self, value: Any) -> Any:
        try:
            return copy_value(value)
        except Exception as error:  # noqa: BLE001 - a foreign __deepcopy__ or __reduce__ may raise anything
            raise Misfit(self.expected, value, problem=f"it can't be copied: {error}") from None

    def size(self, value: Any) -> int:
        return size_of(value)


UNCHECKED: Final = UncheckedKind()


class RecordKind(Kind):
    """An instance of an attrs class, a data class or a pydantic model."""

    family = "record"

    def __init__(self, cls: type) -> None:
        label = class_label(cls)
        super().__init__(label, _article(label))
        self.cls = cls
        self.fields: dict[str, Kind] = {}
        self.classes = MappingProxyType({label: cls})
        self._layout = Layout(cls)
        self._shared = False
        self._copiers: dict[str, Copier | None] = {}

    @property
    def copy(self) -> Copier | None:
        return None if self._shared else self._copy

    def complete(self, fields: dict[str, Kind]) -> None:
        """Gives the kinds of the fields, which may lead back to this one."""
        self.fields = fields
        self.classes = MappingProxyType({**self.classes, **{label: cls for kind in fields.values() for label, cls in kind.classes.items()}})
        self._copiers = {name: kind.copy for name, kind in fields.items()}
        self._shared = is_frozen(self.cls) and all(copier is None for copier in self._copiers.values())

    def accepts(self, value: Any) -> Any:
        if type(value) is not self.cls:
            problem = "a subclass would come back as something else" if isinstance(value, self.cls) else ""
            raise Misfit(self.expected, value, problem=problem)

        held = self._layout.held(value)
        changed = False
        for name, item in held.items():
            kind = self.fields.get(name, UNCHECKED)
            if type(item) is not kind.exact:
                held[name] = self._field(name, kind, item)
                changed = changed or held[name] is not item

        return self._layout.make(held) if changed or not self._shared else value

    def _field(self, name: str, kind: Kind, item: Any) -> Any:
        try:
            return kind.accepts(item)
        except Misfit as misfit:
            raise misfit.at(f".{name}") from None

    def _copy(self, value: Any) -> Any:
        return self._layout.copy(value, self._copiers)

    def size(self, value: Any) -> int:
        held = self._layout.held(value)
        return sum(len(name) + self.fields.get(name, UNCHECKED).size(item) for name, item in held.items()) + len(self.label) + 16


def is_frozen(cls: type) -> bool:
    """Whether instances refuse assignment to their fields, as far as their class says so itself."""
    parameters = getattr(cls, "__dataclass_params__", None)
    if parameters is not None:
        return bool(parameters.frozen)

    if records.is_model(cls):
        return bool(getattr(cls, "model_config", {}).get("frozen")) and not getattr(cls, "__private_attributes__", None)

    return getattr(cls.__setattr__, "__name__", "") == "_frozen_setattrs"


def field_hints(cls: type) -> dict[str, Any]:
    """The declared types of a record's fields; those that can't be evaluated here are left out."""
    try:
        hints = get_type_hints(cls, include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation is any expression, evaluated late; what it raises is its author's
        hints = _hints_one_by_one(cls)

    return {name: hints[name] for name in field_names(cls) if name in hints}


def _hints_one_by_one(cls: type) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for owner in reversed(cls.__mro__):
        names = vars(sys.modules.get(owner.__module__, sys)) | {cls.__name__: cls}
        for name, hint in inspect.get_annotations(owner).items():
            if not isinstance(hint, str):
                hints[name] = hint
            elif hint in names and isinstance(names[hint], type):
                hints[name] = names[hint]

    return hints


def field_names(cls: type) -> tuple[str, ...]:
    """The names of a record's fields, in order."""
    return tuple(records.field_names(cls) or ())


def record_kind(cls: type, resolve: Resolver, started: dict[Any, RecordKind]) -> RecordKind:
    """The kind of a record class, its fields resolved; *started* ends the recursion of a class that contains itself."""
    kind = started[cls] = RecordKind(cls)
    fields: dict[str, Kind] = {}
    for name, hint in field_hints(cls).items():
        try:
            fields[name] = resolve(hint)
        except UnknownType:
            fields[name] = UNCHECKED

    kind.complete({name: fields.get(name, UNCHECKED) for name in field_names(cls)})
    return kind
