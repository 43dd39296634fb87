"""Workers that die: who is told, how soon, and what comes after them."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from pathlib import Path

import anyio
import pytest
from worker_desk import PROGRAMS, STORE, Desk, call, gone

from dspex._exceptions import RemoteProtocolError, StartFailed, WorkerDied
from dspex.bridge import Bridge
from dspex.worker.host import journal

BOTH = pytest.mark.parametrize("suffix", ["", "_async"], ids=["sync", "async"])


def a_bridge(**options):
    return Bridge(store=STORE, **options)


@BOTH
@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV"])
async def test_a_death_by_signal_is_told_in_words(suffix, name):
    async with a_bridge() as bridge:
        pid = await bridge.pool().call(call("pid"))
        with pytest.raises(WorkerDied) as caught:
            await bridge.pool().call(call("die" + suffix, signal_name=name))

    number = getattr(signal, name)
    assert (caught.value.pid, caught.value.exit_code, caught.value.applied) == (pid, -number, None)
    assert caught.value.ended == f"was killed by {name} (signal {int(number)})"


async def test_a_death_by_exit_is_told_with_its_code():
    async with a_bridge() as bridge:
        with pytest.raises(WorkerDied, match=r"^Worker \d+ exited with code 7\. It said nothing") as caught:
            await bridge.pool().call(call("leave", code=7))

    assert caught.value.exit_code == 7


async def test_last_words_are_the_end_of_what_it_said():
    async with a_bridge() as bridge:
        with pytest.raises(WorkerDied) as caught:
            await bridge.pool().call(call("say_and_die", text="never mind " * 20, lines=2000))

    assert caught.value.last_words.endswith("never mind \nand this is the end\n")
    assert 4000 < len(caught.value.last_words) <= 8192


async def test_a_program_that_prints_without_end_is_never_held_up():
    async with a_bridge() as bridge:
        assert await bridge.pool().call(call("print_a_lot", lines=5000)) == 5000


async def test_a_death_is_told_at_once_and_the_next_call_is_served_soon():
    told, killed, served = [], [], []

    async def one(desk):
        with pytest.raises(WorkerDied):
            await pool.call(call("meet", port=desk, v="x"))

        told.append(time.perf_counter())

    async with a_bridge() as bridge:
        pool = bridge.pool()
        for _ in range(3):
            desk = Desk()
            desk.held.add("x")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one, desk)
                await desk.asked("x")
                killed.append(time.perf_counter())
                os.kill(pool.statistics().workers[0].pid, signal.SIGKILL)

            await pool.call(call("nothing"))
            served.append(time.perf_counter())

    # The ledger says 5 ms and 60 ms, and the bench holds it. Here the machine may be busy.
    assert min(map(float.__sub__, told, killed)) < 0.1
    assert min(map(float.__sub__, served, killed)) < 0.6


async def test_only_the_calls_of_the_worker_that_died_fail():
    desk = Desk(x=1)
    desk.held.add("x")
    results = []

    async def one():
        try:
            results.append(await pool.call(call("meet", port=desk, v="x")))
        except WorkerDied as error:
            results.append(error)

    async with a_bridge(workers=2) as bridge:
        pool = bridge.pool()
        while sum(worker.status == "ready" for worker in pool.statistics().workers) < 2:
            await pool._news.wait()

        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(one)
                while len(desk.posted) <= number:
                    await anyio.lowlevel.checkpoint()

            os.kill(pool.statistics().workers[0].pid, signal.SIGKILL)
            while len(results) < 2:
                await anyio.lowlevel.checkpoint()

            while desk.posted:
                desk.answer()

    assert [type(result) for result in results] == [WorkerDied, WorkerDied, int, int]
    assert results[0] is not results[1]


async def test_a_worker_that_is_killed_while_idle_costs_nobody_a_call():
    async with a_bridge() as bridge:
        pool = bridge.pool()
        pid = await pool.call(call("pid"))
        ended = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        select.select([ended], [], [])
        os.close(ended)

        assert await pool.call(call("pid")) != pid


async def test_a_storm_of_kills_loses_no_call_without_a_word():
    ended = []

    async def one(number):
        try:
            ended.append(await pool.call(call("read" if number % 2 else "read_async", port=desk, v="x")))
        except WorkerDied as error:
            ended.append(error)

    async def kill():
        for _ in range(6):
            await pool.wait_ready()
            for worker in pool.statistics().workers:
                os.kill(worker.pid, signal.SIGKILL)

    desk = Desk(x=1)
    async with a_bridge(workers=2, concurrency=4) as bridge:
        pool = bridge.pool()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kill)
            for number in range(60):
                tasks.start_soon(one, number)

        statistics = pool.statistics()
        assert (statistics.running, statistics.waiting) == (0, 0)
        assert len(ended) == 60
        assert await pool.call(call("echo", value="still here")) == "still here"


async def test_what_a_worker_started_dies_with_it():
    desk = Desk()
    async with a_bridge() as bridge:
        async with anyio.create_task_group() as tasks:

            async def one():
                with pytest.raises(WorkerDied):
                    await bridge.pool().call(call("with_grandchild", port=desk, v="grandchild"))

            tasks.start_soon(one)
            await desk.asked("grandchild")
            os.kill(bridge.statistics().pools["default"].workers[0].pid, signal.SIGKILL)

        with anyio.fail_after(5):
            while not gone(desk.values["grandchild"]):
                await anyio.lowlevel.checkpoint()


async def test_what_a_worker_started_dies_when_the_bridge_closes():
    desk = Desk()
    async with a_bridge(kill_after=0.1, drain=0) as bridge, anyio.create_task_group() as tasks:
        tasks.start_soon(bridge.pool().call, call("with_grandchild", port=desk, v="grandchild"))
        await desk.asked("grandchild")
        tasks.cancel_scope.cancel()

    with anyio.fail_after(5):
        while not gone(desk.values["grandchild"]):
            await anyio.lowlevel.checkpoint()


async def test_sigterm_lets_a_worker_finish_and_leave():
    desk = Desk(x=1)
    desk.held.add("x")
    pids = []

    async def one():
        pids.append(await pool.call(call("meet", port=desk, v="x")))

    async with a_bridge() as bridge:
        pool = bridge.pool()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            await desk.asked("x")
            pid = pool.statistics().workers[0].pid
            os.kill(pid, signal.SIGTERM)
            while pool.statistics().workers[0].status != "retiring":
                await pool._news.wait()

            desk.answer(1)

        assert pids == [pid]
        assert await pool.call(call("pid")) != pid
        assert pool.statistics().deaths == 0


# --- workers that can't start ------------------------------------------------------------------------------------------------------


async def test_an_interpreter_that_does_not_exist_is_told_to_those_who_wait_and_those_who_come():
    async with a_bridge(python="/nowhere/python3") as bridge:
        for _ in range(2):
            with pytest.raises(
                StartFailed,
                match=r"^A worker of pool 'default' failed to start: there is no Python interpreter at '/nowhere/python3'\. Check",
            ):
                await bridge.pool().call(call("nothing"))

        with pytest.raises(StartFailed):
            await bridge.wait_ready()


async def test_a_working_directory_that_does_not_exist_is_told():
    async with a_bridge(cwd="/nowhere") as bridge:
        with pytest.raises(StartFailed, match="working directory '/nowhere' is not a directory"):
            await bridge.pool().call(call("nothing"))


async def test_an_interpreter_that_dies_at_start_is_told_with_its_last_words(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no more snakes >&2\nexit 3\n")
    python.chmod(0o755)
    async with a_bridge(python=python) as bridge:
        with pytest.raises(StartFailed, match=r"it exited with code 3 before it was ready\. .* Its last words:\nno more snakes$"):
            await bridge.pool().call(call("nothing"))


async def test_one_that_dies_at_start_is_tried_again_ever_more_slowly(tmp_path):
    log = tmp_path / "log"
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho >> {log}\nexit 3\n")
    python.chmod(0o755)
    async with a_bridge(python=python) as bridge:
        with pytest.raises(StartFailed):
            await bridge.pool().call(call("nothing"))

        began = time.perf_counter()
        while len(log.read_text()) < 3:
            await bridge.pool()._news.wait()

        # 0.1 s and 0.2 s, less a fifth each.
        assert time.perf_counter() - began > 0.2


async def test_a_pool_that_could_not_start_serves_again_once_it_can(tmp_path):
    python = tmp_path / "python"
    async with a_bridge(python=python, path=[PROGRAMS]) as bridge:
        with pytest.raises(StartFailed):
            await bridge.pool().call(call("nothing"))

        written = tmp_path / "written"
        written.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        written.chmod(0o755)
        written.rename(python)
        with anyio.fail_after(20):
            while not bridge.ready:
                await bridge.pool()._news.wait()

        assert await bridge.pool().call(call("echo", value=1)) == 1


# --- garbage -----------------------------------------------------------------------------------------------------------------------


async def test_garbage_on_a_call_s_channel_ends_that_call_and_no_other():
    desk = Desk(x=1)
    desk.held.add("x")
    results = []

    async def one():
        results.append(await pool.call(call("meet_async", port=desk, v="x")))

    async with a_bridge(kill_after=0.2, drain=0.2) as bridge:
        pool = bridge.pool()
        pid = await pool.call(call("pid"))
        with pytest.raises(RemoteProtocolError):
            await pool.call(call("scribble", data=b"\xff" * 64))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            await desk.asked("x")
            desk.answer()

        # Its worker is not trusted further: the call that came after it ran in another.
        assert results[0] != pid


async def test_garbage_on_the_control_connection_ends_the_worker():
    async with a_bridge() as bridge:
        with pytest.raises(WorkerDied, match="was killed by SIGKILL"):
            await bridge.pool().call(call("scribble", data=b"\xff" * 64, control=True))

        assert await bridge.pool().call(call("echo", value=1)) == 1


async def test_a_channel_that_a_program_shuts_ends_its_call():
    desk = Desk(x=1)
    async with a_bridge(kill_after=0.1, drain=0) as bridge:
        with pytest.raises(RemoteProtocolError, match=r"^Worker \d+ closed the channel of a call that had not ended\."):
            await bridge.pool().call(call("hang_up", port=desk, v="x"))

        assert await bridge.pool().call(call("echo", value=1)) == 1


async def test_what_a_worker_logs_is_logged_here_as_text(caplog):
    from dspex.wire import Log

    journal.relay(Log(40, "app.part", "100% {sure} %s"))
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("dspex.worker.app.part", "ERROR", "100% {sure} %s")
    ]


# --- other interpreters ------------------------------------------------------------------------------------------------------------

OLD = Path("~/.pyenv/versions/3.9.18/bin/python").expanduser()


@pytest.mark.skipif(not OLD.exists(), reason="needs a Python 3.9 from pyenv")
@BOTH
async def test_a_worker_of_another_interpreter_needs_nothing_of_ours(suffix):
    desk = Desk(x={"a": (1, 2**80)})
    async with a_bridge(python=OLD, path=[PROGRAMS]) as bridge:
        assert await bridge.pool().call(call("version")) == [3, 9]
        assert await bridge.pool().call(call("read" + suffix, port=desk, v="x")) == {"a": (1, 2**80)}


async def test_a_worker_has_the_environment_and_the_directory_of_its_host_and_of_its_pool(tmp_path, monkeypatch):
    monkeypatch.setenv("FROM_HOST", "yes")
    async with a_bridge(env={"FROM_POOL": "too"}) as bridge:
        assert await bridge.pool().call(call("environment", name="FROM_HOST")) == "yes"
        assert await bridge.pool().call(call("environment", name="FROM_POOL")) == "too"
        assert await bridge.pool().call(call("place")) == os.getcwd()

    async with a_bridge(cwd=tmp_path) as bridge:
        assert await bridge.pool().call(call("place")) == str(tmp_path)
