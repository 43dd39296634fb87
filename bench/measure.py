"""
How a row is measured.

Both sides run in turns, ours first in one round and second in the next, so that a noisy neighbour hits both. Of the rounds the median
counts; the extremes are shown beside it.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from attrs import asdict, field, frozen

Sample = Callable[[], Awaitable[float]]
"""Does its work once and gives the cost of one operation, in seconds or bytes."""


@frozen
class Options:
    """
    How much to measure.

    Attributes:
        rounds: turns of each side.
        scale: what counts of operations are multiplied with; below 1 for a smoke run.
        large: whether to include what takes minutes.

    """

    rounds: int = 15
    scale: float = 1.0
    large: bool = False

    def count(self, operations: int) -> int:
        """*operations*, scaled."""
        return max(2, int(operations * self.scale))


@frozen
class Row:
    """
    One measured row.

    Attributes:
        work: what was measured.
        against: what it was compared with; for an absolute budget, what the budget is in.
        budget: what *value* may be at most; None for a row that only informs.
        ours: the cost of one operation, of each round, in *unit*.
        theirs: the same of the other side; empty for an absolute budget.
        unit: ``"us"``, ``"ms"`` or ``"KiB"``.
        note: what else is worth knowing.

    """

    work: str
    against: str
    budget: float | None
    ours: list[float]
    theirs: list[float] = field(factory=list)
    unit: str = "us"
    note: str = ""

    @property
    def rounds(self) -> list[float]:
        """What is judged, of each round: the ratio, or for an absolute budget the cost itself."""
        return [mine / other for mine, other in zip(self.ours, self.theirs, strict=True)] if self.theirs else self.ours

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rounds)

    @property
    def verdict(self) -> str:
        """``"ok"``, ``"over"`` or, without a budget, ``"-"``."""
        if self.budget is None:
            return "-"

        return "ok" if self.value <= self.budget else "over"

    def record(self) -> dict[str, Any]:
        """The row as plain data, for results.json."""
        judged = {"value": self.value, "lowest": min(self.rounds), "highest": max(self.rounds), "verdict": self.verdict}
        return {**asdict(self), **judged, "kind": "ratio" if self.theirs else "absolute"}


UNITS = {"us": 1e6, "ms": 1e3, "KiB": 1 / 1024}


async def in_turns(ours: Sample, theirs: Sample, rounds: int, unit: str = "us") -> tuple[list[float], list[float]]:
    """Measure both sides *rounds* times in turns, after one turn of each that doesn't count. Costs are in *unit*."""
    await ours()
    await theirs()
    mine: list[float] = []
    others: list[float] = []
    for turn in range(rounds):
        sides = [(ours, mine), (theirs, others)]
        for sample, found in sides if turn % 2 == 0 else reversed(sides):
            found.append(await sample() * UNITS[unit])

    return mine, others


def repeated(operation: Callable[..., Awaitable[Any]], *args: Any, times: int) -> Sample:
    """A sample that awaits *operation* so many times and gives the seconds of one."""

    async def sample() -> float:
        turns = range(times)
        started = perf_counter()
        for _ in turns:
            await operation(*args)

        return (perf_counter() - started) / times

    return sample
