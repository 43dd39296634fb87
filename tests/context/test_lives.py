"""What lives over a context's restarts, and what ends with each life: watches, switches, bridges, ports; and an owner that would wait for itself."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from context import parts
from context.fragile import COUNT, FACTS, NOTES, ByHand, Fragile, Slow, Torn
from state.awaited_store import AwaitedStore

import dspex
from dspex import (
    BackendInitError,
    Bridge,
    CallCycle,
    ChildNotFound,
    ChildSpec,
    Context,
    ContextClosed,
    ContextCrashed,
    StartFailed,
    Status,
    Supervisor,
    Var,
)
from dspex.state import LocalState
from dspex.state.stores.memory import MemoryStore
from dspex.worker.host.port import GateClosed


async def until(condition: Any) -> None:
    with anyio.fail_after(20):
        while not condition():
            await checkpoint()


async def crash(ctx: Context) -> None:
    with pytest.raises(ContextCrashed):
        await ctx.variables.merge(FACTS, {})


class Watching:
    """A watch of everything, read as it comes."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []
        self.error: BaseException | None = None
        self.metadata: dict[str, Any] = {}

    async def run(self, ctx: Context, *names: str, task_status: Any) -> None:
        try:
            async with ctx.variables.watch(*names) as changes:
                task_status.started()
                async for change in changes:
                    self.seen.append((change.kind, change.name, change.value, change.version, change.skipped))
                    self.metadata[change.name] = dict(change.metadata)
        except ContextClosed as error:
            self.error = error
        except ContextCrashed as error:
            self.error = error

    async def wait(self, count: int) -> None:
        await until(lambda: len(self.seen) >= count)
        for _ in range(10):
            await checkpoint()


# --- watches --------------------------------------------------------------------------------------------------------------------


async def test_a_watch_lives_over_a_restart_that_keeps_the_state() -> None:
    watching = Watching()
    async with anyio.create_task_group() as group, Supervisor([Context.child_spec("chat", backend=Fragile, variables=[COUNT, FACTS])]):
        ctx = dspex.whereis("chat")
        await group.start(watching.run, ctx)
        await ctx.variables.set(COUNT, 1)
        await crash(ctx)
        await ctx.variables.set(COUNT, 2)
        await until(lambda: watching.seen[-1:] == [("set", "count", 2, 2, 0)] or ("set", "count", 2, 2, 1) in watching.seen)
        assert ctx.statistics().lives == 2

    assert [seen[2] for seen in watching.seen] in ([1, 2], [2])
    assert watching.error is None


async def test_a_watch_whose_question_was_in_the_owners_hands_asks_the_next_life() -> None:
    watching, backend = Watching(), Slow()
    async with anyio.create_task_group() as group, Supervisor([Context.child_spec("chat", backend=backend, variables=[COUNT])]):
        ctx = dspex.whereis("chat")
        await group.start(watching.run, ctx)
        backend.fails = {"info"}
        # The watch reads, and so do the writers' marks: a crash each time.
        with pytest.raises(ContextCrashed):
            await ctx.variables.set(COUNT, 1)

        backend.fails = set()
        await ctx.variables.set(COUNT, 2)
        await watching.wait(1)
        backend.fails = {"info"}
        await ctx.variables.delete(COUNT)
        backend.fails = set()

    assert watching.seen[0][:4] == ("set", "count", 2, 2)
    assert watching.error is None


async def test_of_a_new_state_a_watch_is_told_what_is_there_and_what_is_gone() -> None:
    watching, only_count = Watching(), Watching()
    count = Var("count", int, 0, metadata={"unit": "K"})
    written: list[int] = []

    async def init(ctx: Context) -> None:
        await ctx.variables.define("made", str, "a", exist_ok=True)
        await ctx.variables.set(count, 41)
        await checkpoint()
        await ctx.variables.set(count, 42)
        written.append(1)

    spec = Context.child_spec("chat", backend=Torn, variables=[count, FACTS], init=init)
    async with anyio.create_task_group() as group, Supervisor([spec]):
        ctx = dspex.whereis("chat")
        await group.start(watching.run, ctx)
        await group.start(only_count.run, ctx, "count")
        await ctx.variables.set(count, 7)
        await ctx.variables.define("by hand", int, 1)
        await watching.wait(2)
        watching.seen.clear()
        only_count.seen.clear()
        await crash(ctx)
        await ctx.variables.set(count, 43)
        await watching.wait(4)
        assert len(written) == 2
        # Nothing of the furnishing is seen, only what it made; and the write that waited, with it or after it.
        kinds = {name: (kind, value) for kind, name, value, *_ in watching.seen}
        assert kinds["made"] == ("reset", "a")
        assert kinds["facts"] == ("reset", {})
        assert kinds["by hand"] == ("deleted", None)
        told = [seen for seen in watching.seen if seen[1] == "count"]
        assert told in ([("reset", "count", 43, 3, 1)], [("reset", "count", 42, 2, 0), ("set", "count", 43, 3, 0)])
        assert {seen[1] for seen in only_count.seen} == {"count"}
        assert watching.metadata["count"] == {"unit": "K"}


async def test_what_was_marked_and_never_handed_over_counts_as_skipped_by_a_reset() -> None:
    async with anyio.create_task_group() as group:
        hand = ByHand(Context.child_spec("chat", backend=Torn, variables=[COUNT, FACTS]), group)
        ctx = await hand.start()
        async with ctx.variables.watch() as changes:
            for number in range(5):
                await ctx.variables.set(COUNT, number)

            await ctx.variables.define("extra", int, 0)
            await hand.crash(ctx)
            await hand.start()
            first = [await anext(changes) for _ in range(3)]
            assert {(change.kind, change.name, change.version, change.skipped) for change in first} == {
                ("reset", "count", 0, 5),
                ("reset", "facts", 0, 0),
                ("deleted", "extra", -1, 1),
            }

        await hand.stop(final=True)


async def test_a_stop_ends_a_watch_and_the_end_of_a_crash_raises_in_it() -> None:
    for final in (True, False):
        watching = Watching()
        async with anyio.create_task_group() as group:
            hand = ByHand(Context.child_spec("chat", backend=Fragile, variables=[COUNT, FACTS]), group)
            ctx = await hand.start()
            await group.start(watching.run, ctx)
            if final:
                await hand.stop(final=True)
            else:
                await hand.crash(ctx)
                assert watching.error is None
                await hand.tell("gone")

        assert (watching.error is None) == final


async def test_a_watch_of_a_former_end_has_no_part_in_the_next_beginning() -> None:
    async with anyio.create_task_group() as group:
        hand = ByHand(Context.child_spec("chat", variables=[COUNT]), group)
        ctx = await hand.start()
        async with ctx.variables.watch() as old:
            await hand.stop(final=True)
            await hand.start()
            async with ctx.variables.watch() as new:
                await old.__aexit__(None, None, None)
                await ctx.variables.set(COUNT, 5)
                assert (await anext(new)).value == 5

        await hand.stop(final=True)


# --- switches -------------------------------------------------------------------------------------------------------------------


def native_cancel_of_the_owner() -> None:
    next(task for task in asyncio.all_tasks() if "owner of chat" in task.get_name()).cancel()


@pytest.mark.parametrize("where", ["stage", "put", "verify", "commit", "close"])
async def test_i8_a_crash_in_the_middle_of_a_switch_keeps_one_backend_whole(running_loop: Any, where: str, monkeypatch: Any) -> None:
    if running_loop() == "trio":
        pytest.skip("trio's owner can't be cancelled from outside")

    from dspex.context._switch import ACTIONS, Step

    cut: list[str] = []
    step = {"stage": Step.STAGE, "put": Step.STAGE, "verify": Step.VERIFY, "commit": Step.COMMIT, "close": Step.CLEAN_UP}[where]
    original = ACTIONS[step]

    async def action(switch: Any) -> None:
        if where != "stage":
            await original(switch)

        if not cut:
            cut.append(where)
            native_cancel_of_the_owner()

        await checkpoint()
        if where == "stage":
            await original(switch)

    monkeypatch.setitem(ACTIONS, step, action)
    bridge = Bridge(store=AwaitedStore())
    async with Supervisor([Context.child_spec("chat", variables=[COUNT, NOTES], bridge=bridge)]):
        ctx = dspex.whereis("chat")
        await ctx.variables.set(COUNT, 7)
        told: list[Any] = []

        async def switch() -> None:
            try:
                await ctx.ensure_bridged()
            except ContextCrashed as error:
                told.append(error.applied)

        async with anyio.create_task_group() as group:
            group.start_soon(switch)
            await until(lambda: bool(cut))
            for number in range(5):
                group.start_soon(ctx.variables.append, NOTES, str(number))
                await checkpoint()

        assert await ctx.variables.get(COUNT) == 7
        assert await ctx.variables.get(NOTES) == [str(number) for number in range(5)]
        committed = where in ("commit", "close")
        assert ctx.backend.kind == ("bridged" if committed else "local")
        assert ctx.statistics().lives == 2
        assert told in ([None], [])
        await ctx.ensure_bridged()
        assert ctx.backend.switches == 1
        assert (await ctx.variables.info(COUNT)).version == 1

    assert not bridge.store.inner._sessions  # type: ignore[attr-defined]


async def test_a_fresh_restart_of_a_bridged_context_is_local_again_and_leaves_no_session() -> None:
    async with Bridge() as bridge:
        spec = Context.child_spec("chat", variables=[COUNT], bridge=bridge, on_restart="fresh")
        async with anyio.create_task_group() as group:
            hand = ByHand(spec, group)
            ctx = await hand.start()
            await ctx.variables.set(COUNT, 7)
            await ctx.ensure_bridged()
            await hand.stop(final=False)
            await hand.start()
            assert (ctx.backend.kind, ctx.backend.switches) == ("local", 0)
            assert await ctx.variables.get(COUNT) == 0
            assert isinstance(bridge.store, MemoryStore)
            assert not bridge.store._sessions
            await ctx.ensure_bridged()
            await hand.stop(final=True)
            assert not bridge.store._sessions


@pytest.mark.parametrize("on_restart", ["keep", "fresh"])
async def test_a_session_that_was_named_outlives_every_restart(on_restart: Any) -> None:
    async with Bridge() as bridge, anyio.create_task_group() as group:
        spec = Context.child_spec("chat", variables=[COUNT], bridge=bridge, session_id="s", backend="bridged", on_restart=on_restart)
        hand = ByHand(spec, group)
        ctx = await hand.start()
        await ctx.variables.set(COUNT, 7)
        await hand.stop(final=False)
        await hand.start()
        assert await ctx.variables.get(COUNT) == 7
        await hand.stop(final=True)
        await hand.start()
        assert (await ctx.variables.get(COUNT), ctx.resumed) == (7, True)
        await hand.stop(final=True)


async def test_a_fresh_state_has_nothing_of_a_session_that_could_not_be_dropped() -> None:
    class Stubborn(MemoryStore):
        refuses = True

        def drop_nowait(self, lease: Any) -> None:
            if self.refuses:
                raise OSError("the line is down")

            super().drop_nowait(lease)

    store = Stubborn()
    async with Bridge(store=store) as bridge, anyio.create_task_group() as group:
        hand = ByHand(Context.child_spec("chat", variables=[COUNT], bridge=bridge, backend="bridged", on_restart="fresh"), group)
        ctx = await hand.start()
        await ctx.variables.set(COUNT, 7)
        await hand.stop(final=False)
        with pytest.raises(Exception, match="the line is down"):
            await hand.start()

        await hand.ended()
        assert ctx.status is Status.RESTARTING
        store.refuses = False
        await hand.start()
        assert await ctx.variables.get(COUNT) == 0
        await hand.stop(final=True)
        assert not store._sessions


# --- bridges and workers --------------------------------------------------------------------------------------------------------


async def test_programs_in_workers_of_a_private_bridge_go_on_in_the_next_life() -> None:
    async with anyio.create_task_group() as group:
        hand = ByHand(Context.child_spec("chat", variables=[COUNT]), group)
        ctx = await hand.start()
        bound = await ctx.register_program("often", {"requires_bridge": True, "program": parts.add_often})
        first = await bound(times=3)
        await hand.stop(final=False)
        private = ctx._inside.private
        assert private is not None and private.status == "closed"
        await hand.start()
        second = await bound(times=4)
        # Another worker, the same variables.
        assert first != second
        assert await ctx.variables.get(COUNT) == 7
        assert ctx._inside.private is private
        await hand.stop(final=True)
        assert private.status == "closed"


async def test_a_call_in_a_worker_is_told_of_the_crash_and_what_it_still_asks_is_refused() -> None:
    async with Bridge() as bridge, anyio.create_task_group() as group:
        hand = ByHand(Context.child_spec("chat", variables=[COUNT, NOTES], bridge=bridge), group)
        ctx = await hand.start()
        bound = await ctx.register_program("p", {"requires_bridge": True, "program": parts.until_told})
        told: list[Any] = []

        async def call() -> None:
            try:
                await bound()
            except ContextCrashed as error:
                told.append(error.applied)

        async with anyio.create_task_group() as calls:
            async with ctx.variables.watch(COUNT) as changes:
                calls.start_soon(call)
                with anyio.fail_after(20):
                    await anext(changes)

            port = ctx._inside.port
            ctx.variables.crash(OSError("by hand"), "test")

        assert told == [None]
        await hand.ended()
        await hand.start()
        answers: list[Any] = []
        with pytest.raises(GateClosed):
            port.operate_nowait("set", ["count", 99])

        port.post("set", ["count", 99], lambda result, error: answers.append((result, type(error))))
        assert answers == [(None, ContextCrashed)]
        assert await ctx.variables.get(COUNT) == 1
        assert await ctx.variables.get(NOTES) == []
        await hand.stop(final=True)


async def test_what_a_call_of_a_former_life_had_queued_is_not_served_by_the_next() -> None:
    backend = Slow()
    async with anyio.create_task_group() as group:
        hand = ByHand(Context.child_spec("chat", backend=backend, variables=[COUNT, NOTES]), group)
        ctx = await hand.start()

        async def program(ctx: Any) -> None:
            async with anyio.create_task_group() as asking:
                asking.start_soon(ctx.append, NOTES, "of the call")
                asking.start_soon(ctx.append, NOTES, "too")

        bound = await ctx.register_program("p", program)
        backend.hold()
        async with anyio.create_task_group() as clients:

            async def call() -> None:
                with pytest.raises(ContextCrashed):
                    await bound()

            async def crashing() -> None:
                with pytest.raises(ContextCrashed):
                    await ctx.variables.set(COUNT, 1)

            backend.fails = {"set"}
            clients.start_soon(crashing)
            await until(lambda: ("set", 1) in backend.taken)
            clients.start_soon(call)
            await until(lambda: ctx.statistics().pending == 3)
            clients.start_soon(ctx.variables.append, NOTES, "of a client")
            await until(lambda: ctx.statistics().pending == 4)
            backend.go_on()
            await hand.ended()
            await hand.start()

        assert await ctx.variables.get(NOTES) == ["of a client"]
        await hand.stop(final=True)


def test_a_program_that_outlasts_its_life_is_refused_by_the_next(run_virtually: Any) -> None:
    async def main() -> None:
        told: list[Any] = []

        async def stubborn(ctx: Any) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(60)
                    for use in (lambda: ctx.set(COUNT, 99), lambda: ctx.get(COUNT)):
                        try:
                            await use()
                        except ContextCrashed as error:
                            told.append(error)

        async with anyio.create_task_group() as group:
            hand = ByHand(Context.child_spec("chat", backend=Fragile, variables=[COUNT, FACTS]), group)
            ctx = await hand.start()
            bound = await ctx.register_program("stubborn", stubborn)
            async with anyio.create_task_group() as calls:

                async def call() -> None:
                    with pytest.raises(ContextCrashed):
                        await bound()

                calls.start_soon(call)
                await anyio.sleep(1)
                await hand.crash(ctx)
                await hand.start()
                assert await ctx.variables.get(COUNT) == 0

            assert len(told) == 2
            assert (await ctx.variables.info(COUNT)).version == 0
            await hand.stop(final=True)

    run_virtually(main)


async def test_init_may_call_programs_that_use_the_context_also_in_workers() -> None:
    async def init(ctx: Context) -> None:
        bound = await ctx.register_program("often", {"requires_bridge": True, "program": parts.add_often})
        await bound(times=3)
        await (await ctx.register_program("host", parts.swap_async))(name="notes", value=["init"])

    async with anyio.create_task_group() as group:
        hand = ByHand(Context.child_spec("chat", variables=[COUNT, NOTES], init=init, on_restart="fresh"), group)
        ctx = await hand.start()
        await hand.stop(final=False)
        async with anyio.create_task_group() as clients:
            clients.start_soon(ctx.variables.append, NOTES, "queued")
            await hand.start()

        assert await ctx.variables.get(COUNT) == 3
        assert await ctx.variables.get(NOTES) == ["init", "queued"]
        await hand.stop(final=True)


def bridge_spec(bridge: Any, id: str = "shared") -> ChildSpec:
    async def start(*, task_status: Any) -> None:
        task_status.started(bridge)
        await anyio.sleep_forever()

    return ChildSpec(id, start)


async def test_a_bridge_given_by_name_is_the_sibling_of_that_id() -> None:
    async with Bridge() as bridge:
        inner = Supervisor.child_spec("inner", [Context.child_spec("chat", bridge="shared", variables=[COUNT])])
        async with Supervisor([bridge_spec(bridge), inner]):
            ctx = dspex.whereis("chat")
            await ctx.ensure_bridged()
            assert ctx._inside.private is None
            assert isinstance(bridge.store, MemoryStore)
            assert list(bridge.store._sessions) == [ctx.id]


class Unasked(Supervisor):
    """Its children may be very many, and each of them may be looking."""

    def which_children(self) -> Any:
        raise AssertionError("each child was looked at")


async def test_a_bridge_is_looked_for_by_its_name_and_not_among_all_the_children() -> None:
    async with Bridge() as bridge:
        inner = Unasked.child_spec("inner", [Context.child_spec("chat", bridge="shared", variables=[COUNT])])
        async with Unasked([bridge_spec(bridge), inner]):
            await dspex.whereis("chat").ensure_bridged()


async def test_a_bridge_name_that_leads_nowhere_says_what_there_is() -> None:
    for specs, error, sentence in (
        ([bridge_spec(Bridge(), "other"), Context.child_spec("chat", bridge="shared")], ChildNotFound, "It has: chat, other"),
        (
            [Context.child_spec("chat", bridge="shared"), bridge_spec(Bridge(), "shared")],
            ChildNotFound,
            "list it before the one that needs it",
        ),
        (
            [bridge_spec("text"), Context.child_spec("chat", bridge="shared")],
            BackendInitError,
            "names a child that is no Bridge: its value is 'text'",
        ),
    ):
        with pytest.raises(StartFailed) as caught:
            async with Supervisor(specs):
                pass

        assert type(caught.value.__cause__) is error
        assert sentence in str(caught.value.__cause__)

    with pytest.raises(BackendInitError, match="bridge='shared' names a child of a supervisor above it, and there is none"):
        async with Context(bridge="shared"):
            pass


# --- an owner that would wait for itself ------------------------------------------------------------------------------------------


class Circular(Slow):
    """Its `get` asks its own context."""

    ctx: Context
    how = "get"

    async def get(self, key: Any) -> Any:
        if self.how == "stop":
            await self.ctx.stop()
        elif self.how == "ensure_bridged":
            await self.ctx.ensure_bridged()
        elif self.how == "beside":
            async with anyio.create_task_group() as group:
                group.start_soon(self.ctx.variables.info, key)
        else:
            return await self.ctx.variables.get("other")

        return None


@pytest.mark.parametrize("how", ["get", "stop", "ensure_bridged"])
async def test_a_backend_that_asks_its_own_context_is_told_of_the_circle(how: str) -> None:
    backend = Circular()
    backend.how = how
    async with Context(backend=backend, variables=[COUNT], bridge=Bridge()) as ctx:
        backend.ctx = ctx
        with anyio.fail_after(5), pytest.raises(CallCycle) as caught:
            await ctx.variables.get(COUNT)

        asked = {"get": "'get'", "stop": "'stop()'", "ensure_bridged": "'ensure_bridged'"}[how]
        assert caught.value.chain == [
            f"the owner of context {ctx.id!r}, serving 'get'",
            "Circular.get",
            f"{asked} of the same context",
        ]
        assert "can't use that context while it serves an operation of it" in str(caught.value)
        # A refusal, no crash.
        assert await ctx.variables.set(COUNT, 1) == 1


async def test_also_in_a_task_that_the_backend_waits_for() -> None:
    backend = Circular()
    backend.how = "beside"
    with pytest.raises(ContextCrashed) as crashed:
        async with Context(backend=backend, variables=[COUNT]) as ctx:
            backend.ctx = ctx
            with anyio.fail_after(5):
                await ctx.variables.get(COUNT)

    assert isinstance(crashed.value.__cause__, ExceptionGroup)
    assert isinstance(crashed.value.__cause__.exceptions[0], CallCycle)


async def test_newcomers_calls_are_refused_while_it_stops_though_others_are_in_flight() -> None:
    async with Context(variables=[COUNT]) as ctx:
        release = anyio.Event()

        async def inner() -> str:
            return "nested"

        async def outer(ctx: Any) -> Any:
            await release.wait()
            return await ctx.call("inner")

        bound, nested = await ctx.register_program("outer", outer), await ctx.register_program("inner", inner)
        answers: list[Any] = []

        async def call() -> None:
            answers.append(await bound())

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await until(lambda: ctx.statistics().calls == 1)
            group.start_soon(ctx.stop)
            await until(lambda: ctx.status is Status.STOPPING)
            with pytest.raises(ContextClosed):
                await nested()

            release.set()

        assert answers == ["nested"]


def test_lives_are_counted_without_a_supervisor_too() -> None:
    async def main() -> None:
        ctx = Context(backend=LocalState)
        assert ctx.statistics().lives == 0
        async with ctx:
            assert ctx.statistics().lives == 1

    anyio.run(main)
