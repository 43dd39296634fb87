"""What a supervisor tells in the log: crashes, since nobody awaits a child, and starts that take long. What was asked for is no news."""

from __future__ import annotations

import logging

import anyio
import pytest
from anyio.abc import TaskStatus
from supervision.cast import Boom, Cast, in_virtual_time

from dspex import ChildSpec, DynamicSupervisor, Supervisor


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(record.levelno, record.getMessage()) for record in caplog.records]


async def test_a_crash_of_a_child_that_comes_back_is_a_warning_with_its_traceback(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    async with Supervisor([cast("a")], name="app"):
        await cast.crash("a", error=Boom("no disk"))

    assert told(caplog) == [(logging.WARNING, "app/a crashed: Boom: no disk")]
    assert caplog.records[0].exc_info is not None


async def test_a_crash_of_one_that_does_not_is_an_error(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    async with DynamicSupervisor(name="jobs") as supervisor:
        await supervisor.start_child(cast("job", "temporary"))
        await cast.crash("job", error=Boom("no disk"))

    assert told(caplog) == [(logging.ERROR, "jobs/job crashed and is not started again: Boom: no disk")]


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("even this fails")


async def test_one_that_crashes_of_an_error_that_can_not_say_itself_comes_back_like_any_other(
    cast: Cast, caplog: pytest.LogCaptureFixture
) -> None:
    async with Supervisor([cast("a")], name="app") as supervisor:
        await cast.crash("a", error=Mute())
        assert supervisor.which_child("a").state == "running"

    assert told(caplog) == [(logging.WARNING, "app/a crashed: Mute")]


async def test_one_that_is_parked_though_it_only_returned_is_told_of_as_that(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    async with Supervisor([cast("a", max_restarts=0, max_seconds=7, on_limit="park")], name="app"):
        await cast.finish("a")

    assert told(caplog) == [(logging.ERROR, "app/a is parked: it was restarted 0 times in 7 s. It returned")]


async def test_a_return_and_a_stop_are_no_news(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    async with Supervisor([cast("a"), cast("b", "transient")]) as supervisor:
        await cast.finish("a")
        await cast.finish("b")
        await supervisor.terminate_child("a")

    assert told(caplog) == []


@in_virtual_time
async def test_a_start_that_never_says_that_it_is_ready_is_told_of_at_growing_intervals(caplog: pytest.LogCaptureFixture) -> None:
    async def forgetful(*, task_status: TaskStatus[None]) -> None:
        await anyio.sleep_forever()

    with anyio.move_on_after(100):
        async with Supervisor([ChildSpec("a", forgetful)], name="app"):
            pytest.fail("it is never up")

    said = [message.partition(" and ")[0] for _, message in told(caplog)]
    assert said == [f"app/a has been starting for {seconds} s" for seconds in (10, 30, 70)]
    assert "in test_a_start_that_never_says_that_it_is_ready" in caplog.records[0].getMessage()
