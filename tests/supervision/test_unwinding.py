"""
I12: whatever ends the block, the children are stopped in order, nothing is left, and it comes out as itself.

Also I14 in part: who waits for the tree is told.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from supervision import alone
from supervision.cast import Boom, Cast, in_virtual_time, settled, states

from dspex import ChildSpec, DynamicSupervisor, Supervisor

ON_ASYNCIO = pytest.mark.parametrize("anyio_backend", [("asyncio", {}), ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"])


async def test_i12_an_exception_of_the_body_comes_out_as_itself_after_the_children_have_stopped(cast: Cast) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        async with Supervisor([cast("a"), cast("b")]) as supervisor:
            raise ZeroDivisionError("mine")

    assert type(caught.value) is ZeroDivisionError
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert cast.events == ["a up", "b up", "b down", "a down"]
    assert supervisor.ended_by == "error"


async def test_i12_a_group_of_the_body_comes_out_as_it_is(cast: Cast) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with Supervisor([cast("a")]):
            raise ExceptionGroup("two", [ValueError(1), TypeError(2)])

    assert [type(error) for error in caught.value.exceptions] == [ValueError, TypeError]


async def test_i12_also_when_an_outer_scope_is_cancelled_meanwhile(cast: Cast) -> None:
    with anyio.CancelScope() as scope:
        with pytest.raises(ZeroDivisionError):
            async with Supervisor([cast("a")]):
                scope.cancel()
                raise ZeroDivisionError


async def test_i12_also_when_children_raise_as_they_are_stopped(cast: Cast) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Supervisor([cast("a", last_words=Boom()), cast("b", last_words=Boom())]):
            raise ZeroDivisionError


async def test_i12_also_when_the_limit_was_reached_meanwhile(cast: Cast) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Supervisor([cast("a")], max_restarts=0) as supervisor:
            with anyio.CancelScope(shield=True):
                await cast.crash("a")
                assert supervisor.ended_by == "limit"
                raise ZeroDivisionError


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()], ids=repr)
async def test_i12_so_do_those_that_are_no_exceptions(cast: Cast, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        async with Supervisor([cast("a"), cast("b")]):
            raise error

    assert caught.value is error
    assert cast.events == ["a up", "b up", "b down", "a down"]


@in_virtual_time
async def test_a_timeout_around_the_whole_tree_stops_it_in_order_and_is_a_timeout(cast: Cast) -> None:
    with pytest.raises(TimeoutError):
        with anyio.fail_after(5):
            async with Supervisor([cast("a", lingers=1.0), cast("b", asked=2.0), cast("c")]):
                await anyio.sleep_forever()

    assert cast.timed[3:] == [
        (5.0, "c down"),
        (5.0, "b asked for good"),
        (7.0, "b down"),
        (7.0, "a stopping"),
        (8.0, "a down"),
    ]


@in_virtual_time
async def test_move_on_after_around_the_whole_tree_moves_on(cast: Cast) -> None:
    with anyio.move_on_after(5) as scope:
        async with Supervisor([cast("a")]) as supervisor:
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert (supervisor.status, supervisor.ended_by) == ("closed", "error")


@in_virtual_time
async def test_a_cancelled_group_that_holds_the_tree_ends_with_it(cast: Cast) -> None:
    async def app() -> None:
        async with Supervisor([cast("a"), cast("b")]):
            await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(app)
        await anyio.sleep(1)
        group.cancel_scope.cancel()

    assert cast.events == ["a up", "b up", "b down", "a down"]


async def test_a_crash_beside_the_tree_takes_it_down_in_order_and_is_the_only_error(cast: Cast) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group:

            async def app() -> None:
                async with Supervisor([cast("a"), cast("b")]):
                    await anyio.sleep_forever()

            group.start_soon(app)
            await settled()
            raise Boom("beside")

    [error] = caught.value.exceptions
    assert str(error) == "beside"
    assert cast.events == ["a up", "b up", "b down", "a down"]


@in_virtual_time
async def test_a_second_cancellation_while_it_stops_changes_nothing(cast: Cast) -> None:
    with anyio.CancelScope() as outer:
        with anyio.CancelScope() as inner:
            async with anyio.create_task_group() as group:

                async def again() -> None:
                    with anyio.CancelScope(shield=True):
                        await anyio.sleep(2)
                        outer.cancel()

                group.start_soon(again)
                async with Supervisor([cast("a", lingers=3.0), cast("b", lingers=3.0)]):
                    await anyio.sleep(1)
                    inner.cancel()
                    await anyio.sleep_forever()

    assert cast.timed[2:] == [(1.0, "b stopping"), (4.0, "b down"), (4.0, "a stopping"), (7.0, "a down")]


async def test_a_body_that_returns_from_within_the_block_returns(cast: Cast) -> None:
    async def app() -> str:
        async with Supervisor([cast("a")]):
            return "the answer"

    assert await app() == "the answer"
    assert cast.events == ["a up", "a down"]


async def test_the_clean_up_of_the_body_still_has_the_children(cast: Cast) -> None:
    seen: list[Any] = []
    with anyio.CancelScope() as scope:
        async with Supervisor([cast("a")]) as supervisor:
            try:
                scope.cancel()
                await anyio.sleep_forever()
            finally:
                seen.append(states(supervisor))

    assert seen == [{"a": "running"}]


@in_virtual_time
async def test_a_shielded_clean_up_of_the_body_may_still_start_children(cast: Cast) -> None:
    with anyio.CancelScope() as scope:
        async with Supervisor([cast("a")]) as supervisor:
            try:
                scope.cancel()
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await supervisor.start_child(cast("b", starts=[1.0]))

    assert cast.events == ["a up", "b starts", "b up", "b down", "a down"]


async def test_trees_beside_each_other_unwind_each_in_its_order(cast: Cast) -> None:
    with anyio.CancelScope() as scope:
        async with Supervisor([cast("a"), cast("b")]), Supervisor([cast("c"), cast("d")]):
            scope.cancel()
            await anyio.sleep_forever()

    assert cast.events[4:] == ["d down", "c down", "b down", "a down"]


async def test_a_dynamic_supervisor_unwinds_in_the_same_way(cast: Cast) -> None:
    with pytest.raises(ZeroDivisionError):
        async with DynamicSupervisor() as supervisor:
            await supervisor.start_child(cast("a"))
            raise ZeroDivisionError

    with anyio.CancelScope() as scope:
        async with DynamicSupervisor() as supervisor:
            await supervisor.start_child(cast("a"))
            scope.cancel()
            await anyio.sleep_forever()

    assert cast.events == ["a up", "a down"] * 2


async def test_a_cancellation_is_never_taken_for_a_crash(cast: Cast) -> None:
    """The supervisor has no restart to give, so one cancellation that was mistaken would be RestartLimitReached."""
    for _ in range(10):
        with anyio.CancelScope() as scope:
            async with Supervisor([cast("a"), cast("b")], max_restarts=0) as supervisor:
                scope.cancel()
                await anyio.sleep_forever()

        assert supervisor.ended_by == "error"
        assert [cast[id].lives for id in "ab"] == [1, 1]


# --- interrupts -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt("from within"), SystemExit(3)], ids=repr)
async def test_an_interrupt_out_of_a_child_ends_the_tree_in_order_and_comes_out_as_itself(cast: Cast, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        async with Supervisor([cast("a"), cast("b"), cast("c")]) as supervisor:
            cast.forget()
            await cast.crash("b", error=error)
            await anyio.sleep_forever()

    assert caught.value is error
    assert cast.events == ["b crashes", "c down", "a down"]
    assert supervisor.ended_by == "error"


async def test_an_interrupt_out_of_a_child_is_told_as_its_end(cast: Cast) -> None:
    error = SystemExit(3)
    told: list[Any] = []
    with pytest.raises(SystemExit):
        async with Supervisor([cast("a", on_change=lambda state, why: told.append((state, why)))]):
            await cast.crash("a", error=error)
            await anyio.sleep_forever()

    assert told[2] == ("stopped", error)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
async def test_an_interrupt_out_of_a_start_is_no_failed_start(cast: Cast, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        async with Supervisor([cast("a"), cast("b", starts=[error]), cast("c")]):
            pytest.fail("the body must not run")

    assert caught.value is error
    assert cast.events == ["a up", "b fails", "a down"]


async def test_an_interrupt_out_of_a_leaf_climbs_through_all_levels(cast: Cast) -> None:
    error = SystemExit(4)
    inner = Supervisor.child_spec("inner", [cast("b"), cast("c")])
    with pytest.raises(SystemExit) as caught:
        async with Supervisor([cast("a"), inner, cast("d")]):
            cast.forget()
            await cast.crash("b", error=error)
            await anyio.sleep_forever()

    assert caught.value is error
    assert cast.events == ["b crashes", "c down", "d down", "a down"]


# --- a native Task.cancel() ---------------------------------------------------------------------------------------------------------------


@ON_ASYNCIO
async def test_a_native_cancel_of_the_host_task_is_a_stop(cast: Cast) -> None:
    async def app() -> None:
        async with Supervisor([cast("a"), cast("b")]):
            await asyncio.sleep(3600)

    task = asyncio.create_task(app())
    await settled()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert task.cancelled()
    assert cast.events == ["a up", "b up", "b down", "a down"]


@ON_ASYNCIO
async def test_a_native_cancel_while_it_starts_stops_what_has_started(cast: Cast) -> None:
    async def app() -> None:
        async with Supervisor([cast("a"), cast("b", starts=[3600.0])]):
            pytest.fail("the body must not run")

    task = asyncio.create_task(app())
    await settled()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert cast.events == ["a up", "b starts", "b gives up", "a down"]


@ON_ASYNCIO
async def test_native_cancels_again_and_again_while_it_stops_cut_nothing_short(cast: Cast) -> None:
    async def app() -> None:
        async with Supervisor([cast("a", refuses=True), cast("b", refuses=True)]):
            await asyncio.sleep(3600)

    task = asyncio.create_task(app())
    await settled()
    for id in ("b", "a"):
        for _ in range(50):
            task.cancel()
            await asyncio.sleep(0)

        assert cast.events[-1] == f"{id} stopping"
        cast[id].released.set()

    while not task.done():
        task.cancel()
        await asyncio.sleep(0)

    assert task.cancelled()
    assert cast.events == ["a up", "b up", "b stopping", "b down", "a stopping", "a down"]


@ON_ASYNCIO
async def test_a_native_cancel_of_the_background_host_is_a_stop(cast: Cast) -> None:
    supervisor = await Supervisor.start([cast("a"), cast("b")], name="app")
    [host] = [task for task in asyncio.all_tasks() if task.get_name() == "dspex app"]
    host.cancel()
    await settled()
    await supervisor.wait()
    assert cast.events == ["a up", "b up", "b down", "a down"]
    assert supervisor.status == "closed"


@ON_ASYNCIO
async def test_a_native_timeout_around_the_tree_is_a_timeout(cast: Cast) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as limit, Supervisor([cast("a"), cast("b")]):
            limit.reschedule(asyncio.get_running_loop().time())
            await asyncio.sleep(3600)

    assert cast.events == ["a up", "b up", "b down", "a down"]


@ON_ASYNCIO
async def test_a_native_task_group_around_the_tree_tells_only_its_own_error(cast: Cast) -> None:
    async def app() -> None:
        async with Supervisor([cast("a")]):
            await asyncio.sleep(3600)

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(app())
            await settled()
            raise Boom

    assert [type(error) for error in caught.value.exceptions] == [Boom]
    assert cast.events == ["a up", "a down"]


@ON_ASYNCIO
async def test_a_native_cancel_of_every_task_there_is_leaves_nothing(cast: Cast) -> None:
    """As asyncio.run() does at its end, and a REPL."""
    supervisor = await Supervisor.start([cast("a"), cast("b"), Supervisor.child_spec("inner", [cast("c")])])
    us = asyncio.current_task()
    for task in asyncio.all_tasks():
        if task is not us and not getattr(task.get_coro(), "__qualname__", "").startswith("TestRunner."):
            task.cancel()

    with anyio.fail_after(10):
        await supervisor.wait()

    await settled()
    assert cast.alive == []
    assert supervisor.status == "closed"


# --- by itself, in a process of its own -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["asyncio", "uvloop", "trio"])
def on_its_own(request: pytest.FixtureRequest) -> Callable[..., alone.Story]:
    """Runs a scene of `alone` in a real process and gives what it wrote and how it ended."""
    return lambda scene, *signals: alone.tell(scene, request.param, *signals)


def test_ctrl_c_in_a_real_process_stops_the_children_in_order(on_its_own: Callable[..., alone.Story]) -> None:
    story = on_its_own("block", "SIGINT")

    assert story.events == ["a up", "b up", "c up", "ready", "c down", "b down", "a down"]
    assert story.code in (-2, 130, 1)
    assert story.last_words.endswith("KeyboardInterrupt")


def test_system_exit_out_of_a_child_in_a_real_process_is_its_exit_code(on_its_own: Callable[..., alone.Story]) -> None:
    story = on_its_own("exits")

    assert story.events == ["a up", "b up", "c up", "b exits", "c down", "a down"]
    assert story.code == 3
    assert story.last_words == ""


def test_a_loop_that_ends_without_stop_takes_a_background_tree_down_without_noise(on_its_own: Callable[..., alone.Story]) -> None:
    story = on_its_own("left_behind")

    assert story.code == 0
    assert story.last_words == ""
    assert story.events[:4] == ["a up", "b up", "c up", "ready"]
    assert sorted(story.events[4:]) == ["a down", "b down", "c down"]


def test_the_interpreter_that_runs_them_is_this_one() -> None:
    assert subprocess.run([sys.executable, "-c", "import dspex"], env=alone.environment(), check=False).returncode == 0


async def test_an_interrupt_under_a_supervisor_started_beside_is_raised_where_its_end_is_waited_for_on_trio(running_loop) -> None:
    if running_loop() != "trio":
        pytest.skip("asyncio lets an interrupt out of its loop at once")

    cue = anyio.Event()

    async def child() -> None:
        await cue.wait()
        raise SystemExit(3)

    supervisor = await Supervisor.start([ChildSpec("a", child)])
    cue.set()
    with pytest.raises(SystemExit) as caught:
        await supervisor.wait()

    assert caught.value.code == 3
    await supervisor.stop()
    assert supervisor.status == "closed"
