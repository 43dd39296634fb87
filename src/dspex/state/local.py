"""The backend inside the process: plain objects in a table, which never leave it and end with it."""

# ruff: noqa: D102 - an id is called id; what a method does is told once, in the contract
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from time import time_ns
from typing import TYPE_CHECKING, Any

from dspex.abc import Capabilities
from dspex.state._serving import ServedTable, T
from dspex.state._table import Plan, Table

if TYPE_CHECKING:
    from dspex.abc import Key
    from dspex.variables import Cell, Variable


class LocalState(ServedTable):
    """Variables as plain objects in this process. An operation is one or two function calls."""

    __slots__ = ()
    capabilities: Capabilities = Capabilities(atomic_updates=True)
    cells: dict[Any, Cell]
    table: Table

    def open(self, session_id: str, *, ttl: float | None = None, existing: Sequence[Variable] | None = None) -> None:
        for _ in self.table.load(existing or ()):
            pass

    def open_in_slices(self, session_id: str, *, ttl: float | None = None, existing: Sequence[Variable] | None = None) -> Iterator[int]:
        return self.table.load(existing or ())

    def close(self, *, drop: bool = False) -> None:
        # The table may have been adopted by a bridged backend: it is let go, not emptied.
        self.table = Table()
        self.cells = self.table.cells

    def set(self, key: Key, value: Any, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None) -> int:
        cell = self.cells.get(key)
        if cell is None or metadata is not None or expected_version is not None:
            return self._done(self.table.plan_set(key, value, metadata, expected_version))

        if type(value) is not cell.exact or not (cell.low is None or cell.low <= value <= cell.high):
            value = cell.definition.check(value)

        cell.value = value
        cell.version = version = cell.version + 1
        cell.updated_ns = time_ns()
        return version

    def _done(self, plan: Plan[T]) -> T:
        self.table.commit(plan.writes)
        if plan.error is not None:
            raise plan.error

        return plan.answer
