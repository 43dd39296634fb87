"""Calls in workers: what comes back, places and the queue for them, cancellation and deadlines."""

from __future__ import annotations

import asyncio

import anyio
import pytest
import trio
from worker_desk import STORE, Desk, call, idle

from dspex._exceptions import (
    BridgeClosed,
    CallCycle,
    CallTimeout,
    InvalidInputs,
    Overloaded,
    ProgramFailed,
    WorkerDied,
)
from dspex.bridge import Bridge

BOTH = pytest.mark.parametrize("suffix", ["", "_async"], ids=["sync", "async"])


def a_bridge(**options):
    return Bridge(store=STORE, **options)


async def collect(results, awaitable):
    try:
        results.append(await awaitable)
    except Exception as error:
        results.append(error)


@BOTH
async def test_a_program_runs_in_another_process_and_its_result_comes_back(suffix):
    value = {"a": [1, 2.5, None, True], "b": (1, b"\0", "ü"), 3: 2**70, "s": {1, 2}}
    async with a_bridge() as bridge:
        assert await bridge.pool().call(call("echo" + suffix, value=value)) == value
        assert await bridge.pool().call(call("pid" + suffix)) == bridge.statistics().pools["default"].workers[0].pid


async def test_a_value_of_many_megabytes_crosses_both_ways():
    value = bytes(9_000_000)
    async with a_bridge() as bridge:
        assert await bridge.pool().call(call("echo", value=value)) == value
        assert await bridge.pool().call(call("echo_async", value=value)) == value
        assert await bridge.pool().call(call("read", port=Desk(x=value), v="x")) == value


@BOTH
async def test_a_program_reads_and_writes_through_its_port(suffix):
    desk = Desk(x=0.5)
    async with a_bridge() as bridge:
        assert await bridge.pool().call(call("read" + suffix, port=desk, v="x")) == 0.5
        await bridge.pool().call(call("write", port=desk, v="y", value=[1, (2,)]))

    assert desk.values["y"] == [1, (2,)]


async def test_what_a_program_raises_comes_back_with_its_traceback():
    async with a_bridge() as bridge:
        with pytest.raises(ProgramFailed) as caught:
            await bridge.pool().call(call("fail", text="no such luck"))

    assert caught.value.is_a("ValueError")
    assert caught.value.message == "no such luck"
    assert "worker_programs.py" in caught.value.traceback


async def test_an_input_that_cannot_cross_is_refused_and_nothing_is_called():
    async with a_bridge() as bridge:
        with pytest.raises(InvalidInputs, match="value"):
            await bridge.pool().call(call("echo", value=[1, object()]))

        assert await bridge.pool().call(call("echo", value=1)) == 1


async def test_prepare_describes_a_program_without_running_it():
    async with a_bridge() as bridge:
        shape = await bridge.pool().prepare(program_id="p", key="k", definition={"path": "worker_programs:meet"})
        assert (shape.kind, shape.signature) == ("sync", "(v)")
        assert shape.doc.startswith("Says that it runs")
        with pytest.raises(ProgramFailed, match="no_such_module"):
            await bridge.pool().prepare(program_id="p", key="k2", definition={"path": "no_such_module:x"})


async def test_a_definition_is_sent_to_a_worker_once():
    async with a_bridge() as bridge:
        await bridge.pool().call(call("echo", value=1))
        # Had this one been sent, its import would fail.
        assert await bridge.pool().call(call("echo", value=2, definition={"path": "no_such_module:x"})) == 2


async def test_each_worker_takes_as_many_calls_at_once_as_it_may_and_the_least_loaded_one_is_next():
    desk = Desk(x=1)
    desk.held.add("x")
    results = []
    async with a_bridge(workers=2, concurrency=2) as bridge:
        pool = bridge.pool()
        while sum(worker.status == "ready" for worker in pool.statistics().workers) < 2:
            await pool._news.wait()

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(collect, results, pool.call(call("meet", port=desk, v="x")))
                if number < 4:
                    while len(desk.posted) <= number:
                        await anyio.lowlevel.checkpoint()

            assert [worker.running for worker in pool.statistics().workers] == [2, 2]
            while not pool.statistics().waiting:
                await anyio.lowlevel.checkpoint()

            assert pool.statistics().waiting == 1
            desk.held.clear()
            while desk.posted:
                desk.answer()

    assert len(results) == 5
    assert len(set(results)) == 2


async def test_waiters_are_served_in_the_order_they_came():
    desk = Desk(n=0)
    desk.held.add("x")
    order = []

    async def one(number):
        await pool.call(call("read", port=desk, v="n"))
        order.append(number)

    async with a_bridge(concurrency=1) as bridge:
        pool = bridge.pool()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.call, call("meet", port=desk, v="x"))
            await desk.asked("x")
            for number in range(5):
                tasks.start_soon(one, number)
                while pool.statistics().waiting <= number:
                    await anyio.lowlevel.checkpoint()

            desk.answer()

    assert order == [0, 1, 2, 3, 4]


async def test_a_full_queue_refuses_and_a_call_that_is_not_to_wait_is_refused_before():
    desk = Desk()
    desk.held.add("x")
    async with a_bridge(concurrency=1, queue=1) as bridge:
        pool = bridge.pool()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.call, call("meet", port=desk, v="x"))
            await desk.asked("x")
            with pytest.raises(Overloaded, match=r"^Pool 'default' is full: its bound of 1 is reached"):
                await pool.call(call("nothing", wait=False))

            tasks.start_soon(pool.call, call("nothing"))
            while not pool.statistics().waiting:
                await anyio.lowlevel.checkpoint()

            with pytest.raises(Overloaded, match=r"^The queue of pool 'default' is full: its bound of 1 is reached"):
                await pool.call(call("nothing"))

            desk.answer()

        assert await pool.call(call("echo", value=1, wait=False)) == 1


async def test_a_call_that_is_not_to_wait_does_wait_for_a_worker_that_is_starting():
    async with a_bridge(queue=0) as bridge:
        assert await bridge.pool().call(call("echo", value=1, wait=False)) == 1


async def test_a_cancelled_waiter_frees_its_place_in_the_queue():
    desk = Desk()
    desk.held.add("x")
    async with a_bridge(concurrency=1, queue=1) as bridge:
        pool = bridge.pool()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.call, call("meet", port=desk, v="x"))
            await desk.asked("x")
            with pytest.raises(CallTimeout) as caught:
                await pool.call(call("nothing", timeout=0.01))

            assert caught.value.applied is False
            assert pool.statistics().waiting == 0
            desk.answer()

    assert pool.statistics().calls == 1


async def test_a_call_made_on_behalf_of_a_running_one_waits_for_no_place():
    desk = Desk()
    desk.held.add("x")
    async with a_bridge(concurrency=1) as bridge:
        pool = bridge.pool()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.call, call("meet", port=desk, v="x"))
            await desk.asked("x")
            assert await pool.call(call("echo", value=1, chain=("call_1",))) == 1
            desk.answer()

        with pytest.raises(CallCycle, match="more than 16 deep"):
            await pool.call(call("nothing", chain=tuple(map(str, range(16)))))


@BOTH
async def test_a_cancelled_program_is_asked_to_end_and_its_worker_lives_on(suffix):
    desk = Desk()
    desk.held.add("x")
    async with a_bridge(kill_after=20.0) as bridge:
        pool = bridge.pool()
        pid = await pool.call(call("pid"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.call, call("meet" + suffix, port=desk, v="x"))
            await desk.asked("x")
            tasks.cancel_scope.cancel()

        await idle(pool)
        assert await pool.call(call("pid")) == pid
        desk.answer("too late for anyone")
        assert await pool.call(call("pid" + suffix)) == pid


@BOTH
async def test_a_program_that_will_not_end_is_killed_with_its_worker_and_others_in_it_are_told(suffix):
    desk, other = Desk(x=1), Desk()
    other.held.add("y")
    results = []
    async with a_bridge(kill_after=0.1) as bridge:
        pool = bridge.pool()
        pid = await pool.call(call("pid"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect, results, pool.call(call("meet", port=other, v="y")))
            await other.asked("y")
            desk.held.add("x")
            async with anyio.create_task_group() as cancelled:
                cancelled.start_soon(pool.call, call("never_end" + suffix, port=desk, v="x"))
                await desk.asked("x")
                cancelled.cancel_scope.cancel()

        assert isinstance(results[0], WorkerDied)
        assert results[0].ended == f"was killed by its host: program 'never_end{suffix}' ignored its cancellation for 0.1 s"
        assert await pool.call(call("pid")) != pid


@BOTH
async def test_a_timeout_ends_the_program_and_is_told_as_such(suffix):
    desk = Desk()
    desk.held.add("x")
    async with a_bridge(kill_after=20.0) as bridge:
        pool = bridge.pool()
        pid = await pool.call(call("pid"))
        await pool.call(call("nothing"))
        with pytest.raises(CallTimeout) as caught:
            await pool.call(call("meet" + suffix, port=desk, v="x", timeout=0.3))

        assert caught.value.applied is None
        assert str(caught.value) == f"Program 'meet{suffix}' did not answer within 0.3 s."
        assert await pool.call(call("pid")) == pid


async def test_the_deadline_of_the_caller_ends_the_program_too():
    desk = Desk()
    desk.held.add("x")
    async with a_bridge(kill_after=20.0) as bridge:
        pool = bridge.pool()
        await pool.wait_ready()
        with anyio.move_on_after(0.3) as scope:
            await pool.call(call("meet", port=desk, v="x"))

        assert scope.cancelled_caught
        await idle(pool)
        assert pool.statistics().deaths == 0


async def test_a_call_whose_caller_is_cancelled_already_never_begins():
    desk = Desk(x=1)
    async with a_bridge() as bridge:
        await bridge.wait_ready()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await bridge.pool().call(call("read", port=desk, v="x"))

        await bridge.pool().call(call("nothing"))

    assert desk.served == []


async def test_a_hundred_cancelled_at_random_leave_every_place_free():
    desk = Desk(x=1)

    async def one(number):
        with anyio.move_on_after(0.0003 * (number % 17)):
            await bridge.pool().call(call("read" if number % 2 else "read_async", port=desk, v="x"))

    async with a_bridge(concurrency=4, kill_after=20.0) as bridge:
        await bridge.pool().call(call("read_async", port=desk, v="x"))
        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(one, number)

        await idle(bridge.pool())
        statistics = bridge.pool().statistics()
        assert (statistics.running, statistics.waiting, statistics.deaths) == (0, 0, 0)
        assert await bridge.pool().call(call("echo", value=1)) == 1


@BOTH
async def test_a_program_whose_caller_is_cancelled_twice_natively_is_not_left_running(suffix):
    if trio.lowlevel.in_trio_run():
        pytest.skip("trio has no native cancel")

    desk = Desk()
    desk.held.add("x")
    async with a_bridge(kill_after=0.1) as bridge:
        pool = bridge.pool()
        pid = await pool.call(call("pid"))
        task = asyncio.get_running_loop().create_task(pool.call(call("never_end" + suffix, port=desk, v="x")))
        await desk.asked("x")
        for _ in range(2):
            task.cancel()
            for _ in range(5):
                await anyio.lowlevel.checkpoint()

        with pytest.raises(asyncio.CancelledError):
            await task

        await idle(pool)
        assert await pool.call(call("pid")) != pid


async def test_a_worker_is_replaced_after_as_many_calls_as_it_may_serve():
    async with a_bridge(max_calls=3) as bridge:
        pids = [await bridge.pool().call(call("pid")) for _ in range(7)]
        assert bridge.pool().statistics().deaths == 0

    assert len(set(pids)) == 3
    assert pids[0] == pids[1] == pids[2] != pids[3] == pids[4] == pids[5] != pids[6]


async def test_a_worker_that_has_grown_too_large_is_replaced_after_its_call():
    async with a_bridge(max_rss=200 << 20) as bridge:
        pid = await bridge.pool().call(call("pid"))
        assert await bridge.pool().call(call("pid")) == pid
        await bridge.pool().call(call("grow", size=300 << 20))
        assert await bridge.pool().call(call("pid")) != pid


async def test_a_pool_refuses_calls_once_its_bridge_has_closed():
    async with a_bridge() as bridge:
        pool = bridge.pool()

    with pytest.raises(BridgeClosed):
        await pool.call(call("nothing"))

    with pytest.raises(BridgeClosed):
        await pool.wait_ready()
