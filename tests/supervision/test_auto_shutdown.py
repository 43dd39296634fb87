"""Significant children, whose end ends the supervisor: as OTP's auto_shutdown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from supervision.cast import Boom, Cast, in_virtual_time, settled, states

from dspex import ChildSpec, Supervisor

MODES = ["never", "any_significant", "all_significant"]
STRATEGIES = ["one_for_one", "one_for_all", "rest_for_one"]


async def terminated(cast: Cast, supervisor: Supervisor, id: str) -> None:
    await supervisor.terminate_child(id)


async def crashed(cast: Cast, supervisor: Supervisor, id: str) -> None:
    await cast.crash(id)


async def finished(cast: Cast, supervisor: Supervisor, id: str) -> None:
    await cast.finish(id)


End = Callable[[Cast, Supervisor, str], Awaitable[None]]
ENDS: list[End] = [terminated, crashed, finished]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("restart", ["temporary", "transient"])
async def test_the_end_of_a_child_that_is_not_significant_never_ends_the_supervisor(cast: Cast, mode: Any, end: End, restart: Any) -> None:
    async with Supervisor([cast("a", restart), cast("b")], auto_shutdown=mode) as supervisor:
        await end(cast, supervisor, "a")
        await settled()
        assert supervisor.status == "running"
        assert states(supervisor)["b"] == "running"
        if restart == "transient":
            assert states(supervisor)["a"] == ("running" if end is crashed else "stopped")


async def ends_by_itself(supervisor: Supervisor, do: Callable[[], Awaitable[None]]) -> bool:
    """Whether *supervisor* ends its block when *do* is done in it."""
    went_on = False
    async with supervisor:
        await do()
        await settled()
        went_on = True

    assert supervisor.ended_by == ("stop" if went_on else "auto_shutdown")
    return not went_on


@pytest.mark.parametrize("end", [crashed, finished])
async def test_any_end_of_a_significant_temporary_child_ends_the_supervisor(cast: Cast, end: End) -> None:
    supervisor = Supervisor([cast("a", "temporary", significant=True), cast("b")], auto_shutdown="any_significant")

    assert await ends_by_itself(supervisor, lambda: end(cast, supervisor, "a"))
    assert cast.events[-1] == "b down"


@pytest.mark.parametrize("restart", ["temporary", "transient"])
async def test_a_significant_child_that_was_terminated_by_hand_does_not_end_it(cast: Cast, restart: Any) -> None:
    supervisor = Supervisor([cast("a", restart, significant=True)], auto_shutdown="any_significant")

    assert not await ends_by_itself(supervisor, lambda: supervisor.terminate_child("a"))


async def test_a_significant_transient_child_that_crashes_is_restarted_and_ends_nothing(cast: Cast) -> None:
    supervisor = Supervisor([cast("a", "transient", significant=True)], auto_shutdown="any_significant")

    assert not await ends_by_itself(supervisor, lambda: cast.crash("a"))
    assert cast["a"].lives == 2


async def test_a_significant_transient_child_that_returns_ends_it(cast: Cast) -> None:
    supervisor = Supervisor([cast("a", "transient", significant=True)], auto_shutdown="any_significant")

    assert await ends_by_itself(supervisor, lambda: cast.finish("a"))


@pytest.mark.parametrize("restart", ["temporary", "transient"])
async def test_with_all_significant_only_the_last_end_ends_it(cast: Cast, restart: Any) -> None:
    children = [cast("a", restart, significant=True), cast("b", restart, significant=True), cast("c")]
    async with Supervisor(children, auto_shutdown="all_significant") as supervisor:
        await cast.finish("a")
        assert supervisor.status == "running"
        await cast.finish("b")
        pytest.fail("it must have ended")

    assert supervisor.ended_by == "auto_shutdown"
    assert cast.events[-1] == "c down"


async def test_with_all_significant_those_that_are_not_significant_do_not_hold_it_up(cast: Cast) -> None:
    supervisor = Supervisor([cast("a", "temporary", significant=True), cast("b"), cast("c")], auto_shutdown="all_significant")

    assert await ends_by_itself(supervisor, lambda: cast.finish("a"))


async def test_with_all_significant_one_that_was_terminated_by_hand_does_not_hold_it_up(cast: Cast) -> None:
    children = [cast("a", "transient", significant=True), cast("b", "transient", significant=True)]
    async with Supervisor(children, auto_shutdown="all_significant") as supervisor:
        await supervisor.terminate_child("a")
        assert supervisor.status == "running"
        await cast.finish("b")
        pytest.fail("it must have ended")

    assert supervisor.ended_by == "auto_shutdown"


async def test_with_all_significant_one_that_was_restarted_by_hand_is_waited_for_again(cast: Cast) -> None:
    children = [cast("a", "transient", significant=True), cast("b", "transient", significant=True)]
    async with Supervisor(children, auto_shutdown="all_significant") as supervisor:
        await cast.finish("a")
        await supervisor.restart_child("a")
        await cast.finish("b")
        assert supervisor.status == "running"
        await cast.finish("a")
        pytest.fail("it must have ended")


async def test_the_block_ends_without_an_exception_and_the_siblings_in_reverse(cast: Cast) -> None:
    children = [cast("a"), cast("b", "temporary", significant=True), cast("c"), cast("d")]
    async with Supervisor(children, auto_shutdown="any_significant") as supervisor:
        cast.forget()
        await cast.finish("b")
        pytest.fail("it must have ended")

    assert cast.events == ["b returns", "d down", "c down", "a down"]
    assert (supervisor.status, supervisor.ended_by) == ("closed", "auto_shutdown")


async def test_in_the_background_wait_returns_without_an_exception(cast: Cast) -> None:
    supervisor = await Supervisor.start([cast("a", "temporary", significant=True)], auto_shutdown="any_significant")
    await cast.finish("a")
    await supervisor.wait()
    assert supervisor.ended_by == "auto_shutdown"
    await supervisor.stop()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("mode", ["any_significant", "all_significant"])
@pytest.mark.parametrize("restart", ["temporary", "transient"])
async def test_significant_children_stopped_with_their_group_do_not_end_it(cast: Cast, strategy: Any, mode: Any, restart: Any) -> None:
    supervisor = Supervisor([cast("a"), cast("b", restart, significant=True)], strategy=strategy, auto_shutdown=mode)

    assert not await ends_by_itself(supervisor, lambda: cast.crash("a"))


async def test_the_end_of_a_significant_branch_ends_the_branches_above_it(cast: Cast) -> None:
    c = cast("c", "temporary", significant=True)
    b = Supervisor.child_spec("b", [c], restart="transient", significant=True, auto_shutdown="any_significant")
    supervisor = Supervisor([b, cast("z")], auto_shutdown="any_significant")

    assert await ends_by_itself(supervisor, lambda: cast.finish("c"))
    assert cast.events == ["c up", "z up", "c returns", "z down"]


async def test_a_branch_that_is_not_significant_ends_alone(cast: Cast) -> None:
    c = cast("c", "temporary", significant=True)
    b = Supervisor.child_spec("b", [c], restart="transient", auto_shutdown="any_significant")
    async with Supervisor([b, cast("z")], auto_shutdown="any_significant") as supervisor:
        await cast.finish("c")
        assert states(supervisor) == {"b": "stopped", "z": "running"}


async def test_a_permanent_branch_that_ended_by_itself_is_started_again(cast: Cast) -> None:
    c = cast("c", "temporary", significant=True)
    b = Supervisor.child_spec("b", [c], restart="permanent", auto_shutdown="any_significant")
    async with Supervisor([b]) as supervisor:
        await cast.finish("c")
        assert cast["c"].lives == 2
        assert supervisor.which_child("b").restarts == 1


async def test_start_child_refuses_a_significant_one_where_it_means_nothing(cast: Cast) -> None:
    async with Supervisor() as supervisor:
        with pytest.raises(ValueError, match="auto_shutdown"):
            await supervisor.start_child(cast("a", "temporary", significant=True))

        assert cast.events == []


async def test_a_significant_child_started_by_hand_counts_like_any_other(cast: Cast) -> None:
    async with Supervisor(auto_shutdown="any_significant") as supervisor:
        await supervisor.start_child(cast("a", "temporary", significant=True))
        await cast.finish("a")
        pytest.fail("it must have ended")


async def test_nothing_is_restarted_once_it_is_decided(cast: Cast) -> None:
    def done(state: str, error: BaseException | None) -> None:
        if state == "gone":
            cast["a"].take_cue(Boom())

    children = [cast("a"), cast("b", "temporary", significant=True, on_change=done)]
    async with Supervisor(children, auto_shutdown="any_significant") as supervisor:
        await cast.finish("b")
        await anyio.sleep_forever()

    assert supervisor.ended_by == "auto_shutdown"
    assert cast.events[:3] == ["a up", "b up", "b returns"]
    assert len(cast.events) == 4  # it crashed, or was cancelled first
    assert cast["a"].lives == 1


@in_virtual_time
async def test_it_ends_a_siblings_retry_loop_and_a_start_in_progress(cast: Cast) -> None:
    children = [cast("a"), cast("b", "temporary", significant=True)]
    supervisor = Supervisor(children, auto_shutdown="any_significant", max_restarts=10**9)
    async with supervisor, anyio.create_task_group() as group:
        group.start_soon(supervisor.start_child, cast("slow", starts=[3600.0]))
        await settled()
        cast["a"].broken = True
        await cast.crash("a")
        await cast.finish("b")
        pytest.fail("it must have ended")

    assert anyio.current_time() < 1.0
    assert "slow gives up" in cast.events
    assert supervisor.ended_by == "auto_shutdown"


async def test_an_exception_of_the_body_comes_out_although_it_ended_by_itself(cast: Cast) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Supervisor([cast("a", "temporary", significant=True)], auto_shutdown="any_significant"):
            try:
                await cast.finish("a")
            finally:
                raise ZeroDivisionError


async def test_a_significant_child_that_ignores_its_start_ends_nothing(cast: Cast) -> None:
    async def nothing_to_do(*, task_status: Any) -> None:
        return

    supervisor = Supervisor(
        [ChildSpec("a", nothing_to_do, restart="transient", significant=True), cast("b")], auto_shutdown="any_significant"
    )
    assert not await ends_by_itself(supervisor, settled)
