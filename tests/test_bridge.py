"""The bridge as one thing to open: its life, its end, and what it leaves behind, which is nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import anyio
import pytest
import trio
from worker_desk import STORE, Desk, call, gone

from dspex._exceptions import BridgeClosed, PoolNotFound, StartFailed, WorkerDied, WrongThread
from dspex.bridge import Bridge, Pool


class Mine(Exception):
    pass


def a_bridge(**options):
    return Bridge(store=STORE, **options)


async def test_a_bridge_is_new_then_running_then_closed():
    bridge = a_bridge(name="b")
    assert (bridge.status, bridge.ready) == ("new", False)
    with pytest.raises(BridgeClosed, match="not open yet"):
        bridge.pool()

    async with bridge as entered:
        assert entered is bridge
        assert bridge.status == "running"
        await bridge.wait_ready()
        assert bridge.ready
        assert "running" in repr(bridge)

    assert (bridge.status, bridge.ready) == ("closed", False)
    with pytest.raises(BridgeClosed, match=r"^The bridge 'b' is closed"):
        bridge.pool()


async def test_opening_waits_for_no_worker_and_starts_none_itself():
    async with a_bridge() as bridge:
        assert bridge.statistics().pools["default"].workers == ()
        await bridge.wait_ready()
        assert len(bridge.statistics().pools["default"].workers) == 1


async def test_the_workers_start_by_themselves_soon_after():
    async with a_bridge(workers=2) as bridge:
        with anyio.fail_after(20):
            while not bridge.ready:
                await bridge.pool()._news.wait()


async def test_one_handle_may_be_opened_again_but_not_twice_at_once():
    bridge = a_bridge()
    for _ in range(2):
        async with bridge:
            assert await bridge.pool().call(call("echo", value=1)) == 1
            with pytest.raises(RuntimeError, match="is open already"):
                await bridge.__aenter__()


async def test_several_pools_each_with_options_of_its_own():
    async with a_bridge(pools={"ocr": Pool(env={"A": "ocr"})}, env={"A": "default"}) as bridge:
        assert await bridge.pool("ocr").call(call("environment", name="A")) == "ocr"
        assert await bridge.pool().call(call("environment", name="A")) == "default"
        with pytest.raises(PoolNotFound, match=r"has no pool 'gpu'\. Its pools: default, ocr\."):
            bridge.pool("gpu")


def test_an_unknown_pool_is_one_of_our_errors_and_a_lookup_error():
    error = PoolNotFound("gpu", bridge="b", known=["ocr", "default"])
    assert isinstance(error, LookupError)
    assert str(error) == "The bridge 'b' has no pool 'gpu'. Its pools: default, ocr. Add it to the bridge's pools=."


def test_a_misspelt_option_is_refused_with_the_one_that_was_meant():
    with pytest.raises(TypeError) as caught:
        Bridge(wrokers=2)

    assert str(caught.value).startswith("Bridge: unknown option 'wrokers'. Did you mean 'workers'? It takes concurrency, cwd, drain, env,")


async def test_wrong_options_are_refused_when_it_is_made():
    for options, error in (
        ({"drain": -1}, ValueError),
        ({"workers": 0}, ValueError),
        ({"wrokers": 1}, TypeError),
        ({"pools": {"a": {}}}, TypeError),
        ({"pools": {"default": Pool()}, "workers": 2}, TypeError),
    ):
        with pytest.raises(error):
            a_bridge(**options)

    with pytest.raises(ValueError, match="expected 'memory://' or a session store, got 'redis://x'"):
        Bridge(store="redis://x")


def test_there_is_none_on_windows(monkeypatch):
    monkeypatch.setattr("dspex.bridge.os.name", "nt")
    with pytest.raises(RuntimeError, match=r"^There is no Bridge on Windows"):
        a_bridge()


# --- I12: what the body raises comes out as itself ----------------------------------------------------------------------------------


async def test_i12_what_the_body_raises_comes_out_as_itself():
    error = Mine()
    with pytest.raises(Mine) as caught:
        async with a_bridge() as bridge:
            await bridge.wait_ready()
            raise error

    assert caught.value is error
    assert error.__context__ is None


async def test_i12_it_does_while_calls_are_running_and_without_waiting_for_them():
    desk = Desk()
    desk.held.add("x")
    told = []

    async def one():
        try:
            await pool.call(call("never_end", port=desk, v="x"))
        except BridgeClosed as error:
            told.append(error)

    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        with pytest.raises(Mine):
            async with a_bridge(kill_after=0.1) as bridge:
                pool = bridge.pool()
                tasks.start_soon(one)
                await desk.asked("x")
                raise Mine

    assert time.perf_counter() - began < 10
    assert told[0].applied is None
    assert bridge.status == "closed"


async def test_i12_it_does_also_when_an_outer_scope_is_cancelled_meanwhile():
    with anyio.CancelScope() as outer:
        with pytest.raises(Mine):
            async with a_bridge() as bridge:
                await bridge.wait_ready()
                outer.cancel()
                raise Mine

    assert bridge.status == "closed"


async def test_a_cancellation_goes_through_and_leaves_nothing():
    with anyio.CancelScope() as outer:
        async with a_bridge() as bridge:
            await bridge.wait_ready()
            outer.cancel()
            await anyio.sleep_forever()

    assert outer.cancelled_caught
    assert bridge.status == "closed"


async def test_a_bridge_whose_opening_is_cancelled_leaves_nothing():
    bridge = a_bridge()
    with anyio.CancelScope() as outer:
        outer.cancel()
        async with bridge:
            await anyio.lowlevel.checkpoint()

    assert outer.cancelled_caught
    async with bridge:
        assert await bridge.pool().call(call("echo", value=1)) == 1


async def test_a_worker_that_dies_or_can_not_start_never_raises_out_of_the_block():
    async with a_bridge() as bridge:
        with pytest.raises(WorkerDied):
            await bridge.pool().call(call("die", signal_name="SIGKILL"))

    async with a_bridge(python="/nowhere") as bridge:
        with pytest.raises(StartFailed):
            await bridge.wait_ready()


async def test_a_defect_in_a_pool_closes_the_bridge_and_is_raised_bare_by_the_block(monkeypatch):
    async def broken(self, name):
        raise Mine

    monkeypatch.setattr("dspex.worker.host.seats.Seats.keep", broken)
    with pytest.raises(Mine):
        async with a_bridge() as bridge:
            with pytest.raises(BridgeClosed):
                await bridge.pool().call(call("nothing"))

            with anyio.fail_after(5):
                await bridge._closed.wait()

            with pytest.raises(BridgeClosed) as caught:
                bridge.pool()

            assert isinstance(caught.value.__cause__, Mine)


# --- its end -----------------------------------------------------------------------------------------------------------------------


async def test_it_waits_for_calls_in_flight_and_refuses_new_ones_meanwhile():
    desk = Desk(x=1)
    desk.held.add("x")
    results = []

    async def one():
        results.append(await pool.call(call("meet", port=desk, v="x")))

    async def then_answer():
        while bridge.status != "stopping":
            await anyio.lowlevel.checkpoint()

        with pytest.raises(BridgeClosed):
            await pool.call(call("nothing"))

        desk.answer(1)

    async with anyio.create_task_group() as tasks, a_bridge(concurrency=1) as bridge:
        pool = bridge.pool()
        tasks.start_soon(one)
        await desk.asked("x")
        tasks.start_soon(one)
        while not pool.statistics().waiting:
            await anyio.lowlevel.checkpoint()

        desk.held.clear()
        tasks.start_soon(then_answer)

    assert len(results) == 2


async def test_calls_that_do_not_end_in_time_are_cancelled_and_told():
    desk = Desk()
    desk.held.add("x")
    told = []

    async def one():
        with pytest.raises(BridgeClosed) as caught:
            await pool.call(call("meet", port=desk, v="x"))

        told.append(caught.value.applied)

    async with anyio.create_task_group() as tasks, a_bridge(concurrency=1, drain=0.05) as bridge:
        pool = bridge.pool()
        tasks.start_soon(one)
        await desk.asked("x")
        tasks.start_soon(one)
        while not pool.statistics().waiting:
            await anyio.lowlevel.checkpoint()

    # The second one never had a place.
    assert sorted(told, key=str) == [False, None]


async def test_start_and_stop_may_be_called_from_any_task():
    bridge = a_bridge()

    async def start():
        assert await bridge.start() is bridge

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(start)

    assert await bridge.pool().call(call("echo", value=1)) == 1
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(bridge.stop)

    assert bridge.status == "closed"
    await bridge.stop()


async def test_serve_runs_as_one_task_until_it_is_stopped():
    bridge = a_bridge()
    async with anyio.create_task_group() as tasks:
        await tasks.start(bridge.serve)
        assert await bridge.pool().call(call("echo", value=1)) == 1
        await bridge.stop()

    assert bridge.status == "closed"


async def test_serve_ends_and_cleans_up_when_its_group_is_cancelled():
    bridge = a_bridge()
    async with anyio.create_task_group() as tasks:
        await tasks.start(bridge.serve)
        await bridge.wait_ready()
        pid = await bridge.pool().call(call("pid"))
        tasks.cancel_scope.cancel()

    assert gone(pid)
    assert bridge.status == "closed"


async def test_a_bridge_closes_in_bounded_time_although_its_worker_is_stopped():
    async with a_bridge(drain=0) as bridge:
        pid = await bridge.pool().call(call("pid"))
        os.kill(pid, signal.SIGSTOP)
        began = time.perf_counter()

    assert time.perf_counter() - began < 10
    assert gone(pid)


async def test_a_bridge_closes_at_once_when_its_workers_are_idle():
    async with a_bridge(workers=2) as bridge:
        await bridge.wait_ready()
        began = time.perf_counter()

    assert time.perf_counter() - began < 0.8


async def test_a_native_cancel_of_the_task_that_holds_it_leaves_nothing():
    if trio.lowlevel.in_trio_run():
        pytest.skip("trio has no native cancel")

    bridge = a_bridge()
    opened = anyio.Event()

    async def hold():
        async with bridge:
            await bridge.wait_ready()
            opened.set()
            await anyio.sleep_forever()

    task = asyncio.get_running_loop().create_task(hold())
    await opened.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert bridge.status == "closed"


# --- I10: no orphans ---------------------------------------------------------------------------------------------------------------

HOST = """
    import sys
    sys.path[:0] = {path!r}
    import anyio
    from worker_desk import Desk, STORE, call
    from dspex.bridge import Bridge

    async def main():
        desk = Desk()
        async with Bridge(store=STORE, workers=2) as bridge, anyio.create_task_group() as tasks:
            tasks.start_soon(bridge.pool().call, call("with_grandchild", port=desk, v="grandchild"))
            await desk.asked("grandchild")
            while len(bridge.statistics().pools["default"].workers) < 2:
                await anyio.sleep(0)
            print(desk.values["grandchild"], *(worker.pid for worker in bridge.statistics().pools["default"].workers), flush=True)
            await anyio.sleep_forever()

    anyio.run(main, backend={backend!r})
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_i10_nothing_outlives_a_host_that_is_killed(backend):
    here = Path(__file__).parent
    script = textwrap.dedent(HOST).format(path=[str(here), str(here.parent / "src")], backend=backend)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as host:
        assert host.stdout is not None
        pids = [int(pid) for pid in host.stdout.readline().split()]
        host.kill()

    killed = time.perf_counter()
    assert len(pids) == 3
    while not all(map(gone, pids)):
        assert time.perf_counter() - killed < 1.0, "a worker, or what it started, outlived its host by a second"


async def test_stop_from_another_loop_is_an_error_and_not_a_hang() -> None:
    async with Bridge(name="own", workers=1) as bridge:
        caught: list[BaseException] = []

        def elsewhere() -> None:
            try:
                anyio.run(bridge.stop)
            except WrongThread as error:
                caught.append(error)

        await anyio.to_thread.run_sync(elsewhere)
        assert "Bridge 'own' was used from another thread or event loop" in str(caught[0])
        assert bridge.status == "running"
