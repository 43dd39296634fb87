"""What doesn't fit, and how a value is shown in a sentence."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from typing import Any, Final

from dspex.wire.records import Tagged

MASK: Final = "********"

# `type` with one argument, for type checkers: to them the type of Any is half unknown.
class_of: Final[Callable[[Any], type[Any]]] = type

_shortener = reprlib.Repr()
_shortener.maxstring = _shortener.maxother = _shortener.maxlong = 80


class Misfit(Exception):  # never leaves this package: a definition turns it into InvalidValue
    """
    A value that a kind doesn't take. It carries the value itself, so that a sensitive variable can keep it out of the sentence.

    Attributes:
        expected: what would have fitted, in words.
        value: what came.
        path: where in the value, such as ``[3].name``.
        problem: what is wrong with it, where its text alone doesn't say.

    """

    def __init__(self, expected: str, value: Any, *, problem: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.value = value
        self.problem = problem
        self.path: str = ""

    def at(self, step: str) -> Misfit:
        """The same, one *step* further out."""
        self.path = f"{step}{self.path}"
        return self

    def got(self, *, masked: bool = False) -> str:
        """What came, in words."""
        told = f"{MASK} ({type_name(self.value)})" if masked else shown(self.value)
        return f"{told}: {self.problem}" if self.problem and not masked else told


class UnknownType(TypeError):  # internal, like Misfit
    """A type, or the text of one, that no kind stands for."""


def type_name(value: Any) -> str:
    """The name of a value's type, as a reader knows it."""
    if type(value) is Tagged:
        return value.label

    cls: type[object] = value.__class__
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def shown(value: Any) -> str:
    """A value and its type, short enough for a sentence."""
    if value is None:
        return "None"

    try:
        text = _shortener.repr(value)
    except Exception:  # noqa: BLE001 - a foreign __repr__ may raise anything, and the sentence must come out all the same
        text = "something whose repr() fails"

    return f"{text} ({type_name(value)})"
