"""
Linearizability of a history: is there an order of its operations, within real time, that the sequential model explains?

`search` is the algorithm of Wing and Gong with Lowe's cache: walk the calls in time order, lift out one that the model allows,
go on with the rest, undo at a return that could not be placed. The worst case is exponential in operations of unknown outcome, so
it has a budget, and says so when that is used up: "unknown" is no pass.

`by_versions` needs no search: where every write told its version, the versions are the order, and one pass compares it with real time.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from .model import Model, State
from .recorder import MISSING, UNKNOWN, Op, Outcome


class Verdict(Enum):
    """What a check says of a history."""

    OK = "linearizable"
    VIOLATION = "not linearizable"
    UNKNOWN = "history too hard"


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict, the longest prefix that could be put in order, and what could not follow it."""

    verdict: Verdict
    prefix: tuple[Op, ...] = ()
    stuck: Op | None = None
    steps: int = 0

    def __str__(self) -> str:
        lines = [f"{self.verdict.value} after {self.steps} steps; the longest order that the model explains:"]
        lines += [f"  {op}" for op in self.prefix]
        return "\n".join([*lines, f"then nothing explains: {self.stuck}"])


class _Entry:
    """A call or a return in a doubly linked list in time order."""

    __slots__ = ("index", "match", "next", "previous")

    def __init__(self, index: int) -> None:
        self.index = index
        self.match: _Entry | None = None  # a call's return; None for a return
        self.next: _Entry | None = None
        self.previous: _Entry | None = None

    def unlink(self) -> None:
        if self.previous is not None:
            self.previous.next = self.next

        if self.next is not None:
            self.next.previous = self.previous

    def relink(self) -> None:
        if self.previous is not None:
            self.previous.next = self

        if self.next is not None:
            self.next.previous = self


def _timeline(ops: Sequence[Op]) -> _Entry:
    """The head, a dummy, of the list of all calls and returns in time order; returns that never came are last."""
    calls = [_Entry(i) for i in range(len(ops))]
    returns = [_Entry(i) for i in range(len(ops))]
    for call, ret in zip(calls, returns, strict=True):
        call.match = ret

    timed = [(float(op.call), 0, entry) for op, entry in zip(ops, calls, strict=True)]
    timed += [(op.ret, 1, entry) for op, entry in zip(ops, returns, strict=True)]
    head = last = _Entry(-1)
    for _, _, entry in sorted(timed, key=lambda row: (row[0], row[1], row[2].index)):
        last.next, entry.previous, last = entry, last, entry

    return head


@dataclass(slots=True)
class _Search:
    """The walk: what is placed, and where it has been."""

    model: Model
    ops: Sequence[Op]
    state: State
    budget: int
    head: _Entry
    steps: int = 0
    placed: int = 0  # a bit an operation
    needed: int = 0  # how many known operations are still to be placed
    stack: list[tuple[_Entry, State]] = field(default_factory=list)
    seen: set[tuple[int, Hashable]] = field(default_factory=set)
    longest: tuple[int, ...] = ()
    stuck: int | None = None

    def run(self) -> Verdict:
        entry = self.head.next
        while entry is not None and self.needed:
            self.steps += 1
            if self.steps > self.budget:
                return Verdict.UNKNOWN

            entry = self._advance(entry)
            if entry is None and self.needed:
                return Verdict.VIOLATION

        return Verdict.OK

    def _advance(self, entry: _Entry) -> _Entry | None:
        """
        The next entry to look at, or None when nothing is left to try.

        A return that never came is behind all others: before the walk is there, nothing is needed any more.
        """
        if entry.match is not None:
            return self.head.next if self._place(entry) else entry.next

        self._note_stuck(entry.index)
        return self._undo()

    def _place(self, entry: _Entry) -> bool:
        op = self.ops[entry.index]
        state, expected = self.model.step(self.state, op)
        if op.result is not UNKNOWN and op.result != expected:
            return False

        mark = (self.placed | 1 << entry.index, state)
        if mark in self.seen:
            return False

        self.seen.add(mark)
        self.stack.append((entry, self.state))
        self.placed, self.state = mark
        self.needed -= op.ret != math.inf
        _lift(entry)
        return True

    def _undo(self) -> _Entry | None:
        if not self.stack:
            return None

        entry, self.state = self.stack.pop()
        self.placed &= ~(1 << entry.index)
        self.needed += self.ops[entry.index].ret != math.inf
        _drop(entry)
        return entry.next

    def _note_stuck(self, index: int) -> None:
        if self.stuck is None or len(self.stack) > len(self.longest):
            self.longest = tuple(entry.index for entry, _ in self.stack)
            self.stuck = index

    def report(self, verdict: Verdict) -> Report:
        stuck = None if self.stuck is None else self.ops[self.stuck]
        return Report(verdict, tuple(self.ops[i] for i in self.longest), stuck, self.steps)


def _lift(entry: _Entry) -> None:
    assert entry.match is not None
    entry.unlink()
    entry.match.unlink()


def _drop(entry: _Entry) -> None:
    assert entry.match is not None
    entry.match.relink()
    entry.relink()


def _countable(ops: Sequence[Op]) -> list[Op]:
    """What the checker has to place: refusals never happened, and a read of unknown result says nothing."""
    return [op for op in ops if op.outcome is Outcome.OK or (op.outcome is Outcome.INFO and not op.reads)]


def search(model: Model, ops: Sequence[Op], state: State, *, budget: int = 2_000_000) -> Report:
    """Whether *ops*, from *state*, can be put in an order that *model* explains."""
    kept = sorted(_countable(ops), key=lambda op: op.call)
    walk = _Search(model, kept, state, budget, _timeline(kept), needed=sum(op.ret != math.inf for op in kept))
    return walk.report(walk.run())


# --- versions are the order ------------------------------------------------------------------------------------------------------


def by_versions(ops: Sequence[Op], initial: Any) -> Report | None:
    """
    Check one key whose writes all told their versions, in near-linear time.

    *ops* are ``get``, ``info`` and ``set`` of one key that began with the value *initial* at version 0, every written value unique.
    None when that isn't enough to decide: an unknown outcome, an ``add``, a compare-and-set, a value that nobody wrote.
    """
    kept = _countable(ops)
    if not all(op.outcome is Outcome.OK and op.result != MISSING and op.name in ("get", "info", "set") and len(op.args) < 3 for op in kept):
        return None

    written = {op.result: op for op in kept if op.name == "set"}
    if len(written) != sum(op.name == "set" for op in kept) or set(written) != set(range(1, len(written) + 1)):
        return Report(Verdict.VIOLATION, stuck=next((op for op in kept if op.name == "set"), None), steps=len(kept))

    places = {op.args[1]: version for version, op in written.items()} | {initial: 0}
    return _in_order(kept, places)


def _in_order(ops: Sequence[Op], places: dict[Any, int]) -> Report:
    placed: list[tuple[int, int, Op]] = []
    for op in ops:
        place = _place_of(op, places)
        if place is None:
            return Report(Verdict.VIOLATION, stuck=op, steps=len(ops))

        placed.append((place, op.reads, op))

    return _within_time(placed)


def _place_of(op: Op, places: dict[Any, int]) -> int | None:
    if op.name == "set":
        return int(op.result)

    version, value = op.result if op.name == "info" else (None, op.result)
    place = places.get(value)
    return place if version is None or version == place else None


def _within_time(placed: list[tuple[int, int, Op]]) -> Report:
    """No operation may start after one that stands behind it in the order has ended."""
    ends = sorted(((op.ret, place, reads) for place, reads, op in placed))
    highest, done = (-1, 0), 0
    for place, reads, op in sorted(placed, key=lambda row: row[2].call):
        while done < len(ends) and ends[done][0] < op.call:
            highest, done = max(highest, ends[done][1:]), done + 1

        if (place, reads) < highest:
            return Report(Verdict.VIOLATION, stuck=op, steps=len(placed))

    return Report(Verdict.OK, steps=len(placed))


def resolve(ops: Sequence[Op], final_version: int | None = None) -> list[Op]:
    """
    Decide unknown single-key writes of unique values where the rest of the history does.

    A value that somebody read with its version was written, as that version. Where the versions up to *final_version* are all accounted
    for by known writes, the rest never happened.
    """
    seen = {op.result[1]: op.result[0] for op in ops if op.name == "info" and op.outcome is Outcome.OK and isinstance(op.result, tuple)}
    solved = [_resolved(op, seen) for op in ops]
    known = {op.result for op in solved if op.name == "set" and op.outcome is Outcome.OK}
    if final_version is None or known != set(range(1, final_version + 1)):
        return solved

    return [op for op in solved if op.outcome is not Outcome.INFO]


def _resolved(op: Op, seen: dict[Any, int]) -> Op:
    if op.outcome is not Outcome.INFO or op.name != "set" or op.args[1] not in seen:
        return op

    return replace(op, outcome=Outcome.OK, result=seen[op.args[1]])


def check_key(key: str, ops: Sequence[Op], initial: Any, *, final_version: int | None = None) -> Report:
    """L1 for one key, the quick way where it decides, else by search."""
    solved = resolve(ops, final_version)
    return by_versions(solved, initial) or search(Model((key,)), solved, ((0, initial),))
