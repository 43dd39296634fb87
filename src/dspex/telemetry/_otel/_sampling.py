"""
Which operations are timed: few, and none unless somebody reads.

A collection shows that there is a reader. After each one the next operations of some contexts are timed, and then no more until the next
collection. Half of the contexts are such that were busy since the last one, so that a hundred busy ones are found among a hundred thousand; the
others are chosen at random.

A context holds what times it, and not the other way round: one that ends is not kept by it.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from .. import _live

if TYPE_CHECKING:
    from .._records import OperationFailed, VariableOperation

    Sink = Callable[[VariableOperation | OperationFailed], object]

MOST_CONTEXTS: Final = 64
"""Contexts that are timed after a collection."""

MOST_OPERATIONS: Final = 64
"""Operations that are timed of each."""


class Timing:
    """
    What times the next operations of one context. It is called with each of them, on the context's own thread.

    Attributes:
        left: how many more it times.

    """

    __slots__ = ("__weakref__", "_inside", "_sink", "left")

    def __init__(self, inside: Any, sink: Sink) -> None:
        self.left: int = MOST_OPERATIONS
        self._inside = inside
        self._sink = sink

    @property
    def inside(self) -> Any:
        """The context."""
        return self._inside

    def begin(self) -> None:
        """From now on."""
        self._inside.variables.observe(self)

    def end(self) -> None:
        """No longer. Idempotent."""
        self.left = 0
        self._inside.variables.unobserve(self)

    def __call__(self, record: VariableOperation | OperationFailed) -> None:
        if self.left > 0:
            self._sink(record)

        self.left -= 1
        if self.left <= 0:
            self.end()


class Sampling:
    """Chooses whom to time next."""

    __slots__ = ("_lock", "_random", "_sink", "_timings")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lock = threading.Lock()
        self._random = random.Random()  # noqa: S311 - nobody gains by guessing it
        self._timings: WeakSet[Timing] | None = WeakSet()

    def renew(self, living: Sequence[Any]) -> None:
        """Somebody has read: times others, or the same ones again."""
        with self._lock:
            if self._timings is None:
                return

            busy = self._end_all(self._timings)
            for inside in self._choose(living, busy):
                timing = Timing(inside, self._sink)
                self._timings.add(timing)
                timing.begin()

    def end(self) -> None:
        """Times nobody any more."""
        with self._lock:
            timings, self._timings = self._timings, None
            if timings is not None:
                self._end_all(timings)

    def _end_all(self, timings: WeakSet[Timing]) -> list[Any]:
        busy = [timing.inside for timing in timings if timing.left < MOST_OPERATIONS and timing.inside in _live.CONTEXTS]
        for timing in timings:
            timing.end()

        timings.clear()
        return busy

    def _choose(self, living: Sequence[Any], busy: Sequence[Any]) -> Sequence[Any]:
        if len(living) <= MOST_CONTEXTS:
            return living

        again = self._random.sample(busy, min(len(busy), MOST_CONTEXTS // 2))
        others = self._random.sample(living, MOST_CONTEXTS)
        return list(dict.fromkeys((*again, *others)))[:MOST_CONTEXTS]
