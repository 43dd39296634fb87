"""which_children, which_child, count_children, tree, statistics, repr: one moment's truth, at any moment."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from supervision.cast import IGNORE, Boom, Cast, counts, in_virtual_time, settled, states, values

from dspex import Backoff, ChildNotFound, ChildState, DynamicSupervisor, Supervisor

MANY = 10**9


async def test_which_children_and_which_child_agree_through_start_terminate_and_delete(cast: Cast) -> None:
    async with Supervisor() as supervisor:
        assert supervisor.which_children() == ()
        await supervisor.start_child(cast("a"))
        assert supervisor.which_children() == (supervisor.which_child("a"),)
        assert supervisor.which_child("a").state is ChildState.RUNNING
        await supervisor.terminate_child("a")
        assert supervisor.which_children() == (supervisor.which_child("a"),)
        assert supervisor.which_child("a").state is ChildState.STOPPED
        await supervisor.delete_child("a")
        assert supervisor.which_children() == ()
        with pytest.raises(ChildNotFound):
            supervisor.which_child("a")


async def test_children_are_told_in_the_order_of_their_start(cast: Cast) -> None:
    async with Supervisor([cast("c"), cast("a")]) as supervisor:
        await supervisor.start_child(cast("b"))
        assert list(states(supervisor)) == ["c", "a", "b"]


async def test_what_was_told_does_not_change_afterwards(cast: Cast) -> None:
    async with Supervisor([cast("a")]) as supervisor:
        before = supervisor.which_children()
        await supervisor.terminate_child("a")
        assert [str(info.state) for info in before] == ["running"]


async def test_workers_and_supervisors_are_counted_apart(cast: Cast) -> None:
    children = [cast("a"), Supervisor.child_spec("s", [cast("b")]), DynamicSupervisor.child_spec("d"), cast("c", starts=[IGNORE])]
    async with Supervisor(children) as supervisor:
        told = supervisor.count_children()
        assert (told.specs, told.active, told.supervisors, told.workers) == (4, 3, 2, 2)
        await supervisor.terminate_child("s")
        assert counts(supervisor) == (4, 2, 2, 2)


async def test_a_thousand_and_two_thousand_are_counted_and_none_when_all_have_ended(cast: Cast) -> None:
    async with DynamicSupervisor() as supervisor:
        for total in (1000, 2000):
            for number in range(total - 1000, total):
                await supervisor.start_child(cast(f"a{number}", "temporary"))

            assert counts(supervisor) == (total, total, 0, total)
            assert len(supervisor.which_children()) == total

        await cast.crash(*(f"a{number}" for number in range(2000)))
        assert counts(supervisor) == (0, 0, 0, 0)


async def test_children_that_are_restarting_count_as_workers_and_not_as_active(cast: Cast) -> None:
    async with DynamicSupervisor(max_restarts=MANY) as supervisor:
        for id in "abc":
            await supervisor.start_child(cast(id))

        told = [counts(supervisor)]
        cast["a"].broken = cast["b"].broken = True
        await cast.crash("a", "b")
        told.append(counts(supervisor))
        cast["a"].broken = cast["b"].broken = False
        await settled()
        told.append(counts(supervisor))
        cast["a"].broken = True
        await cast.crash("a")
        await supervisor.terminate_child("a")
        told.append(counts(supervisor))
        await supervisor.terminate_child("b")
        await supervisor.terminate_child("c")
        told.append(counts(supervisor))

    assert told == [(3, 3, 0, 3), (3, 1, 0, 3), (3, 3, 0, 3), (2, 2, 0, 2), (0, 0, 0, 0)]


@in_virtual_time
async def test_a_child_that_is_stopping_or_overdue_is_active(cast: Cast) -> None:
    async with Supervisor([cast("a", lingers=9.0, shutdown=1.0)]) as supervisor, anyio.create_task_group() as group:
        group.start_soon(supervisor.terminate_child, "a")
        told: list[Any] = []
        for pause in (0.5, 3.0, 9.0):
            await anyio.sleep(pause)
            told.append((states(supervisor)["a"], counts(supervisor)))

    assert told == [("stopping", (1, 1, 0, 1)), ("overdue", (1, 1, 0, 1)), ("stopped", (1, 0, 0, 1))]


@in_virtual_time
async def test_in_the_middle_of_a_group_restart_each_is_told_where_it_is(cast: Cast) -> None:
    children = [cast("a", lingers=2.0), cast("b", starts=[None, 3.0]), cast("c")]
    async with Supervisor(children, strategy="one_for_all") as supervisor:
        await cast.crash("c")
        told = [states(supervisor)]
        for _ in range(3):
            await anyio.sleep(2.1)
            told.append(states(supervisor))

    assert told == [
        {"a": "stopping", "b": "restarting", "c": "restarting"},
        {"a": "running", "b": "starting", "c": "restarting"},
        {"a": "running", "b": "starting", "c": "restarting"},
        {"a": "running", "b": "running", "c": "running"},
    ]


@in_virtual_time
async def test_queries_are_answered_while_the_tree_starts_and_while_it_stops(cast: Cast) -> None:
    supervisor = Supervisor([cast("a", lingers=3.0), cast("b", starts=[3.0])])
    told: list[Any] = []
    async with anyio.create_task_group() as group:

        async def look() -> None:
            for pause in (1.5, 2.0, 2.0):
                await anyio.sleep(pause)
                told.append((str(supervisor.status), states(supervisor)))

        group.start_soon(look)
        async with supervisor:
            await anyio.sleep(1)

    assert told[0] == ("starting", {"a": "running", "b": "starting"})
    assert told[1] == ("running", {"a": "running", "b": "running"})
    assert told[2] == ("stopping", {"a": "stopping"})


async def test_the_last_error_is_kept_over_the_restart_it_caused(cast: Cast) -> None:
    boom = Boom("remembered")
    async with Supervisor([cast("a")]) as supervisor:
        assert supervisor.which_child("a").error is None
        await cast.crash("a", error=boom)
        assert supervisor.which_child("a").error is boom
        assert values(supervisor) == {"a": "a#2"}


async def test_the_tree_shows_every_level_with_states_and_restarts(cast: Cast) -> None:
    inner = Supervisor.child_spec("ingest", [cast("chat"), cast("idle", "transient")])
    async with Supervisor([cast("ticker"), inner], name="app") as supervisor:
        await cast.crash("ticker")
        await cast.finish("idle")
        text = str(supervisor.tree())

    lines = text.splitlines()
    assert [next(name for name in ("app", "ticker", "ingest", "chat", "idle") if name in line) for line in lines] == [
        "app",
        "ticker",
        "ingest",
        "chat",
        "idle",
    ]
    assert "restarts 1 of 3 in 5 s" in lines[0]
    assert "running" in lines[1]
    assert "stopped" in lines[4]


async def test_the_tree_as_json_and_as_mermaid_has_the_same_facts(cast: Cast) -> None:
    inner = Supervisor.child_spec("ingest", [cast("chat")])
    async with Supervisor([cast("ticker"), inner], name="app") as supervisor:
        told = supervisor.tree()
        facts = told.to_json()
        drawn = told.to_mermaid()

    facts = json.loads(facts) if isinstance(facts, str) else facts
    assert facts["name"] == "app"
    assert [child["name"] for child in facts["children"]] == ["ticker", "ingest"]
    assert facts["children"][1]["children"][0]["name"] == "chat"
    assert all(name in drawn for name in ("app", "ticker", "ingest", "chat"))


async def test_the_repr_tells_what_lives(cast: Cast) -> None:
    supervisor = Supervisor([cast("a"), cast("b", backoff=Backoff(initial=60.0, maximum=60.0)), cast("c")], name="ingest")
    assert repr(supervisor) == "<Supervisor 'ingest' [new | children: 3 new | restarts: 0/3 in 5 s]>"
    async with supervisor:
        await cast.crash("b")
        assert repr(supervisor) == "<Supervisor 'ingest' [running | children: 2 running, 1 restarting | restarts: 1/3 in 5 s]>"

    assert repr(supervisor) == "<Supervisor 'ingest' [closed | children: none | restarts: 1/3 in 5 s]>"


async def test_a_repr_can_be_asked_for_without_a_loop_and_after_the_end(cast: Cast) -> None:
    async with DynamicSupervisor(name="many") as supervisor:
        await supervisor.start_child(cast("a"))
        assert "DynamicSupervisor 'many' [running | children: 1 running" in repr(supervisor)

    assert "closed" in repr(supervisor)


async def test_statistics_count_starts_and_restarts(cast: Cast) -> None:
    async with Supervisor([cast("a"), cast("b", "transient")]) as supervisor:
        await cast.crash("a")
        await cast.finish("b")
        told = supervisor.statistics()
        assert (told.status, dict(told.children), told.starts, told.restarts) == ("running", {"running": 1, "stopped": 1}, 3, 1)


async def test_an_unnamed_supervisor_has_a_path_of_its_own(cast: Cast) -> None:
    async with Supervisor([cast("a")]) as one, Supervisor([cast("b")]) as other:
        assert one.path != other.path
        assert one.name is None
        assert one.which_child("a").path == f"{one.path}/a"
