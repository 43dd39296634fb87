"""What is told of supervised children: each change of state once, with where it was before, why, and in which life."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import anyio
import pytest
from supervision.cast import IGNORE, Boom, Cast, settled

from dspex import ChildSpec, DynamicSupervisor, StartFailed, Supervisor, telemetry
from dspex.supervision import _told
from dspex.telemetry import ChildChanged
from dspex.telemetry._live import RESTARTS

MANY = 10**9


class Told(list[ChildChanged]):
    """The records of children, in order."""

    def states(self, path: str) -> list[str]:
        return [record.state for record in self if record.path == path]

    def steps(self, path: str) -> list[tuple[str, str]]:
        return [(record.previous, record.state) for record in self if record.path == path]


@pytest.fixture
def told() -> Iterator[Told]:
    told = Told()
    with telemetry.subscribe(told.append, only=ChildChanged):
        yield told


@pytest.fixture
def cast() -> Cast:
    return Cast()


async def test_a_child_that_is_started_and_stopped_is_told_of_in_four_steps(told: Told, cast: Cast) -> None:
    async with Supervisor([cast("a")], name="app"):
        pass

    assert told.steps("app/a") == [("new", "starting"), ("starting", "running"), ("running", "stopping"), ("stopping", "gone")]
    assert {(record.kind, record.error, record.lives) for record in told} == {("worker", None, 1)}
    assert all(earlier.at <= later.at for earlier, later in pairwise(told))


async def test_a_restart_is_told_with_what_it_crashed_of(told: Told, cast: Cast) -> None:
    before = RESTARTS.children
    async with Supervisor([cast("a")], name="app"):
        told.clear()
        await cast.crash("a")
        assert told.steps("app/a") == [("running", "restarting"), ("restarting", "starting"), ("starting", "running")]
        assert [type(record.error) for record in told] == [Boom, type(None), type(None)]
        assert [record.lives for record in told] == [1, 2, 2]
        assert RESTARTS.children == before + 1


async def test_a_group_that_is_restarted_is_told_child_by_child(told: Told, cast: Cast) -> None:
    async with Supervisor([cast("a"), cast("b")], strategy="one_for_all", name="app"):
        told.clear()
        await cast.crash("a")
        assert told.states("app/a") == ["restarting", "starting", "running"]
        assert told.states("app/b") == ["stopping", "restarting", "starting", "running"]


async def test_one_that_crashes_too_often_is_told_to_be_parked(told: Told, cast: Cast) -> None:
    async with Supervisor([cast("a", on_limit="park", max_restarts=0)], name="app") as supervisor:
        told.clear()
        await cast.crash("a")
        assert [(record.previous, record.state, type(record.error)) for record in told] == [("running", "parked", Boom)]
        told.clear()
        await supervisor.delete_child("a")
        assert told.steps("app/a") == [("parked", "gone")]


async def test_one_that_is_stopped_by_hand_stays_and_one_that_is_temporary_is_gone(told: Told, cast: Cast) -> None:
    async with Supervisor([cast("a"), cast("b", "temporary")], name="app") as supervisor:
        told.clear()
        await supervisor.terminate_child("a")
        await supervisor.terminate_child("b")
        assert told.states("app/a") == ["stopping", "stopped"]
        assert told.states("app/b") == ["stopping", "gone"]


async def test_a_start_that_fails_is_told_with_its_error(told: Told, cast: Cast) -> None:
    failure = Boom("not today")
    async with Supervisor(name="app") as supervisor:
        with pytest.raises(StartFailed):
            await supervisor.start_child(cast("a", starts=[failure]))

    assert [(record.state, record.error) for record in told] == [("starting", None), ("gone", failure)]


async def test_one_that_has_nothing_to_do_is_told_to_be_stopped(told: Told, cast: Cast) -> None:
    async with Supervisor([cast("a", starts=[IGNORE])], name="app"):
        assert told.states("app/a") == ["starting", "stopped"]


async def test_a_supervisor_in_a_tree_is_told_of_as_such_and_so_is_what_is_below_it(told: Told, cast: Cast) -> None:
    async with Supervisor([Supervisor.child_spec("ingest", [cast("a")])], name="app"):
        pass

    assert {record.path: record.kind for record in told} == {"app/ingest": "supervisor", "app/ingest/a": "worker"}
    assert [(record.path, record.state) for record in told] == [
        ("app/ingest", "starting"),
        ("app/ingest/a", "starting"),
        ("app/ingest/a", "running"),
        ("app/ingest", "running"),
        ("app/ingest", "stopping"),
        ("app/ingest/a", "stopping"),
        ("app/ingest/a", "gone"),
        ("app/ingest", "gone"),
    ]


async def test_dynamic_children_are_told_of_by_the_ids_they_got(told: Told, cast: Cast) -> None:
    async with DynamicSupervisor(name="crowd") as supervisor:
        for _ in range(2):
            await supervisor.start_child(cast("a", "temporary"))

    assert {record.path for record in told} == {"crowd/a", "crowd/a-2"}
    assert told.states("crowd/a-2") == ["starting", "running", "stopping", "gone"]


async def test_what_is_told_last_is_how_it_is(cast: Cast) -> None:
    seen: list[tuple[str, str]] = []

    def look(record: ChildChanged) -> None:
        listed = {info.path: str(info.state) for info in supervisor.which_children()}
        seen.append((record.state, listed.get(record.path, "gone")))

    async with Supervisor(name="app") as supervisor:
        with telemetry.subscribe(look, only=ChildChanged):
            await supervisor.start_child(cast("a"))
            await cast.crash("a")
            await supervisor.terminate_child("a")
            await supervisor.delete_child("a")

    assert len(seen) == 8
    assert all(told == found for told, found in seen)


async def test_the_childs_own_on_change_is_told_first(told: Told) -> None:
    heard: list[int] = []

    def on_change(state: str, error: BaseException | None) -> None:
        heard.append(len(told))

    async with Supervisor([ChildSpec("a", anyio.sleep_forever, on_change=on_change)]):
        pass

    assert heard == [0, 1, 2, 3]
    assert len(told) == 4


async def test_a_hook_that_fails_does_the_supervisor_no_harm(cast: Cast) -> None:
    def broken(record: ChildChanged) -> None:
        raise Boom

    with telemetry.subscribe(broken, only=ChildChanged):
        async with Supervisor([cast("a")]) as supervisor:
            await cast.crash("a")
            assert [str(info.state) for info in supervisor.which_children()] == ["running"]

    assert cast.events == ["a up", "a crashes", "a up", "a down"]


async def test_an_interrupt_out_of_a_hook_ends_the_supervisor_in_order_and_comes_out(cast: Cast) -> None:
    def interrupts(record: ChildChanged) -> None:
        if record.state == "restarting":
            raise SystemExit(3)

    with telemetry.subscribe(interrupts, only=ChildChanged), pytest.raises(SystemExit):
        async with Supervisor([cast("a"), cast("b")]):
            await cast.crash("b")
            await anyio.sleep_forever()

    assert cast.events[-1] == "a down"


async def test_while_nobody_listens_nothing_is_made(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def told_of(self: Any, *args: object) -> None:
        made.append(args)

    made: list[Any] = []
    monkeypatch.setattr(_told.Told, "_publish", told_of)
    with telemetry.subscribe(lambda _: None, only=telemetry.WorkerEnded):
        async with Supervisor([cast("a")], max_restarts=MANY) as supervisor:
            await cast.crash("a")
            await settled()
            assert made == []
            with telemetry.subscribe(lambda _: None, only=ChildChanged):
                await supervisor.terminate_child("a")

    assert [state for _, state, *_ in made] == ["stopping", "stopped"]


async def test_restarts_are_counted_over_all_supervisors_ever(cast: Cast) -> None:
    before = RESTARTS.children
    for _ in range(2):
        async with Supervisor([Supervisor.child_spec("s", [cast("a")], max_restarts=MANY)]):
            await cast.crash("a")
            await cast.crash("a")

    assert RESTARTS.children == before + 4
