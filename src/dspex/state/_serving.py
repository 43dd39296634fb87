"""The operations of a table as plain methods, for the backends that need no await."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from dspex.abc import SyncStateBackend, appended, merged
from dspex.state._table import Plan, Table

if TYPE_CHECKING:
    from dspex.abc import Key
    from dspex.variables import Cell, Definition, Variable


T = TypeVar("T")


class ServedTable(SyncStateBackend):
    """
    A table behind the contract. What is left open is `_done`: to write a plan, and what that takes.

    Attributes:
        table: the variables.
        cells: the memo of the table, from which a context reads scalars.

    """

    __slots__ = ("cells", "table")

    def __init__(self, table: Table | None = None) -> None:
        self.table: Table = Table() if table is None else table
        self.cells: dict[Any, Cell] = self.table.cells

    def _done(self, plan: Plan[T]) -> T:
        raise NotImplementedError

    def get(self, key: Key) -> Any:
        cell = self.cells.get(key) or self.table.find(key, "get")
        return cell.value if cell.copy is None else cell.copy(cell.value)

    def read(self, key: Key) -> tuple[Any, int]:
        return self.table.read(key)

    def get_many(self, keys: Iterable[Key]) -> dict[str, Any]:
        return self.table.get_many(keys)

    def exists(self, key: Key) -> bool:
        return self.table.holds(key)

    def info(self, key: Key) -> Variable:
        return self.table.find(key).variable()

    def scan(self) -> Iterator[list[Variable]]:
        return self.table.pages()

    def ids(self) -> list[str]:
        return self.table.ids()

    def define(self, definition: Definition, value: Any) -> str:
        return self._done(self.table.plan_define(definition, value))

    def set(self, key: Key, value: Any, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None) -> int:
        return self._done(self.table.plan_set(key, value, metadata, expected_version))

    def set_many(self, updates: Mapping[Any, Any], metadata: Mapping[str, Any] | None = None, atomic: bool = True) -> dict[str, int]:
        return self._done(self.table.plan_set_many(updates, metadata, atomic))

    def delete(self, key: Key) -> None:
        self._done(self.table.plan_delete(key))

    def update(self, key: Key, function: Callable[[Any], Any], metadata: Mapping[str, Any] | None = None) -> Any:
        return self._done(self.table.plan_update(key, function, metadata))

    def add(self, key: Key, n: Any) -> Any:
        return self._done(self.table.plan_add(key, n))

    def append(self, key: Key, item: Any) -> int:
        return self._done(self.table.plan_change(key, appended, item))

    def merge(self, key: Key, mapping: Mapping[Any, Any]) -> int:
        return self._done(self.table.plan_change(key, merged, mapping))
