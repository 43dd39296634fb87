"""I1 and I2: one owner, and the order in which operations are accepted."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from dspex import Context, ContextClosed, Var, WrongThread
from dspex.context._entry import BUDGET
from dspex.state import LocalState

COUNT = Var("count", int, 0)
TEMPERATURE = Var("temperature", float, 0.7, min=0.0, max=2.0)


def step(coroutine: Any) -> Any:
    """Runs *coroutine* in one step: fails if it would let anything else run."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value

    coroutine.close()
    raise AssertionError("it waited")


async def test_i1_an_operation_on_an_open_gate_is_delivered_in_the_callers_own_step() -> None:
    async with Context(variables=[COUNT, TEMPERATURE]) as ctx:
        assert step(ctx.variables.set(COUNT, 5)) == 1
        assert step(ctx.variables.get(COUNT)) == 5
        assert step(ctx.variables.update(COUNT, lambda n: n + 1)) == 6
        assert step(ctx.variables.add(COUNT, 4)) == 10
        assert step(ctx.variables.set_many({COUNT: 1, TEMPERATURE: 1.5})) == {"count": 3 + 1, "temperature": 1}
        assert step(ctx.variables.get_many([COUNT, TEMPERATURE, "nobody"])) == {"count": 1, "temperature": 1.5}
        assert step(ctx.variables.exists("count")) is True
        assert ctx.statistics().queued == 0


async def test_i1_a_spent_budget_lets_others_run_before_the_delivery_and_not_after_it() -> None:
    async with Context(variables=[COUNT]) as ctx:
        ran: list[int] = []

        async def other() -> None:
            while len(ran) < 3:
                ran.append(await ctx.variables.get(COUNT))
                await checkpoint()

        async with anyio.create_task_group() as group:
            group.start_soon(other)
            for number in range(1, 2 * BUDGET):
                await ctx.variables.set(COUNT, number)

        assert len(ran) == 3
        assert ctx.statistics().operations >= 2 * BUDGET


async def test_i1_a_caller_cancelled_in_the_yield_of_a_spent_budget_has_done_nothing() -> None:
    async with Context(variables=[COUNT]) as ctx:
        ctx.variables._budgeted -= ctx.variables.gate
        ctx.variables.gate = 0
        with anyio.CancelScope() as scope:
            scope.cancel()
            await ctx.variables.set(COUNT, 99)

        assert scope.cancelled_caught
        assert (await ctx.variables.info(COUNT)).version == 0


async def test_i1_a_direct_delivery_is_no_checkpoint_and_a_pending_cancellation_shows_at_the_next_one() -> None:
    async with Context(variables=[COUNT]) as ctx:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await ctx.variables.set(COUNT, 1)
            reached = True
            await checkpoint()

        assert reached and scope.cancelled_caught
        assert await ctx.variables.get(COUNT) == 1


async def test_i1_use_from_another_thread_is_a_clear_error() -> None:
    async with Context(name="chat", variables=[COUNT]) as ctx:
        caught: list[BaseException] = []

        def elsewhere() -> None:
            for operation in (ctx.variables.get(COUNT), ctx.variables.set(COUNT, 1), ctx.variables.list()):
                try:
                    operation.send(None)
                except BaseException as error:
                    caught.append(error)
                finally:
                    operation.close()

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert [type(error) for error in caught] == [WrongThread] * 3
        assert "another thread or event loop" in str(caught[0]) and "anyio.from_thread.run()" in str(caught[0])
        assert (await ctx.variables.info(COUNT)).version == 0


def test_i1_use_from_a_later_event_loop_is_a_clear_error() -> None:
    async def first() -> Context:
        async with Context(variables=[COUNT]) as ctx:
            return ctx

    ctx = anyio.run(first)

    async def second() -> None:
        with pytest.raises(ContextClosed, match="is closed"):
            await ctx.variables.get(COUNT)

    anyio.run(second)


class Gated:
    """An asynchronous backend over a table, each of whose writes waits until it is let go."""

    capabilities = LocalState.capabilities
    requires_bridge = False

    def __init__(self) -> None:
        self.inner = LocalState()
        self.gate = anyio.Event()
        self.entered = anyio.Event()
        self.served: list[str] = []

    async def open(self, session_id: str, *, ttl: float | None = None, existing: Any = None) -> None:
        self.inner.open(session_id, ttl=ttl, existing=existing)

    async def close(self, *, drop: bool = False) -> None:
        self.inner.close(drop=drop)

    async def define(self, definition: Any, value: Any) -> str:
        return self.inner.define(definition, value)

    async def get(self, key: Any) -> Any:
        self.served.append(f"get {key}")
        return self.inner.get(key)

    async def set(self, key: Any, value: Any, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None) -> int:
        self.entered.set()
        await self.gate.wait()
        self.served.append(f"set {value}")
        return self.inner.set(key, value, metadata, expected_version)

    async def set_many(self, updates: Any, metadata: Any = None, atomic: bool = True) -> dict[str, int]:
        return self.inner.set_many(updates, metadata, atomic)

    async def delete(self, key: Any) -> None:
        self.inner.delete(key)

    async def info(self, key: Any) -> Any:
        return self.inner.info(key)

    async def scan(self) -> AsyncIterator[Any]:
        for page in self.inner.scan():
            yield page


async def queued(ctx: Context, count: int) -> None:
    while ctx.statistics().pending < count:
        await checkpoint()


async def test_i2_operations_take_effect_in_the_order_accepted() -> None:
    backend = Gated()
    async with Context(backend=backend, variables=[COUNT]) as ctx, anyio.create_task_group() as group:
        for number in range(1, 6):
            group.start_soon(ctx.variables.set, COUNT, number)
            await queued(ctx, number)

        backend.gate.set()
        group.cancel_scope.shield = True

    assert backend.served == [f"set {number}" for number in range(1, 6)]


async def test_i2_a_direct_delivery_cannot_overtake_a_queued_operation() -> None:
    async with Context(variables=[COUNT]) as ctx:
        seen: list[Any] = []

        async def walk() -> None:
            seen.append([variable.value for variable in await ctx.variables.list()])

        async with anyio.create_task_group() as group:
            group.start_soon(walk)
            await queued(ctx, 1)
            assert ctx.variables.gate == 0
            await ctx.variables.set(COUNT, 1)
            seen.append("set")

        assert seen == [[0], "set"] or seen == ["set", [0]]
        assert ctx.statistics().queued >= 2
        assert ctx.variables.gate > 0


async def test_i7_an_operation_cancelled_before_the_owner_takes_it_never_happens() -> None:
    backend = Gated()
    async with Context(backend=backend, variables=[COUNT]) as ctx, anyio.create_task_group() as group:
        group.start_soon(ctx.variables.set, COUNT, 1)
        await backend.entered.wait()
        with anyio.move_on_after(0.01):
            await ctx.variables.set(COUNT, 2)

        assert ctx.statistics().pending == 1
        backend.gate.set()
        assert await ctx.variables.get(COUNT) == 1

    assert "set 2" not in backend.served


async def test_i7_an_operation_cancelled_after_the_owner_took_it_completes_once() -> None:
    backend = Gated()
    async with Context(backend=backend, variables=[COUNT]) as ctx:
        async with anyio.create_task_group() as group:
            group.start_soon(ctx.variables.set, COUNT, 1)
            await backend.entered.wait()
            group.cancel_scope.cancel()

        backend.gate.set()
        assert await ctx.variables.get(COUNT) == 1
        assert (await ctx.variables.info(COUNT)).version == 1


async def test_a_full_mailbox_makes_callers_wait_for_room_in_their_order() -> None:
    backend = Gated()
    async with Context(backend=backend, variables=[COUNT], mailbox_size=2) as ctx, anyio.create_task_group() as group:
        for number in range(1, 7):
            group.start_soon(ctx.variables.set, COUNT, number)
            while len(ctx.variables.mailbox.ledger) + len(ctx.variables.mailbox.waiting) < number:
                await checkpoint()

        assert ctx.statistics().pending == 2
        assert len(ctx.variables.mailbox.waiting) == 4
        backend.gate.set()

    assert backend.served == [f"set {number}" for number in range(1, 7)]


async def test_a_caller_that_leaves_the_line_for_room_leaves_nothing_behind() -> None:
    backend = Gated()
    async with Context(backend=backend, variables=[COUNT], mailbox_size=1) as ctx, anyio.create_task_group() as group:
        group.start_soon(ctx.variables.set, COUNT, 1)
        await backend.entered.wait()
        with anyio.move_on_after(0.01):
            await ctx.variables.set(COUNT, 2)

        assert not ctx.variables.mailbox.waiting
        backend.gate.set()

    assert backend.served == ["set 1"]


async def test_i14_everyone_waiting_is_told_when_the_context_crashes() -> None:
    class Failing(Gated):
        async def set(self, key: Any, value: Any, metadata: Any = None, expected_version: int | None = None) -> int:
            self.entered.set()
            await self.gate.wait()
            raise OSError("the disk has gone")

    from dspex import ContextCrashed

    backend = Failing()
    told: list[ContextCrashed] = []

    async def use(value: int) -> None:
        try:
            await ctx.variables.set(COUNT, value)
        except ContextCrashed as error:
            told.append(error)

    async with anyio.create_task_group() as group:
        with pytest.raises(ContextCrashed) as caught:
            async with Context(backend=backend, variables=[COUNT], mailbox_size=2) as ctx:
                for value in range(4):
                    group.start_soon(use, value)

                await backend.entered.wait()
                while len(ctx.variables.mailbox.waiting) < 2:
                    await checkpoint()

                backend.gate.set()
                await anyio.sleep_forever()

    assert sorted(str(error.applied) for error in told) == ["False", "False", "False", "None"]
    assert all(isinstance(error.__cause__, OSError) for error in told)
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(ContextCrashed):
        await ctx.variables.get(COUNT)


async def test_an_answer_is_kept_by_nobody_but_its_caller(anyio_backend):
    async with Context(variables=[Var("a", list[int], [1])]) as ctx:
        walked = await ctx.variables.list()
        gone = weakref.ref(walked[0])
        del walked
        gc.collect()
        assert gone() is None
