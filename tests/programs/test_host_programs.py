"""Programs in this process: their inputs, their context, their failures, and what becomes of a thread whose caller has gone."""

from __future__ import annotations

import contextvars
import inspect
import threading

import anyio
import pytest
from program_home import COUNT, FACTS, NOTES, TEMPERATURE, LocalHome

from dspex import (
    CallCancelled,
    CallCycle,
    CallTimeout,
    ContextClosed,
    InvalidInputs,
    InvalidProgram,
    Overloaded,
    ProgramFailed,
    VariableNotFound,
)
from dspex.programs import ProgramContext, SyncProgramContext, in_host
from dspex.programs.chain import current_chain


def everything(x, ctx):
    ctx.set(TEMPERATURE, 1.5)
    ctx.update(COUNT, lambda count: count + x)
    return {
        "get": ctx.get(TEMPERATURE),
        "default": ctx.get("absent", default=3),
        "add": ctx.add("count", 2),
        "append": ctx.append(NOTES, "a"),
        "merge": ctx.merge(FACTS, {"b": 1}),
        "get_many": ctx.get_many([TEMPERATURE, "count", "absent"]),
        "set_many": ctx.set_many({TEMPERATURE: 0.5, "count": 9}),
        "exists": ctx.exists("count"),
        "define": ctx.define("extra", int, 4),
        "info": ctx.info("extra").value,
        "list": [variable.name for variable in ctx.list()],
        "delete": ctx.delete("extra"),
        "id": ctx.id,
    }


async def everything_async(x, ctx):
    await ctx.set(TEMPERATURE, 1.5)
    await ctx.update(COUNT, lambda count: count + x)
    return {
        "get": await ctx.get(TEMPERATURE),
        "default": await ctx.get("absent", default=3),
        "add": await ctx.add("count", 2),
        "append": await ctx.append(NOTES, "a"),
        "merge": await ctx.merge(FACTS, {"b": 1}),
        "get_many": await ctx.get_many([TEMPERATURE, "count", "absent"]),
        "set_many": await ctx.set_many({TEMPERATURE: 0.5, "count": 9}),
        "exists": await ctx.exists("count"),
        "define": await ctx.define("extra", int, 4),
        "info": (await ctx.info("extra")).value,
        "list": [variable.name for variable in await ctx.list()],
        "delete": await ctx.delete("extra"),
        "id": ctx.id,
    }


EXPECTED = {
    "get": 1.5,
    "default": 3,
    "add": 7,
    "append": 1,
    "merge": 1,
    "get_many": {"temperature": 1.5, "count": 7},
    "set_many": {"temperature": 2, "count": 3},
    "exists": True,
    "define": "var_extra_4",
    "info": 4,
    "list": ["temperature", "count", "notes", "facts", "extra"],
    "delete": None,
    "id": "ctx_1_home",
}


@pytest.mark.parametrize("program", [everything, everything_async])
async def test_a_program_uses_its_context(home, program):
    bound = await home.bind(program)
    answer = await bound(x=5)
    assert {**answer, "define": answer["define"][:10]} == {**EXPECTED, "define": "var_extra_"}


def test_both_contexts_have_the_same_methods_here_and_in_workers():
    from dspex.worker.child.async_context import AsyncContext
    from dspex.worker.child.blocking_context import BlockingContext

    def shape(cls):
        methods = {name: method for name, method in vars(cls).items() if inspect.isfunction(method) and not name.startswith("_")}
        return {name: [(p.name, p.kind) for p in inspect.signature(method).parameters.values()] for name, method in methods.items()}

    assert shape(ProgramContext) == shape(SyncProgramContext) == shape(BlockingContext) == shape(AsyncContext)


async def test_a_sync_program_runs_in_a_thread_and_an_async_one_in_its_callers_task(home):
    seen = contextvars.ContextVar("seen", default="nothing")

    def sync():
        return threading.get_ident(), seen.get()

    async def coroutine():
        seen.set("from within")
        return threading.get_ident(), anyio.get_current_task().id

    seen.set("from the caller")
    thread, value = await (await home.bind(sync))()
    assert thread != threading.get_ident()
    assert value == "from the caller"
    assert await (await home.bind(coroutine))() == (threading.get_ident(), anyio.get_current_task().id)
    assert seen.get() == "from within"


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ({}, "missing 'text'"),
        ({"txt": "a"}, "missing 'text'; unexpected 'txt' (did you mean 'text'?)"),
        ({"text": "a", "ctx": 1}, "'ctx' is given by the context, not by the caller"),
        ({3: 1, "text": ""}, "an input's name must be a str, got 3"),
    ],
)
async def test_inputs_that_dont_fit_are_refused_first(home, inputs, problem):
    def program(text: str, *, limit: int = 3, ctx=None):
        raise AssertionError("it was called")

    bound = await home.bind(program, "shorten")
    with pytest.raises(InvalidInputs) as caught:
        await bound.call(inputs)
    assert str(caught.value) == f"Program 'shorten'(text: str, *, limit: int = 3): {problem}. Inputs are keyword arguments."
    assert bound.info.calls == 0


async def test_open_programs_take_any_name(home):
    bound = await home.bind(lambda a, **rest: (a, rest))
    assert await bound(a=1, b=2, inputs=3) == (1, {"b": 2, "inputs": 3})


async def test_inputs_are_copied_and_what_isnt_data_is_handed_over(home):
    lock = threading.Lock()

    async def program(items, lock):
        items[0]["a"].append(2)
        return items, lock

    given = [{"a": [1]}]
    items, same = await (await home.bind(program))(items=given, lock=lock)
    assert given == [{"a": [1]}]
    assert items == [{"a": [1, 2]}]
    assert same is lock


async def test_an_input_that_holds_itself_is_refused(home):
    loop: list = []
    loop.append(loop)
    with pytest.raises(InvalidInputs, match="holds itself, or is nested too deep"):
        await (await home.bind(lambda x: x))(x=loop)


def failing(ctx):
    raise ValueError("no good")


async def failing_async(ctx):
    raise ValueError("no good")


def missing(ctx):
    return ctx.get("absent")


async def missing_async(ctx):
    return await ctx.get("absent")


@pytest.mark.parametrize("program", [failing, failing_async])
async def test_what_a_program_raises_is_program_failed_from_it(home, program):
    with pytest.raises(ProgramFailed) as caught:
        await (await home.bind(program))()

    error = caught.value
    assert (error.type, error.message) == ("builtins.ValueError", "no good")
    assert isinstance(error.__cause__, ValueError)
    assert error.is_a("ValueError")
    assert error.is_a("Exception")
    assert not error.is_a("KeyError")
    first_frame = error.traceback.splitlines()[1]
    assert __file__ in first_frame


@pytest.mark.parametrize("program", [missing, missing_async])
async def test_a_refused_operation_is_the_programs_failure(home, program):
    with pytest.raises(ProgramFailed) as caught:
        await (await home.bind(program))()
    assert caught.value.is_a("VariableNotFound")
    assert isinstance(caught.value.__cause__, VariableNotFound)


@pytest.mark.parametrize("error", [SystemExit(3), StopIteration(1), KeyError("x")])
async def test_no_exception_of_a_program_ends_the_host(home, error):
    def program():
        raise error

    with pytest.raises(ProgramFailed) as caught:
        await (await home.bind(program))()
    assert caught.value.is_a(type(error).__name__)


async def test_the_innermost_failure_comes_through_nested_calls(home):
    inner = await home.bind(failing, "inner")

    async def program():
        await inner()

    with pytest.raises(ProgramFailed) as caught:
        await (await home.bind(program, "outer"))()
    assert caught.value.program == "inner"


async def test_programs_that_call_in_a_circle_are_told(home):
    bound = None

    async def program():
        await bound()

    bound = await home.bind(program, "round")
    with pytest.raises(CallCycle) as caught:
        await bound()
    assert caught.value.chain == ["ctx_1_home/round"] * 17
    assert current_chain() == ()
    assert home.inside == 0


async def test_the_chain_follows_into_threads(home):
    assert await (await home.bind(current_chain, "where"))() == ("ctx_1_home/where",)


async def test_timeout_is_call_timeout(home):
    async def program():
        await anyio.sleep_forever()

    with pytest.raises(CallTimeout) as caught:
        await (await home.bind(program)).call(timeout=0.01)
    assert str(caught.value) == "Program 'program' did not answer within 0.01 s."


async def test_a_timeout_of_the_programs_own_is_its_failure(home):
    async def program():
        with anyio.fail_after(0):
            await anyio.sleep_forever()

    with pytest.raises(ProgramFailed) as caught:
        await (await home.bind(program)).call(timeout=60)
    assert caught.value.is_a("TimeoutError")


async def test_a_thread_whose_caller_has_gone_is_told_at_its_next_use_of_ctx(home):
    go_on, ended = threading.Event(), threading.Event()
    seen = []

    def program(ctx):
        ctx.get(COUNT)
        go_on.wait()
        try:
            ctx.add(COUNT, 1)
        except CallCancelled as error:
            seen.append(str(error))
        finally:
            ended.set()

    bound = await home.bind(program)
    with pytest.raises(CallTimeout):
        await bound.call(timeout=0.05)
    go_on.set()
    await anyio.to_thread.run_sync(ended.wait)
    assert seen == ["The call of program was cancelled: its caller has gone, or its deadline has passed."]
    assert home.state.get("count") == 0


@pytest.mark.parametrize("program", [lambda ctx: ctx, everything_async], ids=["sync", "async"])
async def test_a_context_kept_after_the_call_is_closed(home, program):
    kept = []

    async def keeping(ctx):
        kept.append(ctx)

    if program is everything_async:
        await (await home.bind(keeping))()
        with pytest.raises(ContextClosed) as caught:
            await kept[0].get("count")
    else:
        ctx = await (await home.bind(program))()
        with pytest.raises(ContextClosed) as caught:
            ctx.get("count")
    assert str(caught.value) == (
        "Context 'ctx_1_home' is closed to 'program'. "
        "The call it was lent to has ended. Do what needs ctx before the program returns, and wait for your threads."
    )


async def test_a_place_is_held_until_the_thread_has_really_ended(home, monkeypatch):
    monkeypatch.setattr(in_host, "HOST_THREADS", 1)
    go_on = threading.Event()
    bound = await home.bind(go_on.wait, "waits")
    quick = await home.bind(lambda: 1, "quick")
    with pytest.raises(CallTimeout):
        await bound.call(timeout=0.05)
    with pytest.raises(Overloaded) as caught:
        await quick.call(wait=False)
    assert str(caught.value).startswith("The threads for programs in this process is full: its bound of 1 is reached")
    go_on.set()
    assert await quick() == 1
    assert await quick.call(wait=False) == 1


async def test_a_call_made_by_a_program_never_waits_for_its_callers_place(home, monkeypatch):
    monkeypatch.setattr(in_host, "HOST_THREADS", 1)
    inner = await home.bind(lambda: 1, "inner")
    outer = await home.bind(lambda: anyio.from_thread.run(inner) + 1, "outer")
    assert await outer() == 2


async def test_a_call_cancelled_before_its_thread_began_never_happens(home):
    ran = []
    bound = await home.bind(lambda: ran.append(1))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await bound()
    assert scope.cancelled_caught
    await (await home.bind(lambda: None))()
    assert ran == []
    assert home.inside == 0


async def test_map_keeps_the_order_of_the_inputs(home):
    running, most = 0, 0

    async def program(n):
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(10 - n):
            await anyio.lowlevel.checkpoint()
        running -= 1
        return n * n

    bound = await home.bind(program)
    assert await bound.map(({"n": n} for n in range(10)), limit=3) == [n * n for n in range(10)]
    assert most == 3
    assert await bound.map([]) == []

    async def inputs():
        for n in range(3):
            yield {"n": n}

    assert await bound.map(inputs()) == [0, 1, 4]


async def test_the_first_failure_of_map_cancels_the_rest_and_comes_bare(home):
    begun, cancelled = [], []

    async def program(n):
        begun.append(n)
        if n == 2:
            raise ValueError(n)
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append(n)

    with pytest.raises(ProgramFailed) as caught:
        await (await home.bind(program)).map(({"n": n} for n in range(100)), limit=3)
    assert caught.value.message == "2"
    assert sorted(begun) == [0, 1, 2]
    assert sorted(cancelled) == [0, 1]
    assert home.inside == 0


@pytest.mark.parametrize("limit", [0, -1])
async def test_map_refuses_a_limit_below_one(home, limit):
    with pytest.raises(ValueError, match=f"limit: expected at least 1, got {limit}"):
        await (await home.bind(lambda: 1)).map([], limit)


async def test_inputs_that_raise_while_being_read_come_out_as_they_are(home):
    def inputs():
        yield {"n": 1}
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        await (await home.bind(lambda n: n)).map(inputs())


async def test_a_described_program_cant_be_called(home):
    bound = await home.bind({"type": "dspy"}, "described")
    with pytest.raises(InvalidProgram) as caught:
        await bound(x=1)
    assert str(caught.value) == (
        "Program 'described': it is only described, there is nothing to call. "
        "Register it again with the key 'program': a function, an object or an import path."
    )


async def test_info_and_repr_tell(home: LocalHome):
    def shorten(text: str, ctx) -> str:
        """Shorten it."""
        return text

    bound = await home.bind(shorten, "shorten")
    await bound(text="x")
    info = bound.info
    assert (info.id, info.where, info.kind, info.reasons, info.pool, info.calls) == ("shorten", "host", "sync", (), None, 1)
    assert (info.signature, info.doc) == ("(text: str) -> str", "Shorten it.")
    assert repr(bound).startswith("<Bound 'shorten'(text: str) -> str [function ")
    assert repr(bound).endswith(" in this process | context 'ctx_1_home' | calls: 1]>")
