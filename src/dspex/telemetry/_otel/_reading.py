"""
What a reader is told when it collects, read from what lives in this process.

It runs in the reader's thread. All instruments are told from one walk over the contexts, which stops every thousand of them to let the event loop
have the interpreter: with a hundred thousand contexts, one that has something to do waits for half a millisecond, and not for the whole walk.
"""

from __future__ import annotations

import time
from _thread import get_ident
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.metrics import Observation

from .. import _live
from . import _names

if TYPE_CHECKING:
    from ._few import Few
    from ._names import Metric
    from ._sampling import Sampling

AT_ONCE: Final = 500
"""Contexts that are read in one go: about half a millisecond."""

PAUSE: Final = 1e-4
"""Seconds for whoever else waits for the interpreter. One of 0 would hand it to nobody."""

Labels = tuple[tuple[str, str], ...]


class Reading:
    """
    The walk, and what it found that nobody has taken yet.

    A collection asks for each metric once: one that was taken already belongs to a new collection, and to a new walk.
    """

    __slots__ = ("_found", "_most", "_pools", "_sampling")

    def __init__(self, pools: Few, sampling: Sampling) -> None:
        self._pools = pools
        self._sampling = sampling
        self._found: dict[str, Mapping[Labels, int]] = {}
        self._most: dict[tuple[str, Labels], int] = {}

    def take(self, metric: Metric) -> Iterable[Observation]:
        """What there is to tell of *metric*."""
        if metric.name not in self._found:
            self._found = self._walk()

        return [Observation(number, dict(labels)) for labels, number in self._found.pop(metric.name).items()]

    def _walk(self) -> dict[str, Mapping[Labels, int]]:
        ended, living = _live.CONTEXTS.moment()
        self._sampling.renew(living)
        direct, queued, depth, kinds = _read(ended, living)
        restarts = _live.RESTARTS
        return {
            _names.OPERATIONS.name: self._growing(_names.OPERATIONS, _names.ROUTE, {"direct": direct, "queued": queued}),
            _names.MAILBOX_DEPTH.name: {(): depth},
            _names.CONTEXTS.name: {((_names.BACKEND, kind),): kinds[kind] for kind in ("local", "bridged", "custom")},
            _names.WORKERS.name: self._workers(),
            _names.RESTARTS.name: self._growing(
                _names.RESTARTS, _names.RESTART_OF, {"child": restarts.children, "worker": restarts.workers}
            ),
        }

    def _workers(self) -> Mapping[Labels, int]:
        counted: Counter[Labels] = Counter()
        for (pool, state), workers in _live.count_workers().items():
            counted[(_names.POOL, self._pools.name(pool)), (_names.WORKER_STATE, state)] += workers

        return counted

    def _growing(self, metric: Metric, label: str, counts: Mapping[str, int]) -> Mapping[Labels, int]:
        # One that is queued at the very moment of the walk may be counted in neither way; what was told once is not taken back.
        told: dict[Labels, int] = {}
        for value, count in counts.items():
            labels = ((label, value),)
            told[labels] = self._most[metric.name, labels] = max(count, self._most.get((metric.name, labels), 0))

        return told


def _read(ended: Sequence[int], living: Sequence[Any]) -> tuple[int, int, int, Mapping[str, int]]:
    """Operations delivered directly and queued, requests in mailboxes, contexts by backend."""
    direct, queued = ended
    depth = 0
    kinds: Counter[str] = Counter()
    for some in _in_parts(living):
        for inside in some:
            of_direct, of_queued = inside.counts()
            direct += of_direct
            queued += of_queued
            mailbox = inside.variables.mailbox
            depth += len(mailbox.ledger) + len(mailbox.waiting)
            kinds[inside.kind] += 1

    return direct, queued, depth, kinds


def _in_parts(living: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Some of them at a time, with a pause between, unless the event loop itself is what waits here."""
    apart = bool(living) and living[0].variables.thread != get_ident()
    rest = iter(living)
    while some := tuple(islice(rest, AT_ONCE)):
        yield some
        if apart and len(some) == AT_ONCE:
            time.sleep(PAUSE)
