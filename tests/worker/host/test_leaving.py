"""Callers that leave before their programs end: told at once, while the pool sees the programs out."""

from __future__ import annotations

import contextlib

import anyio
import pytest
from worker_desk import STORE, Desk, call, gone, idle

from dspex._exceptions import CallTimeout, WorkerDied
from dspex.bridge import Bridge

BOTH = pytest.mark.parametrize("suffix", ["", "_async"], ids=["sync", "async"])


def a_bridge(**options):
    return Bridge(store=STORE, **options)


async def test_a_caller_is_told_at_its_timeout_and_the_place_stays_taken():
    desk = Desk()
    async with a_bridge(kill_after=15.0, concurrency=1, drain=0, queue=0) as bridge:
        pool = bridge.pool()
        await pool.wait_ready()
        with anyio.fail_after(5):
            with pytest.raises(CallTimeout) as caught:
                await pool.call(call("sleep_on", port=desk, v="pid", timeout=0.2))

        assert caught.value.applied is None
        assert (pool.statistics().running, pool.statistics().waiting) == (1, 0)
        # Closing waits for kill_after, which is too long for this test.
        pool._places.workers[0].kill()
        await idle(pool)


async def test_a_cancelled_caller_leaves_at_once():
    desk = Desk()
    async with a_bridge(kill_after=15.0) as bridge:
        pool = bridge.pool()
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(pool.call, call("sleep_on", port=desk, v="pid"))
                await desk.asked("pid")
                tasks.cancel_scope.cancel()

        assert pool.statistics().running == 1
        pool._places.workers[0].kill()
        await idle(pool)


@BOTH
async def test_closing_the_bridge_waits_for_a_program_whose_caller_has_left_and_ends_it(suffix):
    desk = Desk()
    desk.held.add("x")
    async with a_bridge(kill_after=0.1) as bridge:
        pool = bridge.pool()
        pid = await pool.call(call("pid"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.call, call("never_end" + suffix, port=desk, v="x"))
            await desk.asked("x")
            tasks.cancel_scope.cancel()

    assert gone(pid)
    assert (pool.statistics().running, pool._places.running) == (0, 0)


async def test_who_shared_the_worker_is_told_for_whose_sake_it_was_killed():
    desk, other, results = Desk(), Desk(), []
    other.held.add("y")

    async def one():
        with pytest.raises(WorkerDied) as caught:
            await pool.call(call("meet", port=other, v="y"))

        results.append(caught.value)

    async with a_bridge(kill_after=0.1) as bridge:
        pool = bridge.pool()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            await other.asked("y")
            with contextlib.suppress(CallTimeout):
                await pool.call(call("sleep_on", port=desk, v="pid", timeout=0.2))

    words = "was killed by its host: program 'sleep_on' ignored its cancellation for 0.1 s"
    assert (results[0].ended, results[0].exit_code) == (words, -9)
    assert str(results[0]).startswith(f"Worker {results[0].pid} {words}. ")


async def test_a_worker_that_a_cancelled_program_will_not_leave_is_avoided():
    desk = Desk()
    async with a_bridge(workers=2, kill_after=15.0) as bridge:
        pool = bridge.pool()
        while sum(worker.status == "ready" for worker in pool.statistics().workers) < 2:
            await pool._news.wait()

        with pytest.raises(CallTimeout):
            await pool.call(call("sleep_on", port=desk, v="pid", timeout=0.2))

        busy, held = desk.values["pid"], Desk()
        held.held.add("x")
        async with anyio.create_task_group() as tasks:
            # Two calls elsewhere are more than the one that lingers here, and yet:
            for count in range(1, 3):
                tasks.start_soon(pool.call, call("meet", port=held, v="x"))
                while len(held.posted) < count:
                    await anyio.lowlevel.checkpoint()

            assert await pool.call(call("pid")) != busy
            held.answer()
            held.answer()

        next(worker for worker in pool._places.workers if worker.process.pid == busy).kill()
        await idle(pool)


async def test_a_call_given_up_while_its_worker_imports_costs_nobody_the_worker(tmp_path):
    gate = tmp_path / "gate"
    (tmp_path / "slow_to_import.py").write_text(
        f"import os, threading\nwhile not os.path.exists({str(gate)!r}):\n    threading.Event().wait(0.01)\n"
    )
    async with a_bridge(kill_after=0.4, path=[tmp_path], imports=["slow_to_import"]) as bridge:
        pool = bridge.pool()
        for _ in range(2):
            with pytest.raises(CallTimeout):
                await pool.call(call("pid", timeout=0.5))

        assert not bridge.ready
        gate.touch()
        await bridge.wait_ready()
        assert pool.statistics().deaths == 0
        assert await pool.call(call("echo", value=1)) == 1
