"""
From the codec's tagged records back to instances, through the classes a declared type reaches and no other (I11).

The label in a tagged record comes from a text or a worker: it chooses among given classes, it never names one to import. A record's
own ``__init__`` runs, so that its validators see what came; then its fields are set to exactly what came, which the kind checks.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from dspex.variables._classes import field_names
from dspex.variables._copying import Layout
from dspex.variables._misfit import Misfit, class_of
from dspex.wire.records import Tagged, is_model

Classes = Mapping[str, type[Any]]


def revive(raw: Any, classes: Classes) -> Any:
    """*raw* with every `Tagged` in it turned into an instance. Raises `Misfit` for a label that isn't among *classes*."""
    step = _REVIVE.get(class_of(raw))
    return raw if step is None else step(raw, classes)


def _at(step: str, raw: Any, classes: Classes) -> Any:
    try:
        return revive(raw, classes)
    except Misfit as misfit:
        raise misfit.at(step) from None


def _items(raw: Any, classes: Classes) -> list[Any]:
    return [_at(f"[{index}]", item, classes) for index, item in enumerate(raw)]


def _dict(raw: dict[Any, Any], classes: Classes) -> dict[Any, Any]:
    return {key: _at(f"[{key!r}]", item, classes) for key, item in raw.items()}


def _tagged(raw: Tagged, classes: Classes) -> Any:
    cls = classes.get(raw.label)
    if cls is None or (raw.kind == "enum") != issubclass(cls, enum.Enum):
        raise Misfit(f"an instance of {', '.join(sorted(classes))}", raw)

    return _member(cls, raw) if issubclass(cls, enum.Enum) else _record(cls, raw, classes)


_REVIVE: Final[dict[type, Callable[[Any, Classes], Any]]] = {
    Tagged: _tagged,
    dict: _dict,
    list: _items,
    tuple: lambda raw, classes: tuple(_items(raw, classes)),
    set: lambda raw, classes: set(_items(raw, classes)),
    frozenset: lambda raw, classes: frozenset(_items(raw, classes)),
}


def _member(cls: type[enum.Enum], raw: Tagged) -> enum.Enum:
    try:
        return cls[raw.data]
    except (KeyError, TypeError):
        raise Misfit(f"a member of {raw.label} ({', '.join(cls.__members__)})", raw.data) from None


def _record(cls: type[Any], raw: Tagged, classes: Classes) -> Any:
    fields: Any = raw.data
    if class_of(fields) is not dict:
        raise Misfit(f"the fields of {raw.label} by name", fields)

    given = {name: _at(f".{name}", item, classes) for name, item in fields.items()}
    strange = [name for name in given if name not in field_names(cls)]
    if strange and not is_model(cls):
        raise Misfit(f"the fields of {raw.label} ({', '.join(field_names(cls))})", strange[0])

    try:
        return _model(cls, given) if is_model(cls) else _instance(cls, given)
    except Exception as error:  # noqa: BLE001 - the class's own validators raise what they like: the value doesn't fit it
        raise Misfit(f"fields that {raw.label} accepts", given, problem=f"{type(error).__name__}: {error}") from None


def _instance(cls: type[Any], given: dict[str, Any]) -> Any:
    arguments = _argument_names(cls)
    if arguments is None:
        return _uninitialised(cls, given)

    made = cls(**{arguments[name]: item for name, item in given.items() if name in arguments})
    for name, item in given.items():
        object.__setattr__(made, name, item)

    return made


def _uninitialised(cls: type[Any], given: dict[str, Any]) -> Any:
    missing = [name for name in field_names(cls) if name not in given]
    if missing:
        msg = f"no {missing[0]!r}"
        raise ValueError(msg)

    return Layout(cls).make(dict(given))


def _argument_names(cls: type[Any]) -> dict[str, str] | None:
    """The argument of ``__init__`` for each field; None where it asks for more than fields (an ``InitVar``, an ``__init__`` of its own)."""
    if cls not in _arguments:
        _arguments[cls] = _read_arguments(cls)

    return _arguments[cls]


def _read_arguments(cls: type[Any]) -> dict[str, str] | None:
    attributes: tuple[Any, ...] = getattr(cls, "__attrs_attrs__", ())
    aliases = {field.name: field.alias for field in attributes}
    names = {name: aliases.get(name, name) for name in field_names(cls)}
    parameters = inspect.signature(cls).parameters
    asked = [name for name, parameter in parameters.items() if parameter.default is parameter.empty and parameter.kind not in _VARIADIC]
    if not set(asked) <= set(names.values()):
        return None

    return {name: argument for name, argument in names.items() if argument in parameters}


_arguments: WeakKeyDictionary[type[Any], dict[str, str] | None] = WeakKeyDictionary()
_VARIADIC: Final = frozenset({inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD})


def _model(cls: Any, given: dict[str, Any]) -> Any:
    aliases = {name: field.validation_alias for name, field in cls.__pydantic_fields__.items()}
    return cls.model_validate({alias if isinstance(alias := aliases.get(name), str) else name: item for name, item in given.items()})
