"""Variable operations from the host: direct, bridged, queued."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio

from bench.bare import built
from bench.measure import Options, Row, in_turns, repeated
from dspex import Context, LocalState, Var
from dspex.abc import StateBackend

VALUE = Var("value", float, 0.5, min=0.0, max=1.0)
TIMES = 20_000

PLAIN = {"value": 0.5}
LOCK = asyncio.Lock()


async def wrapped(key: str) -> float:
    """What an operation is compared with: one coroutine around a dict item."""
    return PLAIN[key]


async def locked(key: str) -> float:
    """What one would write without a context."""
    async with LOCK:
        return PLAIN[key]


async def direct(options: Options) -> list[Row]:
    """Get and set on local state with the gate open."""
    times = options.count(TIMES)
    async with Context(variables=[VALUE]) as ctx:
        get, set_ = (repeated(ctx.variables.get, VALUE, times=times), repeated(ctx.variables.set, VALUE, 0.25, times=times))
        bare, lock = repeated(wrapped, "value", times=times), repeated(locked, "value", times=times)
        return [
            Row("get of a scalar, local", "a coroutine that returns a dict item", 2.0, *await in_turns(get, bare, options.rounds)),
            Row("get of a scalar, local", "asyncio.Lock + dict", 0.6, *await in_turns(get, lock, options.rounds)),
            Row(
                "set of a float with min and max, local",
                "a coroutine that returns a dict item",
                3.0,
                *await in_turns(set_, bare, options.rounds),
            ),
        ]


async def bridged(options: Options) -> list[Row]:
    """The same operations after a switch."""
    times = options.count(TIMES)
    async with Context(variables=[VALUE]) as local, Context(variables=[VALUE]) as switched:
        await switched.ensure_bridged()
        get, local_get = (repeated(ctx.variables.get, VALUE, times=times) for ctx in (switched, local))
        set_, local_set = (repeated(ctx.variables.set, VALUE, 0.25, times=times) for ctx in (switched, local))
        return [
            Row("get from the host, bridged", "local", 1.3, *await in_turns(get, local_get, options.rounds)),
            Row("set from the host, bridged", "local", 2.5, *await in_turns(set_, local_set, options.rounds)),
        ]


class Awaited(StateBackend):
    """Local state behind coroutines: nothing can be delivered directly, so every operation queues."""

    capabilities = LocalState.capabilities
    requires_bridge = False

    def __init__(self) -> None:
        self._state = LocalState()

    async def open(self, *args: Any, **options: Any) -> None:
        self._state.open(*args, **options)

    async def close(self, **options: Any) -> None:
        self._state.close(**options)

    async def define(self, *args: Any) -> Any:
        return self._state.define(*args)

    async def get(self, *args: Any) -> Any:
        return self._state.get(*args)

    async def set(self, *args: Any) -> Any:
        return self._state.set(*args)

    async def set_many(self, *args: Any) -> Any:
        return self._state.set_many(*args)

    async def delete(self, *args: Any) -> Any:
        return self._state.delete(*args)

    async def info(self, *args: Any) -> Any:
        return self._state.info(*args)

    async def scan(self) -> Any:
        for page in self._state.scan():
            yield page


def queued(library: str, budget: float) -> Any:
    """An operation that has to queue, on the loop *library*."""

    async def rows(options: Options) -> list[Row]:
        times = options.count(TIMES // 10)
        send, receive = anyio.create_memory_object_stream[Any](1024)

        async def serve() -> None:
            async for key, future in receive:
                future.return_value = PLAIN[key]

        async def ask(key: str) -> Any:
            future: Any = anyio.Future()
            await send.send((key, future))
            return await future

        async with Context(variables=[VALUE], backend=Awaited) as ctx, anyio.create_task_group() as group:
            group.start_soon(serve)
            ours, theirs = repeated(ctx.variables.get, VALUE, times=times), repeated(ask, "value", times=times)
            found = await in_turns(ours, theirs, options.rounds)
            send.close()

        receive.close()
        return [Row(f"an operation that has to queue ({library})", "a bare memory object stream and a future", budget, *found)]

    return rows


async def unheard(options: Options) -> list[Row]:
    """What telemetry costs while nobody listens: against a build that has none."""
    times = options.count(TIMES)
    with built() as bare:
        var = bare.Var("value", float, 0.5, min=0.0, max=1.0)
        async with Context(variables=[VALUE]) as ctx, bare.Context(variables=[var]) as other:
            pairs = {
                "get of a scalar": (repeated(ctx.variables.get, VALUE, times=times), repeated(other.variables.get, var, times=times)),
                "set of a float": (
                    repeated(ctx.variables.set, VALUE, 0.2, times=times),
                    repeated(other.variables.set, var, 0.2, times=times),
                ),
                "add": (repeated(ctx.variables.add, VALUE, 0.0, times=times), repeated(other.variables.add, var, 0.0, times=times)),
                "list, which queues": (repeated(ctx.variables.list, times=times // 10), repeated(other.variables.list, times=times // 10)),
            }
            against = f"the same with telemetry taken out ({bare.taken} statements)"
            return [
                Row(f"{work}, nobody listens", against, 1.03 if "get" in work else None, *await in_turns(ours, theirs, 4 * options.rounds))
                for work, (ours, theirs) in pairs.items()
            ]


async def heard(options: Options) -> list[Row]:
    """What it costs to be heard."""
    times = options.count(TIMES // 4)
    async with Context(variables=[VALUE]) as ctx, Context(variables=[VALUE]) as other:
        told: list[Any] = []
        entry: Any = ctx.variables
        entry.observe(told.append)
        try:
            get, plain = (repeated(context.variables.get, VALUE, times=times) for context in (ctx, other))
            note = "a context observed by itself, such as monitor.trace() does"
            return [Row("get of a scalar, each one told", "nobody listens", None, *await in_turns(get, plain, options.rounds), note=note)]
        finally:
            entry.unobserve(told.append)
