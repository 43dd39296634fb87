"""
The records of one session in memory, in the order in which their ids were first put.

A scan sees one revision although writes go on: while any is under way, a write first leaves what it replaces with each scan, and the order
is copied before it changes, a block at a time.
"""

# ruff: noqa: A001, A002 - an id is called id; what a method does is told once, in the contract
from __future__ import annotations

from collections.abc import Iterator, Sequence

from dspex._exceptions import VersionConflict
from dspex.abc import ABSENT, PAGE, Delete, Put, Record
from dspex.state._shards import Shards

Row = tuple[int, bytes, bytes, int]
"""Version, head, data, block. Of plain things only, so that the garbage collector stops tracking a million of them."""


class Records:
    """
    Rows by id, and their order.

    Attributes:
        hot: the rows, where a put of known version may be done by whoever holds this dict; empty while that isn't so.

    """

    __slots__ = ("_blocks", "_rows", "_scans", "hot")

    def __init__(self) -> None:
        self._rows: Shards[Row] = Shards()
        self._blocks: dict[int, dict[str, None]] = {}
        self._scans: list[dict[str, Row | None]] = []
        self.hot: dict[str, Row] = {}
        self._heat()

    def __len__(self) -> int:
        return len(self._rows)

    def version(self, id: str) -> int:
        """The version of *id*, or `ABSENT`."""
        row = self._rows.get(id)
        return ABSENT if row is None else row[0]

    def read(self, ids: Sequence[str]) -> dict[str, Record]:
        """The records of *ids*, as far as there are any."""
        found = ((id, self._rows.get(id)) for id in ids)
        return {id: Record(id, *row[:3]) for id, row in found if row is not None}

    def check(self, ops: Sequence[Put | Delete]) -> None:
        """`VersionConflict` unless each *if_version* holds when its turn comes."""
        coming: dict[str, int] = {}
        for op in ops:
            actual = coming.get(op.id)
            if actual is None:
                actual = self.version(op.id)

            if op.if_version is not None and op.if_version != actual:
                raise VersionConflict(op.id, expected=op.if_version, actual=actual)

            coming[op.id] = ABSENT if isinstance(op, Delete) else actual + 1

    def put(self, id: str, head: bytes | None, data: bytes) -> int:
        """Write one record and return its version."""
        row = self._rows.get(id)
        if row is None:
            return self.place(Record(id, 0, head or b"", data))

        self._keep(id, row)
        version = row[0] + 1
        self._rows.put(id, (version, row[1] if head is None else head, data, row[3]))
        return version

    def put_known(self, id: str, data: bytes, if_version: int) -> int:
        """`put` on a record that must have the version *if_version*."""
        row = self._rows.get(id)
        if row is None or row[0] != if_version:
            raise VersionConflict(id, expected=if_version, actual=ABSENT if row is None else row[0])

        self._keep(id, row)
        self._rows.put(id, (if_version + 1, row[1], data, row[3]))
        return if_version + 1

    def place(self, record: Record) -> int:
        """Write a record of the version it comes with."""
        id, version, head, data = record
        row = self._rows.get(id)
        if self._scans:
            self._keep(id, row)

        number = self._placed(id) if row is None else row[3]
        self._rows.put(id, (version, head, data, number))
        self._heat()
        return version

    def remove(self, id: str) -> bool:
        """Delete one record; whether it was there."""
        row = self._rows.pop(id)
        if row is None:
            return False

        self._keep(id, row)
        block = self._open_block(row[3])
        del block[id]
        if not block:
            del self._blocks[row[3]]

        return True

    def scan(self) -> Iterator[list[Record]]:
        """All records of this moment, in pages."""
        before: dict[str, Row | None] = {}
        self._scans.append(before)
        self._heat()
        try:
            for block in list(self._blocks.values()):
                yield list(self._as_of(before, block))
        finally:
            self._scans = [scan for scan in self._scans if scan is not before]
            self._heat()

    def _as_of(self, before: dict[str, Row | None], block: dict[str, None]) -> Iterator[Record]:
        for id in block:
            row = before[id] if id in before else self._rows.get(id)
            if row is not None:
                yield Record(id, row[0], row[1], row[2])

    def _keep(self, id: str, row: Row | None) -> None:
        for scan in self._scans:
            scan.setdefault(id, row)

    def _placed(self, id: str) -> int:
        number = next(reversed(self._blocks), 0)
        if number not in self._blocks or len(self._blocks[number]) >= PAGE:
            number += 1
            self._blocks[number] = {}

        self._open_block(number)[id] = None
        return number

    def _open_block(self, number: int) -> dict[str, None]:
        if self._scans:
            self._blocks[number] = dict(self._blocks[number])

        return self._blocks[number]

    def _heat(self) -> None:
        only = self._rows.only
        self.hot = {} if only is None or self._scans else only
