"""A call of a program is told of once, when it has ended: where it ran, how long it waited and ran, and what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from program_home import LocalHome
from telemetry import span_programs

from dspex import (
    Bridge,
    CallCycle,
    CallTimeout,
    Context,
    ContextClosed,
    InvalidInputs,
    Overloaded,
    ProgramFailed,
    Var,
    WorkerDied,
    isolated,
    telemetry,
)
from dspex.programs import Prediction, in_host
from dspex.telemetry import ProgramCalled

COUNT = Var("count", int, 0)


@pytest.fixture
def told() -> Iterator[list[ProgramCalled]]:
    records: list[ProgramCalled] = []
    with telemetry.subscribe(records.append, only=ProgramCalled):
        yield records


@pytest.fixture
def home() -> LocalHome:
    return LocalHome()


async def nap(seconds: float) -> float:
    await anyio.sleep(seconds)
    return seconds


async def stumble() -> None:
    raise LookupError("not there")


# --- in this process ---------------------------------------------------------------------------------------------------------------


async def test_an_async_program_waits_for_nobody_and_runs_for_as_long_as_it_runs(told, home):
    async def work() -> float:
        began = time.perf_counter()
        for _ in range(10):
            await anyio.lowlevel.checkpoint()

        return time.perf_counter() - began

    home.name = "shop"
    ran = await (await home.bind(work, "work"))()
    (record,) = told
    assert 0 <= record.queued < record.queued + ran < record.queued + record.seconds
    assert record == ProgramCalled(
        at=record.at,
        context_id="ctx_1_home",
        context_name="shop",
        program_id="work",
        where="host",
        queued=record.queued,
        seconds=record.seconds,
        outcome="returned",
    )


async def test_a_sync_program_waits_for_a_thread(told, home, monkeypatch):
    monkeypatch.setattr(in_host, "HOST_THREADS", 1)
    opened = threading.Event()
    first, second = await home.bind(lambda: opened.wait(20), "first"), await home.bind(lambda: 2, "second")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(second)
        await anyio.wait_all_tasks_blocked()
        began = time.perf_counter()
        await anyio.wait_all_tasks_blocked()
        waited = time.perf_counter() - began
        opened.set()

    records = {record.program_id: record for record in told}
    assert set(records) == {"first", "second"}
    assert records["second"].queued >= waited > 0
    assert records["first"].seconds >= records["second"].queued > records["first"].queued


async def test_what_a_program_raised_is_told_as_its_caller_got_it(told, home):
    program = await home.bind(stumble, "stumble")
    with pytest.raises(ProgramFailed) as caught:
        await program()

    (record,) = told
    assert (record.outcome, record.error) == ("failed", caught.value)


async def test_the_usage_of_a_prediction_is_told(told, home):
    usage = {"test/model": {"prompt_tokens": 12, "completion_tokens": 3}}

    async def predict() -> Prediction:
        return Prediction({"answer": "42"}, usage=usage)

    await (await home.bind(predict))()
    assert told[0].usage == usage


def test_a_call_that_times_out_is_told_so_whoever_set_the_time(run_virtually, told, home):
    async def main() -> None:
        program = await home.bind(nap, "nap")
        with pytest.raises(CallTimeout):
            await program.call({"seconds": 9}, timeout=2)

        with anyio.move_on_after(3):
            await program(seconds=9)

    run_virtually(main)
    assert [(record.outcome, type(record.error)) for record in told] == [("timeout", CallTimeout), ("timeout", type(None))]


def test_a_call_whose_caller_goes_is_told_as_cancelled(run_virtually, told, home):
    async def main() -> None:
        program = await home.bind(nap, "nap")
        with anyio.fail_after(100):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(program.call, {"seconds": 9})
                await anyio.sleep(1)
                tasks.cancel_scope.cancel()

    run_virtually(main)
    assert [(record.outcome, record.error) for record in told] == [("cancelled", None)]


async def test_inputs_that_dont_fit_are_a_refusal(told, home):
    program = await home.bind(nap, "nap")
    with pytest.raises(InvalidInputs) as caught:
        await program(second=1)

    assert [(record.outcome, record.error, record.seconds) for record in told] == [("refused", caught.value, 0.0)]


async def test_no_place_is_a_refusal(told, home, monkeypatch):
    monkeypatch.setattr(in_host, "HOST_THREADS", 1)
    opened = threading.Event()
    program = await home.bind(lambda: opened.wait(20))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(program)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(Overloaded):
            await program.call(wait=False)

        assert [record.outcome for record in told] == ["refused"]
        opened.set()


async def test_a_circle_is_refused_at_its_end_and_told_of_each_call_in_it(told, home):
    async def again(ctx: Any) -> Any:
        return await home.program("again")()

    program = await home.bind(again, "again")
    with pytest.raises(CallCycle):
        await program()

    assert [record.outcome for record in told] == ["refused", *["failed"] * 16]


async def test_a_closed_context_refuses(told, anyio_backend):
    async with Context() as ctx:
        program = await ctx.register_program("nap", nap)

    with pytest.raises(ContextClosed):
        await program(seconds=1)

    assert [(record.outcome, record.context_id) for record in told] == [("refused", ctx.id)]


def test_a_context_that_stops_cancels_what_runs(run_virtually, told):
    async def main() -> None:
        began = anyio.Event()

        async def wait_for_ever() -> None:
            began.set()
            await anyio.sleep_forever()

        async with anyio.create_task_group() as tasks, Context() as ctx:
            program = await ctx.register_program("wait", wait_for_ever)

            async def call() -> None:
                with pytest.raises(ContextClosed):
                    await program()

            tasks.start_soon(call)
            await began.wait()

    run_virtually(main)
    assert [(record.outcome, type(record.error)) for record in told] == [("cancelled", ContextClosed)]


async def test_a_nested_call_is_told_before_the_one_that_makes_it(told, home):
    async def outer(ctx: Any) -> Any:
        return await home.program("inner")(seconds=0)

    await home.bind(nap, "inner")
    await (await home.bind(outer, "outer"))()
    assert [record.program_id for record in told] == ["inner", "outer"]


async def test_a_hook_that_fails_hurts_no_call(home, caplog):
    program = await home.bind(nap)
    with telemetry.subscribe(lambda record: 1 / 0, only=ProgramCalled):
        assert await program(seconds=0) == 0

    assert "ZeroDivisionError" in caplog.text


# --- in workers --------------------------------------------------------------------------------------------------------------------


async def test_a_worker_is_told_with_its_pool_and_its_process(told, anyio_backend):
    async with Context(name="shop") as ctx:
        program = await ctx.register_program("pid", "os:getpid")
        pid = await program()

    (record,) = told
    assert (record.where, record.pool, record.worker_pid, record.outcome) == ("worker", "default", pid, "returned")
    assert (record.context_id, record.context_name) == (ctx.id, "shop")
    assert 0 <= record.queued < record.queued + record.seconds < 20


async def test_a_call_in_a_worker_waits_for_a_place(told, tmp_path, anyio_backend):
    async with Bridge(workers=1, concurrency=1) as bridge, Context(variables=[COUNT], bridge=bridge) as ctx:
        waits = await ctx.register_program("waits", isolated(span_programs.end_when_told))
        nothing = await ctx.register_program("nothing", isolated(span_programs.nothing))
        async with anyio.create_task_group() as tasks, ctx.variables.watch(COUNT) as changes:
            tasks.start_soon(waits.call, {"path": str(tmp_path / "go")})
            async for change in changes:
                if change.value:
                    break

            tasks.start_soon(nothing.call)
            await anyio.wait_all_tasks_blocked()
            began = time.perf_counter()
            with pytest.raises(Overloaded):
                await nothing.call(wait=False)

            waited = time.perf_counter() - began
            (tmp_path / "go").touch()

    records = {(record.program_id, record.outcome): record for record in told}
    assert set(records) == {("waits", "returned"), ("nothing", "refused"), ("nothing", "returned")}
    assert records["nothing", "returned"].queued >= waited > 0
    assert (records["nothing", "refused"].worker_pid, records["nothing", "refused"].seconds) == (None, 0)


async def test_a_worker_that_dies_is_told_with_its_process(told, anyio_backend):
    async with Context(variables=[COUNT]) as ctx:
        program = await ctx.register_program("die", isolated(span_programs.die))
        with pytest.raises(WorkerDied) as caught:
            await program()

    assert [(record.outcome, record.error, record.worker_pid) for record in told] == [("died", caught.value, caught.value.pid)]


async def test_a_call_that_is_made_again_is_one_call(told, tmp_path, anyio_backend):
    async with Context() as ctx:
        program = await ctx.register_program("once", isolated(die_the_first_time), idempotent=True)
        pid = await program(path=str(tmp_path / "been here"))

    assert [(record.outcome, record.worker_pid) for record in told] == [("returned", pid)]
    assert told[0].queued < told[0].seconds


def die_the_first_time(path: str) -> int:
    if not os.path.exists(path):
        open(path, "w").close()
        os._exit(3)

    return os.getpid()


async def test_what_a_program_in_a_worker_calls_is_told_too(told, anyio_backend):
    async with Context() as ctx:
        for name in ("call_others", "here"):
            await ctx.register_program(name, f"telemetry.span_programs:{name}")

        await ctx.register_program("second", nap_a_little)
        await ctx.programs["call_others"]()

    assert [(record.program_id, record.where) for record in told] == [("second", "host"), ("here", "worker"), ("call_others", "worker")]


async def nap_a_little() -> None:
    await anyio.lowlevel.checkpoint()


# --- nobody listens ----------------------------------------------------------------------------------------------------------------

SILENT = """
import sys, json, anyio
from dspex import Context, isolated

async def main():
    async with Context() as ctx:
        here = await ctx.register_program("here", lambda: 1)
        there = await ctx.register_program("there", "telemetry.plain_programs:knows")
        assert await here() == 1
        worker = {name: await there(module=name) for name in ("opentelemetry", "_dspex_child.worker.child.tracing")}

    names = ("opentelemetry", "dspex.programs._telling", "dspex.worker.host.tracing", "dspex.telemetry._records", "dspex.telemetry._otel")
    print(json.dumps([worker, [name for name in names if name in sys.modules]]))

anyio.run(main)
"""


def test_nothing_is_loaded_or_sent_while_nobody_asks():
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests.parent / "src"), str(tests)])
    ran = subprocess.run([sys.executable, "-c", SILENT], env={**os.environ, "PYTHONPATH": path}, check=True, capture_output=True, text=True)
    assert json.loads(ran.stdout) == [{"opentelemetry": False, "_dspex_child.worker.child.tracing": False}, []]
