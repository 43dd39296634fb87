"""Operations and switches as they happen: in order, bounded, and let go of when nobody reads them."""

from __future__ import annotations

import gc
import threading

import anyio
import pytest
from context.fragile import COUNT, FACTS, ByHand, Fragile, Gone, Slow

from dspex import BackendSwitchError, Context, ContextCrashed, InvalidValue, NameNotFound, Var, monitor
from dspex.telemetry import BackendSwitched, ContextChanged, OperationFailed, SwitchFailed, VariableOperation
from dspex.telemetry._hooks import CHANNELS

SECRET = Var("secret", str, "hunter2", sensitive=True, max_length=20)


def listeners():
    return {name: len(channel.heard) for name, channel in CHANNELS.items()}


@pytest.fixture(autouse=True)
def nobody_listens_afterwards():
    before = listeners()
    yield
    assert listeners() == before


def observers(ctx):
    return len(ctx._inside.variables.sinks)


async def first(following, count):
    """The first *count* records."""
    told = []
    async for record in following:
        told.append(record)
        if len(told) == count:
            break

    return told


# --- trace -----------------------------------------------------------------------------------------------------------------------


async def test_every_operation_is_told_in_order():
    async with Context(variables=[COUNT], name="chat") as ctx, monitor.trace("chat") as operations:
        await ctx.variables.get(COUNT)
        await ctx.variables.set(COUNT, 5)
        with pytest.raises(InvalidValue):
            await ctx.variables.set(COUNT, "x")

        await ctx.variables.list()
        told = await first(operations, 4)

    assert [type(record) for record in told] == [VariableOperation, VariableOperation, OperationFailed, VariableOperation]
    assert [(record.operation, record.variables, record.direct) for record in told] == [
        ("get", ("count",), True),
        ("set", ("count",), True),
        ("set", ("count",), True),
        ("list", (), False),
    ]
    assert {record.context_id for record in told} == {ctx.id}


async def test_it_is_read_as_it_happens():
    told = []

    async def read(operations):
        async for record in operations:
            told.append(record.operation)
            read_one.set()

    async with Context(variables=[COUNT]) as ctx, monitor.trace(ctx) as operations, anyio.create_task_group() as tasks:
        tasks.start_soon(read, operations)
        for number in range(3):
            read_one = anyio.Event()
            await ctx.variables.set(COUNT, number)
            await read_one.wait()
            assert told == ["set"] * (number + 1)

        tasks.cancel_scope.cancel()


async def test_others_are_not_told_of_nor_slowed_down():
    async with Context(variables=[COUNT]) as ctx, Context(variables=[COUNT]) as other, monitor.trace(ctx) as operations:
        await other.variables.set(COUNT, 1)
        await ctx.variables.set(COUNT, 2)
        assert [record.context_id for record in await first(operations, 1)] == [ctx.id]
        assert (observers(ctx), observers(other)) == (1, 0)
        assert other.variables.probe is None


@pytest.mark.parametrize("backend", ["bridged", Slow])
async def test_on_any_backend(backend):
    async with Context(variables=[COUNT], backend=backend) as ctx, monitor.trace(ctx) as operations:
        await ctx.variables.set(COUNT, 1)
        (told,) = await first(operations, 1)

    assert (told.operation, told.variables, told.backend) == ("set", ("count",), "bridged" if backend == "bridged" else "custom")


async def test_it_goes_on_over_a_switch():
    async with Context(variables=[COUNT]) as ctx, monitor.trace(ctx) as operations:
        await ctx.variables.get(COUNT)
        await ctx.ensure_bridged()
        await ctx.variables.get(COUNT)
        told = await first(operations, 2)

    assert [record.backend for record in told] == ["local", "bridged"]


async def test_past_the_bound_the_oldest_go_and_are_counted():
    async with Context(variables=[COUNT]) as ctx, monitor.trace(ctx, max_waiting=3) as operations:
        for number in range(10):
            await ctx.variables.set(COUNT, number)

        assert operations.dropped == 7
        assert repr(operations) == f"<Trace of {ctx.id} [7 dropped]>"
        assert [record.version for record in await first(operations, 3)] == [8, 9, 10]


async def test_what_is_sensitive_is_told_of_without_its_value():
    async with Context(variables=[SECRET]) as ctx, monitor.trace(ctx) as operations:
        await ctx.variables.set(SECRET, "hunter3")
        with pytest.raises(InvalidValue):
            await ctx.variables.set(SECRET, "hunter4" * 10)

        told = await first(operations, 2)

    assert "hunter" not in repr(told) + str(told[1].error)


async def test_a_reader_that_writes_lets_others_run():
    turns = 0

    async def others():
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with Context(variables=[COUNT]) as ctx, anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        async with monitor.trace(ctx) as operations:
            await ctx.variables.add(COUNT, 1)
            async for record in operations:
                if record.version == 100:
                    break

                await ctx.variables.add(COUNT, 1)

        tasks.cancel_scope.cancel()

    assert turns >= 90


# --- its end ---------------------------------------------------------------------------------------------------------------------


async def test_it_ends_when_the_context_does_once_all_is_read():
    async with Context(variables=[COUNT]) as ctx:
        operations = aiter(monitor.trace(ctx))
        await ctx.variables.set(COUNT, 1)

    assert observers(ctx) == 1
    assert [record.operation async for record in operations] == ["set"]
    assert [record async for record in operations] == []
    assert observers(ctx) == 0


async def test_a_reader_that_waits_is_told_of_the_end():
    async def read(operations):
        assert [record async for record in operations] == []

    async with anyio.create_task_group() as tasks, Context() as ctx:
        tasks.start_soon(read, monitor.trace(ctx))
        await anyio.wait_all_tasks_blocked()


async def test_the_operation_that_a_context_crashed_of_is_told():
    operations = None
    with pytest.raises(ContextCrashed):
        async with Context(backend=Fragile, variables=[FACTS]) as ctx:
            operations = aiter(monitor.trace(ctx))
            await ctx.variables.merge(FACTS, {"a": 1})

    told = [record async for record in operations]
    assert [(record.operation, type(record.error)) for record in told] == [("merge", Gone)]


async def test_of_one_that_has_ended_there_is_nothing():
    async with Context() as ctx:
        pass

    assert [record async for record in monitor.trace(ctx)] == []


async def test_of_one_that_has_not_begun_it_is_from_the_beginning():
    ctx = Context(variables=[COUNT])
    operations = aiter(monitor.trace(ctx))
    async with ctx:
        pass

    assert [(record.operation, record.variables) async for record in operations] == [("define", ("count",))]


async def test_it_lives_over_restarts():
    async with anyio.create_task_group() as group:
        hand = ByHand(Context.child_spec("x", variables=[COUNT], backend=Fragile), group)
        ctx = await hand.start()
        operations = aiter(monitor.trace(ctx))
        await hand.crash(ctx)
        await hand.start()
        await ctx.variables.set(COUNT, 1)
        await hand.stop(final=True)
        await hand.tell("gone")

    assert [record.operation async for record in operations] == ["merge", "set"]


async def test_closed_it_ends_and_listens_no_longer():
    async with Context(variables=[COUNT]) as ctx:
        async with monitor.trace(ctx) as operations:
            await ctx.variables.get(COUNT)

        assert observers(ctx) == 0
        assert [record async for record in operations] == []
        await operations.aclose()

        never = monitor.trace(ctx)
        await never.aclose()
        assert [record async for record in never] == []


async def test_who_waits_when_it_is_closed_is_told():
    async with Context() as ctx, anyio.create_task_group() as tasks:
        operations = monitor.trace(ctx)

        async def read():
            assert [record async for record in operations] == []

        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        await operations.aclose()


async def test_left_early_it_listens_no_longer():
    async with Context(variables=[COUNT]) as ctx:
        await ctx.variables.get(COUNT)

        async def write_on():
            while True:
                await ctx.variables.get(COUNT)
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write_on)
            async for _ in monitor.trace(ctx):
                assert observers(ctx) == 1
                break

            gc.collect()
            assert observers(ctx) == 0
            tasks.cancel_scope.cancel()


async def test_one_that_nobody_iterated_never_listened():
    async with Context() as ctx:
        operations = monitor.trace(ctx)
        assert observers(ctx) == 0
        del operations


async def test_a_reader_that_is_cancelled_loses_nothing():
    async with Context(variables=[COUNT]) as ctx, monitor.trace(ctx) as operations:
        with anyio.move_on_after(0) as scope:
            await anext(operations)

        assert scope.cancelled_caught
        await ctx.variables.set(COUNT, 1)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anext(operations)

        assert [record.operation for record in await first(operations, 1)] == ["set"]


async def test_it_is_safe_inside_an_async_generator():
    async def names(ctx):
        async with monitor.trace(ctx) as operations:
            async for record in operations:
                yield record.operation

    async with Context(variables=[COUNT]) as ctx, anyio.create_task_group() as tasks:
        told = names(ctx)

        async def read_one():
            with anyio.CancelScope():
                assert await anext(told) == "set"

        tasks.start_soon(read_one)
        await anyio.wait_all_tasks_blocked()
        await ctx.variables.set(COUNT, 1)
        await anyio.wait_all_tasks_blocked()
        assert observers(ctx) == 1
        await told.aclose()
        assert observers(ctx) == 0


async def test_it_can_be_read_on_another_thread():
    told = []

    async def read(ctx):
        async with monitor.trace(ctx) as operations:
            listening.set()
            told.extend([record.operation for record in await first(operations, 1)])

    listening = threading.Event()
    async with Context(variables=[COUNT]) as ctx:
        thread = threading.Thread(target=anyio.run, args=(read, ctx))
        thread.start()
        await anyio.to_thread.run_sync(listening.wait)
        await ctx.variables.set(COUNT, 1)
        await anyio.to_thread.run_sync(thread.join)

    assert told == ["set"]


# --- watch_switches --------------------------------------------------------------------------------------------------------------


async def test_switches_of_all_contexts_are_told():
    async with monitor.watch_switches() as switches:
        async with Context(name="a") as a, Context() as b:
            await a.ensure_bridged()
            await b.ensure_bridged()

        told = await first(switches, 2)

    assert [(type(record), record.context_id, record.context_name, record.source, record.target) for record in told] == [
        (BackendSwitched, a.id, "a", "LocalState", "BridgedState"),
        (BackendSwitched, b.id, None, "LocalState", "BridgedState"),
    ]


async def test_a_failed_one_is_told_too():
    class Sealed(Fragile):
        def scan(self):
            raise OSError("sealed")

    async with Context(backend=Sealed) as ctx, monitor.watch_switches(ctx) as switches:
        with pytest.raises(BackendSwitchError):
            await ctx.ensure_bridged()

        (told,) = await first(switches, 1)

    assert (type(told), told.source, str(told.error)) == (SwitchFailed, "Sealed", "sealed")


async def test_those_of_one_context_end_with_it():
    async with Context() as other, Context(name="a") as ctx:
        switches = aiter(monitor.watch_switches("a"))
        await other.ensure_bridged()
        await ctx.ensure_bridged()

    assert [record.context_id async for record in switches] == [ctx.id]
    assert repr(switches) == f"<SwitchWatch of 'a' ({ctx.id}) [0 dropped]>"
    assert [record async for record in monitor.watch_switches(ctx)] == []


async def test_those_of_all_are_closed_by_who_reads_them():
    switches = aiter(monitor.watch_switches(max_waiting=1))
    assert repr(switches) == "<SwitchWatch of all contexts [0 dropped]>"
    async with Context() as a, Context() as b:
        await a.ensure_bridged()
        await b.ensure_bridged()

    assert switches.dropped == 1
    await switches.aclose()
    assert [record async for record in switches] == []


# --- what cannot be --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("follow", [monitor.trace, monitor.watch_switches])
async def test_what_cannot_be_followed(follow):
    with pytest.raises(NameNotFound):
        follow("nobody")

    with pytest.raises(TypeError, match="expected a Context or the name of one, got 5"):
        follow(5)

    async with Context() as ctx:
        with pytest.raises(ValueError, match="max_waiting: expected a whole number of at least 1, got 0"):
            follow(ctx, max_waiting=0)


async def test_a_record_of_another_of_the_same_id_ends_nothing():
    """Sessions of two stores may have one id: what counts is whether the one that is followed has ended."""
    async with Context(variables=[COUNT]) as ctx, monitor.trace(ctx) as operations:
        CHANNELS["ContextChanged"].tell(ContextChanged(context_id=ctx.id, status="closed", backend="local"))
        await ctx.variables.set(COUNT, 1)
        assert len(await first(operations, 1)) == 1
