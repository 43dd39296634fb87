"""Session stores that break the contract, one rule each; the conformance kit must name it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import attrs
from anyio.lowlevel import checkpoint

from dspex.abc import ABSENT, Applied, Changes, Delete, Lease, Put, Record
from dspex.state.stores.memory import MemoryStaging, MemoryStore


class Clocked(MemoryStore):
    """A memory store whose time is moved by hand."""

    def __init__(self) -> None:
        self.time = 0.0
        super().__init__(clock=lambda: self.time, lease_seconds=30.0)


def advance(store: Any, seconds: float) -> None:
    store.time += seconds


class LetsAnyoneIn(Clocked):
    def open_nowait(self, session: str, mode: Any = "any", *, ttl: float | None = None, holder: str = "") -> Lease:
        return super().open_nowait(session, mode, ttl=ttl, holder="same")


class CreatesWhatExists(Clocked):
    def open_nowait(self, session: str, mode: Any = "any", *, ttl: float | None = None, holder: str = "") -> Lease:
        return super().open_nowait(session, "any" if mode == "create" else mode, ttl=ttl, holder=holder)


class ResumesNothing(Clocked):
    def open_nowait(self, session: str, mode: Any = "any", *, ttl: float | None = None, holder: str = "") -> Lease:
        return super().open_nowait(session, "any" if mode == "resume" else mode, ttl=ttl, holder=holder)


class NoFence(Clocked):
    """Whoever had a lease once may write."""

    def held(self, lease: Lease) -> Any:
        return self._sessions[lease.session] if lease.session in self._sessions else super().held(lease)


class WritesAfterRelease(Clocked):
    def release_nowait(self, lease: Lease) -> None:
        session = self._sessions.get(lease.session)
        super().release_nowait(lease)
        if session is not None and session.born and lease.session in self._sessions:
            session.fence = lease.fence


class AppliesOneByOne(Clocked):
    """What came before the conflict stays."""

    def apply_nowait(self, lease: Lease, op_id: str | None, ops: Sequence[Put | Delete]) -> Applied:
        if op_id is not None and op_id in self.held(lease)._answers:
            return super().apply_nowait(lease, op_id, ops)

        done = [super(AppliesOneByOne, self).apply_nowait(lease, None, [op]) for op in ops]
        answer = Applied(done[-1].revision, sum((one.versions for one in done), ()))
        if op_id is not None:
            self.held(lease)._remember(op_id, answer)

        return answer


class ForgetsAnswers(Clocked):
    def apply_nowait(self, lease: Lease, op_id: str | None, ops: Sequence[Put | Delete]) -> Applied:
        return super().apply_nowait(lease, None, ops)


class IgnoresIfVersion(Clocked):
    def apply_nowait(self, lease: Lease, op_id: str | None, ops: Sequence[Put | Delete]) -> Applied:
        return super().apply_nowait(lease, op_id, [op if isinstance(op, Delete) else op._replace(if_version=None) for op in ops])


class LosesTheHead(Clocked):
    def apply_nowait(self, lease: Lease, op_id: str | None, ops: Sequence[Put | Delete]) -> Applied:
        return super().apply_nowait(lease, op_id, [op if isinstance(op, Delete) else op._replace(head=op.head or b"") for op in ops])


class ScansLive(Clocked):
    """Each page tells what is there when it is asked for."""

    async def scan(self, session: str) -> AsyncIterator[list[Record]]:
        ids = [record.id for page in self.scan_nowait(session) for record in page]
        for start in range(0, len(ids), 256):
            yield list(self.read_nowait(session, ids[start : start + 256]).values())


class ScansById(Clocked):
    async def scan(self, session: str) -> AsyncIterator[list[Record]]:
        records = [record for page in self.scan_nowait(session) for record in page]
        if len(records) > 9:
            records.sort()

        for start in range(0, len(records), 256):
            yield records[start : start + 256]


class SharesRecords(Clocked):
    """One namespace for all sessions."""

    def open_nowait(self, session: str, mode: Any = "any", *, ttl: float | None = None, holder: str = "") -> Lease:
        lease = super().open_nowait(session, mode, ttl=ttl, holder=holder)
        first = next(iter(self._sessions.values()))
        self._sessions[session].records = first.records
        return lease


class DropsNothing(Clocked):
    def drop_nowait(self, lease: Lease) -> None:
        self.release_nowait(lease)


class ForgetsDeletions(Clocked):
    def changes_nowait(self, session: str, after: int) -> Changes:
        told = super().changes_nowait(session, after)
        return told._replace(versions={id: version for id, version in told.versions.items() if version is not None})


class StagedInPlace(Clocked):
    """Seen as it is put."""

    def stage_nowait(self, lease: Lease) -> MemoryStaging:
        staging = super().stage_nowait(lease)
        staging._records = self.held(lease).records
        return staging


class KeepsFormerStaging(Clocked):
    def stage_nowait(self, lease: Lease) -> MemoryStaging:
        former = self.held(lease).staging
        staging = super().stage_nowait(lease)
        if isinstance(former, MemoryStaging):
            staging._records = former._records

        return staging


class _CountsCommits(MemoryStaging):
    def commit_nowait(self, digest: bytes) -> int:
        session = self._store.held(self._lease)
        session.digest = b""
        session.staging = session.staging or self
        return super().commit_nowait(digest)


class CommitsTwice(Clocked):
    def stage_nowait(self, lease: Lease) -> MemoryStaging:
        session = self.held(lease)
        session.staging = staging = _CountsCommits(self, lease)
        return staging


class _Renumbers(MemoryStaging):
    def put_nowait(self, page: Sequence[Record]) -> None:
        super().put_nowait([record._replace(version=0) for record in page])


class CommitsFromZero(Clocked):
    def stage_nowait(self, lease: Lease) -> MemoryStaging:
        session = self.held(lease)
        session.staging = staging = _Renumbers(self, lease)
        return staging


class ReadsWhatIsMissing(Clocked):
    def read_nowait(self, session: str, ids: Sequence[str]) -> dict[str, Record]:
        found = super().read_nowait(session, ids)
        return {id: found.get(id, Record(id, ABSENT, b"", b"")) for id in ids}


class WaitsBetweenOps(Clocked):
    """All checked first; then a wait between one write and the next."""

    async def apply(self, lease: Lease, op_id: str | None, ops: Sequence[Put | Delete]) -> Applied:
        session = self.held(lease)
        if op_id is None or op_id not in session._answers:
            session.records.check(ops)
            for op in ops[:-1]:
                super().apply_nowait(lease, None, [op._replace(if_version=None)])
                await checkpoint()

            versions = tuple(session.records.version(op.id) for op in ops[:-1] if isinstance(op, Put))
            last = super().apply_nowait(lease, None, [ops[-1]._replace(if_version=None)])
            answer = Applied(last.revision, versions + last.versions)
            if op_id is not None:
                session._remember(op_id, answer)

            return answer

        return super().apply_nowait(lease, op_id, ops)


class RemembersTooEarly(Clocked):
    """The answer is kept, then a wait, then the write."""

    async def apply(self, lease: Lease, op_id: str | None, ops: Sequence[Put | Delete]) -> Applied:
        session = self.held(lease)
        if op_id is None or op_id in session._answers:
            return super().apply_nowait(lease, op_id, ops)

        session.records.check(ops)
        session._remember(op_id, Applied(session.revision, (1, 0)))
        await checkpoint()
        session._answers.pop(op_id)
        return super().apply_nowait(lease, op_id, ops)


class NeverExpires(Clocked):
    def open_nowait(self, session: str, mode: Any = "any", *, ttl: float | None = None, holder: str = "") -> Lease:
        return super().open_nowait(session, mode, holder=holder)


class LeasesForEver(Clocked):
    def open_nowait(self, session: str, mode: Any = "any", *, ttl: float | None = None, holder: str = "") -> Lease:
        lease = super().open_nowait(session, mode, ttl=ttl, holder=holder)
        self._sessions[session].until = float("inf")
        return attrs.evolve(lease, until=float("inf"))

    def renew_nowait(self, lease: Lease) -> Lease:
        self.held(lease)
        return lease


class RenewsNothing(Clocked):
    def renew_nowait(self, lease: Lease) -> Lease:
        self.held(lease)
        return lease


BROKEN: tuple[tuple[type[Clocked], str], ...] = (
    (ResumesNothing, "a session exists from its first write on"),
    (CreatesWhatExists, "creating a session that exists is refused with SessionTaken"),
    (LetsAnyoneIn, "a lease keeps other holders out, who are told its holder"),
    (NoFence, "whoever takes a lease over gets a higher fence, and the former holder's writes are refused with FenceLost"),
    (WritesAfterRelease, "a lease that was given back writes nothing"),
    (DropsNothing, "a dropped session is gone, and one of its name begins anew"),
    (SharesRecords, "sessions know nothing of each other"),
    (LosesTheHead, "versions begin at 0 and rise by one with each put; the head stays unless it is given"),
    (AppliesOneByOne, "a batch whose if_version doesn't hold is refused with VersionConflict and writes nothing"),
    (IgnoresIfVersion, "a batch whose if_version doesn't hold is refused with VersionConflict and writes nothing"),
    (ForgetsAnswers, "the same op_id again writes nothing and gives the first answer"),
    (ReadsWhatIsMissing, "read gives what is there and leaves out what isn't"),
    (ScansById, "a scan gives records in the order of their first puts, in pages of at most 256"),
    (ScansLive, "a scan tells one revision although writes go on"),
    (ForgetsDeletions, "changes tell what was written and deleted after a revision"),
    (StagedInPlace, "what is staged is unseen until the commit"),
    (KeepsFormerStaging, "a new staging area ends the former one"),
    (CommitsFromZero, "a staging area gives back what was put, and a page may be put again"),
    (CommitsTwice, "the same commit again gives the first answer and changes nothing"),
    (WaitsBetweenOps, "a batch is never read in halves"),
    (RemembersTooEarly, "a batch cut at any await is written whole or not, and once however often it is retried"),
    (NeverExpires, "a session is dropped its ttl after its last use"),
    (LeasesForEver, "a lease may be taken when its time is over, not before, and renewing prolongs it"),
    (RenewsNothing, "a lease may be taken when its time is over, not before, and renewing prolongs it"),
)
