"""A session store that really waits, before and after each thing it does; and can be made to fail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from anyio.lowlevel import checkpoint

from dspex.abc import Applied, Changes, Delete, Lease, Mode, Put, Record, SessionStore, Staging
from dspex.state.stores.memory import MemoryStore


class AwaitedStore(SessionStore):
    """
    `MemoryStore` at a distance.

    Attributes:
        lose: ``"request"`` or ``"reply"`` of the next `apply` is lost: it raises `ConnectionError` before or after it was done.

    """

    def __init__(self, inner: MemoryStore | None = None) -> None:
        self.inner = inner or MemoryStore()
        self.lose = ""

    async def _there_and_back(self, method: str, *args: Any, **options: Any) -> Any:
        await checkpoint()
        answer = getattr(self.inner, method)(*args, **options)
        await checkpoint()
        return answer

    async def open(self, session: str, mode: Mode = "any", *, ttl: float | None = None, holder: str = "") -> Lease:
        return await self._there_and_back("open_nowait", session, mode, ttl=ttl, holder=holder)

    async def renew(self, lease: Lease) -> Lease:
        return await self._there_and_back("renew_nowait", lease)

    async def release(self, lease: Lease) -> None:
        await self._there_and_back("release_nowait", lease)

    async def drop(self, lease: Lease) -> None:
        await self._there_and_back("drop_nowait", lease)

    async def apply(self, lease: Lease, op_id: str | None, ops: Sequence[Put | Delete]) -> Applied:
        lose, self.lose = self.lose, ""
        if lose == "request":
            raise ConnectionError("the request was lost")

        answer = await self._there_and_back("apply_nowait", lease, op_id, ops)
        if lose == "reply":
            raise ConnectionError("the reply was lost")

        return answer

    async def read(self, session: str, ids: Sequence[str]) -> dict[str, Record]:
        return await self._there_and_back("read_nowait", session, ids)

    def scan(self, session: str) -> AsyncIterator[list[Record]]:
        return self.inner.scan(session)

    async def stage(self, lease: Lease) -> Staging:
        return await self._there_and_back("stage_nowait", lease)

    async def changes(self, session: str, after: int) -> Changes:
        return await self._there_and_back("changes_nowait", session, after)
