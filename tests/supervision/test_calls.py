"""
What gen_server promises its callers, kept by contexts under a supervisor: every request is answered, in order, once.

I7, I8 and I14 as a caller sees them. A crash is one of the backend's; `merge` of a `Fragile` one brings it about.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from context.fragile import COUNT, NOTES, Fragile, Gone, Slow
from supervision.cast import in_virtual_time, settled, states

from dspex import (
    Backoff,
    CallCycle,
    CallTimeout,
    Context,
    ContextClosed,
    ContextCrashed,
    InvalidInputs,
    InvalidValue,
    NameNotFound,
    ProgramFailed,
    ProgramNotFound,
    RestartLimitReached,
    Supervisor,
    VariableNotFound,
    whereis,
)

Caller = Callable[[], Awaitable[Any]]


def a_minute() -> Backoff:
    return Backoff(initial=60.0, factor=1.0, maximum=60.0, jitter=0.0)


def desk(name: str = "desk", **options: Any) -> Any:
    return Context.child_spec(name, **{"variables": [COUNT, NOTES], "backend": Fragile, **options})


def slow_desk(slow: Slow, **options: Any) -> Any:
    return desk(backend=slow, **options)


async def crash(name: str = "desk") -> None:
    """The context *name* crashes, and what follows without time passing happens."""
    with pytest.raises(ContextCrashed):
        await whereis(name).variables.merge(COUNT, {})  # type: ignore[arg-type]

    await settled()


class Callers:
    """Tasks that ask something each, and what they were told, by name."""

    def __init__(self, group: anyio.abc.TaskGroup) -> None:
        self.told: dict[str, Any] = {}
        self.order: list[str] = []
        self._group = group

    async def ask(self, name: str, question: Caller) -> None:
        """One more, who has asked when this returns."""
        self._group.start_soon(self._asks, name, question)
        await settled()

    async def _asks(self, name: str, question: Caller) -> None:
        try:
            self.told[name] = await question()
        except Exception as error:
            self.told[name] = error

        self.order.append(name)


# --- replies --------------------------------------------------------------------------------------------------------------------------


async def test_a_request_is_answered_at_once_or_when_it_is_served() -> None:
    slow = Slow()
    async with Supervisor([slow_desk(slow)]), anyio.create_task_group() as group:
        ctx, callers = whereis("desk"), Callers(group)
        assert await ctx.variables.get(COUNT) == 0
        slow.hold()
        await callers.ask("delayed", lambda: ctx.variables.set(COUNT, 5))
        assert callers.told == {}
        slow.go_on()
        await settled()
        assert callers.told == {"delayed": 1}


@in_virtual_time
async def test_an_answer_that_comes_after_the_timeout_reaches_nobody_and_the_next_request_gets_its_own() -> None:
    slow = Slow()
    async with Supervisor([slow_desk(slow)]), anyio.create_task_group() as group:
        ctx, callers = whereis("desk"), Callers(group)
        slow.hold()

        async def impatient() -> int:
            with anyio.fail_after(1):
                return await ctx.variables.set(COUNT, 5)

        await callers.ask("impatient", impatient)
        await callers.ask("patient", lambda: ctx.variables.get(COUNT))
        await anyio.sleep(2)
        slow.go_on()
        await settled()
        # It had been taken, and so it was done (I7).
        assert isinstance(callers.told["impatient"], TimeoutError)
        assert callers.told["patient"] == 5


@in_virtual_time
async def test_a_request_whose_deadline_passed_before_it_was_taken_never_happens() -> None:
    slow = Slow()
    async with Supervisor([slow_desk(slow)]), anyio.create_task_group() as group:
        ctx, callers = whereis("desk"), Callers(group)
        slow.hold()
        await callers.ask("first", lambda: ctx.variables.get(COUNT))
        with pytest.raises(TimeoutError):
            with anyio.fail_after(1):
                await ctx.variables.set(COUNT, 99)

        slow.go_on()
        await settled()
        assert await ctx.variables.get(COUNT) == 0
        assert ("set", 99) not in slow.taken


async def test_an_answer_and_a_cancellation_in_one_step_leave_it_done_once_whoever_wins() -> None:
    slow = Slow()
    async with Supervisor([slow_desk(slow)]):
        ctx = whereis("desk")
        for round in range(1, 21):
            async with anyio.create_task_group() as group:
                slow.hold()
                group.start_soon(ctx.variables.add, COUNT, 1)
                await settled()
                slow.go_on()
                for _ in range(round % 7):
                    await anyio.lowlevel.checkpoint()

                group.cancel_scope.cancel()

            assert await ctx.variables.get(COUNT) == round


@in_virtual_time
async def test_requests_are_served_in_the_order_they_were_made_and_a_read_sees_all_writes_before_it() -> None:
    slow = Slow()
    async with Supervisor([slow_desk(slow)]), anyio.create_task_group() as group:
        ctx, callers = whereis("desk"), Callers(group)
        slow.hold()
        for number in range(5):
            await callers.ask(f"write{number}", lambda number=number: ctx.variables.append(NOTES, str(number)))  # type: ignore[misc]

        await callers.ask("read", lambda: ctx.variables.get(NOTES))
        slow.go_on()
        await settled()
        assert callers.told["read"] == ["0", "1", "2", "3", "4"]
        assert callers.order == [*(f"write{number}" for number in range(5)), "read"]


@in_virtual_time
async def test_many_are_asked_at_once_under_one_deadline_and_the_bad_do_not_spoil_the_good() -> None:
    """As gen_server's multicall: of five, one is closed, one parked and one doesn't answer."""
    slow = Slow()
    children = [
        desk("one"),
        desk("closed"),
        desk("parked", on_limit="park", max_restarts=0),
        desk("hung", backend=slow),
        desk("two"),
    ]
    async with Supervisor(children) as supervisor:
        asked = {name: whereis(name) for name in ("one", "closed", "parked", "hung", "two")}
        await supervisor.terminate_child("closed")
        await crash("parked")
        slow.hold()
        async with anyio.create_task_group() as group:
            callers = Callers(group)
            with anyio.move_on_after(0.1):
                for name, ctx in asked.items():
                    await callers.ask(name, lambda ctx=ctx: ctx.variables.get(COUNT))  # type: ignore[misc]

                await anyio.sleep_forever()

            group.cancel_scope.cancel()

        assert anyio.current_time() < 0.2
        assert {name: type(told).__name__ for name, told in callers.told.items()} == {
            "one": "int",
            "closed": "ContextClosed",
            "parked": "ContextCrashed",
            "two": "int",
        }
        slow.go_on()
        await settled()
        assert await asked["hung"].variables.get(COUNT) == 0
        assert asked["hung"].statistics().pending == 0


# --- whom it can't be asked of ----------------------------------------------------------------------------------------------------------


async def test_asking_one_that_was_stopped_says_that_it_is_closed() -> None:
    async with Supervisor([desk()]) as supervisor:
        ctx = whereis("desk")
        await supervisor.terminate_child("desk")
        with pytest.raises(ContextClosed) as caught:
            await ctx.variables.get(COUNT)

        assert str(caught.value) == f"Context 'desk' ({ctx.id}) is closed."
        assert caught.value.applied is False


async def test_asking_by_a_name_that_nobody_has_says_so_and_who_there_is() -> None:
    async with Supervisor([desk("a"), desk("b")]):
        with pytest.raises(NameNotFound) as caught:
            whereis("nobody")

        assert str(caught.value) == "No context is named 'nobody' in this thread's event loop. Named: a, b."


async def test_asking_for_a_program_that_is_not_there_harms_nobody() -> None:
    async with Supervisor([desk()], max_restarts=0):
        ctx = whereis("desk")
        with pytest.raises(ProgramNotFound):
            await ctx.call("nothing")

        with pytest.raises(VariableNotFound):
            await ctx.variables.get("nothing")

        assert await ctx.variables.get(COUNT) == 0


@in_virtual_time
async def test_who_asks_while_it_restarts_waits_for_the_next_life() -> None:
    async with Supervisor([desk(backoff=a_minute())]), anyio.create_task_group() as group:
        ctx, callers = whereis("desk"), Callers(group)
        await ctx.variables.set(COUNT, 7)
        await crash()
        assert ctx.status == "restarting"
        await callers.ask("later", lambda: ctx.variables.get(COUNT))
        await anyio.sleep(59)
        assert callers.told == {}
        await anyio.sleep(2)
        assert callers.told == {"later": 7}


@in_virtual_time
async def test_who_waits_no_longer_than_that_is_told_at_the_deadline_and_it_never_happens() -> None:
    async with Supervisor([desk(backoff=a_minute())]):
        ctx = whereis("desk")
        await crash()
        with pytest.raises(TimeoutError):
            with anyio.fail_after(5):
                await ctx.variables.set(COUNT, 99)

        assert anyio.current_time() == pytest.approx(5.0)
        await anyio.sleep(60)
        assert await ctx.variables.get(COUNT) == 0


# --- a crash ------------------------------------------------------------------------------------------------------------------------------


async def three_ask(slow: Slow, callers: Callers) -> None:
    """One is in hand and crashes the context while two wait behind it."""
    ctx = whereis("desk")
    slow.hold()
    slow.fails.add("append")
    await callers.ask("in hand", lambda: ctx.variables.append(NOTES, "x"))
    await callers.ask("write", lambda: ctx.variables.set(COUNT, 3))
    await callers.ask("read", lambda: ctx.variables.get(COUNT))
    assert callers.told == {}
    slow.go_on()
    await settled()


async def test_of_three_who_wait_the_one_in_hand_is_told_of_the_crash_and_the_others_are_served_by_the_next_life() -> None:
    slow = Slow()
    async with Supervisor([slow_desk(slow)]), anyio.create_task_group() as group:
        callers = Callers(group)
        await three_ask(slow, callers)
        error = callers.told["in hand"]
        assert isinstance(error, ContextCrashed)
        assert error.applied is None
        assert isinstance(error.__cause__, Gone)
        assert (callers.told["write"], callers.told["read"]) == (1, 3)
        assert callers.order == ["in hand", "write", "read"]


async def test_where_no_life_follows_all_three_are_told_at_once() -> None:
    slow = Slow()
    async with Supervisor([slow_desk(slow, restart="temporary")]) as supervisor, anyio.create_task_group() as group:
        callers = Callers(group)
        await three_ask(slow, callers)
        assert [type(told) for told in callers.told.values()] == [ContextCrashed] * 3
        assert {name: told.applied for name, told in callers.told.items()} == {"in hand": None, "write": False, "read": False}
        assert states(supervisor) == {}


async def test_past_the_limit_everybody_who_waits_is_told_before_the_supervisor_is_over() -> None:
    slow = Slow()
    told: dict[str, Any] = {}
    with pytest.raises(RestartLimitReached):
        async with Supervisor([slow_desk(slow)], max_restarts=0), anyio.create_task_group() as group:
            callers = Callers(group)
            told = callers.told
            with anyio.CancelScope(shield=True):
                await three_ask(slow, callers)

    assert [type(answer) for answer in told.values()] == [ContextCrashed] * 3


async def test_acknowledged_writes_are_there_after_the_crash_and_the_handle_is_the_same() -> None:
    async with Supervisor([desk()]) as supervisor:
        ctx = whereis("desk")
        for number in range(1, 4):
            await ctx.variables.set(COUNT, number)
            await crash()
            assert whereis("desk") is ctx
            assert supervisor.which_child("desk").value is ctx
            assert await ctx.variables.get(COUNT) == number
            assert (await ctx.variables.info(COUNT)).version == number


async def test_the_crash_of_one_leaves_its_siblings_alone() -> None:
    async with Supervisor([desk("a"), desk("b")]):
        await whereis("b").variables.set(COUNT, 5)
        await crash("a")
        assert await whereis("b").variables.get(COUNT) == 5
        assert (whereis("a").statistics().lives, whereis("b").statistics().lives) == (2, 1)


async def test_with_one_for_all_the_siblings_are_restarted_too_and_keep_their_state() -> None:
    async with Supervisor([desk("a"), desk("b")], strategy="one_for_all"):
        await whereis("b").variables.set(COUNT, 5)
        await crash("a")
        assert (whereis("a").statistics().lives, whereis("b").statistics().lives) == (2, 2)
        assert await whereis("b").variables.get(COUNT) == 5


async def test_a_context_restarted_fresh_begins_as_it_was_declared_before_it_serves_what_was_queued() -> None:
    async def init(ctx: Context) -> None:
        await ctx.variables.set(COUNT, 100)

    async with Supervisor([desk(on_restart="fresh", init=init)]), anyio.create_task_group() as group:
        ctx, callers = whereis("desk"), Callers(group)
        await ctx.variables.set(COUNT, 5)
        with pytest.raises(ContextCrashed):
            await ctx.variables.merge(COUNT, {})  # type: ignore[arg-type]

        await callers.ask("queued", lambda: ctx.variables.get(COUNT))
        assert callers.told == {"queued": 100}


# --- refusals are no crashes ------------------------------------------------------------------------------------------------------------


async def test_what_is_refused_goes_to_its_caller_and_nothing_is_restarted() -> None:
    def raises(n: int) -> int:
        raise LookupError(n)

    async def fails(ctx: Any) -> None:
        raise KeyError("mine")

    async with Supervisor([desk()], max_restarts=0) as supervisor:
        ctx = whereis("desk")
        await ctx.register_program("fails", fails)
        refusals: list[tuple[type[Exception], Awaitable[Any]]] = [
            (InvalidValue, ctx.variables.set(COUNT, "many")),  # type: ignore[call-overload]
            (InvalidValue, ctx.variables.update(COUNT, lambda n: "many")),  # type: ignore[arg-type,return-value]
            (LookupError, ctx.variables.update(COUNT, raises)),
            (InvalidInputs, ctx.call("fails", {"unknown": 1})),
            (ProgramFailed, ctx.call("fails")),
        ]
        for kind, refusal in refusals:
            with pytest.raises(kind):
                await refusal

        assert states(supervisor) == {"desk": "running"}
        assert ctx.statistics().lives == 1
        assert (await ctx.variables.info(COUNT)).version == 0


async def test_what_nobody_expected_goes_to_its_caller_and_is_a_crash() -> None:
    async with Supervisor([desk()]) as supervisor:
        ctx = whereis("desk")
        with pytest.raises(ContextCrashed) as caught:
            await ctx.variables.merge(COUNT, {})  # type: ignore[arg-type]

        assert str(caught.value) == f"Context 'desk' ({ctx.id}) crashed while serving 'merge': Gone: the disk has gone."
        await settled()
        assert ctx.statistics().lives == 2
        assert isinstance(supervisor.which_child("desk").error, Exception)


async def test_a_program_that_calls_something_undefined_is_told_as_that_and_not_as_missing() -> None:
    async def misspelt(ctx: Any) -> None:
        ctx.no_such_method()

    async with Supervisor([desk()]):
        ctx = whereis("desk")
        await ctx.register_program("misspelt", misspelt)
        with pytest.raises(ProgramFailed, match="no_such_method") as caught:
            await ctx.call("misspelt")

        assert caught.value.is_a("AttributeError")


async def test_a_backend_that_calls_something_undefined_crashes_with_that_error_inside() -> None:
    class Misspelt(Fragile):
        def get(self, key: Any) -> Any:
            return self.no_such_table  # type: ignore[attr-defined]

    async with Supervisor([desk(backend=Misspelt)]):
        with pytest.raises(ContextCrashed, match="no_such_table") as caught:
            await whereis("desk").variables.get(COUNT)

        assert isinstance(caught.value.__cause__, AttributeError)


# --- calls into itself ------------------------------------------------------------------------------------------------------------------


async def test_an_operation_from_within_an_update_function_is_a_cycle_and_not_a_hang() -> None:
    async with Supervisor([desk()]):
        ctx = whereis("desk")
        told: list[Any] = []

        def calls_itself(n: int) -> int:
            try:
                ctx.variables.get(COUNT).send(None)  # type: ignore[attr-defined]
            except (CallCycle, StopIteration) as error:
                told.append(type(error))

            return n + 1

        assert await ctx.variables.update(COUNT, calls_itself) == 1
        assert len(told) == 1


async def test_a_program_that_stops_its_own_context_is_told_of_the_cycle() -> None:
    told: list[Any] = []
    async with Supervisor([desk()]) as supervisor:
        itself = whereis("desk")

        async def ends(ctx: Any) -> None:
            with pytest.raises(CallCycle) as caught:
                await itself.stop()

            told.append(caught.value)

        await itself.register_program("ends", ends)
        await itself.call("ends")
        assert states(supervisor) == {"desk": "running"}

    assert told[0].chain[-1] == "stop()"
    assert str(told[0]).startswith(f"Context {itself.id!r} can't be stopped by a program of its own. The chain: ")


@in_virtual_time
async def test_a_program_that_terminates_its_own_context_is_cancelled_within_the_contexts_time() -> None:
    async with Supervisor([desk()]) as supervisor:
        itself = whereis("desk")

        async def ends(ctx: Any) -> None:
            await supervisor.terminate_child("desk")

        await itself.register_program("ends", ends)
        with pytest.raises((ContextClosed, ProgramFailed)):
            await itself.call("ends")

        await anyio.sleep(1)
        assert states(supervisor) == {"desk": "stopped"}
        assert anyio.current_time() < 31.0


async def test_a_program_that_calls_itself_without_end_is_told_of_the_cycle() -> None:
    async with Supervisor([desk()]):
        desk_itself = whereis("desk")

        async def again(ctx: Any) -> Any:
            return await desk_itself.call("again")

        await desk_itself.register_program("again", again)
        with anyio.fail_after(20), pytest.raises(CallCycle) as caught:
            await desk_itself.call("again")

        assert str(caught.value).startswith("Calls are nested deeper than 16: ")


@pytest.mark.parametrize("timeout", [-1, math.nan, "soon", True])
async def test_a_timeout_that_is_no_time_is_refused_and_harms_nobody(timeout: Any) -> None:
    async def echo(ctx: Any, text: str) -> str:
        return text

    async with Supervisor([desk()], max_restarts=0):
        ctx = whereis("desk")
        await ctx.register_program("echo", echo)
        with pytest.raises((TypeError, ValueError)):
            await ctx.call("echo", {"text": "a"}, timeout=timeout)

        assert await ctx.call("echo", {"text": "b"}) == "b"


async def test_a_timeout_of_nothing_is_over_at_once_and_harms_nobody() -> None:
    async def waits(ctx: Any) -> None:
        await anyio.sleep_forever()

    async with Supervisor([desk()], max_restarts=0):
        ctx = whereis("desk")
        await ctx.register_program("waits", waits)
        with pytest.raises(CallTimeout):
            await ctx.call("waits", timeout=0)

        assert await ctx.variables.get(COUNT) == 0


# --- stopping -----------------------------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_what_is_queued_when_it_is_stopped_is_served_within_its_time_and_newcomers_are_refused() -> None:
    slow = Slow()
    async with Supervisor([slow_desk(slow)]) as supervisor, anyio.create_task_group() as group:
        ctx, callers = whereis("desk"), Callers(group)
        slow.hold()
        await callers.ask("write", lambda: ctx.variables.set(COUNT, 3))
        await callers.ask("read", lambda: ctx.variables.get(COUNT))
        group.start_soon(supervisor.terminate_child, "desk")
        await settled()
        await callers.ask("newcomer", lambda: ctx.variables.get(COUNT))
        slow.go_on()
        await settled()
        assert isinstance(callers.told.pop("newcomer"), ContextClosed)
        assert callers.told == {"write": 1, "read": 3}


@in_virtual_time
async def test_one_that_never_serves_them_keeps_nobody_waiting_past_its_time() -> None:
    slow = Slow()
    async with Supervisor([slow_desk(slow, shutdown=4.0)]) as supervisor, anyio.create_task_group() as group:
        ctx, callers = whereis("desk"), Callers(group)
        slow.hold()
        await callers.ask("write", lambda: ctx.variables.set(COUNT, 3))
        await callers.ask("read", lambda: ctx.variables.get(COUNT))
        await supervisor.terminate_child("desk")
        await settled()
        assert anyio.current_time() < 11.0
        assert {type(told) for told in callers.told.values()} <= {ContextClosed, ContextCrashed}
        assert len(callers.told) == 2


async def test_stopped_twice_it_is_stopped() -> None:
    async with Supervisor([desk(restart="transient")]) as supervisor:
        ctx = whereis("desk")
        await ctx.stop()
        await ctx.stop()
        await settled()
        assert ctx.status == "closed"
        assert states(supervisor) == {"desk": "stopped"}


async def test_stopped_by_its_name_the_name_is_free_when_that_returns() -> None:
    async with Supervisor([desk(restart="temporary")]):
        await whereis("desk").stop()
        with pytest.raises(NameNotFound):
            whereis("desk")


async def test_a_permanent_one_that_its_user_stopped_is_started_again() -> None:
    async with Supervisor([desk()]):
        ctx = whereis("desk")
        await ctx.variables.set(COUNT, 5)
        await ctx.stop()
        await settled()
        assert whereis("desk") is ctx
        assert await ctx.variables.get(COUNT) == 0


async def test_a_backend_that_fails_to_close_does_not_keep_it_from_stopping(caplog: pytest.LogCaptureFixture) -> None:
    class Clings(Fragile):
        def close(self, *, drop: bool = False) -> None:
            raise Gone("can't let go")

    async with Supervisor([desk(backend=Clings)]) as supervisor:
        await supervisor.terminate_child("desk")
        assert states(supervisor) == {"desk": "stopped"}

    assert "can't let go" in caplog.text


async def test_state_can_be_read_as_a_whole_at_any_time_and_given_to_another() -> None:
    async with Supervisor([desk("a")]) as supervisor:
        await whereis("a").variables.set(COUNT, 5)
        await crash("a")
        snapshot = await whereis("a").export_state()
        await supervisor.start_child(Context.child_spec("b", existing_state=snapshot, backend=Fragile))
        assert await whereis("b").variables.get(COUNT) == 5
