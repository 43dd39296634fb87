"""
The move of a whole state into a session store, step by step; the switch of a context drives it.

Until the commit everything lies in a staging area that nobody sees. Over a store that never waits the commit is a plain step. Nothing here is
shielded: whoever drives it shields what must not be cut, under a deadline of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Literal

from anyio.lowlevel import checkpoint

from dspex._exceptions import BackendSwitchError
from dspex.abc import Lease, SessionStore, Staging, StateBackend, SyncStateBackend
from dspex.state._encoding import Digest
from dspex.state._pages import encoded_pages, reading
from dspex.state._table import Table
from dspex.state.bridged import AsyncBridgedState, BridgedState
from dspex.state.local import LocalState
from dspex.state.stores.memory import MemoryStaging, MemoryStore

if TYPE_CHECKING:
    from dspex.variables import Variable

Step = Literal["new", "open", "stage", "verify", "commit", "done", "aborted"]
Progress = Callable[[int, int], None]


class Move:
    """
    One attempt to bring a state into a store.

    Call `open`, `stage`, `verify` and `commit` (or `commit_nowait`) in this order; before the commit `abort` leaves nothing behind.

    Args:
        store: where to.
        session_id: the session to make; one that exists is refused with `SessionTaken`.
        ttl: seconds after its last use at which the store drops the session; None: never.
        holder: who asks for the lease; the session's own id unless given.
        context: what to call the context in errors; the session's id unless given.
        garbage: whether a former attempt could not clean up after itself: what it left under this id is dropped first.

    Attributes:
        step: what was done last.
        nowait: whether the commit is a plain step.
        variables: how many were staged so far.
        bytes: their encoded size.

    """

    def __init__(
        self,
        store: SessionStore,
        session_id: str,
        *,
        ttl: float | None = None,
        holder: str = "",
        context: str = "",
        garbage: bool = False,
    ) -> None:
        self.store = store
        self.session_id = session_id
        self.step: Step = "new"
        self.nowait: bool = isinstance(store, MemoryStore)
        self.variables: int = 0
        self._ttl = ttl
        self._garbage = garbage
        self._holder = holder or session_id
        self._context = context or session_id
        self._table = Table()
        self._lease: Lease | None = None
        self._staging: Staging | None = None
        self._digest = Digest()

    def __repr__(self) -> str:
        return f"<Move of {self._context!r} to {self.store!r} [{self.step} | {self.variables} variables, {self.bytes} bytes]>"

    @property
    def bytes(self) -> int:
        return self._digest.bytes

    async def open(self) -> None:
        """Take the lease on a session that isn't there, and an empty staging area."""
        if self._garbage:
            await self.store.drop(await self.store.open(self.session_id, "any", holder=self._holder))

        # Cut here, a lease may be left that nobody here knows of. The same holder takes it over at its next attempt.
        lease = self._lease = await self.store.open(self.session_id, "create", ttl=self._ttl, holder=self._holder)
        self._staging = await self.store.stage(lease)
        self.step = "open"

    async def stage(self, backend: SyncStateBackend | StateBackend, on_progress: Progress | None = None) -> None:
        """
        Encode every variable of *backend* and put it aside in the store, a slice of time at once.

        Raises `NotBridgeable` for all that has no encoded form. *on_progress* gets how many are done, and of how many.
        """
        # A class derived from ours may hand out other values than its table holds: it is read like any other.
        if type(backend) is LocalState:
            self._table = backend.table
        else:
            await self._copy(backend)

        total = len(self._table)
        staging = self._staged()
        for page in encoded_pages(self._context, self._table):
            await staging.put(page)
            for _ in self._digest.update(page):
                await checkpoint()

            self.variables = max(0, self._digest.records - 1)
            if on_progress is not None:
                on_progress(self.variables, total)

        self.step = "stage"

    async def _copy(self, backend: SyncStateBackend | StateBackend) -> None:
        found = backend.scan()
        async with reading(found if isinstance(found, AsyncIterator) else _awaited(found)) as pages:
            async for page in pages:
                for _ in self._table.load(page):
                    await checkpoint()

    async def verify(self) -> None:
        """Digest what the store gives back. Raises `BackendSwitchError` when it isn't what it was given."""
        held = Digest()
        async with reading(self._staged().scan()) as pages:
            async for page in pages:
                for _ in held.update(page):
                    await checkpoint()

        if held.value() != self._digest.value():
            told = f"{self._digest.records} records of {self._digest.bytes} bytes were stored and {held.records} of {held.bytes} came back"
            raise BackendSwitchError(self._context, step="verify", problem=f"what the store gives back differs: {told}.")

        self.step = "verify"

    def commit_nowait(self) -> BridgedState:
        """Publish and hand over the backend, in one step. Only where *nowait*."""
        staging, lease, store = self._staging, self._lease, self.store
        if not isinstance(staging, MemoryStaging) or not isinstance(store, MemoryStore) or lease is None:
            raise RuntimeError(f"{store!r} has no plain commit: await commit()")

        staging.commit_nowait(self._digest.value())
        self.step = "done"
        return BridgedState.adopt(store, lease, self._table)

    async def commit(self) -> BridgedState | AsyncBridgedState:
        """Publish and hand over the backend. Over a store that is awaited, a failure in here leaves it unknown whether it was published."""
        if self.nowait:
            return self.commit_nowait()

        await self._staged().commit(self._digest.value())
        self.step = "done"
        return AsyncBridgedState(self.store, table=self._table, lease=self._lease)

    async def abort(self) -> None:
        """Leave nothing in the store. After the commit, or again: no effect."""
        if self.step in {"done", "aborted"}:
            return

        self.step = "aborted"
        lease, staging = self._lease, self._staging
        try:
            if staging is not None:
                await staging.abort()
        finally:
            # Dropping the session is enough by itself, also when a commit was applied and its reply lost.
            if lease is not None:
                await self.store.drop(lease)

    def _staged(self) -> Staging:
        if self._staging is None:
            raise RuntimeError("open() comes first")

        return self._staging


async def _awaited(pages: Iterator[list[Variable]]) -> AsyncIterator[list[Variable]]:
    for page in pages:
        yield page
        await checkpoint()
