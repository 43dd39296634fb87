"""Programs of a context in real worker processes: one `ProgramContext`, one way in, and ends that everyone is told of."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from context import parts
from context.parts import COLOR, COLORS, COUNT, FACTS, NOTES, PALETTE, POINT, TEMPERATURE, VALUES, Color, Point
from state.awaited_store import AwaitedStore

from dspex import (
    BackendSwitchError,
    Bridge,
    CallCycle,
    CallTimeout,
    Context,
    ContextClosed,
    InvalidInputs,
    InvalidProgram,
    InvalidValue,
    Overloaded,
    ProgramExists,
    ProgramFailed,
    ProgramNotFound,
    Status,
    Var,
    WorkerDied,
    isolated,
)
from dspex.variables import same

ALL = (COUNT, TEMPERATURE, NOTES, FACTS)


def apart(program: Any) -> dict[str, Any]:
    return {"requires_bridge": True, "program": program}


@pytest.fixture(params=["memory", "awaited"])
async def ctx(request: pytest.FixtureRequest, anyio_backend: Any) -> AsyncIterator[Context]:
    """A context on a bridge with one worker, over a store that never waits, and over one that does."""
    options = {} if request.param == "memory" else {"store": AwaitedStore()}
    async with Bridge(**options) as bridge, Context(bridge=bridge, variables=ALL) as ctx:
        yield ctx


async def count_above(ctx: Context, least: int) -> int:
    """Waits until `count` is above *least*, and tells it."""
    async with ctx.variables.watch(COUNT, include_initial=True) as changes:
        with anyio.fail_after(20):
            async for change in changes:
                if change.value > least:
                    return int(change.value)

    raise AssertionError("the watch ended")


# --- one ProgramContext --------------------------------------------------------------------------------------------------------


async def test_host_and_worker_programs_see_the_same_context(ctx: Context) -> None:
    told = []
    for number, program in enumerate((parts.tour, parts.tour_async, apart(parts.tour), apart(parts.tour_async))):
        bound = await ctx.register_program(f"tour{number}", program)
        one = await bound()
        assert one.pop("define").startswith("var_made_") and one["info"][0].startswith("var_made_")
        one["info"] = one["info"][1:]
        one.pop("id")
        told.append({**one, "append": None, "merge": None, "many": None})

    assert [bound.info.where for bound in ctx.programs.values()] == ["host", "host", "worker", "worker"]
    assert told[0] == told[1] == told[2] == told[3]
    assert told[0]["list"] == ["count", "temperature", "notes", "facts", "made"]
    assert told[0]["got"] == {"made": 1, "notes": ["b"]}
    assert told[0]["info"] == ("made", "int", 1, 5, {"min": 0}, {"by": "tour"})


async def test_refusals_are_the_same_errors_in_a_worker(ctx: Context) -> None:
    here = await (await ctx.register_program("here", parts.errors))()
    there = await (await ctx.register_program("there", apart(parts.errors)))()
    assert here == there
    assert set(here.values()) == {
        "VariableNotFound", "InvalidValue", "VersionConflict", "VariableExists", "BatchError",
    }  # fmt: skip
    assert ctx.status is Status.RUNNING


@pytest.mark.parametrize("program", [parts.swap, parts.swap_async])
async def test_every_type_of_value_crosses_both_ways_exactly(ctx: Context, program: Any) -> None:
    bound = await ctx.register_program("swap", apart(program))
    for name, (declared, first, second) in VALUES.items():
        await ctx.variables.define(f"v_{name}", declared, first)
        back = await bound(name=f"v_{name}", value=second)
        if name not in {"color", "point", "colors"}:
            assert same(back, first), name

        assert same(await ctx.variables.get(f"v_{name}"), second), name
        assert (await ctx.variables.info(f"v_{name}")).version == 1


async def test_members_of_an_enum_may_be_written_in_every_way_from_a_worker(ctx: Context) -> None:
    await ctx.variables.ensure(COLOR, COLORS, PALETTE)
    for where, program in (("here", parts.paint), ("there", apart(parts.paint))):
        bound = await ctx.register_program(where, program)
        assert await bound(color=Color.BLUE) is Color.BLUE

    assert await ctx.variables.get(COLOR) is Color.BLUE
    assert await ctx.variables.get(COLORS) == [Color.BLUE, Color.BLUE]
    assert await ctx.variables.get(PALETTE) == {"main": Color.BLUE}


async def test_records_come_and_go_as_what_they_are(ctx: Context) -> None:
    await ctx.variables.ensure(POINT)
    place = await ctx.register_program("place", apart(parts.place))
    assert await place(point=Point(1, ["a"])) == Point(2, ["a", "moved"])
    read = await ctx.register_program("read", apart(parts.read))
    await ctx.variables.set(POINT, Point(9, []))
    await read(name="point")


async def test_what_a_worker_writes_is_bounded_as_everything_is() -> None:
    async with Context(variables=ALL, max_container=50_000) as ctx:
        huge = await ctx.register_program("huge", apart(parts.huge))
        assert await huge(size=10) == 1
        with pytest.raises(ProgramFailed, match="max_container") as caught:
            await huge(size=1000)

        assert caught.value.is_a("InvalidValue")
        assert len(await ctx.variables.get(NOTES)) == 10


async def test_what_a_worker_writes_is_told_to_watches(ctx: Context) -> None:
    swap = await ctx.register_program("swap", apart(parts.swap))
    async with ctx.variables.watch() as changes:
        await swap(name="count", value=5)
        change = await anext(changes)
        assert (change.kind, change.name, change.value, change.skipped) == ("set", "count", 5, 0)


async def test_operations_of_workers_wait_while_the_gate_is_closed_and_none_is_lost(ctx: Context) -> None:
    often = await ctx.register_program("often", apart(parts.add_often))
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: often(times=200))
        for _ in range(100):
            await ctx.variables.list()  # goes through the mailbox: the gate is closed meanwhile
            await ctx.variables.add(COUNT, 1)

    assert await ctx.variables.get(COUNT) == 300
    assert (await ctx.variables.info(COUNT)).version == 300


async def test_arguments_that_make_no_sense_are_refused_and_the_context_goes_on(ctx: Context) -> None:
    await ctx.ensure_bridged()
    port = ctx._inside.port
    for name, args in [
        ("get", ["nobody"]),
        ("get_many", [[5, None, "count", ["x"]]]),
        ("set_many", [{5: 1}]),
        ("set_many", [{b"count": 1, "count": 5}, None, False]),
        ("set_many", [{True: [1]}]),
        ("set", ["count", {"deep": [1]}, {"a": 1}, 0]),
        ("define", [{"name": 5}, 1]),
        ("define", [{"name": "x", "type": "os:system"}, 1]),
        ("define", [{"name": "x", "type": "str", "constraints": {"pattern": "(a+)+$"}}, "a" * 40]),
        ("append", ["count", {"a": 1}]),
        ("merge", ["facts", {5: "x"}]),
        ("add", ["notes", 1]),
        ("info", ["var_nobody_1"]),
        ("delete", ["nobody"]),
    ]:
        answers: list[tuple[Any, BaseException | None]] = []
        port.post(name, args, lambda result, error, answers=answers: answers.append((result, error)))
        with anyio.fail_after(5):
            while not answers:
                await checkpoint()

        assert ctx.status is Status.RUNNING, (name, args)
        if ctx.variables.synchronous:
            try:
                port.operate_nowait(name, args)
            except Exception as error:
                assert "Crashed" not in type(error).__name__, (name, args)

        assert ctx.status is Status.RUNNING, (name, args)

    assert await ctx.variables.get(FACTS) == {}


# --- registering ---------------------------------------------------------------------------------------------------------------


async def test_a_program_that_needs_the_bridge_makes_the_context_switch() -> None:
    async with Context(variables=ALL) as ctx:
        await ctx.register_program("here", parts.square)
        assert ctx.backend.kind == "local"
        bound = await ctx.register_program("there", apart(parts.square))
        assert ctx.backend.kind == "bridged" and ctx.backend.switches == 1
        assert await bound(n=3) == 9 == await ctx.call("there", {"n": 3}) == await ctx.call("here", {"n": 3})
        assert bound.info.reasons
        await ctx.register_program("there too", apart(parts.place))
        assert ctx.backend.switches == 1


async def test_programs_may_be_given_at_the_start() -> None:
    async with Context(variables=ALL, programs={"square": apart(parts.square), "read": parts.read}) as ctx:
        assert ctx.backend.kind == "bridged"
        assert await ctx.call("square", {"n": 4}) == 16
        assert await ctx.call("read", {"name": "count"}) == 0
        assert list(ctx.programs) == ["square", "read"]


async def test_an_equal_program_is_the_same_and_a_different_one_is_refused(ctx: Context) -> None:
    first = await ctx.register_program("p", apart(parts.square))
    assert await ctx.register_program("p", apart(parts.square)) is first
    for other in (apart(parts.place), parts.square, "context.parts:die"):
        with pytest.raises(ProgramExists, match="'p'"):
            await ctx.register_program("p", other)

    assert ctx.programs["p"] is first
    await ctx.unregister_program("p")
    with pytest.raises(ProgramNotFound, match="'p'"):
        await ctx.call("p", {"n": 1})

    with pytest.raises(ProgramNotFound):
        await ctx.unregister_program("p")

    assert await (await ctx.register_program("p", apart(parts.place)))(point=Point(0, [])) == Point(1, ["moved"])


async def test_concurrent_registrations_of_one_id_make_one_program(ctx: Context) -> None:
    bounds: list[Any] = []
    refused: list[Exception] = []

    async def register(program: Any) -> None:
        try:
            bounds.append(await ctx.register_program("p", apart(program)))
        except ProgramExists as error:
            refused.append(error)

    async with anyio.create_task_group() as group:
        for program in (parts.square, parts.square, parts.place, parts.square):
            group.start_soon(register, program)

    assert len({id(bound) for bound in bounds}) == 1
    assert len(bounds) + len(refused) == 4 and len(refused) in {1, 3}
    assert list(ctx.programs) == ["p"]


async def test_a_registration_that_is_cancelled_lets_the_next_in_line_try(ctx: Context) -> None:
    scope = anyio.CancelScope()

    async def given_up() -> None:
        with scope:
            await ctx.register_program("p", apart(parts.square))

    async with anyio.create_task_group() as group:
        group.start_soon(given_up)
        await checkpoint()
        group.start_soon(ctx.register_program, "p", apart(parts.square))
        await checkpoint()
        scope.cancel()

    assert await ctx.call("p", {"n": 2}) == 4


async def test_what_fails_to_register_leaves_nothing_registered(ctx: Context) -> None:
    for program, failure in [
        ("no.such.module:f", ProgramFailed),
        ("context.parts:nobody", InvalidProgram),
        ("context.parts:NotThere", ProgramFailed),
        (apart(5), InvalidProgram),
        (None, InvalidProgram),
        ({"module": "x"}, (InvalidProgram, ProgramFailed)),
    ]:
        with pytest.raises(failure):  # type: ignore[call-overload]
            bound = await ctx.register_program("p", program)
            await bound()

        if "p" in ctx.programs:  # only described: there is nothing to import, and calling it says so
            await ctx.unregister_program("p")

        assert not ctx.programs

    assert await (await ctx.register_program("p", apart(parts.square)))(n=5) == 25


async def test_a_switch_that_fails_leaves_the_program_unregistered_and_the_context_local() -> None:
    bridge = Bridge()
    async with bridge, Context(bridge=bridge, session_id="s", variables=ALL) as ctx:
        lease = await bridge.store.open("s", "create", holder="somebody else")
        with pytest.raises(BackendSwitchError, match="somebody else"):
            await ctx.register_program("p", apart(parts.square))

        assert (dict(ctx.programs), ctx.backend.kind, ctx.status) == ({}, "local", Status.RUNNING)
        await bridge.store.drop(lease)
        assert await (await ctx.register_program("p", apart(parts.square)))(n=5) == 25


async def test_a_closure_travels_by_value(ctx: Context) -> None:
    base = 40

    @isolated
    def program(n: int, ctx: Any) -> int:
        return int(base + n + ctx.get("count"))

    await ctx.variables.set(COUNT, 1)
    assert await (await ctx.register_program("closure", program))(n=1) == 42


# --- calling -------------------------------------------------------------------------------------------------------------------


async def test_inputs_that_do_not_fit_are_refused_before_the_call(ctx: Context) -> None:
    bound = await ctx.register_program("square", apart(parts.square))
    for inputs in ({}, {"m": 1}, {"n": 1, "m": 2}, {"n": object()}):
        with pytest.raises(InvalidInputs, match="square"):
            await bound(**inputs)

    with pytest.raises((InvalidInputs, TypeError)):
        await ctx.call("square", [("m", 3)])  # type: ignore[arg-type]

    assert await bound(n=2) == 4


async def test_map_keeps_the_order_of_its_inputs(ctx: Context) -> None:
    bound = await ctx.register_program("square", apart(parts.square))
    assert await bound.map(({"n": number} for number in range(40)), limit=8) == [number**2 for number in range(40)]
    with pytest.raises(InvalidInputs):
        await bound.map([{"n": 1}, {"m": 2}])

    assert ctx.statistics().calls == 0


async def test_wait_false_is_refused_where_all_slots_are_taken() -> None:
    async with Bridge(workers=1, concurrency=1) as bridge, Context(bridge=bridge, variables=ALL) as ctx:
        hold = await ctx.register_program("hold", apart(parts.meet_and_hold))
        square = await ctx.register_program("square", apart(parts.square))
        async with anyio.create_task_group() as group:
            group.start_soon(hold)
            await count_above(ctx, 0)
            with pytest.raises(Overloaded):
                await square.call({"n": 1}, wait=False)

            with pytest.raises(Overloaded):
                await ctx.call("square", {"n": 1}, wait=False)

            group.cancel_scope.cancel()


async def test_a_timeout_tells_the_caller_and_frees_the_slot() -> None:
    async with Bridge(workers=1, concurrency=1, kill_after=0.05) as bridge, Context(bridge=bridge, variables=ALL) as ctx:
        hold = await ctx.register_program("hold", apart(parts.meet_and_hold))
        with pytest.raises(CallTimeout):
            await hold.call(timeout=0.3)

        assert await (await ctx.register_program("square", apart(parts.square)))(n=3) == 9


async def test_a_worker_that_is_killed_fails_only_its_own_call() -> None:
    async with Bridge(workers=1) as bridge, Context(bridge=bridge, variables=ALL) as ctx:
        hold = await ctx.register_program("hold", apart(parts.meet_and_hold))
        square = await ctx.register_program("square", apart(parts.square))
        died: list[WorkerDied] = []

        async def held() -> None:
            with pytest.raises(WorkerDied, match="SIGKILL") as caught:
                await hold()

            died.append(caught.value)

        async with anyio.create_task_group() as group:
            group.start_soon(held)
            pid = await count_above(ctx, 0)
            os.kill(pid, signal.SIGKILL)

        assert died[0].pid == pid and died[0].applied is None
        assert ctx.status is Status.RUNNING
        assert await ctx.variables.get(COUNT) == pid
        assert await square(n=3) == 9
        assert ctx.statistics().calls == 0


async def test_a_worker_that_exits_tells_how(ctx: Context) -> None:
    die = await ctx.register_program("die", apart(parts.die))
    with pytest.raises(WorkerDied, match="3"):
        await die()

    assert await ctx.variables.add(COUNT, 1) == 1


# --- stopping ------------------------------------------------------------------------------------------------------------------


async def test_calls_in_flight_at_a_stop_may_still_use_their_context_and_end_by_themselves() -> None:
    async with Bridge() as bridge:
        async with Context(bridge=bridge, session_id="s", variables=ALL) as ctx:
            until = await ctx.register_program("until", apart(parts.until_told))
            results: list[str] = []

            async def call() -> None:
                results.append(await until())

            async def relay() -> None:
                # A program in this process, in flight as well: it lets the other one end once the stop has begun.
                async def program(ctx: Any) -> None:
                    while home.status is not Status.STOPPING:
                        await checkpoint()

                    await ctx.append(NOTES, "go on")

                await (await home.register_program("relay", program))()

            home = ctx
            async with anyio.create_task_group() as group:
                group.start_soon(call)
                await count_above(ctx, 0)
                group.start_soon(relay)
                while ctx.statistics().calls < 2:
                    await checkpoint()

                with anyio.fail_after(20):
                    await ctx.stop()

            assert results == ["ended by itself"]
            assert ctx.status is Status.CLOSED
            with pytest.raises(ContextClosed):
                await until()

        async with Context(bridge=bridge, session_id="s") as ctx:
            assert await ctx.variables.get("notes") == ["go on", "seen"]


async def test_calls_that_do_not_end_are_cancelled_and_told_that_the_context_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    from dspex.context import _life

    monkeypatch.setattr(_life, "DRAIN", 0.1)
    async with Bridge(kill_after=0.05) as bridge, Context(bridge=bridge, variables=ALL) as ctx:
        hold = await ctx.register_program("hold", apart(parts.meet_and_hold))
        told: list[BaseException] = []

        async def forever(ctx: Any) -> None:
            await ctx.add(COUNT, 1)
            await anyio.sleep_forever()

        here = await ctx.register_program("forever", forever)

        async def call(bound: Any) -> None:
            try:
                await bound()
            except ContextClosed as error:
                told.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(call, here)
            await count_above(ctx, 0)
            group.start_soon(call, hold)
            await count_above(ctx, 1)
            with anyio.fail_after(10):
                await ctx.stop()

        assert len(told) == 2
        assert ctx.status is Status.CLOSED


async def test_a_program_cannot_stop_the_context_it_runs_in(ctx: Context) -> None:
    home = ctx

    async def suicidal(ctx: Any) -> None:
        await home.stop()

    def from_a_thread(ctx: Any) -> None:
        anyio.from_thread.run(home.stop)

    for name, program in (("task", suicidal), ("thread", from_a_thread)):
        bound = await ctx.register_program(name, program)
        with pytest.raises((ProgramFailed, CallCycle)) as caught:
            await bound()

        assert isinstance(caught.value, CallCycle) or caught.value.is_a("CallCycle")
        assert f"{ctx.id}/{name}" in str(caught.value)

    assert ctx.status is Status.RUNNING


async def test_a_program_may_stop_another_context(ctx: Context) -> None:
    async with Context() as other:

        async def program() -> None:
            await other.stop()

        await (await ctx.register_program("stop other", program))()
        assert (ctx.status, other.status) == (Status.RUNNING, Status.CLOSED)


async def test_a_crash_tells_the_calls_in_flight() -> None:
    from dspex import ContextCrashed
    from dspex.state import LocalState

    class Broken(LocalState):
        def add(self, key: Any, n: Any) -> Any:
            raise OSError("the disk has gone")

    told: list[BaseException] = []

    async def forever(ctx: Any) -> None:
        await anyio.sleep_forever()

    async def call(bound: Any) -> None:
        try:
            await bound()
        except ContextCrashed as error:
            told.append(error)

    async with anyio.create_task_group() as group:
        with pytest.raises(ContextCrashed):
            async with Context(backend=Broken, variables=[COUNT]) as ctx:
                bound = await ctx.register_program("forever", forever)
                group.start_soon(call, bound)
                while not ctx.statistics().calls:
                    await checkpoint()

                with anyio.fail_after(10):
                    await ctx.variables.add(COUNT, 1)

    assert len(told) == 1


async def test_invalid_values_of_workers_stay_theirs(ctx: Context) -> None:
    swap = await ctx.register_program("swap", apart(parts.swap))
    with pytest.raises(ProgramFailed) as caught:
        await swap(name="temperature", value=9.0)

    assert caught.value.is_a("InvalidValue")
    with pytest.raises(InvalidValue):
        await ctx.variables.set(Var("temperature", float, 0.7, min=0.0, max=2.0), 9.0)

    assert await ctx.variables.get(TEMPERATURE) == 0.7
