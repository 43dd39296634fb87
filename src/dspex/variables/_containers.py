"""Kinds of lists, dicts, tuples and sets. Each is copied in by checking it, and out by a copier compiled for its items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import is_
from types import MappingProxyType
from typing import Any, Final

from dspex.variables._copying import Copier
from dspex.variables._misfit import Misfit, UnknownType, class_of
from dspex.variables._scalars import Kind

_copy_list: Final[Copier] = list[Any].copy
_copy_dict: Final[Copier] = dict[Any, Any].copy
_copy_set: Final[Copier] = set[Any].copy


def merged_classes(kinds: Iterable[Kind]) -> Mapping[str, type]:
    """Every class that any of *kinds* reaches, by label."""
    return MappingProxyType({label: cls for kind in kinds for label, cls in kind.classes.items()})


def all_of_type(exact: type | None, items: Iterable[Any]) -> bool:
    """Whether every item is of exactly this type; at the speed of C."""
    return exact is not None and {exact}.issuperset(map(type, items))


def accept_each(kind: Kind, items: Iterable[Any]) -> list[Any]:
    """The stored form of every item. A `Misfit` says which one didn't fit."""
    made: list[Any] = []
    accepts = kind.accepts
    for item in items:
        try:
            made.append(accepts(item))
        except Misfit as misfit:
            raise misfit.at(f"[{len(made)}]") from None

    return made


def _unchanged(value: Any, container: type, made: Iterable[Any]) -> bool:
    """Whether *value*, which can't be changed itself, may be stored as it is: none of its items became another."""
    return class_of(value) is container and all(map(is_, made, value))


def _sum_of_sizes(kind: Kind, items: Iterable[Any], count: int) -> int:
    if kind.exact is not None and kind.exact not in {str, bytes}:
        return 9 * count + 5

    if kind.exact is not None:
        return sum(map(len, items)) + 5 * count + 5

    return sum(map(kind.size, items)) + 5


class ListKind(Kind):
    """``list[X]``; subclasses of list are stored as lists."""

    family = "list"
    container: type[Any] = list

    def __init__(self, item: Kind) -> None:
        super().__init__(f"list[{item.label}]", f"a list[{item.label}]")
        self.item = item
        self.opaque = item.opaque
        self.classes = item.classes

    @property
    def copy(self) -> Copier | None:
        """Compiled when asked for: the kind of a class that contains itself isn't complete before."""
        copy = self.item.copy
        return _copy_list if copy is None else lambda value: [copy(item) for item in value]

    def accepts(self, value: Any) -> list[Any]:
        if not isinstance(value, self.container):
            raise Misfit(self.expected, value)

        items: list[Any] = value
        return list(items) if all_of_type(self.item.exact, items) else accept_each(self.item, items)

    def size(self, value: Any) -> int:
        return _sum_of_sizes(self.item, value, len(value))


class DictKind(Kind):
    """``dict[K, V]`` with keys of str, int, bool or bytes; subclasses of dict are stored as dicts, in their order."""

    family = "dict"
    container: type[Any] = dict

    def __init__(self, key: Kind, item: Kind) -> None:
        if key.family not in _KEY_FAMILIES and key.exact is not int:
            msg = f"dict keys must be str, int, bool or bytes, not {key.label}"
            raise UnknownType(msg)

        super().__init__(f"dict[{key.label}, {item.label}]", f"a dict[{key.label}, {item.label}]")
        self.key = key
        self.item = item
        self.opaque = item.opaque
        self.classes = item.classes

    @property
    def copy(self) -> Copier | None:
        """Compiled when asked for, as a list's is."""
        copy = self.item.copy
        return _copy_dict if copy is None else lambda value: {key: copy(item) for key, item in value.items()}

    def accepts(self, value: Any) -> dict[Any, Any]:
        if not isinstance(value, self.container):
            raise Misfit(self.expected, value)

        items: dict[Any, Any] = value
        if all_of_type(self.key.exact, items) and all_of_type(self.item.exact, items.values()):
            return dict(items)

        return dict(map(self._accept_pair, items.items()))

    def _accept_pair(self, pair: tuple[Any, Any]) -> tuple[Any, Any]:
        key, item = pair
        try:
            key = self.key.accepts(key)
        except Misfit as misfit:
            raise misfit.at(".keys()") from None

        try:
            return key, self.item.accepts(item)
        except Misfit as misfit:
            raise misfit.at(f"[{key!r}]") from None

    def size(self, value: Any) -> int:
        return _sum_of_sizes(self.key, value, len(value)) + _sum_of_sizes(self.item, value.values(), len(value))


_KEY_FAMILIES: Final = frozenset({"text", "bool", "bytes", "key", "literal"})


class TupleKind(Kind):
    """``tuple[X, Y]``: so many items, each of its own kind."""

    family = "tuple"
    container: type[Any] = tuple

    def __init__(self, items: tuple[Kind, ...]) -> None:
        label = f"tuple[{', '.join(item.label for item in items) or '()'}]"
        super().__init__(label, f"a {label}")
        self.items = items
        self.opaque = any(item.opaque for item in items)
        self.classes = merged_classes(items)

    @property
    def copy(self) -> Copier | None:
        """Compiled when asked for; a tuple whose items can't change is shared."""
        copiers = [item.copy for item in self.items]
        if not any(copiers):
            return None

        return lambda value: tuple([held if copy is None else copy(held) for copy, held in zip(copiers, value, strict=True)])

    def accepts(self, value: Any) -> tuple[Any, ...]:
        if not issubclass(class_of(value), self.container) or len(value) != len(self.items):
            raise Misfit(self.expected, value)

        made = tuple([_accept_at(index, kind, value[index]) for index, kind in enumerate(self.items)])
        return made if not _unchanged(value, tuple, made) else value

    def size(self, value: Any) -> int:
        return sum(item.size(held) for item, held in zip(self.items, value, strict=True)) + 5


def _accept_at(index: int, kind: Kind, value: Any) -> Any:
    try:
        return kind.accepts(value)
    except Misfit as misfit:
        raise misfit.at(f"[{index}]") from None


class ManyKind(Kind):
    """``tuple[X, ...]``, ``set[X]`` and ``frozenset[X]``: any number of items of one kind."""

    def __init__(self, container: type, item: Kind) -> None:
        label = f"{container.__name__}[{item.label}{', ...' if container is tuple else ''}]"
        super().__init__(label, f"a {label}")
        self.container = container
        self.family = "tuple" if container is tuple else "set"
        self.item = item
        self.opaque = item.opaque
        self.classes = item.classes
        self._make: Callable[[list[Any]], Any] = container

    @property
    def copy(self) -> Copier | None:
        """Compiled when asked for; what can't change all the way down is shared."""
        copy, make = self.item.copy, self._make
        if copy is not None:
            return lambda value: make([copy(item) for item in value])

        return _copy_set if self.container is set else None

    def accepts(self, value: Any) -> Any:
        if not issubclass(class_of(value), self.container):
            raise Misfit(self.expected, value)

        made = accept_each(self.item, value)
        if self.container is not set and _unchanged(value, self.container, made):
            return value

        try:
            return self._make(made)
        except TypeError:
            raise Misfit(self.expected, value, problem="it holds something that can't be hashed") from None

    def size(self, value: Any) -> int:
        return _sum_of_sizes(self.item, value, len(value))
