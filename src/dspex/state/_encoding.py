"""
The encoded form of a variable: one record of a session.

The head is the time it was made and its definition; the data is the time of its last write, its value and its own metadata, the two in
canonical form. One more record, whose id is empty, marks the session: it keeps the counter of ids, so that none is given twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from struct import Struct
from time import perf_counter
from typing import TYPE_CHECKING, Any

from msgspec import msgpack

from dspex._exceptions import InvalidDefinition, InvalidSnapshot, InvalidValue
from dspex.abc import ABSENT, Delete, Put, Record
from dspex.state._index import SLICE
from dspex.state._table import Plan, Table
from dspex.variables import Cell, Definition
from dspex.wire.codec import Unencodable, decode, encode, upgrade

if TYPE_CHECKING:
    from collections.abc import Sequence

# Here msgspec is always there; the pure codec is for workers.
upgrade()

MARK = ""
PIECE = 1 << 20
FORMAT = 1

_HEAD = Struct(">Q")
_DATA = Struct(">QQ")
_FLOAT = Struct(">QQBd")
_FLOAT_SIZE = 9
_FLOAT_CODE = 0xCB

_SCALARS = frozenset({str, int, bool, bytes})
_BOUNDS = frozenset({str, int, float, bool, type(None)})
_pack = msgpack.Encoder().encode

pack_float = _FLOAT.pack
"""(now, 9, 0xCB, value): the data of a float without metadata in one step; the canonical form of a float is 0xCB and eight bytes."""


def head_of(cell: Cell) -> bytes:
    """What stays the same for the life of a variable. Raises `Unencodable`."""
    definition = cell.definition
    if definition.metadata or not _BOUNDS.issuperset(map(type, definition.constraints.values())):
        return _HEAD.pack(cell.created_ns) + encode(definition.pack())

    # Most definitions have nothing in them whose canonical form isn't plain MessagePack: a third of the time of a switch otherwise.
    return _HEAD.pack(cell.created_ns) + _scalar(definition.pack())


def data_of(cell: Cell, value: Any, metadata: dict[str, Any] | None, now: int) -> bytes:
    """What a write replaces. Raises `Unencodable`."""
    if type(value) is float and not metadata:
        return _FLOAT.pack(now, _FLOAT_SIZE, _FLOAT_CODE, value)

    encoded = _scalar(value) if type(value) in _SCALARS else encode(cell.definition.lower(value))
    data = _DATA.pack(now, len(encoded)) + encoded
    return data + encode(metadata) if metadata else data


def _scalar(value: Any) -> bytes:
    # The canonical form of these, and of dicts of them, is plain MessagePack, save for lone surrogates and ints past 64 bits.
    try:
        return _pack(value)
    except (UnicodeEncodeError, OverflowError):
        return encode(value)


def admitted(cell: Cell, value: Any, metadata: dict[str, Any] | None, now: int) -> bytes:
    """`data_of`, refusing with `InvalidValue`: what a bridged table encodes its plans with."""
    try:
        return data_of(cell, value, metadata, now)
    except Unencodable as error:
        raise InvalidValue(cell.name, expected="a value that can leave this process", got=unfit(error), path=error.path) from error


def admitted_head(cell: Cell) -> bytes:
    """`head_of`, refusing with `InvalidDefinition`."""
    try:
        return head_of(cell)
    except Unencodable as error:
        raise InvalidDefinition(cell.name, problem=f"its definition can't leave this process: {unfit(error)}") from error


def unfit(error: Unencodable) -> str:
    """Why something has no encoded form, in words."""
    return f"{error.type_name}, {error.reason}"


def record_of(cell: Cell) -> Record:
    """The record of a variable as it is. Raises `Unencodable`."""
    return Record(cell.id, cell.version, head_of(cell), data_of(cell, cell.value, cell.metadata, cell.updated_ns))


def mark_of(table: Table) -> Record:
    """The record that marks the session of *table*."""
    return Record(MARK, 0, b"", encode({"format": FORMAT, "counter": table.counter}))


def cell_of(record: Record) -> Cell:
    """The variable in *record*. A class in its type stays a label. Raises `InvalidDefinition`, `InvalidValue`."""
    definition = Definition.unpack(decode(record.head[_HEAD.size :]))
    updated, size = _DATA.unpack_from(record.data)
    end = _DATA.size + size
    return Cell(
        definition,
        record.id,
        definition.restore(decode(record.data[_DATA.size : end])),
        version=record.version,
        metadata=decode(record.data[end:]) if len(record.data) > end else None,
        created_ns=_HEAD.unpack_from(record.head)[0],
        updated_ns=updated,
    )


def take_in(table: Table, page: Iterable[Record]) -> Iterator[int]:
    """Add a page of records to *table*, in slices: each item is how many are in so far."""
    until = perf_counter() + SLICE
    for record in page:
        if record.id == MARK:
            _take_mark(table, record)
        else:
            table.take(cell_of(record))

        if perf_counter() >= until:
            yield len(table)
            until = perf_counter() + SLICE


def _take_mark(table: Table, record: Record) -> None:
    facts = decode(record.data)
    if facts.get("format") != FORMAT:
        raise InvalidSnapshot(problem=f"the session was written in format {facts.get('format')!r}, and this version reads {FORMAT}")

    table.counter = max(table.counter, facts["counter"])


def ops_of(plan: Plan[Any], table: Table) -> list[Put | Delete]:
    """What *plan* writes to the store. A deletion also notes the counter, since the highest id may go with it."""
    ops: list[Put | Delete] = []
    for write in plan.writes:
        cell = write.cell
        if write.act == "set":
            ops.append(Put(cell.id, write.data, cell.version))
        elif write.act == "define":
            ops.append(Put(cell.id, write.data, ABSENT, admitted_head(cell)))
        else:
            ops += (Delete(cell.id, cell.version), Put(MARK, mark_of(table).data))

    return ops


class Digest:
    """A running digest of records: of their content and order, however they come in pages."""

    __slots__ = ("_hash", "bytes", "records")

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=32)
        self.records = 0
        self.bytes = 0

    def update(self, page: Sequence[Record]) -> Iterator[None]:
        """Take in the next records, in slices: large ones piece by piece."""
        self.records += len(page)
        if sum(len(record.data) for record in page) <= PIECE:
            self._add(b"".join(map(_pack, page)))
            return

        for record in page:
            if len(record.data) <= PIECE:
                self._add(_pack(record))
            else:
                yield from self._take_large(record)

    def _take_large(self, record: Record) -> Iterator[None]:
        self._add(_pack((record.id, record.version, record.head, len(record.data))))
        whole = memoryview(record.data)
        for start in range(0, len(whole), PIECE):
            self._add(whole[start : start + PIECE])
            yield

    def _add(self, piece: bytes | memoryview) -> None:
        self._hash.update(piece)
        self.bytes += len(piece)

    def value(self) -> bytes:
        """The digest so far, 32 bytes."""
        return self._hash.digest()
