"""Asked at an awkward moment: while it starts, while a group is on its way, from a clean-up, by two at once. Nothing hangs and nothing is lost."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.abc import TaskStatus
from supervision.cast import Boom, Cast, counts, in_virtual_time, settled, states, values

from dspex import (
    Backoff,
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

GROUPS = ["one_for_all", "rest_for_one"]
STRATEGIES = ["one_for_one", *GROUPS]


# --- while it starts ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
@in_virtual_time
async def test_a_child_that_crashes_while_later_ones_start_is_up_again_in_the_end(cast: Cast, strategy: Any) -> None:
    async with anyio.create_task_group() as group:

        async def crash() -> None:
            await anyio.sleep(1)
            await cast.crash("a")

        group.start_soon(crash)
        async with Supervisor([cast("a"), cast("b", starts=[5.0])], strategy=strategy) as supervisor:
            await anyio.sleep(10)
            assert states(supervisor) == {"a": "running", "b": "running"}
            assert cast["a"].lives == 2
            # Its group includes b, once that is up.
            assert cast["b"].lives == (1 if strategy == "one_for_one" else 2)


@in_virtual_time
async def test_stop_from_elsewhere_while_it_starts_stops_what_has_started_and_the_start_fails(cast: Cast) -> None:
    supervisor = Supervisor([cast("a"), cast("b", starts=[60.0])], name="app")
    async with anyio.create_task_group() as group:

        async def stop() -> None:
            await anyio.sleep(1)
            await supervisor.stop()
            cast.record("stopped")

        group.start_soon(stop)
        with pytest.raises(StartFailed) as caught:
            async with supervisor:
                pytest.fail("the body must not run")

    assert str(caught.value) == "The supervisor 'app' failed to start: it was ended by its stop before all children were up"
    assert cast.events[:4] == ["a up", "b starts", "b gives up", "a down"]
    assert supervisor.status == "closed"


@in_virtual_time
async def test_a_child_terminated_before_it_was_its_turn_is_not_started(cast: Cast) -> None:
    supervisor = Supervisor([cast("a", starts=[5.0]), cast("b"), cast("c")])
    async with anyio.create_task_group() as group:

        async def terminate() -> None:
            await anyio.sleep(1)
            await supervisor.terminate_child("b")

        group.start_soon(terminate)
        async with supervisor:
            assert states(supervisor) == {"a": "running", "b": "stopped", "c": "running"}

    assert "b up" not in cast.events


@in_virtual_time
async def test_a_child_that_is_up_may_start_another_while_later_ones_are_starting(cast: Cast) -> None:
    supervisor = Supervisor([], name="app")

    async def early() -> None:
        await anyio.sleep(1)
        await supervisor.start_child(cast("extra"))
        await anyio.sleep_forever()

    async with supervisor, anyio.create_task_group() as group:
        await supervisor.start_child(ChildSpec("early", early))
        group.start_soon(supervisor.start_child, cast("late", starts=[5.0]))
        await anyio.sleep(2)
        assert states(supervisor) == {"early": "running", "late": "starting", "extra": "running"}


async def test_a_significant_child_that_is_done_before_the_others_are_up_ends_it_like_any_other(cast: Cast) -> None:
    async def at_once() -> None:
        cast.record("done")

    children = [ChildSpec("job", at_once, restart="temporary", significant=True), cast("b", starts=[0.01]), cast("c")]
    supervisor = Supervisor(children, auto_shutdown="any_significant")
    async with supervisor:
        await anyio.sleep_forever()

    assert supervisor.ended_by == "auto_shutdown"
    assert cast.alive == []


@in_virtual_time
async def test_also_when_another_is_in_the_middle_of_its_start(cast: Cast) -> None:
    job = ChildSpec("job", lambda: anyio.sleep(1), restart="temporary", significant=True)
    supervisor = Supervisor([cast("a"), job, cast("b", starts=[60.0]), cast("c")], auto_shutdown="any_significant")
    async with supervisor:
        await anyio.sleep_forever()

    assert supervisor.ended_by == "auto_shutdown"
    assert cast.timed == [(0.0, "a up"), (0.0, "b starts"), (1.0, "b gives up"), (1.0, "a down")]


async def test_a_supervisor_entered_in_a_cancelled_scope_starts_nothing_that_stays(cast: Cast) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with Supervisor([cast("a"), cast("b")]):
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert cast.alive == []


# --- by two at once -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
@in_virtual_time
async def test_of_two_who_start_one_id_at_once_the_second_is_refused(cast: Cast, strategy: Any) -> None:
    outcomes: list[str] = []
    spec = cast("a", starts=[1.0])
    async with Supervisor(strategy=strategy) as supervisor:

        async def start() -> None:
            try:
                await supervisor.start_child(spec)
                outcomes.append("up")
            except ChildExists:
                outcomes.append("exists")

        async with anyio.create_task_group() as group:
            group.start_soon(start)
            group.start_soon(start)

    assert outcomes == ["exists", "up"]
    assert cast["a"].lives == 1


@pytest.mark.parametrize("strategy", STRATEGIES)
@in_virtual_time
async def test_of_two_who_restart_one_child_at_once_one_life_comes_of_it(cast: Cast, strategy: Any) -> None:
    async with Supervisor([cast("a", starts=[None, 1.0])], strategy=strategy) as supervisor:
        await supervisor.terminate_child("a")

        async def restart() -> None:
            try:
                assert (await supervisor.restart_child("a")).state == "running"
            except ChildRunning:
                pass

        async with anyio.create_task_group() as group:
            group.start_soon(restart)
            group.start_soon(restart)

        assert values(supervisor) == {"a": "a#2"}


@in_virtual_time
async def test_of_many_who_terminate_one_child_at_once_all_wait_for_its_one_end(cast: Cast) -> None:
    done: list[float] = []
    async with Supervisor([cast("a", lingers=2.0)]) as supervisor:

        async def terminate() -> None:
            await supervisor.terminate_child("a")
            done.append(anyio.current_time())

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(terminate)

    assert done == [2.0] * 5
    assert cast.events == ["a up", "a stopping", "a down"]


@in_virtual_time
async def test_terminated_while_its_group_restarts_it_is_gone_once_and_stays_down(cast: Cast) -> None:
    async with Supervisor([cast("a"), cast("b", lingers=3.0), cast("c")], strategy="one_for_all") as supervisor:
        await cast.crash("c")
        assert states(supervisor)["b"] == "stopping"
        await supervisor.terminate_child("b")
        await anyio.sleep(5)
        assert states(supervisor) == {"a": "running", "b": "stopped", "c": "running"}
        assert cast["b"].lives == 1


@in_virtual_time
async def test_a_child_deleted_while_somebody_waits_to_restart_it_is_not_found(cast: Cast) -> None:
    children = [cast("a", lingers=3.0), cast("b"), cast("c")]
    async with Supervisor(children, strategy="one_for_all") as supervisor, anyio.create_task_group() as group:
        await supervisor.terminate_child("c")
        await cast.crash("b")

        async def restart() -> None:
            with pytest.raises(ChildNotFound):
                await supervisor.restart_child("c")

            cast.record("told")

        group.start_soon(restart)
        await settled()
        await supervisor.delete_child("c")
        await anyio.sleep(10)
        assert states(supervisor) == {"a": "running", "b": "running"}
        assert cast.events[-1] == "told"
        assert cast["c"].lives == 1


@pytest.mark.parametrize("operation", ["start_child", "restart_child"])
@in_virtual_time
async def test_a_child_terminated_while_somebody_waits_to_start_it_is_not_started(cast: Cast, operation: str) -> None:
    children = [cast("a", lingers=3.0), cast("b"), cast("c")]
    async with Supervisor(children, strategy="one_for_all", name="app") as supervisor, anyio.create_task_group() as group:
        await supervisor.terminate_child("c")
        await cast.crash("b")
        id = "new" if operation == "start_child" else "c"

        async def start() -> None:
            with pytest.raises(StartFailed) as caught:
                await getattr(supervisor, operation)(cast("new") if operation == "start_child" else "c")

            cast.record(str(caught.value))

        group.start_soon(start)
        await settled()
        await supervisor.terminate_child(id)
        await anyio.sleep(10)
        assert states(supervisor) == {"a": "running", "b": "running", "c": "stopped"}
        assert cast.events[-1] == f"The child 'app/{id}' failed to start: it was stopped before it was ready"


# --- from within ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("operation", ["start_child", "restart_child"])
@in_virtual_time
async def test_a_clean_up_that_asks_for_a_start_while_its_group_is_stopped_does_not_wait_for_itself(
    cast: Cast, strategy: Any, operation: str
) -> None:
    told: list[str] = []
    supervisor = Supervisor([cast("a"), cast("idle")], strategy=strategy, name="app")

    async def child(*, task_status: TaskStatus[None]) -> None:
        task_status.started()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(1000) as limit:
                try:
                    await getattr(supervisor, operation)(cast("new") if operation == "start_child" else "idle")
                    told.append("done")
                except (CallCycle, SupervisorClosed, ChildRunning) as error:
                    told.append(type(error).__name__)

            assert not limit.cancelled_caught, "it waited for itself"

    async with supervisor:
        await supervisor.start_child(ChildSpec("child", child))
        await supervisor.terminate_child("idle")
        await cast.crash("a")
        await anyio.sleep(1)
        assert anyio.current_time() < 10
        assert states(supervisor)["a"] == "running"
        assert states(supervisor)["child"] == "running"

    if strategy != "one_for_one":
        assert told[0] == "CallCycle"


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_clean_up_may_ask_for_a_start_where_nobody_waits_for_it(cast: Cast, strategy: Any) -> None:
    supervisor = Supervisor(strategy=strategy, name="app")

    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await supervisor.start_child(cast("heir"))

    async with supervisor:
        await supervisor.start_child(ChildSpec("child", child, restart="temporary"))
        await supervisor.terminate_child("child")
        assert states(supervisor) == {"heir": "running"}


@pytest.mark.parametrize("strategy", GROUPS)
@in_virtual_time
async def test_a_grandchild_that_is_not_ready_may_not_start_what_waits_for_its_branch(cast: Cast, strategy: Any) -> None:
    top = Supervisor(strategy=strategy, name="app")

    async def leaf(*, task_status: TaskStatus[None]) -> None:
        with pytest.raises(CallCycle) as caught:
            await top.start_child(cast("new"))

        cast.record(" -> ".join(caught.value.chain))
        task_status.started()
        await anyio.sleep_forever()

    async with top:
        with anyio.fail_after(10):
            await top.start_child(Supervisor.child_spec("branch", [ChildSpec("leaf", leaf)]))

    assert cast.events == ["app/branch -> app/branch/leaf -> app/new"]


async def test_a_start_that_fails_before_it_is_awaited_is_a_failed_start() -> None:
    def no_coroutine_comes_of_it() -> Any:
        raise Boom("at the call")

    async with Supervisor() as supervisor:
        with pytest.raises(StartFailed, match="at the call"):
            await supervisor.start_child(ChildSpec("a", no_coroutine_comes_of_it))


async def test_whoever_says_that_it_is_ready_after_its_end_changes_nothing() -> None:
    kept: list[TaskStatus[Any]] = []

    async def child(*, task_status: TaskStatus[Any]) -> None:
        kept.append(task_status)

    async with Supervisor([ChildSpec("a", child)]) as supervisor:
        assert states(supervisor) == {"a": "stopped"}
        with pytest.raises(RuntimeError):
            kept[0].started("too late")

        assert states(supervisor) == {"a": "stopped"}
        assert counts(supervisor) == (1, 0, 0, 1)


async def test_a_child_that_stops_its_supervisor_from_a_task_beside_it_does_not_hang(cast: Cast) -> None:
    """In a task of its own that belongs to nobody here, stop() is nobody's own."""
    supervisor = await Supervisor.start([cast("a"), cast("b")])
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.stop)

    assert supervisor.status == "closed"
    assert cast.events == ["a up", "b up", "b down", "a down"]


# --- while it stops ---------------------------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_dynamic_child_that_waits_for_its_restart_keeps_nobody_from_stopping(cast: Cast) -> None:
    backoff = Backoff(initial=3600.0, maximum=3600.0)
    async with DynamicSupervisor() as supervisor:
        await supervisor.start_child(cast("a", backoff=backoff))
        await supervisor.start_child(cast("b"))
        await cast.crash("a")
        assert states(supervisor) == {"a": "restarting", "b": "running"}

    assert anyio.current_time() < 1.0
    assert cast["a"].lives == 1


@in_virtual_time
async def test_a_start_child_in_progress_when_it_stops_is_told_that_it_is_closed(cast: Cast) -> None:
    told: list[str] = []
    async with DynamicSupervisor(name="jobs") as supervisor, anyio.create_task_group() as group:

        async def start() -> None:
            try:
                await supervisor.start_child(cast("slow", starts=[60.0]))
            except SupervisorClosed as error:
                told.append(str(error))

        group.start_soon(start)
        await anyio.sleep(1)
        await supervisor.stop()

    assert told == ["Supervisor 'jobs' is stopping."]
    assert cast.events == ["slow starts", "slow gives up"]


@pytest.mark.parametrize("strategy", STRATEGIES)
@in_virtual_time
async def test_a_terminate_child_in_progress_when_it_stops_returns(cast: Cast, strategy: Any) -> None:
    async with Supervisor([cast("a", lingers=5.0), cast("b")], strategy=strategy) as supervisor, anyio.create_task_group() as group:
        group.start_soon(supervisor.terminate_child, "a")
        await anyio.sleep(1)
        await supervisor.stop()

    assert cast.timed[-1][0] == pytest.approx(5.0)


@pytest.mark.parametrize("strategy", GROUPS)
@in_virtual_time
async def test_whoever_waits_for_a_groups_restart_when_it_stops_is_told(cast: Cast, strategy: Any) -> None:
    told: list[str] = []
    children = [cast("a", backoff=Backoff(initial=3600.0, maximum=3600.0)), cast("b")]
    async with Supervisor(children, strategy=strategy) as supervisor, anyio.create_task_group() as group:
        await cast.crash("a")

        async def start() -> None:
            try:
                await supervisor.start_child(cast("new"))
            except SupervisorClosed:
                told.append("closed")

        group.start_soon(start)
        await anyio.sleep(1)
        await supervisor.stop()

    assert told == ["closed"]
    assert cast.alive == []
    assert anyio.current_time() < 10


@in_virtual_time
async def test_an_outer_cancellation_in_the_middle_of_a_groups_restart_unwinds_in_order(cast: Cast) -> None:
    children = [cast("a"), cast("b", lingers=4.0), cast("c", starts=[None, 4.0]), cast("d")]
    for cut in (1.0, 5.0, 7.0):
        cast.forget()
        for id in "abcd":
            cast[id].lives = 0

        children = [cast("a"), cast("b", lingers=4.0), cast("c", starts=[None, 4.0]), cast("d")]
        with anyio.move_on_after(cut):
            async with Supervisor(children, strategy="one_for_all"):
                await cast.crash("d")
                await anyio.sleep_forever()

        assert cast.alive == []
        order = [event.split()[0] for event in cast.events if event.endswith(("down", "gives up"))]
        last = {id: len(order) - 1 - order[::-1].index(id) for id in set(order)}
        assert last["a"] == len(order) - 1
