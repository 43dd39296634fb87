"""What is told of worker processes: each is started once and ends once, and how is said with its signal, its code and its last words."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from worker_desk import STORE, Desk, call

from dspex import BridgeClosed, StartFailed, Supervisor, WorkerDied, telemetry
from dspex.bridge import Bridge, Pool
from dspex.telemetry import WorkerEnded, WorkerStarted
from dspex.telemetry._live import RESTARTS, count_workers


def a_bridge(**options: Any) -> Bridge:
    return Bridge(store=STORE, name="b", **options)


class Told(list[Any]):
    """The records of workers, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.news = anyio.Event()

    def hear(self, record: Any) -> None:
        self.append(record)
        self.news.set()
        self.news = anyio.Event()

    @property
    def started(self) -> list[WorkerStarted]:
        return [record for record in self if isinstance(record, WorkerStarted)]

    @property
    def ended(self) -> list[WorkerEnded]:
        return [record for record in self if isinstance(record, WorkerEnded)]

    async def end(self, number: int = 1) -> WorkerEnded:
        """The *number*-th end, once it is told."""
        with anyio.fail_after(20):
            while len(self.ended) < number:
                await self.news.wait()

        return self.ended[number - 1]


@pytest.fixture
def told(anyio_backend: Any) -> Iterator[Told]:
    told = Told()
    with telemetry.subscribe(told.hear, only=[WorkerStarted, WorkerEnded]):
        yield told


async def test_a_worker_is_told_of_when_it_is_ready_and_when_it_has_left(told: Told) -> None:
    async with a_bridge() as bridge:
        await bridge.wait_ready()
        (started,) = told
        (worker,) = bridge.pool().statistics().workers
        assert (started.bridge, started.pool, started.pid) == ("b", "default", worker.pid)
        assert 0 < started.seconds < 20
        assert await bridge.pool().call(call("echo", value=1)) == 1

    (ended,) = told.ended
    assert (ended.bridge, ended.pool, ended.pid) == ("b", "default", worker.pid)
    assert (ended.ending, ended.exit_code, ended.signal, ended.served) == ("drained", 0, None, 1)
    assert started.seconds <= ended.seconds < 60


async def test_ready_is_told_after_the_imports(told: Told, tmp_path: Path) -> None:
    (tmp_path / "leaves_a_mark.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'mark')!r}).touch()\n")
    marks: list[bool] = []
    with telemetry.subscribe(lambda _: marks.append((tmp_path / "mark").exists()), only=WorkerStarted):
        async with a_bridge(path=[tmp_path], imports=["leaves_a_mark"]) as bridge:
            await bridge.wait_ready()

    assert marks == [True]


async def test_a_worker_that_somebody_kills_is_told_with_the_signal_and_its_last_words(told: Told) -> None:
    desk = Desk()
    desk.held.add("x")
    before = RESTARTS.workers
    async with a_bridge(pools={"ocr": Pool()}) as bridge:
        pool = bridge.pool("ocr")
        await pool.call(call("print_a_lot", lines=1))
        pid = pool.statistics().workers[0].pid
        os.kill(pid, signal.SIGKILL)
        ended = await told.end()
        assert RESTARTS.workers == before + 1

    assert (ended.bridge, ended.pool, ended.pid) == ("b", "ocr", pid)
    assert (ended.ending, ended.exit_code, ended.signal, ended.served) == ("died", None, "SIGKILL", 1)
    assert ended.last_words == "x" * 200 + "\n"


async def test_a_worker_that_exits_is_told_with_its_code(told: Told) -> None:
    async with a_bridge() as bridge:
        with pytest.raises(WorkerDied):
            await bridge.pool().call(call("leave", code=3))

        ended = await told.end()

    assert (ended.ending, ended.exit_code, ended.signal, ended.served) == ("died", 3, None, 1)


async def test_one_that_dies_of_its_imports_has_never_started(told: Told, tmp_path: Path) -> None:
    (tmp_path / "deadly.py").write_text("import os, sys\nprint('it was too much', file=sys.stderr, flush=True)\nos._exit(3)\n")
    async with a_bridge(path=[tmp_path], imports=["deadly"]) as bridge:
        with pytest.raises(StartFailed):
            await bridge.wait_ready()

        ended = await told.end()

    assert told.started == []
    assert (ended.ending, ended.exit_code, ended.signal, ended.served) == ("never started", 3, None, 0)
    assert ended.last_words == "it was too much\n"


async def test_of_one_for_which_no_process_could_be_started_nothing_is_told(told: Told) -> None:
    async with a_bridge(python="/no/such/python") as bridge:
        with pytest.raises(StartFailed):
            await bridge.wait_ready()

    assert told == []


async def test_one_that_has_had_its_calls_is_drained(told: Told) -> None:
    before = RESTARTS.workers
    async with a_bridge(max_calls=2) as bridge:
        for _ in range(2):
            await bridge.pool().call(call("nothing"))

        ended = await told.end()
        assert (ended.ending, ended.exit_code, ended.signal, ended.served) == ("drained", 0, None, 2)
        # Another one has its place: nothing was wrong with it.
        await bridge.pool().wait_ready()
        assert len(told.started) == 2
        assert RESTARTS.workers == before


async def test_one_whose_program_ignores_its_cancellation_is_killed(told: Told) -> None:
    desk = Desk()
    desk.held.add("x")
    async with a_bridge(kill_after=0.05) as bridge:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bridge.pool().call, call("never_end", port=desk, v="x"))
            await desk.asked("x")
            tasks.cancel_scope.cancel()

        ended = await told.end()

    assert (ended.ending, ended.exit_code, ended.signal, ended.served) == ("killed", None, "SIGKILL", 1)


async def test_when_the_bridge_closes_one_that_leaves_is_drained_whatever_runs_in_it(told: Told) -> None:
    desk = Desk()
    desk.held.add("x")

    async def one() -> None:
        with pytest.raises(BridgeClosed):
            await bridge.pool().call(call("never_end", port=desk, v="x"))

    async with anyio.create_task_group() as tasks, a_bridge(drain=0.0, kill_after=0.05) as bridge:
        tasks.start_soon(one)
        await desk.asked("x")

    assert [(ended.ending, ended.exit_code) for ended in told.ended] == [("drained", 0)]


async def test_when_the_bridge_closes_one_that_does_not_leave_in_time_is_killed(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dspex.worker.host.worker.CLOSE_GRACE", 0.05)
    async with a_bridge() as bridge:
        await bridge.wait_ready()
        os.kill(told.started[0].pid, signal.SIGSTOP)

    assert [(ended.ending, ended.signal) for ended in told.ended] == [("killed", "SIGKILL")]


async def test_when_the_bridge_closes_one_that_has_not_said_hello_is_killed(told: Told, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 1000\n")
    python.chmod(0o755)
    async with a_bridge(python=str(python)) as bridge:
        while not bridge.pool().statistics().workers:
            await anyio.lowlevel.checkpoint()

    assert [(ended.ending, ended.signal) for ended in told.ended] == [("killed", "SIGKILL")]


async def test_one_that_somebody_kills_as_it_leaves_has_died(told: Told) -> None:
    async with a_bridge(max_calls=1) as bridge:
        await bridge.wait_ready()
        (worker,) = bridge.pool()._places.workers
        os.kill(worker.process.pid, signal.SIGSTOP)
        worker.retire()
        while worker.standing.value != "leaving":
            await anyio.lowlevel.checkpoint()

        os.kill(worker.process.pid, signal.SIGKILL)
        ended = await told.end()

    assert (ended.ending, ended.signal) == ("died", "SIGKILL")


async def test_each_worker_that_was_ready_has_ended_once(told: Told) -> None:
    async with a_bridge(workers=2, max_calls=1, pools={"ocr": Pool(max_calls=1)}) as bridge:
        for _ in range(3):
            await bridge.pool().call(call("nothing"))
            await bridge.pool("ocr").call(call("nothing"))

    pids = [ended.pid for ended in told.ended]
    assert len(pids) == len(set(pids))
    assert {started.pid for started in told.started} <= set(pids)
    assert all(ended.ending != "died" for ended in told.ended)


async def test_workers_are_counted_by_pool_and_state() -> None:
    before = count_workers()
    async with a_bridge(workers=2, pools={"ocr": Pool()}) as bridge:
        await bridge.wait_ready()
        with anyio.fail_after(20):
            while sum(worker.status == "ready" for worker in bridge.pool().statistics().workers) < 2:
                await bridge.pool()._news.wait()

        counts = await anyio.to_thread.run_sync(count_workers)
        assert {key: count for key, count in counts.items() if count} == {("default", "ready"): 2, ("ocr", "ready"): 1}
        assert set(counts) == {(pool, state) for pool in ("default", "ocr") for state in ("starting", "ready", "retiring", "leaving")}
        async with Bridge(store=STORE) as another:
            await another.wait_ready()
            assert count_workers()["default", "ready"] == 3

    assert count_workers() == before == {}


async def test_seats_of_a_bridge_in_a_tree_tell_of_themselves_as_children_do() -> None:
    changes: list[telemetry.ChildChanged] = []
    with telemetry.subscribe(changes.append, only=telemetry.ChildChanged):
        async with Supervisor([Bridge.child_spec("bridge", store=STORE)], name="app") as supervisor:
            pool = supervisor.which_child("bridge").value.pool()
            await pool.wait_ready()
            os.kill(pool.statistics().workers[0].pid, signal.SIGKILL)
            await anyio.lowlevel.checkpoint()
            with anyio.fail_after(20):
                while sum(change.lives == 2 for change in changes) < 2:
                    await pool._news.wait()

    seat = [change for change in changes if change.path == "app/bridge/default/worker-1"]
    assert [change.state for change in seat[:6]] == ["starting", "running", "restarting", "starting", "running", "stopping"]
    assert isinstance(seat[2].error, WorkerDied)
    assert [change.state for change in changes if change.path == "app/bridge"] == ["starting", "running", "stopping", "gone"]
