"""
A worker's answer comes as data, records and enum members as tagged values. Where the program is known here, not by path alone, its return
annotation says what they are instances of, and they become that again: nothing is imported because a worker named it. So do the inputs that
a program in a worker gives one here.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from dspex.variables._misfit import Misfit
from dspex.variables._types import resolve
from dspex.wire.codec import Tagged

MAX_LOOK: Final = 10_000
"""Values looked at in search of a tagged one."""


def restorer(program: object) -> Callable[[Any], Any] | None:
    """What makes instances of an answer again, for a function with a return annotation; None for others."""
    function = program if inspect.isroutine(program) else _call_of(type(program))
    if not inspect.isroutine(function) or "return" not in getattr(function, "__annotations__", {}):
        return None

    def restore(answer: Any) -> Any:
        return _instances(function, "return", answer) if _holds_tagged(answer) else answer

    return restore


def restored_inputs(program: object, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """*inputs* that came as data, with instances made again where the parameters of *program* are annotated with their classes."""
    function = program if inspect.isroutine(program) else _call_of(type(program))
    if not inspect.isroutine(function) or not _holds_tagged([*inputs.values()]):
        return inputs

    return {name: _instances(function, name, value) for name, value in inputs.items()}


def _call_of(cls: type) -> object:
    return next((base.__dict__["__call__"] for base in cls.__mro__ if "__call__" in base.__dict__), None)


def _instances(function: Callable[..., Any], name: str, value: Any) -> Any:
    """*value*, as the annotation *name* of *function* has it."""
    try:
        return resolve(typing.get_type_hints(function)[name]).restore(value)
    except (KeyError, Misfit, NameError, TypeError, ValueError):  # none, one that names no type of ours, or one that the value isn't of
        return value


def _holds_tagged(answer: Any) -> bool:
    held: list[Any] = [answer]
    for _ in range(MAX_LOOK):
        if not held:
            return False

        value = held.pop()
        if isinstance(value, Tagged):
            return True

        held.extend(_inside(value))

    return False


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from value
