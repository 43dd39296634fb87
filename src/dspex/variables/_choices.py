"""Kinds that choose: unions, ``X | None`` and ``Literal``; and the kind of a label whose class isn't known here."""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import Any, Final

from dspex.variables._containers import merged_classes
from dspex.variables._copying import Copier, copy_value
from dspex.variables._misfit import Misfit, UnknownType
from dspex.variables._plain import size_of
from dspex.variables._sameness import same
from dspex.variables._scalars import NOTHING, SCALARS, Kind, unwrapped
from dspex.wire.records import label as class_label


class OptionalKind(Kind):
    """``X | None``."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(f"{kind.label} | None", f"{kind.expected} or None")
        self._bare = kind
        self.family = kind.family
        self.opaque = kind.opaque
        self.classes = kind.classes

    @property
    def copy(self) -> Copier | None:
        copy = self._bare.copy
        return None if copy is None else lambda value: None if value is None else copy(value)

    @property
    def bare(self) -> Kind:
        return self._bare

    def accepts(self, value: Any) -> Any:
        if value is None:
            return None

        try:
            return self._bare.accepts(value)
        except Misfit as misfit:
            if not misfit.path:
                misfit.expected = self.expected

            raise

    def size(self, value: Any) -> int:
        return 1 if value is None else self._bare.size(value)


class UnionKind(Kind):
    """
    ``X | Y``: the member that takes a value without changing it, else the first that takes it at all.

    So 1 stays an int in ``float | int``, and becomes 1.0 in ``float | str``.
    """

    family = "union"

    def __init__(self, members: tuple[Kind, ...]) -> None:
        super().__init__(" | ".join(kind.label for kind in members), " or ".join(kind.expected for kind in members))
        self.members = members
        self.opaque = any(kind.opaque for kind in members)
        self.classes = merged_classes(members)

    @property
    def copy(self) -> Copier | None:
        return copy_value if any(kind.copy for kind in self.members) else None

    def accepts(self, value: Any) -> Any:
        found: list[Any] = []
        for kind in self.members:
            if type(value) is kind.exact:
                return value

            try:
                found.append(kind.accepts(value))
            except Misfit:
                continue

            if same(found[-1], value):
                return found[-1]

        if not found:
            raise Misfit(self.expected, value)

        return found[0]

    def size(self, value: Any) -> int:
        return size_of(value)


class LiteralKind(Kind):
    """``Literal[...]``: one of the values listed, of the type listed."""

    family = "literal"

    def __init__(self, values: tuple[Any, ...]) -> None:
        texts = ", ".join(_literal_text(value) for value in values)
        super().__init__(f"Literal[{texts}]", f"one of {texts}")
        self._values: dict[tuple[type, Any], Any] = {(type(value), value): value for value in values}
        self.classes = MappingProxyType({class_label(type(v)): type(v) for v in values if isinstance(v, enum.Enum)})

    def accepts(self, value: Any) -> Any:
        value_of_type = unwrapped(value)
        for base in (str, bytes, int):
            if isinstance(value_of_type, base) and not isinstance(value_of_type, enum.Enum | bool):
                value_of_type = SCALARS[base].accepts(value_of_type)

        try:
            return self._values[type(value_of_type), value_of_type]
        except (KeyError, TypeError):
            raise Misfit(self.expected, value) from None


_LITERALS: Final = frozenset({str, int, bool, bytes, type(None)})


def _literal_text(value: Any) -> str:
    if isinstance(value, enum.Enum):
        return f"{class_label(type(value))}.{value.name}"

    if type(value) not in _LITERALS:
        msg = f"Literal[{value!r}] is no literal that can be stored"
        raise UnknownType(msg)

    return repr(value)


class OpaqueKind(Kind):
    """The label of a class that this process hasn't met. Values are kept as the codec decoded them, until a `Var` brings the class."""

    family = "opaque"
    opaque = True

    def __init__(self, label: str) -> None:
        super().__init__(label, f"an instance of {label}, whose class isn't known here")

    @property
    def copy(self) -> Copier | None:
        return copy_value

    def accepts(self, value: Any) -> Any:
        raise Misfit(self.expected, value)


def union_of(members: list[Kind]) -> Kind:
    """The kind of a union: flattened, without repetition, ``None`` last and apart."""
    flat: dict[str, Kind] = {}
    for member in members:
        for kind in member.members if isinstance(member, UnionKind) else (member,):
            flat[kind.bare.label] = kind.bare
            if kind is not kind.bare:
                flat[NOTHING.label] = NOTHING

    optional = flat.pop(NOTHING.label, None) is not None
    kinds = tuple(flat.values())
    if not kinds:
        return NOTHING

    inner = kinds[0] if len(kinds) == 1 else UnionKind(kinds)
    return OptionalKind(inner) if optional and inner is not NOTHING else inner
