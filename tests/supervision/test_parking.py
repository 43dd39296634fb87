"""A child that fails too often may be parked: visible, with its siblings running, until somebody starts it again."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from supervision.cast import Boom, Cast, counts, in_virtual_time, settled, states, values

from dspex import Backoff, ChildExists, ChildRunning, ChildSpec, DynamicSupervisor, RestartLimitReached, StartFailed, Supervisor


def parks(cast: Cast, id: str = "bad", max_restarts: int | None = 1, **options: Any) -> ChildSpec:
    return cast(id, on_limit="park", max_restarts=max_restarts, **options)


async def test_past_its_budget_it_is_parked_and_its_siblings_run_on(cast: Cast) -> None:
    async with Supervisor([cast("a"), parks(cast), cast("b")], max_restarts=0) as supervisor:
        cast.forget()
        await cast.crash("bad")
        await cast.crash("bad")
        assert cast.events == ["bad crashes", "bad up", "bad crashes"]
        assert states(supervisor) == {"a": "running", "bad": "parked", "b": "running"}
        assert counts(supervisor) == (3, 2, 0, 3)


async def test_the_parked_one_shows_its_error_its_budget_and_no_value(cast: Cast) -> None:
    boom = Boom("the last")
    async with Supervisor([parks(cast)]) as supervisor:
        await cast.crash("bad")
        await cast.crash("bad", error=boom)
        info = supervisor.which_child("bad")
        assert (info.state, info.value, info.error, info.allowed) == ("parked", None, boom, 1)


async def test_it_is_told_in_the_log_and_to_on_change(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    boom = Boom("no disk")
    told: list[Any] = []
    spec = parks(cast, max_restarts=0, on_change=lambda state, error: told.append((state, error)))
    async with Supervisor([spec], name="app", max_seconds=7.0):
        await cast.crash("bad", error=boom)

    assert told == [("starting", None), ("running", None), ("parked", boom), ("gone", None)]
    assert [record.getMessage() for record in caplog.records] == [
        "app/bad crashed: Boom: no disk",
        "app/bad is parked: it was restarted 0 times in 7 s. Boom: no disk",
    ]


async def test_without_numbers_of_its_own_it_has_a_budget_of_its_supervisors_size_to_itself(cast: Cast) -> None:
    children = [parks(cast, "one", None), parks(cast, "other", None), cast("c")]
    async with Supervisor(children, max_restarts=2) as supervisor:
        for _ in range(3):
            await cast.crash("one")

        assert states(supervisor) == {"one": "parked", "other": "running", "c": "running"}
        for _ in range(2):
            await cast.crash("other")
            await cast.crash("c")

        assert states(supervisor) == {"one": "parked", "other": "running", "c": "running"}


async def test_restart_child_starts_a_parked_one_with_a_fresh_budget(cast: Cast) -> None:
    async with Supervisor([parks(cast)]) as supervisor:
        for _ in range(3):
            await cast.crash("bad")
            await cast.crash("bad")
            assert states(supervisor) == {"bad": "parked"}
            info = await supervisor.restart_child("bad")
            assert (info.state, info.restarts) == ("running", 0)

        assert values(supervisor) == {"bad": "bad#7"}


async def test_restart_child_that_fails_leaves_it_stopped(cast: Cast) -> None:
    async with Supervisor([parks(cast, max_restarts=0)]) as supervisor:
        cast["bad"].broken = True
        await cast.crash("bad")
        with pytest.raises(StartFailed):
            await supervisor.restart_child("bad")

        assert states(supervisor) == {"bad": "stopped"}


async def test_a_parked_one_has_its_id(cast: Cast) -> None:
    async with Supervisor([parks(cast, max_restarts=0)], name="app") as supervisor:
        await cast.crash("bad")
        with pytest.raises(ChildExists) as caught:
            await supervisor.start_child(ChildSpec("bad", anyio.sleep_forever))

        assert str(caught.value) == (
            "Supervisor 'app' has a child 'bad' already, which is parked. restart_child() starts it again, delete_child() makes room."
        )


async def test_a_parked_one_can_be_deleted(cast: Cast) -> None:
    async with Supervisor([parks(cast, max_restarts=0)]) as supervisor:
        await cast.crash("bad")
        await supervisor.delete_child("bad")
        assert states(supervisor) == {}


async def test_a_parked_one_that_is_terminated_is_stopped(cast: Cast) -> None:
    async with Supervisor([parks(cast, max_restarts=0)]) as supervisor:
        await cast.crash("bad")
        await supervisor.terminate_child("bad")
        assert states(supervisor) == {"bad": "stopped"}


@in_virtual_time
async def test_one_that_is_not_parked_yet_cannot_be_restarted_by_hand(cast: Cast) -> None:
    async with Supervisor([parks(cast, backoff=Backoff(initial=60.0, maximum=60.0))]) as supervisor:
        await cast.crash("bad")
        with pytest.raises(ChildRunning) as caught:
            await supervisor.restart_child("bad")

        assert caught.value.state == "restarting"


@in_virtual_time
async def test_with_a_backoff_it_is_tried_ever_more_slowly_and_then_parked(cast: Cast) -> None:
    backoff = Backoff(initial=1.0, factor=2.0, maximum=30.0, jitter=0.0)
    async with Supervisor([parks(cast, max_restarts=3, max_seconds=60.0, backoff=backoff)]) as supervisor:
        cast["bad"].broken = True
        await cast.crash("bad")
        await anyio.sleep(3600)
        assert states(supervisor) == {"bad": "parked"}
        assert cast.timed[2:] == [(1.0, "bad fails"), (3.0, "bad fails"), (7.0, "bad fails")]


@in_virtual_time
async def test_after_restart_child_the_backoff_begins_anew(cast: Cast) -> None:
    backoff = Backoff(initial=1.0, factor=10.0, maximum=1000.0, jitter=0.0)
    async with Supervisor([parks(cast, max_restarts=1, max_seconds=100.0, backoff=backoff)]) as supervisor:
        await cast.crash("bad")
        await anyio.sleep(2)
        await cast.crash("bad")
        assert states(supervisor) == {"bad": "parked"}
        await supervisor.restart_child("bad")
        cast.forget()
        await cast.crash("bad")
        began = anyio.current_time()
        await anyio.sleep(2)
        assert cast.timed[-1] == (began + 1.0, "bad up")


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_a_parked_one_leaves_its_group_as_it_is(cast: Cast, strategy: Any) -> None:
    async with Supervisor([parks(cast, max_restarts=0), cast("b")], strategy=strategy) as supervisor:
        cast.forget()
        await cast.crash("bad")
        assert cast.events == ["bad crashes"]
        assert states(supervisor) == {"bad": "parked", "b": "running"}


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_a_parked_one_stays_parked_when_its_group_restarts(cast: Cast, strategy: Any) -> None:
    async with Supervisor([cast("a"), parks(cast, max_restarts=0), cast("c")], strategy=strategy) as supervisor:
        await cast.crash("bad")
        await cast.crash("a")
        assert states(supervisor) == {"a": "running", "bad": "parked", "c": "running"}
        assert cast["bad"].lives == 1


async def test_a_parked_one_is_not_restarted_by_itself_ever_again(cast: Cast) -> None:
    async with Supervisor([parks(cast, max_restarts=0)]) as supervisor:
        await cast.crash("bad")
        await settled()
        assert cast["bad"].lives == 1
        assert states(supervisor) == {"bad": "parked"}


async def test_a_dynamic_child_can_be_parked_and_keeps_its_place(cast: Cast) -> None:
    async with DynamicSupervisor(max_children=2, max_restarts=0) as supervisor:
        await supervisor.start_child(parks(cast, max_restarts=0))
        await supervisor.start_child(cast("b"))
        await cast.crash("bad")
        assert states(supervisor) == {"bad": "parked", "b": "running"}
        assert counts(supervisor) == (2, 1, 0, 2)
        assert (await supervisor.restart_child("bad")).state == "running"


async def test_a_branch_can_be_parked_and_started_again(cast: Cast) -> None:
    branch = Supervisor.child_spec("branch", [cast("leaf")], max_restarts=0, on_limit="park")
    async with Supervisor([branch, cast("a")], max_restarts=0) as supervisor:
        await cast.crash("leaf")
        assert states(supervisor) == {"branch": "parked", "a": "running"}
        assert isinstance(supervisor.which_child("branch").error, RestartLimitReached)
        await supervisor.restart_child("branch")
        assert cast.alive == ["leaf", "a"]


async def test_a_parked_one_is_gone_with_its_supervisor(cast: Cast) -> None:
    told: list[str] = []
    async with Supervisor([parks(cast, max_restarts=0, on_change=lambda state, _: told.append(state))]):
        await cast.crash("bad")

    assert told[-2:] == ["parked", "gone"]


async def test_with_all_significant_a_parked_one_is_not_waited_for(cast: Cast) -> None:
    """It has not ended, but nothing will make it end."""
    bad = cast("bad", "transient", significant=True, on_limit="park", max_restarts=0)
    async with Supervisor([bad, cast("b", "transient", significant=True)], auto_shutdown="all_significant") as supervisor:
        await cast.crash("bad")
        assert supervisor.status == "running"
        await cast.finish("b")
        pytest.fail("it must have ended")
