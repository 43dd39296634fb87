"""Which supervisors, bridges and families there are: each is there while it is up, and none when it has ended, however it has ended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace as Namespace
from typing import Any

import anyio
import anyio.lowlevel
import leaks
import pytest
from supervision.cast import Boom, Cast, forever, settled
from worker_desk import STORE

from dspex import ChildSpec, Context, Contexts, DynamicSupervisor, StartFailed, Supervisor, Var
from dspex.bridge import Bridge
from dspex.supervision._bounded import first_of
from dspex.supervision._standing import Standing
from dspex.telemetry import _live

COUNT = Var("count", int, 0)


def roots() -> list[Any]:
    return list(_live.ROOTS)


def bridges() -> list[Any]:
    return list(_live.BRIDGES)


def families() -> list[Any]:
    return list(_live.FAMILIES)


async def fails() -> None:
    raise Boom


async def never_ready(*, task_status: Any) -> None:
    await anyio.sleep_forever()


# --- roots -----------------------------------------------------------------------------------------------------------------------------


async def test_a_supervisor_that_nobody_supervises_is_a_root_and_none_below_it() -> None:
    specs = [Supervisor.child_spec("s", [ChildSpec("a", forever)]), DynamicSupervisor.child_spec("d")]
    async with Supervisor(specs) as supervisor, DynamicSupervisor() as another:
        assert roots() == [supervisor, another]
        assert await anyio.to_thread.run_sync(roots) == [supervisor, another]

    assert roots() == []


async def test_one_that_is_started_beside_its_caller_is_there_until_it_is_stopped() -> None:
    supervisor = await Supervisor.start([ChildSpec("a", forever)])
    assert roots() == [supervisor]
    await supervisor.stop()
    assert roots() == []


async def test_one_that_hangs_as_it_starts_is_there_to_be_looked_at() -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Supervisor([ChildSpec("a", never_ready)], name="app").__aenter__)
        await settled()
        (root,) = roots()
        assert (root.path, root.status) == ("app", "starting")
        tasks.cancel_scope.cancel()

    assert roots() == []


async def test_one_that_fails_to_start_is_none() -> None:
    async def never(*, task_status: Any) -> None:
        raise Boom

    with pytest.raises(StartFailed):
        async with Supervisor([ChildSpec("a", never)]):
            raise AssertionError("not reached")

    assert roots() == []


async def test_one_that_gives_up_is_none() -> None:
    with pytest.raises(Exception, match="restarted"):
        async with Supervisor([ChildSpec("a", fails)], max_restarts=1):
            await anyio.sleep_forever()

    assert roots() == []


@pytest.mark.parametrize("error", [Boom, SystemExit])
async def test_one_whose_block_raises_is_none(error: type[BaseException]) -> None:
    with pytest.raises(error):
        async with Supervisor([ChildSpec("a", forever)]):
            raise error

    assert roots() == []


async def native(work: Callable[[], Any], running: str) -> None:
    """Runs *work* in a task of asyncio's own and cancels that as soon as it is up."""
    if running == "trio":
        pytest.skip("trio has no native cancel")

    task = asyncio.create_task(work())
    await settled()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_one_whose_task_a_stranger_cancels_is_none(running_loop: Callable[[], str]) -> None:
    async def work() -> None:
        async with Supervisor([ChildSpec("a", forever)]):
            await anyio.sleep_forever()

    await native(work, running_loop())
    assert roots() == []


# --- bridges ---------------------------------------------------------------------------------------------------------------------------


async def test_a_bridge_is_there_while_it_is_open_and_its_pools_are_no_roots() -> None:
    bridge = Bridge(store=STORE)
    assert bridges() == []
    for _ in range(2):
        async with bridge:
            await bridge.wait_ready()
            assert (bridges(), roots(), bridge._is_part) == ([bridge], [], False)

        assert bridges() == []


async def test_the_private_bridge_of_a_context_is_there_as_a_part_of_it() -> None:
    async with Context(variables=[COUNT]) as ctx:
        await ctx.ensure_bridged()
        await anyio.lowlevel.checkpoint()
        assert bridges() == [ctx._inside.private]
        assert ctx._inside.private is not None
        assert ctx._inside.private._is_part

    assert bridges() == []


async def test_a_bridge_in_a_tree_is_part_of_it_and_gone_while_it_is_stopped() -> None:
    async with Supervisor([Bridge.child_spec("bridge", store=STORE)]) as supervisor:
        bridge = supervisor.which_child("bridge").value
        assert (bridges(), bridge._is_part, roots()) == ([bridge], True, [supervisor])
        await supervisor.terminate_child("bridge")
        assert bridges() == []
        await supervisor.restart_child("bridge")
        assert bridges() == [bridge]

    assert bridges() == []


async def watch(there: list[bool]) -> None:
    while True:
        there.append(bool(bridges()))
        await anyio.lowlevel.checkpoint()


async def test_a_bridge_that_restarts_with_its_group_is_there_all_the_time() -> None:
    cast = Cast()
    async with Supervisor([cast("a"), Bridge.child_spec("bridge", store=STORE, drain=0.0)], strategy="one_for_all") as supervisor:
        bridge = supervisor.which_child("bridge").value
        there: list[bool] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch, there)
            await cast.crash("a")
            while bridge.statistics().starts < 2 or bridge.status != "running":
                await anyio.lowlevel.checkpoint()

            tasks.cancel_scope.cancel()

        assert len(there) > 1
        assert all(there)


async def test_a_parked_bridge_stays_until_its_supervisor_forgets_it(running_loop: Callable[[], str]) -> None:
    if running_loop() == "trio":
        pytest.skip("trio has no native cancel")

    spec = Bridge.child_spec("bridge", store=STORE, on_limit="park", max_restarts=0)
    async with Supervisor([spec], name="app") as supervisor:
        bridge = supervisor.which_child("bridge").value
        next(task for task in asyncio.all_tasks() if task.get_name() == "app/bridge").cancel()
        while bridge.status != "parked":
            await anyio.lowlevel.checkpoint()

        assert bridges() == [bridge]
        await supervisor.delete_child("bridge")
        assert bridges() == []


async def test_a_bridge_whose_task_a_stranger_cancels_is_gone(running_loop: Callable[[], str]) -> None:
    async def work() -> None:
        async with Bridge(store=STORE):
            await anyio.sleep_forever()

    await native(work, running_loop())
    assert bridges() == []


async def test_a_bridge_that_is_cancelled_as_it_opens_is_gone() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with Bridge(store=STORE):
            await anyio.sleep_forever()

    assert bridges() == []


# --- families --------------------------------------------------------------------------------------------------------------------------


async def test_a_family_is_there_while_it_runs_and_what_it_is_made_of_is_not_told_apart() -> None:
    family = Contexts(variables=[COUNT], name="chats")
    assert families() == []
    for _ in range(2):
        async with family:
            async with family.open("a") as ctx:
                await ctx.ensure_bridged()
                await anyio.lowlevel.checkpoint()

            assert (families(), roots(), family._is_part) == ([family], [], False)
            assert [bridge._is_part for bridge in bridges()] == [True]
            below = family.__branch__().children
            assert [(child.name, child.kind) for child in below] == [("bridge of chats", "bridge"), ("a", "context")]

        assert (families(), bridges()) == ([], [])


async def test_a_family_that_is_stopped_within_its_block_is_gone() -> None:
    async with Contexts() as family:
        await family.stop()
        assert families() == []


async def test_a_family_in_a_tree_is_part_of_it_and_not_there_between_two_lives() -> None:
    async with Supervisor([Contexts.child_spec("chats", variables=[COUNT])]) as supervisor:
        family = supervisor.which_child("chats").value
        assert (families(), family._is_part, roots()) == ([family], True, [supervisor])
        await supervisor.terminate_child("chats")
        assert families() == []
        await supervisor.restart_child("chats")
        assert families() == [family]

    assert families() == []


@pytest.mark.parametrize("error", [Boom, SystemExit])
async def test_a_family_whose_block_raises_is_gone(error: type[BaseException]) -> None:
    with pytest.raises(error):
        async with Contexts() as family, family.open("a"):
            raise error

    assert families() == []


async def test_a_family_whose_task_a_stranger_cancels_is_gone(running_loop: Callable[[], str]) -> None:
    async def work() -> None:
        async with Contexts(drain=0.0) as family, family.open("a"):
            await anyio.sleep_forever()

    await native(work, running_loop())
    assert (families(), roots()) == ([], [])


async def test_a_family_that_is_cancelled_as_it_is_entered_is_gone() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with Contexts():
            await anyio.sleep_forever()

    assert families() == []


async def test_of_many_contexts_a_tree_has_those_in_trouble_and_some_of_the_others() -> None:
    async with Contexts(variables=[COUNT], name="chats") as family:
        for number in range(60):
            async with family.open(f"k{number}"):
                pass

        drawn = family.__branch__()
        assert [child.name for child in drawn.children] == [f"k{number}" for number in range(50)]
        assert dict(drawn.others) == {"running": 10}


class Kid:
    """A child, as far as a tree asks for trouble below it: those of all supervisors are the same ones here, or there would be millions."""

    looked_at = 0

    def __init__(self, kids: dict[str, Kid] | None = None) -> None:
        self._supervisor = Namespace(_standing=Standing(), _children=kids)
        self._kids = kids
        self.run = Namespace(value=self._supervisor)

    @property
    def is_supervisor(self) -> bool:
        Kid.looked_at += 1
        return self._kids is not None


def test_i9_however_many_are_below_however_many_few_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kid, "looked_at", 0)
    kids = {f"k{number}": Kid() for number in range(2000)}
    supervisors: Any = {f"s{number}": Kid(kids) for number in range(2000)}
    assert len(first_of(supervisors, Standing(), 200)) == 200
    assert Kid.looked_at <= 4000


# --- and would it be noticed? ------------------------------------------------------------------------------------------------------


async def test_what_a_test_leaves_behind_is_found() -> None:
    with pytest.raises(AssertionError, match=r"1 things that are said to live.*Supervisor 'app'"):
        async with leaks.leaving_no_task():
            _live.ROOTS.enter(Supervisor(name="app"))

    for root in roots():
        _live.ROOTS.leave(root)


# --- another loop ----------------------------------------------------------------------------------------------------------------------


def test_what_lives_in_another_loop_is_there_too() -> None:
    up, looked = threading.Event(), threading.Event()

    async def elsewhere() -> None:
        async with Supervisor(name="elsewhere"):
            up.set()
            await anyio.to_thread.run_sync(looked.wait)

    thread = threading.Thread(target=anyio.run, args=(elsewhere,))
    thread.start()
    up.wait()
    found = [root.path for root in roots()]
    looked.set()
    thread.join()
    assert found == ["elsewhere"]
    assert roots() == []


def test_what_a_loop_leaves_behind_that_is_abandoned_is_gone_once_its_host_tasks_have_left() -> None:
    from dspex.supervision import leave_all

    loop = asyncio.new_event_loop()
    supervisor = loop.run_until_complete(Supervisor.start([ChildSpec("a", forever)]))
    assert roots() == [supervisor]
    loop.run_until_complete(leave_all())
    loop.close()
    assert roots() == []
