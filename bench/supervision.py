"""Supervised children and families: the restart of a crashed one, and very many, beside what is done by hand."""

from __future__ import annotations

import gc
import logging
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from time import perf_counter
from typing import Any

import anyio
from anyio.abc import TaskGroup, TaskStatus
from attrs import frozen

from bench.measure import UNITS, Options, Row, Sample, in_turns
from dspex import ChildSpec, Context, ContextCrashed, Contexts, DynamicSupervisor, LocalState, Supervisor, Var
from dspex.supervision import bounded

log = logging.getLogger("dspex.supervision")

TIMES = 5_000
MANY = 100_000
ROUNDS = 3
LINEAR = 1.3
"""How much more one of very many may cost than one of a tenth as many."""


class Crash(Exception):
    """What the children here crash with."""


class Crashing:
    """A child that crashes as soon as it is ready, so many times, and then waits."""

    def __init__(self, times: int) -> None:
        self.settled = anyio.Event()
        self.seconds = 0.0
        self._left = times
        self._first_crash = 0.0

    async def __call__(self, *, task_status: TaskStatus[None]) -> None:
        """One life of it."""
        task_status.started()
        if self._left == 0:
            self.seconds = perf_counter() - self._first_crash
            self.settled.set()
            await anyio.sleep_forever()

        self._left -= 1
        self._first_crash = self._first_crash or perf_counter()
        raise Crash


def _restarted(times: int) -> Sample:
    """From a crash until the child is ready again."""

    async def sample() -> float:
        crashing = Crashing(times)
        async with Supervisor([ChildSpec("crashing", crashing)], max_restarts=times):
            await crashing.settled.wait()

        return crashing.seconds / times

    return sample


async def ready(*, task_status: TaskStatus[None]) -> None:
    """Is ready, and has nothing else to do."""
    task_status.started()


def _started_by_hand(times: int) -> Sample:
    async def sample() -> float:
        took = 0.0
        async with anyio.create_task_group() as group:
            started = perf_counter()
            for _ in range(times):
                await group.start(ready)

            took = perf_counter() - started

        return took / times

    return sample


def restart(library: str) -> Any:
    """A restart, on the loop *library*."""

    async def rows(options: Options) -> list[Row]:
        # Each crash is told in the log, with its traceback: what that takes is the log's, and ten times as much.
        log.setLevel(logging.CRITICAL)
        times = options.count(TIMES)
        found = await in_turns(_restarted(times), _started_by_hand(times), options.rounds)
        return [
            Row(
                f"restart of a crashed child ({library})", "starting the same task by hand", 2.0, *found, note="but for its line in the log"
            ),
            *await _context_rows(library, options),
        ]

    return rows


class Fragile(LocalState):
    """Local state whose owner crashes when it is to delete something."""

    def delete(self, key: Any) -> Any:
        """Crashes."""
        raise Crash


VALUE = Var("value", float, 0.5)


def _restarted_context(times: int) -> Sample:
    """From the crash until the restarted context, with the state it had, answers the first operation that waits for it."""

    async def sample() -> float:
        spec = Context.child_spec("context", backend=Fragile, variables=[VALUE])
        seconds = 0.0
        async with Supervisor([spec], max_restarts=times) as supervisor:
            ctx: Context = supervisor.which_child("context").value
            for _ in range(times):
                started = perf_counter()
                with suppress(ContextCrashed):
                    await ctx.variables.delete(VALUE)

                await ctx.variables.get(VALUE)
                seconds += perf_counter() - started

        return seconds / times

    return sample


def _opened_by_hand(times: int) -> Sample:
    async def sample() -> float:
        seconds = 0.0
        for _ in range(times):
            started = perf_counter()
            async with Context(variables=[VALUE]) as ctx:
                await ctx.variables.get(VALUE)
                seconds += perf_counter() - started

        return seconds / times

    return sample


async def _context_rows(library: str, options: Options) -> list[Row]:
    times = options.count(TIMES // 10)
    found = await in_turns(_restarted_context(times), _opened_by_hand(times), options.rounds)
    title = f"restart of a crashed context, its state kept, until a waiting operation is answered ({library})"
    return [Row(title, "opening a context by hand, and its first operation", None, *found)]


# --- very many -------------------------------------------------------------------------------------------------------------------------


@frozen
class Costs:
    """Seconds, and bytes where they were counted, of one of very many."""

    start: float
    stop: float
    memory: float = 0.0


Fill = Callable[[Any, int], Awaitable[None]]
"""Starts so many in what was entered."""

Side = tuple[Callable[[], AbstractAsyncContextManager[Any]], Fill]
"""What holds them all and is left to stop them, and how it is filled."""


async def waiting(*, task_status: TaskStatus[None]) -> None:
    """Is ready, and waits until it is cancelled."""
    task_status.started()
    await anyio.sleep_forever()


async def _children(supervisor: DynamicSupervisor, count: int) -> None:
    for number in range(count):
        await supervisor.start_child(ChildSpec(f"child-{number}", waiting, restart="temporary"))


async def _tasks(group: TaskGroup, count: int) -> None:
    for number in range(count):
        await group.start(waiting, name=f"child-{number}")


class Cancelled(AbstractAsyncContextManager[TaskGroup]):
    """A task group that is cancelled when it is left."""

    def __init__(self) -> None:
        self._group = anyio.create_task_group()

    async def __aenter__(self) -> TaskGroup:
        return await self._group.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(*error)


async def _keys(family: Contexts, count: int) -> None:
    for number in range(count):
        async with family.open(f"key-{number}"):
            pass


class ByHand(AbstractAsyncContextManager[list[Context]]):
    """Contexts that are stopped one after the other when this is left."""

    def __init__(self) -> None:
        self._contexts: list[Context] = []

    async def __aenter__(self) -> list[Context]:
        return self._contexts

    async def __aexit__(self, *error: object) -> None:
        for context in self._contexts:
            await context.stop()


async def _contexts(started: list[Context], count: int) -> None:
    started += [await Context.start() for _ in range(count)]


CHILDREN: Side = (DynamicSupervisor, _children)
TASKS: Side = (Cancelled, _tasks)
FAMILY: Side = (partial(Contexts, max_contexts=MANY), _keys)
CONTEXTS: Side = (ByHand, _contexts)


async def _once(side: Side, count: int, *, weigh: bool = False) -> Costs:
    make, fill = side
    gc.collect()
    if weigh:
        tracemalloc.start()

    try:
        async with make() as holder:
            before = tracemalloc.get_traced_memory()[0]
            began = perf_counter()
            await fill(holder, count)
            started = perf_counter() - began
            gc.collect()
            taken = tracemalloc.get_traced_memory()[0] - before
            began = perf_counter()

        return Costs(started / count, (perf_counter() - began) / count, taken / count)
    finally:
        tracemalloc.stop()


async def _in_turns(ours: Side, theirs: Side, count: int, rounds: int) -> tuple[list[Costs], list[Costs]]:
    mine: list[Costs] = []
    others: list[Costs] = []
    for turn in range(rounds):
        sides = [(ours, mine), (theirs, others)]
        for side, found in sides if turn % 2 == 0 else reversed(sides):
            found.append(await _once(side, count))

    return mine, others


def _each(costs: list[Costs], phase: str, unit: str = "us") -> list[float]:
    return [getattr(one, phase) * UNITS[unit] for one in costs]


async def very_many(what: str, ours: Side, theirs: tuple[str, Side], options: Options, *, rounds: int) -> list[Row]:
    """What one of very many costs, beside the same number of others, and beside a tenth as many."""
    beside, bare = theirs
    count, rounds = options.count(MANY), min(options.rounds, rounds)
    fewer, _ = await _in_turns(ours, bare, count // 10, rounds)
    mine, others = await _in_turns(ours, bare, count, rounds)
    # Counting what is allocated takes several times as long as all else. What one takes doesn't depend on how many there are.
    weighed, weighed_bare = [await _once(side, count // 10, weigh=True) for side in (ours, bare)]
    title = f"{count:,} {what}"
    note = f"{beside}: {weighed_bare.memory * UNITS['KiB']:.1f} KiB"
    return [
        Row(f"{title}, start of each", beside, None, _each(mine, "start"), _each(others, "start")),
        Row(f"{title}, stop of each", beside, None, _each(mine, "stop"), _each(others, "stop")),
        Row(f"{title}, memory of each", "KiB", None, _each([weighed], "memory", "KiB"), unit="KiB", note=note),
        *(
            Row(f"{title}, {phase} of each", f"of {count // 10:,}", LINEAR, _each(mine, phase), _each(fewer, phase))
            for phase in ("start", "stop")
        ),
    ]


async def children(options: Options) -> list[Row]:
    """Children of a dynamic supervisor."""
    return await very_many("dynamic children", CHILDREN, ("tasks of a task group", TASKS), options, rounds=ROUNDS)


async def drawing(options: Options) -> list[Row]:
    """A bounded tree of very many children, as a monitor draws it: the loop is held that long."""
    found: list[float] = []
    async with DynamicSupervisor() as supervisor:
        for number in range(options.count(MANY)):
            await supervisor.start_child(ChildSpec(f"c{number}", anyio.sleep_forever))

        gc.collect()
        for _ in range(options.rounds):
            began = perf_counter()
            bounded(supervisor, 200)
            found.append((perf_counter() - began) * UNITS["ms"])

    return [Row(f"200 drawn of {options.count(MANY):,} children", "ms", 5.0, found, unit="ms")]


async def family(options: Options) -> list[Row]:
    """Contexts of a family, which nobody holds. Starting one there includes letting go of it."""
    return await very_many("contexts of a family", FAMILY, ("contexts started one by one", CONTEXTS), options, rounds=1)
