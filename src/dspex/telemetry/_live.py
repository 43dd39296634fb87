"""
What lives in this process now: contexts, bridges, families, and supervisors that nobody supervises.

Each enters when it is up and leaves when it has ended for good, in steps of its own thread. Whoever looks may do so from any thread, and gets
what there was at one moment.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")

_lock = threading.Lock()


class Living(Generic[T]):
    """Those of one kind."""

    __slots__ = ("_all",)

    def __init__(self) -> None:
        self._all: dict[T, None] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, thing: object) -> bool:
        return thing in self._all

    def __iter__(self) -> Iterator[T]:
        # One step of the interpreter: nobody enters or leaves meanwhile.
        return iter(tuple(self._all))

    def enter(self, thing: T) -> None:
        """It is up."""
        self._all[thing] = None

    def leave(self, thing: T) -> None:
        """It has ended. Idempotent."""
        self._all.pop(thing, None)


class Counted(Protocol):
    """What has counts that only grow."""

    def counts(self) -> tuple[int, ...]:
        """Them, in an order of its own class."""
        ...


C = TypeVar("C", bound=Counted)


class Counting(Living[C]):
    """Those of one kind whose counts are summed, over all that ever lived."""

    __slots__ = ("_gone",)

    def __init__(self, counts: int) -> None:
        super().__init__()
        self._gone: tuple[int, ...] = (0,) * counts

    def enter(self, thing: C) -> None:
        """It is up. What it had counted in a former life, it brings back."""
        with _lock:
            if thing not in self._all:
                self._gone = tuple(gone - count for gone, count in zip(self._gone, thing.counts(), strict=True))
                super().enter(thing)

    def leave(self, thing: C) -> None:
        """It has ended, and its counts stay."""
        with _lock:
            if thing in self._all:
                self._gone = tuple(gone + count for gone, count in zip(self._gone, thing.counts(), strict=True))
                super().leave(thing)

    def moment(self) -> tuple[tuple[int, ...], tuple[C, ...]]:
        """The sums of those that have ended, and those that live, at one moment. They may be counted at leisure: it makes no difference that one ends."""
        with _lock:
            return self._gone, tuple(self._all)

    def totals(self) -> tuple[int, ...]:
        """The sums, of those that live and those that have ended."""
        ended, living = self.moment()
        sums = list(ended)

        # One that ends meanwhile still has its counts, which those that have ended did not include.
        for thing in living:
            for number, count in enumerate(thing.counts()):
                sums[number] += count

        return tuple(sums)


CONTEXTS: Counting[Any] = Counting(2)
"""Contexts, as what is inside of them. They count the operations delivered directly, and those that were queued."""

BRIDGES: Living[Any] = Living()
"""Bridges, private ones among them."""

FAMILIES: Living[Any] = Living()
"""Families of contexts."""

ROOTS: Living[Any] = Living()
"""Supervisors that no other one supervises."""


class Restarts:
    """
    What was started again in this process, ever.

    Attributes:
        children: children of supervisors, by themselves. Workers are not among them.
        workers: worker processes that had ended without being asked to.

    """

    __slots__ = ("children", "workers")

    def __init__(self) -> None:
        self.children: int = 0
        self.workers: int = 0


RESTARTS: Restarts = Restarts()


def count_workers() -> dict[tuple[str, str], int]:
    """How many workers all bridges have, by the name of their pool and their state. Of a pool all states are there."""
    counts: dict[tuple[str, str], int] = {}
    for bridge in BRIDGES:
        for (pool, state), count in bridge._count_workers().items():
            counts[pool, state] = counts.get((pool, state), 0) + count

    return counts
