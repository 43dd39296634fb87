"""What the host is told of its workers by the log and by the statistics: failed imports, deaths at the start, what programs log."""

from __future__ import annotations

import logging
from pathlib import Path

import anyio
import pytest
from worker_desk import STORE, call

from dspex._exceptions import StartFailed
from dspex.bridge import Bridge

PYENV = Path.home() / ".pyenv" / "versions"


def a_bridge(**options):
    return Bridge(store=STORE, **options)


class Told(logging.Handler):
    """The records of workers, WARNING and above."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.records = []
        self.more = anyio.Event()

    def emit(self, record):
        self.records.append(record)
        self.more.set()
        self.more = anyio.Event()

    async def reach(self, count):
        with anyio.fail_after(20):
            while len(self.records) < count:
                await self.more.wait()


@pytest.fixture
def told(anyio_backend):
    handler = Told()
    logging.getLogger("dspex.worker").addHandler(handler)
    yield handler
    logging.getLogger("dspex.worker").removeHandler(handler)


# --- imports --------------------------------------------------------------------------------------------------------------------------


async def test_a_module_that_cannot_be_imported_is_told_once_a_pool(told):
    async with a_bridge(imports=["no_such_module", "json"], max_calls=1) as bridge:
        pids = {await bridge.pool().call(call("pid")) for _ in range(3)}
        await bridge.wait_ready()

    assert len(pids) == 3
    (record,) = told.records
    assert record.getMessage() == (
        "A worker of pool 'default' could not import 'no_such_module' of imports= and goes on without it: "
        "ModuleNotFoundError: No module named 'no_such_module'"
    )


async def test_a_module_that_raises_the_worst_keeps_no_worker_from_being_ready(told, tmp_path):
    (tmp_path / "interrupts.py").write_text("raise KeyboardInterrupt\n")
    async with a_bridge(path=[tmp_path], imports=["interrupts"]) as bridge:
        with anyio.fail_after(20):
            await bridge.wait_ready()

        assert await bridge.pool().call(call("echo", value=1)) == 1

    assert told.records[0].getMessage().endswith("goes on without it: KeyboardInterrupt")


async def test_ready_means_that_imports_are_done(tmp_path):
    (tmp_path / "leaves_a_mark.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'mark')!r}).touch()\n")
    async with a_bridge(path=[tmp_path], imports=["leaves_a_mark"]) as bridge:
        await bridge.wait_ready()
        assert (tmp_path / "mark").exists()
        assert [worker.status for worker in bridge.pool().statistics().workers] == ["ready"]


async def test_a_pool_whose_workers_die_of_their_imports_is_not_ready_and_says_why(told, tmp_path):
    (tmp_path / "deadly.py").write_text("import os, sys\nprint('it was too much', file=sys.stderr, flush=True)\nos._exit(3)\n")
    words = r"it exited with code 3 while it imported the modules of its pool's imports= \(deadly\)\. Its last words:\nit was too much$"
    async with a_bridge(path=[tmp_path], imports=["deadly"]) as bridge:
        with anyio.fail_after(20):
            with pytest.raises(StartFailed, match=words):
                await bridge.wait_ready()

            with pytest.raises(StartFailed, match=words) as caught:
                await bridge.pool().call(call("nothing"))

            while bridge.pool().statistics().deaths < 3:
                await bridge.pool()._news.wait()

        statistics = bridge.pool().statistics()
        assert caught.value.applied is False
        assert not bridge.ready
        assert statistics.last_words == "it was too much\n"
        assert statistics.last_death.endswith(" exited with code 3")

    # Of three tries the first two are told, then the fourth, the eighth ...
    assert len(told.records) == (statistics.deaths).bit_length()
    assert all("it was too much" in record.getMessage() for record in told.records)


async def test_closing_a_bridge_whose_workers_are_starting_is_no_death(told, tmp_path):
    (tmp_path / "endless.py").write_text("import threading\nthreading.Event().wait()\n")
    async with a_bridge(path=[tmp_path], imports=["endless"]) as bridge:
        while not any(worker.standing.value == "ready" for worker in bridge.pool()._places.workers):
            bridge.pool()._wanted.set()
            await anyio.lowlevel.checkpoint()

    assert told.records == []


# --- what programs log ----------------------------------------------------------------------------------------------------------------


async def test_a_warning_of_a_program_is_logged_by_the_host(told):
    async with a_bridge() as bridge:
        pid = await bridge.pool().call(call("pid"))
        await bridge.pool().call(call("warn", text="half %s empty"))
        await told.reach(1)

    (record,) = told.records
    assert (record.name, record.levelname, record.getMessage()) == ("dspex.worker.app.ocr", "WARNING", "half %s empty")
    assert (record.worker_pid, record.program_id) == (pid, "warn")


async def test_a_program_that_has_handlers_of_its_own_keeps_its_records(told):
    async with a_bridge() as bridge:
        await bridge.pool().call(call("warn", text="mine", configured=True))

    assert told.records == []


async def test_logging_is_not_loaded_for_programs_that_do_without():
    async with a_bridge() as bridge:
        assert not await bridge.pool().call(call("has_loaded", name="logging"))


# --- interpreters ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2.7.18", "3.6.15", "3.8.18"])
async def test_a_real_interpreter_that_is_too_old_is_refused_by_naming_the_oldest_that_will_do(version):
    python = PYENV / version / "bin" / "python"
    if not python.exists():
        pytest.skip(f"there is no Python {version} here")

    async with a_bridge(python=python) as bridge:
        with pytest.raises(StartFailed, match=r"to be Python 3\.9 or newer: check the pool's python=\.") as caught:
            await bridge.wait_ready()

    if version.startswith("3"):
        assert f"is Python {version.rpartition('.')[0]}, and workers need 3.9 or newer." in caught.value.problem
