"""
A backend and stores that are far away, and fail at named points: what a real one far away would do, without leaving the process.

`Far` keeps variables behind awaits, as a backend of the user's own might. `FarStore` is the memory store behind awaits, so that dspex takes it
for one that waits. `FlakyStore` is the memory store itself, whose plain methods can fail too. No bridge in here starts a process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar
from unittest.mock import patch

import anyio
from anyio.lowlevel import checkpoint

from dspex.abc import Applied, Capabilities, Changes, Delete, Lease, Mode, Put, Record, SessionStore, Staging, StateBackend
from dspex.state import LocalState
from dspex.state.stores.memory import MemoryStaging, MemoryStore
from dspex.worker.host import WorkerPool

from .failpoints import Failpoints


def spoiled(page: list[Record]) -> list[Record]:
    """A page with one bit flipped in one record."""
    last = page[-1]
    return [*page[:-1], last._replace(data=last.data[:-1] + bytes([last.data[-1] ^ 1]))]


def older(page: list[Record]) -> list[Record]:
    """A page whose last record has lost a version."""
    return [*page[:-1], page[-1]._replace(version=page[-1].version + 1)]


class Far(StateBackend):
    """A local table behind awaits: a suspension before and after each operation, and one between the parts of a batch."""

    capabilities: Capabilities = Capabilities()
    requires_bridge: ClassVar[bool] = False

    def __init__(self, points: Failpoints | None = None) -> None:
        self._points = points or Failpoints()
        self._kept = LocalState()
        self.is_open = False

    async def _do(self, name: str, *args: Any, **options: Any) -> Any:
        async def call() -> Any:
            await checkpoint()
            result = getattr(self._kept, name)(*args, **options)
            await checkpoint()
            return result

        return await self._points.around(f"backend.{name}", call)

    async def open(self, session_id: str, *, ttl: float | None = None, existing: Any = None) -> None:
        await self._do("open", session_id, ttl=ttl, existing=existing)
        self.is_open = True

    async def close(self, *, drop: bool = False) -> None:
        await self._do("close", drop=drop)
        self.is_open = False

    async def define(self, definition: Any, value: Any) -> str:
        return str(await self._do("define", definition, value))

    async def get(self, key: Any) -> Any:
        return await self._do("get", key)

    async def set(self, key: Any, value: Any, metadata: Any = None, expected_version: int | None = None) -> int:
        return int(await self._do("set", key, value, metadata, expected_version))

    async def set_many(self, updates: Mapping[Any, Any], metadata: Any = None, atomic: bool = True) -> dict[str, int]:
        versions = {}
        for key, value in updates.items():
            versions[key] = await self.set(key, value, metadata)

        return versions

    async def delete(self, key: Any) -> None:
        await self._do("delete", key)

    async def info(self, key: Any) -> Any:
        return await self._do("info", key)

    async def scan(self) -> AsyncIterator[list[Any]]:
        for page in self._kept.scan():
            for variable in page:
                yield await self._points.around("backend.scan", lambda kept=[variable]: _handed(kept))  # type: ignore[misc]


async def _handed(value: Any) -> Any:
    await checkpoint()
    return value


class FarStaging(Staging):
    """The staging area of a `FarStore`."""

    def __init__(self, staging: MemoryStaging, points: Failpoints) -> None:
        self._kept = staging
        self._points = points

    async def put(self, page: Sequence[Record]) -> None:
        await self._points.around("staging.put", lambda: self._kept.put(page))

    async def scan(self) -> AsyncIterator[list[Record]]:
        for page in self._kept.scan_nowait():
            yield await self._points.around("staging.scan", lambda kept=page: _handed(kept), spoiled)  # type: ignore[misc]

    async def commit(self, digest: bytes) -> int:
        return await self._points.around("staging.commit", lambda: self._kept.commit(digest))

    async def abort(self) -> None:
        await self._points.around("staging.abort", self._kept.abort)


class FarStore(SessionStore):
    """A memory store at the other end of a line: `kept` is the store there."""

    def __init__(self, points: Failpoints) -> None:
        self.kept = MemoryStore(clock=anyio.current_time)
        self._points = points

    async def open(self, session: str, mode: Mode = "any", *, ttl: float | None = None, holder: str = "") -> Lease:
        return await self._points.around("store.open", lambda: self.kept.open(session, mode, ttl=ttl, holder=holder))

    async def renew(self, lease: Lease) -> Lease:
        return await self._points.around("store.renew", lambda: self.kept.renew(lease))

    async def release(self, lease: Lease) -> None:
        await self._points.around("store.release", lambda: self.kept.release(lease))

    async def drop(self, lease: Lease) -> None:
        await self._points.around("store.drop", lambda: self.kept.drop(lease))

    async def apply(self, lease: Lease, op_id: str | None, ops: Sequence[Put | Delete]) -> Applied:
        return await self._points.around("store.apply", lambda: self.kept.apply(lease, op_id, ops))

    async def read(self, session: str, ids: Sequence[str]) -> dict[str, Record]:
        return await self._points.around("store.read", lambda: self.kept.read(session, ids))

    async def scan(self, session: str) -> AsyncIterator[list[Record]]:
        for page in self.kept.scan_nowait(session):
            yield await self._points.around("store.scan", lambda kept=page: _handed(kept), spoiled)  # type: ignore[misc]

    async def stage(self, lease: Lease) -> Staging:
        return FarStaging(await self._points.around("store.stage", lambda: self.kept.stage(lease)), self._points)

    async def changes(self, session: str, after: int) -> Changes:
        return await self.kept.changes(session, after)


class FlakyStaging(MemoryStaging):
    """The staging area of a `FlakyStore`."""

    __slots__ = ()

    async def put(self, page: Sequence[Record]) -> None:
        await _points(self).around("staging.put", lambda: MemoryStaging.put(self, page))

    async def scan(self) -> AsyncIterator[list[Record]]:
        for page in self.scan_nowait():
            yield await _points(self).around("staging.scan", lambda kept=page: _handed(kept), spoiled)  # type: ignore[misc]

    def commit_nowait(self, digest: bytes) -> int:
        return _points(self).around_nowait("staging.commit", lambda: MemoryStaging.commit_nowait(self, digest))

    async def abort(self) -> None:
        await _points(self).around("staging.abort", lambda: MemoryStaging.abort(self))


def _points(staging: FlakyStaging) -> Failpoints:
    store = staging._store
    assert isinstance(store, FlakyStore)
    return store.points


class FlakyStore(MemoryStore):
    """The memory store as dspex knows it, with failpoints in what the switch uses."""

    def __init__(self, points: Failpoints) -> None:
        super().__init__(clock=anyio.current_time)
        self.points = points

    @property
    def kept(self) -> MemoryStore:
        return self

    async def open(self, session: str, mode: Mode = "any", *, ttl: float | None = None, holder: str = "") -> Lease:
        return await self.points.around("store.open", lambda: MemoryStore.open(self, session, mode, ttl=ttl, holder=holder))

    async def drop(self, lease: Lease) -> None:
        await self.points.around("store.drop", lambda: MemoryStore.drop(self, lease))

    async def stage(self, lease: Lease) -> MemoryStaging:
        return await self.points.around("store.stage", lambda: self._stage(lease))

    async def _stage(self, lease: Lease) -> MemoryStaging:
        await checkpoint()
        session = self.held(lease)
        session.staging = staging = FlakyStaging(self, lease)
        return staging


def records(store: MemoryStore, session: str) -> Iterator[Record]:
    """What a store has of a session, but for the record that marks it."""
    for page in store.scan_nowait(session):
        yield from (record for record in page if record.id)


class NoPool(WorkerPool):
    """A worker pool that starts no worker."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._dismissed = anyio.Event()

    def open(self) -> None:
        """Nothing waits to be served by it."""
        self._dismissed = anyio.Event()
        super().open()

    async def run(self) -> None:
        """Nothing runs in it."""
        await self._dismissed.wait()

    async def dismiss(self, *, abrupt: bool = False) -> None:
        """Ends `run`."""
        self._dismissed.set()


@contextmanager
def no_processes(store: Callable[[], Any], *, cramped: bool = False) -> Iterator[None]:
    """Private bridges that start no workers, over *store*; *cramped*, with a mailbox whose every bound is reached."""
    with ExitStack() as patches:
        if cramped:
            patches.enter_context(patch.multiple("dspex.context._entry", BURST=2, BUDGET=3))

        patches.enter_context(patch("dspex.bridge.WorkerPool", NoPool))
        patches.enter_context(patch("dspex.bridge._store_of", lambda _: store()))
        yield


@dataclass(frozen=True, slots=True)
class OpenBridge:
    """A shared bridge, as far as a switch uses it."""

    store: Any
