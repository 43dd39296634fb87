"""A table as pages of encoded records, a slice of time each."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TypeVar

from anyio import CancelScope

from dspex._exceptions import NotBridgeable
from dspex.abc import PAGE, Record
from dspex.state._encoding import mark_of, record_of, unfit
from dspex.state._index import SLICE
from dspex.state._table import Table
from dspex.variables import Cell
from dspex.wire.codec import Unencodable

T = TypeVar("T")


@asynccontextmanager
async def reading(pages: AsyncIterator[T]) -> AsyncGenerator[AsyncIterator[T], None]:
    """A block that goes through *pages*, which are closed at its end if they are a generator, however it ends."""
    try:
        yield pages
    finally:
        if isinstance(pages, AsyncGenerator):
            with CancelScope(shield=True):
                await pages.aclose()


def encoded_pages(context: str, table: Table) -> Iterator[list[Record]]:
    """
    All records of *table*, the mark first, in pages of at most 256 records and one slice of time.

    Raises `NotBridgeable`, once everything has been looked at, naming every variable that has no encoded form.
    """
    refused: dict[str, str] = {}
    yield [mark_of(table)]
    for block in table.ordered():
        yield from _paged(block, refused)

    if refused:
        raise NotBridgeable(context, variables=refused)


def _paged(cells: Iterable[Cell], refused: dict[str, str]) -> Iterator[list[Record]]:
    page: list[Record] = []
    until = perf_counter() + SLICE
    for cell in cells:
        try:
            page.append(record_of(cell))
        except Unencodable as error:
            refused[cell.name] = f"{error.path}: {unfit(error)}" if error.path else unfit(error)

        if len(page) >= PAGE or perf_counter() >= until:
            yield page
            page = []
            until = perf_counter() + SLICE

    yield page
