"""What runs for long and restarts often keeps nothing of its past."""

from __future__ import annotations

import gc
import logging
import weakref
from typing import Any

import leaks
import pytest
from supervision.cast import Boom, Cast, forever, settled, states

from dspex import ChildSpec, DynamicSupervisor, StartFailed, Supervisor
from dspex.supervision._child import Child, Run

MANY = 10**9


@pytest.fixture(autouse=True)
def nothing_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever collects log records keeps the errors in them, and so what those came through."""
    caplog.set_level(logging.CRITICAL + 1, "dspex.supervision")


def alive(kind: type) -> int:
    gc.collect()
    return sum(type(found) is kind for found in gc.get_objects())


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
async def test_after_many_restarts_there_are_as_many_tasks_and_lives_as_before(cast: Cast, strategy: Any) -> None:
    async with Supervisor([cast("a"), cast("b")], strategy=strategy, max_restarts=MANY) as supervisor:
        await cast.crash("a")
        tasks, runs = len(leaks.tasks()), alive(Run)
        for _ in range(50):
            await cast.crash("a")

        assert len(leaks.tasks()) == tasks
        assert alive(Run) == runs
        assert states(supervisor) == {"a": "running", "b": "running"}


async def test_the_last_error_does_not_drag_the_earlier_ones_along(cast: Cast) -> None:
    async with Supervisor([cast("a")], max_restarts=MANY) as supervisor:
        for number in range(20):
            await cast.crash("a", error=Boom(number))

        error: BaseException | None = supervisor.which_child("a").error
        assert str(error) == "19"
        assert error is not None
        assert error.__context__ is None
        assert error.__cause__ is None


@pytest.mark.parametrize("ends", ["by itself", "terminated"])
async def test_children_that_came_and_went_leave_nothing_with_a_dynamic_supervisor(ends: str) -> None:
    async def at_once() -> None: ...

    async with DynamicSupervisor() as supervisor:
        children, runs, tasks = alive(Child), alive(Run), len(leaks.tasks())
        for number in range(200):
            await supervisor.start_child(ChildSpec(f"a{number}", at_once if ends == "by itself" else forever, restart="temporary"))
            if ends == "terminated":
                await supervisor.terminate_child(f"a{number}")

        await settled()
        assert supervisor.which_children() == ()
        assert (alive(Child), alive(Run), len(leaks.tasks())) == (children, runs, tasks)


async def crashes_once(lives: list[int]) -> None:
    lives.append(1)
    if len(lives) == 1:
        raise Boom

    await forever()


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
async def test_a_supervisor_that_is_over_can_be_forgotten(kind: Any) -> None:
    lives: list[int] = []
    async with kind() as supervisor:
        await supervisor.start_child(ChildSpec("a", lambda: crashes_once(lives)))
        await settled()
        assert len(lives) == 2

    gone = weakref.ref(supervisor)
    del supervisor
    await settled()
    gc.collect()
    assert gone() is None


async def test_failed_starts_leave_nothing() -> None:
    async def fails(*, task_status: Any) -> None:
        raise Boom

    async with Supervisor() as supervisor:
        children, runs, tasks = alive(Child), alive(Run), len(leaks.tasks())
        for _ in range(50):
            try:
                await supervisor.start_child(ChildSpec("a", fails))
            except StartFailed:
                pass

        await settled()
        assert (alive(Child), alive(Run), len(leaks.tasks())) == (children, runs, tasks)
