"""What operations cost on one context, now: `benchmark_operations`."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import checkpoint
from attrs import asdict, frozen

from .._exceptions import DspexError
from . import _drawing
from ._bounds import check_seconds
from ._contexts import context_of, label_of
from ._drawing import Block, Sheet

if TYPE_CHECKING:
    from rich.console import Group

    from ..context import Context, Variables

Operation = Callable[[], Awaitable[object]]

BATCH_SECONDS = 0.001
"""How long one batch takes, about: then others may run."""

MOST = 1000
"""Operations in one batch."""

FEWEST_BATCHES = 3
CLEAN_UP = 5.0


@frozen(kw_only=True)
class OperationCost:
    """
    What one operation costs.

    Attributes:
        operation: what was done.
        seconds: what one takes, as its caller sees it: the median over the batches.
        ratio: to reading a dict through a coroutine, in the same moments.
        queued: whether it went through the mailbox.

    """

    operation: str
    seconds: float
    ratio: float
    queued: bool


@frozen(kw_only=True, repr=False)
class BenchmarkReport:
    """
    What operations cost on one context at one moment. ``print(report)`` shows it in plain text, ``rich.print(report)`` in colours.

    Attributes:
        at: when that was, UTC.
        id: the context's id.
        name: its name, or None.
        backend: the class of its backend.
        kind: ``"local"``, ``"bridged"`` or ``"custom"``.
        wrapped: seconds that reading a dict through a coroutine takes: what the ratios are to.
        operations: what each costs.

    """

    at: dt.datetime
    id: str
    name: str | None
    backend: str
    kind: str
    wrapped: float
    operations: tuple[OperationCost, ...]

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain data that JSON has words for. Durations are in seconds."""
        return {**asdict(self, recurse=False), "at": self.at.isoformat(), "operations": [asdict(each) for each in self.operations]}

    def __str__(self) -> str:
        return _drawing.as_text(self._sheet())

    def __rich__(self) -> Group:
        return _drawing.as_rich(self._sheet())

    def __repr__(self) -> str:
        told = ", ".join(f"{each.operation} {_microseconds(each.seconds)}" for each in self.operations[:2])
        return f"<BenchmarkReport of {_drawing.safe(self.name or self.id)!r} [{self.kind} | {told}]>"

    def _sheet(self) -> Sheet:
        facts = (
            ("Context", label_of(self.id, self.name)),
            ("Backend", self.backend),
            ("A dict, wrapped", _microseconds(self.wrapped)),
        )
        rows = tuple(
            (each.operation, _microseconds(each.seconds), f"{each.ratio:,.1f}×", "queued" if each.queued else "direct")
            for each in self.operations
        )
        costs = Block("Operations:", columns=("operation", ">time", ">to a dict", "how"), rows=rows)
        return Sheet("DSPex Operation Costs", (Block(facts=facts), costs))


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:,.2f} µs"


async def benchmark_operations(context: Context | str, *, seconds: float = 0.02) -> BenchmarkReport:
    """
    Measures what operations cost on *context* now, as its callers see it: with what listens and what else runs.

    It works on variables of its own, whose names begin with ``benchmark_``, and removes them. Whoever watches all variables sees them, and a
    session that is kept on disk is written to. It lets others run every millisecond.

    Args:
        context: a context, or its name.
        seconds: how long each operation is measured, about; longer where three take longer.

    Raises:
        NameNotFound: no live context has this name.
        ContextClosed: it isn't running.

    """
    check_seconds("seconds", seconds, optional=False)
    found = context_of(context)
    bench = Bench(found, seconds)
    try:
        await bench.furnish()
        costs = [await bench.measure(name, operation) for name, operation in bench.operations().items()]
    finally:
        await bench.clear()

    info = found.backend
    return BenchmarkReport(
        at=dt.datetime.now(dt.UTC),
        id=found.id,
        name=found.name,
        backend=info.type.__qualname__,
        kind=info.kind,
        wrapped=median(bench.wrapped),
        operations=tuple(costs),
    )


class Bench:
    """
    The measuring of one context.

    Attributes:
        wrapped: what reading a dict through a coroutine took, in each batch.

    """

    def __init__(self, context: Context, seconds: float) -> None:
        self._context = context
        self._variables: Variables = context.variables
        self._seconds = seconds
        self._prefix = f"benchmark_{os.urandom(4).hex()}"
        # What there may be of it now, to be removed.
        self._names: dict[str, None] = {}
        self._dict = {"x": 0.5}
        self.wrapped: list[float] = []

    async def furnish(self) -> None:
        """Defines what is measured on."""
        await self._define("float", float, 0.5, min=0.0, max=1.0)
        await self._define("int", int, 0)
        await self._define("dict", dict[str, int], {"a": 1, "b": 2})
        for number in range(10):
            await self._define(f"many_{number}", float, 0.5)

    async def _define(self, name: str, kind: Any, initial: Any, **constraints: Any) -> None:
        full = f"{self._prefix}_{name}"
        self._names[full] = None
        await self._variables.define(full, kind, initial, **constraints)

    async def clear(self) -> None:
        """Removes it."""
        with anyio.move_on_after(CLEAN_UP, shield=True):
            for name in self._names:
                try:
                    await self._variables.delete(name)
                except DspexError:
                    continue  # it never was, or has gone with the context

    def operations(self) -> dict[str, Operation]:
        """What is measured."""
        variables, prefix = self._variables, self._prefix
        number, count, mapping = f"{prefix}_float", f"{prefix}_int", f"{prefix}_dict"
        many = [f"{prefix}_many_{each}" for each in range(10)]
        values = dict.fromkeys(many, 0.25)
        return {
            "get": lambda: variables.get(number),
            "get of a dict": lambda: variables.get(mapping),
            "set": lambda: variables.set(number, 0.25),
            "update": lambda: variables.update(number, _same),
            "add": lambda: variables.add(count, 1),
            "merge": lambda: variables.merge(mapping, {"a": 2}),
            "info": lambda: variables.info(number),
            "get_many of 10": lambda: variables.get_many(many),
            "set_many of 10": lambda: variables.set_many(values),
            "define and delete": self._come_and_go,
        }

    async def _come_and_go(self) -> None:
        name = f"{self._prefix}_new"
        self._names[name] = None
        await self._variables.define(name, float, 0.5)
        await self._variables.delete(name)
        del self._names[name]

    async def measure(self, name: str, operation: Operation) -> OperationCost:
        """What *operation* costs, in batches between which others may run, with a batch of dicts beside each."""
        queued = self._context.statistics().queued
        one = await _timed(operation, 1)
        times = max(1, min(MOST, int(BATCH_SECONDS / max(one, 1e-9))))
        until = perf_counter() + self._seconds
        samples: list[float] = []
        beside: list[float] = []
        while perf_counter() < until or len(samples) < FEWEST_BATCHES:
            beside.append(await _timed(self._read, MOST))
            samples.append(await _timed(operation, times))
            await checkpoint()

        self.wrapped += beside
        went = self._context.statistics().queued - queued
        cost = median(samples)
        return OperationCost(operation=name, seconds=cost, ratio=cost / median(beside), queued=went >= len(samples) * times / 2)

    def _read(self) -> Awaitable[object]:
        return _wrapped(self._dict, "x")


async def _wrapped(held: dict[str, float], name: str) -> float:
    return held[name]


def _same(value: Any) -> Any:
    return value


async def _timed(operation: Operation, times: int) -> float:
    began = perf_counter()
    for _ in range(times):
        await operation()

    return (perf_counter() - began) / times
