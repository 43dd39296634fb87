"""Seats: each has one worker after the other, started again by a supervisor of ours, and never in a hurry that helps nobody."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

import anyio
import pytest
from anyio.lowlevel import checkpoint
from worker_desk import PROGRAMS, STORE, Desk, call

from dspex._exceptions import BridgeClosed, StartFailed, WorkerDied
from dspex.bridge import Bridge
from dspex.worker.host.restarts import JITTER, MAX_WAIT
from dspex.worker.host.worker import Worker


class Mine(Exception):
    pass


def a_bridge(**options):
    return Bridge(store=STORE, **options)


def interpreter(folder, then):
    """An interpreter that adds a line to ``log`` when it is started, and how many lines there are."""
    log, python = folder / "log", folder / "python"
    log.touch()
    python.write_text(f"#!/bin/sh\necho >> {log}\n{then}\n")
    python.chmod(0o755)
    return python, lambda: len(log.read_text())


async def until(condition):
    with anyio.fail_after(20):
        while not condition():
            await checkpoint()


async def news_until(pool, condition):
    with anyio.fail_after(20):
        while not condition():
            await pool._news.wait()


async def test_seats_whose_workers_die_at_start_are_filled_ever_more_slowly_each_by_itself(tmp_path):
    python, starts = interpreter(tmp_path, "exit 3")
    began = time.perf_counter()
    async with a_bridge(python=python, workers=3) as bridge:
        pool = bridge.pool()
        await news_until(pool, lambda: pool.statistics().deaths >= 9)
        # For each seat 0.1 s and 0.2 s, less a fifth each.
        assert time.perf_counter() - began > 0.24
        assert starts() <= 12
        assert pool.statistics().workers == ()


async def test_a_worker_that_dies_again_and_again_is_replaced_at_once_three_times_and_then_later():
    async with a_bridge() as bridge:
        pool = bridge.pool()
        for _ in range(4):
            await pool.wait_ready()
            pid = pool.statistics().workers[0].pid
            os.kill(pid, signal.SIGKILL)
            await news_until(pool, lambda pid=pid: all(worker.pid != pid for worker in pool.statistics().workers))

        began = time.perf_counter()
        await pool.wait_ready()
        # 0.1 s, less a fifth.
        assert time.perf_counter() - began > 0.08
        assert pool.statistics().deaths == 4


async def test_however_often_somebody_kills_its_workers_a_seat_is_not_empty_for_long():
    async with a_bridge() as bridge:
        pool = bridge.pool()
        seat = pool._seats._seats[0]
        await pool.wait_ready()
        seat._restarts.strikes = 1000
        os.kill(pool.statistics().workers[0].pid, signal.SIGKILL)
        await news_until(pool, lambda: pool.statistics().deaths == 1)
        # Whoever calls now waits, and is told nothing.
        assert 0 < seat.delay(1) <= MAX_WAIT * (1 + JITTER)


async def test_a_call_that_comes_as_a_stranger_cancels_what_runs_a_worker_is_served_by_the_next(running_loop):
    if running_loop() == "trio":
        pytest.skip("trio has no such cancel")

    async def one():
        try:
            told.append(await pool.call(call("echo_async", value=1)))
        except WorkerDied as error:
            told.append(error)

    told = []
    async with a_bridge() as bridge, anyio.create_task_group() as tasks:
        pool = bridge.pool()
        await pool.wait_ready()
        next(task for task in asyncio.all_tasks() if task.get_name().endswith("/worker-1")).cancel()
        while pool.statistics().deaths == 0:
            tasks.start_soon(one)
            await checkpoint()

        assert await pool.call(call("echo", value=1)) == 1

    assert all(answer == 1 or isinstance(answer, WorkerDied) for answer in told)
    assert told


async def test_a_pool_closes_at_once_while_its_seats_are_empty_for_a_while(tmp_path):
    python, starts = interpreter(tmp_path, "exit 3")
    async with a_bridge(python=python) as bridge:
        await news_until(bridge.pool(), lambda: bridge.pool().statistics().deaths >= 3)
        began, before = time.perf_counter(), starts()

    assert time.perf_counter() - began < 0.2
    assert starts() == before


async def test_no_worker_is_started_any_more_once_the_pool_closes(tmp_path):
    """One of two programs is abandoned and killed with its worker, while the pool gives the other one time to end."""
    python, starts = interpreter(tmp_path, f'exec {sys.executable} "$@"')
    first, second = Desk(), Desk()
    first.held.add("x")
    second.held.add("x")

    async def second_one():
        with pytest.raises(BridgeClosed):
            await pool.call(call("never_end", port=second, v="x"))

    async with anyio.create_task_group() as tasks:
        async with a_bridge(python=python, path=[PROGRAMS], workers=2, concurrency=1, kill_after=0.4, drain=0.2) as bridge:
            pool = bridge.pool()
            tasks.start_soon(second_one)
            await second.asked("x")
            async with anyio.create_task_group() as abandoned:
                abandoned.start_soon(pool.call, call("never_end", port=first, v="x"))
                await first.asked("x")
                abandoned.cancel_scope.cancel()

        # The first was killed after 0.4 s; the second had 0.2 s, and then 0.4 s more.
        assert starts() == 2


async def test_a_pool_that_closes_has_nothing_to_report_of_workers_that_it_ended(caplog):
    killed = []
    for drain in (0.0, 30.0):
        async with a_bridge(drain=drain, workers=2) as bridge:
            pool = bridge.pool()
            await news_until(pool, lambda pool=pool: pool.ready)
            stopped, other = pool.statistics().workers
            os.kill(stopped.pid, signal.SIGSTOP)
            os.kill(other.pid, signal.SIGKILL)
            killed.append(other.pid)

        async with a_bridge(drain=drain) as bridge:
            # Its worker is just starting.
            await until(lambda bridge=bridge: bridge.pool().statistics().workers)

    # Of those that somebody else has killed it may have heard before it began to close.
    assert [record.getMessage() for record in caplog.records if record.dspex_worker_pid not in killed] == []


async def test_what_runs_a_worker_may_fail_and_only_that_worker_is_lost(monkeypatch, caplog):
    defect = anyio.Event()
    watch = Worker._watch_start
    desk = Desk()
    desk.held.add("x")
    told = []

    async def fragile(self):
        if not told:
            await defect.wait()
            raise Mine("of all things")

        await watch(self)

    async def one():
        with pytest.raises(WorkerDied) as caught:
            await bridge.pool().call(call("meet", port=desk, v="x"))

        told.append(caught.value.applied)

    monkeypatch.setattr(Worker, "_watch_start", fragile)
    async with a_bridge() as bridge:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            await desk.asked("x")
            defect.set()

        assert told == [None]
        assert await bridge.pool().call(call("echo", value=1)) == 1
        statistics = bridge.pool().statistics()
        assert statistics.deaths == 1
        assert statistics.last_death.endswith("was killed by SIGKILL (signal 9)")

    assert [record.getMessage() for record in caplog.records] == ["A worker of pool 'default' is replaced: what runs it failed"]


async def test_what_fails_to_run_any_worker_is_told_to_who_waits_and_does_not_spin(monkeypatch):
    hired = []

    async def broken(self):
        hired.append(self)
        raise Mine("of all things")

    monkeypatch.setattr(Worker, "_watch_start", broken)
    began = time.perf_counter()
    async with a_bridge() as bridge:
        with pytest.raises(StartFailed, match=r"^A worker of pool 'default' failed to start: Mine: of all things") as caught:
            await bridge.pool().call(call("nothing"))

        assert isinstance(caught.value.__cause__, Mine)
        await news_until(bridge.pool(), lambda: len(hired) >= 3)
        # 0.1 s and 0.2 s, less a fifth each.
        assert time.perf_counter() - began > 0.24
        assert bridge.status == "running"
