"""
The sequential variable store: what one client alone would see. The checker's step function and every oracle's source of truth.

The state is a tuple of cells, one a key, in a fixed order: hashable, so that the search can remember where it has been.
A cell is ``(version, value)``, or None for a variable that doesn't exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .recorder import MISSING, Conflict, Op, Outcome

Cell = tuple[int, Any] | None
State = tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """
    The keys, and how each operation changes their cells.

    Operations and their arguments: ``get(key)`` → value; ``info(key)`` → (version, value); ``set(key, value[, expected])`` → version or
    `Conflict`; ``add(key, n)`` and ``update(key, n)`` → the new value; ``set_many({key: value})`` → {key: version}; ``get_many(keys)`` → {key: value};
    ``snapshot()`` and ``list()`` → {key: (version, value)}; ``define(key, value)``; ``delete(key)``.
    """

    keys: tuple[str, ...]

    def step(self, state: State, op: Op) -> tuple[State, Any]:
        """The state after *op*, and the result it must have had."""
        return _STEPS[op.name](self, state, op.args)

    def cell(self, state: State, key: str) -> Cell:
        """The cell of *key*."""
        return state[self.keys.index(key)]

    def put(self, state: State, key: str, cell: Cell) -> State:
        """The state with another cell for *key*."""
        at = self.keys.index(key)
        return (*state[:at], cell, *state[at + 1 :])

    def initial(self, values: Mapping[str, Any]) -> State:
        """Every key that is in *values* at version 0."""
        return tuple((0, values[key]) if key in values else None for key in self.keys)


Answer = tuple[State, Any]


def _get(model: Model, state: State, args: tuple[Any, ...]) -> Answer:
    cell = model.cell(state, args[0])
    return state, MISSING if cell is None else cell[1]


def _info(model: Model, state: State, args: tuple[Any, ...]) -> Answer:
    cell = model.cell(state, args[0])
    return state, MISSING if cell is None else cell


def _write(model: Model, state: State, key: str, value: Any) -> tuple[State, int]:
    cell = model.cell(state, key)
    assert cell is not None
    return model.put(state, key, (cell[0] + 1, value)), cell[0] + 1


def _set(model: Model, state: State, args: tuple[Any, ...]) -> Answer:
    key, value, expected = (*args, None)[:3]
    cell = model.cell(state, key)
    if cell is None:
        return state, MISSING

    if expected is not None and expected != cell[0]:
        return state, Conflict(cell[0])

    return _write(model, state, key, value)


def _add(model: Model, state: State, args: tuple[Any, ...]) -> Answer:
    key, n = args
    cell = model.cell(state, key)
    if cell is None:
        return state, MISSING

    return _write(model, state, key, cell[1] + n)[0], cell[1] + n


def _set_many(model: Model, state: State, args: tuple[Any, ...]) -> Answer:
    if any(model.cell(state, key) is None for key in args[0]):
        return state, MISSING

    versions = {}
    for key, value in args[0].items():
        state, versions[key] = _write(model, state, key, value)

    return state, versions


def _get_many(model: Model, state: State, args: tuple[Any, ...]) -> Answer:
    cells = {key: model.cell(state, key) for key in args[0]}
    return state, {key: cell[1] for key, cell in cells.items() if cell is not None}


def _snapshot(model: Model, state: State, _: tuple[Any, ...]) -> Answer:
    return state, {key: cell for key, cell in zip(model.keys, state, strict=True) if cell is not None}


def _define(model: Model, state: State, args: tuple[Any, ...]) -> Answer:
    key, value = args
    if model.cell(state, key) is not None:
        return state, MISSING

    return model.put(state, key, (0, value)), None


def _delete(model: Model, state: State, args: tuple[Any, ...]) -> Answer:
    if model.cell(state, args[0]) is None:
        return state, MISSING

    return model.put(state, args[0], None), None


_STEPS: dict[str, Callable[[Model, State, tuple[Any, ...]], Answer]] = {
    "get": _get,
    "info": _info,
    "set": _set,
    "add": _add,
    "update": _add,
    "set_many": _set_many,
    "get_many": _get_many,
    "snapshot": _snapshot,
    "list": _snapshot,
    "define": _define,
    "delete": _delete,
}


def project(ops: Iterable[Op], key: str) -> list[Op]:
    """What *ops* did to one key alone: operations on many keys become single ones. Atomicity across keys is lost on purpose: L1, not L2."""
    return [single for op in ops if (single := _projected(op, key)) is not None]


def _projected(op: Op, key: str) -> Op | None:
    if op.name in ("snapshot", "list"):
        return _narrowed(op, "info", (key,), key)

    if op.name == "get_many":
        return _narrowed(op, "get", (key,), key) if key in op.args[0] else None

    if op.name == "set_many":
        return _narrowed(op, "set", (key, op.args[0][key]), key) if key in op.args[0] else None

    return op if op.args and op.args[0] == key else None


def _narrowed(op: Op, name: str, args: tuple[Any, ...], key: str) -> Op:
    seen = op.outcome is Outcome.OK and isinstance(op.result, dict)
    return replace(op, name=name, args=args, result=op.result.get(key, MISSING) if seen else op.result)
