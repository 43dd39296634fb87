"""The life of a context: start, stop, crash, expiry, names; and that nothing wraps an exception of the body (I12)."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import anyio
import pytest
import trio
from anyio.lowlevel import checkpoint

import dspex
from dspex import (
    BackendInitError,
    Context,
    ContextClosed,
    ContextCrashed,
    ContextExpired,
    InvalidBackend,
    NameNotFound,
    NameTaken,
    SessionTaken,
    Status,
    Var,
    WrongThread,
)
from dspex.state import LocalState

COUNT = Var("count", int, 0)


class Broken(LocalState):
    """Fails in an operation in a way that is no refusal."""

    def add(self, key: Any, n: Any) -> Any:
        raise OSError("the disk has gone")


async def test_i12_an_exception_of_the_body_comes_out_as_itself() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Context():
            raise ZeroDivisionError


async def test_i12_also_when_an_outer_scope_is_cancelled_meanwhile() -> None:
    with anyio.CancelScope() as scope:
        with pytest.raises(ZeroDivisionError):
            async with Context():
                scope.cancel()
                raise ZeroDivisionError


async def test_i12_also_when_the_context_has_crashed_meanwhile() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Context(backend=Broken, variables=[COUNT]) as ctx:
            with pytest.raises(ContextCrashed):
                await ctx.variables.add(COUNT, 1)

            raise ZeroDivisionError


async def test_i12_a_group_of_the_body_comes_out_as_it_is() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with Context():
            raise ExceptionGroup("two", [ValueError(1), TypeError(2)])

    assert [type(error) for error in caught.value.exceptions] == [ValueError, TypeError]


async def test_a_cancelled_outer_scope_ends_the_block_and_its_clean_up_may_still_use_the_context() -> None:
    with anyio.CancelScope() as scope:
        async with Context(variables=[COUNT]) as ctx:
            try:
                scope.cancel()
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await ctx.variables.set(COUNT, 7)
                    kept = [variable.value for variable in await ctx.variables.list()]

    assert scope.cancelled_caught and kept == [7]
    assert ctx.status is Status.CLOSED


async def test_a_crash_in_a_direct_delivery_tells_its_caller_and_leaves_the_block() -> None:
    with pytest.raises(ContextCrashed, match=r"crashed while serving 'add'") as caught:
        async with Context(backend=Broken, variables=[COUNT]) as ctx:
            await ctx.variables.add(COUNT, 1)

    assert caught.value.applied is None
    assert isinstance(caught.value.__cause__, OSError)
    assert (await ctx.wait_closed()).status is Status.CRASHED


async def test_a_crash_cancels_a_body_that_waits_for_something_else() -> None:
    with pytest.raises(ContextCrashed):
        async with Context(backend=Broken, variables=[COUNT]) as ctx, anyio.create_task_group() as group:

            async def elsewhere() -> None:
                with pytest.raises(ContextCrashed):
                    await ctx.variables.add(COUNT, 1)

            group.start_soon(elsewhere)
            await anyio.sleep_forever()


async def test_a_refusal_is_no_crash() -> None:
    async with Context(variables=[COUNT]) as ctx:
        with pytest.raises(dspex.InvalidValue):
            await ctx.variables.set(COUNT, "many")  # type: ignore[call-overload]

        with pytest.raises(ZeroDivisionError):
            await ctx.variables.update(COUNT, lambda n: n // 0)

        assert ctx.status is Status.RUNNING
        assert (await ctx.variables.info(COUNT)).version == 0


async def test_a_native_cancel_of_the_owner_by_a_stranger_is_a_crash(running_loop: Any) -> None:
    if running_loop() == "trio":
        pytest.skip("trio has no such cancel")

    with pytest.raises(ContextCrashed):
        async with Context(name="owned") as ctx:
            owner = next(task for task in asyncio.all_tasks() if "owner of owned" in task.get_name())
            await checkpoint()
            owner.cancel()
            await anyio.sleep_forever()

    assert ctx.status is Status.CRASHED


async def test_an_owner_that_a_stranger_cancels_before_its_first_step_keeps_nobody_waiting(running_loop: Any) -> None:
    if running_loop() == "trio":
        pytest.skip("trio has no such cancel")

    with anyio.fail_after(20), pytest.raises(asyncio.CancelledError):
        async with Context(name="owned") as ctx:
            next(task for task in asyncio.all_tasks() if "owner of owned" in task.get_name()).cancel()
            await anyio.sleep_forever()

    assert ctx.status is Status.CLOSED
    # Nobody has awaited it: Python would say so, in the middle of some other test.
    life: Any = ctx._inside.life
    life._owner.coro.close()


async def test_use_before_the_start_and_after_the_stop_says_so() -> None:
    ctx = Context(session_id="early")
    with pytest.raises(ContextClosed, match=r"'early' is not started\. Start it with 'async with'"):
        await ctx.variables.get("x")

    async with ctx:
        pass

    with pytest.raises(ContextClosed, match="'early' is closed"):
        await ctx.variables.get("x")

    with pytest.raises(ContextClosed, match="started once"):
        async with ctx:
            pass


async def test_start_and_stop_may_be_called_from_different_tasks() -> None:
    made: list[Context] = []

    async def starting() -> None:
        made.append(await Context.start(variables=[COUNT]))

    async with anyio.create_task_group() as group:
        group.start_soon(starting)

    ctx = made[0]
    assert await ctx.variables.add(COUNT, 2) == 2

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ctx.stop)

    assert ctx.status is Status.CLOSED
    await ctx.stop()


async def test_a_start_that_fails_raises_in_the_caller_and_leaves_nothing() -> None:
    async def init(ctx: Context) -> None:
        raise LookupError("no seed")

    with pytest.raises(LookupError, match="no seed"):
        await Context.start(name="half", init=init)

    with pytest.raises(NameNotFound):
        dspex.whereis("half")

    with pytest.raises(LookupError, match="no seed"):
        async with Context(name="half", init=init):
            pass


async def test_init_runs_before_anybody_finds_the_context() -> None:
    async def init(ctx: Context) -> None:
        with pytest.raises(NameNotFound):
            dspex.whereis("fresh")

        await ctx.variables.define("seeded", bool, True)

    async with Context(name="fresh", init=init) as ctx:
        assert dspex.whereis("fresh") is ctx
        assert await ctx.variables.get("seeded") is True


async def test_stop_inside_the_block_refuses_newcomers_and_the_block_goes_on() -> None:
    async with Context(variables=[COUNT]) as ctx:
        await ctx.stop()
        with pytest.raises(ContextClosed):
            await ctx.variables.get(COUNT)

        await checkpoint()


async def test_two_contexts_of_one_name_or_one_session_are_refused_with_the_holder() -> None:
    async with Context(name="chat", session_id="s1") as ctx:
        with pytest.raises(NameTaken, match=r"held by <Context 'chat' s1"):
            async with Context(name="chat"):
                pass

        with pytest.raises(SessionTaken, match=r"<Context 'chat' s1"):
            async with Context(session_id="s1"):
                pass

        assert dspex.whereis("chat") is ctx

    async with Context(name="chat", session_id="s1"):
        pass


async def test_a_name_is_free_five_times_in_a_row_after_failed_starts() -> None:
    class NeverOpens(LocalState):
        def open(self, session_id: str, *, ttl: float | None = None, existing: Any = None) -> None:
            raise OSError("no room")

    for _ in range(5):
        with pytest.raises(BackendInitError, match=r"NeverOpens failed to open: OSError: no room") as caught:
            async with Context(name="again", session_id="again", backend=NeverOpens):
                pass

        assert isinstance(caught.value.__cause__, OSError)


async def test_watches_end_with_the_context() -> None:
    async with Context(variables=[COUNT]) as ctx, anyio.create_task_group() as group:
        seen: list[int] = []
        ready = anyio.Event()

        async def watch() -> None:
            async with ctx.variables.watch(COUNT) as changes:
                ready.set()
                async for change in changes:
                    seen.append(change.value)

            seen.append(-1)

        group.start_soon(watch)
        await ready.wait()
        await ctx.variables.set(COUNT, 3)
        await ctx.stop()

    assert seen == [3, -1]


def test_an_unused_context_expires_within_a_quarter_more_of_its_ttl(run_virtually: Any) -> None:
    async def main() -> None:
        async with Context(ttl=40.0, variables=[COUNT]) as ctx:
            for _ in range(5):
                await anyio.sleep(30)
                await ctx.variables.add(COUNT, 1)

            used = anyio.current_time()
            reason = await ctx.wait_closed()
            assert 40.0 <= anyio.current_time() - used <= 50.0
            assert reason.status is Status.EXPIRED
            with pytest.raises(ContextExpired, match="unused for more than its ttl of 40 s"):
                await ctx.variables.get(COUNT)

    run_virtually(main)


def test_expiry_tells_watches_and_ends_a_started_context(run_virtually: Any) -> None:
    async def main() -> None:
        ctx = await Context.start(ttl=8.0, variables=[COUNT])
        with pytest.raises(ContextExpired):
            async with ctx.variables.watch() as changes:
                async for _ in changes:
                    pass

        await ctx.stop()
        assert ctx.status is Status.EXPIRED

    run_virtually(main)


def test_a_call_in_flight_is_a_use(run_virtually: Any) -> None:
    async def main() -> None:
        async def long() -> str:
            await anyio.sleep(100)
            return "done"

        async with Context(ttl=10.0) as ctx:
            bound = await ctx.register_program("long", long)
            assert await bound() == "done"

    run_virtually(main)


async def test_a_context_that_is_never_started_leaves_nothing_to_clean_up() -> None:
    import gc

    Context()
    gc.collect()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"ttl": 0}, "ttl: expected a positive, finite number of seconds or None, got 0"),
        ({"ttl": float("nan")}, "ttl: expected a positive"),
        ({"name": ""}, "name: expected a non-empty str or None, got ''"),
        ({"session_id": 3}, "session_id: expected a non-empty str or None, got 3"),
        ({"mailbox_size": 0}, "mailbox_size: expected an int of at least 1, got 0"),
        ({"existing_state": "{}"}, "existing_state: expected a Snapshot"),
        ({"bridge": 5}, "bridge: expected an open Bridge, the id of one under a supervisor, or None, got int"),
    ],
)
def test_options_that_cannot_be_are_refused_in_words(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        Context(**options)

    assert sentence in str(caught.value)


async def test_trio_system_task_hosts_let_nothing_out(running_loop: Any) -> None:
    if running_loop() != "trio":
        pytest.skip("trio's own")

    ctx = await Context.start(backend=Broken, variables=[COUNT])
    with pytest.raises(ContextCrashed):
        await ctx.variables.add(COUNT, 1)

    await ctx.stop()
    assert ctx.status is Status.CRASHED
    assert trio.lowlevel.in_trio_run()


async def test_start_asked_of_a_context_starts_that_one() -> None:
    ctx = Context(name="mine", variables=[COUNT])
    assert await ctx.start() is ctx
    assert dspex.whereis("mine") is ctx
    with pytest.raises(ContextClosed, match="started once"):
        await ctx.start()

    assert await ctx.variables.add(COUNT, 1) == 1
    await ctx.stop()


async def test_i14_stop_wait_closed_and_a_watch_from_another_loop_are_errors_not_hangs() -> None:
    async with Context(variables=[COUNT]) as ctx, ctx.variables.watch() as changes:
        caught: list[BaseException] = []

        def elsewhere() -> None:
            for function in (ctx.stop, ctx.wait_closed, changes.__anext__):
                try:
                    anyio.run(function)
                except WrongThread as error:
                    caught.append(error)

        await anyio.to_thread.run_sync(elsewhere)
        assert len(caught) == 3
        assert ctx.status is Status.RUNNING


async def test_i1_a_backend_object_serves_one_context_at_a_time() -> None:
    backend = LocalState()
    async with Context(backend=backend) as ctx:
        with pytest.raises(InvalidBackend, match=rf"this object serves <Context {ctx.id} .*> already; give each context one of its own"):
            async with Context(backend=backend):
                pass

    async with Context(backend=backend):
        pass


async def test_a_name_is_found_from_a_callback_of_the_loop_too(running_loop: Any) -> None:
    if running_loop() == "trio":
        pytest.skip("asyncio's prompt runs lines without await in callbacks")

    async with Context(name="prompt") as ctx:
        found: list[Any] = []
        done = anyio.Event()

        def line() -> None:
            found.append(dspex.whereis("prompt"))
            done.set()

        asyncio.get_running_loop().call_soon(line, context=contextvars.Context())
        await done.wait()
        assert found == [ctx]


def test_completion_shows_operations_and_not_what_other_rooms_use() -> None:
    shown = {name for name in dir(Context().variables) if not name.startswith("_")}
    assert shown == {
        *("get", "set", "update", "add", "append", "merge", "get_many", "set_many"),
        *("define", "ensure", "delete", "exists", "info", "list", "watch"),
    }
