"""
The table of variables, and what every operation on it means.

An operation has two halves. *Planning* finds the cells, validates, copies in and says what will be written; it may refuse and has changed
nothing. *Committing* writes the cells and can't fail. A backend that persists does so between the two.
"""

# ruff: noqa: A002 - an id is called id; what a method does is told once, in the contract
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

from dspex._exceptions import (
    BatchError,
    DspexError,
    InvalidValue,
    VariableExists,
    VersionConflict,
)
from dspex.abc import combined, named, summed
from dspex.state._index import Index
from dspex.variables import Cell, Definition, Misfit, Var, now_ns, plain_metadata

if TYPE_CHECKING:
    from dspex.abc import Key

T = TypeVar("T")


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


class Plan(NamedTuple, Generic[T]):
    """What an operation will write, what it answers then, and what it raises after writing."""

    writes: list[Write]
    answer: T
    error: BatchError | None = None


Encoder = Callable[[Cell, Any, "dict[str, Any] | None", int], bytes]


class Table(Index):
    """
    An index of variables with the operations on them.

    Attributes:
        encoder: makes the encoded form of what is planned, or refuses it with `InvalidValue`; None while nothing is encoded.

    """

    __slots__ = ("encoder",)

    def __init__(self) -> None:
        super().__init__()
        self.encoder: Encoder | None = None

    # --- planning

    def plan_define(self, definition: Definition, value: Any) -> Plan[str]:
        """Answers with the new id. That number is used up, also where nothing is committed."""
        name = definition.name
        if name in self._names:
            raise VariableExists(name)

        if name in self._ids:
            raise VariableExists(name, reason="it is the id of a live variable")

        stored = definition.check(value)
        now = now_ns()
        cell = Cell(definition, self.next_id(name), stored, created_ns=now, updated_ns=now)
        return Plan([self._write("define", cell, stored, None, now)], cell.id)

    def plan_set(self, key: Key, value: Any, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None) -> Plan[int]:
        """Answers with the version to come."""
        write = self._written(key, value, metadata)
        cell = write.cell
        if expected_version is not None:
            _check_version(cell, expected_version)

        return Plan([write], cell.version + 1)

    def plan_set_many(
        self, updates: Mapping[Any, Any], metadata: Mapping[str, Any] | None = None, atomic: bool = True
    ) -> Plan[dict[str, int]]:
        """Answers with the versions to come, by what each key is called. Unless *atomic*, those that don't fit are left out and told in the plan's error."""
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

    def plan_delete(self, key: Key) -> Plan[None]:
        """Answers with nothing."""
        cell = self.find(key)
        return Plan([Write("delete", cell, None, None, now_ns())], None)

    def plan_update(self, key: Key, function: Callable[[Any], Any], metadata: Mapping[str, Any] | None = None) -> Plan[Any]:
        """Set what *function* makes of a copy of the value. Answers with a copy of that."""
        self.find(key)
        write = self._written(key, function(self.get(key)), metadata)
        return Plan([write], _out(write))

    def plan_change(self, key: Key, combine: Callable[[Any, Any], Any], operand: Any) -> Plan[int]:
        """Set what *combine* makes of the stored value and *operand*, without touching either. Answers with the version."""
        cell = self.find(key)
        if cell.definition.opaque:
            self.get(key)

        made = combined(cell.name, combine, cell.value, operand)
        return Plan([self._written(key, made, None)], cell.version + 1)

    def plan_add(self, key: Key, n: Any) -> Plan[Any]:
        """Answers with the sum."""
        plan = self.plan_change(key, summed, n)
        return Plan(plan.writes, _out(plan.writes[0]))

    def _written(self, key: Key, value: Any, metadata: Mapping[str, Any] | None) -> Write:
        cell = self.find(key)
        stored = cell.definition.check(value)
        notes = {**(cell.metadata or {}), **_plain(cell.name, metadata)} if metadata else cell.metadata
        return self._write("set", cell, stored, notes, now_ns())

    def _write(self, act: Literal["define", "set"], cell: Cell, stored: Any, notes: dict[str, Any] | None, now: int) -> Write:
        data = b"" if self.encoder is None else self.encoder(cell, stored, notes, now)
        return Write(act, cell, stored, notes, now, data)

    # --- committing

    def commit(self, writes: Iterable[Write]) -> None:
        """Write what was planned, in order. Plain, and can't fail."""
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
        self.remove(write.cell)

    def settle(self, id: str, known: Cell | None) -> None:
        """Make the variable *id* what a store has of it: like *known*, or gone."""
        kept = self.by_id(id)
        if known is None:
            if kept is not None:
                self.remove(kept)
        elif kept is None:
            self.insert(known)
        else:
            kept.value = kept.definition.restore(known.value) if known.definition.opaque else known.value
            kept.version = known.version
            kept.metadata = known.metadata
            kept.updated_ns = known.updated_ns

    # --- reading

    def get(self, key: Key) -> Any:
        """The value; a copy where it could be changed."""
        cell = self.find(key, "get")
        return cell.value if cell.copy is None else cell.copy(cell.value)

    def read(self, key: Key) -> tuple[Any, int]:
        """The value, as `get` gives it, and its version."""
        version = self.find(key).version
        return self.get(key), version

    def get_many(self, keys: Iterable[Key]) -> dict[str, Any]:
        """The values of those of *keys* that there are, by what each key is called."""
        return {named(key): self.get(key) for key in keys if self.holds(key)}


COMMIT: dict[str, Callable[[Table, Write], None]] = {
    "define": Table._commit_define,
    "set": Table._commit_set,
    "delete": Table._commit_delete,
}


def _mapping(variable: str, given: Any) -> Mapping[Any, Any]:
    if not isinstance(given, Mapping):
        raise InvalidValue(variable, expected="a mapping", got=type(given).__name__)

    return given  # pyright: ignore[reportUnknownVariableType]


def _plain(variable: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return plain_metadata(metadata)
    except Misfit as misfit:
        raise InvalidValue(variable, expected=f"{misfit.expected} as metadata", got=misfit.got(), path=misfit.path) from None


def _check_version(cell: Cell, expected: Any) -> None:
    if isinstance(expected, bool) or not isinstance(expected, int):
        raise InvalidValue(cell.name, expected="an int as expected_version", got=Misfit("", expected).got())

    if expected != cell.version:
        raise VersionConflict(cell.name, expected=expected, actual=cell.version)


def _called(key: Any) -> str:
    return named(key) if isinstance(key, (str, Var)) else repr(key)  # pyright: ignore[reportUnknownArgumentType]


def _out(write: Write) -> Any:
    copy = write.cell.copy
    return write.value if copy is None else copy(write.value)
