"""How children are stopped: asked, given their time, cancelled, and gone past when they don't end."""

from __future__ import annotations

import math
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from supervision.cast import Boom, Cast, in_virtual_time, settled, states

from dspex import CallCycle, ChildSpec, DynamicSupervisor, Supervisor, SupervisorClosed


@in_virtual_time
async def test_a_child_with_no_time_limit_is_waited_for(cast: Cast) -> None:
    async with Supervisor([cast("a", lingers=3600.0, shutdown=math.inf)]):
        pass

    assert cast.timed == [(0.0, "a up"), (0.0, "a stopping"), (3600.0, "a down")]


@in_virtual_time
async def test_a_child_with_a_stop_function_and_no_time_limit_is_never_cancelled(cast: Cast) -> None:
    async with Supervisor([cast("a", asked=3600.0, shutdown=math.inf)]):
        pass

    assert cast.timed[1:] == [(0.0, "a asked for good"), (3600.0, "a down")]


async def test_a_child_without_a_stop_function_is_cancelled_at_once(cast: Cast) -> None:
    async with Supervisor([cast("a")]):
        pass

    assert cast.events == ["a up", "a down"]


@in_virtual_time
async def test_a_child_that_ends_within_its_time_is_not_cancelled(cast: Cast) -> None:
    async with Supervisor([cast("a", asked=4.9, shutdown=5.0)]):
        pass

    assert cast.timed[1:] == [(0.0, "a asked for good"), (4.9, "a down")]


@in_virtual_time
async def test_a_child_that_does_not_end_within_its_time_is_cancelled(cast: Cast) -> None:
    async with Supervisor([cast("a", asked=60.0, shutdown=5.0)]):
        pass

    assert cast.timed[1:] == [(0.0, "a asked for good"), (5.0, "a cut")]


@in_virtual_time
async def test_brutal_kill_cancels_at_once_and_asks_nothing(cast: Cast) -> None:
    async with Supervisor([cast("a", asked=1.0, shutdown="brutal_kill")]):
        pass

    assert cast.timed == [(0.0, "a up"), (0.0, "a down")]


@pytest.mark.parametrize("shutdown", [0, 0.5, 1000, "brutal_kill"])
async def test_a_child_that_obeys_is_down_whatever_its_time(cast: Cast, shutdown: Any) -> None:
    async with Supervisor() as supervisor:
        await supervisor.start_child(cast("a", shutdown=shutdown))
        await supervisor.terminate_child("a")
        assert cast.events == ["a up", "a down"]


@in_virtual_time
async def test_graces_add_up_in_a_static_supervisor(cast: Cast) -> None:
    async with Supervisor([cast("a", lingers=2.0), cast("b", lingers=3.0)]):
        pass

    assert anyio.current_time() == pytest.approx(5.0)


@in_virtual_time
async def test_graces_run_side_by_side_in_a_dynamic_supervisor(cast: Cast) -> None:
    async with DynamicSupervisor() as supervisor:
        for number in range(10):
            await supervisor.start_child(cast(f"a{number}", lingers=float(number)))

    assert anyio.current_time() == pytest.approx(9.0)


@in_virtual_time
async def test_stopping_goes_on_past_an_overdue_child_and_the_block_ends_when_it_is_gone(cast: Cast) -> None:
    children = [cast("a"), cast("b", lingers=30.0, shutdown=2.0), cast("c"), cast("d")]
    async with Supervisor(children):
        cast.forget()

    assert cast.timed == [(0.0, "d down"), (0.0, "c down"), (0.0, "b stopping"), (2.0, "a down"), (30.0, "b down")]
    assert anyio.current_time() == pytest.approx(30.0)


@in_virtual_time
async def test_the_block_does_not_end_before_the_last_child_is_gone(cast: Cast) -> None:
    async with Supervisor([cast("a", refuses=True, shutdown=1.0)]) as supervisor, anyio.create_task_group() as group:

        async def let_go() -> None:
            await anyio.sleep(500)
            assert states(supervisor) == {"a": "overdue"}
            assert supervisor.status == "stopping"
            cast["a"].released.set()

        group.start_soon(let_go)
        await supervisor.stop()

    assert cast.timed[-1] == (500.0, "a down")


@in_virtual_time
async def test_terminate_child_returns_only_when_the_child_is_really_gone(cast: Cast) -> None:
    async with Supervisor([cast("a", lingers=90.0, shutdown=1.0)]) as supervisor:
        await supervisor.terminate_child("a")
        assert anyio.current_time() == pytest.approx(90.0)
        assert states(supervisor) == {"a": "stopped"}


@in_virtual_time
async def test_mixed_children_go_polite_and_overdue(cast: Cast) -> None:
    async with DynamicSupervisor() as supervisor:
        await supervisor.start_child(cast("polite", shutdown=1.0))
        await supervisor.start_child(cast("deaf", lingers=10.0, shutdown=1.0))
        await supervisor.start_child(cast("patient", lingers=3.0, shutdown=math.inf))
        await supervisor.start_child(cast("brutal", shutdown="brutal_kill"))
        cast.forget()

    assert {event for _, event in cast.timed[:4]} == {"polite down", "deaf stopping", "patient stopping", "brutal down"}
    assert cast.timed[4:] == [(3.0, "patient down"), (10.0, "deaf down")]


async def test_a_cleanup_without_a_shield_is_cancelled_where_it_waits() -> None:
    told: list[str] = []

    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            told.append("cleaning")
            await anyio.lowlevel.checkpoint()
            told.append("never reached")

    async with Supervisor([ChildSpec("a", child)]):
        pass

    assert told == ["cleaning"]


async def test_a_child_that_swallows_the_cancellation_is_cancelled_at_each_wait_and_ends() -> None:
    swallowed: list[int] = []

    async def child() -> None:
        for _ in range(5):
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                swallowed.append(1)

    async with Supervisor([ChildSpec("a", child)]):
        pass

    assert len(swallowed) == 5


async def test_what_children_raise_as_they_are_stopped_is_told_in_the_log_and_not_raised(
    cast: Cast, caplog: pytest.LogCaptureFixture
) -> None:
    async with Supervisor([cast("a", last_words=Boom("no flush")), cast("b", last_words=Boom("no close"))], name="app") as supervisor:
        pass

    assert supervisor.ended_by == "stop"
    assert [record.getMessage() for record in caplog.records] == [
        "app/b raised as it was stopped: Boom: no close",
        "app/a raised as it was stopped: Boom: no flush",
    ]


async def test_the_same_in_a_dynamic_supervisor(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    async with DynamicSupervisor() as supervisor:
        for number in range(3):
            await supervisor.start_child(cast(f"a{number}", last_words=Boom()))

    assert supervisor.ended_by == "stop"
    assert len(caplog.records) == 3


async def test_a_permanent_child_that_ends_normally_as_it_is_stopped_is_not_started_again(cast: Cast) -> None:
    async with DynamicSupervisor() as supervisor:
        for number in range(3):
            await supervisor.start_child(cast(f"a{number}", "permanent", swallows=True))

    assert [cast[f"a{number}"].lives for number in range(3)] == [1, 1, 1]


async def test_a_child_that_crashes_while_its_siblings_are_stopped_is_not_started_again(cast: Cast) -> None:
    async with Supervisor([cast("a"), cast("b", last_words=Boom())]):
        cast.forget()
        cast["a"].take_cue(Boom())

    assert sorted(cast.events) == ["a crashes", "b down"]


async def test_a_stop_function_may_be_async() -> None:
    told: list[Any] = []
    bell = anyio.Event()

    async def stop(final: bool) -> None:
        await anyio.lowlevel.checkpoint()
        told.append(final)
        bell.set()

    async def child() -> None:
        await bell.wait()
        told.append("down")

    async with Supervisor([ChildSpec("a", child, stop=stop)]):
        pass

    assert told == [True, "down"]


async def test_a_stop_function_that_fails_is_told_and_the_child_is_cancelled(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    def stop(final: bool) -> None:
        raise Boom("no bell")

    async with Supervisor([cast("a", stop=stop)], name="app"):
        pass

    assert cast.events == ["a up", "a down"]
    assert "app/a: its stop function failed; it is cancelled instead" in caplog.text


@in_virtual_time
async def test_a_stop_function_that_hangs_costs_the_childs_own_time_and_no_more(cast: Cast) -> None:
    async def stop(final: bool) -> None:
        await anyio.sleep_forever()

    async with Supervisor([cast("a", stop=stop, shutdown=3.0)]):
        pass

    assert cast.timed == [(0.0, "a up"), (3.0, "a down")]


async def test_stop_may_be_called_twice_and_by_many_and_all_wait_for_the_one_end(cast: Cast) -> None:
    supervisor = await Supervisor.start([cast("a", lingers=0.01)])
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(supervisor.stop)

    assert cast.events == ["a up", "a stopping", "a down"]
    await supervisor.stop()
    assert supervisor.status == "closed"


async def test_stopping_what_was_never_started_does_nothing() -> None:
    supervisor = Supervisor()
    await supervisor.stop()
    assert supervisor.status == "new"


async def test_waiting_for_what_was_never_started_is_an_error() -> None:
    with pytest.raises(SupervisorClosed, match="not started"):
        await Supervisor(name="app").wait()


async def test_stop_inside_the_block_stops_the_children_and_leaves_the_body_alone(cast: Cast) -> None:
    async with Supervisor([cast("a")]) as supervisor:
        await supervisor.stop()
        assert cast.events == ["a up", "a down"]
        cast.record("the body goes on")

    assert cast.events[-1] == "the body goes on"
    assert supervisor.ended_by == "stop"


async def test_wait_returns_when_it_is_over(cast: Cast) -> None:
    async with anyio.create_task_group() as group:
        supervisor = await Supervisor.start([cast("a")])

        async def watch() -> None:
            await supervisor.wait()
            cast.record("over")

        group.start_soon(watch)
        await settled()
        assert cast.events == ["a up"]
        await supervisor.stop()

    assert cast.events == ["a up", "a down", "over"]


@pytest.mark.parametrize("what", ["stop", "wait"])
async def test_a_child_that_awaits_the_end_of_its_own_supervisor_gets_a_call_cycle(what: str) -> None:
    told: list[CallCycle] = []
    supervisor = Supervisor(name="app")

    async def child() -> None:
        try:
            await getattr(supervisor, what)()
        except CallCycle as cycle:
            told.append(cycle)

        await anyio.sleep_forever()

    async with supervisor:
        await supervisor.start_child(ChildSpec("a", child))
        await settled()
        assert supervisor.status == "running"

    [cycle] = told
    assert cycle.chain == ["app/a", f"app.{what}()"]
    assert str(cycle) == f"A child of supervisor 'app' can't wait for its end. The chain: app/a -> app.{what}()."


async def test_also_from_deep_below(cast: Cast) -> None:
    told: list[CallCycle] = []
    top = Supervisor(name="app")

    async def leaf() -> None:
        try:
            await top.stop()
        except CallCycle as cycle:
            told.append(cycle)

        await anyio.sleep_forever()

    async with top:
        await top.start_child(Supervisor.child_spec("inner", [ChildSpec("leaf", leaf)]))
        await settled()

    assert told[0].chain == ["app/inner", "app/inner/leaf", "app.stop()"]


async def test_a_child_may_terminate_itself_and_is_cancelled(cast: Cast) -> None:
    async with Supervisor([], name="app") as supervisor:

        async def child() -> None:
            try:
                await supervisor.terminate_child("a")
            except anyio.get_cancelled_exc_class():
                cast.record("cancelled")
                raise

            cast.record("never reached")

        await supervisor.start_child(ChildSpec("a", child))
        await settled()
        assert states(supervisor) == {"a": "stopped"}

    assert cast.events == ["cancelled"]


async def test_a_child_may_terminate_a_sibling(cast: Cast) -> None:
    async with Supervisor([cast("victim")]) as supervisor:

        async def child() -> None:
            await supervisor.terminate_child("victim")
            await anyio.sleep_forever()

        await supervisor.start_child(ChildSpec("a", child))
        await settled()
        assert states(supervisor) == {"victim": "stopped", "a": "running"}


async def test_two_children_that_terminate_each_other_both_stop() -> None:
    bell = anyio.Event()
    async with Supervisor() as supervisor:

        async def child(other: str) -> None:
            await bell.wait()
            await supervisor.terminate_child(other)

        await supervisor.start_child(ChildSpec("a", lambda: child("b")))
        await supervisor.start_child(ChildSpec("b", lambda: child("a")))
        await settled()
        bell.set()
        await settled()
        assert states(supervisor) == {"a": "stopped", "b": "stopped"}


@in_virtual_time
async def test_a_cancelled_terminate_child_leaves_the_child_stopping(cast: Cast) -> None:
    async with Supervisor([cast("a", lingers=4.0)]) as supervisor:
        with anyio.move_on_after(1) as scope:
            await supervisor.terminate_child("a")

        assert scope.cancelled_caught
        assert states(supervisor) == {"a": "stopping"}
        await anyio.sleep(5)
        assert states(supervisor) == {"a": "stopped"}


async def test_every_change_of_a_child_is_told_in_the_step_in_which_it_happens(cast: Cast) -> None:
    told: list[tuple[str, Any]] = []
    boom = Boom("once")
    spec = cast("a", on_change=lambda state, error: told.append((state, error)))
    async with Supervisor([spec]) as supervisor:
        await cast.crash("a", error=boom)
        await supervisor.terminate_child("a")
        await supervisor.restart_child("a")

    assert told == [
        ("starting", None),
        ("running", None),
        ("restarting", boom),
        ("starting", None),
        ("running", None),
        ("stopping", None),
        ("stopped", None),
        ("starting", None),
        ("running", None),
        ("stopping", None),
        ("gone", None),
    ]


@in_virtual_time
async def test_overdue_is_a_change_that_is_told(cast: Cast) -> None:
    told: list[str] = []
    async with Supervisor([cast("a", lingers=9.0, shutdown=1.0, on_change=lambda state, _: told.append(state))]):
        pass

    assert told == ["starting", "running", "stopping", "overdue", "gone"]


async def test_a_coroutine_that_on_change_gives_is_run_before_the_supervisor_ends(cast: Cast) -> None:
    async def note(state: str) -> None:
        await anyio.lowlevel.checkpoint()
        cast.record(f"noted {state}")

    async with Supervisor([cast("a", on_change=lambda state, _: note(state) if state == "gone" else None)]):
        pass

    assert cast.events == ["a up", "a down", "noted gone"]


async def test_an_on_change_that_fails_harms_nobody(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    def broken(state: str, error: BaseException | None) -> None:
        raise Boom(state)

    async with Supervisor([cast("a", on_change=broken)], name="app") as supervisor:
        await cast.crash("a")
        assert states(supervisor) == {"a": "running"}

    assert "app/a: its on_change function failed at 'running'" in caplog.text


async def test_a_child_that_is_still_starting_is_cancelled_and_not_asked(cast: Cast) -> None:
    async with Supervisor([cast("a")]) as supervisor, anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(SupervisorClosed) as caught:
                await supervisor.start_child(cast("b", starts=[3600.0], asked=1.0))

            cast.record(type(caught.value).__name__)

        group.start_soon(start)
        await settled()
        await supervisor.stop()

    assert sorted(cast.events) == ["SupervisorClosed", "a down", "a up", "b gives up", "b starts"]
