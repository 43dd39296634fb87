"""start_child, terminate_child, restart_child, delete_child: what each does in each state, and what it says when it can't."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from supervision.cast import IGNORE, Boom, Cast, counts, forever, in_virtual_time, settled, states, values

from dspex import (
    CallCycle,
    ChildExists,
    ChildNotFound,
    ChildRunning,
    ChildSpec,
    DynamicSupervisor,
    StartFailed,
    Supervisor,
    SupervisorClosed,
)


async def test_the_life_cycle_of_a_child(cast: Cast) -> None:
    spec = cast("a")
    async with Supervisor(name="app") as supervisor:
        assert (await supervisor.start_child(spec)).state == "running"
        with pytest.raises(ChildRunning):
            await supervisor.delete_child("a")

        await supervisor.terminate_child("a")
        assert states(supervisor) == {"a": "stopped"}
        assert (await supervisor.restart_child("a")).value == "a#2"
        await supervisor.terminate_child("a")
        await supervisor.delete_child("a")
        assert states(supervisor) == {}
        assert (await supervisor.start_child(spec)).value == "a#3"


async def test_what_start_child_gives_is_all_that_is_known_of_the_child(cast: Cast) -> None:
    async with Supervisor(name="app", max_restarts=7, max_seconds=9) as supervisor:
        info = await supervisor.start_child(cast("a", "transient"))
        assert info == supervisor.which_child("a")
        assert (info.id, info.state, info.restart, info.value, info.path) == ("a", "running", "transient", "a#1", "app/a")
        assert (info.restarts, info.allowed, info.significant, info.kind, info.error) == (0, 7, False, "worker", None)


async def test_starting_an_id_that_runs_is_refused_and_says_so(cast: Cast) -> None:
    async with Supervisor([cast("a")], name="app") as supervisor:
        with pytest.raises(ChildExists) as caught:
            await supervisor.start_child(ChildSpec("a", forever))

        assert str(caught.value) == "Supervisor 'app' has a child 'a' already, which is running. Choose another id."
        assert (caught.value.child, caught.value.state, caught.value.supervisor) == ("a", "running", "app")
        assert values(supervisor) == {"a": "a#1"}


async def test_starting_an_id_that_is_stopped_is_refused_and_says_what_to_do(cast: Cast) -> None:
    async with Supervisor([cast("a")], name="app") as supervisor:
        await supervisor.terminate_child("a")
        with pytest.raises(ChildExists) as caught:
            await supervisor.start_child(ChildSpec("a", forever))

        assert str(caught.value) == (
            "Supervisor 'app' has a child 'a' already, which is stopped. restart_child() starts it again, delete_child() makes room."
        )
        assert caught.value.state == "stopped"


@in_virtual_time
async def test_starting_an_id_that_is_being_started_is_refused(cast: Cast) -> None:
    async with Supervisor() as supervisor, anyio.create_task_group() as group:
        group.start_soon(supervisor.start_child, cast("a", starts=[5.0]))
        await settled()
        with pytest.raises(ChildExists) as caught:
            await supervisor.start_child(ChildSpec("a", forever))

        assert caught.value.state == "starting"


@in_virtual_time
async def test_starting_an_id_that_is_being_stopped_is_refused_until_it_is_gone(cast: Cast) -> None:
    async with Supervisor([cast("a", "temporary", lingers=9.0, shutdown=1.0)]) as supervisor, anyio.create_task_group() as group:
        group.start_soon(supervisor.terminate_child, "a")
        for pause, state in ((0.5, "stopping"), (3.0, "overdue")):
            await anyio.sleep(pause)
            with pytest.raises(ChildExists) as caught:
                await supervisor.start_child(ChildSpec("a", forever))

            assert caught.value.state == state

        await anyio.sleep(9)
        assert (await supervisor.start_child(ChildSpec("a", forever))).state == "running"


async def test_restarting_one_that_runs_is_refused_and_says_so(cast: Cast) -> None:
    async with Supervisor([cast("a")], name="app") as supervisor:
        with pytest.raises(ChildRunning) as caught:
            await supervisor.restart_child("a")

        assert str(caught.value) == "Child 'a' of supervisor 'app' is running. Stop it first, with terminate_child()."
        assert caught.value.state == "running"


async def test_deleting_one_that_runs_is_refused_and_it_goes_on(cast: Cast) -> None:
    async with Supervisor([cast("a")]) as supervisor:
        with pytest.raises(ChildRunning):
            await supervisor.delete_child("a")

        assert values(supervisor) == {"a": "a#1"}


@in_virtual_time
async def test_restarting_or_deleting_one_that_is_overdue_is_refused(cast: Cast) -> None:
    async with Supervisor([cast("a", lingers=9.0, shutdown=1.0)]) as supervisor, anyio.create_task_group() as group:
        group.start_soon(supervisor.terminate_child, "a")
        await anyio.sleep(3)
        for refused in (supervisor.restart_child, supervisor.delete_child):
            with pytest.raises(ChildRunning) as caught:
                await refused("a")

            assert caught.value.state == "overdue"


@pytest.mark.parametrize("operation", ["terminate_child", "restart_child", "delete_child"])
async def test_an_id_nobody_has_is_told_with_those_there_are(cast: Cast, operation: str) -> None:
    async with Supervisor([cast("a"), cast("b")], name="app") as supervisor:
        with pytest.raises(ChildNotFound) as caught:
            await getattr(supervisor, operation)("c")

        assert isinstance(caught.value, KeyError)
        assert str(caught.value) == "Supervisor 'app' has no child 'c'. It has: a, b."


async def test_which_child_of_an_id_nobody_has_is_told_in_the_same_way() -> None:
    async with Supervisor(name="app") as supervisor:
        with pytest.raises(ChildNotFound) as caught:
            supervisor.which_child("c")

        assert str(caught.value) == "Supervisor 'app' has no child 'c'. It has: none."


async def test_terminating_a_stopped_child_is_fine_and_it_stays_stopped(cast: Cast) -> None:
    async with Supervisor([cast("a")]) as supervisor:
        for _ in range(3):
            await supervisor.terminate_child("a")
            assert states(supervisor) == {"a": "stopped"}

        assert cast.events == ["a up", "a down"]


async def test_terminating_one_that_had_finished_keeps_it_from_coming_back_with_its_group(cast: Cast) -> None:
    async with Supervisor([cast("a"), cast("b", "transient")], strategy="one_for_all") as supervisor:
        await cast.finish("b")
        await supervisor.terminate_child("b")
        await cast.crash("a")
        assert states(supervisor) == {"a": "running", "b": "stopped"}


async def test_terminating_a_dynamic_child_twice_is_an_error_the_second_time(cast: Cast) -> None:
    async with DynamicSupervisor() as supervisor:
        await supervisor.start_child(cast("a"))
        await supervisor.terminate_child("a")
        with pytest.raises(ChildNotFound):
            await supervisor.terminate_child("a")


async def test_another_supervisors_child_is_not_found_and_goes_on(cast: Cast) -> None:
    async with Supervisor([cast("a")]) as one, Supervisor([cast("b")]) as other:
        with pytest.raises(ChildNotFound):
            await one.terminate_child("b")

        assert states(other) == {"b": "running"}


@pytest.mark.parametrize("restart", ["permanent", "transient"])
async def test_a_terminated_child_stays_listed(cast: Cast, restart: Any) -> None:
    async with Supervisor([cast("a", restart)]) as supervisor:
        await supervisor.terminate_child("a")
        await settled()
        assert states(supervisor) == {"a": "stopped"}
        assert cast["a"].lives == 1


async def test_a_terminated_temporary_child_is_dropped_and_its_id_is_free(cast: Cast) -> None:
    spec = cast("a", "temporary")
    async with Supervisor([spec]) as supervisor:
        await supervisor.terminate_child("a")
        assert states(supervisor) == {}
        with pytest.raises(ChildNotFound):
            await supervisor.restart_child("a")

        assert (await supervisor.start_child(spec)).state == "running"


async def test_a_child_terminated_by_hand_is_not_started_again_by_itself(cast: Cast) -> None:
    async with Supervisor([cast("a")]) as supervisor:
        await supervisor.terminate_child("a")
        await settled()
        assert cast["a"].lives == 1


async def test_a_restart_that_ignores_leaves_the_child_stopped(cast: Cast) -> None:
    async with Supervisor([cast("a", starts=[None, IGNORE])]) as supervisor:
        await supervisor.terminate_child("a")
        info = await supervisor.restart_child("a")
        assert (info.state, info.value) == ("stopped", None)


async def test_a_failed_restart_keeps_the_error_to_look_at(cast: Cast) -> None:
    boom = Boom("no disk")
    async with Supervisor([cast("a", starts=[None, boom])]) as supervisor:
        await supervisor.terminate_child("a")
        with pytest.raises(StartFailed):
            await supervisor.restart_child("a")

        assert supervisor.which_child("a").error is boom


@in_virtual_time
async def test_a_cancelled_restart_child_leaves_the_child_stopped(cast: Cast) -> None:
    async with Supervisor([cast("a", starts=[None, 10.0])]) as supervisor:
        await supervisor.terminate_child("a")
        with anyio.move_on_after(2) as scope:
            await supervisor.restart_child("a")

        assert scope.cancelled_caught
        assert states(supervisor) == {"a": "stopped"}
        assert (await supervisor.restart_child("a")).state == "running"


@in_virtual_time
async def test_terminating_a_child_that_is_starting_fails_its_start(cast: Cast) -> None:
    async with Supervisor() as supervisor, anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(StartFailed):
                await supervisor.start_child(cast("a", starts=[3600.0]))

            cast.record("told")

        group.start_soon(start)
        await settled()
        await supervisor.terminate_child("a")
        await settled()
        assert cast.events == ["a starts", "a gives up", "told"]


@pytest.mark.parametrize("operation", ["start_child", "terminate_child", "restart_child", "delete_child"])
@pytest.mark.parametrize("when", ["before", "while it stops", "after"])
async def test_a_supervisor_that_does_not_run_refuses(cast: Cast, operation: str, when: str) -> None:
    supervisor = Supervisor([cast("a", "temporary")], name="app")
    argument: Any = cast("b") if operation == "start_child" else "a"

    async def refused() -> str:
        with pytest.raises(SupervisorClosed) as caught:
            await getattr(supervisor, operation)(argument)

        return str(caught.value)

    if when == "before":
        assert await refused() == "Supervisor 'app' is not started."
        return

    told: list[str] = []

    async def last(*, task_status: Any) -> None:
        task_status.started()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                told.append(await refused())

    async with supervisor:
        if when == "while it stops":
            await supervisor.start_child(ChildSpec("last", last))

    assert told == (["Supervisor 'app' is stopping."] if when == "while it stops" else [])
    if when == "after":
        assert await refused() == "Supervisor 'app' is closed."


async def test_the_children_can_be_read_before_and_after(cast: Cast) -> None:
    supervisor = Supervisor([cast("a")])
    assert states(supervisor) == {"a": "new"}
    async with supervisor:
        pass

    assert states(supervisor) == {}
    assert counts(supervisor) == (0, 0, 0, 0)


async def test_a_child_may_start_siblings_from_inside(cast: Cast) -> None:
    supervisor = Supervisor([cast("a")], name="app")

    async def parent() -> None:
        await supervisor.start_child(cast("b"))
        await anyio.sleep_forever()

    async with supervisor:
        await supervisor.start_child(ChildSpec("parent", parent))
        await settled()
        assert states(supervisor) == {"a": "running", "parent": "running", "b": "running"}


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_a_child_that_is_not_ready_may_not_start_siblings_where_they_would_wait_for_it(cast: Cast, strategy: Any) -> None:
    supervisor = Supervisor(strategy=strategy, name="app")

    async def parent(*, task_status: Any) -> None:
        with pytest.raises(CallCycle) as caught:
            await supervisor.start_child(cast("b"))

        cast.record(" -> ".join(caught.value.chain))
        task_status.started()
        await anyio.sleep_forever()

    async with supervisor:
        await supervisor.start_child(ChildSpec("parent", parent))

    assert cast.events == ["app/parent -> app/b"]


async def test_a_childs_own_cancelled_scope_around_start_child_does_not_cancel_the_new_one(cast: Cast) -> None:
    async with Supervisor() as supervisor:
        with anyio.CancelScope() as scope:
            await supervisor.start_child(cast("a"))
            scope.cancel()
            await anyio.lowlevel.checkpoint()

        await settled()
        assert states(supervisor) == {"a": "running"}


@in_virtual_time
async def test_many_callers_at_once_are_all_served_in_any_state(cast: Cast) -> None:
    """Nothing hangs and nothing is lost when everything is asked at once, with crashes in between."""
    async with Supervisor([cast(id) for id in "abc"], strategy="one_for_all", max_restarts=10**6) as supervisor:

        async def meddle(number: int) -> None:
            await anyio.sleep(number % 3)
            for operation in (supervisor.terminate_child, supervisor.restart_child, supervisor.delete_child):
                try:
                    await operation("abc"[number % 3])
                except (ChildRunning, ChildNotFound):
                    pass

            await supervisor.start_child(cast(f"new{number}"))

        async with anyio.create_task_group() as group:
            for number in range(12):
                group.start_soon(meddle, number)
                await cast.crash("abc"[number % 3])

        await anyio.sleep(10)
        assert {f"new{number}" for number in range(12)} <= set(states(supervisor))
        assert all(state in ("running", "stopped") for state in states(supervisor).values())
        assert not any("TWO LIVES" in event for event in cast.events)
