"""Who is called what: unique, never half-started, freed when its holder is gone for good and not before."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from context.fragile import COUNT, Fragile
from supervision.cast import in_virtual_time, settled, states

from dspex import (
    Backoff,
    ChildExists,
    Context,
    ContextCrashed,
    DynamicSupervisor,
    NameNotFound,
    NameTaken,
    RestartLimitReached,
    StartFailed,
    Supervisor,
    whereis,
)
from dspex.context._claims import NAMES


def chat(name: str = "chat", **options: Any) -> Any:
    return Context.child_spec(name, **{"variables": [COUNT], "backend": Fragile, **options})


async def crash(name: str = "chat") -> None:
    with pytest.raises(ContextCrashed):
        await whereis(name).variables.merge(COUNT, {})  # type: ignore[arg-type]


def named(name: str) -> Any:
    """Who has *name*, or None."""
    try:
        return whereis(name)
    except NameNotFound:
        return None


async def test_a_name_leads_to_its_context_while_that_is_up() -> None:
    assert named("chat") is None
    async with Supervisor([chat()]) as supervisor:
        assert whereis("chat") is supervisor.which_child("chat").value

    assert named("chat") is None


async def test_a_name_held_outside_of_the_tree_fails_the_start_and_says_who_has_it() -> None:
    async with Context(name="chat", session_id="s1") as outside, Supervisor() as supervisor:
        with pytest.raises(StartFailed) as caught:
            await supervisor.start_child(chat())

        assert isinstance(caught.value.__cause__, NameTaken)
        assert caught.value.__cause__.holder.startswith("<Context 'chat' s1")
        assert whereis("chat") is outside
        assert states(supervisor) == {}

    assert named("chat") is None


async def test_two_children_of_one_name_in_two_supervisors_are_one_too_many() -> None:
    async with Supervisor([chat()]) as one:
        with pytest.raises(StartFailed) as caught:
            async with Supervisor([chat()]):
                pass

        assert isinstance(caught.value.__cause__, NameTaken)
        assert whereis("chat") is one.which_child("chat").value


async def test_refusals_leave_nothing_in_the_table() -> None:
    async with Supervisor([chat()]) as supervisor:
        before = len(NAMES._held())
        for _ in range(20):
            with pytest.raises(NameTaken):
                await Context.start(name="chat")

            with pytest.raises(ChildExists):
                await supervisor.start_child(chat())

        assert len(NAMES._held()) == before


class NeverOpens(Fragile):
    def open(self, session_id: str, *, ttl: float | None = None, existing: Any = None) -> None:
        raise OSError("no room")


async def raises(ctx: Context) -> None:
    raise LookupError("no seed")


async def takes_too_long(ctx: Context) -> None:
    with anyio.fail_after(0):
        await anyio.sleep_forever()


@pytest.mark.parametrize(
    "failing", [{"backend": NeverOpens}, {"init": raises}, {"init": takes_too_long}, {"init": lambda ctx: 1 / 0}], ids=lambda f: str([*f])
)
@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
async def test_five_failed_starts_in_a_row_leave_the_name_free_each_time(failing: Any, kind: Any) -> None:
    async with kind() as supervisor:
        for _ in range(5):
            with pytest.raises(StartFailed):
                await supervisor.start_child(chat(**failing))

            assert named("chat") is None

        await supervisor.start_child(chat())
        assert named("chat") is not None


@in_virtual_time
async def test_five_cancelled_starts_in_a_row_leave_it_free_too() -> None:
    async def never(ctx: Context) -> None:
        await anyio.sleep_forever()

    async with Supervisor() as supervisor:
        for _ in range(5):
            with anyio.move_on_after(1):
                await supervisor.start_child(chat(init=never))

            assert named("chat") is None

        await supervisor.start_child(chat())


@in_virtual_time
async def test_one_that_is_still_starting_is_not_to_be_seen_and_has_the_name() -> None:
    async def slowly(ctx: Context) -> None:
        await anyio.sleep(5)

    async with Supervisor() as supervisor, anyio.create_task_group() as group:
        group.start_soon(supervisor.start_child, chat(init=slowly))
        await anyio.sleep(1)
        with pytest.raises(NameNotFound, match="still starting"):
            whereis("chat")

        with pytest.raises(NameTaken):
            await Context.start(name="chat")

        await anyio.sleep(5)
        assert named("chat") is not None


async def test_over_crashes_stops_and_restarts_by_hand_the_name_leads_to_the_same_object() -> None:
    async with Supervisor([chat()]) as supervisor:
        ctx = whereis("chat")
        await crash()
        await settled()
        assert whereis("chat") is ctx
        await ctx.stop()
        await settled()
        assert whereis("chat") is ctx
        await supervisor.terminate_child("chat")
        assert named("chat") is None
        await supervisor.restart_child("chat")
        assert whereis("chat") is ctx
        assert await ctx.variables.get(COUNT) == 0


async def test_in_the_gap_of_a_crash_the_name_never_leads_to_somebody_dead() -> None:
    """Looked up at every step of the way; whoever is found can be asked, and answers."""
    async with Supervisor([chat()]):
        ctx = whereis("chat")
        await ctx.variables.set(COUNT, 5)
        with pytest.raises(ContextCrashed):
            await ctx.variables.merge(COUNT, {})  # type: ignore[arg-type]

        found: list[Any] = []
        for _ in range(30):
            found.append(named("chat"))
            await anyio.lowlevel.checkpoint()

        assert set(found) == {ctx}
        assert await ctx.variables.get(COUNT) == 5


@in_virtual_time
async def test_while_it_waits_for_its_restart_it_keeps_its_name() -> None:
    backoff = Backoff(initial=60.0, maximum=60.0, jitter=0.0)
    async with Supervisor([chat(backoff=backoff)]):
        ctx = whereis("chat")
        await crash()
        await anyio.sleep(30)
        assert ctx.status == "restarting"
        assert whereis("chat") is ctx
        with pytest.raises(NameTaken):
            await Context.start(name="chat")


async def test_parked_it_keeps_its_name() -> None:
    async with Supervisor([chat(on_limit="park", max_restarts=0)]) as supervisor:
        ctx = whereis("chat")
        await ctx.variables.set(COUNT, 5)
        await crash()
        await settled()
        assert ctx.status == "parked"
        assert whereis("chat") is ctx
        with pytest.raises(NameTaken):
            await Context.start(name="chat")

        await supervisor.restart_child("chat")
        assert await whereis("chat").variables.get(COUNT) == 5


async def test_a_parked_one_that_is_deleted_gives_its_name_back() -> None:
    async with Supervisor([chat(on_limit="park", max_restarts=0)]) as supervisor:
        ctx = whereis("chat")
        await crash()
        await settled()
        await supervisor.delete_child("chat")
        assert named("chat") is None
        assert ctx.status == "crashed"
        await supervisor.start_child(chat())


async def test_the_name_is_free_as_soon_as_terminate_child_returns_and_a_new_holder_keeps_it() -> None:
    async with Supervisor([chat("chat", restart="temporary")]) as supervisor:
        for _ in range(10):
            old = whereis("chat")
            await supervisor.terminate_child("chat")
            assert named("chat") is None
            await supervisor.start_child(chat("chat", restart="temporary"))
            new = whereis("chat")
            assert new is not old
            await old.stop()
            await settled()
            assert whereis("chat") is new


async def test_the_name_is_free_as_soon_as_a_temporary_one_has_crashed() -> None:
    async with Supervisor([chat(restart="temporary")]) as supervisor:
        await crash()
        await settled()
        assert named("chat") is None
        await supervisor.start_child(chat(restart="temporary"))


async def test_past_the_limit_all_names_are_free() -> None:
    with pytest.raises(RestartLimitReached):
        async with Supervisor([chat("a"), chat("b")], max_restarts=0):
            await crash("a")
            await anyio.sleep_forever()

    assert (named("a"), named("b")) == (None, None)


async def test_the_name_is_back_with_its_supervisor_and_the_state_is_new() -> None:
    branch = Supervisor.child_spec("branch", [chat()], max_restarts=0)
    async with Supervisor([branch]):
        ctx = whereis("chat")
        await ctx.variables.set(COUNT, 5)
        await crash()
        await settled()
        assert whereis("chat") is ctx
        assert ctx.status == "running"
        assert await ctx.variables.get(COUNT) == 0


@pytest.mark.parametrize("name", [1, 1.0, True, None, b"chat", ""])
async def test_names_are_texts_so_that_one_and_true_are_not_the_same(name: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Context.child_spec(name)

    with pytest.raises((TypeError, KeyError)):
        whereis(name)


async def test_many_names_at_once_lead_each_to_its_own() -> None:
    names = [f"chat{number}" for number in range(50)]
    async with DynamicSupervisor() as supervisor:
        async with anyio.create_task_group() as group:
            for name in names:
                group.start_soon(supervisor.start_child, chat(name))

        assert [whereis(name).name for name in names] == names

    assert [named(name) for name in names] == [None] * 50


async def test_of_many_who_start_one_name_at_once_one_has_it() -> None:
    outcomes: list[str] = []
    async with DynamicSupervisor() as supervisor:

        async def start() -> None:
            try:
                await supervisor.start_child(chat())
                outcomes.append("up")
            except StartFailed as error:
                outcomes.append(type(error.__cause__).__name__)

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(start)

    assert sorted(outcomes) == ["NameTaken"] * 9 + ["up"]
