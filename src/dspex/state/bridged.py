"""
The backend whose variables live encoded in a session store.

The table is the holder's own copy, from which reads are served: whoever has the lease is the only one who writes. A write is validated,
encoded, applied to the store, and only then committed to the table. Over a store that never waits all this is plain calls
(`BridgedState`), over any other it is awaited (`AsyncBridgedState`).
"""

# ruff: noqa: A001, D102 - an id is called id; what a method does is told once, in the contract
from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from time import time_ns
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from anyio import Lock, move_on_after
from anyio.lowlevel import checkpoint

from dspex._exceptions import DspexError, SessionTaken
from dspex.abc import Capabilities, Lease, Mode, SessionStore, StateBackend, appended, merged
from dspex.state._encoding import Digest, admitted, cell_of, ops_of, pack_float, take_in
from dspex.state._pages import encoded_pages, reading
from dspex.state._serving import ServedTable, T
from dspex.state._table import Plan, Table
from dspex.state.stores.memory import MemoryStore

if TYPE_CHECKING:
    from dspex.abc import Key
    from dspex.variables import Cell, Definition, Variable

# Seconds that giving a lease back may take, shielded. One that stays ends by itself, or with its holder's next attempt.
FAREWELL = 5.0


def capabilities_over(store: SessionStore) -> Capabilities:
    """What a bridged backend over *store* promises."""
    return Capabilities(atomic_updates=True, persistent=store.persistent, distributed=True)


def bridged_over(store: SessionStore, *, holder: str = "", mode: Mode = "any") -> BridgedState | AsyncBridgedState:
    """The bridged backend for *store*: of plain methods where the store never waits."""
    if isinstance(store, MemoryStore):
        return BridgedState(store, holder=holder, mode=mode)

    return AsyncBridgedState(store, holder=holder, mode=mode)


def _refuse_both(lease: Lease, existing: Sequence[Variable] | None) -> None:
    if lease.resumed and existing is not None:
        raise SessionTaken(lease.session, holder="it exists already, with variables of its own, and others were given for it")


class BridgedState(ServedTable):
    """
    Variables encoded in a store that never waits.

    Args:
        store: where; the lease is taken at `open`.
        holder: who asks for the lease; the session's own id unless given, so that the next life of a context gets it back.
        mode: what about a session that exists, see `SessionStore.open`.

    Attributes:
        lease: what this holds of the store, None while closed.
        resumed: whether the session was there already.

    """

    __slots__ = ("_holder", "_mode", "_put", "capabilities", "lease", "store")
    requires_bridge: ClassVar[bool] = True

    def __init__(self, store: MemoryStore, *, holder: str = "", mode: Mode = "any") -> None:
        super().__init__()
        self.store: MemoryStore = store
        self.capabilities: Capabilities = capabilities_over(store)
        self.lease: Lease | None = None
        self._holder = holder
        self._mode: Mode = mode
        self._put: Callable[[str, bytes, int], int] = _unopened

    @classmethod
    def adopt(cls, store: MemoryStore, lease: Lease, table: Table) -> BridgedState:
        """The backend of a *table* that *store* holds the records of, under *lease*."""
        made = cls(store)
        made.table = table
        made.cells = table.cells
        made._hold(lease)
        return made

    @property
    def resumed(self) -> bool:
        return self.lease is not None and self.lease.resumed

    def open(self, session_id: str, *, ttl: float | None = None, existing: Sequence[Variable] | None = None) -> None:
        for _ in self.open_in_slices(session_id, ttl=ttl, existing=existing):
            pass

    def open_in_slices(self, session_id: str, *, ttl: float | None = None, existing: Sequence[Variable] | None = None) -> Iterator[int]:
        lease = self.store.open_nowait(session_id, self._mode, ttl=ttl, holder=self._holder or session_id)
        try:
            _refuse_both(lease, existing)
            yield from self._resume(session_id) if lease.resumed else self._import(lease, existing or ())
        except BaseException:
            self.store.release_nowait(lease)
            raise

        self._hold(lease)

    def _resume(self, session_id: str) -> Iterator[int]:
        for page in self.store.scan_nowait(session_id):
            yield from take_in(self.table, page)

    def _import(self, lease: Lease, existing: Sequence[Variable]) -> Iterator[int]:
        yield from self.table.load(existing)
        staging = self.store.stage_nowait(lease)
        digest = Digest()
        for page in encoded_pages(lease.session, self.table):
            staging.put_nowait(page)
            for _ in digest.update(page):
                yield digest.records

            yield digest.records

        staging.commit_nowait(digest.value())

    def _hold(self, lease: Lease) -> None:
        self.lease = lease
        self.table.encoder = admitted
        self._put = self.store.writer_nowait(lease)

    def close(self, *, drop: bool = False) -> None:
        if self.lease is not None:
            (self.store.drop_nowait if drop else self.store.release_nowait)(self.lease)
            self.lease = None

        self._put = _unopened

    def write(self, cell: Cell, value: Any) -> int:
        """
        Store *value* in *cell* and return the new version: the hot half of `set`.

        The value must be of the cell's *exact* type and within *low* and *high*: the rule of a fast write, see `Cell`.
        """
        now = time_ns()
        if type(value) is float and cell.metadata is None:
            data = pack_float(now, 9, 0xCB, value)
        else:
            data = admitted(cell, value, cell.metadata, now)

        cell.version = version = self._put(cell.id, data, cell.version)
        cell.value = value
        cell.updated_ns = now
        return version

    def set(self, key: Key, value: Any, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None) -> int:
        cell = self.cells.get(key)
        if cell is None or metadata is not None or expected_version is not None:
            return self._done(self.table.plan_set(key, value, metadata, expected_version))

        if type(value) is not cell.exact or not (cell.low is None or cell.low <= value <= cell.high):
            value = cell.definition.check(value)

        return self.write(cell, value)

    def _done(self, plan: Plan[T]) -> T:
        if plan.writes:
            self.store.apply_nowait(self._held(), None, ops_of(plan, self.table))
            self.table.commit(plan.writes)

        if plan.error is not None:
            raise plan.error

        return plan.answer

    def _held(self) -> Lease:
        return self.lease if self.lease is not None else _unopened()


def _unopened(*_: Any) -> NoReturn:
    raise RuntimeError("this backend isn't open")


class AsyncBridgedState(StateBackend):
    """
    Variables encoded in a store that is awaited. Arguments and attributes as with `BridgedState`.

    Operations take turns. Where a write was cut, or the store failed in the middle of it, the next operation first reads back what the store
    has, so it has happened in the store and in the table or in neither. Whoever wants a write under way to be finished shields it: the
    owner of a context does, for as long as the context isn't out of time to stop.
    """

    __slots__ = ("_doubted", "_holder", "_lock", "_mode", "_ops", "capabilities", "cells", "lease", "store", "table")
    requires_bridge: ClassVar[bool] = True

    def __init__(
        self, store: SessionStore, *, holder: str = "", mode: Mode = "any", table: Table | None = None, lease: Lease | None = None
    ) -> None:
        self.store: SessionStore = store
        self.capabilities: Capabilities = capabilities_over(store)
        self.table: Table = Table() if table is None else table
        self.table.encoder = admitted
        self.cells: dict[Any, Cell] = self.table.cells
        self.lease = lease
        self._holder = holder
        self._mode: Mode = mode
        self._lock = Lock()
        self._doubted: tuple[str, ...] = ()
        self._ops = 0

    @property
    def resumed(self) -> bool:
        return self.lease is not None and self.lease.resumed

    async def open(self, session_id: str, *, ttl: float | None = None, existing: Sequence[Variable] | None = None) -> None:
        # Cut here, a lease may be left that nobody here knows of. The same holder takes it over at its next attempt.
        self.lease = await self.store.open(session_id, self._mode, ttl=ttl, holder=self._holder or session_id)
        try:
            lease = self._held()
            _refuse_both(lease, existing)
            await (self._resume(session_id) if lease.resumed else self._import(lease, existing or ()))
        except BaseException:
            await self.close()
            raise

    async def _resume(self, session_id: str) -> None:
        async with reading(self.store.scan(session_id)) as pages:
            async for page in pages:
                for _ in take_in(self.table, page):
                    await checkpoint()

    async def _import(self, lease: Lease, existing: Sequence[Variable]) -> None:
        for _ in self.table.load(existing):
            await checkpoint()

        staging = await self.store.stage(lease)
        digest = Digest()
        for page in encoded_pages(lease.session, self.table):
            await staging.put(page)
            for _ in digest.update(page):
                await checkpoint()

        await staging.commit(digest.value())

    async def close(self, *, drop: bool = False) -> None:
        lease, self.lease = self.lease, None
        if lease is not None:
            with move_on_after(FAREWELL, shield=True):
                await (self.store.drop if drop else self.store.release)(lease)

    async def get(self, key: Key) -> Any:
        return await self._asked(self.table.get, key)

    async def read(self, key: Key) -> tuple[Any, int]:
        return await self._asked(self.table.read, key)

    async def get_many(self, keys: Iterable[Key]) -> dict[str, Any]:
        return await self._asked(self.table.get_many, keys)

    async def exists(self, key: Key) -> bool:
        return await self._asked(self.table.holds, key)

    async def info(self, key: Key) -> Variable:
        return await self._asked(lambda: self.table.find(key).variable())

    async def ids(self) -> list[str]:
        return await self._asked(self.table.ids)

    async def scan(self) -> AsyncIterator[list[Variable]]:
        await self._asked(lambda: None)
        for page in self.table.pages():
            yield page
            await checkpoint()

    async def define(self, definition: Definition, value: Any) -> str:
        return await self._done(self.table.plan_define, definition, value)

    async def set(self, key: Key, value: Any, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None) -> int:
        return await self._done(self.table.plan_set, key, value, metadata, expected_version)

    async def set_many(self, updates: Mapping[Any, Any], metadata: Mapping[str, Any] | None = None, atomic: bool = True) -> dict[str, int]:
        return await self._done(self.table.plan_set_many, updates, metadata, atomic)

    async def delete(self, key: Key) -> None:
        await self._done(self.table.plan_delete, key)

    async def update(self, key: Key, function: Callable[[Any], Any], metadata: Mapping[str, Any] | None = None) -> Any:
        return await self._done(self.table.plan_update, key, function, metadata)

    async def add(self, key: Key, n: Any) -> Any:
        return await self._done(self.table.plan_add, key, n)

    async def append(self, key: Key, item: Any) -> int:
        return await self._done(self.table.plan_change, key, appended, item)

    async def merge(self, key: Key, mapping: Mapping[Any, Any]) -> int:
        return await self._done(self.table.plan_change, key, merged, mapping)

    async def _asked(self, question: Callable[..., T], *args: Any) -> T:
        async with self._lock:
            await self._settle()
            return question(*args)

    async def _done(self, planned: Callable[..., Plan[T]], *args: Any) -> T:
        async with self._lock:
            await self._settle()
            plan = planned(*args)
            if plan.writes:
                await self._apply(plan)

            self.table.commit(plan.writes)

        if plan.error is not None:
            raise plan.error

        return plan.answer

    async def _apply(self, plan: Plan[T]) -> None:
        lease = self._held()
        self._ops += 1
        self._doubted = tuple(write.cell.id for write in plan.writes)
        try:
            await self.store.apply(lease, f"{lease.fence}.{self._ops}", ops_of(plan, self.table))
        except DspexError:
            self._doubted = ()
            raise

        self._doubted = ()

    def _held(self) -> Lease:
        return self.lease if self.lease is not None else _unopened()

    async def _settle(self) -> None:
        """After a failure of the store: take what it has for what is."""
        if not self._doubted:
            return

        found = await self.store.read(self._held().session, self._doubted)
        for id in self._doubted:
            self.table.settle(id, cell_of(found[id]) if id in found else None)

        self._doubted = ()
