"""What an idle context takes, and what importing takes."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import tracemalloc
from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from bench.measure import Options, Row, Sample, in_turns
from dspex import Context

NEEDED = "anyio, attrs, msgspec"


async def _contexts(stack: AsyncExitStack, count: int) -> None:
    for _ in range(count):
        await stack.enter_async_context(Context())

    await _settled()


async def _tasks(stack: AsyncExitStack, count: int) -> None:
    """What a context can't be without: a task that waits on a stream."""
    receiving: list[Any] = []
    for _ in range(count):
        send, receive = anyio.create_memory_object_stream[Any](1024)
        stack.callback(send.close)
        stack.callback(receive.close)
        receiving.append(receive)

    group = await stack.enter_async_context(anyio.create_task_group())
    stack.callback(group.cancel_scope.cancel)
    for receive in receiving:
        group.start_soon(receive.receive)

    await _settled()


async def _settled() -> None:
    """All new tasks have run to where they wait."""
    for _ in range(3):
        await checkpoint()


def _timed(fill: Any, count: int) -> Sample:
    async def sample() -> float:
        async with AsyncExitStack() as stack:
            gc.collect()
            started = perf_counter()
            await fill(stack, count)
            return (perf_counter() - started) / count

    return sample


def _weighed(fill: Any, count: int) -> Sample:
    async def sample() -> float:
        gc.collect()
        tracemalloc.start()
        try:
            async with AsyncExitStack() as stack:
                before = tracemalloc.get_traced_memory()[0]
                await fill(stack, count)
                gc.collect()
                return (tracemalloc.get_traced_memory()[0] - before) / count
        finally:
            tracemalloc.stop()

    return sample


async def idle(options: Options) -> list[Row]:
    """Time and memory of contexts that do nothing."""
    count = options.count(500)
    seconds = await in_turns(_timed(_contexts, count), _timed(_tasks, count), options.rounds)
    ours, theirs = await in_turns(_weighed(_contexts, count), _weighed(_tasks, count), 3, unit="KiB")
    note = f"the bare task and stream take {theirs[0]:.1f} KiB"
    return [
        Row("an idle context, time to open", "a bare anyio task waiting on a bare stream", 1.2, *seconds),
        Row("an idle context, memory", "KiB", 10.5, ours, unit="KiB", note=note),
    ]


def _import(statement: str) -> Sample:
    command = [sys.executable, "-c", f"from time import perf_counter as now; start = now(); {statement}; print(now() - start)"]

    async def sample() -> float:
        told = await anyio.run_process(command, env=_caching())
        return float(told.stdout)

    return sample


def _caching() -> dict[str, str]:
    """The environment of an interpreter that keeps what it compiled, as an installed package's is, whatever ours does."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir(), f"dspex-bench-{os.getuid()}"))}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


async def importing(options: Options) -> list[Row]:
    """The front door alone, and with what everyone takes from it."""
    return [
        Row(
            statement,
            f"import {NEEDED}",
            1.3,
            *await in_turns(_import(statement), _import(f"import {NEEDED}"), options.rounds, unit="ms"),
            unit="ms",
        )
        for statement in ("import dspex", "from dspex import Context, Var")
    ]
