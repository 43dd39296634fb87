"""
Inputs are copied before a program sees them, so that a program in this process shares no more with its caller than one in a worker.

What isn't data (a connection, a lock, an object of a class that is no record) is handed over as it is: only a program in this process
can take it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dspex._exceptions import InvalidInputs
from dspex.variables._copying import ATOMS, attributes, copy_record, is_record


def copied_inputs(program_id: str, inputs: Mapping[str, Any], signature: str) -> dict[str, Any]:
    """A copy of *inputs*, containers copied all the way down. Raises `InvalidInputs` for one that holds itself."""
    try:
        return {name: _copied(value) for name, value in inputs.items()}
    except RecursionError as error:
        raise InvalidInputs(program_id, problem="an input holds itself, or is nested too deep", signature=signature) from error


def _copied(value: Any) -> Any:
    kind = _class(value)
    if kind in ATOMS:
        return value

    if kind is dict:
        return {key: _copied(held) for key, held in value.items()}

    if kind in {list, tuple, set}:
        items: Any = value
        copy: Any = kind([_copied(held) for held in items])  # pyright: ignore[reportUnknownVariableType]
        return copy

    if kind is bytearray or _is_array(kind):
        return value.copy()

    return _copied_record(value) if is_record(kind) and not isinstance(value, type) else value


def _class(value: object) -> type:
    return type(value)


def _is_array(kind: type) -> bool:
    return kind.__module__ == "numpy" and kind.__qualname__ == "ndarray"


def _copied_record(value: Any) -> Any:
    return copy_record(value, {name: _copied for name, _ in attributes(value)})
