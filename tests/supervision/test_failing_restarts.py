"""Restarts that fail: tried again, counted, visible, and never in the way of anything else."""

from __future__ import annotations

import itertools
from typing import Any

import anyio
import pytest
from anyio.abc import TaskStatus
from supervision.cast import IGNORE, Boom, Cast, counts, in_virtual_time, settled, states, values

from dspex import Backoff, ChildExists, ChildNotFound, ChildRunning, ChildSpec, DynamicSupervisor, RestartLimitReached, Supervisor

MANY = 10**9
"""Restarts enough for a loop that never ends."""


def steadily(seconds: float) -> Backoff:
    return Backoff(initial=seconds, factor=1.0, maximum=seconds, jitter=0.0)


async def test_a_restart_that_fails_is_tried_again(cast: Cast) -> None:
    async with Supervisor([cast("a", starts=[None, Boom()])]) as supervisor:
        await cast.crash("a")
        assert cast.events == ["a up", "a crashes", "a fails", "a up"]
        assert states(supervisor) == {"a": "running"}


async def test_of_a_group_that_came_back_in_part_the_part_is_stopped_before_the_next_try(cast: Cast) -> None:
    children = [cast("a"), cast("b", starts=[None, Boom()]), cast("c")]
    async with Supervisor(children, strategy="one_for_all"):
        cast.forget()
        await cast.crash("c")
        assert cast.events == ["c crashes", "b down", "a down", "a up", "b fails", "a down", "a up", "b up", "c up"]


async def test_rest_for_one_goes_on_from_the_one_that_failed(cast: Cast) -> None:
    children = [cast("a"), cast("b"), cast("c", starts=[None, Boom()]), cast("d")]
    async with Supervisor(children, strategy="rest_for_one"):
        cast.forget()
        await cast.crash("b")
        assert cast.events == ["b crashes", "d down", "c down", "b up", "c fails", "c up", "d up"]


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
async def test_a_loop_of_failing_restarts_is_visible_and_holds_nobody(cast: Cast, strategy: Any) -> None:
    async with Supervisor([cast("a")], strategy=strategy, max_restarts=MANY, name="app") as supervisor:
        cast["a"].broken = True
        await cast.crash("a")
        assert cast.events.count("a fails") > 3
        assert states(supervisor)["a"] in ("restarting", "starting")
        assert counts(supervisor) == (1, 0, 0, 1)

        with pytest.raises(ChildExists) as exists:
            await supervisor.start_child(cast_again(cast, "a"))

        with pytest.raises(ChildRunning):
            await supervisor.restart_child("a")

        with pytest.raises(ChildRunning):
            await supervisor.delete_child("a")

        assert exists.value.state in ("restarting", "starting")
        cast["a"].broken = False
        await settled()
        assert states(supervisor) == {"a": "running"}


def cast_again(cast: Cast, id: str) -> ChildSpec:
    """Another spec of the same id, that takes nothing from the cast."""
    return ChildSpec(id, anyio.sleep_forever)


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
async def test_terminate_child_ends_a_loop_of_failing_restarts(cast: Cast, strategy: Any) -> None:
    async with Supervisor([cast("a")], strategy=strategy, max_restarts=MANY) as supervisor:
        cast["a"].broken = True
        await cast.crash("a")
        await supervisor.terminate_child("a")
        assert states(supervisor) == {"a": "stopped"}
        cast.forget()
        await settled()
        assert cast.events == []

        cast["a"].broken = False
        assert (await supervisor.restart_child("a")).state == "running"


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
async def test_leaving_the_block_ends_a_loop_of_failing_restarts(cast: Cast, strategy: Any) -> None:
    async with Supervisor([cast("a"), cast("b")], strategy=strategy, max_restarts=MANY) as supervisor:
        cast["b"].broken = True
        await cast.crash("b")

    assert supervisor.ended_by == "stop"
    assert cast.events[-1] == "a down"


@pytest.mark.parametrize("shielded", [False, True])
@in_virtual_time
async def test_leaving_the_block_ends_a_restart_that_takes_long(cast: Cast, shielded: bool) -> None:
    lives: list[int] = []

    async def slow(*, task_status: TaskStatus[None]) -> None:
        lives.append(1)
        if len(lives) > 1:
            with anyio.CancelScope(shield=shielded):
                await anyio.sleep(60)

        task_status.started()
        await cast["a"].cue.wait()

    cast("a")
    async with Supervisor([ChildSpec("slow", slow), cast("b")]) as supervisor:
        await cast.finish("a")
        assert states(supervisor)["slow"] == "starting"

    assert anyio.current_time() == pytest.approx(60.0 if shielded else 0.0)
    assert cast.events[-1] == "b down"


async def test_a_loop_in_the_middle_of_rest_for_one_leaves_the_earlier_up_and_the_later_down(cast: Cast) -> None:
    async with Supervisor([cast(id) for id in "abc"], strategy="rest_for_one", max_restarts=MANY) as supervisor:
        cast["b"].broken = True
        await cast.crash("b")
        told = states(supervisor)
        assert told["a"] == "running"
        assert told["b"] in ("restarting", "starting")
        assert told["c"] in ("restarting", "stopped")
        assert counts(supervisor) == (3, 1, 0, 3)

        cast["b"].broken = False
        await settled()
        assert states(supervisor) == dict.fromkeys("abc", "running")


async def test_terminating_the_one_in_the_loop_lets_the_rest_of_its_group_come_up(cast: Cast) -> None:
    async with Supervisor([cast(id) for id in "abc"], strategy="rest_for_one", max_restarts=MANY) as supervisor:
        cast["b"].broken = True
        await cast.crash("b")
        await supervisor.terminate_child("b")
        await settled()
        assert states(supervisor) == {"a": "running", "b": "stopped", "c": "running"}


async def test_of_a_dynamic_supervisor_a_child_in_the_loop_can_be_terminated_once(cast: Cast) -> None:
    async with DynamicSupervisor(max_restarts=MANY) as supervisor:
        await supervisor.start_child(cast("a"))
        cast["a"].broken = True
        await cast.crash("a")
        assert counts(supervisor) == (1, 0, 0, 1)

        await supervisor.terminate_child("a")
        with pytest.raises(ChildNotFound):
            await supervisor.terminate_child("a")

        assert counts(supervisor) == (0, 0, 0, 0)


async def test_a_child_that_fails_once_and_then_works_is_up(cast: Cast) -> None:
    async with DynamicSupervisor(max_restarts=2) as supervisor:
        await supervisor.start_child(cast("a", starts=[None, Boom()]))
        await cast.crash("a")
        assert values(supervisor) == {"a": "a#3"}


@pytest.mark.parametrize("restart", ["permanent", "transient"])
async def test_a_restart_that_ignores_drops_the_child_of_a_dynamic_supervisor(cast: Cast, restart: Any) -> None:
    async with DynamicSupervisor() as supervisor:
        await supervisor.start_child(cast("a", restart, starts=[None, IGNORE]))
        await cast.crash("a")
        assert counts(supervisor) == (0, 0, 0, 0)


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
async def test_a_restart_that_ignores_leaves_the_child_of_a_supervisor_stopped(cast: Cast, strategy: Any) -> None:
    async with Supervisor([cast("a", starts=[None, IGNORE]), cast("b")], strategy=strategy) as supervisor:
        await cast.crash("a")
        assert states(supervisor) == {"a": "stopped", "b": "running"}


async def test_what_is_counted_after_restarts_that_go_well_ignore_or_fail(cast: Cast) -> None:
    """Elixir's table: workers, active."""
    told: list[tuple[int, int]] = []
    async with DynamicSupervisor(max_restarts=MANY) as supervisor:
        for id, again in [("well", None), ("again well", None), ("ignores", IGNORE), ("fails", Boom())]:
            await supervisor.start_child(cast(id, starts=[None, again]))
            cast[id].broken = isinstance(again, Boom)
            await cast.crash(id)
            told.append((counts(supervisor)[3], counts(supervisor)[1]))

    assert told == [(1, 1), (2, 2), (2, 2), (3, 2)]


async def test_a_child_that_crashes_right_after_a_restart_is_counted_again(cast: Cast) -> None:
    lives: list[int] = []

    async def short_lived(*, task_status: TaskStatus[None]) -> None:
        lives.append(1)
        task_status.started()
        if len(lives) < 4:
            raise Boom(len(lives))

        await anyio.sleep_forever()

    async with Supervisor([ChildSpec("a", short_lived)], max_restarts=3) as supervisor:
        await settled()
        assert len(lives) == 4
        assert supervisor.which_child("a").restarts == 3


async def test_a_loop_of_restarts_lets_others_run_between_two_tries(cast: Cast) -> None:
    rounds: list[int] = []
    async with Supervisor([cast("a")], max_restarts=MANY), anyio.create_task_group() as group:

        async def other() -> None:
            for _ in range(20):
                rounds.append(cast["a"].lives)
                await anyio.lowlevel.checkpoint()

        cast["a"].broken = True
        cast["a"].take_cue(Boom())
        group.start_soon(other)
        await settled()

    # It never runs away: each time that others had their turn, a few tries at most were made.
    assert len(rounds) == 20
    assert all(later - earlier <= 2 for earlier, later in itertools.pairwise(rounds))


# --- backoff ------------------------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_with_a_backoff_restarts_in_a_row_wait_ever_longer(cast: Cast) -> None:
    backoff = Backoff(initial=1.0, factor=2.0, maximum=5.0, jitter=0.0)
    async with Supervisor([cast("a", starts=[None, *[Boom()] * 4], backoff=backoff)], max_restarts=10):
        await cast.crash("a")
        await anyio.sleep(60)
        assert cast.timed == [
            (0.0, "a up"),
            (0.0, "a crashes"),
            (1.0, "a fails"),
            (3.0, "a fails"),
            (7.0, "a fails"),
            (12.0, "a fails"),
            (17.0, "a up"),
        ]


@in_virtual_time
async def test_a_child_that_ran_longer_than_the_backoffs_maximum_begins_anew(cast: Cast) -> None:
    backoff = Backoff(initial=1.0, factor=10.0, maximum=100.0, jitter=0.0)
    async with Supervisor([cast("a", backoff=backoff)], max_restarts=10):
        await cast.crash("a")
        await anyio.sleep(2)
        await cast.crash("a")
        await anyio.sleep(11)
        cast.forget()
        await anyio.sleep(100)
        await cast.crash("a")
        began = anyio.current_time()
        await anyio.sleep(2)
        assert [event for _, event in cast.timed] == ["a crashes", "a up"]
        assert cast.timed[-1][0] == pytest.approx(began + 1.0)


@in_virtual_time
async def test_any_object_with_a_delay_will_do_and_its_strikes_are_forgotten_after_thirty_seconds(cast: Cast) -> None:
    class Doubling:
        strikes: list[int] = []  # noqa: RUF012

        def delay(self, strikes: int) -> float:
            self.strikes.append(strikes)
            return 1.0

    async with Supervisor([cast("a", backoff=Doubling())], max_restarts=MANY):
        for pause in (2, 20, 29, 33, 2):
            await cast.crash("a")
            await anyio.sleep(pause)

    assert Doubling.strikes == [1, 2, 3, 4, 1]


@in_virtual_time
async def test_a_child_that_waits_for_its_restart_is_restarting_and_not_active(cast: Cast) -> None:
    async with Supervisor([cast("a", backoff=steadily(10)), cast("b")]) as supervisor:
        await cast.crash("a")
        assert states(supervisor) == {"a": "restarting", "b": "running"}
        assert counts(supervisor) == (2, 1, 0, 2)


@in_virtual_time
async def test_one_childs_backoff_delays_no_siblings_restart(cast: Cast) -> None:
    async with Supervisor([cast("a", backoff=steadily(3600)), cast("b")]) as supervisor:
        await cast.crash("a")
        await cast.crash("b")
        assert states(supervisor) == {"a": "restarting", "b": "running"}


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
@in_virtual_time
async def test_leaving_the_block_does_not_wait_for_a_backoff(cast: Cast, strategy: Any) -> None:
    async with Supervisor([cast("a"), cast("b", backoff=steadily(3600))], strategy=strategy):
        await cast.crash("b")

    assert anyio.current_time() < 1.0


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
@in_virtual_time
async def test_an_outer_timeout_does_not_wait_for_a_backoff(cast: Cast, strategy: Any) -> None:
    with anyio.move_on_after(5) as scope:
        async with Supervisor([cast("a"), cast("b", backoff=steadily(3600))], strategy=strategy):
            await cast.crash("b")
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert anyio.current_time() == pytest.approx(5.0)


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
@in_virtual_time
async def test_terminate_child_does_not_wait_for_a_backoff(cast: Cast, strategy: Any) -> None:
    async with Supervisor([cast("a", backoff=steadily(60)), cast("b")], strategy=strategy) as supervisor:
        await cast.crash("a")
        await supervisor.terminate_child("a")
        assert anyio.current_time() < 1.0
        assert states(supervisor)["a"] == "stopped"
        await anyio.sleep(600)
        assert cast["a"].lives == 1
        assert states(supervisor) == {"a": "stopped", "b": "running"}


@in_virtual_time
async def test_a_group_waits_stopped_for_the_backoff_of_the_one_that_crashed(cast: Cast) -> None:
    async with Supervisor([cast("a"), cast("b", backoff=steadily(10))], strategy="one_for_all"):
        await cast.crash("b")
        await anyio.sleep(20)
        assert cast.timed[2:] == [(0.0, "b crashes"), (0.0, "a down"), (10.0, "a up"), (10.0, "b up")]


@in_virtual_time
async def test_restarts_that_wait_still_count(cast: Cast) -> None:
    with pytest.raises(RestartLimitReached):
        async with Supervisor([cast("a", backoff=steadily(1))], max_restarts=3, max_seconds=10):
            cast["a"].broken = True
            await cast.crash("a")
            await anyio.sleep_forever()

    assert cast.timed[-1] == (3.0, "a fails")


@in_virtual_time
async def test_a_backoff_keeps_a_broken_child_within_its_budget_for_ever(cast: Cast) -> None:
    async with Supervisor([cast("a", backoff=steadily(2))], max_restarts=3, max_seconds=5):
        cast["a"].broken = True
        await cast.crash("a")
        await anyio.sleep(3601)
        assert cast.events.count("a fails") == 1800
