"""
The session store in memory: it lives as long as whoever holds it, and all it kept goes with it.

Everything is also there as plain methods whose names end in ``_nowait``: nothing here ever has to wait. A backend over this store is
therefore a synchronous one.
"""

# ruff: noqa: D102 - an id is called id; what a method does is told once, in the contract
from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from time import monotonic
from typing import ClassVar

import attrs
from anyio.lowlevel import checkpoint

from dspex._exceptions import FenceLost, SessionNotFound, SessionTaken
from dspex.abc import Applied, Changes, Delete, Lease, Mode, Put, Record, SessionStore, Staging
from dspex.state.stores._records import Records
from dspex.state.stores._session import Session


class MemoryStaging(Staging):
    """Records aside, until `commit` puts them in the session's place."""

    __slots__ = ("_lease", "_records", "_store")

    def __init__(self, store: MemoryStore, lease: Lease) -> None:
        self._store = store
        self._lease = lease
        self._records = Records()

    def put_nowait(self, page: Sequence[Record]) -> None:
        self._mine()
        for record in page:
            self._records.place(record)

    def scan_nowait(self) -> Iterator[list[Record]]:
        self._mine()
        return self._records.scan()

    def commit_nowait(self, digest: bytes) -> int:
        session = self._store.held(self._lease)
        if session.digest == digest and session.staging is not self:
            return session.published

        self._mine()
        return session.publish(self._records, digest)

    def abort_nowait(self) -> None:
        self._store.unstage(self._lease, self)
        self._records = Records()

    async def put(self, page: Sequence[Record]) -> None:
        await checkpoint()
        self.put_nowait(page)

    async def scan(self) -> AsyncIterator[list[Record]]:
        for page in self.scan_nowait():
            await checkpoint()
            yield page

    async def commit(self, digest: bytes) -> int:
        await checkpoint()
        return self.commit_nowait(digest)

    async def abort(self) -> None:
        await checkpoint()
        self.abort_nowait()

    def _mine(self) -> None:
        if self._store.held(self._lease).staging is not self:
            raise FenceLost(self._lease.session)


class MemoryStore(SessionStore):
    """
    Sessions in this process.

    Args:
        clock: what time it is, in seconds.
        lease_seconds: how long a lease lasts unless renewed. For ever by default, since its holder can't go without this store.

    """

    persistent: ClassVar[bool] = False
    distributed: ClassVar[bool] = False

    def __init__(self, *, clock: Callable[[], float] = monotonic, lease_seconds: float = math.inf) -> None:
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._sessions: dict[str, Session] = {}
        self._fences = 0
        self._sweep_at = 64

    def __repr__(self) -> str:
        return f"<MemoryStore [{len(self._sessions)} sessions]>"

    # --- leases

    def open_nowait(self, session: str, mode: Mode = "any", *, ttl: float | None = None, holder: str = "") -> Lease:
        now = self._clock()
        self._sweep(now)
        found = self._current(session, now)
        if found is not None and found.held_by_another(holder, now):
            raise SessionTaken(session, holder=f"it is held by {found.holder or 'another context'}")

        born = found is not None and found.born
        if mode == "create" and born:
            raise SessionTaken(session, holder="it exists already")

        if mode == "resume" and not born:
            raise SessionNotFound(session)

        kept = found or self._sessions.setdefault(session, Session(session))
        self._fences += 1
        kept.hand_over(fence=self._fences, holder=holder, until=now + self._lease_seconds, ttl=ttl, now=now)
        return Lease(session, kept.fence, kept.until, resumed=born)

    def renew_nowait(self, lease: Lease) -> Lease:
        session = self.held(lease)
        now = self._clock()
        session.until = now + self._lease_seconds
        session.touched = now
        return attrs.evolve(lease, until=session.until)

    def release_nowait(self, lease: Lease) -> None:
        session = self._sessions.get(lease.session)
        if session is None or session.fence != lease.fence:
            return

        session.let_go(self._clock())
        if not session.born:
            del self._sessions[lease.session]

    def drop_nowait(self, lease: Lease) -> None:
        session = self._sessions.get(lease.session)
        if session is not None and session.fence == lease.fence:
            session.let_go(self._clock())
            del self._sessions[lease.session]

    def held(self, lease: Lease) -> Session:
        """The session of *lease*; `FenceLost` when it isn't the latest one."""
        session = self._sessions.get(lease.session)
        if session is None or session.fence != lease.fence:
            raise FenceLost(lease.session)

        return session

    # --- records

    def apply_nowait(self, lease: Lease, op_id: str | None, ops: Sequence[Put | Delete]) -> Applied:
        return self.held(lease).apply(op_id, ops)

    def writer_nowait(self, lease: Lease) -> Callable[[str, bytes, int], int]:
        """A function (id, data, if_version) -> version that puts one record under *lease*, as `apply` would without an op_id."""
        return self.held(lease).writer(lease.fence)

    def read_nowait(self, session: str, ids: Sequence[str]) -> dict[str, Record]:
        found = self._current(session, self._clock())
        return {} if found is None else found.records.read(ids)

    def scan_nowait(self, session: str) -> Iterator[list[Record]]:
        found = self._current(session, self._clock())
        return iter(()) if found is None else found.records.scan()

    def changes_nowait(self, session: str, after: int) -> Changes:
        found = self._current(session, self._clock())
        return Changes(0, {}, complete=after == 0) if found is None else found.changes(after)

    def stage_nowait(self, lease: Lease) -> MemoryStaging:
        session = self.held(lease)
        session.staging = staging = MemoryStaging(self, lease)
        return staging

    def unstage(self, lease: Lease, staging: MemoryStaging) -> None:
        """Forget *staging*, if it is still the session's."""
        session = self._sessions.get(lease.session)
        if session is not None and session.staging is staging:
            session.staging = None

    # --- the same, awaited

    async def open(self, session: str, mode: Mode = "any", *, ttl: float | None = None, holder: str = "") -> Lease:
        await checkpoint()
        return self.open_nowait(session, mode, ttl=ttl, holder=holder)

    async def renew(self, lease: Lease) -> Lease:
        await checkpoint()
        return self.renew_nowait(lease)

    async def release(self, lease: Lease) -> None:
        await checkpoint()
        self.release_nowait(lease)

    async def drop(self, lease: Lease) -> None:
        await checkpoint()
        self.drop_nowait(lease)

    async def apply(self, lease: Lease, op_id: str | None, ops: Sequence[Put | Delete]) -> Applied:
        await checkpoint()
        return self.apply_nowait(lease, op_id, ops)

    async def read(self, session: str, ids: Sequence[str]) -> dict[str, Record]:
        await checkpoint()
        return self.read_nowait(session, ids)

    async def scan(self, session: str) -> AsyncIterator[list[Record]]:
        for page in self.scan_nowait(session):
            await checkpoint()
            yield page

    async def changes(self, session: str, after: int) -> Changes:
        await checkpoint()
        return self.changes_nowait(session, after)

    async def stage(self, lease: Lease) -> MemoryStaging:
        await checkpoint()
        return self.stage_nowait(lease)

    # --- ends

    def _current(self, name: str, now: float) -> Session | None:
        session = self._sessions.get(name)
        if session is not None and session.expired(now):
            del self._sessions[name]
            return None

        return session

    def _sweep(self, now: float) -> None:
        # Twice as many as the last sweep left: the cost spread over the opens between is one look each.
        if len(self._sessions) >= self._sweep_at:
            for name in list(self._sessions):
                self._current(name, now)

            self._sweep_at = max(64, 2 * len(self._sessions))
