"""Programs and interpreters that do what they had better not: what the caller is told, and that nobody else suffers."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys

import anyio
import pytest
from worker_desk import STORE, Desk, call

from dspex._exceptions import ProgramFailed, StartFailed, WorkerDied
from dspex.bridge import Bridge, Pool

BOTH = pytest.mark.parametrize("suffix", ["", "_async"], ids=["sync", "async"])


def a_bridge(**options):
    return Bridge(store=STORE, **options)


def adverse(program, **options):
    return call(program, definition={"path": f"adverse_programs:{program}"}, **options)


# --- what a program raises, wherever it does ------------------------------------------------------------------------------------------


@BOTH
async def test_a_result_that_ends_the_encoder_is_the_programs_failure_and_nobody_elses(suffix):
    async with a_bridge() as bridge:
        pool = bridge.pool()
        with anyio.fail_after(20), pytest.raises(ProgramFailed, match=r"raised (builtins\.)?(SystemExit|KeyboardInterrupt)"):
            await pool.call(adverse("trap" + suffix))

        assert await pool.call(call("echo" + suffix, value=1)) == 1
        assert (pool.statistics().started, pool.statistics().deaths) == (1, 0)


@BOTH
async def test_an_error_without_a_text_is_told_by_its_name(suffix):
    async with a_bridge() as bridge:
        with anyio.fail_after(20), pytest.raises(ProgramFailed) as caught:
            await bridge.pool().call(adverse("mute" + suffix))

        assert caught.value.message == "(its text can't be shown: KeyboardInterrupt)"
        assert caught.value.type == "adverse_programs.Mute"
        assert bridge.statistics().pools["default"].started == 1


# --- what a program does to its process -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fd", [0, 1, 2])
async def test_a_closed_stream_never_becomes_a_channel_to_print_into(fd):
    desk = Desk(x=1)
    desk.held.add("y")
    async with a_bridge() as bridge:
        pool = bridge.pool()
        assert await pool.call(adverse("close_stream", fd=fd)) == fd
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.call, adverse("meet", port=desk, v="y"))
            await desk.asked("y")
            # This one gets a channel that is made now, when its descriptor is the lowest that is free.
            assert await pool.call(adverse("say", port=Desk(x=1), text="into whose ears?")) == 1
            desk.answer(1)

        assert pool.statistics().deaths == 0


async def test_a_worker_whose_streams_are_gone_leaves_in_good_order():
    async with a_bridge() as bridge:
        pool = bridge.pool()
        await pool.call(adverse("close_sys_streams"))
        (worker,) = pool._places.workers

    assert worker.process.exit_code == 0


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted the Linux way")
async def test_a_worker_without_room_for_another_file_says_so():
    desk = Desk()
    desk.held.add("x")
    async with a_bridge() as bridge:
        pool = bridge.pool()
        await pool.call(adverse("allow_files", count=4))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_told_of_files, pool, desk)
            await desk.asked("x")
            # It needs a channel more. Of the worker's end it is told, unless that came first: then the next worker has it.
            with contextlib.suppress(WorkerDied):
                assert await pool.call(adverse("meet", port=Desk(x=1), v="x")) == 1

        assert await pool.call(call("echo", value=2)) == 2


async def _told_of_files(pool, desk):
    with pytest.raises(WorkerDied, match=r"(?s)exited with code 71\..*can't open another channel:.*open files"):
        await pool.call(adverse("meet", port=desk, v="x"))


async def test_a_fork_that_returns_from_the_program_answers_for_nobody():
    async with a_bridge() as bridge:
        pid = await bridge.pool().call(call("pid"))
        assert await bridge.pool().call(adverse("forks", port=Desk(x=1))) == pid
        assert await bridge.pool().call(call("pid")) == pid


async def test_a_thread_left_behind_is_told_when_its_call_is_over():
    async with a_bridge() as bridge:
        await bridge.pool().call(adverse("use_later", port=Desk(x=1)))
        (told,) = await bridge.pool().call(adverse("how_it_went"))

    assert told[0] == "ContextClosed"
    assert "wait for your threads" in told[1]


# --- interpreters ---------------------------------------------------------------------------------------------------------------------


async def test_an_interpreter_that_is_too_old_says_which_is_needed(tmp_path):
    script = tmp_path / "python3.8"
    script.write_text(
        f"#!{sys.executable}\nimport runpy, sys\nsys.version_info = (3, 8, 18)\nsys.executable = __file__\nboot = sys.argv[2]\n"
        "del sys.argv[1:3]\nrunpy.run_path(boot, run_name='__main__')\n"
    )
    script.chmod(0o755)
    async with a_bridge(python=script) as bridge:
        with pytest.raises(StartFailed) as caught:
            await bridge.wait_ready()

    assert f"Expected {str(script)!r} to be Python 3.9 or newer: check the pool's python=." in str(caught.value)
    assert str(caught.value).endswith("python3.8 is Python 3.8, and workers need 3.9 or newer.")


@pytest.mark.parametrize("options", [{"python": "/bin/py\0thon"}, {"env": {"A=B": "x"}}, {"cwd": "/tmp/\0"}], ids=["python", "env", "cwd"])
async def test_options_that_no_process_can_have_fail_the_start_and_not_the_bridge(options):
    async with a_bridge(**options) as bridge:
        with pytest.raises(StartFailed, match="A worker of pool 'default' failed to start"):
            await bridge.wait_ready()

        assert bridge.status == "running"


async def test_a_module_of_imports_that_cant_be_imported_is_logged(caplog):
    heard = anyio.Event()

    class Ear(logging.Handler):
        def emit(self, record):
            heard.set()

    ear = Ear(logging.WARNING)
    logging.getLogger("dspex.worker").addHandler(ear)
    try:
        async with a_bridge(imports=["json", "no_such_module"]) as bridge:
            assert await bridge.pool().call(call("echo", value=1)) == 1
            with anyio.fail_after(20):
                await heard.wait()
    finally:
        logging.getLogger("dspex.worker").removeHandler(ear)

    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == (
        "A worker of pool 'default' could not import 'no_such_module' of imports= and goes on without it: "
        "ModuleNotFoundError: No module named 'no_such_module'"
    )


def test_the_environment_of_a_pool_is_not_shown():
    assert "hush" not in repr(Pool(env={"API_KEY": "hush"}))
    assert "API_KEY" in repr(Pool(env={"API_KEY": "hush"}))


# --- storms ---------------------------------------------------------------------------------------------------------------------------


async def test_a_worker_that_is_killed_as_it_starts_is_followed_by_another_and_nobody_is_told():
    async with a_bridge() as bridge:
        pool = bridge.pool()
        await _kill(pool, await pool.call(call("pid")))
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(pool.call, call("nothing"))
                for _ in range(2):
                    await _kill(pool, await _starting(pool))

            assert await pool.call(call("echo", value=1)) == 1


async def _kill(pool, pid):
    """Kills a worker and waits until the pool knows."""
    os.kill(pid, signal.SIGKILL)
    while pid in {worker.pid for worker in pool.statistics().workers}:
        await anyio.lowlevel.checkpoint()


async def _starting(pool):
    while True:
        for worker in pool.statistics().workers:
            if worker.status == "starting":
                return worker.pid

        await anyio.lowlevel.checkpoint()


class Tally:
    """A port that counts."""

    context_id = "ctx_test"

    def __init__(self):
        self.count = 0

    def operate_nowait(self, name, args):
        self.count += args[1]
        return self.count

    def post(self, name, args, answer):
        answer(self.operate_nowait(name, args), None)


async def test_workers_are_killed_while_clients_count_and_every_call_is_answered():
    tally, ended, kills = Tally(), {"fine": 0, "died": 0}, 8

    async def client(suffix):
        while kills:
            try:
                await pool.call(adverse("storm" + suffix, port=tally))
                ended["fine"] += 1
            except WorkerDied as error:
                assert (error.exit_code, error.applied) == (-signal.SIGKILL, None)
                ended["died"] += 1

    async with a_bridge(workers=2) as bridge:
        pool = bridge.pool()
        with anyio.fail_after(40):
            async with anyio.create_task_group() as tasks:
                for suffix in ("", "_async") * 3:
                    tasks.start_soon(client, suffix)

                for _ in range(kills):
                    await _kill(pool, await _busy(pool))
                    kills -= 1

            before = tally.count
            await pool.call(adverse("storm", port=tally))

    assert tally.count == before + 20
    assert before >= 20 * ended["fine"]
    assert ended["died"] >= 8


async def _busy(pool):
    while True:
        for worker in pool.statistics().workers:
            if worker.running and worker.status == "ready":
                return worker.pid

        await anyio.lowlevel.checkpoint()
