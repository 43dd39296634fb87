"""The programs that the bench runs in workers. Each measures itself there and gives the seconds of one operation."""

from __future__ import annotations

import os
import threading
from time import perf_counter
from typing import TYPE_CHECKING

from dspex import isolated

if TYPE_CHECKING:
    from dspex import ProgramContext, SyncProgramContext


@isolated
def nothing() -> None:
    """Only comes and goes."""


@isolated
def pid() -> int:
    """The worker's process id."""
    return os.getpid()


@isolated
def forever() -> None:
    """Holds its thread until its process ends."""
    threading.Event().wait()


@isolated
def read(name: str, times: int, ctx: SyncProgramContext) -> float:
    """One variable after the other."""
    started = perf_counter()
    for _ in range(times):
        ctx.get(name)

    return (perf_counter() - started) / times


@isolated
async def read_async(name: str, times: int, ctx: ProgramContext) -> float:
    """The same in an async program."""
    started = perf_counter()
    for _ in range(times):
        await ctx.get(name)

    return (perf_counter() - started) / times


@isolated
def read_many(names: list[str], times: int, ctx: SyncProgramContext) -> float:
    """Many in one request."""
    started = perf_counter()
    for _ in range(times):
        ctx.get_many(names)

    return (perf_counter() - started) / times / len(names)


@isolated
async def read_pipelined(names: list[str], times: int, ctx: ProgramContext) -> float:
    """Many requests at once."""
    import asyncio  # a worker's async programs run on its asyncio loop

    started = perf_counter()
    for _ in range(times):
        await asyncio.gather(*(ctx.get(name) for name in names))

    return (perf_counter() - started) / times / len(names)
