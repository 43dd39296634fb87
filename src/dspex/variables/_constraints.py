"""
What may be asked of a value beyond its type.

A table says which families of kinds take which constraint, how its value is read, and what it makes of it: a test of stored values.
"""

from __future__ import annotations

import decimal
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, cast

from dspex.variables._misfit import Misfit, shown
from dspex.variables._scalars import Kind, plain_int

MAX_PATTERN: Final = 1000

Test = Callable[[Any], bool]


class BadConstraint(ValueError):  # internal: a definition turns it into InvalidDefinition
    """A constraint that can't be: unknown, of no use for the type, or contradicting another."""


class Rule(NamedTuple):
    """One constraint: the families of kinds that take it, how its value is read, and the test it becomes."""

    families: frozenset[str]
    read: Callable[[Kind, str, Any], Any]
    test: Callable[[Kind, Any], Test]


def compiled(kind: Kind, given: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Test, ...]]:
    """The constraints as they are kept, and their tests. Raises `BadConstraint`."""
    kept = {name: _rule(kind, name).read(kind, name, value) for name, value in given.items() if value is not None}
    _in_order(kept, "min", "max")
    _in_order(kept, "min_length", "max_length")
    return kept, tuple(RULES[name].test(kind, value) for name, value in kept.items())


def _rule(kind: Kind, name: str) -> Rule:
    rule = RULES.get(name)
    if rule is None:
        msg = f"there is no constraint {name!r}; there are {', '.join(RULES)}"
        raise BadConstraint(msg)

    bare = kind.bare
    if bare.family not in rule.families and not (name == "dimensions" and _is_vector(bare)):
        msg = f"{name!r} says nothing about {kind.label}; it is for {_USES[name]}"
        raise BadConstraint(msg)

    return rule


def _is_vector(kind: Kind) -> bool:
    item: Kind | None = getattr(kind, "item", None)
    return kind.family == "list" and item is not None and item.family == "number"


def _in_order(kept: Mapping[str, Any], low: str, high: str) -> None:
    if low not in kept or high not in kept:
        return

    try:
        crossed = kept[low] > kept[high]
    except TypeError as error:
        msg = f"{low!r} and {high!r} can't be compared ({error})"
        raise BadConstraint(msg) from None

    if crossed:
        msg = f"{low!r} is {kept[low]!r}, above {high!r}, which is {kept[high]!r}: no value would fit"
        raise BadConstraint(msg)


# --- reading ---------------------------------------------------------------------------------------------------------------------


def _read_bound(kind: Kind, name: str, value: Any) -> Any:
    try:
        bound = kind.bare.restore(value)
    except Misfit as misfit:
        msg = f"{name!r} must be {misfit.expected}, as the values are, not {shown(value)}"
        raise BadConstraint(msg) from None

    if isinstance(bound, float | decimal.Decimal) and math.isnan(bound):
        msg = f"{name!r} is NaN, which nothing can be compared with"
        raise BadConstraint(msg)

    return bound


def _read_length(kind: Kind, name: str, value: Any) -> int:
    if not plain_int(value) or value < 0:
        msg = f"{name!r} must be a length, an int from 0 up, not {shown(value)}"
        raise BadConstraint(msg)

    return int(value)


def _read_pattern(kind: Kind, name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_PATTERN:
        msg = f"{name!r} must be the text of a regular expression of at most {MAX_PATTERN} characters, not {shown(value)}"
        raise BadConstraint(msg)

    try:
        re.compile(value)
    except (re.error, RecursionError, OverflowError) as error:
        msg = f"{name!r} is no regular expression ({error}): {shown(value)}"
        raise BadConstraint(msg) from None

    return str.__str__(value)


def _read_choices(kind: Kind, name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__iter__"):
        msg = f"{name!r} must be the values to choose from, in a list, not {shown(value)}"
        raise BadConstraint(msg)

    chosen: list[Any] = []
    for item in value:
        try:
            chosen.append(kind.restore(item))
        except Misfit as misfit:
            msg = f"{name!r} has {shown(item)}, which is not {misfit.expected}"
            raise BadConstraint(msg) from None

    if not chosen:
        msg = f"{name!r} is empty: no value would fit"
        raise BadConstraint(msg)

    return tuple(chosen)


def _read_dimensions(kind: Kind, name: str, value: Any) -> tuple[int | None, ...]:
    sizes: tuple[Any, ...] = (value,)
    if isinstance(value, list | tuple):
        sizes = tuple(cast("Iterable[Any]", value))

    usable = all(size is None or (plain_int(size) and size >= 0) for size in sizes)
    if not sizes or not usable:
        msg = f"{name!r} must be a length, or a tuple of lengths (None: any), not {shown(value)}"
        raise BadConstraint(msg)

    if kind.bare.family == "list" and len(sizes) != 1:
        msg = f"{name!r} of {kind.label} is one length, not {shown(value)}"
        raise BadConstraint(msg)

    return sizes


# --- testing ---------------------------------------------------------------------------------------------------------------------


def _test_min(kind: Kind, low: Any) -> Test:
    return lambda value: bool(value >= low)


def _test_max(kind: Kind, high: Any) -> Test:
    return lambda value: bool(value <= high)


def _test_min_length(kind: Kind, low: int) -> Test:
    return lambda value: len(value) >= low


def _test_max_length(kind: Kind, high: int) -> Test:
    return lambda value: len(value) <= high


def _test_pattern(kind: Kind, text: str) -> Test:
    fullmatch = re.compile(text).fullmatch
    return lambda value: fullmatch(value) is not None


def _test_choices(kind: Kind, choices: tuple[Any, ...]) -> Test:
    return lambda value: value in choices


def _test_dimensions(kind: Kind, sizes: tuple[int | None, ...]) -> Test:
    shape = _shape_of(kind.bare)

    def fits(value: Any) -> bool:
        got = shape(value)
        return len(got) == len(sizes) and all(size is None or size == length for size, length in zip(sizes, got, strict=True))

    return fits


def _shape_of(kind: Kind) -> Callable[[Any], tuple[int, ...]]:
    if kind.family == "list":
        return lambda value: (len(value),)

    shape: Callable[[Any], tuple[int, ...]] | None = getattr(kind, "shape", None)
    return shape or (lambda value: tuple(value.shape))


_ORDERED: Final = frozenset({"number", "moment", "opaque"})
_SIZED: Final = frozenset({"text", "bytes", "list", "dict", "tuple", "set", "opaque"})
_CHOSEN: Final = frozenset({"number", "moment", "text", "bytes", "uuid", "enum", "literal", "opaque"})
_SHAPED: Final = frozenset({"array", "tensor", "opaque"})

_USES: Final = {
    "min": "numbers and moments",
    "max": "numbers and moments",
    "min_length": "str, bytes and containers",
    "max_length": "str, bytes and containers",
    "pattern": "str",
    "choices": "numbers, str, bytes, moments, UUIDs and enumerations",
    "dimensions": "arrays, tensors and lists of numbers",
}

RULES: Final[dict[str, Rule]] = {
    "min": Rule(_ORDERED, _read_bound, _test_min),
    "max": Rule(_ORDERED, _read_bound, _test_max),
    "min_length": Rule(_SIZED, _read_length, _test_min_length),
    "max_length": Rule(_SIZED, _read_length, _test_max_length),
    "pattern": Rule(frozenset({"text", "opaque"}), _read_pattern, _test_pattern),
    "choices": Rule(_CHOSEN, _read_choices, _test_choices),
    "dimensions": Rule(_SHAPED, _read_dimensions, _test_dimensions),
}
