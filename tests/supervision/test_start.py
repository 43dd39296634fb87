"""How children start: one after the other, each ready before the next; and what is left when one doesn't."""

from __future__ import annotations

import contextvars
import functools
from typing import Any

import anyio
import pytest
from anyio.abc import TaskStatus
from supervision.cast import IGNORE, Boom, Cast, counts, forever, in_virtual_time, settled, states, values

from dspex import ChildNotFound, ChildSpec, DynamicSupervisor, StartFailed, Supervisor, SupervisorClosed
from dspex.supervision import current_path, sibling

LOCALE: contextvars.ContextVar[str] = contextvars.ContextVar("LOCALE", default="none")


async def test_an_empty_supervisor_starts_and_stops_cleanly() -> None:
    async with Supervisor() as supervisor:
        assert supervisor.status == "running"
        assert counts(supervisor) == (0, 0, 0, 0)

    assert supervisor.status == "closed"
    assert supervisor.ended_by == "stop"


async def test_children_start_in_the_order_they_are_listed_in(cast: Cast) -> None:
    async with Supervisor([cast(id) for id in "abcdefgh"]):
        assert cast.events == [f"{id} up" for id in "abcdefgh"]


@in_virtual_time
async def test_each_child_is_ready_before_the_next_starts(cast: Cast) -> None:
    async with Supervisor([cast("a", starts=[3.0]), cast("b"), cast("c", starts=[1.0])]):
        assert cast.timed == [(0.0, "a starts"), (3.0, "a up"), (3.0, "b up"), (3.0, "c starts"), (4.0, "c up")]


async def test_a_child_without_task_status_is_ready_when_it_runs() -> None:
    begun: list[str] = []

    async def plain() -> None:
        begun.append("plain")
        await anyio.sleep_forever()

    async with Supervisor([ChildSpec("plain", plain)]) as supervisor:
        assert begun == ["plain"]
        assert states(supervisor) == {"plain": "running"}


async def test_a_start_may_be_any_async_callable() -> None:
    class Service:
        async def run(self) -> None:
            await anyio.sleep_forever()

        async def __call__(self, *, task_status: TaskStatus[str]) -> None:
            task_status.started("called")
            await anyio.sleep_forever()

    async def with_arguments(greeting: str, *, task_status: TaskStatus[str]) -> None:
        task_status.started(greeting)
        await anyio.sleep_forever()

    children = [
        ChildSpec("method", Service().run),
        ChildSpec("object", Service()),
        ChildSpec("partial", functools.partial(with_arguments, "hello")),
        ChildSpec("lambda", lambda: forever()),
    ]
    async with Supervisor(children) as supervisor:
        assert values(supervisor) == {"method": None, "object": "called", "partial": "hello", "lambda": None}


async def test_what_a_child_hands_to_started_is_its_value(cast: Cast) -> None:
    async with Supervisor([cast("a")]) as supervisor:
        assert supervisor.which_child("a").value == "a#1"
        assert (await supervisor.start_child(cast("b"))).value == "b#1"


async def test_after_a_restart_the_value_is_the_new_lifes(cast: Cast) -> None:
    async with Supervisor([cast("a")]) as supervisor:
        await cast.crash("a")
        assert supervisor.which_child("a").value == "a#2"

        await supervisor.terminate_child("a")
        assert (await supervisor.restart_child("a")).value == "a#3"


async def test_a_stopped_child_has_no_value(cast: Cast) -> None:
    async with Supervisor([cast("a")]) as supervisor:
        await supervisor.terminate_child("a")
        assert supervisor.which_child("a").value is None


# --- a start that fails -----------------------------------------------------------------------------------------------------------


async def test_a_start_that_fails_stops_those_before_it_in_reverse_and_the_later_are_never_started(cast: Cast) -> None:
    with pytest.raises(StartFailed):
        async with Supervisor([cast("a"), cast("b"), cast("c", starts=[Boom("c")]), cast("d")]):
            pytest.fail("the body must not run")

    assert cast.events == ["a up", "b up", "c fails", "b down", "a down"]


async def test_a_start_that_fails_raises_from_the_childs_own_exception(cast: Cast) -> None:
    cause = Boom("no disk")
    supervisor = Supervisor([cast("a", starts=[cause])], name="app")
    with pytest.raises(StartFailed) as caught:
        await supervisor.__aenter__()

    assert type(caught.value) is StartFailed
    assert caught.value.__cause__ is cause
    assert str(caught.value) == "The child 'app/a' failed to start: Boom: no disk"
    assert supervisor.status == "closed"
    assert supervisor.ended_by == "error"


async def test_what_fails_while_those_before_are_stopped_does_not_hide_the_cause(cast: Cast) -> None:
    with pytest.raises(StartFailed) as caught:
        async with Supervisor([cast("a", last_words=Boom("also")), cast("b"), cast("c", starts=[Boom("first")])]):
            pass

    assert str(caught.value.__cause__) == "first"
    assert cast.events == ["a up", "b up", "c fails", "b down", "a down"]


async def test_a_supervisor_can_be_tried_again_and_again_with_the_same_specs(cast: Cast) -> None:
    children = [cast("a"), cast("b", starts=[Boom()] * 5)]
    for _ in range(5):
        with pytest.raises(StartFailed):
            async with Supervisor(children):
                pass

    cast.forget()
    async with Supervisor(children):
        assert cast.events == ["a up", "b up"]


async def test_start_in_the_background_fails_in_the_same_way(cast: Cast) -> None:
    with pytest.raises(StartFailed) as caught:
        await Supervisor.start([cast("a"), cast("b", starts=[Boom("no")])])

    assert isinstance(caught.value.__cause__, Boom)
    assert cast.events == ["a up", "b fails", "a down"]


async def test_a_nested_start_that_fails_is_told_from_the_inside_out(cast: Cast) -> None:
    cause = Boom("deep")
    inner = Supervisor.child_spec("inner", [cast("b"), cast("c", starts=[cause])])
    with pytest.raises(StartFailed) as caught:
        async with Supervisor([cast("a"), inner], name="app"):
            pass

    assert isinstance(caught.value.__cause__, StartFailed)
    assert caught.value.__cause__.__cause__ is cause
    assert "app/inner/c" in str(caught.value.__cause__)
    assert cast.events == ["a up", "b up", "c fails", "b down", "a down"]


async def test_a_supervisor_is_entered_once() -> None:
    async with Supervisor() as supervisor:
        with pytest.raises(SupervisorClosed):
            await supervisor.__aenter__()

    with pytest.raises(SupervisorClosed):
        await supervisor.__aenter__()


# --- a start that is cut ----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_timeout_during_the_start_stops_what_has_started_and_comes_out_as_itself(cast: Cast) -> None:
    with pytest.raises(TimeoutError):
        with anyio.fail_after(2):
            async with Supervisor([cast("a"), cast("b"), cast("c", starts=[10.0]), cast("d")]):
                pytest.fail("the body must not run")

    assert cast.timed == [(0.0, "a up"), (0.0, "b up"), (0.0, "c starts"), (2.0, "c gives up"), (2.0, "b down"), (2.0, "a down")]


@in_virtual_time
async def test_a_cancelled_start_is_no_error_outside_of_the_scope(cast: Cast) -> None:
    with anyio.move_on_after(2) as scope:
        async with Supervisor([cast("a"), cast("b", starts=[10.0])]):
            pytest.fail("the body must not run")

    assert scope.cancelled_caught
    assert cast.events == ["a up", "b starts", "b gives up", "a down"]


@in_virtual_time
async def test_a_shielded_start_under_a_timeout_is_waited_for_and_ends_the_same_on_every_loop(cast: Cast) -> None:
    async def stubborn(*, task_status: TaskStatus[None]) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(5)

        cast.record("stubborn goes on")
        task_status.started()
        await anyio.sleep_forever()

    with anyio.move_on_after(2) as scope:
        async with Supervisor([cast("a"), ChildSpec("stubborn", stubborn)]):
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert cast.timed[-1] == (5.0, "a down")


@in_virtual_time
async def test_a_cancelled_start_in_the_background_leaves_nothing(cast: Cast) -> None:
    with anyio.move_on_after(2) as scope:
        await Supervisor.start([cast("a"), cast("b", starts=[10.0])])

    assert scope.cancelled_caught
    assert cast.events == ["a up", "b starts", "b gives up", "a down"]


# --- ignore -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restart", ["permanent", "transient"])
async def test_a_child_that_returns_before_it_is_up_is_listed_as_stopped(cast: Cast, restart: Any) -> None:
    async with Supervisor([cast("a", restart, starts=[IGNORE]), cast("b")]) as supervisor:
        await settled()
        assert states(supervisor) == {"a": "stopped", "b": "running"}
        assert counts(supervisor) == (2, 1, 0, 2)
        assert cast.events == ["a ignores", "b up"]


async def test_a_temporary_child_that_returns_before_it_is_up_is_not_listed(cast: Cast) -> None:
    async with Supervisor([cast("a", "temporary", starts=[IGNORE]), cast("b", "temporary")]) as supervisor:
        assert states(supervisor) == {"b": "running"}
        assert counts(supervisor) == (1, 1, 0, 1)


async def test_the_same_with_start_child(cast: Cast) -> None:
    async with Supervisor() as supervisor:
        permanent = await supervisor.start_child(cast("a", starts=[IGNORE]))
        temporary = await supervisor.start_child(cast("b", "temporary", starts=[IGNORE]))
        assert (permanent.state, permanent.value) == ("stopped", None)
        assert (temporary.state, temporary.value) == ("stopped", None)
        assert states(supervisor) == {"a": "stopped"}


async def test_a_child_that_ignored_its_start_can_be_restarted_by_hand(cast: Cast) -> None:
    async with Supervisor([cast("a", starts=[IGNORE])]) as supervisor:
        assert (await supervisor.restart_child("a")).state == "running"


async def test_a_dynamic_child_that_returns_before_it_is_up_is_not_kept(cast: Cast) -> None:
    async with DynamicSupervisor() as supervisor:
        await supervisor.start_child(cast("a", starts=[IGNORE]))
        assert counts(supervisor) == (0, 0, 0, 0)


# --- start_child that fails ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
async def test_a_start_child_that_fails_tells_its_caller_keeps_nothing_and_harms_nobody(cast: Cast, kind: Any) -> None:
    async with kind(max_restarts=0) as supervisor:
        await supervisor.start_child(cast("a"))
        for _ in range(5):
            with pytest.raises(StartFailed) as caught:
                await supervisor.start_child(cast("b", starts=[Boom("no")]))

            assert isinstance(caught.value.__cause__, Boom)

        assert states(supervisor) == {"a": "running"}
        assert (await supervisor.start_child(cast("b"))).id == "b"


@pytest.mark.parametrize(
    "error", [Boom("plain"), KeyError("k"), ExceptionGroup("two", [Boom("1"), Boom("2")]), StopAsyncIteration(), TimeoutError()], ids=repr
)
async def test_whatever_a_start_raises_is_the_cause_and_the_supervisor_lives(cast: Cast, error: Exception) -> None:
    async with Supervisor() as supervisor:
        with pytest.raises(StartFailed) as caught:
            await supervisor.start_child(cast("a", starts=[error]))

        assert caught.value.__cause__ is error
        assert supervisor.status == "running"


async def test_a_start_child_that_returns_no_awaitable_fails_and_nothing_is_kept() -> None:
    async with Supervisor() as supervisor:
        with pytest.raises(StartFailed):
            await supervisor.start_child(ChildSpec("a", lambda: "rubbish"))  # type: ignore[arg-type,return-value]

        assert supervisor.which_children() == ()


@in_virtual_time
async def test_a_cancelled_start_child_takes_the_child_down_and_keeps_nothing(cast: Cast) -> None:
    async with Supervisor([cast("a")]) as supervisor:
        with anyio.move_on_after(2) as scope:
            await supervisor.start_child(cast("b", starts=[10.0]))

        assert scope.cancelled_caught
        assert cast.events == ["a up", "b starts", "b gives up"]
        assert states(supervisor) == {"a": "running"}
        assert (await supervisor.start_child(cast("b"))).state == "running"


@in_virtual_time
async def test_a_start_child_that_hangs_does_not_hold_the_supervisor(cast: Cast) -> None:
    async with Supervisor([cast("a")]) as supervisor, anyio.create_task_group() as group:
        group.start_soon(supervisor.start_child, cast("b", starts=[3600.0]))
        await settled()
        assert states(supervisor) == {"a": "running", "b": "starting"}
        assert counts(supervisor) == (2, 1, 0, 2)

        await cast.crash("a")
        assert states(supervisor) == {"a": "running", "b": "starting"}
        assert anyio.current_time() < 1.0


async def test_a_manual_restart_that_fails_leaves_the_child_stopped_and_does_not_count(cast: Cast) -> None:
    async with Supervisor([cast("a")], max_restarts=0) as supervisor:
        await supervisor.terminate_child("a")
        cast["a"].broken = True
        for _ in range(3):
            with pytest.raises(StartFailed, match="failed to start: Boom: a is broken"):
                await supervisor.restart_child("a")

            assert states(supervisor) == {"a": "stopped"}

        cast["a"].broken = False
        assert (await supervisor.restart_child("a")).state == "running"


# --- where a child runs -----------------------------------------------------------------------------------------------------------


async def test_a_childs_task_is_named_by_its_path() -> None:
    names: list[str | None] = []

    async def named() -> None:
        names.append(anyio.get_current_task().name)
        names.append(current_path())
        await anyio.sleep_forever()

    inner = Supervisor.child_spec("ingest", [ChildSpec("chat", named)])
    async with Supervisor([inner], name="app") as supervisor:
        assert names == ["app/ingest/chat", "app/ingest/chat"]
        assert supervisor.path == "app"
        assert supervisor.which_child("ingest").path == "app/ingest"

    assert current_path() == ""


async def test_a_child_has_the_context_variables_the_supervisor_was_entered_with_over_all_its_lives(cast: Cast) -> None:
    seen: list[str] = []

    async def look(*, task_status: TaskStatus[None]) -> None:
        seen.append(LOCALE.get())
        LOCALE.set("the child's own")
        task_status.started()
        await cast["a"].cue.wait()
        raise Boom

    LOCALE.set("where it was entered")
    async with Supervisor([cast("a"), ChildSpec("look", look)]) as supervisor:
        LOCALE.set("where it was used")
        await cast.crash("a")
        await supervisor.terminate_child("look")
        await supervisor.restart_child("look")
        await supervisor.start_child(ChildSpec("another", look))

    assert seen
    assert set(seen) == {"where it was entered"}


async def test_a_child_reaches_a_sibling_by_its_id() -> None:
    found: list[Any] = []

    async def provides(*, task_status: TaskStatus[str]) -> None:
        task_status.started("a pool")
        await anyio.sleep_forever()

    async def uses() -> None:
        found.append(sibling("pool"))
        try:
            sibling("nobody")
        except ChildNotFound as error:
            found.append(type(error))

        await anyio.sleep_forever()

    nested = Supervisor.child_spec("sub", [ChildSpec("user", uses)])
    async with Supervisor([ChildSpec("pool", provides), nested]):
        assert found == ["a pool", ChildNotFound]


async def test_a_sibling_that_is_listed_later_is_not_started_yet_and_the_error_says_so(cast: Cast) -> None:
    told: list[str] = []

    async def looks() -> None:
        for name in ("later", "parked"):
            try:
                sibling(name)
            except ChildNotFound as error:
                told.append(str(error))

    parked = cast("parked", on_limit="park", max_restarts=0)
    async with Supervisor([parked, ChildSpec("inner", looks, restart="temporary"), cast("later")], name="app") as supervisor:
        await cast.crash("parked")
        await supervisor.start_child(ChildSpec("looks", looks, restart="temporary"))

    why = "which is not started yet. Children start in order: list it before the one that needs it."
    assert told == [f"Supervisor 'app' has a child 'later', {why}", "Supervisor 'app' has a child 'parked', which is parked."]
