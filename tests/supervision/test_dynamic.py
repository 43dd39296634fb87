"""DynamicSupervisor: many alike, started as needed, bounded, stopped at once; and the tasks of a task supervisor."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import TaskStatus
from supervision.cast import Boom, Cast, counts, forever, in_virtual_time, settled, states, values

from dspex import (
    ChildExists,
    ChildNotFound,
    ChildRunning,
    ChildSpec,
    DynamicSupervisor,
    Overloaded,
    RestartLimitReached,
    StartFailed,
    Supervisor,
    SupervisorClosed,
)

MANY = 10**9


async def test_it_can_be_supervised_directly_and_several_by_their_ids(cast: Cast) -> None:
    async with Supervisor([DynamicSupervisor.child_spec("one"), DynamicSupervisor.child_spec("two")], name="app") as top:
        one, two = (top.which_child(id).value for id in ("one", "two"))
        assert isinstance(one, DynamicSupervisor)
        await one.start_child(cast("a"))
        assert (states(one), states(two)) == ({"a": "running"}, {})
        assert one.which_child("a").path == "app/one/a"
        assert counts(top) == (2, 2, 2, 0)


async def test_an_id_that_is_taken_gets_a_number(cast: Cast) -> None:
    spec = ChildSpec("job", forever)
    async with DynamicSupervisor() as supervisor:
        assert [(await supervisor.start_child(spec)).id for _ in range(4)] == ["job", "job-2", "job-3", "job-4"]
        await supervisor.terminate_child("job")
        assert list(states(supervisor)) == ["job-2", "job-3", "job-4"]


async def test_an_id_in_use_under_its_number_is_not_given_twice(cast: Cast) -> None:
    async with DynamicSupervisor() as supervisor:
        await supervisor.start_child(ChildSpec("job-2", forever))
        await supervisor.start_child(ChildSpec("job", forever))
        assert (await supervisor.start_child(ChildSpec("job", forever))).id == "job-3"


async def test_each_is_restarted_alone(cast: Cast) -> None:
    async with DynamicSupervisor() as supervisor:
        for id in "abc":
            await supervisor.start_child(cast(id))

        await cast.crash("b")
        assert values(supervisor) == {"a": "a#1", "b": "b#2", "c": "c#1"}


@pytest.mark.parametrize("ends", ["finish", "crash"])
async def test_a_permanent_child_is_restarted_however_it_ended(cast: Cast, ends: str) -> None:
    async with DynamicSupervisor(max_restarts=MANY) as supervisor:
        for number in range(1, 4):
            await supervisor.start_child(cast(f"a{number}", "permanent"))
            await getattr(cast, ends)(f"a{number}")
            assert counts(supervisor) == (number, number, 0, number)


async def test_a_transient_child_is_restarted_unless_it_returned(cast: Cast) -> None:
    async with DynamicSupervisor() as supervisor:
        await supervisor.start_child(cast("a", "transient"))
        await cast.finish("a")
        assert counts(supervisor) == (0, 0, 0, 0)
        await supervisor.start_child(cast("a", "transient"))
        await cast.crash("a")
        assert counts(supervisor) == (1, 1, 0, 1)


@pytest.mark.parametrize("ends", ["finish", "crash"])
async def test_a_temporary_child_is_not_restarted_however_it_ended(cast: Cast, ends: str) -> None:
    async with DynamicSupervisor() as supervisor:
        await supervisor.start_child(cast("a", "temporary"))
        await getattr(cast, ends)("a")
        assert counts(supervisor) == (0, 0, 0, 0)


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_a_terminated_child_is_forgotten_and_cannot_be_restarted(cast: Cast, restart: Any) -> None:
    async with DynamicSupervisor() as supervisor:
        await supervisor.start_child(cast("a", restart))
        await supervisor.terminate_child("a")
        assert counts(supervisor) == (0, 0, 0, 0)
        await settled()
        assert cast["a"].lives == 1


async def test_arguments_are_given_with_a_partial_and_again_at_each_restart() -> None:
    told: list[str] = []

    async def work(greeting: str, *, name: str, task_status: TaskStatus[str]) -> None:
        told.append(f"{greeting} {name}")
        task_status.started(name)
        if len(told) == 1:
            raise Boom

        await anyio.sleep_forever()

    async with DynamicSupervisor() as supervisor:
        await supervisor.start_child(ChildSpec("a", functools.partial(work, "hello", name="world"), restart="transient"))
        await settled()
        assert told == ["hello world", "hello world"]
        assert values(supervisor) == {"a": "world"}


# --- the bound ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
async def test_with_a_bound_of_none_at_all_nothing_can_be_started(cast: Cast) -> None:
    async with DynamicSupervisor(max_children=0, name="app") as supervisor:
        with pytest.raises(Overloaded) as caught:
            await supervisor.start_child(cast("a"))

    assert cast.events == []
    assert caught.value.limit == 0
    assert str(caught.value) == "Supervisor 'app' is full: its bound of 0 is reached. Try again later, or raise the bound."


async def test_a_child_that_is_restarting_keeps_its_place(cast: Cast) -> None:
    async with DynamicSupervisor(max_children=1, max_restarts=MANY) as supervisor:
        await supervisor.start_child(cast("a"))
        cast["a"].broken = True
        await cast.crash("a")
        with pytest.raises(Overloaded):
            await supervisor.start_child(cast("b"))

        assert (counts(supervisor)[3], counts(supervisor)[1]) == (1, 0)


async def test_a_child_that_was_restarted_has_its_place_once(cast: Cast) -> None:
    async with DynamicSupervisor(max_children=2) as supervisor:
        await supervisor.start_child(cast("a"))
        await cast.crash("a")
        await supervisor.start_child(cast("b"))
        with pytest.raises(Overloaded):
            await supervisor.start_child(cast("c"))


async def test_of_many_who_start_at_once_exactly_as_many_succeed_as_there_is_room_for(cast: Cast) -> None:
    outcomes: list[str] = []
    async with DynamicSupervisor(max_children=7) as supervisor, anyio.create_task_group() as group:

        async def start(number: int) -> None:
            try:
                await supervisor.start_child(cast(f"a{number}", starts=[0.001]))
                outcomes.append("up")
            except Overloaded:
                outcomes.append("full")

        for number in range(20):
            group.start_soon(start, number)

    assert sorted(outcomes) == ["full"] * 13 + ["up"] * 7


async def test_a_failed_start_gives_its_place_back(cast: Cast) -> None:
    async with DynamicSupervisor(max_children=1) as supervisor:
        for _ in range(3):
            with pytest.raises(StartFailed):
                await supervisor.start_child(cast("a", starts=[Boom()]))

        await supervisor.start_child(cast("a"))


@in_virtual_time
async def test_a_cancelled_start_gives_its_place_back(cast: Cast) -> None:
    async with DynamicSupervisor(max_children=1) as supervisor:
        with anyio.move_on_after(1):
            await supervisor.start_child(cast("slow", starts=[10.0]))

        await supervisor.start_child(cast("a"))


async def test_a_place_is_free_as_soon_as_terminate_child_returns(cast: Cast) -> None:
    async with DynamicSupervisor(max_children=1) as supervisor:
        for number in range(20):
            await supervisor.start_child(cast(f"a{number}"))
            await supervisor.terminate_child(f"a{number}")

        assert counts(supervisor) == (0, 0, 0, 0)


async def test_a_place_is_free_when_a_child_has_ended(cast: Cast) -> None:
    async with DynamicSupervisor(max_children=1) as supervisor:
        await supervisor.start_child(cast("a", "temporary"))
        await cast.finish("a")
        await supervisor.start_child(cast("b"))


@in_virtual_time
async def test_an_overdue_child_still_has_its_place(cast: Cast) -> None:
    async with DynamicSupervisor(max_children=1) as supervisor, anyio.create_task_group() as group:
        await supervisor.start_child(cast("a", lingers=9.0, shutdown=1.0))
        group.start_soon(supervisor.terminate_child, "a")
        await anyio.sleep(5)
        with pytest.raises(Overloaded):
            await supervisor.start_child(cast("b"))

        await anyio.sleep(5)
        await supervisor.start_child(cast("b"))


# --- escalation -----------------------------------------------------------------------------------------------------------------------


async def test_one_whose_restart_always_fails_takes_the_healthy_along(cast: Cast) -> None:
    supervisor = DynamicSupervisor(max_restarts=5)
    with pytest.raises(RestartLimitReached):
        async with supervisor:
            await supervisor.start_child(cast("healthy"))
            await supervisor.start_child(cast("broken"))
            cast["broken"].broken = True
            await cast.crash("broken")
            await anyio.sleep_forever()

    assert cast.events[-1] == "healthy down"
    assert supervisor.ended_by == "limit"


async def test_under_a_supervisor_it_is_started_again_empty(cast: Cast) -> None:
    async with Supervisor([DynamicSupervisor.child_spec("many", max_restarts=0)]) as top:
        await top.which_child("many").value.start_child(cast("a"))
        await cast.crash("a")
        assert states(top) == {"many": "running"}
        assert states(top.which_child("many").value) == {}


async def test_a_significant_child_is_refused(cast: Cast) -> None:
    async with DynamicSupervisor() as supervisor:
        with pytest.raises(ValueError, match="significant"):
            await supervisor.start_child(cast("a", "temporary", significant=True))


# --- all stopped at once ----------------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_all_are_stopped_at_once_each_with_its_own_time(cast: Cast) -> None:
    async with DynamicSupervisor() as supervisor:
        await supervisor.start_child(cast("a", asked=3.0))
        await supervisor.start_child(cast("b", asked=60.0, shutdown=2.0))
        await supervisor.start_child(cast("c", lingers=1.0))
        await supervisor.start_child(cast("d"))
        cast.forget()

    assert sorted(cast.timed) == [
        (0.0, "a asked for good"),
        (0.0, "b asked for good"),
        (0.0, "c stopping"),
        (0.0, "d down"),
        (1.0, "c down"),
        (2.0, "b cut"),
        (3.0, "a down"),
    ]


@in_virtual_time
async def test_one_that_never_ends_is_overdue_and_named_while_the_others_are_gone(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    async with DynamicSupervisor(name="jobs") as supervisor:
        await supervisor.start_child(cast("good"))
        await supervisor.start_child(cast("bad", lingers=20.0, shutdown=1.0))

    assert anyio.current_time() == pytest.approx(20.0)
    assert "jobs/bad is overdue" in caplog.text
    assert "good" not in caplog.text


@in_virtual_time
async def test_one_that_is_being_terminated_when_all_are_stopped_is_waited_for(cast: Cast) -> None:
    async with DynamicSupervisor() as supervisor, anyio.create_task_group() as group:
        await supervisor.start_child(cast("a", lingers=5.0))
        group.start_soon(supervisor.terminate_child, "a")
        await anyio.sleep(1)
        await supervisor.stop()

    assert cast.timed[-1] == (5.0, "a down")


@in_virtual_time
async def test_ten_that_are_killed_brutally_are_down_at_once(cast: Cast) -> None:
    async with DynamicSupervisor() as supervisor:
        for number in range(10):
            await supervisor.start_child(cast(f"a{number}", shutdown="brutal_kill", asked=5.0))

    assert sorted(cast.timed[10:]) == [(0.0, f"a{number} down") for number in range(10)]


async def test_one_that_runs_or_is_restarting_can_be_neither_restarted_nor_deleted_by_hand(cast: Cast) -> None:
    async with DynamicSupervisor(max_restarts=MANY) as supervisor:
        await supervisor.start_child(cast("a"))
        for state in ("running", "restarting"):
            for refused in (supervisor.restart_child, supervisor.delete_child):
                with pytest.raises(ChildRunning) as caught:
                    await refused("a")

                assert caught.value.state in (state, "starting")

            cast["a"].broken = True
            if state == "running":
                await cast.crash("a")

        await supervisor.terminate_child("a")
        assert counts(supervisor) == (0, 0, 0, 0)


async def test_what_is_no_child_spec_is_refused_before_anything_is_called() -> None:
    async with DynamicSupervisor() as supervisor:
        for wrong in (forever, "a", None, Supervisor):
            with pytest.raises(TypeError, match="ChildSpec"):
                await supervisor.start_child(wrong)  # type: ignore[arg-type]

        assert counts(supervisor) == (0, 0, 0, 0)


async def test_a_dynamic_supervisor_that_does_not_run_refuses(cast: Cast) -> None:
    supervisor = DynamicSupervisor(name="jobs")
    with pytest.raises(SupervisorClosed) as before:
        await supervisor.start_child(cast("a"))

    async with supervisor:
        pass

    with pytest.raises(SupervisorClosed) as after:
        await supervisor.start_child(cast("a"))

    assert [str(caught.value) for caught in (before, after)] == ["Supervisor 'jobs' is not started.", "Supervisor 'jobs' is closed."]


async def test_in_the_background_it_starts_and_stops_like_any_other(cast: Cast) -> None:
    supervisor = await DynamicSupervisor.start(name="jobs")
    await supervisor.start_child(cast("a"))
    await supervisor.stop()
    assert cast.events == ["a up", "a down"]


# --- tasks ------------------------------------------------------------------------------------------------------------------------------


async def test_a_task_that_is_done_is_gone_and_was_listed_while_it_ran(cast: Cast) -> None:
    async with DynamicSupervisor() as supervisor:
        await supervisor.start_child(cast("task", "temporary"))
        assert states(supervisor) == {"task": "running"}
        await cast.finish("task")
        assert states(supervisor) == {}


async def test_a_task_that_fails_does_not_reach_who_started_it(cast: Cast) -> None:
    async with DynamicSupervisor(max_restarts=0) as supervisor:
        await supervisor.start_child(cast("task", "temporary"))
        await cast.crash("task")
        assert supervisor.status == "running"


async def test_a_task_outlives_who_started_it(cast: Cast) -> None:
    async with DynamicSupervisor() as supervisor:
        async with anyio.create_task_group() as group:
            group.start_soon(supervisor.start_child, cast("task", "temporary"))

        await settled()
        assert states(supervisor) == {"task": "running"}


async def test_a_task_may_be_permanent_and_then_runs_again(cast: Cast) -> None:
    async with DynamicSupervisor() as supervisor:
        await supervisor.start_child(cast("task", "permanent"))
        await cast.finish("task")
        assert values(supervisor) == {"task": "task#2"}


async def test_tasks_may_start_tasks(cast: Cast) -> None:
    supervisor = DynamicSupervisor(name="jobs")

    async def parent(depth: int) -> None:
        if depth:
            await supervisor.start_child(ChildSpec("task", lambda: parent(depth - 1), restart="temporary"))

        await anyio.sleep_forever()

    async with supervisor:
        await supervisor.start_child(ChildSpec("task", lambda: parent(4), restart="temporary"))
        await settled()
        assert list(states(supervisor)) == ["task", "task-2", "task-3", "task-4", "task-5"]


# --- scale --------------------------------------------------------------------------------------------------------------------------------


@contextmanager
def counted_calls() -> Iterator[Callable[[], int]]:
    """Gives how many functions were called: the same work in the same place is the same number, whatever the machine is at."""
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    former = sys.getprofile()
    sys.setprofile(count)
    try:
        yield lambda: calls
    finally:
        sys.setprofile(former)


async def calls_for(count: int, *, ids: str) -> int:
    async with DynamicSupervisor() as supervisor:
        with counted_calls() as calls:
            for number in range(count):
                await supervisor.start_child(ChildSpec(ids.format(number), forever, restart="temporary"))

            for info in supervisor.which_children():
                await supervisor.terminate_child(info.id)

            return calls()


@pytest.mark.parametrize("ids", ["job-{}", "job"], ids=["each its own id", "one id for all"])
async def test_starting_and_terminating_ten_times_as_many_is_ten_times_the_work(ids: str) -> None:
    assert 9 < await calls_for(1000, ids=ids) / await calls_for(100, ids=ids) < 11


async def test_a_static_supervisor_still_tells_a_taken_id(cast: Cast) -> None:
    async with Supervisor([cast("job")]) as supervisor:
        with pytest.raises(ChildExists):
            await supervisor.start_child(ChildSpec("job", forever))


async def test_a_child_of_another_dynamic_supervisor_is_not_found(cast: Cast) -> None:
    async with DynamicSupervisor() as one, DynamicSupervisor() as other:
        await one.start_child(cast("a"))
        with pytest.raises(ChildNotFound):
            await other.terminate_child("a")
