"""
The table of variables, and what every operation on it means.

An operation has two halves. *Planning* finds the cells, validates, copies in and says what will be written; it may refuse and has changed
nothing. *Committing* writes the cells and can't fail. A backend that persists does so between the two.

Two indexes hold the truth in shards, blocks of at most 256 ids hold the order. `Table.cells` is a bounded memo in front of them, which the
context reads scalars from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from dspex._exceptions import (
    BatchError,
    DspexError,
    InvalidSnapshot,
    InvalidValue,
    VariableExists,
    VariableNotFound,
    VersionConflict,
)
from dspex.abc import PAGE, combined, named, summed
from dspex.state._shards import Shards
from dspex.variables import Cell, Definition, Misfit, Var, Variable, now_ns, plain_metadata

if TYPE_CHECKING:
    from dspex.abc import Key

MEMO = 16_384
SLICE = 0.002


class Write(NamedTuple):
    """
    One cell's change to come.

    Attributes:
        value: in stored form.
        metadata: what the cell shall have, of its own.
        now: when, in nanoseconds since the epoch.
        data: the encoded form, from the table's encoder; empty without one.

    """

    act: Literal["define", "set", "delete"]
    cell: Cell
    value: Any
    metadata: dict[str, Any] | None
    now: int
    data: bytes = b""


class Plan(NamedTuple):
    """What an operation will write, what it answers then, and what it raises after writing."""

    writes: list[Write]
    answer: Any
    error: BatchError | None = None


Encoder = Callable[[Cell, Any, "dict[str, Any] | None", int], bytes]


class Table:
    """
    Cells by name, by id and by `Var`, in order of definition.

    Attributes:
        cells: the memo.
        counter: the number in the id made last.
        encoder: makes the encoded form of what is planned, or refuses it with `InvalidValue`; None while nothing is encoded.

    """

    __slots__ = ("_aliases", "_blocks", "_ids", "_names", "_size", "cells", "counter", "encoder")

    def __init__(self) -> None:
        self.encoder: Encoder | None = None
        self.cells: dict[Any, Cell] = {}
        self.counter = 0
        self._names: Shards[Cell] = Shards()
        self._ids: Shards[int] = Shards()
        self._blocks: dict[int, dict[str, Cell]] = {}
        self._aliases: dict[str, list[Any]] = {}
        self._size = 0

    # --- finding

    def __len__(self) -> int:
        return self._size

    def find(self, key: Key) -> Cell:
        """The cell of a name, an id or a `Var`; `VariableNotFound`, or `DefinitionMismatch` for a `Var` unlike it."""
        try:
            cell = self.cells.get(key)
        except TypeError:
            cell = None

        return self._look(key) if cell is None else cell

    def holds(self, key: Key) -> bool:
        """Whether there is such a variable, whatever its definition."""
        if isinstance(key, str):
            return key in self._names or key in self._ids

        return isinstance(key, Var) and key.name in self._names  # pyright: ignore[reportUnnecessaryIsInstance]

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
        return [cell.id for block in self.ordered() for cell in block]

    def _look(self, key: Key) -> Cell:
        if isinstance(key, Var):
            cell = self._names.get(key.name)
            if cell is not None:
                cell.attach(key.definition)
        elif isinstance(key, str):
            cell = self._names.get(key) or self._by_id(key)
        else:
            cell = None

        if cell is None:
            raise VariableNotFound(getattr(key, "name", key if isinstance(key, str) else repr(key)), known=self._some_names())

        self._remember(key, cell)
        return cell

    def _by_id(self, key: str) -> Cell | None:
        number = self._ids.get(key)
        return None if number is None else self._blocks[number][key]

    def _some_names(self) -> list[str]:
        return [cell.name for cell in islice((cell for block in self._blocks.values() for cell in block.values()), 8)]

    def _remember(self, key: Key, cell: Cell) -> None:
        # The dict itself is lent to the context, so it is emptied in place.
        if len(self.cells) >= MEMO:
            self.cells.clear()
            self._aliases.clear()

        self.cells[key] = cell
        if key is not cell.name:
            self._aliases.setdefault(cell.id, []).append(key)

    # --- planning

    def plan_define(self, definition: Definition, value: Any) -> Plan:
        name = definition.name
        if name in self._names:
            raise VariableExists(name)

        if name in self._ids:
            raise VariableExists(name, reason="it is the id of a live variable")

        stored = definition.check(value)
        now = now_ns()
        cell = Cell(definition, self._next_id(name), stored, created_ns=now, updated_ns=now)
        return Plan([self._write("define", cell, stored, None, now)], cell.id)

    def plan_set(self, key: Key, value: Any, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None) -> Plan:
        write = self._written(key, value, metadata)
        cell = write.cell
        if expected_version is not None and expected_version != cell.version:
            raise VersionConflict(cell.name, expected=expected_version, actual=cell.version)

        return Plan([write], cell.version + 1)

    def plan_set_many(self, updates: Mapping[Any, Any], metadata: Mapping[str, Any] | None = None, atomic: bool = True) -> Plan:
        writes: dict[str, Write] = {}
        versions: dict[str, int] = {}
        errors: dict[str, DspexError] = {}
        for key, value in _mapping("set_many", updates).items():
            try:
                write = self._written(key, value, metadata)
            except DspexError as error:
                if atomic:
                    raise

                errors[_called(key)] = error
            else:
                writes[write.cell.id] = write
                versions[named(key)] = write.cell.version + 1

        return Plan(list(writes.values()), versions, BatchError(versions=versions, errors=errors) if errors else None)

    def plan_delete(self, key: Key) -> Plan:
        cell = self.find(key)
        return Plan([Write("delete", cell, None, None, now_ns())], None)

    def plan_update(self, key: Key, function: Callable[[Any], Any], metadata: Mapping[str, Any] | None = None) -> Plan:
        write = self._written(key, function(self.get(key)), metadata)
        return Plan([write], _out(write))

    def plan_change(self, key: Key, combine: Callable[[Any, Any], Any], operand: Any) -> Plan:
        """Set what *combine* makes of the stored value and *operand*, without touching either. Answers with the version."""
        cell = self.find(key)
        if cell.definition.opaque:
            self.get(key)

        made = combined(cell.name, combine, cell.value, operand)
        return Plan([self._written(key, made, None)], cell.version + 1)

    def plan_add(self, key: Key, n: Any) -> Plan:
        plan = self.plan_change(key, summed, n)
        return plan._replace(answer=_out(plan.writes[0]))

    def _written(self, key: Key, value: Any, metadata: Mapping[str, Any] | None) -> Write:
        cell = self.find(key)
        stored = cell.definition.check(value)
        notes = {**(cell.metadata or {}), **_plain(cell.name, metadata)} if metadata else cell.metadata
        return self._write("set", cell, stored, notes, now_ns())

    def _write(self, act: Literal["define", "set"], cell: Cell, stored: Any, notes: dict[str, Any] | None, now: int) -> Write:
        data = b"" if self.encoder is None else self.encoder(cell, stored, notes, now)
        return Write(act, cell, stored, notes, now, data)

    def _next_id(self, name: str) -> str:
        """An id that nothing has or had. The counter rises with the plan, so that a plan given up burns it."""
        while True:
            self.counter += 1
            id = f"var_{name}_{self.counter}"
            if id not in self._names and id not in self._ids:
                return id

    # --- committing

    def commit(self, writes: Iterable[Write]) -> None:
        for write in writes:
            COMMIT[write.act](self, write)

    def _commit_set(self, write: Write) -> None:
        cell = write.cell
        cell.value = write.value
        cell.version += 1
        cell.metadata = write.metadata
        cell.updated_ns = write.now

    def _commit_define(self, write: Write) -> None:
        self.insert(write.cell)

    def _commit_delete(self, write: Write) -> None:
        cell = write.cell
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

    def settle(self, id: str, known: Cell | None) -> None:
        """Make the variable *id* what a store has of it: like *known*, or gone."""
        kept = self._by_id(id)
        if known is None:
            if kept is not None:
                self._commit_delete(Write("delete", kept, None, None, 0))
        elif kept is None:
            self.insert(known)
        else:
            kept.value = kept.definition.restore(known.value) if known.definition.opaque else known.value
            kept.version = known.version
            kept.metadata = known.metadata
            kept.updated_ns = known.updated_ns

    # --- reading

    def get(self, key: Key) -> Any:
        cell = self.find(key)
        return cell.value if cell.copy is None else cell.copy(cell.value)

    def get_many(self, keys: Iterable[Key]) -> dict[str, Any]:
        return {named(key): self.get(key) for key in keys if self.holds(key)}

    # --- importing

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


COMMIT: dict[str, Callable[[Table, Write], None]] = {
    "define": Table._commit_define,  # pyright: ignore[reportPrivateUsage]
    "set": Table._commit_set,  # pyright: ignore[reportPrivateUsage]
    "delete": Table._commit_delete,  # pyright: ignore[reportPrivateUsage]
}


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


def _mapping(variable: str, given: Any) -> Mapping[Any, Any]:
    if not isinstance(given, Mapping):
        raise InvalidValue(variable, expected="a mapping", got=type(given).__name__)

    return given  # pyright: ignore[reportUnknownVariableType]


def _plain(variable: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return plain_metadata(metadata)
    except Misfit as misfit:
        raise InvalidValue(variable, expected=f"{misfit.expected} as metadata", got=misfit.got(), path=misfit.path) from None


def _called(key: Any) -> str:
    return getattr(key, "name", key) if isinstance(key, (str, Var)) else repr(key)


def _out(write: Write) -> Any:
    copy = write.cell.copy
    return write.value if copy is None else copy(write.value)
