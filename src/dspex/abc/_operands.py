"""The operations made of others: what `add`, `append` and `merge` make of a value and an operand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from dspex._exceptions import InvalidValue

if TYPE_CHECKING:
    from dspex.variables import Var

Key: TypeAlias = "str | Var[Any]"


def named(key: Key) -> str:
    """What *key* is called in the result of a batch: a `Var` goes by its name, a name or an id by itself."""
    return key if isinstance(key, str) else key.name


class Unfit(TypeError):
    """Operands that don't go together: internal, told to callers as `InvalidValue`."""

    def __init__(self, expected: str, got: Any) -> None:
        super().__init__(expected)
        self.expected = expected
        self.got = type(got).__name__


def summed(value: Any, n: Any) -> Any:
    """*value* plus *n*, where both are quantities."""
    for one in (value, n):
        if one is None or isinstance(one, (bool, str, bytes, tuple, list, dict, set, frozenset)):
            raise Unfit("a number", one)

    try:
        return value + n
    except (TypeError, ValueError, ArithmeticError) as error:
        raise Unfit(f"a number that can be added to {type(value).__name__}", n) from error


def appended(value: Any, item: Any) -> list[Any]:
    """A list with *item* behind *value*'s."""
    if not isinstance(value, list):
        raise Unfit("a list to append to", value)

    return [*value, item]


def merged(value: Any, mapping: Mapping[Any, Any]) -> dict[Any, Any]:
    """A dict of *value* with *mapping* laid over it."""
    for one in (value, mapping):
        if not isinstance(one, Mapping):
            raise Unfit("a mapping to merge", one)

    return {**value, **mapping}


def combined(name: str, combine: Callable[[Any, Any], Any], value: Any, operand: Any) -> Any:
    """What *combine* makes of *value* and *operand*; `InvalidValue` for the variable *name* where they don't go together."""
    try:
        return combine(value, operand)
    except Unfit as unfit:
        raise InvalidValue(name, expected=unfit.expected, got=unfit.got) from unfit
