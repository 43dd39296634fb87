"""The contract of session stores."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import ClassVar, Literal, NamedTuple

import attrs

Mode = Literal["create", "resume", "any"]
PAGE = 256
ABSENT = -1


class Record(NamedTuple):
    """
    One record of a session, as it is stored.

    Attributes:
        id: its key within the session.
        version: 0 when it is made, one more with each put.
        head: what stays the same for the life of the id.
        data: what a put replaces.

    """

    id: str
    version: int
    head: bytes
    data: bytes


class Put(NamedTuple):
    """
    Write *data* under *id*, making the record where there is none.

    Attributes:
        if_version: refuse with `VersionConflict` unless the record has this version; `ABSENT` (-1): unless there is none; None: never.
        head: None keeps the one it has (empty for a new record).

    """

    id: str
    data: bytes
    if_version: int | None = None
    head: bytes | None = None


class Delete(NamedTuple):
    """Remove the record *id*; one that isn't there is no error, unless *if_version* names a version."""

    id: str
    if_version: int | None = None


class Applied(NamedTuple):
    """The session's revision after a batch, and the version of each record put, in the order of the puts."""

    revision: int
    versions: tuple[int, ...]


class Changes(NamedTuple):
    """
    What changed after a revision.

    Attributes:
        revision: the session's revision now.
        versions: the version of each changed record by id; None where it was deleted.
        complete: whether that is all. False when the store no longer knows so far back: scan instead.

    """

    revision: int
    versions: dict[str, int | None]
    complete: bool = True


@attrs.frozen(slots=True)
class Lease:
    """
    The right to write one session.

    Attributes:
        session: its id.
        fence: higher than that of any lease before. Writes under a lower one are refused with `FenceLost`.
        until: when others may take it, on the store's clock, in seconds. It stays good after that while nobody has.
        resumed: whether the session was there already.

    """

    session: str
    fence: int
    until: float = math.inf
    resumed: bool = False


class Staging(ABC):
    """Records on their way in, which nobody sees before the commit. A newer one for the session, or the end of its lease, ends this one."""

    @abstractmethod
    async def put(self, page: Sequence[Record]) -> None:
        """Add records, with the versions they come with; an id that is there already is replaced, so a page may be put again."""

    @abstractmethod
    def scan(self) -> AsyncIterator[list[Record]]:
        """What has been put, read back from where it is kept, in the order of the first puts."""

    @abstractmethod
    async def commit(self, digest: bytes) -> int:
        """Make what was put the whole content of the session, at once, and return its revision. The same digest again: the same answer."""

    @abstractmethod
    async def abort(self) -> None:
        """Forget it. Once committed, or again: no effect."""


class SessionStore(ABC):
    """
    Keeps sessions as encoded records, for one holder of a lease each. Every method may be retried.

    All methods raise `FenceLost` for a lease that others have superseded or that was released.
    """

    persistent: ClassVar[bool] = False
    distributed: ClassVar[bool] = False

    @abstractmethod
    async def open(self, session: str, mode: Mode = "any", *, ttl: float | None = None, holder: str = "") -> Lease:
        """
        Take the lease on *session*.

        A session exists from its first `apply` or `Staging.commit` on. ``"create"`` wants it not to exist, ``"resume"`` wants it to.

        Args:
            session: its id.
            mode: what to do about one that exists, or doesn't.
            ttl: seconds after its last use (`open`, `renew`, `release` or the end of its lease) at which it is dropped; None: never.
            holder: who asks, for the sentence others get. The same holder may take its lease over, which fences the former.

        Raises:
            SessionTaken: another holder has it, or it exists and mode is ``"create"``.
            SessionNotFound: mode is ``"resume"`` and there is none.

        """

    @abstractmethod
    async def renew(self, lease: Lease) -> Lease:
        """Prolong the lease. The fence stays."""

    @abstractmethod
    async def release(self, lease: Lease) -> None:
        """Give the lease back and keep the session. Of a session that doesn't exist yet nothing is left. A lease given back: no effect."""

    @abstractmethod
    async def drop(self, lease: Lease) -> None:
        """Give the lease back and delete the session. A lease given back: no effect."""

    @abstractmethod
    async def apply(self, lease: Lease, op_id: str | None, ops: Sequence[Put | Delete]) -> Applied:
        """
        Write all of *ops* or none. The same *op_id* again (within the last 1024 of the session) writes nothing and gives the first answer.

        Raises:
            VersionConflict: an ``if_version`` didn't hold. Nothing was written.

        """

    @abstractmethod
    async def read(self, session: str, ids: Sequence[str]) -> dict[str, Record]:
        """The records of *ids*, of one revision; those that aren't there are left out."""

    @abstractmethod
    def scan(self, session: str) -> AsyncIterator[list[Record]]:
        """All records as of one revision, in the order in which their ids were first put, in pages of at most 256."""

    @abstractmethod
    async def stage(self, lease: Lease) -> Staging:
        """An empty staging area, in place of any former one of the session."""

    @abstractmethod
    async def changes(self, session: str, after: int) -> Changes:
        """What changed after the revision *after*."""
