"""Sessions: what a context begins with, what it leaves in a store, and who may have it."""

from __future__ import annotations

import enum
from typing import Any

import anyio
import attrs
import pytest
from context.homes import HOMES, OwnAsync
from state.awaited_store import AwaitedStore

from dspex import BackendSwitchError, Bridge, Context, DefinitionMismatch, SessionTaken, Snapshot, Status, Var
from dspex.state.stores.memory import MemoryStore
from dspex.variables import same

COUNT = Var("count", int, 0)
TEMPERATURE = Var("temperature", float, 0.7, min=0.0, max=2.0)


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@attrs.define
class Point:
    x: int
    tags: list[str]


COLOR = Var("color", Color, Color.RED)
POINT = Var("point", Point, Point(1, ["a"]))


@pytest.fixture(params=["memory", "awaited"])
def bridge(request: pytest.FixtureRequest) -> Bridge:
    """One that is never opened: sessions need its store alone."""
    return Bridge() if request.param == "memory" else Bridge(store=AwaitedStore())


def kept(bridge: Bridge) -> set[str]:
    store: Any = bridge.store
    return set((store.inner if isinstance(store, AwaitedStore) else store)._sessions)


@pytest.mark.parametrize("home", HOMES)
async def test_a_snapshot_brings_everything_exactly_as_it_was(home: str) -> None:
    async with Context(variables=[TEMPERATURE, COUNT], session_id="first") as ctx:
        await ctx.variables.define("gone", int, 0)
        await ctx.variables.set(TEMPERATURE, 1.5, metadata={"by": "me"})
        await ctx.variables.delete("gone")
        await ctx.variables.define("last", list[int], [1], description="d", sensitive=True)
        snapshot = await ctx.export_state()
        before = await ctx.variables.list()

    text = snapshot.to_json()
    async with HOMES[home](existing_state=Snapshot.from_json(text), variables=[TEMPERATURE]) as ctx:
        after = await ctx.variables.list()
        assert after == before
        assert all(same(one.value, other.value) for one, other in zip(after, before, strict=True))
        assert await ctx.variables.get(TEMPERATURE) == 1.5
        assert await ctx.variables.define("next", int, 0) == "var_next_5"
        assert snapshot.session_id == "first" != ctx.id
        assert await ctx.variables.delete("last") is None

    async with HOMES[home](existing_state=snapshot) as ctx:
        assert [variable.name for variable in await ctx.variables.list()] == ["temperature", "count", "last"]


@pytest.mark.parametrize("home", HOMES)
async def test_a_class_that_a_snapshot_only_names_is_resolved_by_variables(home: str) -> None:
    async with Context(variables=[COLOR, POINT]) as ctx:
        await ctx.variables.set(COLOR, Color.BLUE)
        text = (await ctx.export_state()).to_json()

    async with HOMES[home](existing_state=Snapshot.from_json(text), variables=[COLOR, POINT]) as ctx:
        for key in (COLOR, "color", (await ctx.variables.info("color")).id):
            assert await ctx.variables.get(key) is Color.BLUE

        assert await ctx.variables.get("point") == Point(1, ["a"])
        assert [variable.value for variable in await ctx.variables.list()] == [Color.BLUE, Point(1, ["a"])]
        await ctx.variables.set("point", Point(2, []))
        assert await ctx.variables.get(POINT) == Point(2, [])


@pytest.mark.parametrize("home", HOMES)
async def test_a_class_that_nobody_attached_is_kept_unread(home: str) -> None:
    async with Context(variables=[COLOR, COUNT]) as ctx:
        await ctx.variables.set(COLOR, Color.BLUE)
        text = (await ctx.export_state()).to_json()

    async with (
        HOMES[home](existing_state=Snapshot.from_json(text), bridge=Bridge())
        if home == "local"
        else HOMES[home](existing_state=Snapshot.from_json(text)) as ctx
    ):
        with pytest.raises(DefinitionMismatch, match="attach its Var first"):
            await ctx.variables.get("color")

        assert ctx.status is Status.RUNNING
        assert [variable.name for variable in await ctx.variables.list()] == ["color", "count"]
        assert (await ctx.export_state()).to_json() is not None
        async with ctx.variables.watch(include_initial=True) as changes:
            assert (await anext(changes)).name == "color"
            assert (await anext(changes)).name == "count"

        if home == "local":
            await ctx.ensure_bridged()

        with pytest.raises(DefinitionMismatch):
            await ctx.variables.get(Var("color", int, 0))

        assert await ctx.variables.get(COLOR) is Color.BLUE
        assert await ctx.variables.get("color") is Color.BLUE


async def test_variables_that_differ_from_a_snapshot_fail_the_start_and_leave_nothing(bridge: Bridge) -> None:
    async with Context(variables=[COUNT]) as ctx:
        snapshot = await ctx.export_state()

    for backend in ("local", "bridged"):
        with pytest.raises(DefinitionMismatch, match="'count'"):
            async with Context(existing_state=snapshot, variables=[Var("count", str, "")], backend=backend, bridge=bridge):
                pass

    assert not kept(bridge)


async def test_a_given_session_is_kept_at_stop_and_resumed_by_the_next_context(bridge: Bridge) -> None:
    async with Context(session_id="chat-7", bridge=bridge, variables=[COUNT, COLOR]) as ctx:
        assert (ctx.id, ctx.resumed, ctx.backend.kind) == ("chat-7", False, "local")
        await ctx.ensure_bridged()
        await ctx.variables.set(COUNT, 3, metadata={"run": 1})
        await ctx.variables.set(COLOR, Color.BLUE)
        before = await ctx.variables.list()

    assert kept(bridge) == {"chat-7"}
    async with Context(session_id="chat-7", bridge=bridge, variables=[COUNT, COLOR, TEMPERATURE]) as ctx:
        assert ctx.resumed
        assert ctx.backend.kind == "bridged" and ctx.backend.requires_bridge
        assert (await ctx.variables.list())[:2] == before
        assert await ctx.variables.add(COUNT, 1) == 4
        assert await ctx.variables.get("color") is Color.BLUE
        await ctx.ensure_bridged()
        assert ctx.backend.switches == 0

    async with Context(session_id="chat-7", bridge=bridge) as ctx:
        assert ctx.resumed
        assert await ctx.variables.get("count") == 4
        assert (await ctx.variables.info(COUNT)).version == 2


async def test_a_session_bridged_from_the_start_is_kept_too(bridge: Bridge) -> None:
    for number in range(3):
        async with Context(session_id="s", bridge=bridge, backend="bridged", variables=[COUNT]) as ctx:
            assert ctx.resumed is (number > 0)
            assert await ctx.variables.add(COUNT, 1) == number + 1


async def test_a_generated_session_is_dropped_with_its_context(bridge: Bridge) -> None:
    async with Context(bridge=bridge, variables=[COUNT]) as ctx:
        await ctx.ensure_bridged()
        assert kept(bridge) == {ctx.id}

    async with Context(bridge=bridge, backend="bridged") as ctx:
        assert kept(bridge) == {ctx.id}

    assert not kept(bridge)


async def test_a_context_that_stays_local_leaves_no_session(bridge: Bridge) -> None:
    async with Context(session_id="s", bridge=bridge, variables=[COUNT]) as ctx:
        await ctx.variables.add(COUNT, 1)

    assert not kept(bridge)
    async with Context(session_id="s", bridge=bridge, variables=[COUNT]) as ctx:
        assert not ctx.resumed
        assert await ctx.variables.get(COUNT) == 0


async def test_two_contexts_share_a_bridge_and_not_a_session(bridge: Bridge) -> None:
    async with Context(bridge=bridge, session_id="one", variables=[COUNT]) as one, Context(bridge=bridge, variables=[COUNT]) as other:
        await one.ensure_bridged()
        await other.ensure_bridged()
        await one.variables.set(COUNT, 1)
        assert await other.variables.get(COUNT) == 0
        with pytest.raises(SessionTaken, match="'one'"):
            async with Context(bridge=bridge, session_id="one"):
                pass

        assert await one.variables.get(COUNT) == 1


async def test_a_session_that_another_process_holds_is_refused_by_the_store(bridge: Bridge) -> None:
    await bridge.store.open("s", "create", holder="another host")
    with pytest.raises(SessionTaken, match="another host"):
        async with Context(bridge=bridge, session_id="s", backend="bridged"):
            pass

    async with Context(session_id="free", bridge=bridge):
        pass


async def test_a_switch_onto_a_session_that_came_to_be_meanwhile_is_refused(bridge: Bridge) -> None:
    async with Context(bridge=bridge, session_id="s", variables=[COUNT]) as ctx:
        await ctx.variables.set(COUNT, 5)
        lease = await bridge.store.open("s", "create", holder="another host")
        staging = await bridge.store.stage(lease)
        from dspex.state._encoding import Digest

        await staging.commit(Digest().value())
        await bridge.store.release(lease)
        with pytest.raises(BackendSwitchError) as caught:
            await ctx.ensure_bridged()

        assert isinstance(caught.value.__cause__, SessionTaken) and caught.value.step == "open"
        assert (ctx.backend.kind, ctx.backend.switches, await ctx.variables.get(COUNT)) == ("local", 0, 5)

    assert kept(bridge) == {"s"}


async def test_a_start_that_fails_after_resuming_keeps_the_session(bridge: Bridge) -> None:
    async with Context(session_id="s", bridge=bridge, backend="bridged", variables=[COUNT]) as ctx:
        await ctx.variables.set(COUNT, 9)

    async def init(ctx: Context) -> None:
        raise LookupError("not today")

    with pytest.raises(LookupError):
        async with Context(session_id="s", bridge=bridge, init=init):
            pass

    async with Context(session_id="s", bridge=bridge) as ctx:
        assert ctx.resumed and await ctx.variables.get(COUNT) == 9


async def test_a_session_that_exists_and_a_snapshot_for_it_are_one_too_many(bridge: Bridge) -> None:
    async with Context(session_id="s", bridge=bridge, backend="bridged", variables=[COUNT]) as ctx:
        await ctx.variables.set(COUNT, 9)
        snapshot = await ctx.export_state()

    for backend in ("local", "bridged"):
        with pytest.raises(SessionTaken, match="it exists already, with variables of its own, and others were given"):
            async with Context(session_id="s", bridge=bridge, backend=backend, existing_state=snapshot):
                pass

    async with Context(session_id="s", bridge=bridge) as ctx:
        assert await ctx.variables.get(COUNT) == 9


async def test_ids_go_on_where_the_session_left_off(bridge: Bridge) -> None:
    async with Context(session_id="s", bridge=bridge, backend="bridged") as ctx:
        first = await ctx.variables.define("x", int, 0)
        await ctx.variables.delete("x")

    async with Context(session_id="s", bridge=bridge) as ctx:
        assert await ctx.variables.define("x", int, 0) != first


async def test_a_kept_session_lives_for_its_ttl_in_the_store() -> None:
    now = 100.0
    bridge = Bridge(store=MemoryStore(clock=lambda: now))
    async with Context(session_id="s", bridge=bridge, ttl=60.0, variables=[COUNT]) as ctx:
        await ctx.ensure_bridged()
        await ctx.variables.set(COUNT, 1)

    now += 59.0
    async with Context(session_id="s", bridge=bridge, ttl=60.0) as ctx:
        assert ctx.resumed
        assert await ctx.variables.get(COUNT) == 1

    now += 61.0
    async with Context(session_id="s", bridge=bridge, ttl=60.0, variables=[COUNT]) as ctx:
        assert not ctx.resumed
        assert await ctx.variables.get(COUNT) == 0


def test_an_expired_context_leaves_no_session_even_of_a_given_id(run_virtually: Any) -> None:
    async def main() -> None:
        bridge = Bridge()
        async with Context(session_id="s", bridge=bridge, ttl=10.0, variables=[COUNT]) as ctx:
            await ctx.ensure_bridged()
            await anyio.sleep(20)
            assert (await ctx.wait_closed()).status is Status.EXPIRED
            assert not kept(bridge)

    run_virtually(main)


async def test_a_backend_of_ones_own_is_told_whether_to_drop() -> None:
    for options, drop in ({"session_id": "mine"}, False), ({}, True):
        backend = OwnAsync()
        async with Context(backend=backend, **options):
            pass

        assert backend.closed_with == [drop]
