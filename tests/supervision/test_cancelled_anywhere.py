"""
Cut off anywhere: whole scenarios cancelled at each of their suspensions, tasks cancelled by strangers, interrupts out of every callback.

Whatever is cut and when, it ends, in order, with nothing left, and what comes out is what went in.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from itertools import pairwise
from typing import Any

import anyio
import pytest
from anyio.abc import TaskStatus
from sim.atyield import Suspensions
from supervision import alone
from supervision.cast import Boom, Cast, forever, in_virtual_time, settled, states

from dspex import Backoff, CallCycle, ChildSpec, DynamicSupervisor, RestartLimitReached, StartFailed, Supervisor, SupervisorClosed
from dspex.supervision._hosting import Stranger

STRATEGIES = ["one_for_one", "one_for_all", "rest_for_one"]
INTERRUPTS = pytest.mark.parametrize("error", [KeyboardInterrupt("from within"), SystemExit(3)], ids=repr)
ON_ASYNCIO = pytest.mark.parametrize("anyio_backend", [("asyncio", {}), ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"])


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


# --- cancelled at each suspension ---------------------------------------------------------------------------------------------------------


class Heard(Cast):
    """A cast that hears what its children are told to be, too."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[str, list[str]] = {}

    def __call__(self, id: str, *args: Any, **spec: Any) -> ChildSpec:
        told = self.told.setdefault(id, [])
        return super().__call__(id, *args, on_change=lambda state, error: told.append(state), **spec)

    def check(self) -> None:
        assert not self.alive
        assert not [event for event in self.events if "TWO LIVES" in event]
        for id, told in self.told.items():
            assert not told or told[-1] == "gone", (id, told)
            after = {later for earlier, later in pairwise(told) if earlier == "gone"}
            assert after <= {"starting", "gone"}, (id, told)  # of a new child of this name


def tree(cast: Heard, strategy: Any = "one_for_all") -> Supervisor:
    inner = Supervisor.child_spec("inner", [cast("c", asked=0.5), cast("d", lingers=1.0)])
    return Supervisor([cast("a"), cast("b", lingers=1.0), inner, cast("e", starts=[0.5])], strategy=strategy, name="app", max_restarts=10)


async def whole_life(cast: Heard, strategy: Any) -> None:
    async with tree(cast, strategy) as supervisor:
        await supervisor.start_child(cast("x", starts=[0.5]))
        await cast.crash("b")
        await anyio.sleep(1)
        await supervisor.terminate_child("x")
        await supervisor.restart_child("x")
        await supervisor.terminate_child("x")
        await supervisor.delete_child("x")


async def stopped_by_hand(cast: Heard, strategy: Any) -> None:
    supervisor = await Supervisor.start([cast("a", lingers=1.0), cast("b", starts=[0.5])], strategy=strategy)
    try:
        await supervisor.start_child(cast("x", starts=[0.5]))
    finally:
        with anyio.CancelScope(shield=True):
            await supervisor.stop()


async def dynamic_life(cast: Heard, strategy: Any) -> None:
    async with DynamicSupervisor(max_children=2) as supervisor:
        await supervisor.start_child(cast("a", starts=[0.5], lingers=1.0))
        await supervisor.start_child(cast("b", asked=0.5))
        await cast.crash("a")
        await supervisor.terminate_child("b")
        await supervisor.start_child(cast("c", lingers=8.0))


LIVES = [whole_life, stopped_by_hand, dynamic_life]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("life", LIVES)
def test_a_tree_cancelled_at_any_of_its_suspensions_unwinds_and_the_cancellation_goes_on(
    run_virtually: Any, life: Callable[..., Coroutine[Any, Any, None]], strategy: str
) -> None:
    async def cut(at: int | None) -> int:
        cast = Heard()
        with anyio.CancelScope() as scope:
            watched = Suspensions(life(cast, strategy), at=at, action=scope.cancel)
            await watched
            assert not scope.cancelled_caught

        await settled()
        cast.check()
        return watched.count

    count = run_virtually(lambda: cut(None))
    for at in range(1, count + 1):
        run_virtually(lambda at=at: cut(at))


OPERATIONS: dict[str, Callable[[Supervisor, Heard], Awaitable[Any]]] = {
    "start_child": lambda supervisor, cast: supervisor.start_child(cast("x", starts=[0.5], lingers=1.0)),
    "terminate_child": lambda supervisor, cast: supervisor.terminate_child("b"),
    "terminate_child of an overdue one": lambda supervisor, cast: supervisor.terminate_child("slow"),
    "restart_child": lambda supervisor, cast: supervisor.restart_child("idle"),
    "stop": lambda supervisor, cast: supervisor.stop(),
    "wait": lambda supervisor, cast: supervisor.wait(),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_cancelled_at_any_of_its_suspensions_may_be_done_again(run_virtually: Any, operation: str, strategy: Any) -> None:
    async def cut(at: int | None) -> int:
        cast = Heard()
        children = [cast("a"), cast("idle", starts=[None, 0.5]), cast("b", lingers=1.0), cast("slow", lingers=30.0, shutdown=1.0)]
        async with Supervisor(children, strategy=strategy) as supervisor:
            await supervisor.terminate_child("idle")
            if operation == "wait":
                await supervisor.stop()

            with anyio.CancelScope() as scope:
                watched = Suspensions(again(OPERATIONS[operation], supervisor, cast), at=at, action=scope.cancel)
                await watched

            await anyio.sleep(60)
            assert not set(states(supervisor).values()) - {"running", "stopped"}
            if at is not None and supervisor.status == "running":
                cast.parts.pop("x", None)
                await OPERATIONS[operation](supervisor, cast)

        cast.check()
        return watched.count

    count = run_virtually(lambda: cut(None))
    for at in range(1, count + 1):
        run_virtually(lambda at=at: cut(at))


async def again(operation: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    return await operation(*args)


@in_virtual_time
async def test_who_gives_up_before_a_background_tree_began_to_start_does_not_wait_for_it(cast: Cast) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await Supervisor.start([cast("a", starts=[3600.0])])

    assert anyio.current_time() < 1
    assert cast.alive == []


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
async def test_a_start_that_fails_in_the_step_in_which_its_starter_is_cancelled_leaves_nothing(kind: Any) -> None:
    scope = anyio.CancelScope()

    async def fails(*, task_status: TaskStatus[None]) -> None:
        await settled()
        scope.cancel()
        raise Boom

    async with kind() as supervisor:
        with scope:
            await supervisor.start_child(ChildSpec("a", fails))

        assert states(supervisor) == {}


async def test_a_restart_by_hand_that_fails_in_the_step_in_which_its_caller_is_cancelled_leaves_it_stopped() -> None:
    scope = anyio.CancelScope()
    lives: list[int] = []

    async def fails_later(*, task_status: TaskStatus[None]) -> None:
        lives.append(1)
        if len(lives) == 1:
            task_status.started()
            await anyio.sleep_forever()

        await settled()
        scope.cancel()
        raise Boom

    async with Supervisor([ChildSpec("a", fails_later)]) as supervisor:
        await supervisor.terminate_child("a")
        with scope:
            await supervisor.restart_child("a")

        assert states(supervisor) == {"a": "stopped"}


# --- by strangers -------------------------------------------------------------------------------------------------------------------------


def a_stranger_cancels(name: str) -> None:
    found = [task for task in asyncio.all_tasks() if name in task.get_name()]
    assert found
    for task in found:
        task.cancel()


def a_stranger_cancels_all() -> None:
    """As `asyncio.run` does at its end."""
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task() and not getattr(task.get_coro(), "__qualname__", "").startswith("TestRunner."):
            task.cancel()


@ON_ASYNCIO
async def test_a_stranger_who_cancels_what_sees_a_child_out_cuts_its_time_short_and_harms_nobody_else(cast: Cast) -> None:
    async with (
        Supervisor([cast("a"), cast("b", asked=3600.0, shutdown=math.inf)], name="app") as supervisor,
        anyio.create_task_group() as group,
    ):
        group.start_soon(supervisor.terminate_child, "b")
        await settled()
        for _ in range(3):
            a_stranger_cancels("app/b (its stop)")
            await settled()
            if states(supervisor)["b"] == "stopped":
                break

        assert states(supervisor) == {"a": "running", "b": "stopped"}
        assert cast["a"].lives == 1


@ON_ASYNCIO
async def test_a_stranger_who_cancels_a_groups_restart_has_crashed_the_supervisor(cast: Cast) -> None:
    with pytest.raises(Stranger):
        async with Supervisor([cast("a"), cast("b", lingers=0.01), cast("c")], name="app", strategy="one_for_all") as supervisor:
            await cast.crash("c")
            a_stranger_cancels("app (a restart)")
            await anyio.sleep_forever()

    assert cast.events == ["a up", "b up", "c up", "c crashes", "b stopping", "b down", "a down"]
    assert (supervisor.status, supervisor.ended_by) == ("closed", "error")


@ON_ASYNCIO
@pytest.mark.parametrize("times", [1, 20])
async def test_a_stranger_who_cancels_the_keeper_of_the_children_has_crashed_the_supervisor(cast: Cast, times: int) -> None:
    with pytest.raises(Stranger):
        async with Supervisor([cast("a", lingers=0.01), cast("b", lingers=0.01)], name="app") as supervisor:
            await settled()
            for _ in range(times):
                a_stranger_cancels("app (its children)")
                with anyio.CancelScope(shield=True):
                    await asyncio.sleep(0)

            await anyio.sleep_forever()

    assert cast.events == ["a up", "b up", "b stopping", "b down", "a stopping", "a down"]
    assert supervisor.status == "closed"


@ON_ASYNCIO
async def test_a_child_cancelled_before_its_first_step_crashes_the_supervisor_and_hangs_nobody(cast: Cast) -> None:
    with pytest.raises(Stranger):
        async with Supervisor([cast("a")], name="app") as supervisor, anyio.create_task_group() as group:

            async def start() -> None:
                with pytest.raises((SupervisorClosed, asyncio.CancelledError)):
                    await supervisor.start_child(cast("b"))

            group.start_soon(start)
            while "b" not in states(supervisor):  # noqa: ASYNC110 - not a step more
                await asyncio.sleep(0)

            a_stranger_cancels("app/b")
            await anyio.sleep_forever()

    assert cast.alive == []
    assert supervisor.status == "closed"


@ON_ASYNCIO
@pytest.mark.parametrize("steps", range(8))
@pytest.mark.parametrize("way", ["block", "start"])
async def test_everything_cancelled_while_it_is_being_entered_ends(cast: Cast, steps: int, way: str) -> None:
    async def app() -> None:
        if way == "start":
            await Supervisor.start([cast("a"), cast("b")])
        else:
            async with Supervisor([cast("a"), cast("b")]):
                await anyio.sleep(3600)

    task = asyncio.create_task(app())
    for _ in range(steps):
        await asyncio.sleep(0)

    a_stranger_cancels_all()
    await asyncio.wait([task], timeout=5)
    assert task.done()
    a_stranger_cancels_all()  # what stands beside, if it was up before
    await settled()
    assert cast.alive == []


@ON_ASYNCIO
async def test_who_opens_a_background_tree_whose_host_a_stranger_cancels_is_told_and_not_cancelled(cast: Cast) -> None:
    async def start() -> None:
        with pytest.raises(Stranger):
            await Supervisor.start([cast("a"), cast("b", starts=[3600.0])], name="app")

        cast.record("told")

    async with anyio.create_task_group() as group:
        group.start_soon(start)
        await settled()
        a_stranger_cancels("dspex app")

    assert cast.events == ["a up", "b starts", "b gives up", "a down", "told"]


@ON_ASYNCIO
async def test_native_cancels_as_it_stops_leave_it_closed(cast: Cast) -> None:
    supervisor = Supervisor([cast("a", refuses=True)])

    async def app() -> None:
        async with supervisor:
            await asyncio.sleep(3600)

    task = asyncio.create_task(app())
    await settled()
    for _ in range(50):
        task.cancel()
        await asyncio.sleep(0)

    assert (supervisor.status, task.done()) == ("stopping", False)
    cast["a"].released.set()
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)

    assert supervisor.status == "closed"
    assert cast.alive == []


# --- interrupts, at every moment --------------------------------------------------------------------------------------------------------------


@INTERRUPTS
@pytest.mark.parametrize("how", ["left", "cancelled from outside", "terminated"])
@in_virtual_time
async def test_an_interrupt_out_of_a_child_that_is_being_stopped_comes_out(cast: Cast, error: BaseException, how: str) -> None:
    told: list[str] = []
    children = [cast("a"), cast("b", last_words=error, on_change=lambda state, error: told.append(state)), cast("c")]
    with pytest.raises(type(error)) as caught:
        with anyio.CancelScope() as scope:
            async with Supervisor(children) as supervisor:
                if how == "cancelled from outside":
                    scope.cancel()
                    await anyio.sleep_forever()
                elif how == "terminated":
                    await supervisor.terminate_child("b")
                    await anyio.sleep_forever()

    assert caught.value is error
    assert cast.alive == []
    assert told[-1] == "gone"


@INTERRUPTS
@pytest.mark.parametrize("later", [False, True], ids=["at once", "in its coroutine"])
@pytest.mark.parametrize("when", ["starting", "running", "restarting", "stopping", "gone"])
async def test_an_interrupt_out_of_on_change_comes_out_bare(cast: Cast, error: BaseException, when: str, later: bool) -> None:
    async def raises() -> None:
        raise error

    def on_change(state: str, _: BaseException | None) -> Any:
        if state != when:
            return None

        if later:
            return raises()

        raise error

    with pytest.raises(type(error)) as caught:
        async with Supervisor([cast("a"), cast("b", on_change=on_change), cast("c")]):
            if when == "restarting":
                await cast.crash("b")

            if when in ("starting", "running", "restarting"):
                await anyio.sleep_forever()

    assert caught.value is error
    assert cast.alive == []


@INTERRUPTS
@pytest.mark.parametrize("later", [False, True], ids=["at once", "in its coroutine"])
@in_virtual_time
async def test_an_interrupt_out_of_a_stop_function_comes_out_bare_and_the_child_is_cancelled(
    cast: Cast, error: BaseException, later: bool
) -> None:
    async def raises() -> None:
        raise error

    def stop(final: bool) -> Any:
        if later:
            return raises()

        raise error

    with pytest.raises(type(error)) as caught:
        async with Supervisor([cast("a"), cast("b", stop=stop, shutdown=math.inf), cast("c")]):
            pass

    assert caught.value is error
    assert cast.events[3:] == ["c down", "b down", "a down"]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop", "trio"])
def test_ctrl_c_twice_in_a_real_process_ends_it_as_ctrl_c(loop: str) -> None:
    story = alone.tell("takes_its_time", loop, "SIGINT", "SIGINT")

    assert story.events[:4] == ["a up", "b up", "ready", "ready for another"]
    assert "a down" in story.events
    assert story.code in (-2, 130, 1)
    assert "KeyboardInterrupt" in story.last_words
    assert "Group" not in story.last_words


@INTERRUPTS
@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_an_interrupt_out_of_a_child_that_is_up_while_others_start_comes_out(cast: Cast, error: BaseException, strategy: Any) -> None:
    async with anyio.create_task_group() as group:

        async def interrupt() -> None:
            await settled()
            await cast.crash("a", error=error)

        group.start_soon(interrupt)
        with pytest.raises(type(error)) as caught:
            async with Supervisor([cast("a"), cast("b", starts=[3600.0])], strategy=strategy):
                pytest.fail("the body must not run")

    assert caught.value is error
    assert cast.alive == []


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_limit_reached_while_others_start_comes_out_with_its_cause(cast: Cast, strategy: Any) -> None:
    error = Boom("the cause")
    async with anyio.create_task_group() as group:

        async def crash() -> None:
            await settled()
            await cast.crash("a", error=error)

        group.start_soon(crash)
        with pytest.raises(RestartLimitReached) as caught:
            async with Supervisor([cast("a"), cast("b", starts=[0.05]), cast("c", starts=[0.05])], strategy=strategy, max_restarts=0):
                await anyio.sleep_forever()

    assert caught.value.__cause__ is error
    assert cast.alive == []


# --- functions of somebody else's that go wrong ------------------------------------------------------------------------------------------------


class Odd:
    """A backoff that gives, or raises, what it was given."""

    maximum = "long"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def delay(self, strikes: int) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer

        return self.answer


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("answer", [ZeroDivisionError("no"), math.nan, -1.0, math.inf, 1e300, "soon", None], ids=repr)
async def test_a_backoff_that_fails_keeps_neither_its_child_from_being_stopped_nor_others_from_running(
    cast: Cast, answer: Any, strategy: Any
) -> None:
    async with Supervisor([cast("a"), cast("b", backoff=Odd(answer))], strategy=strategy) as supervisor:
        await cast.crash("b")
        assert states(supervisor)["b"] in ("restarting", "running")
        await supervisor.terminate_child("b")
        await settled()
        assert states(supervisor) == {"a": "running", "b": "stopped"}


@in_virtual_time
async def test_a_stop_function_that_hangs_holds_nothing_once_its_child_is_gone(cast: Cast) -> None:
    async def hangs(final: bool) -> None:
        await anyio.sleep_forever()

    async with Supervisor([cast("a", stop=hangs, shutdown=math.inf)]) as supervisor, anyio.create_task_group() as group:
        group.start_soon(supervisor.terminate_child, "a")
        await anyio.sleep(1)
        await cast.finish("a")

    assert anyio.current_time() < 2


async def test_what_on_change_returns_is_awaited_only_if_it_can_be(cast: Cast) -> None:
    async with Supervisor([cast("a", on_change=lambda state, error: 5)]) as supervisor:
        await settled()
        assert states(supervisor) == {"a": "running"}


async def test_a_tree_entered_in_a_cancelled_scope_tells_each_child_that_it_is_gone_and_finishes_telling() -> None:
    told: list[str] = []

    async def finish(state: str) -> None:
        await settled()
        told.append(state)

    for kind in ("block", "child"):
        told.clear()
        with anyio.CancelScope() as scope:
            scope.cancel()
            tree = [ChildSpec("a", forever, on_change=lambda state, error: finish(state))]
            async with Supervisor(tree if kind == "block" else [ChildSpec("z", forever), *tree]):
                await anyio.sleep_forever()

        assert told[-1] == "gone"


# --- balance ------------------------------------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_child_that_ends_while_others_are_stopped_is_told_once_that_it_is_gone() -> None:
    cast = Heard()
    async with Supervisor([cast("a", "temporary"), cast("b", lingers=2.0)]) as supervisor, anyio.create_task_group() as group:
        group.start_soon(supervisor.stop)
        await anyio.sleep(1)
        await cast.finish("a")

    assert cast.told["a"].count("gone") == 1


@pytest.mark.parametrize("seconds", [0.1, 5.0])
@in_virtual_time
async def test_a_child_that_ends_just_as_its_time_is_up_is_not_overdue_after_it_is_gone(seconds: float) -> None:
    cast = Heard()
    async with DynamicSupervisor() as supervisor:
        await supervisor.start_child(cast("a", lingers=seconds, shutdown=seconds))

    assert cast.told["a"][-1] == "gone"


# --- waiting for oneself ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shield", [False, True], ids=["", "in a shield"])
@pytest.mark.parametrize("polite", [False, True], ids=["cancelled", "asked"])
@in_virtual_time
async def test_a_child_that_terminates_itself_does_not_wait_for_itself(shield: bool, polite: bool) -> None:
    async def tired(*, task_status: TaskStatus[None]) -> None:
        task_status.started()
        with anyio.CancelScope(shield=shield):
            await supervisor.terminate_child("tired")

    options: dict[str, Any] = {"stop": lambda final: None, "shutdown": math.inf} if polite else {}
    async with Supervisor() as supervisor:
        await supervisor.start_child(ChildSpec("tired", tired, **options))
        await anyio.sleep(1)
        assert states(supervisor) == {"tired": "stopped"}


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
@in_virtual_time
async def test_a_child_that_waits_for_its_turn_in_a_shield_when_its_group_is_stopped_is_told(cast: Cast, strategy: Any) -> None:
    told: list[str] = []

    async def late(*, task_status: TaskStatus[None]) -> None:
        task_status.started()
        await anyio.sleep(2)
        if not told:
            with anyio.CancelScope(shield=True):
                try:
                    await supervisor.start_child(cast("new"))
                except CallCycle as error:
                    told.append(type(error).__name__)

        await anyio.sleep_forever()

    async with Supervisor([cast("a")], strategy=strategy, name="app") as supervisor:
        await supervisor.start_child(ChildSpec("late", late))
        await supervisor.start_child(cast("z", lingers=5.0))
        await anyio.sleep(1)
        await cast.crash("a")  # z is stopped first, and late asks meanwhile
        await anyio.sleep(20)
        assert told == ["CallCycle"]
        assert states(supervisor) == {"a": "running", "late": "running", "z": "running"}


@in_virtual_time
async def test_those_after_a_child_that_is_deleted_before_its_restart_come_back(cast: Cast) -> None:
    children = [cast("a"), cast("b", starts=[None, Boom()]), cast("c", lingers=5.0)]
    async with Supervisor(children, strategy="rest_for_one", max_restarts=10) as supervisor, anyio.create_task_group() as group:
        await cast.crash("b")  # c takes 5 s to stop, then b fails to start
        group.start_soon(supervisor.start_child, cast("x", starts=[60.0]))  # who has the next turn
        await anyio.sleep(10)
        assert states(supervisor) == {"a": "running", "b": "restarting", "c": "restarting", "x": "starting"}
        await supervisor.terminate_child("b")
        await supervisor.delete_child("b")
        await anyio.sleep(100)
        assert states(supervisor) == {"a": "running", "c": "running", "x": "running"}


# --- in a hurry -----------------------------------------------------------------------------------------------------------------------------------


async def test_to_hurry_what_was_never_started_changes_nothing(cast: Cast) -> None:
    supervisor = Supervisor([cast("a")])
    supervisor._hurry()
    async with supervisor:
        assert states(supervisor) == {"a": "running"}


@in_virtual_time
async def test_to_hurry_a_start_ends_it(cast: Cast) -> None:
    supervisor = Supervisor([cast("a"), cast("b", starts=[5.0]), cast("c")])
    async with anyio.create_task_group() as group:

        async def hurry() -> None:
            await anyio.sleep(1)
            supervisor._hurry()

        group.start_soon(hurry)
        with pytest.raises(StartFailed):
            async with supervisor:
                pytest.fail("the body must not run")

    assert cast.alive == []
    assert anyio.current_time() < 2


@in_virtual_time
async def test_to_hurry_reaches_into_a_subtree_that_is_still_starting(cast: Cast) -> None:
    inner = Supervisor.child_spec("inner", [cast("a", asked=1000.0, shutdown=3600.0), cast("b", starts=[500.0])])
    supervisor = Supervisor([inner])
    async with anyio.create_task_group() as group:

        async def hurry() -> None:
            await anyio.sleep(1)
            supervisor._turn_back()
            await anyio.sleep(1)
            supervisor._hurry()

        group.start_soon(hurry)
        with pytest.raises(StartFailed):
            async with supervisor:
                pytest.fail("the body must not run")

    assert anyio.current_time() < 3
    assert cast.alive == []


async def test_on_change_may_hurry_its_supervisor(cast: Cast) -> None:
    async with Supervisor([cast("a"), cast("z")]) as supervisor:
        with pytest.raises(SupervisorClosed):
            await supervisor.start_child(ChildSpec("b", forever, on_change=lambda state, error: supervisor._hurry()))

    assert cast.alive == []


@in_virtual_time
async def test_a_tree_in_a_long_backoff_is_left_at_once(cast: Cast) -> None:
    backoff = Backoff(initial=3600.0, maximum=3600.0)
    async with Supervisor([cast("a"), Supervisor.child_spec("inner", [cast("b", backoff=backoff)])]):
        await cast.crash("b")

    assert anyio.current_time() < 1
