"""The order in which children stop, and where a child stands after it was started again."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from supervision.cast import Cast, in_virtual_time

from dspex import Supervisor

EIGHT = "abcdefgh"


async def test_children_stop_in_the_reverse_of_the_order_they_started_in(cast: Cast) -> None:
    for _ in range(20):
        cast.forget()
        async with Supervisor([cast(id) for id in EIGHT]):
            pass

        assert cast.events == [*(f"{id} up" for id in EIGHT), *(f"{id} down" for id in reversed(EIGHT))]


async def test_also_when_an_outer_scope_is_cancelled(cast: Cast) -> None:
    for _ in range(20):
        cast.forget()
        with anyio.CancelScope() as scope:
            async with Supervisor([cast(id) for id in EIGHT]):
                scope.cancel()
                await anyio.sleep_forever()

        assert cast.events[8:] == [f"{id} down" for id in reversed(EIGHT)]


async def test_also_when_the_background_supervisor_is_stopped(cast: Cast) -> None:
    supervisor = await Supervisor.start([cast(id) for id in EIGHT])
    await supervisor.stop()

    assert cast.events[8:] == [f"{id} down" for id in reversed(EIGHT)]


@in_virtual_time
async def test_a_child_is_not_asked_to_stop_before_the_one_after_it_is_done(cast: Cast) -> None:
    async with Supervisor([cast("a", asked=1.0), cast("b", lingers=2.0), cast("c", asked=3.0)]):
        pass

    assert cast.timed[3:] == [
        (0.0, "c asked for good"),
        (3.0, "c down"),
        (3.0, "b stopping"),
        (5.0, "b down"),
        (5.0, "a asked for good"),
        (6.0, "a down"),
    ]


async def test_a_restart_keeps_the_childs_place(cast: Cast) -> None:
    async with Supervisor([cast("a"), cast("b")]) as supervisor:
        await supervisor.start_child(cast("z"))
        await supervisor.terminate_child("a")
        await supervisor.restart_child("a")
        await cast.crash("b")
        assert [info.id for info in supervisor.which_children()] == ["a", "b", "z"]
        cast.forget()

    assert cast.events == ["z down", "b down", "a down"]


@pytest.mark.parametrize("leaves", ["by itself", "when terminated"])
async def test_a_temporary_child_started_again_is_the_newest(cast: Cast, leaves: Any) -> None:
    async with Supervisor([cast("a", "temporary"), cast("b")]) as supervisor:
        if leaves == "by itself":
            await cast.finish("a")
        else:
            await supervisor.terminate_child("a")

        await supervisor.start_child(cast("a", "temporary"))
        assert [info.id for info in supervisor.which_children()] == ["b", "a"]
        cast.forget()

    assert cast.events == ["a down", "b down"]


async def test_a_deleted_child_started_again_is_the_newest(cast: Cast) -> None:
    async with Supervisor([cast("a"), cast("b")]) as supervisor:
        await supervisor.terminate_child("a")
        await supervisor.delete_child("a")
        await supervisor.start_child(cast("a"))
        cast.forget()

    assert cast.events == ["a down", "b down"]


async def test_rest_for_one_stops_the_later_ones_in_reverse_and_starts_in_order(cast: Cast) -> None:
    async with Supervisor([cast(id) for id in "abcde"], strategy="rest_for_one"):
        cast.forget()
        await cast.crash("c")
        assert cast.events == ["c crashes", "e down", "d down", "c up", "d up", "e up"]


async def test_one_for_all_stops_in_reverse_and_starts_in_order_and_does_not_stop_the_crashed_again(cast: Cast) -> None:
    async with Supervisor([cast(id) for id in "abc"], strategy="one_for_all"):
        cast.forget()
        await cast.crash("c")
        assert cast.events == ["c crashes", "b down", "a down", "a up", "b up", "c up"]

        cast.forget()
        await cast.crash("a")
        assert cast.events == ["a crashes", "c down", "b down", "a up", "b up", "c up"]


async def test_a_subtree_is_completely_down_before_the_one_before_it_is_asked(cast: Cast) -> None:
    one = Supervisor.child_spec("one", [cast("a"), cast("b")])
    deep = Supervisor.child_spec("deep", [cast("d"), cast("e")])
    two = Supervisor.child_spec("two", [cast("c"), deep, cast("f")])
    async with Supervisor([one, two, cast("g")]):
        assert cast.events == [f"{id} up" for id in "abcdefg"]
        cast.forget()

    assert cast.events == [f"{id} down" for id in "gfedcba"]


async def test_every_life_is_told_of_exactly_once_from_its_start_to_its_end(cast: Cast) -> None:
    told: list[str] = []
    async with Supervisor([cast("a", on_change=lambda state, _: told.append(state)), cast("b")], strategy="one_for_all"):
        await cast.crash("b")

    assert told == [
        *("starting", "running", "stopping", "restarting"),
        *("starting", "running", "stopping", "gone"),
    ]
