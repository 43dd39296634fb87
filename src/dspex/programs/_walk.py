"""
A walk over what an object holds, looking for a DSPy module.

It runs no code of the object: it reads instance dicts, slots, the contents of built-in containers, closures, defaults, and the globals
that a function's code names; no property, no `__getattr__`, no `__iter__` of a subclass. It goes breadth first, so that what is near is
found first, and it is bounded, so that a large object holds the loop for a few milliseconds at most.
"""

from __future__ import annotations

import functools
import sys
import types
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, TypeAlias

from attrs import frozen

MAX_STEPS: Final = 4_096
"""Objects looked at, and objects kept to be looked at. A few milliseconds."""

_ATOMS: Final = frozenset(
    {
        int,
        float,
        str,
        bytes,
        bytearray,
        bool,
        complex,
        type(None),
        type(Ellipsis),
        range,
        types.ModuleType,
        types.CodeType,
        types.BuiltinFunctionType,
    }
)

_NAMING: Final = frozenset({str, int})
_SEQUENCES: Final = (list, tuple, set, frozenset, deque)

Step: TypeAlias = tuple[str, Any]
"""How something was reached from what holds it, in words (``.qa``, ``[0]``), and the thing."""


@frozen
class Found:
    """A DSPy module: *path* says where in the object ("" for itself), *cls* is its class."""

    path: str
    cls: type


def find_dspy(root: object) -> Found | None:
    """The DSPy module that *root* is or holds, the nearest one; None when there is none within the bound."""
    home = _package(root)
    seen: dict[int, object] = {}  # holds what it has seen: an id is only unique while its object lives
    queue: deque[Step] = deque([("", root)])
    for _ in range(MAX_STEPS):
        if not queue:
            break

        path, thing = queue.popleft()
        if (cls := dspy_class(thing)) is not None:
            return Found(path, cls)

        if type(thing) not in _ATOMS and id(thing) not in seen:
            seen[id(thing)] = thing
            queue.extend((path + label, held) for label, held in islice(_held(thing, home), MAX_STEPS - len(queue)))

    return None


def dspy_class(thing: object) -> type | None:
    """The class of *thing* when it is a DSPy module, or a class of DSPy modules. Told by names alone: dspy is never imported for it."""
    cls = _class(thing)
    return cls if any(base.__module__.partition(".")[0] == "dspy" and base.__qualname__ == "Module" for base in _mro(cls)) else None


def _class(thing: Any) -> type:
    return thing if isinstance(thing, type) else type(thing)


def _mro(cls: type) -> tuple[type, ...]:
    return type.__dict__["__mro__"].__get__(cls)  # type: ignore[no-any-return]  # a metaclass may override it


def _package(root: Any) -> str:
    function: Any = root
    if isinstance(function, functools.partial):
        function = function.func

    return str(getattr(function, "__module__", None) or type(root).__module__).partition(".")[0]


def _held(thing: Any, home: str) -> Iterator[Step]:
    if isinstance(thing, types.FunctionType):
        yield from _of_function(thing, home)
    elif isinstance(thing, types.MethodType):
        yield from ((".__self__", thing.__self__), ("", thing.__func__))
    elif isinstance(thing, functools.partial):
        yield from ((".func", thing.func), (".args", thing.args), (".keywords", thing.keywords))
    else:
        yield from _elements(thing)
        if _has_attributes(thing):
            yield from _of_instance(thing, home)


def _has_attributes(thing: object) -> bool:
    """Whether an instance is worth reading: not classes, and not the standard library's own (a logger knows all loggers)."""
    cls = type(thing)
    return not issubclass(cls, type) and (cls is types.SimpleNamespace or cls.__module__.partition(".")[0] not in sys.stdlib_module_names)


def _elements(thing: Any) -> Iterator[Step]:
    if isinstance(thing, dict):
        for key, value in _items(thing):
            if type(value) not in _ATOMS:
                yield f"[{key!r}]" if type(key) in _NAMING else "[...]", value

    kind: Any
    for kind in _SEQUENCES:
        if isinstance(thing, kind):
            yield from ((f"[{index}]", held) for index, held in enumerate(kind.__iter__(thing)) if type(held) not in _ATOMS)


def _items(mapping: Any) -> Iterable[tuple[Any, Any]]:
    return dict[Any, Any].items(mapping)  # not what a subclass makes of it


def _of_function(function: types.FunctionType, home: str) -> Iterator[Step]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        yield from ((f" closes over {name}", held) for held in _content(cell))

    yield from ((f" has the default [{index}]", held) for index, held in enumerate(function.__defaults__ or ()))
    yield from ((f" has the default {name}", held) for name, held in (function.__kwdefaults__ or {}).items())
    yield from ((f".{name}", held) for name, held in function.__dict__.items())

    # What a function of another package names isn't part of this program: without this a walk would go through the standard library.
    if _package(function) == home:
        known = function.__globals__
        yield from ((f" uses the global {name}", known[name]) for name in _named(function.__code__) if name in known)


def _content(cell: types.CellType) -> Iterator[Any]:
    try:
        yield cell.cell_contents
    except ValueError:  # still empty: a function that names itself before it is bound
        return


def _named(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _named(constant)


def _of_instance(thing: object, home: str) -> Iterator[Step]:
    try:
        attributes = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        attributes = {}

    if isinstance(attributes, dict):
        yield from ((f".{name}", held) for name, held in _items(attributes))

    for cls in _mro(type(thing)):
        yield from _of_slots(cls, thing)

    call = next((cls.__dict__["__call__"] for cls in _mro(type(thing)) if "__call__" in cls.__dict__), None)
    if isinstance(call, types.FunctionType) and _package(call) == home:
        yield ".__call__", call


def _of_slots(cls: type, thing: object) -> Iterator[Step]:
    for name, member in cls.__dict__.items():
        if isinstance(member, types.MemberDescriptorType):
            try:
                yield f".{name}", member.__get__(thing)
            except (AttributeError, TypeError):  # a slot without a value
                continue
