"""Programs in workers: reading a variable, many at once, being called, being killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from multiprocessing import get_context
from time import perf_counter
from typing import Any

import anyio
from anyio.abc import UNIXSocketStream

from bench import programs
from bench.measure import Options, Row, in_turns, repeated
from dspex import Bridge, Context, Var, WorkerDied

NAMES = [f"value_{index}" for index in range(64)]
VARIABLES = [Var(name, float, 0.5) for name in NAMES]
REQUEST = 32
"""Bytes of an echoed message: about what asking for a variable takes on the wire."""


@asynccontextmanager
async def echoing(client: str) -> AsyncIterator[UNIXSocketStream]:
    """A process that asks *client*'s way, at the other end of a socketpair; each number sent makes it measure so many echoes."""
    ours, theirs = socket.socketpair()
    control, command = socket.socketpair()
    with theirs, command:
        process = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs on this loop yet
            [sys.executable, "-m", "bench.echo", client, str(theirs.fileno()), str(command.fileno())],
            pass_fds=[theirs.fileno(), command.fileno()],
        )

    async with (
        await UNIXSocketStream.from_socket(ours) as stream,
        await UNIXSocketStream.from_socket(control) as orders,
        anyio.create_task_group() as group,
    ):
        group.start_soon(_echo, stream)
        await orders.receive()  # it has started
        yield orders
        group.cancel_scope.cancel()

    process.wait()


async def _echo(stream: UNIXSocketStream) -> None:
    while True:
        await stream.send(await stream.receive())


async def reading(options: Options) -> list[Row]:
    """A variable read from a worker, beside an echo over the same kind of socket."""
    rows: list[Row] = []
    times = options.count(1000)
    async with Bridge(workers=1) as bridge, Context(variables=VARIABLES, bridge=bridge) as ctx:
        for program, client, budget in (programs.read, "blocking", 1.25), (programs.read_async, "anyio", 1.6):
            bound = await ctx.register_program(program.__name__, program)

            async def ours(bound: Any = bound) -> float:
                seconds: float = await bound(name=NAMES[0], times=times)
                return seconds

            async with echoing(client) as orders:

                async def theirs(orders: UNIXSocketStream = orders) -> float:
                    await orders.send(str(times).encode())
                    return float(await orders.receive())

                found = await in_turns(ours, theirs, options.rounds)

            kind = "async" if client == "anyio" else "sync"
            note = f"{REQUEST} bytes each way over a socketpair, asked by a {client} client in a process, answered by an anyio server in this one"
            rows.append(Row(f"get from a worker's {kind} program", f"an echo, {client}", budget, *found, note=note))

    return rows


async def many_at_once(options: Options) -> list[Row]:
    """Sixty-four operations together, beside one alone, each as the cost of one."""
    rows: list[Row] = []
    times = options.count(300)
    async with Bridge(workers=1) as bridge, Context(variables=VARIABLES, bridge=bridge) as ctx:
        for together, alone in (programs.read_many, programs.read), (programs.read_pipelined, programs.read_async):
            bound = {program: await ctx.register_program(program.__name__, program) for program in (together, alone)}

            async def ours(batch: Any = bound[together]) -> float:
                seconds: float = await batch(names=NAMES, times=max(2, times // 16))
                return seconds

            async def theirs(single: Any = bound[alone]) -> float:
                seconds: float = await single(name=NAMES[0], times=times)
                return seconds

            rows.append(
                Row(
                    f"64 operations at once, each ({together.__name__})", "a single one", 0.2, *await in_turns(ours, theirs, options.rounds)
                )
            )

    return rows


async def calling(options: Options) -> list[Row]:
    """A call of an empty program, beside the standard library's process pool."""
    times = options.count(300)
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        async with Bridge(workers=1) as bridge, Context(bridge=bridge) as ctx:
            bound = await ctx.register_program("nothing", programs.nothing)

            async def submitted() -> None:
                await loop.run_in_executor(executor, programs.nothing)

            found = await in_turns(repeated(bound, times=times), repeated(submitted, times=times), options.rounds)

    return [Row("a call of an empty program", "run_in_executor(ProcessPoolExecutor)", 0.7, *found)]


async def killed(options: Options) -> list[Row]:
    """A worker is killed in a call: until its caller knows, and until the next call is served."""
    rounds = [await _killed_once() for _ in range(min(options.rounds, 7))]
    told, served = (list(found) for found in zip(*rounds, strict=True))
    return [
        Row("a worker killed: its caller told", "ms", 5.0, told, unit="ms"),
        Row("a worker killed: the next call served", "ms", 60.0, served, unit="ms"),
    ]


async def _killed_once() -> tuple[float, float]:
    """Milliseconds of both. In a new context: a worker that dies again and again is replaced with a growing delay."""
    async with Context() as ctx:
        pid_of = await ctx.register_program("pid", programs.pid)
        forever = await ctx.register_program("forever", programs.forever)
        told = await _kill_in_call(forever, await pid_of())
        started = perf_counter()
        await pid_of()
        return told * 1e3, (perf_counter() - started) * 1e3


async def _kill_in_call(forever: Any, pid: int) -> float:
    started = 0.0

    async def kill() -> None:
        nonlocal started
        await anyio.sleep(0.2)  # the call is in the worker by then, and what else was starting has started
        started = perf_counter()
        os.kill(pid, signal.SIGKILL)

    async with anyio.create_task_group() as group:
        group.start_soon(kill)
        try:
            await forever()
        except WorkerDied:
            return perf_counter() - started

    raise AssertionError("the program that never ends has ended")
