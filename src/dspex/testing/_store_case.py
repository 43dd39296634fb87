"""A session store under test."""

# ruff: noqa: A001 - an id is called id; chance here is seeded, and no secret
from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from dspex.abc import Lease, Put, Record, SessionStore
from dspex.testing._conformance import expect_equal, settled

MakeStore = Callable[[], "SessionStore | Awaitable[SessionStore]"]
Advance = Callable[[SessionStore, float], Any]


class StoreCase:
    """
    How to get fresh stores, and to let time pass for one.

    Attributes:
        advance: moves a store's clock on by seconds; None where that can't be done.
        lease_seconds: how long its leases last.

    """

    def __init__(self, make: MakeStore, advance: Advance | None, lease_seconds: float) -> None:
        self._make = make
        self.advance = advance
        self.lease_seconds = lease_seconds

    async def fresh(self) -> SessionStore:
        """A new store with no session."""
        made: SessionStore = await settled(self._make())
        return made

    async def opened(self, *ids: str) -> tuple[SessionStore, Lease]:
        """A new store with the session ``"s"`` under a lease of ``"kit"``, with a record for each id."""
        store = await self.fresh()
        lease = await store.open("s", "create", holder="kit")
        if ids:
            await store.apply(lease, None, [Put(id, b"0", head=b"h") for id in ids])

        return store, lease

    async def passed(self, store: SessionStore, seconds: float) -> None:
        if self.advance is not None:
            await settled(self.advance(store, seconds))


async def content(store: SessionStore, session: str = "s") -> list[Record]:
    """All records as `scan` gives them."""
    return [Record(*record) async for page in store.scan(session) for record in page]


async def expect_content(store: SessionStore, records: Iterable[Record], after: str) -> None:
    expect_equal(await content(store), list(records), f"after {after} the content")
