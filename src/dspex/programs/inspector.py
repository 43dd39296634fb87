"""
What must run outside this process, and why: the seed's `program_requires_python?`, with its reasons in words.

Each rule is a function from a program to the reasons it finds. A program is a callable, an import path, or a mapping as the seed has it
(``{"type": "dspy", "adapter": "PythonAdapter", "requires_python": True, "modules": [...]}``). dspy itself is never imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

from ._walk import Found, find_dspy
from .isolating import isolation_of

OUTSIDE_TYPES: Final = frozenset({"dspy", "python"})
"""The types, of a program or of one of its modules, that run outside this process."""

REQUIRES: Final = ("requires_bridge", "requires_python")

CALLABLE_KEY: Final = "program"
"""The key under which a mapping holds what is called: a function, an object or an import path."""


def reasons(program: object) -> tuple[str, ...]:
    """Why *program* needs the bridge, one sentence a rule; empty when it can run in this process."""
    if isinstance(program, str):
        return (f"it is given as an import path, {program!r}",)

    return tuple(reason for rule in _RULES for reason in rule(program))


def _marked_isolated(program: object) -> Iterator[str]:
    if isolation_of(program) is not None:
        yield "it is marked @isolated"


def _says_so(program: object) -> Iterator[str]:
    for key in REQUIRES:
        if _entry(program, key) is True:
            yield f"its {key} is true"


def _adapter(program: object) -> Iterator[str]:
    adapter = _entry(program, "adapter")
    name = adapter if isinstance(adapter, str) else getattr(adapter, "__name__", None) or type(adapter).__name__
    if "Python" in name:
        yield f"its adapter is {name!r}"


def _typed(program: object) -> Iterator[str]:
    if _is_outside(kind := _entry(program, "type")):
        yield f"its type is {kind!r}"


def _modules(program: object) -> Iterator[str]:
    modules = _entry(program, "modules")
    held = list(cast("Mapping[object, object]", modules).values()) if isinstance(modules, Mapping) else modules
    if not isinstance(held, (list, tuple)):
        return

    for index, module in enumerate(cast("list[object]", held)):
        if _is_outside(kind := _entry(module, "type")):
            yield f"its modules[{index}] has the type {kind!r}"

        name = _class_name(_entry(module, "class"))
        if "DSPy" in name:
            yield f"its modules[{index}] has the class {name!r}"


def _held_program(program: object) -> Iterator[str]:
    held = _entry(program, CALLABLE_KEY)
    if isinstance(held, str):
        yield f"its program is given as an import path, {held!r}"
    elif isolation_of(held) is not None:
        yield "its program is marked @isolated"


def _holds_dspy(program: object) -> Iterator[str]:
    found = find_dspy(program)
    if found is not None:
        yield _told(found)


def _told(found: Found) -> str:
    name = f"{found.cls.__module__}.{found.cls.__qualname__}"
    return f"it holds a DSPy module: it{_where(found.path)}, a {name}" if found.path else f"it is a DSPy module, a {name}"


def _where(path: str) -> str:
    return path if path.startswith((".", "[", " ")) else f" {path}"


def _entry(program: object, key: str) -> object:
    return cast("Mapping[object, object]", program).get(key) if isinstance(program, Mapping) else None


def _is_outside(kind: object) -> bool:
    return isinstance(kind, str) and kind.lower() in OUTSIDE_TYPES


def _class_name(cls: Any) -> str:
    return cls if isinstance(cls, str) else getattr(cls, "__qualname__", "")


_RULES: Final[tuple[Callable[[object], Iterator[str]], ...]] = (
    _marked_isolated,
    _says_so,
    _adapter,
    _typed,
    _modules,
    _held_program,
    _holds_dspy,
)
