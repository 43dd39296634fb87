"""The log: every line carries its facts, each module speaks in its own name, and what goes well is quiet."""

from __future__ import annotations

import ast
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from worker_desk import STORE, call

import dspex
from dspex import Backoff, ChildSpec, Context, Contexts, LocalState, Supervisor, Var, WorkerDied, telemetry
from dspex.bridge import Bridge

ROOT = Path(dspex.__file__).parent
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
LOGGERS = {"log", "_log", "logger", "_logger"}
COUNT = Var("count", int, 0)


class Boom(Exception):
    """What is broken here."""


# --- all of them -----------------------------------------------------------------------------------------------------------------------


def is_logger(node: ast.expr) -> bool:
    """Whether it is what this project calls a logger: ``log``, ``self._log``, ``logging.getLogger(...)``, ``logging`` itself."""
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) == "logging.getLogger"

    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name in LOGGERS | {"logging"}


def logging_calls(source: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS and is_logger(node.func.value):
            yield node


def without_facts(source: str) -> list[int]:
    """The lines of logging calls that have no ``extra=``."""
    return [call.lineno for call in logging_calls(source) if not any(keyword.arg == "extra" for keyword in call.keywords)]


def test_every_line_of_the_log_carries_its_facts() -> None:
    sources = {path: path.read_text() for path in sorted(ROOT.rglob("*.py"))}
    assert sum(len(list(logging_calls(source))) for source in sources.values()) > 20
    assert [f"{path.relative_to(ROOT)}:{line}" for path, source in sources.items() for line in without_facts(source)] == []


def test_a_line_without_facts_would_be_found() -> None:
    assert without_facts("log.info('a')\nself._log.warning('b', extra=facts)\nlogging.getLogger('c').log(1, 'd')\nlogging.error('e')") == [
        1,
        3,
        4,
    ]
    assert without_facts("self._log.append(1)\nmath.log(2)\nlogging.basicConfig()") == []


def names_of_loggers(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "logging.getLogger":
            yield ast.unparse(node.args[0])


def test_each_module_speaks_in_its_own_name() -> None:
    others = {
        str(path.relative_to(ROOT)): names
        for path in ROOT.rglob("*.py")
        if (names := [name for name in names_of_loggers(path.read_text()) if name != "__name__"])
    }
    # What workers log is said in their names.
    assert others.pop("worker/host/journal.py") == ["_known(record.logger)"]
    # Whoever tells of others' doings may be given the logger to do it in.
    assert set(others) <= {path for path in others if path.startswith(("monitor/", "worker/child/", "_top/", "_demo/", "__main__"))}


# --- some of them ----------------------------------------------------------------------------------------------------------------------


def facts(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name.startswith("dspex_")}


class Heard:
    """What was logged below ``dspex``, in order."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def of(self, module: str) -> list[logging.LogRecord]:
        return [record for record in self._caplog.records if record.name == f"dspex.{module}"]

    def one(self, module: str, start: str = "") -> logging.LogRecord:
        (record,) = [record for record in self.of(module) if record.getMessage().startswith(start)]
        return record


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Heard:
    caplog.set_level(logging.INFO, "dspex")
    return Heard(caplog)


async def test_a_crash_of_a_child_carries_its_path(heard: Heard) -> None:
    lives: list[int] = []

    async def crashes_once() -> None:
        lives.append(1)
        if len(lives) == 1:
            raise Boom

        again.set()
        await anyio.sleep_forever()

    again = anyio.Event()
    async with Supervisor([ChildSpec("a", crashes_once, backoff=Backoff(initial=0.0))], name="app"):
        await again.wait()

    record = heard.one("supervision._children")
    assert (record.levelname, record.getMessage()) == ("WARNING", "app/a crashed: Boom")
    assert facts(record) == {"dspex_child": "app/a", "dspex_lives": 1, "dspex_restarted": True}


async def test_a_parked_child_is_an_error(heard: Heard) -> None:
    async def crashes() -> None:
        raise Boom

    async with Supervisor([ChildSpec("a", crashes, on_limit="park", max_restarts=0)], name="app"):
        for _ in range(3):
            await anyio.lowlevel.checkpoint()

    record = heard.one("supervision._children", "app/a is parked")
    assert record.levelname == "ERROR"
    assert facts(record) == {"dspex_child": "app/a", "dspex_lives": 1}


async def test_the_life_of_a_bridge_and_of_its_workers_is_told_quietly(heard: Heard) -> None:
    async with Bridge(store=STORE, name="b") as bridge:
        await bridge.wait_ready()
        assert await bridge.pool().call(call("echo", value=1)) == 1
        pid = bridge.pool().statistics().workers[0].pid

    opened, closed = heard.of("bridge")
    assert (opened.getMessage(), facts(opened)) == ("Bridge 'b' is open", {"dspex_bridge": "b", "dspex_starts": 1})
    assert (closed.getMessage(), facts(closed)) == ("Bridge 'b' is closed", {"dspex_bridge": "b"})
    ready, drained = heard.of("worker.host.chronicle")
    assert ready.getMessage().startswith(f"Worker {pid} of pool 'default' is ready after ")
    assert facts(ready) == {
        "dspex_bridge": "b",
        "dspex_pool": "default",
        "dspex_worker_pid": pid,
        "dspex_seconds": facts(ready)["dspex_seconds"],
    }
    assert drained.getMessage().startswith(f"Worker {pid} of pool 'default' was drained, after ")
    assert drained.getMessage().endswith(" s and 1 call")
    assert {record.levelname for record in (opened, closed, ready, drained)} == {"INFO"}


async def test_a_worker_that_dies_is_a_warning_with_its_last_words(heard: Heard) -> None:
    async with Bridge(store=STORE, name="b") as bridge:
        pid = await bridge.pool().call(call("pid"))
        with pytest.raises(WorkerDied):
            await bridge.pool().call(call("say_and_die", text="so long ", lines=2))

        await bridge.pool().wait_ready()

    record = heard.one("worker.host.chronicle", f"Worker {pid} of pool 'default' was killed by ")
    told = facts(record)
    assert record.levelname == "WARNING"
    assert (told["dspex_bridge"], told["dspex_pool"], told["dspex_worker_pid"], told["dspex_ending"]) == ("b", "default", pid, "died")
    assert told["dspex_last_words"].endswith("and this is the end\n")


async def test_without_a_word_on_it_a_worker_that_is_killed_as_its_bridge_closes_is_no_warning(heard: Heard) -> None:
    async with Bridge(store=STORE) as bridge:
        await bridge.wait_ready()
        (worker,) = bridge.pool()._places.workers
        bridge.pool()._seats.close("its bridge is closing")
        os.kill(worker.process.pid, signal.SIGKILL)
        await worker.ended.wait()

    assert {record.levelname for record in heard.of("worker.host.chronicle")} == {"INFO"}


async def test_a_family_says_of_which_key_it_speaks(heard: Heard) -> None:
    async def save(key: str, snapshot: Any) -> None:
        raise Boom

    ids: list[str] = []
    with pytest.raises(dspex.SaveFailed):
        async with Contexts(name="chats", variables=[COUNT], save=save) as family, family.open("a") as ctx:
            await ctx.variables.set(COUNT, 1)
            ids.append(ctx.id)

    assert facts(heard.one("context._household")) == {"dspex_family": "chats", "dspex_unsaved": 1}
    assert facts(heard.of("context._upkeep")[0]) == {"dspex_family": "chats", "dspex_key": "a", "dspex_context": ids[0]}


async def test_a_context_says_who_it_is(heard: Heard) -> None:
    class Clinging(LocalState):
        def close(self, *, drop: bool = False) -> None:
            raise Boom

    async with Context(backend=Clinging) as ctx:
        pass

    record = heard.one("context._life")
    assert (record.levelname, facts(record)) == ("ERROR", {"dspex_context": ctx.id})


async def test_a_hook_that_fails_is_named(heard: Heard) -> None:
    def broken(record: Any) -> None:
        raise Boom

    with telemetry.subscribe(broken, only=telemetry.ChildChanged):
        async with Supervisor([ChildSpec("a", anyio.sleep_forever)]):
            pass

    assert facts(heard.one("telemetry._hooks"))["dspex_hook"].endswith("broken")


async def test_nothing_is_said_aloud_of_what_goes_well(caplog: pytest.LogCaptureFixture) -> None:
    specs = [Bridge.child_spec("bridge"), Contexts.child_spec("chats", bridge="bridge", variables=[COUNT])]
    async with Supervisor(specs) as app, app.which_child("chats").value.open("a") as ctx:
        await ctx.ensure_bridged()
        await app.which_child("bridge").value.pool().call(call("nothing"))

    assert caplog.records == []
