"""Permanent, transient, temporary, against every way in which a child may end."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio
from anyio.abc import TaskStatus
from supervision.cast import Boom, Cast, counts, forever, settled, states

from dspex import ChildExists, ChildSpec, DynamicSupervisor, RestartLimitReached, Supervisor

STRATEGIES = ["one_for_one", "one_for_all", "rest_for_one"]


async def test_a_permanent_child_that_returns_is_started_again(cast: Cast) -> None:
    async with Supervisor([cast("a", "permanent")]) as supervisor:
        await cast.finish("a")
        assert cast.events == ["a up", "a returns", "a up"]
        assert counts(supervisor) == (1, 1, 0, 1)


async def test_a_permanent_child_that_crashes_is_started_again(cast: Cast) -> None:
    async with Supervisor([cast("a", "permanent")]) as supervisor:
        await cast.crash("a")
        assert cast.events == ["a up", "a crashes", "a up"]
        assert counts(supervisor) == (1, 1, 0, 1)


async def test_a_transient_child_that_returns_is_not_started_again_and_stays_listed(cast: Cast) -> None:
    async with Supervisor([cast("a", "transient")]) as supervisor:
        await cast.finish("a")
        assert cast.events == ["a up", "a returns"]
        assert states(supervisor) == {"a": "stopped"}
        assert counts(supervisor) == (1, 0, 0, 1)


async def test_a_transient_child_that_crashes_is_started_again(cast: Cast) -> None:
    async with Supervisor([cast("a", "transient")]) as supervisor:
        await cast.crash("a")
        assert cast.events == ["a up", "a crashes", "a up"]
        assert states(supervisor) == {"a": "running"}


async def test_a_transient_child_that_returned_can_be_started_again_by_hand_and_again_stays_stopped(cast: Cast) -> None:
    async with Supervisor([cast("a", "transient")]) as supervisor:
        for _ in range(3):
            await cast.finish("a")
            assert states(supervisor) == {"a": "stopped"}
            await supervisor.restart_child("a")
            assert states(supervisor) == {"a": "running"}


@pytest.mark.parametrize("ends", ["finish", "crash"])
async def test_a_temporary_child_is_never_started_again_and_is_not_listed(cast: Cast, ends: str) -> None:
    async with Supervisor([cast("a", "temporary"), cast("b")]) as supervisor:
        await getattr(cast, ends)("a")
        assert cast.events[2:] == ["a returns" if ends == "finish" else "a crashes"]
        assert states(supervisor) == {"b": "running"}
        assert counts(supervisor) == (1, 1, 0, 1)


@pytest.mark.parametrize("ends", ["finish", "crash"])
async def test_the_id_of_a_temporary_child_that_ended_is_free_at_once(cast: Cast, ends: str) -> None:
    spec = cast("a", "temporary")
    async with Supervisor([spec]) as supervisor:
        for _ in range(3):
            await getattr(cast, ends)("a")
            assert (await supervisor.start_child(spec)).id == "a"


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("ends", ["finish", "crash", "terminate", "cancel"])
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_what_is_left_of_a_child_by_restart_type_ending_and_strategy(cast: Cast, strategy: Any, ends: str, restart: Any) -> None:
    """OTP's do_not_save_child_specs_for_temporary_children, and one row more for a stranger's cancellation."""
    spec = cast("a", restart)
    async with Supervisor([spec], strategy=strategy) as supervisor:
        if ends == "terminate":
            await supervisor.terminate_child("a")
        elif ends == "cancel":
            cancel_as_a_stranger(supervisor.path + "/a")
            await settled()
        else:
            await getattr(cast, ends)("a")

        if restart == "temporary":
            assert states(supervisor) == {}
            assert (await supervisor.start_child(spec)).state == "running"
        elif ends == "terminate" or (restart == "transient" and ends == "finish"):
            assert states(supervisor) == {"a": "stopped"}
            with pytest.raises(ChildExists) as caught:
                await supervisor.start_child(spec)

            assert caught.value.state == "stopped"
        else:
            assert states(supervisor) == {"a": "running"}
            assert cast["a"].lives == 2
            with pytest.raises(ChildExists) as caught:
                await supervisor.start_child(spec)

            assert caught.value.state == "running"


def cancel_as_a_stranger(name: str) -> None:
    """As somebody would who found the task of a child: asyncio's own cancel(), or an end that only trio's internals bring about."""
    if trio.lowlevel.in_trio_run():
        [task] = [task for task in _trio_tasks() if task.name == name]
        task._cancel_status._scope.cancel()  # the scope that the task lives in, which nobody but its supervisor has
    else:
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == name]
        task.cancel()


def _trio_tasks() -> list[Any]:
    found = [trio.lowlevel.current_root_task()]
    for task in found:
        found += [child for nursery in task.child_nurseries for child in nursery.child_tasks]

    return found


@pytest.mark.parametrize("anyio_backend", [("asyncio", {}), ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize(("restart", "lives"), [("permanent", 2), ("transient", 2), ("temporary", 1)])
async def test_a_strangers_cancellation_of_the_task_is_a_crash(cast: Cast, restart: Any, lives: int) -> None:
    async with Supervisor([cast("a", restart), cast("b")], name="app") as supervisor:
        cancel_as_a_stranger("app/a")
        await settled()
        assert cast["a"].lives == lives
        assert cast["b"].lives == 1
        assert supervisor.status == "running"


@pytest.mark.parametrize("anyio_backend", [("asyncio", {}), ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"])
async def test_past_the_limit_a_strangers_cancellation_is_told_as_what_it_was(cast: Cast) -> None:
    with pytest.raises(RestartLimitReached, match="cancelled by a stranger"):
        async with Supervisor([cast("a")], max_restarts=0, name="app"):
            cancel_as_a_stranger("app/a")
            await anyio.sleep_forever()


async def test_a_child_that_cancels_its_own_scope_and_returns_has_returned(cast: Cast) -> None:
    async def gives_up() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.sleep_forever()

        cast.record("gave up")

    async with Supervisor([ChildSpec("a", gives_up, restart="transient")]) as supervisor:
        await settled()
        assert states(supervisor) == {"a": "stopped"}
        assert cast.events == ["gave up"]


async def test_a_group_of_exceptions_is_a_crash_and_is_the_childs_error(cast: Cast) -> None:
    group = ExceptionGroup("two", [Boom("1"), Boom("2")])
    async with Supervisor([cast("a")]) as supervisor:
        await cast.crash("a", error=group)
        assert cast["a"].lives == 2
        assert supervisor.which_child("a").error is group


async def test_a_childs_own_timeout_is_a_crash(cast: Cast) -> None:
    lives: list[int] = []

    async def impatient() -> None:
        lives.append(len(lives))
        if len(lives) > 1:
            await anyio.sleep_forever()

        with anyio.fail_after(0):
            await anyio.sleep_forever()

    async with Supervisor([ChildSpec("a", impatient, restart="transient")]) as supervisor:
        await settled()
        assert lives == [0, 1]
        assert isinstance(supervisor.which_child("a").error, TimeoutError)


@pytest.mark.parametrize("swallows", ["returns", "finishes behind a shield", "raises"])
async def test_whatever_a_child_does_once_it_was_asked_to_stop_it_was_asked(cast: Cast, swallows: str) -> None:
    spec = cast("a", "permanent")
    cast["a"].swallows = swallows == "returns"
    cast["a"].lingers = 0.001 if swallows == "finishes behind a shield" else 0.0
    cast["a"].last_words = Boom() if swallows == "raises" else None
    async with Supervisor([spec], max_restarts=0) as supervisor:
        await supervisor.terminate_child("a")
        assert states(supervisor) == {"a": "stopped"}
        await settled()
        assert cast["a"].lives == 1


async def test_with_intensity_zero_a_temporary_child_may_crash_it_never_counts(cast: Cast) -> None:
    async with Supervisor([cast("a", "temporary"), cast("b")], max_restarts=0) as supervisor:
        await cast.crash("a")
        assert states(supervisor) == {"b": "running"}


async def test_normal_ends_of_a_permanent_child_count(cast: Cast) -> None:
    with pytest.raises(RestartLimitReached) as caught:
        async with Supervisor([cast("a")], max_restarts=1):
            await cast.finish("a")
            assert cast["a"].lives == 2
            await cast.finish("a")
            await anyio.sleep_forever()

    assert caught.value.__cause__ is None


async def test_children_of_the_three_types_side_by_side(cast: Cast) -> None:
    children = [cast("p", "permanent"), cast("t", "transient"), cast("x", "temporary")]
    async with Supervisor(children, max_restarts=10) as supervisor:
        await cast.finish("p", "t", "x")
        assert states(supervisor) == {"p": "running", "t": "stopped"}
        await supervisor.restart_child("t")
        await supervisor.start_child(cast("x", "temporary"))
        await cast.crash("p", "t", "x")
        assert states(supervisor) == {"p": "running", "t": "running"}


class Large:
    """What a start may hold on to."""


def holding(large: Large, *, sink: list[int]) -> Callable[[], Awaitable[None]]:
    def start() -> Awaitable[None]:
        sink.append(id(large))
        return forever()

    return start


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
@pytest.mark.parametrize("after_a_death", [False, True], ids=["first", "after one has died"])
async def test_a_temporary_childs_start_is_not_kept_while_it_runs(cast: Cast, kind: Any, after_a_death: bool) -> None:
    sink: list[int] = []
    async with kind() as supervisor:
        if after_a_death:
            await supervisor.start_child(cast("a", "temporary"))
            await cast.crash("a")

        large = Large()
        gone = weakref.ref(large)
        await supervisor.start_child(ChildSpec("large", holding(large, sink=sink), restart="temporary"))
        await settled()
        del large
        gc.collect()
        assert sink
        assert gone() is None
        assert states(supervisor) == {"large": "running"}


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
async def test_a_child_that_may_be_restarted_keeps_its_start(kind: Any) -> None:
    sink: list[int] = []
    async with kind() as supervisor:
        large = Large()
        gone = weakref.ref(large)
        await supervisor.start_child(ChildSpec("large", holding(large, sink=sink), restart="transient"))
        await settled()
        del large
        gc.collect()
        assert gone() is not None


async def test_a_child_that_raises_after_it_said_it_was_ready_has_started(cast: Cast) -> None:
    lives: list[int] = []

    async def short(*, task_status: TaskStatus[int]) -> None:
        lives.append(1)
        task_status.started(len(lives))
        if len(lives) == 1:
            raise Boom

        await anyio.sleep_forever()

    async with Supervisor([ChildSpec("a", short), cast("b")]) as supervisor:
        await settled()
        assert len(lives) == 2
        assert states(supervisor) == {"a": "running", "b": "running"}


async def test_a_child_that_says_twice_that_it_is_ready_crashes_by_its_own_error() -> None:
    async def twice(*, task_status: TaskStatus[None]) -> None:
        task_status.started()
        task_status.started()

    async with Supervisor([ChildSpec("a", twice, restart="temporary")]) as supervisor:
        await settled()
        assert supervisor.which_children() == ()
