"""Cancelled at every await there is, and stopped at every step: nothing hangs, nothing is left, and a later use works."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from context import parts
from context.homes import HOMES, OwnAsync
from context.parts import COUNT, NOTES
from sim.atyield import Suspensions
from state.awaited_store import AwaitedStore

import dspex
from dspex import Bridge, Context, NameTaken, SessionTaken, Status
from dspex.state.stores.memory import MemoryStore

STORES: dict[str, Callable[[], Bridge]] = {"memory": Bridge, "awaited": lambda: Bridge(store=AwaitedStore())}


def sessions(bridge: Bridge) -> list[str]:
    store: Any = bridge.store
    inner: MemoryStore = getattr(store, "inner", store)
    return list(inner._sessions)


async def cut(work: Callable[[], Coroutine[Any, Any, Any]], at: int) -> bool:
    """Runs *work* and cancels it at its suspension number *at*. Whether it came that far."""
    with anyio.fail_after(15), anyio.CancelScope() as scope:
        suspensions = Suspensions(work(), at=at, action=scope.cancel)
        await suspensions

    return suspensions.count >= at


async def every_cut(attempt: Callable[[int], Coroutine[Any, Any, bool]], *, limit: int = 200) -> int:
    """Calls *attempt* with 1, 2, ... until the work ends before that suspension."""
    for at in range(1, limit):
        if not await attempt(at):
            return at - 1

    raise AssertionError(f"still going after {limit} cuts")


@pytest.mark.parametrize("home", HOMES)
async def test_a_start_cut_anywhere_leaves_nothing(home: str) -> None:
    async def init(ctx: Context) -> None:
        await checkpoint()
        await ctx.variables.append(NOTES, "made")

    async def attempt(at: int) -> bool:
        made: list[Context] = []

        async def work() -> None:
            ctx = HOMES[home](name="cut", variables=[COUNT, NOTES], init=init)
            made.append(ctx)
            async with ctx:
                await ctx.variables.add(COUNT, 1)

        far = await cut(work, at)
        assert made[0].status is Status.CLOSED
        with pytest.raises(dspex.NameNotFound):
            dspex.whereis("cut")

        async with Context(name="cut"):
            pass

        return far

    assert await every_cut(attempt) >= 1


@pytest.mark.parametrize("home", ["local", "awaited", "own async"])
async def test_start_and_stop_cut_anywhere_leave_nothing(home: str) -> None:
    async def attempt(at: int) -> bool:
        kept: list[Context] = []

        async def init(ctx: Context) -> None:
            kept.append(ctx)
            await checkpoint()

        template = HOMES[home](name="cut")
        options = {
            "backend": template._inside.spec.instance or ("local" if home == "local" else "bridged" if home == "awaited" else OwnAsync)
        }
        if home == "awaited":
            options["bridge"] = Bridge(store=AwaitedStore())

        async def work() -> None:
            ctx = await Context.start(name="cut", variables=[COUNT], init=init, **options)
            await ctx.variables.add(COUNT, 1)
            await ctx.stop()

        far = await cut(work, at)
        for ctx in kept:
            with anyio.fail_after(10):
                await ctx.stop()

            assert ctx.status is Status.CLOSED

        async with Context(name="cut"):
            pass

        return far

    assert await every_cut(attempt) >= 2


@pytest.mark.parametrize("store", STORES)
async def test_a_switch_cut_anywhere_is_done_or_undone_and_a_later_one_works(store: str) -> None:
    outcomes: set[int] = set()

    async def attempt(at: int) -> bool:
        bridge = STORES[store]()
        async with Context(bridge=bridge, variables=[COUNT, NOTES]) as ctx:
            await ctx.variables.set(COUNT, 7)
            far = await cut(ctx.ensure_bridged, at)
            outcomes.add(ctx.backend.switches)
            assert ctx.status is Status.RUNNING
            assert await ctx.variables.get(COUNT) == 7
            assert await ctx.variables.add(COUNT, 1) == 8
            with anyio.fail_after(10):
                await ctx.ensure_bridged()

            assert ctx.backend.switches == 1
            assert [variable.version for variable in await ctx.variables.list()] == [2, 0]

        assert not sessions(bridge)
        return far

    assert await every_cut(attempt) >= 1
    assert outcomes == {0, 1} or outcomes == {1}


@pytest.mark.parametrize("store", STORES)
async def test_a_switch_cut_after_so_many_steps_of_its_owner_is_done_or_undone(store: str) -> None:
    for steps in range(40):
        bridge = STORES[store]()
        async with Context(bridge=bridge, variables=[COUNT, NOTES]) as ctx:
            with anyio.fail_after(15):
                async with anyio.create_task_group() as group:
                    group.start_soon(ctx.ensure_bridged)
                    for _ in range(steps):
                        await checkpoint()

                    group.cancel_scope.cancel()

            assert await ctx.variables.add(COUNT, 1) == 1
            await ctx.ensure_bridged()
            assert ctx.backend.switches == 1

        assert not sessions(bridge)


async def test_a_registration_cut_anywhere_leaves_the_id_free() -> None:
    async with Bridge() as bridge, Context(bridge=bridge, variables=[COUNT]) as ctx:
        await bridge.wait_ready()

        async def attempt(at: int) -> bool:
            far = await cut(lambda: ctx.register_program("p", {"requires_bridge": True, "program": parts.square}), at)
            with anyio.fail_after(20):
                bound = await ctx.register_program("p", {"requires_bridge": True, "program": parts.square})
                assert await bound(n=3) == 9

            await ctx.unregister_program("p")
            return far

        assert await every_cut(attempt) >= 1


async def test_a_call_of_a_worker_cut_anywhere_leaves_no_call() -> None:
    async with Bridge() as bridge, Context(bridge=bridge, variables=[COUNT]) as ctx:
        bound = await ctx.register_program("often", {"requires_bridge": True, "program": parts.add_often})

        async def attempt(at: int) -> bool:
            far = await cut(lambda: bound(times=2), at)
            assert ctx.statistics().calls == 0
            return far

        assert await every_cut(attempt) >= 1
        assert isinstance(await bound(times=1), int)


# --- stopped at every step -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("home", HOMES)
async def test_a_stop_at_any_step_of_the_start_ends_it(home: str) -> None:
    for steps in range(25):
        up: list[bool] = []

        async def init(ctx: Context) -> None:
            for _ in range(3):
                await checkpoint()

        ctx = HOMES[home](name="early", variables=[COUNT], init=init)

        async def run(ctx: Context = ctx, up: list[bool] = up) -> None:
            try:
                async with ctx:
                    up.append(True)
                    await ctx.wait_closed()
            except dspex.ContextClosed:
                up.append(False)

        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(run)
                for _ in range(steps):
                    await checkpoint()

                await ctx.stop()
                if not up and ctx.status is Status.CLOSED and steps == 0:
                    group.cancel_scope.cancel()

        assert ctx.status is Status.CLOSED, steps
        with pytest.raises(dspex.NameNotFound):
            dspex.whereis("early")

        async with Context(name="early"):
            pass


async def test_a_context_whose_name_or_session_was_taken_ends_at_once() -> None:
    async with Context(name="taken", session_id="taken"):
        for options, error in (({"name": "taken"}, NameTaken), ({"session_id": "taken"}, SessionTaken)):
            ctx = Context(**options)  # type: ignore[arg-type]
            with pytest.raises(error):
                async with ctx:
                    pass

            with anyio.fail_after(2):
                await ctx.stop()
                assert (await ctx.wait_closed()).status in {Status.CLOSED, Status.NEW}

            with pytest.raises(dspex.ContextClosed):
                await ctx.variables.get(COUNT)


async def test_a_context_stopped_before_its_start_cannot_be_started() -> None:
    ctx = Context()
    await ctx.stop()
    assert ctx.status is Status.CLOSED
    with anyio.fail_after(2):
        assert (await ctx.wait_closed()).status is Status.CLOSED

    with pytest.raises(dspex.ContextClosed):
        async with ctx:
            pass


async def test_whoever_waits_for_the_end_of_one_not_started_yet_is_told_of_it() -> None:
    ctx = Context()
    told: list[Status] = []

    async def wait() -> None:
        told.append((await ctx.wait_closed()).status)

    async with anyio.create_task_group() as group, ctx:
        group.start_soon(wait)
        await checkpoint()

    assert told == [Status.CLOSED]
