"""`Var`: the declaration of a variable, typed by what it declares. Made once, at module level, by host and worker alike."""

from __future__ import annotations

import builtins
import datetime as dt
import decimal
from collections.abc import Iterable, Mapping
from typing import Any, Generic, NoReturn, Protocol, TypeAlias, TypedDict, TypeVar, overload

from dspex._exceptions import InvalidDefinition
from dspex.variables._copying import copy_value
from dspex.variables._definition import Definition

T = TypeVar("T")

Bound: TypeAlias = "float | decimal.Decimal | dt.date | dt.time | dt.timedelta | None"
Dimensions: TypeAlias = "int | tuple[int | None, ...] | list[int] | None"


class Array(Protocol):
    """An array, numpy's or one like it."""

    @property
    def dtype(self) -> Any: ...


Quantity: TypeAlias = complex | decimal.Decimal | dt.timedelta | Array
"""What can be added up; a float and an int are of the first kind."""


class Constraints(TypedDict, total=False):
    """What may be asked of a value beyond its type, by keyword. See `Var`."""

    min: Bound
    max: Bound
    min_length: int | None
    max_length: int | None
    pattern: str | None
    choices: Iterable[Any] | None
    dimensions: Dimensions


class Var(Generic[T]):
    """
    The declaration of a variable: its name, its type, the value it begins with, and what is asked of its values.

    A `Var` is frozen and compared by identity. It is an identifier wherever a name is, and gives reads and writes their type:
    ``Var("temperature", float, 0.7, min=0.0, max=2.0)`` is a ``Var[float]``.
    """

    __slots__ = ("__weakref__", "_initial", "definition", "name", "type")

    name: str
    type: Any
    definition: Definition

    @overload
    def __init__(
        self,
        name: str,
        type: builtins.type[T],
        initial: T,
        *,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        sensitive: bool = False,
        min: Bound = None,
        max: Bound = None,
        min_length: int | None = None,
        max_length: int | None = None,
        pattern: str | None = None,
        choices: Iterable[T] | None = None,
        dimensions: Dimensions = None,
    ) -> None: ...

    @overload
    def __init__(
        self: Var[Any],
        name: str,
        type: object,  # a special form (Literal, X | None) or a seed name: annotate the variable, as in `MODE: Var[Mode] = Var(...)`
        initial: Any,
        *,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        sensitive: bool = False,
        min: Bound = None,
        max: Bound = None,
        min_length: int | None = None,
        max_length: int | None = None,
        pattern: str | None = None,
        choices: Iterable[Any] | None = None,
        dimensions: Dimensions = None,
    ) -> None: ...

    def __init__(  # noqa: PLR0913 - a declaration is one call, its constraints its keywords
        self,
        name: str,
        type: Any,  # noqa: A002 - the public word for it, like the two below
        initial: Any,
        *,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        sensitive: bool = False,
        min: Any = None,  # noqa: A002
        max: Any = None,  # noqa: A002
        min_length: int | None = None,
        max_length: int | None = None,
        pattern: str | None = None,
        choices: Iterable[Any] | None = None,
        dimensions: Any = None,
    ) -> None:
        """
        Declares a variable.

        Args:
            name: its name; printable, at most 512 characters.
            type: a Python type, a special form of `typing`, or one of the seed's names such as ``"float"``.
            initial: the value it begins with. It is checked, and copied.
            description: what it is for.
            metadata: plain data of your own, with str keys.
            sensitive: mask its values in errors, reprs, records, spans and trees.
            min: the lowest number or moment that fits.
            max: the highest that fits.
            min_length: the shortest str, bytes or container that fits.
            max_length: the longest that fits.
            pattern: a regular expression that must match all of a str; at most 1000 characters.
            choices: the values to choose from.
            dimensions: the length, or the shape, of a vector, a tensor or an array; None in it stands for any length.

        Raises:
            InvalidDefinition: an unknown type, a constraint the type has no use for, constraints that no value could meet.
            InvalidValue: *initial* doesn't fit.

        """
        given = {
            "min": min,
            "max": max,
            "min_length": min_length,
            "max_length": max_length,
            "pattern": pattern,
            "choices": choices,
            "dimensions": dimensions,
        }
        made = Definition.make(name, type, constraints=given, description=description, metadata=metadata, sensitive=sensitive)
        if made.opaque:
            raise InvalidDefinition(
                name, problem=f"{made.kind.label} is the label of a class", hint="Declare the class itself as its type."
            )

        object.__setattr__(self, "definition", made)
        object.__setattr__(self, "name", made.name)
        object.__setattr__(self, "type", type)
        object.__setattr__(self, "_initial", made.check(initial))

    @property
    def initial(self) -> T:
        """The value it begins with; a copy of your own."""
        value: T = copy_value(object.__getattribute__(self, "_initial"))
        return value

    @property
    def description(self) -> str | None:
        """What it is for."""
        return self.definition.description

    @property
    def sensitive(self) -> bool:
        """Whether its values are masked."""
        return self.definition.sensitive

    def __repr__(self) -> str:
        return f"Var({self.name!r}: {self.definition.describe()})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        msg = f"{self!r} is frozen: declare another Var"
        raise AttributeError(msg)

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __reduce__(self) -> tuple[Any, ...]:
        known = self.definition
        more = {"description": known.description, "metadata": dict(known.metadata), "sensitive": known.sensitive}
        return _rebuilt, (self.name, self.type, self.initial, {**more, **known.constraints})


def _rebuilt(name: str, declared: Any, initial: Any, options: dict[str, Any]) -> Var[Any]:
    return Var(name, declared, initial, **options)
