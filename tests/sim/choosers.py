"""
Who runs next. A chooser is asked with the runnable tasks, as numbers in order of creation, whenever there is more than one.

Random walk finds most bugs in a few runs. PCT gives tasks random priorities and lowers the running one's at *d* random places: it finds what
needs one task starved for long, which a walk never does. So half of the seeds go to each. Guided is for shrinking: choice 0 is "no preemption".
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Chooser(Protocol):
    """Picks one of *ids*; *current* ran last, and may not be among them."""

    def choose(self, ids: Sequence[int], current: int | None) -> int:
        """The one that runs next."""
        ...


@dataclass(slots=True)
class Fifo:
    """Who waited longest, as asyncio does."""

    waiting: dict[int, None] = field(default_factory=dict)

    def choose(self, ids: Sequence[int], current: int | None) -> int:
        """The first come."""
        present = set(ids)
        self.waiting = {number: None for number in self.waiting if number in present and number != current}
        for number in ids:
            self.waiting.setdefault(number)

        return next(iter(self.waiting))


class Walk:
    """Any, evenly."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def choose(self, ids: Sequence[int], current: int | None) -> int:
        """One of them."""
        del current
        return ids[self._random.randrange(len(ids))]


class Pct:
    """
    Probabilistic concurrency testing: the task of highest priority runs, and at *depth* - 1 of the first *decisions* it is sent to the end.

    *decisions* has to be near what a run really has: far too large, and the changes fall where nothing runs any more.
    """

    def __init__(self, seed: int, depth: int, decisions: int) -> None:
        self._random = random.Random(seed)
        self._changes = {self._random.randrange(max(1, decisions)) for _ in range(depth - 1)}
        self._priorities: dict[int, float] = {}
        self._step = 0

    def choose(self, ids: Sequence[int], current: int | None) -> int:
        """The one of highest priority."""
        del current
        for number in ids:
            self._priorities.setdefault(number, self._random.random() + 1.0)

        if self._step in self._changes:
            first = max(ids, key=self._priorities.__getitem__)
            self._priorities[first] = -float(self._step)

        self._step += 1
        return max(ids, key=self._priorities.__getitem__)


def _ranked(ids: Sequence[int], current: int | None) -> list[int]:
    """The current task first, if it can go on: then choice 0 never preempts."""
    return [*[n for n in ids if n == current], *[n for n in ids if n != current]]


class Guided:
    """Choices by rank: 0 lets the current task go on, or takes the oldest. Past the end of *choices*, all are 0."""

    def __init__(self, choices: Sequence[int]) -> None:
        self._choices = choices
        self._step = 0

    def choose(self, ids: Sequence[int], current: int | None) -> int:
        """The one of the next rank."""
        rank = self._choices[self._step] if self._step < len(self._choices) else 0
        self._step += 1
        return _ranked(ids, current)[rank % len(ids)]


Replay = Guided  # a recorded run is a list of ranks


@dataclass(slots=True)
class Trace:
    """Asks *chooser*, and writes down the rank of each choice and who was preempted for whom."""

    chooser: Chooser
    ranks: list[int] = field(default_factory=list)
    chosen: list[int] = field(default_factory=list)
    preemptions: list[tuple[int, int | None, int]] = field(default_factory=list)

    def choose(self, ids: Sequence[int], current: int | None) -> int:
        """What the chooser says, noted."""
        number = self.chooser.choose(ids, current)
        rank = _ranked(ids, current).index(number)
        if rank:
            self.preemptions.append((len(self.ranks), current, number))

        self.ranks.append(rank)
        self.chosen.append(number)
        return number


def portfolio(seed: int, decisions: int) -> Chooser:
    """Half walk, half PCT of depth 1 to 5."""
    return Walk(seed) if seed % 2 == 0 else Pct(seed, 1 + seed // 2 % 5, decisions)


def shrink(choices: Sequence[int], fails: Callable[[Sequence[int]], bool], *, replays: int = 120) -> list[int]:
    """Set to 0 all of *choices* that the failure doesn't need: chunks first, halved down to single ones (ddmin)."""
    best, size, left = list(choices), max(1, len(choices) // 2), replays
    while left > 0 and any(best):
        smaller, used = _sweep(best, size, fails, left)
        left -= used
        if size == 1 and smaller == best:
            break

        best, size = smaller, max(1, size // 2)

    return _trimmed(best)


def _sweep(choices: list[int], size: int, fails: Callable[[Sequence[int]], bool], left: int) -> tuple[list[int], int]:
    best, used = choices, 0
    for start in range(0, len(choices), size):
        if used >= left or not any(best[start : start + size]):
            continue

        trial = [*best[:start], *[0] * len(best[start : start + size]), *best[start + size :]]
        used += 1
        best = trial if fails(trial) else best

    return best, used


def _trimmed(choices: list[int]) -> list[int]:
    last = max((at for at, rank in enumerate(choices) if rank), default=-1)
    return choices[: last + 1]
