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
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final, TypeAlias

from attrs import frozen

MAX_STEPS: Final = 2_048
"""Objects looked into, and objects kept to be looked into."""

MAX_ELEMENTS: Final = 65_536
"""Elements of containers looked at in passing, most of which are numbers and text and hold nothing."""

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

_Way: TypeAlias = Callable[[Any], Iterator[Step]]


@frozen
class Found:
    """A DSPy module: *path* says where in the object ("" for itself), *cls* is its class."""

    path: str
    cls: type


def find_dspy(root: object) -> Found | None:
    """The DSPy module that *root* is or holds, the nearest one; None when there is none within the bound."""
    walk = _Walk(_package(root))
    seen: dict[int, object] = {}  # holds what it has seen: an id is only unique while its object lives
    queue: deque[Step] = deque([("", root)])
    while queue and len(seen) < MAX_STEPS:
        path, thing = queue.popleft()
        if id(thing) in seen:
            continue

        seen[id(thing)] = thing
        if walk.is_dspy(thing):
            return Found(path, _class(thing))

        queue.extend((path + label, held) for label, held in islice(walk.held(thing), MAX_STEPS - len(queue)))

    return None


def dspy_class(thing: object) -> type | None:
    """The class of *thing* when it is a DSPy module, or a class of DSPy modules. Told by names alone: dspy is never imported for it."""
    cls = _class(thing)
    return cls if _is_dspy(cls) else None


def _is_dspy(cls: type) -> bool:
    return any(base.__qualname__ == "Module" and base.__module__.partition(".")[0] == "dspy" for base in _mro(cls))


def _class(thing: Any) -> type:
    return thing if isinstance(thing, type) else type(thing)


def _mro(cls: type) -> tuple[type, ...]:
    return type.__dict__["__mro__"].__get__(cls)  # type: ignore[no-any-return]  # a metaclass may override it


def _package(root: Any) -> str:
    function: Any = root
    if isinstance(function, functools.partial):
        function = function.func

    return str(getattr(function, "__module__", None) or type(root).__module__).partition(".")[0]


def _type(thing: object) -> type:
    return type(thing)


class _Walk:
    """How to look into a thing, worked out once a class."""

    def __init__(self, home: str) -> None:
        self._home = home
        self._looks = MAX_ELEMENTS
        self._dspy: dict[type, bool] = {}
        self._ways: dict[type, tuple[_Way, ...]] = {}

    def is_dspy(self, thing: object) -> bool:
        cls = _class(thing)
        known = self._dspy.get(cls)
        if known is None:
            known = self._dspy[cls] = _is_dspy(cls)

        return known

    def held(self, thing: Any) -> Iterator[Step]:
        """What *thing* holds that may hold more."""
        cls = _type(thing)
        ways = self._ways.get(cls)
        if ways is None:
            ways = self._ways[cls] = tuple(self._ways_into(cls))

        for way in ways:
            for step in way(thing):
                if type(step[1]) not in _ATOMS:
                    yield step

    def _ways_into(self, cls: Any) -> Iterator[_Way]:
        alone: dict[type, _Way] = {types.FunctionType: self._in_function, types.MethodType: _in_method, functools.partial: _in_partial}
        for kind, way in alone.items():
            if _is_a(cls, kind):
                yield way
                return

        if _is_a(cls, dict):
            yield self._in_dict

        yield from (functools.partial(self._in_sequence, kind) for kind in _SEQUENCES if _is_a(cls, kind))
        if _has_attributes(cls):
            yield _in_dunder_dict
            yield functools.partial(_in_slots, tuple(_slots(cls)))
            yield from self._call_of(cls)

    def _in_dict(self, mapping: Any) -> Iterator[Step]:
        for key, value in islice(_items(mapping), self._look(dict[Any, Any].__len__(mapping))):
            if type(value) not in _ATOMS:
                yield f"[{key!r}]" if type(key) in _NAMING else "[...]", value

    def _in_sequence(self, kind: Any, sequence: Any) -> Iterator[Step]:
        looked_at = islice(kind.__iter__(sequence), self._look(kind.__len__(sequence)))
        return ((f"[{index}]", held) for index, held in enumerate(looked_at) if type(held) not in _ATOMS)

    def _look(self, elements: int) -> int:
        """How many of so many elements may be looked at; they are taken off what is left."""
        granted = min(elements, self._looks)
        self._looks -= granted
        return granted

    def _call_of(self, cls: type) -> Iterator[_Way]:
        call = next((base.__dict__["__call__"] for base in _mro(cls) if "__call__" in base.__dict__), None)
        if isinstance(call, types.FunctionType) and _package(call) == self._home:
            yield lambda _thing: iter([(".__call__", call)])

    def _in_function(self, function: types.FunctionType) -> Iterator[Step]:
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
            yield from ((f" closes over {name}", held) for held in _content(cell))

        yield from ((f" has the default [{index}]", held) for index, held in enumerate(function.__defaults__ or ()))
        yield from ((f" has the default {name}", held) for name, held in (function.__kwdefaults__ or {}).items())
        yield from ((f".{name}", held) for name, held in function.__dict__.items())

        # What a function of another package names isn't part of this program: without this a walk would go through the standard library.
        if _package(function) == self._home:
            known = function.__globals__
            yield from ((f" uses the global {name}", known[name]) for name in _named(function.__code__) if name in known)


def _is_a(cls: type, kind: type) -> bool:  # narrows nothing, so that the types of what is held stay plain
    return issubclass(cls, kind)


def _has_attributes(cls: type) -> bool:
    """Whether instances are worth reading: classes aren't, nor the standard library's own (a logger knows all loggers)."""
    return not issubclass(cls, type) and (cls is types.SimpleNamespace or cls.__module__.partition(".")[0] not in sys.stdlib_module_names)


def _in_method(method: types.MethodType) -> Iterator[Step]:
    yield ".__self__", method.__self__
    yield "", method.__func__


def _in_partial(partial: functools.partial[Any]) -> Iterator[Step]:
    yield ".func", partial.func
    yield ".args", partial.args
    yield ".keywords", partial.keywords


def _items(mapping: Any) -> Iterable[tuple[Any, Any]]:
    return dict[Any, Any].items(mapping)  # not what a subclass makes of it


def _in_dunder_dict(thing: object) -> Iterator[Step]:
    try:
        attributes = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return

    if isinstance(attributes, dict):
        yield from ((f".{name}", held) for name, held in _items(attributes))


def _in_slots(members: tuple[tuple[str, types.MemberDescriptorType], ...], thing: object) -> Iterator[Step]:
    for name, member in members:
        try:
            yield f".{name}", member.__get__(thing)
        except (AttributeError, TypeError):  # a slot without a value
            continue


def _slots(cls: type) -> Iterator[tuple[str, types.MemberDescriptorType]]:
    for base in _mro(cls):
        yield from ((name, member) for name, member in base.__dict__.items() if isinstance(member, types.MemberDescriptorType))


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
