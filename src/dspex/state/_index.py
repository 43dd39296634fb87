"""Cells by name, by id and by `Var`, and their order: where the variables of a table are."""

# ruff: noqa: A001, A002 - an id is called id
from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Any

from dspex._exceptions import InvalidSnapshot, VariableNotFound
from dspex.abc import PAGE
from dspex.state._shards import Shards
from dspex.variables import Cell, Var, Variable

if TYPE_CHECKING:
    from dspex.abc import Key

MEMO = 16_384
SLICE = 0.002
"""Seconds of work after which those who go through a whole table let others run."""


class Index:
    """
    Cells, found by name, by id and by `Var`, and told in order of definition.

    Shards hold the truth, blocks of at most 256 ids the order.

    Attributes:
        cells: a bounded memo in front of them, which a context reads scalars from. What isn't in it may still exist.
        counter: the number in the id made last.

    """

    __slots__ = ("_aliases", "_blocks", "_ids", "_names", "_size", "cells", "counter")

    def __init__(self) -> None:
        self.cells: dict[Any, Cell] = {}
        self.counter: int = 0
        self._names: Shards[Cell] = Shards()
        self._ids: Shards[int] = Shards()
        self._blocks: dict[int, dict[str, Cell]] = {}
        self._aliases: dict[str, list[Any]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def find(self, key: Key, operation: str = "") -> Cell:
        """The cell of a name, an id or a `Var`, for an *operation*; `VariableNotFound`, or `DefinitionMismatch` for a `Var` unlike it."""
        try:
            cell = self.cells.get(key)
        except TypeError:
            cell = None

        return self._look(key, operation) if cell is None else cell

    def holds(self, key: object) -> bool:
        """Whether there is such a variable, whatever its definition."""
        if isinstance(key, str):
            return key in self._names or key in self._ids

        return isinstance(key, Var) and key.name in self._names

    def ordered(self) -> Iterator[list[Cell]]:
        """All cells in order of definition, a block at a time. Variables may come and go between two blocks."""
        for number in list(self._blocks):
            block = self._blocks.get(number)
            if block is not None:
                yield list(block.values())

    def pages(self) -> Iterator[list[Variable]]:
        """All variables as records, in pages that take a slice each at most."""
        for block in self.ordered():
            yield from _sliced(block)

    def ids(self) -> list[str]:
        """All ids, in order of definition."""
        return [cell.id for block in self.ordered() for cell in block]

    def _look(self, key: Key, operation: str) -> Cell:
        if isinstance(key, Var):
            cell = self._names.get(key.name)
            if cell is not None:
                cell.attach(key.definition)
        elif isinstance(key, str):
            cell = self._names.get(key) or self.by_id(key)
        else:
            cell = None

        if cell is None:
            name = str(getattr(key, "name", key if isinstance(key, str) else repr(key)))
            raise VariableNotFound(name, known=self._some_names(8), close=self._closest(name), operation=operation)

        self._remember(key, cell)
        return cell

    def by_id(self, key: str) -> Cell | None:
        """The cell whose id is *key*; a name finds nothing here."""
        number = self._ids.get(key)
        return None if number is None else self._blocks[number][key]

    def _some_names(self, many: int) -> list[str]:
        return [cell.name for cell in islice((cell for block in self._blocks.values() for cell in block.values()), many)]

    def _closest(self, name: str) -> str:
        """Which of the first names *name* may have been meant for. Bounded: a lenient `get` finds nothing many times a second."""
        first, last = name[:1], name[-1:]
        alike = (other for other in self._some_names(128) if abs(len(other) - len(name)) <= 2 and (other[0] == first or other[-1] == last))
        near = [*islice(alike, 8)]
        return next(iter(get_close_matches(name, near, 1, 0.75)), "") if near else ""

    def _remember(self, key: Key, cell: Cell) -> None:
        # The dict itself is lent to the context, so it is emptied in place.
        if len(self.cells) >= MEMO:
            self.cells.clear()
            self._aliases.clear()

        self.cells[key] = cell
        if key is not cell.name:
            self._aliases.setdefault(cell.id, []).append(key)

    # --- coming and going

    def next_id(self, name: str) -> str:
        """An id that nothing has or had. The counter rises with the plan, so that a plan given up burns it."""
        while True:
            self.counter += 1
            id = f"var_{name}_{self.counter}"
            if id not in self._names and id not in self._ids:
                return id

    def insert(self, cell: Cell) -> None:
        """Take *cell* in as it is, as the last one."""
        number = next(reversed(self._blocks), 0)
        block = self._blocks.get(number)
        if block is None or len(block) >= PAGE:
            number += 1
            block = self._blocks[number] = {}

        block[cell.id] = cell
        self._ids.put(cell.id, number)
        self._names.put(cell.name, cell)
        self._size += 1

    def remove(self, cell: Cell) -> None:
        """Take *cell* out; one that isn't in has no effect."""
        number = self._ids.pop(cell.id)
        if number is None:
            return

        self._names.pop(cell.name)
        self._size -= 1
        for key in (cell.name, *self._aliases.pop(cell.id, ())):
            self.cells.pop(key, None)

        del self._blocks[number][cell.id]
        if not self._blocks[number]:
            del self._blocks[number]

    def load(self, variables: Iterable[Variable]) -> Iterator[int]:
        """Take in records of another table as they are, in slices: each item is how many are in so far. `InvalidSnapshot`."""
        until = perf_counter() + SLICE
        for variable in variables:
            self.take(Cell.from_variable(variable))
            if self._size % 16 == 0 and perf_counter() >= until:
                yield self._size
                until = perf_counter() + SLICE

        yield self._size

    def take(self, cell: Cell) -> None:
        """`insert` a cell from elsewhere, whose names must not clash with what is here, and whose id is never given again."""
        for index in (self._names, self._ids):
            for key in (cell.name, cell.id):
                if key in index:
                    raise InvalidSnapshot(problem=f"{key!r} is the name or the id of two variables", path=f"variables.{cell.name}")

        self.insert(cell)
        self.counter = max(self.counter, _numbered(cell.id))


def _sliced(cells: list[Cell]) -> Iterator[list[Variable]]:
    until = perf_counter() + SLICE
    page: list[Variable] = []
    for cell in cells:
        page.append(cell.variable())
        if perf_counter() >= until:
            yield page
            page = []
            until = perf_counter() + SLICE

    if page:
        yield page


def _numbered(id: str) -> int:
    tail = id.rpartition("_")[2]
    return int(tail) if tail.isascii() and tail.isdigit() and len(tail) < 19 else 0
