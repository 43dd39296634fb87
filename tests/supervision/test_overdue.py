"""A task can't be killed. One that doesn't end in its time is told of by name, with its stack, at growing intervals, until it is gone."""

from __future__ import annotations

import math
import re
from typing import Any

import anyio
import pytest
from supervision.cast import Cast, in_virtual_time, states

from dspex import ChildSpec, DynamicSupervisor, Supervisor

LOGGER = "dspex.supervision"


async def stubborn(seconds: float) -> None:
    with anyio.CancelScope(shield=True):
        await digs(seconds)


async def digs(seconds: float) -> None:
    await anyio.sleep(seconds)


def reports(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "overdue" in record.getMessage()]


def told_after(caplog: pytest.LogCaptureFixture) -> list[float]:
    return [float(re.findall(r"asked to stop ([\d.]+) s ago", report)[0]) for report in reports(caplog)]


@in_virtual_time
async def test_it_is_reported_by_its_path_how_long_ago_it_was_asked_and_where_it_is(caplog: pytest.LogCaptureFixture) -> None:
    async with Supervisor([ChildSpec("worker", lambda: stubborn(10.5), shutdown=2.0)], name="app"):
        pass

    first = reports(caplog)[0]
    assert first.startswith("app/worker is overdue: it was asked to stop 2 s ago and is still there. It is at\n")
    stack = first.splitlines()[1:]
    ours = [line for line in stack if __file__ in line]
    assert [line.rpartition(" in ")[2] for line in ours] == ["stubborn", "digs"]
    assert all(re.fullmatch(r"  .+\.py:\d+ in .+", line) for line in stack)


@in_virtual_time
async def test_reports_come_at_growing_intervals_up_to_one_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    async with Supervisor([ChildSpec("worker", lambda: stubborn(300), shutdown=1.0)]):
        pass

    assert told_after(caplog) == [1, 2, 4, 8, 16, 32, 64, 124, 184, 244]


@in_virtual_time
async def test_a_child_that_ends_in_its_time_is_not_reported(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    async with Supervisor([cast("a", lingers=4.9, shutdown=5.0), cast("b", asked=4.9, shutdown=5.0)]):
        pass

    assert caplog.records == []


@in_virtual_time
async def test_a_child_without_a_time_limit_is_never_overdue(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    async with Supervisor([cast("a", lingers=86_400.0, shutdown=math.inf)]):
        pass

    assert anyio.current_time() == pytest.approx(86_400.0)
    assert caplog.records == []


@pytest.mark.parametrize("shutdown", ["brutal_kill", 0, 0.05])
@in_virtual_time
async def test_a_child_with_no_time_at_all_has_a_moment_to_unwind_and_is_overdue_then(
    cast: Cast, caplog: pytest.LogCaptureFixture, shutdown: Any
) -> None:
    async with Supervisor([cast("quick", lingers=0.09, shutdown=shutdown), cast("slow", lingers=3.0, shutdown=shutdown)], name="app"):
        pass

    assert [report.partition(" is ")[0] for report in reports(caplog)] == ["app/slow"] * 2
    assert told_after(caplog)[0] == pytest.approx(0.1)


@in_virtual_time
async def test_one_that_was_asked_first_is_cancelled_after_its_time_and_overdue_a_moment_later(
    cast: Cast, caplog: pytest.LogCaptureFixture
) -> None:
    def stop(final: bool) -> None:
        cast.record("asked")

    async with Supervisor([cast("a", stop=stop, lingers=4.0, shutdown=2.0)]):
        pass

    assert cast.timed == [(0.0, "a up"), (0.0, "asked"), (2.0, "a stopping"), (6.0, "a down")]
    assert told_after(caplog)[0] == pytest.approx(2.1)


@in_virtual_time
async def test_it_stays_listed_as_overdue_until_it_is_gone(cast: Cast) -> None:
    async with Supervisor([cast("a", "temporary", lingers=50.0, shutdown=1.0)]) as supervisor, anyio.create_task_group() as group:
        group.start_soon(supervisor.terminate_child, "a")
        told: list[Any] = []
        for pause in (0.5, 1.0, 40.0, 10.0):
            await anyio.sleep(pause)
            told.append(states(supervisor))

    assert told == [{"a": "stopping"}, {"a": "overdue"}, {"a": "overdue"}, {}]


@in_virtual_time
async def test_several_are_reported_each_by_its_own_name(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    async with DynamicSupervisor(name="jobs") as supervisor:
        for id in ("a", "b"):
            await supervisor.start_child(cast(id, lingers=1.5, shutdown=1.0))

    assert sorted(report.partition(" is ")[0] for report in reports(caplog)) == ["jobs/a", "jobs/b"]


@in_virtual_time
async def test_one_deep_in_the_tree_is_reported_with_its_whole_path(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    inner = Supervisor.child_spec("inner", [cast("leaf", lingers=1.5, shutdown=1.0)])
    async with Supervisor([inner], name="app"):
        pass

    assert [report.partition(" is ")[0] for report in reports(caplog)] == ["app/inner/leaf"]


@in_virtual_time
async def test_a_branch_with_a_time_limit_is_overdue_itself_and_so_is_its_leaf(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    inner = Supervisor.child_spec("inner", [cast("leaf", lingers=4.0, shutdown=1.0)], shutdown=2.0)
    async with Supervisor([cast("a"), inner], name="app"):
        cast.forget()

    assert {report.partition(" is ")[0] for report in reports(caplog)} == {"app/inner/leaf", "app/inner"}
    assert cast.timed == [(0.0, "leaf stopping"), (2.0, "a down"), (4.0, "leaf down")]


@in_virtual_time
async def test_nothing_starts_under_its_id_before_it_is_gone(cast: Cast) -> None:
    async with Supervisor([cast("a", lingers=20.0, shutdown=1.0)]) as supervisor:
        with anyio.move_on_after(5):
            await supervisor.terminate_child("a")

        assert states(supervisor) == {"a": "overdue"}
        await supervisor.terminate_child("a")
        assert anyio.current_time() == pytest.approx(20.0)
        await supervisor.restart_child("a")
        assert "HAS TWO LIVES" not in " ".join(cast.events)


@in_virtual_time
async def test_that_it_is_gone_at_last_is_told_too(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", LOGGER)
    async with Supervisor([cast("a", lingers=2.5, shutdown=1.0)], name="app"):
        pass

    assert caplog.records[-1].getMessage() == "app/a is gone at last"
