"""
Inputs are copied before a program sees them, so that a program in this process shares no more with its caller than one in a worker.

What isn't data (a connection, a lock, an object of a class that is no record) is handed over as it is: only a program in this process
can take it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dspex._exceptions import InvalidInputs
from dspex.variables import copy_value
from dspex.wire.records import is_record

_COLLECTIONS: Final[frozenset[type[Any]]] = frozenset({list, tuple, set})


def copied_inputs(program_id: str, inputs: Mapping[str, Any], signature: str) -> dict[str, Any]:
    """A copy of *inputs*, containers copied all the way down. Raises `InvalidInputs` for one that holds itself."""
    try:
        return {name: _copied(value) for name, value in inputs.items()}
    except RecursionError as error:
        raise InvalidInputs(program_id, problem="an input holds itself, or is nested too deep", signature=signature) from error


def _copied(value: Any) -> Any:
    cls = _class(value)
    if cls is dict:
        return {key: _copied(held) for key, held in value.items()}

    if cls in _COLLECTIONS:
        return cls([_copied(held) for held in value])

    if cls is bytearray or (cls.__module__ == "numpy" and cls.__qualname__ == "ndarray"):
        return value.copy()

    return _copied_record(value) if is_record(cls) else value


def _class(value: object) -> type[Any]:
    return type(value)


def _copied_record(record: Any) -> Any:
    try:
        return copy_value(record)
    except RecursionError:
        raise
    except Exception:  # noqa: BLE001  # it holds something that can't be copied, and only that thing's own code knows why
        return record
