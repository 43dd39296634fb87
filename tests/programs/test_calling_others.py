"""Programs that call programs of their context: from the loop, from a thread, from a worker, and never waiting for each other's places."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from dspex import Bridge, CallCancelled, CallCycle, Context, ContextClosed, Prediction, ProgramFailed, ProgramNotFound, Var, WorkerDied

COUNT = Var("count", int, 0)
FLAG = Var("flag", bool, False)

KINDS = ["host async", "host thread", "worker async", "worker sync"]
FROM = pytest.mark.parametrize("kind", KINDS)


def program(kind: str, plain: Any, awaiting: Any) -> Any:
    """One of two that do the same, to be run as *kind* says."""
    function = awaiting if "async" in kind else plain
    return {"requires_bridge": True, "program": function} if kind.startswith("worker") else function


@asynccontextmanager
async def a_context(programs: dict[str, Any], **pool: Any) -> AsyncIterator[Context]:
    """A context with workers. When the test is done, no program runs in it and none holds a place."""
    async with Bridge(**pool) as bridge, Context(bridge=bridge, variables=[COUNT, FLAG], programs=programs) as ctx:
        yield ctx
        with anyio.fail_after(20):
            while bridge.pool().statistics().running:
                await anyio.lowlevel.checkpoint()

        assert bridge.pool().statistics().waiting == 0
        assert ctx.statistics().calls == 0


def passes_on(n, ctx):
    return ctx.call("inner", {"n": n}) + 1


async def passes_on_async(n, ctx):
    return await ctx.call("inner", {"n": n}) + 1


def doubles(n, ctx):
    ctx.add("count", 1)
    return n * 2


async def doubles_async(n, ctx):
    await ctx.add("count", 1)
    return n * 2


@FROM
@pytest.mark.parametrize("inner", KINDS)
async def test_a_program_calls_another_wherever_either_runs(kind, inner):
    programs = {"outer": program(kind, passes_on, passes_on_async), "inner": program(inner, doubles, doubles_async)}
    async with a_context(programs) as ctx:
        assert await ctx.call("outer", {"n": 4}) == 9
        assert await ctx.variables.get(COUNT) == 1


# --- places --------------------------------------------------------------------------------------------------------------------------


def holds_a_place(ctx):
    ctx.add("count", 1)
    while ctx.get("count") < 4:
        pass

    return ctx.call("inner", {"n": 1})


async def holds_a_place_async(ctx):
    await ctx.add("count", 1)
    while await ctx.get("count") < 4:
        pass

    return await ctx.call("inner", {"n": 1})


@pytest.mark.parametrize("pool", [{"workers": 1, "concurrency": 4}, {"workers": 4, "concurrency": 1}], ids=["one worker", "four"])
@pytest.mark.parametrize("kind", ["worker sync", "worker async"])
@pytest.mark.parametrize("inner", ["worker sync", "worker async"])
async def test_eight_programs_that_each_call_another_finish_on_four_places(kind, inner, pool):
    """Four hold all the places there are before any calls another."""
    programs = {"outer": program(kind, holds_a_place, holds_a_place_async), "inner": program(inner, doubles, doubles_async)}
    async with a_context(programs, **pool) as ctx:
        with anyio.fail_after(30):
            assert await ctx.programs["outer"].map([{}] * 8) == [2] * 8


async def test_a_full_host_keeps_no_nested_call_waiting(monkeypatch):
    monkeypatch.setattr("dspex.programs.in_host.HOST_THREADS", 4)
    programs = {"outer": holds_a_place, "inner": doubles}
    async with a_context(programs) as ctx:
        with anyio.fail_after(30):
            assert await ctx.programs["outer"].map([{}] * 8) == [2] * 8


async def test_a_worker_that_retires_after_this_call_still_takes_those_made_for_it():
    programs = {"outer": program("worker sync", passes_on, None), "inner": program("worker sync", doubles, None)}
    async with a_context(programs, workers=1, concurrency=1, max_calls=1) as ctx:
        with anyio.fail_after(30):
            assert [await ctx.call("outer", {"n": n}) for n in range(3)] == [1, 3, 5]


async def test_a_bridge_that_drains_takes_the_calls_of_running_programs():
    started, draining = anyio.Event(), anyio.Event()

    async def waits():
        started.set()
        await draining.wait()

    def outer(ctx):
        ctx.call("waits")
        return ctx.call("inner", {"n": 1})

    programs = {"outer": {"requires_bridge": True, "program": outer}, "waits": waits, "inner": program("worker sync", doubles, None)}
    answers: list[Any] = []
    async with Bridge() as bridge, Context(bridge=bridge, variables=[COUNT], programs=programs) as ctx, anyio.create_task_group() as tasks:

        async def calls():
            answers.append(await ctx.call("outer"))

        tasks.start_soon(calls)
        await started.wait()
        tasks.start_soon(bridge.stop)
        while "stopping" not in repr(bridge.pool()):
            await anyio.lowlevel.checkpoint()

        draining.set()

    assert answers == [2]


# --- circles -------------------------------------------------------------------------------------------------------------------------


def calls_next(following, ctx):
    return ctx.call(following[0], {"following": following[1:] + following[:1]})


async def calls_next_async(following, ctx):
    return await ctx.call(following[0], {"following": following[1:] + following[:1]})


@FROM
async def test_a_program_that_calls_itself_is_told(kind):
    async with a_context({"again": program(kind, calls_next, calls_next_async)}) as ctx:
        with pytest.raises(CallCycle) as caught:
            await ctx.call("again", {"following": ["again"]})

        assert caught.value.chain == [f"{ctx.id}/again"] * 17
        assert str(caught.value).startswith(
            f"Calls are nested deeper than 16: {ctx.id}/again seems to call itself. The chain: {ctx.id}/again -> "
        )
        assert await ctx.variables.get(COUNT) == 0


async def test_a_circle_through_threads_tasks_and_workers_is_told_in_words():
    following = ["there", "loop", "thread", "here"]
    kinds = dict(zip(following, ["worker async", "host async", "host thread", "worker sync"], strict=True))
    async with a_context({name: program(kind, calls_next, calls_next_async) for name, kind in kinds.items()}, concurrency=1) as ctx:
        with pytest.raises(CallCycle) as caught:
            await ctx.call("here", {"following": following})

        a = ctx.id
        assert caught.value.chain == [f"{a}/{name}" for name in ["here", "there", "loop", "thread"] * 4 + ["here"]]
        circle = f"{a}/here -> {a}/there -> {a}/loop -> {a}/thread -> {a}/here"
        assert str(caught.value).startswith(
            f"Calls are nested deeper than 16: programs seem to call each other in a circle, {circle}. The chain: {circle} -> {a}/there -> "
        )


async def test_a_circle_across_two_contexts_is_one_chain():
    async def across(ctx):
        return await other.call("back")

    async with a_context({"begin": program("worker sync", lambda ctx: ctx.call("across"), None), "across": across}) as ctx:

        async def home_again():
            return await ctx.call("begin")

        back = {"requires_bridge": True, "program": lambda ctx: ctx.call("home_again")}
        async with a_context({"back": back, "home_again": home_again}) as other:
            with pytest.raises(CallCycle) as caught:
                await ctx.call("begin")

            links = [f"{ctx.id}/begin", f"{ctx.id}/across", f"{other.id}/back", f"{other.id}/home_again"]
            assert caught.value.chain == [*links * 4, links[0]]


@FROM
async def test_a_program_can_not_stop_its_context_through_another(kind):
    async def stops():
        await handle.stop()

    async with a_context({"outer": program(kind, lambda ctx: ctx.call("stops"), calls_stops), "stops": stops}) as handle:
        with anyio.fail_after(20), pytest.raises(CallCycle, match="can't be stopped by a program of its own") as caught:
            await handle.call("outer")

        assert caught.value.chain == [f"{handle.id}/outer", f"{handle.id}/stops", "stop()"]
        assert await handle.variables.get(COUNT) == 0


async def calls_stops(ctx):
    await ctx.call("stops")


async def test_the_chain_is_the_programs_also_in_threads_and_tasks_that_know_nothing_of_it():
    def from_a_thread_of_its_own(ctx):
        answers = []
        thread = threading.Thread(target=lambda: answers.append(ctx.call("chain")))
        thread.start()
        thread.join()
        return answers[0]

    def chain_here():
        from dspex.programs import current_chain

        return list(current_chain())

    async with a_context({"outer": from_a_thread_of_its_own, "chain": chain_here}) as ctx:
        assert await ctx.call("outer") == [f"{ctx.id}/outer", f"{ctx.id}/chain"]


# --- errors --------------------------------------------------------------------------------------------------------------------------


async def fails():
    return {}["lost"]


async def waits_forever():
    await anyio.sleep_forever()


def ways_to_fail(n, ctx):
    return [
        kind_of_failure(ctx, "nobody"),
        kind_of_failure(ctx, "inner"),
        kind_of_failure(ctx, "inner", [1]),
        kind_of_failure(ctx, "inner", {"n": n, "m": 2}),
        kind_of_failure(ctx, "fails"),
        kind_of_failure(ctx, "waits", timeout=0.001),
        kind_of_failure(ctx, "waits", timeout=-1),
        kind_of_failure(ctx, "waits", timeout="soon"),
    ]


def kind_of_failure(ctx, *args, **options):
    try:
        return ctx.call(*args, **options)
    except Exception as error:
        return [
            type(error).__name__,
            str(error).partition("\n")[0],
            str(getattr(error, "traceback", "")).count('in fails\n    return {}["lost"]'),
        ]


async def ways_to_fail_async(n, ctx):
    return [
        await kind_of_failure_async(ctx, "nobody"),
        await kind_of_failure_async(ctx, "inner"),
        await kind_of_failure_async(ctx, "inner", [1]),
        await kind_of_failure_async(ctx, "inner", {"n": n, "m": 2}),
        await kind_of_failure_async(ctx, "fails"),
        await kind_of_failure_async(ctx, "waits", timeout=0.001),
        await kind_of_failure_async(ctx, "waits", timeout=-1),
        await kind_of_failure_async(ctx, "waits", timeout="soon"),
    ]


async def kind_of_failure_async(ctx, *args, **options):
    try:
        return await ctx.call(*args, **options)
    except Exception as error:
        return [
            type(error).__name__,
            str(error).partition("\n")[0],
            str(getattr(error, "traceback", "")).count('in fails\n    return {}["lost"]'),
        ]


@FROM
async def test_what_the_other_one_raises_is_the_same_everywhere(kind):
    programs = {
        "outer": program(kind, ways_to_fail, ways_to_fail_async),
        "inner": doubles,
        "fails": fails,
        "waits": waits_forever,
    }
    async with a_context(programs) as ctx:
        found = await ctx.call("outer", {"n": 1})

    mapping = "Program 'inner'(n): expected a mapping of names to inputs, got list. Inputs are keyword arguments."
    timeout = "timeout: expected a number of seconds of at least 0 or None, got"
    assert found == [
        ["ProgramNotFound", "No program 'nobody' is registered. Registered: fails, inner, outer, waits.", 0],
        ["InvalidInputs", "Program 'inner'(n): missing 'n'. Inputs are keyword arguments.", 0],
        ["InvalidInputs", mapping.replace("(n)", "") if kind.startswith("worker") else mapping, 0],
        ["InvalidInputs", "Program 'inner'(n): unexpected 'm'. Inputs are keyword arguments.", 0],
        ["ProgramFailed", "Program 'fails' raised KeyError: 'lost'", 1],
        ["CallTimeout", "Program 'waits' did not answer within 0.001 s.", 0],
        ["ValueError", f"{timeout} -1", 0],
        ["TypeError", f"{timeout} 'soon'", 0],
    ]


@FROM
async def test_the_innermost_failure_comes_through_as_it_is(kind):
    programs = {"outer": program(kind, lambda ctx: ctx.call("fails"), calls_fails), "fails": program("worker sync", fails_in_worker, None)}
    async with a_context(programs) as ctx:
        with pytest.raises(ProgramFailed) as caught:
            await ctx.call("outer")

    assert caught.value.program == "fails"
    assert caught.value.is_a("ZeroDivisionError")
    assert "1 / 0" in caught.value.traceback


def fails_in_worker():
    return 1 / 0


async def calls_fails(ctx):
    await ctx.call("fails")


async def test_a_worker_calls_nothing_but_programs_of_its_own_context():
    async with a_context({"secret": doubles}), a_context({"outer": {"requires_bridge": True, "program": calls_secret}}) as ctx:
        with pytest.raises(ProgramFailed) as caught:
            await ctx.call("outer")

        assert caught.value.is_a(ProgramNotFound.__name__)


def calls_secret(ctx):
    return ctx.call("secret", {"n": 1})


# --- values --------------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Point:
    x: int


async def test_records_come_to_a_host_program_as_what_its_annotation_says():
    def shift(point: Point) -> Point:
        assert type(point) is Point
        return Point(point.x + 1)

    def outer(point: Point, ctx) -> Point:
        return ctx.call("shift", {"point": point})

    async with a_context({"outer": {"requires_bridge": True, "program": outer}, "shift": shift}) as ctx:
        assert await ctx.call("outer", {"point": Point(1)}) == Point(2)


async def test_a_prediction_comes_to_a_worker_as_a_dict_of_its_fields():
    async def predicts():
        return Prediction({"answer": "yes"}, usage={"model": {"tokens": 3}})

    def outer(ctx):
        return ctx.call("predicts")

    async with a_context({"outer": {"requires_bridge": True, "program": outer}, "predicts": predicts}) as ctx:
        assert await ctx.call("outer") == {"answer": "yes"}


async def test_what_can_not_cross_says_where_it_is():
    def result():
        return {"a": [1, object()]}

    def outer(ctx):
        return kind_of_failure(ctx, "result"), kind_of_failure(ctx, "result", {"x": [object()]})

    async with a_context({"outer": {"requires_bridge": True, "program": outer}, "result": result}) as ctx:
        first, second = await ctx.call("outer")

    told = "Program 'result' returned a value that can't go to a worker: at result['a'][1]: got object ("
    assert first[1].startswith(told)
    assert second[:2] == ["InvalidInputs", second[1]]
    assert second[1].startswith("Program 'result': an input can't leave the worker at inputs['x'][0]: object (")


# --- ends ----------------------------------------------------------------------------------------------------------------------------


class Guest:
    """A host program that runs until it is cancelled."""

    def __init__(self) -> None:
        self.came = anyio.Event()
        self.cancelled = anyio.Event()

    async def __call__(self) -> None:
        self.came.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.cancelled.set()


def calls_guest(ctx):
    ctx.call("guest")


async def calls_guest_async(ctx):
    await ctx.call("guest")


@FROM
async def test_a_call_that_is_cancelled_takes_along_those_made_for_it(kind):
    guest = Guest()
    async with a_context({"outer": program(kind, calls_guest, calls_guest_async), "guest": guest}) as ctx:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ctx.call, "outer")
                await guest.came.wait()
                tasks.cancel_scope.cancel()

            assert guest.cancelled.is_set()


@pytest.mark.parametrize("kind", ["worker sync", "worker async"])
async def test_a_strangers_cancel_of_a_call_is_told_to_the_program_that_made_it(kind, running_loop):
    if running_loop() == "trio":
        pytest.skip("trio has no such cancel")

    guest = Guest()
    async with a_context({"outer": program(kind, hears_of_guest, hears_of_guest_async), "guest": guest}) as ctx:
        async with anyio.create_task_group() as tasks:

            async def call():
                assert await ctx.call("outer") == "CallCancelled"

            tasks.start_soon(call)
            await guest.came.wait()
            next(task for task in asyncio.all_tasks() if task.get_name() == "dspex call of guest").cancel()

        assert guest.cancelled.is_set()


def hears_of_guest(ctx):
    try:
        ctx.call("guest")
    except Exception as error:
        return type(error).__name__


async def hears_of_guest_async(ctx):
    try:
        await ctx.call("guest")
    except Exception as error:
        return type(error).__name__


@FROM
async def test_a_call_has_the_deadline_of_the_one_it_is_made_for(kind):
    async def deadline():
        return anyio.current_effective_deadline()

    programs = {"outer": program(kind, lambda ctx: ctx.call("deadline"), calls_deadline), "deadline": deadline}
    async with a_context(programs) as ctx:
        with anyio.fail_after(1000):
            assert await ctx.call("outer") == anyio.current_effective_deadline()


async def calls_deadline(ctx):
    return await ctx.call("deadline")


@pytest.mark.parametrize("kind", ["worker sync", "worker async"])
async def test_a_worker_that_dies_takes_along_the_calls_it_made(kind):
    guest = Guest()

    async def kills(pid):
        os.kill(pid, signal.SIGKILL)
        await guest()

    programs = {"outer": program(kind, calls_killer, calls_killer_async), "kills": kills}
    async with a_context(programs) as ctx:
        with anyio.fail_after(20), pytest.raises(WorkerDied):
            await ctx.call("outer")

        assert guest.cancelled.is_set()


def calls_killer(ctx):
    ctx.call("kills", {"pid": os.getpid()})


async def calls_killer_async(ctx):
    await ctx.call("kills", {"pid": os.getpid()})


@pytest.mark.parametrize("kind", ["worker async", "host async"])
async def test_a_call_nobody_waits_for_any_more_is_cancelled(kind):
    guest = Guest()

    async def tell():
        await guest.cancelled.wait()

    programs = {"outer": program(kind, None, gives_up), "guest": guest, "tell": tell, "came": guest.came.wait}
    async with a_context(programs) as ctx:
        with anyio.fail_after(20):
            assert await ctx.call("outer") == "told"


async def gives_up(ctx):
    async def calls():
        await ctx.call("guest")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(calls)
        await ctx.call("came")
        tasks.cancel_scope.cancel()

    await ctx.call("tell")
    return "told"


@pytest.mark.parametrize("kind", ["host thread", "worker async", "worker sync"])
async def test_a_call_left_behind_by_a_program_that_returns_is_cancelled(kind):
    guest = Guest()
    programs = {"outer": program(kind, leaves_a_thread, leaves_a_task), "guest": guest, "came": guest.came.wait}
    async with a_context(programs) as ctx:
        with anyio.fail_after(20):
            assert await ctx.call("outer") == "returned"

        assert guest.cancelled.is_set()


def leaves_a_thread(ctx):
    def calls():
        with contextlib.suppress(CallCancelled, ContextClosed):
            ctx.call("guest")

    threading.Thread(target=calls).start()
    ctx.call("came")
    return "returned"


async def leaves_a_task(ctx):
    tasks.append(asyncio.create_task(ctx.call("guest")))
    await ctx.call("came")
    return "returned"


tasks: list[Any] = []


async def test_a_context_that_stops_lets_its_programs_call_each_other():
    async def status():
        return str(handle.status)

    def outer(ctx):
        seen = []
        while not seen or seen[-1] != "stopping":
            seen.append(ctx.call("status"))

        return seen[0], seen[-1]

    answers: list[Any] = []
    async with Bridge() as bridge, anyio.create_task_group() as tasks:
        programs = {"outer": {"requires_bridge": True, "program": outer}, "status": status}
        async with Context(bridge=bridge, programs=programs) as handle:

            async def calls():
                answers.append(await handle.call("outer"))

            tasks.start_soon(calls)
            while not handle.programs["status"].info.calls:
                await anyio.lowlevel.checkpoint()

            with anyio.fail_after(20):
                await handle.stop()

    assert answers == [("running", "stopping")]


@pytest.mark.parametrize("kind", ["host async", "host thread"])
async def test_ctx_is_closed_to_calls_too_once_the_program_has_returned(kind):
    kept: list[Any] = []

    def keeps(ctx):
        kept.append(ctx)

    async def keeps_async(ctx):
        kept.append(ctx)

    async with a_context({"outer": program(kind, keeps, keeps_async), "inner": doubles}) as ctx:
        await ctx.call("outer")
        with pytest.raises(ContextClosed, match="The call it was lent to has ended"):
            await kept[0].call("inner", {"n": 1}) if "async" in kind else await anyio.to_thread.run_sync(kept[0].call, "inner", {"n": 1})


# --- threads of one program ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["worker sync", "host thread"])
async def test_threads_of_one_program_call_and_read_at_the_same_time(kind):
    async def meets(ctx):
        await ctx.add("count", 1)
        while await ctx.get("count") < 5:
            await anyio.lowlevel.checkpoint()

    def outer(ctx):
        with ThreadPoolExecutor(4) as threads:
            answers = [threads.submit(ctx.call, "meets") for _ in range(4)]
            while ctx.get("count") < 4:
                pass

            ctx.add("count", 1)
            return [answer.result() for answer in answers]

    async with a_context({"outer": program(kind, outer, None), "meets": meets}) as ctx:
        with anyio.fail_after(20):
            assert await ctx.call("outer") == [None] * 4


async def test_threads_that_wait_while_their_call_is_cancelled_are_all_told(tmp_path):
    guest, told = Guest(), tmp_path / "told"

    def outer(ctx):
        with ThreadPoolExecutor(4) as threads:
            waiting = [threads.submit(ctx.call, "guest") for _ in range(4)]
            while ctx.call("begun") < 4:
                pass

            try:
                ctx.call("let_go")
            finally:
                told.write_text(" ".join(type(each.exception()).__name__ for each in waiting))

    async def begun():
        return handle.programs["guest"].info.calls

    leave = anyio.Event()

    async def let_go():
        leave.set()
        await anyio.sleep_forever()

    programs = {"outer": program("worker sync", outer, None), "guest": guest, "begun": begun, "let_go": let_go}
    async with a_context(programs, kill_after=20) as handle:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(handle.call, "outer")
                await leave.wait()
                tasks.cancel_scope.cancel()

    assert told.read_text() == "CallCancelled " * 3 + "CallCancelled"


async def test_large_inputs_of_several_threads_come_whole():
    def measures(data, n):
        return [len(data), set(data) == {n}]

    def outer(ctx):
        with ThreadPoolExecutor(4) as threads:
            calls = [threads.submit(ctx.call, "measures", {"data": bytes([n]) * 3_000_000, "n": n}) for n in range(4)]
            return [call.result() for call in calls]

    async with a_context({"outer": program("worker sync", outer, None), "measures": measures}) as ctx:
        with anyio.fail_after(20):
            assert await ctx.call("outer") == [[3_000_000, True]] * 4
