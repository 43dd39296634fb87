"""Who goes down and comes back with a child that ended: nobody, everybody, or those that were started after it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from supervision.cast import IGNORE, Boom, Cast, in_virtual_time, settled, states, values

from dspex import RestartLimitReached, Supervisor

GROUPS = ["one_for_all", "rest_for_one"]


async def test_one_for_one_restarts_only_the_one_that_died(cast: Cast) -> None:
    async with Supervisor([cast(id) for id in "abc"]) as supervisor:
        await cast.crash("b")
        assert values(supervisor) == {"a": "a#1", "b": "b#2", "c": "c#1"}


async def test_one_for_all_replaces_everybody(cast: Cast) -> None:
    async with Supervisor([cast(id) for id in "abc"], strategy="one_for_all") as supervisor:
        await cast.crash("b")
        assert values(supervisor) == {"a": "a#2", "b": "b#2", "c": "c#2"}


async def test_rest_for_one_replaces_it_and_the_later_ones(cast: Cast) -> None:
    async with Supervisor([cast(id) for id in "abc"], strategy="rest_for_one") as supervisor:
        await cast.crash("b")
        assert values(supervisor) == {"a": "a#1", "b": "b#2", "c": "c#2"}


async def test_rest_for_one_of_the_last_restarts_only_that(cast: Cast) -> None:
    async with Supervisor([cast(id) for id in "abc"], strategy="rest_for_one") as supervisor:
        await cast.crash("c")
        assert values(supervisor) == {"a": "a#1", "b": "b#1", "c": "c#2"}


async def test_rest_for_one_of_the_first_restarts_everybody(cast: Cast) -> None:
    async with Supervisor([cast(id) for id in "abc"], strategy="rest_for_one"):
        cast.forget()
        await cast.crash("a")
        assert cast.events == ["a crashes", "c down", "b down", "a up", "b up", "c up"]


async def test_a_permanent_childs_return_takes_its_group_along(cast: Cast) -> None:
    async with Supervisor([cast("a"), cast("b")], strategy="one_for_all"):
        cast.forget()
        await cast.finish("a")
        assert cast.events == ["a returns", "b down", "a up", "b up"]


@in_virtual_time
async def test_no_old_life_is_left_when_the_first_new_one_begins(cast: Cast) -> None:
    async with Supervisor([cast("a", lingers=2.0), cast("b", asked=3.0), cast("c")], strategy="one_for_all"):
        await cast.crash("c")
        await anyio.sleep(10)
        assert cast.timed[3:] == [
            (0.0, "c crashes"),
            (0.0, "b asked"),
            (3.0, "b down"),
            (3.0, "a stopping"),
            (5.0, "a down"),
            (5.0, "a up"),
            (5.0, "b up"),
            (5.0, "c up"),
        ]


@in_virtual_time
async def test_in_a_group_restart_each_is_ready_before_the_next_starts(cast: Cast) -> None:
    async with Supervisor([cast("a", starts=[None, 2.0]), cast("b", starts=[None, 3.0])], strategy="one_for_all"):
        cast.forget()
        await cast.crash("b")
        await anyio.sleep(10)
        assert cast.timed[2:] == [(0.0, "a starts"), (2.0, "a up"), (2.0, "b starts"), (5.0, "b up")]


async def test_a_child_is_told_whether_it_is_stopped_to_come_back(cast: Cast) -> None:
    async with Supervisor([cast("a", asked=0.0), cast("b")], strategy="one_for_all") as supervisor:
        await cast.crash("b")
        await settled()
        await supervisor.terminate_child("a")
        await supervisor.restart_child("a")

    assert [event for event in cast.events if "asked" in event] == ["a asked", "a asked for good", "a asked for good"]


async def test_a_transient_child_that_returns_leaves_its_siblings_alone(cast: Cast) -> None:
    async with Supervisor([cast("a", "transient"), cast("b"), cast("c")], strategy="one_for_all") as supervisor:
        cast.forget()
        await cast.finish("a")
        assert cast.events == ["a returns"]
        assert states(supervisor) == {"a": "stopped", "b": "running", "c": "running"}


@pytest.mark.parametrize("strategy", GROUPS)
async def test_a_transient_child_that_had_returned_is_started_again_with_its_group_as_in_otp(cast: Cast, strategy: Any) -> None:
    async with Supervisor([cast("a"), cast("b", "transient")], strategy=strategy) as supervisor:
        await cast.finish("b")
        await cast.crash("a")
        assert values(supervisor) == {"a": "a#2", "b": "b#2"}


@pytest.mark.parametrize("strategy", GROUPS)
async def test_a_child_that_had_ignored_its_start_is_asked_again_with_its_group(cast: Cast, strategy: Any) -> None:
    async with Supervisor([cast("a"), cast("b", starts=[IGNORE])], strategy=strategy) as supervisor:
        await cast.crash("a")
        assert states(supervisor) == {"a": "running", "b": "running"}


@pytest.mark.parametrize("strategy", GROUPS)
async def test_a_child_that_was_terminated_stays_stopped_when_its_group_restarts_unlike_otps(cast: Cast, strategy: Any) -> None:
    async with Supervisor([cast(id) for id in "abc"], strategy=strategy) as supervisor:
        await supervisor.terminate_child("b")
        cast.forget()
        await cast.crash("a")
        assert cast.events == ["a crashes", "c down", "a up", "c up"]
        assert states(supervisor) == {"a": "running", "b": "stopped", "c": "running"}


@pytest.mark.parametrize("strategy", GROUPS)
async def test_once_restarted_by_hand_it_belongs_to_the_group_again(cast: Cast, strategy: Any) -> None:
    async with Supervisor([cast("a"), cast("b")], strategy=strategy) as supervisor:
        await supervisor.terminate_child("b")
        await supervisor.restart_child("b")
        await cast.crash("a")
        assert values(supervisor) == {"a": "a#2", "b": "b#3"}


@pytest.mark.parametrize("strategy", GROUPS)
async def test_terminating_a_child_leaves_its_siblings_alone(cast: Cast, strategy: Any) -> None:
    async with Supervisor([cast(id) for id in "abc"], strategy=strategy) as supervisor:
        cast.forget()
        await supervisor.terminate_child("a")
        await supervisor.restart_child("a")
        assert cast.events == ["a down", "a up"]


@pytest.mark.parametrize("strategy", GROUPS)
async def test_a_temporary_bystander_goes_down_with_its_group_and_does_not_come_back(cast: Cast, strategy: Any) -> None:
    async with Supervisor([cast("a"), cast("b", "temporary"), cast("c")], strategy=strategy) as supervisor:
        cast.forget()
        await cast.crash("a")
        assert cast.events == ["a crashes", "c down", "b down", "a up", "c up"]
        assert states(supervisor) == {"a": "running", "c": "running"}


@pytest.mark.parametrize("strategy", GROUPS)
async def test_a_temporary_child_that_crashes_leaves_its_siblings_alone(cast: Cast, strategy: Any) -> None:
    async with Supervisor([cast("a", "temporary"), cast("b")], strategy=strategy):
        cast.forget()
        await cast.crash("a")
        assert cast.events == ["a crashes"]


async def test_siblings_that_crash_in_one_step_are_one_incident(cast: Cast) -> None:
    async with Supervisor([cast(id) for id in "abc"], strategy="one_for_all", max_restarts=1) as supervisor:
        await cast.crash("a", "c")
        assert values(supervisor) == {"a": "a#2", "b": "b#2", "c": "c#2"}
        assert supervisor.which_child("a").restarts == 1


async def test_with_one_for_one_siblings_that_crash_in_one_step_are_counted_each(cast: Cast) -> None:
    with pytest.raises(RestartLimitReached):
        async with Supervisor([cast("a"), cast("b")], max_restarts=1):
            await cast.crash("a", "b")
            await anyio.sleep_forever()


async def test_rest_for_one_of_two_crashes_in_one_step_both_groups_are_new(cast: Cast) -> None:
    async with Supervisor([cast(id) for id in "abcd"], strategy="rest_for_one") as supervisor:
        await cast.crash("d", "b")
        assert cast["a"].lives == 1
        assert states(supervisor) == dict.fromkeys("abcd", "running")
        assert cast["b"].lives == cast["c"].lives == 2


@pytest.mark.parametrize("strategy", GROUPS)
async def test_what_a_sibling_raises_as_it_is_stopped_neither_counts_nor_stops_the_restart(
    cast: Cast, strategy: Any, caplog: pytest.LogCaptureFixture
) -> None:
    children = [cast("a"), cast("b", last_words=Boom("clean-up")), cast("c")]
    async with Supervisor(children, strategy=strategy, max_restarts=1, name="app") as supervisor:
        cast.forget()
        await cast.crash("a")
        assert cast.events == ["a crashes", "c down", "b down", "a up", "b up", "c up"]
        assert supervisor.which_child("a").restarts == 1

    assert "app/b raised as it was stopped: Boom: clean-up" in caplog.text


@in_virtual_time
async def test_a_sibling_that_crashes_by_itself_while_the_group_is_stopped_is_part_of_the_same_incident(cast: Cast) -> None:
    async with Supervisor([cast("a"), cast("b", lingers=5.0), cast("c")], strategy="one_for_all", max_restarts=1) as supervisor:
        await cast.crash("c")
        await cast.crash("a")
        await anyio.sleep(10)
        assert values(supervisor) == {"a": "a#2", "b": "b#2", "c": "c#2"}


@in_virtual_time
async def test_nothing_of_the_group_starts_while_an_overdue_life_goes_on(cast: Cast) -> None:
    async with Supervisor([cast("a", lingers=60.0, shutdown=1.0), cast("b")], strategy="one_for_all") as supervisor:
        await cast.crash("b")
        await anyio.sleep(30)
        assert states(supervisor) == {"a": "overdue", "b": "restarting"}
        await anyio.sleep(40)
        assert states(supervisor) == {"a": "running", "b": "running"}
        assert "HAS TWO LIVES" not in " ".join(cast.events)


@in_virtual_time
async def test_a_child_terminated_during_its_groups_restart_stays_stopped(cast: Cast) -> None:
    async with Supervisor([cast("a", lingers=5.0), cast("b"), cast("c")], strategy="one_for_all") as supervisor:
        await cast.crash("c")
        await supervisor.terminate_child("b")
        await anyio.sleep(10)
        assert states(supervisor) == {"a": "running", "b": "stopped", "c": "running"}


@in_virtual_time
async def test_a_child_started_during_a_groups_restart_is_up_once_and_last(cast: Cast) -> None:
    async with Supervisor([cast("a", lingers=5.0), cast("b")], strategy="one_for_all") as supervisor:
        await cast.crash("b")
        info = await supervisor.start_child(cast("z"))
        await anyio.sleep(10)
        assert info.state == "running"
        assert states(supervisor) == {"a": "running", "b": "running", "z": "running"}

    assert cast.events[-4:] == ["z down", "b down", "a stopping", "a down"]


@in_virtual_time
async def test_leaving_the_block_during_a_groups_restart_stops_what_is_up_and_starts_no_more(cast: Cast) -> None:
    async with Supervisor([cast("a"), cast("b", starts=[None, 10.0]), cast("c")], strategy="one_for_all"):
        cast.forget()
        await cast.crash("c")
        await anyio.sleep(1)

    assert cast.events == ["c crashes", "b down", "a down", "a up", "b starts", "b gives up", "a down"]


async def test_nested_supervisors_are_restarted_whole_with_their_group(cast: Cast) -> None:
    inner = Supervisor.child_spec("inner", [cast("b"), cast("c")])
    async with Supervisor([cast("a"), inner], strategy="one_for_all"):
        cast.forget()
        await cast.crash("a")
        assert cast.events == ["a crashes", "c down", "b down", "a up", "b up", "c up"]
