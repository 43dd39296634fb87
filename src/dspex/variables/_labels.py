"""
Reading the label of a type, as stores and snapshots have it: ``dict[str, list[app.models:Color | None]]``.

The grammar is the one the kinds write:

    union   = term ("|" term)*
    term    = name | name "[" union ("," union)* "]" | class | "Literal" "[" literals "]"
    class   = module ":" qualname            never imported: it stays opaque
"""

from __future__ import annotations

import ast
import re
from typing import Any, Final

from dspex.variables import _types
from dspex.variables._arrays import ANY_ARRAY, array_of
from dspex.variables._choices import LiteralKind, union_of
from dspex.variables._containers import DictKind, ListKind, ManyKind, TupleKind
from dspex.variables._misfit import UnknownType
from dspex.variables._plain import ANY, KEY
from dspex.variables._scalars import NOTHING, SCALARS, Kind

MAX_LABEL: Final = 4096

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<class>[\w.]+:[\w.<>]+)
      | (?P<name>[A-Za-z_][\w.]*)
      | (?P<literal>b?'(?:[^'\\]|\\.)*'|b?"(?:[^"\\]|\\.)*"|-?\d+)
      | (?P<mark>\.\.\.|\(\)|[\[\],|])
    )""",
    re.VERBOSE,
)

_NAMES: Final[dict[str, Any]] = {
    **{kind.label: kind for kind in SCALARS.values()},
    "None": NOTHING,
    "Any": ANY,
    "numpy.ndarray": ANY_ARRAY,
    "list": ListKind(ANY),
    "dict": DictKind(KEY, ANY),
    "tuple": ManyKind(tuple, ANY),
    "set": ManyKind(set, ANY),
    "frozenset": ManyKind(frozenset, ANY),
}


def parse(text: str) -> Kind:
    """The kind of a label. Raises `UnknownType`."""
    if len(text) > MAX_LABEL:
        msg = f"a type's label of {len(text)} characters is no type"
        raise UnknownType(msg)

    reader = _Reader(text)
    kind = reader.union()
    reader.expect("")
    return kind


class _Reader:
    """A label, token by token."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._next = 0
        self._depth = 0

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._next]

    def _take(self) -> tuple[str, str]:
        token = self._peek()
        self._next += 1
        return token

    def _met(self, mark: str) -> bool:
        met = self._peek()[1] == mark and self._peek()[0] in {"mark", "end"}
        self._next += met
        return met

    def expect(self, mark: str) -> None:
        if not self._met(mark):
            raise self._bad()

    def _bad(self) -> UnknownType:
        return UnknownType(f"{self._text!r} is no type a variable can have")

    def union(self) -> Kind:
        self._depth += 1
        if self._depth > 32:
            raise self._bad()

        members = [self._term()]
        while self._met("|"):
            members.append(self._term())

        self._depth -= 1
        return members[0] if len(members) == 1 else union_of(members)

    def _term(self) -> Kind:
        group, text = self._take()
        if group == "class":
            return _types.opaque(text)

        if group != "name":
            raise self._bad()

        if not self._met("["):
            return self._plain(text)

        kind = self._applied(text)
        self.expect("]")
        return kind

    def _plain(self, name: str) -> Kind:
        kind = _NAMES.get(name) or _types.SEED_NAMES.get(name)
        if kind is None:
            raise self._bad()

        return kind

    def _applied(self, name: str) -> Kind:
        if name == "Literal":
            return self._literal()

        if name == "numpy.ndarray":
            return array_of(self._take()[1])

        if name == "tuple":
            return self._tuple()

        return self._container(name)

    def _container(self, name: str) -> Kind:
        if name == "dict":
            return self._dict()

        if name == "list":
            return ListKind(self.union())

        if name not in {"set", "frozenset"}:
            raise self._bad()

        return ManyKind(set if name == "set" else frozenset, self.union())

    def _dict(self) -> Kind:
        key = self.union()
        self.expect(",")
        return DictKind(KEY if key is ANY else key, self.union())

    def _tuple(self) -> Kind:
        if self._met("()"):
            return TupleKind(())

        items = [self.union()]
        while self._met(","):
            if self._met("..."):
                return ManyKind(tuple, items[0])

            items.append(self.union())

        return TupleKind(tuple(items))

    def _literal(self) -> Kind:
        texts = [self._take()]
        while self._met(","):
            texts.append(self._take())

        if any(group == "class" for group, _ in texts):
            return _types.opaque(f"Literal[{', '.join(text for _, text in texts)}]")

        return LiteralKind(tuple(self._value(*token) for token in texts))

    def _value(self, group: str, text: str) -> Any:
        if group == "literal" or text in {"True", "False", "None"}:
            return ast.literal_eval(text)

        raise self._bad()


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            msg = f"{text!r} is no type a variable can have"
            raise UnknownType(msg)

        found.append((match.lastgroup or "", match[match.lastgroup or 0]))
        position = match.end()

    return [*found, ("end", "")]
