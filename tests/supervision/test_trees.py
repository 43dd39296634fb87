"""Supervisors under supervisors: what stays in a branch, what climbs, and what comes back."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from supervision.cast import Boom, Cast, counts, in_virtual_time, settled, states, values

from dspex import DynamicSupervisor, RestartLimitReached, StartFailed, Supervisor


def branch(supervisor: Supervisor, *ids: str) -> Any:
    """The running supervisor below *supervisor* at the path *ids*."""
    for id in ids:
        supervisor = supervisor.which_child(id).value

    return supervisor


async def test_the_value_of_a_nested_supervisor_is_the_supervisor_itself(cast: Cast) -> None:
    async with Supervisor([Supervisor.child_spec("one", [cast("a")])], name="app") as top:
        one = branch(top, "one")
        assert isinstance(one, Supervisor)
        assert one.path == "app/one"
        assert states(one) == {"a": "running"}
        assert top.which_child("one").kind == "supervisor"


async def test_a_leaf_that_dies_is_restarted_in_its_own_branch(cast: Cast) -> None:
    children = [Supervisor.child_spec("one", [cast("a"), cast("b")]), Supervisor.child_spec("two", [cast("c"), cast("d")])]
    async with Supervisor(children, strategy="one_for_all") as top:
        one = branch(top, "one")
        cast.forget()
        await cast.crash("d")
        assert cast.events == ["d crashes", "d up"]
        assert branch(top, "one") is one
        assert values(one) == {"a": "a#1", "b": "b#1"}


async def test_a_branch_past_its_limit_takes_its_siblings_along_where_the_top_says_so(cast: Cast) -> None:
    children = [
        Supervisor.child_spec("one", [cast("a")]),
        Supervisor.child_spec("two", [cast("b")], max_restarts=0),
        Supervisor.child_spec("three", [cast("c")], restart="transient"),
    ]
    async with Supervisor(children, strategy="one_for_all") as top:
        before = [branch(top, id) for id in ("one", "two", "three")]
        cast.forget()
        await cast.crash("b")
        assert cast.events == ["b crashes", "c down", "a down", "a up", "b up", "c up"]
        after = [branch(top, id) for id in ("one", "two", "three")]
        assert all(new is not old for new, old in zip(after, before, strict=True))


async def test_what_was_started_by_hand_does_not_come_back_with_its_supervisor(cast: Cast) -> None:
    inner = Supervisor.child_spec("inner", [cast("a")], max_restarts=0)
    async with Supervisor([inner, DynamicSupervisor.child_spec("many", max_restarts=0)]) as top:
        await branch(top, "inner").start_child(cast("extra"))
        await branch(top, "many").start_child(cast("job"))
        assert counts(branch(top, "inner")) == (2, 2, 0, 2)

        await cast.crash("a", "job")
        assert states(branch(top, "inner")) == {"a": "running"}
        assert states(branch(top, "many")) == {}
        assert cast.alive == ["a"]


async def test_a_child_deleted_by_hand_comes_back_with_its_supervisor(cast: Cast) -> None:
    inner = Supervisor.child_spec("inner", [cast("a"), cast("b")], max_restarts=0)
    async with Supervisor([inner]) as top:
        await branch(top, "inner").terminate_child("a")
        await branch(top, "inner").delete_child("a")
        await cast.crash("b")
        assert states(branch(top, "inner")) == {"a": "running", "b": "running"}


async def test_a_terminated_child_of_a_branch_comes_back_when_the_branch_is_restarted(cast: Cast) -> None:
    """Down by hand is remembered by the supervisor it was said to, and that one is gone."""
    inner = Supervisor.child_spec("inner", [cast("a"), cast("b")], max_restarts=0)
    async with Supervisor([inner]) as top:
        await branch(top, "inner").terminate_child("a")
        await cast.crash("b")
        assert states(branch(top, "inner")) == {"a": "running", "b": "running"}


async def test_a_branch_terminated_by_hand_stays_down_when_its_siblings_restart(cast: Cast) -> None:
    children = [Supervisor.child_spec("one", [cast("a")]), Supervisor.child_spec("two", [cast("b")])]
    async with Supervisor(children, strategy="one_for_all", max_restarts=9) as top:
        await top.terminate_child("two")
        assert cast.alive == ["a"]
        for _ in range(4):
            await cast.crash("a")

        assert states(top) == {"one": "running", "two": "stopped"}
        assert cast["b"].lives == 1


async def test_a_branch_can_be_terminated_restarted_and_deleted_like_any_child(cast: Cast) -> None:
    async with Supervisor([Supervisor.child_spec("one", [cast("a"), cast("b")])]) as top:
        first = branch(top, "one")
        cast.forget()
        await top.terminate_child("one")
        assert cast.events == ["b down", "a down"]
        assert first.status == "closed"

        await top.restart_child("one")
        assert branch(top, "one") is not first
        await top.terminate_child("one")
        await top.delete_child("one")
        assert states(top) == {}


async def test_a_branch_whose_start_fails_again_and_again_ends_the_tree(cast: Cast) -> None:
    inner = Supervisor.child_spec("inner", [cast("a"), cast("b")], max_restarts=0)
    with pytest.raises(RestartLimitReached) as caught:
        async with Supervisor([inner, cast("c")], max_restarts=3):
            cast["a"].broken = True
            await cast.crash("b")
            await anyio.sleep_forever()

    assert isinstance(caught.value.__cause__, StartFailed)
    assert cast.events == ["a up", "b up", "c up", "b crashes", "a down", "a fails", "a fails", "a fails", "c down"]


async def test_a_branch_restarted_by_its_parent_begins_with_a_fresh_window(cast: Cast) -> None:
    inner = Supervisor.child_spec("inner", [cast("a")], max_restarts=1)
    async with Supervisor([inner], max_restarts=1) as top:
        await cast.crash("a")
        await cast.crash("a")
        assert branch(top, "inner").which_child("a").restarts == 0
        await cast.crash("a")
        assert top.which_child("inner").restarts == 1
        assert cast["a"].lives == 4


@in_virtual_time
async def test_a_branch_that_takes_long_to_stop_is_waited_for_however_long(cast: Cast) -> None:
    async with Supervisor([cast("z"), Supervisor.child_spec("one", [cast("a", lingers=600.0, shutdown=1000.0)])]):
        cast.forget()

    assert cast.timed == [(0.0, "a stopping"), (600.0, "a down"), (600.0, "z down")]


@in_virtual_time
async def test_an_outer_cancellation_unwinds_all_levels_in_order(cast: Cast) -> None:
    deep = Supervisor.child_spec("deep", [cast("b", lingers=1.0), cast("c", asked=2.0)])
    with anyio.move_on_after(10) as scope:
        async with Supervisor([cast("a"), deep, cast("d")]):
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert cast.timed[4:] == [
        (10.0, "d down"),
        (10.0, "c asked for good"),
        (12.0, "c down"),
        (12.0, "b stopping"),
        (13.0, "b down"),
        (13.0, "a down"),
    ]


async def test_a_subtree_that_is_stopped_by_its_own_stop_has_returned(cast: Cast) -> None:
    """Somebody outside of it calls stop() on the inner supervisor: as a transient child it is done, as a permanent one it is started again."""
    children = [
        Supervisor.child_spec("done", [cast("a")], restart="transient"),
        Supervisor.child_spec("again", [cast("b")], restart="permanent"),
    ]
    async with Supervisor(children) as top:
        await branch(top, "done").stop()
        await branch(top, "again").stop()
        await settled()
        assert states(top) == {"done": "stopped", "again": "running"}
        assert (cast["a"].lives, cast["b"].lives) == (1, 2)


async def test_five_levels_start_in_order_and_stop_in_reverse(cast: Cast) -> None:
    spec = cast("leaf")
    for level in range(5):
        spec = Supervisor.child_spec(f"level{level}", [cast(f"before{level}"), spec, cast(f"after{level}")])

    async with Supervisor([spec], name="app") as top:
        ups = [event.removesuffix(" up") for event in cast.events]
        assert branch(top, *[f"level{level}" for level in range(4, -1, -1)]).path == "app/level4/level3/level2/level1/level0"
        cast.forget()

    assert [event.removesuffix(" down") for event in cast.events] == ups[::-1]


async def test_a_crash_climbs_only_as_far_as_a_budget_reaches(cast: Cast) -> None:
    spec = cast("leaf")
    for level in range(3):
        spec = Supervisor.child_spec(f"level{level}", [spec], max_restarts=0)

    async with Supervisor([spec], max_restarts=1) as top:
        await cast.crash("leaf", error=Boom("deep"))
        assert cast["leaf"].lives == 2
        assert top.which_child("level2").restarts == 1
