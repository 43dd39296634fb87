"""The switch: of a small context, with and without an open bridge, and of large ones."""

from __future__ import annotations

import gc
import socket
import statistics
from datetime import datetime
from time import perf_counter, thread_time
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from bench.measure import Options, Row
from dspex import Bridge, Context
from dspex.wire import codec

BARE = "bare is codec.encode, once a variable, of what a switch carries of it: id, name, type, value, version, constraints, metadata, times"


async def filled(ctx: Context, count: int) -> None:
    """Give *ctx* so many floats."""
    for index in range(count):
        await ctx.variables.define(f"variable_{index}", float, index * 1.1)


async def records(ctx: Context) -> list[list[Any]]:
    """What a switch has to carry of each variable, as plain data."""
    return [
        [
            one.id,
            one.name,
            one.type,
            one.value,
            one.version,
            dict(one.constraints),
            dict(one.metadata),
            *map(_moment, (one.created_at, one.updated_at)),
        ]
        for one in await ctx.variables.list()
    ]


def _moment(when: datetime) -> int:
    return int(when.timestamp() * 1e6)


def encode_one_pass(plain: list[list[Any]]) -> float:
    """Seconds to encode the records one by one, and nothing else."""
    started = perf_counter()
    for record in plain:
        codec.encode(record)

    return perf_counter() - started


async def switch_once(bridge: Bridge | None, count: int) -> float:
    """Milliseconds of one switch of *count* variables, as the caller sees it."""
    async with Context(bridge=bridge) as ctx:
        await filled(ctx, count)
        started = perf_counter()
        await ctx.ensure_bridged()
        return (perf_counter() - started) * 1e3


async def small(options: Options) -> list[Row]:
    """Twenty variables."""
    times = options.count(100)
    private = [await switch_once(None, 20) for _ in range(times)]
    async with Bridge(workers=1) as bridge:
        await bridge.wait_ready()
        shared = [await switch_once(bridge, 20) for _ in range(options.count(500))]

    beside = await _beside()
    p99 = statistics.quantiles(shared + private, n=100)[-1]
    return [
        Row("switch of 20 variables, new private bridge", "ms", 0.6, private, unit="ms", note=beside),
        Row("switch of 20 variables, open bridge", "ms", 0.2, shared, unit="ms", note=beside),
        Row("switch of 20 variables, 99th percentile", "ms", 5.0, [p99], unit="ms"),
    ]


async def _beside() -> str:
    async with Context() as ctx:
        await filled(ctx, 20)
        plain = await records(ctx)

    encoding = statistics.median(encode_one_pass(plain) for _ in range(20))
    pairs: list[float] = []
    for _ in range(20):
        started = perf_counter()
        ends = socket.socketpair()
        pairs.append(perf_counter() - started)
        for end in ends:
            end.close()

    return f"a socketpair takes {statistics.median(pairs) * 1e3:.3f} ms, encoding the 20 takes {encoding * 1e3:.3f} ms"


async def large(options: Options) -> list[Row]:
    """Ten thousand variables and more, beside a bare encode, and the longest time the loop was held."""
    rows: list[Row] = []
    sizes = [10_000, 100_000, *([1_000_000] if options.large else [])] if options.scale >= 1 else [1_000]
    for count in sizes:
        rounds = [await _large_once(count) for _ in range(5 if count <= 10_000 else 3 if count <= 100_000 else 1)]
        ours, theirs, longest, collecting = (list(found) for found in zip(*rounds, strict=True))
        note = f"the longest garbage collection within took {max(collecting):.1f} ms"
        rows.append(Row(f"switch of {count:,} variables", "a bare one-pass encode", 3.0, ours, theirs, unit="ms", note=BARE))
        rows.append(
            Row(f"switch of {count:,} variables, longest step", "ms of CPU, without garbage collection", 5.0, longest, unit="ms", note=note)
        )

    return rows


async def _large_once(count: int) -> tuple[float, float, float, float]:
    async with Bridge(workers=1) as bridge, Context(bridge=bridge) as ctx:
        await bridge.wait_ready()
        await filled(ctx, count)
        plain = await records(ctx)
        bare = encode_one_pass(plain)
        del plain
        with Steps() as steps:
            seconds = await _switch_beside(ctx, steps)

        return seconds * 1e3, bare * 1e3, steps.longest * 1e3, steps.collecting * 1e3


class Steps:
    """
    The longest time between two turns of a task that always wants one.

    In CPU time of this thread, so that other processes don't count, and without the garbage collector's share, which is told apart.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self.collecting = 0.0
        self._collected = 0.0
        self._began = 0.0

    def __enter__(self) -> Steps:
        gc.callbacks.append(self._collector)
        return self

    def __exit__(self, *error: object) -> None:
        gc.callbacks.remove(self._collector)

    def _collector(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = thread_time()
        else:
            took = thread_time() - self._began
            self._collected += took
            self.collecting = max(self.collecting, took)

    async def watch(self) -> None:
        """Run beside what is to be watched, until cancelled."""
        last = thread_time() - self._collected
        while True:
            await checkpoint()
            now = thread_time() - self._collected
            self.longest = max(self.longest, now - last)
            last = now


async def _switch_beside(ctx: Context, steps: Steps) -> float:
    seconds = 0.0
    async with anyio.create_task_group() as group:
        group.start_soon(steps.watch)
        await checkpoint()
        started = perf_counter()
        await ctx.ensure_bridged()
        seconds = perf_counter() - started
        group.cancel_scope.cancel()

    return seconds
