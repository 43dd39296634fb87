"""A tree of no more branches than one has time to build: which are drawn, and what is said of the others."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from supervision.cast import Boom, Cast, forever, settled

from dspex import ChildSpec, DynamicSupervisor, Supervisor
from dspex.supervision import Branch, bounded, others_line
from dspex.supervision._bounded import _LOOKS
from dspex.supervision._told import Told

MANY = 10**9
MANY_CHILDREN = 3_000
"""To build all of them takes some 30 ms."""


def names(branch: Branch) -> list[str]:
    return [child.name for child in branch.children]


def size(branch: Branch) -> int:
    return sum(1 for _ in branch.walk()) - 1


async def crowd(supervisor: DynamicSupervisor, count: int) -> None:
    for number in range(count):
        await supervisor.start_child(ChildSpec(f"c{number}", forever, restart="temporary"))


async def test_where_there_is_room_it_is_the_whole_tree(cast: Cast) -> None:
    children = [cast("a"), Supervisor.child_spec("s", [cast("b"), cast("c")])]
    async with Supervisor(children, name="app") as supervisor:
        await cast.crash("b")
        assert supervisor.tree(limit=4) == supervisor.tree()
        assert bounded(supervisor) == supervisor.tree().root
        assert others_line(bounded(supervisor)) == ""


async def test_of_too_many_the_first_are_drawn_and_the_others_counted() -> None:
    async with DynamicSupervisor(name="crowd") as supervisor:
        await crowd(supervisor, 30)
        tree = supervisor.tree(limit=3)
        assert names(tree.root) == ["c0", "c1", "c2"]
        assert dict(tree.root.others) == {"running": 27}
        assert others_line(tree.root) == "… and 27 more: 27 running"
        assert str(tree).splitlines()[-1] == "└── … and 27 more: 27 running"
        assert repr(tree) == "<Tree 'crowd' [31 running]>"
        assert tree.to_dict()["others"] == {"running": 27}


async def test_what_is_left_out_twice_is_counted_once() -> None:
    async with DynamicSupervisor(name="crowd") as supervisor:
        await crowd(supervisor, 100)
        assert str(supervisor.tree(limit=50)).splitlines()[-1] == "└── … and 60 more: 60 running"


async def test_those_in_trouble_come_first_the_worst_before_the_others(cast: Cast) -> None:
    children = [*(cast(f"c{number}") for number in range(20)), cast("late", backoff=Slow()), cast("lost", on_limit="park", max_restarts=0)]
    async with Supervisor(children, max_restarts=MANY) as supervisor:
        await cast.crash("late")
        await cast.crash("lost")
        await supervisor.terminate_child("c7")
        drawn = bounded(supervisor, 4)
        assert [(child.name, child.state) for child in drawn.children] == [
            ("lost", "parked"),
            ("late", "restarting"),
            ("c0", "running"),
            ("c1", "running"),
        ]
        assert dict(drawn.others) == {"running": 17, "stopped": 1}


async def test_trouble_further_down_counts_as_well(cast: Cast) -> None:
    async def fails() -> None:
        raise Boom

    deep = Supervisor.child_spec("deep", [Supervisor.child_spec("deeper", [ChildSpec("lost", fails, on_limit="park", max_restarts=0)])])
    children = [*(cast(f"c{number}") for number in range(20)), Supervisor.child_spec("well", [cast("b")]), deep]
    async with Supervisor(children) as supervisor:
        await settled()
        assert names(bounded(supervisor, 3)) == ["deep", "c0", "c1"]


async def test_what_children_leave_of_the_room_those_below_them_share() -> None:
    specs = [DynamicSupervisor.child_spec("large"), DynamicSupervisor.child_spec("small"), DynamicSupervisor.child_spec("larger")]
    async with Supervisor(specs, name="app") as supervisor:
        for name, count in (("large", 50), ("small", 2), ("larger", 60)):
            await crowd(supervisor.which_child(name).value, count)

        drawn = bounded(supervisor, 25)
        assert {child.name: (len(child.children), others_line(child)) for child in drawn.children} == {
            "large": (10, "… and 40 more: 40 running"),
            "small": (2, ""),
            "larger": (10, "… and 50 more: 50 running"),
        }
        assert size(drawn) == 25


async def test_a_tree_full_of_trees_stays_within_the_limit(cast: Cast) -> None:
    specs = [Supervisor.child_spec(f"s{one}", [cast(f"{one}.{each}") for each in range(9)]) for one in range(9)]
    async with Supervisor(specs) as supervisor:
        for limit in (0, 1, 9, 10, 40, 89, 90):
            assert size(bounded(supervisor, limit)) == limit

        assert dict(bounded(supervisor, 0).others) == {"running": 9}


async def test_anything_can_be_drawn() -> None:
    class Odd:
        def __branch__(self) -> Any:
            raise Boom

    assert bounded(Odd()) == Branch("Odd", note="__branch__ failed: Boom")
    assert bounded(4711) == Branch("int")


class Slow:
    """A backoff of an hour."""

    def delay(self, strikes: int, /) -> float:
        return 3600.0


class Looked(dict[str, Any]):
    """Children, and how many of them were looked at."""

    looks = 0

    def values(self) -> Any:
        for child in super().values():
            self.looks += 1
            yield child


@pytest.mark.parametrize("restarting", [False, True])
async def test_however_many_there_are_few_are_looked_at_and_fewer_built(restarting: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    info_of = Told._info

    def counted(self: Told, child: Any, *args: Any) -> Any:
        built.append(child.id)
        return info_of(self, child, *args)

    async def fails(*, task_status: Any) -> None:
        task_status.started()
        if restarting:
            raise Boom

        await anyio.sleep_forever()

    async with DynamicSupervisor(max_restarts=MANY) as supervisor:
        supervisor.tells_of_crashes = False
        for number in range(MANY_CHILDREN):
            await supervisor.start_child(ChildSpec(f"c{number}", fails, backoff=Slow()))

        await settled()
        with monkeypatch.context() as patch:
            patch.setattr(Told, "_info", counted)
            looked = Looked(supervisor._children)
            patch.setattr(supervisor, "_children", looked)
            drawn = bounded(supervisor, 200)

        assert looked.looks <= _LOOKS + 2 * 200 < MANY_CHILDREN
        assert len(built) == len(drawn.children) == 200
        assert dict(drawn.others) == {"restarting" if restarting else "running": MANY_CHILDREN - 200}
