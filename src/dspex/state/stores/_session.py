"""One session in memory: its lease, its records, its revisions."""

# ruff: noqa: A001, A002 - an id is called id; what a method does is told once, in the contract
from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from dspex._exceptions import FenceLost
from dspex.abc import ABSENT, Applied, Changes, Delete, Put
from dspex.state.stores._records import Records

LOG = 4096
ANSWERS = 1024


class Session:
    """
    One session.

    Attributes:
        fence: that of the latest lease.
        until: when it may be taken; -inf while nobody has it.
        touched: when it was last used.
        born: whether it exists for others: from its first write on.
        revision: how many records were written in its life.
        digest: what the last commit of a staging area came with, and *published* the revision it made.

    """

    __slots__ = (
        "_answers", "_log", "born", "digest", "fence", "holder", "name", "published", "records", "revision", "staging", "touched", "ttl", "until",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name: str = name
        self.fence: int = 0
        self.holder: str = ""
        self.until: float = -math.inf
        self.ttl: float | None = None
        self.touched: float = -math.inf
        self.born: bool = False
        self.revision: int = 0
        self.digest: bytes = b""
        self.published: int = 0
        self.staging: object | None = None
        self.records: Records = Records()
        self._log: deque[str] = deque(maxlen=LOG)
        self._answers: dict[str, Applied] = {}

    # --- the lease

    def held_by_another(self, holder: str, now: float) -> bool:
        """Whether somebody else than *holder* has the lease at *now*. A holder without a name is nobody's equal."""
        return self.until > now and not (holder and holder == self.holder)

    def hand_over(self, *, fence: int, holder: str, until: float, ttl: float | None, now: float) -> None:
        """Give the lease to *holder*. The fence is a new one, and what was staged is forgotten."""
        self.fence = fence
        self.holder = holder
        self.until = until
        self.ttl = ttl
        self.touched = now
        self.staging = None

    def let_go(self, now: float) -> None:
        """End the lease: its fence fits no longer, and what was staged is forgotten."""
        self.fence += 1
        self.until = -math.inf
        self.touched = now
        self.staging = None

    def expired(self, now: float) -> bool:
        """Whether it is to be dropped: nobody has it, and it was never written, or has been unused for its ttl."""
        if self.until > now:
            return False

        unused_since = max(self.touched, self.until)
        return not self.born or (self.ttl is not None and now - unused_since >= self.ttl)

    # --- records

    def apply(self, op_id: str | None, ops: Sequence[Put | Delete]) -> Applied:
        """Write all of *ops* or none. A known *op_id* writes nothing and is answered as it was the first time."""
        answer = self._answers.get(op_id) if op_id is not None else None
        if answer is not None:
            return answer

        self.records.check(ops)
        versions = tuple([version for op in ops if (version := self._write(op)) != ABSENT])
        self.born = True
        answer = Applied(self.revision, versions)
        if op_id is not None:
            self._remember(op_id, answer)

        return answer

    def _write(self, op: Put | Delete) -> int:
        self.revision += 1
        self._log.append(op.id)
        if isinstance(op, Put):
            return self.records.put(op.id, op.head, op.data)

        self.records.remove(op.id)
        return ABSENT

    def _remember(self, op_id: str, answer: Applied) -> None:
        self._answers[op_id] = answer
        if len(self._answers) > ANSWERS:
            del self._answers[next(iter(self._answers))]

    def writer(self, fence: int) -> Callable[[str, bytes, int], int]:
        """One put of a known version in a few steps, where records and fence are as they mostly are."""
        log = self._log

        def put(id: str, data: bytes, if_version: int) -> int:
            if self.fence != fence:
                raise FenceLost(self.name)

            rows = self.records.hot
            row = rows.get(id)
            if row is None or row[0] != if_version:
                return self._put_checked(id, data, if_version)

            version = if_version + 1
            rows[id] = (version, row[1], data, row[3])
            self.revision += 1
            log.append(id)
            return version

        return put

    def _put_checked(self, id: str, data: bytes, if_version: int) -> int:
        version = self.records.put_known(id, data, if_version)
        self.revision += 1
        self._log.append(id)
        return version

    def publish(self, records: Records, digest: bytes) -> int:
        """Make *records* the whole content, in one step."""
        self.records = records
        self.revision += 1
        self._log.clear()
        self.born = True
        self.staging = None
        self.digest = digest
        self.published = self.revision
        return self.revision

    def changes(self, after: int) -> Changes:
        """The version of each record that was written after the revision *after*, None where it is gone; as far as the log goes back."""
        missed = self.revision - after
        known = len(self._log)
        ids = islice(self._log, max(0, known - max(0, missed)), None)
        versions = {id: None if (version := self.records.version(id)) == ABSENT else version for id in ids}
        return Changes(self.revision, versions, complete=missed <= known)
