"""
What a worker may ask of the context its call belongs to, and with which arguments.

Sessions are never named: the host takes the context from its own record of the call. All but the `ERRANDS` are operations of the state.
"""

from __future__ import annotations

from ._refusals import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Types = tuple[type, ...]

_ANY = object
_NONE = type(None)
_KEY: Types = (str,)

# name -> (argument, the types accepted); an argument that takes None may be left out at the end.
_SIGNATURES: dict[str, tuple[tuple[str, Types], ...]] = {
    "get": (("key", _KEY),),
    "read": (("key", _KEY),),
    "info": (("key", _KEY),),
    "exists": (("key", _KEY),),
    "delete": (("key", _KEY),),
    "ids": (),
    "list": (),
    "get_many": (("keys", (list,)),),
    "set": (("key", _KEY), ("value", (_ANY,)), ("metadata", (dict, _NONE)), ("expected_version", (int, _NONE))),
    "set_many": (("updates", (dict,)), ("metadata", (dict, _NONE)), ("atomic", (bool, _NONE))),
    "add": (("key", _KEY), ("n", (int, float))),
    "append": (("key", _KEY), ("item", (_ANY,))),
    "merge": (("key", _KEY), ("mapping", (dict,))),
    "define": (("definition", (dict,)), ("value", (_ANY,))),
    "call": (("program", (str,)), ("inputs", (dict, _NONE)), ("timeout", (float, int, _NONE)), ("parent", (str, _NONE))),
    "cancel": (("operation", (int,)),),
}

OPERATIONS: dict[str, tuple[str, ...]] = {name: tuple(argument for argument, _ in taken) for name, taken in _SIGNATURES.items()}
ERRANDS = frozenset(("call", "cancel"))
"""
To call another program of the context, *parent* being the traceparent of the span that calls it, if that is traced; and to give up such a
call, by the number of the operation that it was asked with.
"""

_PLAIN = frozenset((str, int, float, bool, bytes, list, dict, _NONE))
_FOUND_GOOD: set[tuple[Any, ...]] = set()  # the name and the types of operations that passed; few, since the table bounds them
_CHECKS = {name: (tuple(types for _, types in taken), sum(_NONE not in types for _, types in taken)) for name, taken in _SIGNATURES.items()}


def complete(name: str, args: list[Any]) -> list[Any]:
    """*args* of the operation *name*, with None for what was left out."""
    return args + [None] * (len(OPERATIONS[name]) - len(args))


def check(ops: list[list[Any]]) -> None:
    """Raises `Malformed` unless every item of *ops* is ``[op_id, name, *arguments]`` as the table has it."""
    for op in ops:
        if type(op) is not list or len(op) < 2 or type(op[0]) is not int or type(op[1]) is not str:
            raise Malformed(f"Expected an operation as [id, name, *arguments], got {op!r:.100}.")

        shape = (op[1], *map(type, op))
        if shape in _FOUND_GOOD:
            continue

        known = _CHECKS.get(op[1])
        if known is None:
            raise Malformed(f"There is no operation {op[1]!r:.100} for a program. There are: {', '.join(OPERATIONS)}.")

        _check_arguments(op, *known)
        if _PLAIN.issuperset(shape[1:]):
            _FOUND_GOOD.add(shape)


def _check_arguments(op: list[Any], expected: tuple[Types, ...], required: int) -> None:
    given = len(op) - 2
    if not required <= given <= len(expected):
        raise Malformed(
            f"The operation {op[1]} takes {required} to {len(expected)} arguments ({', '.join(OPERATIONS[op[1]])}), got {given}."
        )

    for index in range(given):
        types = expected[index]
        if type(op[index + 2]) not in types and _ANY not in types:
            argument = OPERATIONS[op[1]][index]
            raise Malformed(f"The operation {op[1]}: expected {argument} as {_words(types)}, got {type(op[index + 2]).__name__}.")


def _words(types: Types) -> str:
    return " or ".join("None" if known is _NONE else known.__name__ for known in types)
