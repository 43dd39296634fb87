"""How many restarts are too many: a window that slides over float seconds, and what happens past it."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest
from supervision.cast import Boom, Cast, in_virtual_time, settled, states

from dspex import ChildSpec, DynamicSupervisor, RestartLimitReached, StartFailed, Supervisor


async def test_more_than_the_allowed_restarts_in_the_period_end_the_supervisor(cast: Cast) -> None:
    with pytest.raises(RestartLimitReached):
        async with Supervisor([cast("a")], max_restarts=2, max_seconds=3600):
            await cast.crash("a")
            await cast.crash("a")
            assert cast["a"].lives == 3
            await cast.crash("a")
            await anyio.sleep_forever()

    assert cast["a"].lives == 3


async def test_with_intensity_zero_the_first_crash_ends_the_supervisor(cast: Cast) -> None:
    with pytest.raises(RestartLimitReached):
        async with Supervisor([cast("a")], max_restarts=0):
            await cast.crash("a")
            await anyio.sleep_forever()

    assert cast.events == ["a up", "a crashes"]


async def test_by_default_the_fourth_crash_within_five_seconds_is_too_many(cast: Cast) -> None:
    with pytest.raises(RestartLimitReached):
        async with Supervisor([cast("a")]):
            for _ in range(3):
                await cast.crash("a")

            assert cast["a"].lives == 4
            await cast.crash("a")
            await anyio.sleep_forever()


async def test_the_siblings_are_stopped_in_reverse_before_it_is_told(cast: Cast) -> None:
    with pytest.raises(RestartLimitReached):
        async with Supervisor([cast(id) for id in "abcd"], max_restarts=0):
            cast.forget()
            await cast.crash("b")
            await anyio.sleep_forever()

    assert cast.events == ["b crashes", "d down", "c down", "a down"]


async def test_the_error_tells_who_how_often_and_why_and_is_raised_from_the_last_error(cast: Cast) -> None:
    last = Boom("the third.")
    supervisor = Supervisor([cast("a"), cast("b")], max_restarts=2, max_seconds=10, name="app")
    with pytest.raises(RestartLimitReached) as caught:
        async with supervisor:
            await cast.crash("a")
            await cast.crash("b")
            await cast.crash("a", error=last)
            await anyio.sleep_forever()

    assert str(caught.value) == (
        "Supervisor 'app' gave up: child 'a' was to be restarted again, and 2 in 10 s are allowed. It ended last with Boom: the third."
    )
    assert caught.value.__cause__ is last
    assert (caught.value.supervisor, caught.value.child, caught.value.allowed, caught.value.seconds) == ("app", "a", 2, 10)
    assert supervisor.ended_by == "limit"
    assert supervisor.status == "closed"


async def test_in_the_background_the_limit_is_told_by_wait_and_stop_is_quiet(cast: Cast) -> None:
    supervisor = await Supervisor.start([cast("a"), cast("b")], max_restarts=0)
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            with pytest.raises(RestartLimitReached):
                await supervisor.wait()

            cast.record("told")

        group.start_soon(watch)
        await settled()
        await cast.crash("a")

    assert cast.events == ["a up", "b up", "a crashes", "b down", "told"]
    with pytest.raises(RestartLimitReached):
        await supervisor.wait()

    await supervisor.stop()
    assert supervisor.ended_by == "limit"


@in_virtual_time
async def test_crashes_farther_apart_than_the_period_never_end_it(cast: Cast) -> None:
    async with Supervisor([cast("a")], max_restarts=1, max_seconds=1.0):
        for _ in range(20):
            await cast.crash("a")
            await anyio.sleep(1.1)

        assert cast["a"].lives == 21


@pytest.mark.parametrize(("apart", "survives"), [(0.999, False), (1.0, False), (1.001, True)])
@in_virtual_time
async def test_a_restart_counts_up_to_and_at_the_very_edge_of_the_period(cast: Cast, apart: float, survives: bool) -> None:
    caught = None
    try:
        async with Supervisor([cast("a")], max_restarts=1, max_seconds=1.0):
            await anyio.sleep(100)
            await cast.crash("a")
            await anyio.sleep(apart)
            await cast.crash("a")
            await anyio.sleep(1)
    except RestartLimitReached as error:
        caught = error

    assert (caught is None) is survives


@in_virtual_time
async def test_the_window_slides(cast: Cast) -> None:
    async with Supervisor([cast("a")], max_restarts=2, max_seconds=1.0) as supervisor:
        for _ in range(50):
            await cast.crash("a")
            await anyio.sleep(0.4)
            assert supervisor.which_child("a").restarts <= 2
            await anyio.sleep(0.2)

        assert cast["a"].lives == 51


@in_virtual_time
async def test_the_restarts_used_and_allowed_can_be_read_and_pass_with_the_period(cast: Cast) -> None:
    async with Supervisor([cast("a"), cast("b")], max_restarts=5, max_seconds=10) as supervisor:
        await cast.crash("a")
        await anyio.sleep(6)
        await cast.crash("b")
        told = [(info.restarts, info.allowed) for info in supervisor.which_children()]
        assert told == [(2, 5), (2, 5)]

        await anyio.sleep(6)
        assert supervisor.which_child("a").restarts == 1
        await anyio.sleep(6)
        assert supervisor.which_child("a").restarts == 0


@in_virtual_time
async def test_a_wall_clock_that_jumps_back_changes_nothing(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    then = time.time()
    with pytest.raises(RestartLimitReached):
        async with Supervisor([cast("a")], max_restarts=1, max_seconds=60):
            await cast.crash("a")
            monkeypatch.setattr(time, "time", lambda: then - 3600)
            await cast.crash("a")
            await anyio.sleep_forever()


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_a_crash_that_restarts_a_whole_group_counts_once(cast: Cast, strategy: Any) -> None:
    async with Supervisor([cast(id) for id in "abc"], strategy=strategy, max_restarts=1) as supervisor:
        await cast.crash("a")
        assert [cast[id].lives for id in "abc"] == [2, 2, 2]
        assert supervisor.which_child("a").restarts == 1


async def test_all_children_share_the_budget_of_their_supervisor(cast: Cast) -> None:
    with pytest.raises(RestartLimitReached):
        async with Supervisor([cast("a"), cast("b"), cast("c")], max_restarts=2):
            await cast.crash("a")
            await cast.crash("b")
            await cast.crash("c")
            await anyio.sleep_forever()


@pytest.mark.parametrize(("allowed", "survives"), [(2, False), (3, True)])
async def test_each_restart_that_fails_counts(cast: Cast, allowed: int, survives: bool) -> None:
    caught = None
    try:
        async with Supervisor([cast("a", starts=[None, Boom(), Boom()])], max_restarts=allowed):
            await cast.crash("a")
            assert states is not None
            await settled()
    except RestartLimitReached as error:
        caught = error

    assert (caught is None) is survives
    assert cast.events[:5] == ["a up", "a crashes", "a fails", "a fails", *(["a up"] if survives else [])]


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
@pytest.mark.parametrize("allowed", [1, 10, 500])
async def test_a_child_that_can_never_be_restarted_ends_the_supervisor_by_itself(cast: Cast, kind: Any, allowed: int) -> None:
    cast("a")
    with pytest.raises(RestartLimitReached) as caught:
        async with kind(max_restarts=allowed, max_seconds=3600) as supervisor:
            await supervisor.start_child(cast("a"))
            cast["a"].broken = True
            await cast.crash("a")
            await anyio.sleep_forever()

    assert isinstance(caught.value.__cause__, Boom)
    assert cast.events == ["a up", "a crashes", *["a fails"] * allowed]


async def test_restarts_by_hand_never_count(cast: Cast) -> None:
    async with Supervisor([cast("a")], max_restarts=0) as supervisor:
        for _ in range(10):
            await supervisor.terminate_child("a")
            await supervisor.restart_child("a")

        assert supervisor.which_child("a").restarts == 0


async def test_starts_of_new_children_never_count(cast: Cast) -> None:
    async with Supervisor(max_restarts=0) as supervisor:
        for number in range(10):
            await supervisor.start_child(cast(f"a{number}"))


@pytest.mark.parametrize(("restart", "outcome"), [("permanent", "restarted"), ("transient", "restarted"), ("temporary", "dropped")])
async def test_a_subtree_past_its_limit_has_crashed_unlike_otps_which_has_shut_down(cast: Cast, restart: Any, outcome: str) -> None:
    inner = Supervisor.child_spec("inner", [cast("a")], restart=restart, max_restarts=0)
    async with Supervisor([inner, cast("b")]) as supervisor:
        await cast.crash("a")
        assert states(supervisor) == {"inner": "running", "b": "running"} if outcome == "restarted" else {"b": "running"}
        assert cast["a"].lives == (2 if outcome == "restarted" else 1)


async def test_the_limit_climbs_from_level_to_level_each_error_from_the_one_below(cast: Cast) -> None:
    cause = Boom("deep")
    inner = Supervisor.child_spec("inner", [cast("a")], max_restarts=0)
    middle = Supervisor.child_spec("middle", [inner, cast("b")], max_restarts=0)
    with pytest.raises(RestartLimitReached) as caught:
        async with Supervisor([middle, cast("c")], max_restarts=0, name="app"):
            await cast.crash("a", error=cause)
            await anyio.sleep_forever()

    chain: list[Any] = [caught.value]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)

    assert [getattr(error, "supervisor", error) for error in chain] == ["app", "app/middle", "app/middle/inner", cause]
    assert cast.events == ["a up", "b up", "c up", "a crashes", "b down", "c down"]


async def test_an_exception_of_the_body_comes_before_the_limit(cast: Cast) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Supervisor([cast("a")], max_restarts=0):
            try:
                await cast.crash("a")
                await anyio.sleep_forever()
            finally:
                raise ZeroDivisionError


async def test_the_limit_ends_the_body_where_it_waits(cast: Cast) -> None:
    ended: list[str] = []
    with pytest.raises(RestartLimitReached):
        async with Supervisor([cast("a")], max_restarts=0), anyio.create_task_group() as group:

            async def elsewhere() -> None:
                try:
                    await anyio.sleep_forever()
                finally:
                    ended.append("elsewhere")

            group.start_soon(elsewhere)
            await cast.crash("a")
            await anyio.sleep_forever()

    assert ended == ["elsewhere"]


async def test_a_limit_reached_while_the_children_are_starting_fails_the_start(cast: Cast) -> None:
    async def short_lived() -> None:
        raise Boom("at once")

    with pytest.raises((RestartLimitReached, StartFailed)) as caught:
        async with Supervisor([ChildSpec("a", short_lived), cast("b", starts=[0.01])], max_restarts=0):
            pytest.fail("the body must not run")

    assert "at once" in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"
    assert cast.alive == []


# --- a budget of its own ------------------------------------------------------------------------------------------------------------


async def test_a_childs_own_budget_replaces_the_supervisors(cast: Cast) -> None:
    async with Supervisor([cast("a", max_restarts=5), cast("b")], max_restarts=0) as supervisor:
        for _ in range(5):
            await cast.crash("a")

        info = supervisor.which_child("a")
        assert (cast["a"].lives, info.restarts, info.allowed) == (6, 5, 5)
        assert supervisor.which_child("b").restarts == 0


async def test_past_its_own_budget_a_child_takes_the_supervisor_down(cast: Cast) -> None:
    with pytest.raises(RestartLimitReached) as caught:
        async with Supervisor([cast("a", max_restarts=1, max_seconds=7), cast("b")], max_restarts=100):
            await cast.crash("a")
            await cast.crash("a")
            await anyio.sleep_forever()

    assert (caught.value.child, caught.value.allowed, caught.value.seconds) == ("a", 1, 7)
    assert cast.events[-1] == "b down"


@in_virtual_time
async def test_a_childs_own_window_has_its_own_length(cast: Cast) -> None:
    async with Supervisor([cast("a", max_restarts=1, max_seconds=1.0)], max_restarts=0, max_seconds=3600):
        for _ in range(10):
            await cast.crash("a")
            await anyio.sleep(1.5)

        assert cast["a"].lives == 11


async def test_a_childs_own_budget_counts_what_it_caused_not_what_its_group_brought(cast: Cast) -> None:
    children = [cast("a", max_restarts=0), cast("b")]
    async with Supervisor(children, strategy="one_for_all", max_restarts=5) as supervisor:
        await cast.crash("b")
        await cast.crash("b")
        assert cast["a"].lives == 3
        assert supervisor.which_child("a").restarts == 0
