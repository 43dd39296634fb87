"""A context under a supervisor: one handle for ever, and a restart that loses nothing accepted (I8)."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from context.fragile import COUNT, FACTS, NOTES, ByHand, Fragile, Gone, Slow, Torn, values

import dspex
from dspex import (
    Backoff,
    CallTimeout,
    Context,
    ContextClosed,
    ContextCrashed,
    ContextExpired,
    NameNotFound,
    NameTaken,
    StartFailed,
    Status,
    Supervisor,
)


def steadily(seconds: float) -> Backoff:
    return Backoff(initial=seconds, factor=1.0, maximum=seconds, jitter=0.0)


async def until(condition: Any) -> None:
    """Lets others run until *condition* holds."""
    with anyio.fail_after(10):
        while not condition():
            await checkpoint()


async def crash(ctx: Context) -> ContextCrashed:
    with pytest.raises(ContextCrashed) as caught:
        await ctx.variables.merge(FACTS, {"a": 1})

    return caught.value


# --- the same handle, the same state --------------------------------------------------------------------------------------------


async def test_i8_a_crash_in_a_direct_delivery_is_told_to_its_caller_and_the_same_handle_goes_on() -> None:
    made: list[Context] = []
    spec = Context.child_spec("chat", backend=Fragile, variables=[COUNT, FACTS], init=made.append)
    async with Supervisor([spec]) as supervisor:
        ctx = dspex.whereis("chat")
        assert supervisor.which_child("chat").value is ctx
        await ctx.variables.set(COUNT, 7)
        told = await crash(ctx)
        assert told.applied is None and isinstance(told.__cause__, Gone)
        assert ctx.status is Status.RESTARTING
        assert await ctx.variables.get(COUNT) == 7
        assert ctx.status is Status.RUNNING
        assert ctx.statistics().lives == 2
        assert "lives: 2" in repr(ctx)
        # Kept: neither init nor the definitions ran again.
        assert made == [ctx]
        assert (await ctx.variables.info(COUNT)).version == 1
        assert supervisor.which_child("chat").value is ctx


async def test_i8_what_is_queued_is_served_by_the_next_life_in_order_and_exactly_once() -> None:
    backend = Slow()
    async with Supervisor([Context.child_spec("chat", backend=backend, variables=[COUNT, NOTES])]):
        ctx = dspex.whereis("chat")
        told: dict[int, Any] = {}

        async def append(number: int) -> None:
            told[number] = await ctx.variables.append(NOTES, str(number))

        async def crashing() -> None:
            with pytest.raises(ContextCrashed) as caught:
                await ctx.variables.set(COUNT, 5)

            assert caught.value.applied is None

        backend.hold()
        backend.fails = {"set"}
        async with anyio.create_task_group() as group:
            group.start_soon(crashing)
            await until(lambda: ("set", 5) in backend.taken)
            for number in range(50):
                group.start_soon(append, number)
                await checkpoint()

            backend.go_on()
            await until(lambda: ctx.status is Status.RESTARTING)
            for number in range(50, 60):
                group.start_soon(append, number)
                await checkpoint()

        # The set was applied before its reply was lost, and is not served again.
        assert values(await ctx.variables.list()) == {"count": 5, "notes": [str(number) for number in range(60)]}
        assert told == {number: number + 1 for number in range(60)}
        assert [taken for taken in backend.taken if taken[0] == "set"] == [("set", 5)]
        assert (backend.opened, backend.closed_with) == (1, [])

    assert backend.closed_with == [True]


async def test_i8_many_crashes_in_a_row_lose_nothing() -> None:
    backend = Slow()
    backend.fails = {"set"}
    spec = Context.child_spec("chat", backend=backend, variables=[COUNT, NOTES], max_restarts=100)
    async with Supervisor([spec]):
        ctx = dspex.whereis("chat")
        crashed = 0

        async def client(number: int) -> None:
            nonlocal crashed
            for turn in range(10):
                if turn % 3 == 2:
                    with pytest.raises(ContextCrashed):
                        await ctx.variables.set(COUNT, number)

                    crashed += 1
                else:
                    await ctx.variables.append(NOTES, f"{number}.{turn}")

        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(client, number)

        notes = await ctx.variables.get(NOTES)
        assert sorted(notes) == sorted(f"{number}.{turn}" for number in range(5) for turn in range(10) if turn % 3 != 2)
        assert (await ctx.variables.info(COUNT)).version == crashed == 15


def test_newcomers_wait_for_the_next_life_behind_what_is_queued(run_virtually: Any) -> None:
    async def main() -> None:
        spec = Context.child_spec("chat", backend=Fragile, variables=[COUNT, NOTES, FACTS], backoff=steadily(10.0))
        async with Supervisor([spec]):
            ctx = dspex.whereis("chat")
            await crash(ctx)
            began = anyio.current_time()
            async with anyio.create_task_group() as group:
                for number in range(20):
                    group.start_soon(ctx.variables.append, NOTES, str(number))
                    await checkpoint()

                await anyio.sleep(5)
                assert ctx.status is Status.RESTARTING
                assert ctx.statistics().pending == 20

            assert 10 <= anyio.current_time() - began < 11
            assert await ctx.variables.get(NOTES) == [str(number) for number in range(20)]

    run_virtually(main)


def test_i7_who_gives_up_while_it_restarts_is_answered_at_that_time_and_nothing_happens(run_virtually: Any) -> None:
    async def main() -> None:
        spec = Context.child_spec("chat", backend=Fragile, variables=[COUNT, FACTS], backoff=steadily(60.0))
        async with Supervisor([spec]):
            ctx = dspex.whereis("chat")
            await crash(ctx)
            began = anyio.current_time()
            with anyio.move_on_after(5) as scope:
                await ctx.variables.set(COUNT, 1)

            assert scope.cancelled_caught
            with pytest.raises(CallTimeout) as caught:
                await ctx.ensure_bridged(timeout=5)

            assert caught.value.applied is False
            assert anyio.current_time() - began == pytest.approx(10, abs=0.1)
            assert ctx.statistics().pending == 0
            assert (await ctx.variables.info(COUNT)).version == 0
            assert ctx.backend.kind == "custom"

    run_virtually(main)


def test_the_mailbox_has_its_bound_while_it_restarts_too(run_virtually: Any) -> None:
    async def main() -> None:
        spec = Context.child_spec("chat", backend=Fragile, variables=[NOTES, FACTS], backoff=steadily(60.0), mailbox_size=3)
        async with Supervisor([spec]):
            ctx = dspex.whereis("chat")
            await crash(ctx)
            async with anyio.create_task_group() as group:
                for number in range(10):
                    group.start_soon(ctx.variables.append, NOTES, str(number))
                    await checkpoint()

                await anyio.sleep(1)
                assert ctx.statistics().pending == 3

            assert await ctx.variables.get(NOTES) == [str(number) for number in range(10)]

    run_virtually(main)


async def test_a_native_cancel_of_the_owner_is_a_crash_that_is_restarted(running_loop: Any) -> None:
    if running_loop() == "trio":
        pytest.skip("trio has no such cancel")

    async with Supervisor([Context.child_spec("owned", variables=[COUNT])]):
        ctx = dspex.whereis("owned")
        await ctx.variables.set(COUNT, 3)
        next(task for task in asyncio.all_tasks() if "owner of owned" in task.get_name()).cancel()
        await until(lambda: ctx.statistics().lives == 2)
        assert await ctx.variables.get(COUNT) == 3


async def test_so_is_one_of_its_whole_task(running_loop: Any) -> None:
    if running_loop() == "trio":
        pytest.skip("trio has no such cancel")

    async with Supervisor([Context.child_spec("owned", variables=[COUNT])], name="app"):
        ctx = dspex.whereis("owned")
        await ctx.variables.set(COUNT, 3)
        next(task for task in asyncio.all_tasks() if task.get_name() == "app/owned").cancel()
        await until(lambda: ctx.statistics().lives == 2)
        assert await ctx.variables.get(COUNT) == 3


async def test_a_request_handed_over_in_the_step_of_a_native_cancel_is_served_by_the_next_life(running_loop: Any) -> None:
    if running_loop() == "trio":
        pytest.skip("trio has no such cancel")

    backend = Slow()
    async with Supervisor([Context.child_spec("owned", backend=backend, variables=[COUNT])]):
        ctx = dspex.whereis("owned")
        await checkpoint()
        owner = next(task for task in asyncio.all_tasks() if "owner of owned" in task.get_name())
        async with anyio.create_task_group() as group:
            group.start_soon(ctx.variables.set, COUNT, 9)
            await until(lambda: ctx.statistics().pending == 1)
            owner.cancel()

        assert await ctx.variables.get(COUNT) == 9
        assert (await ctx.variables.info(COUNT)).version == 1
        assert ctx.statistics().lives == 2


# --- a new state ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("backend", "on_restart"), [(Fragile, "fresh"), (Torn, "keep")])
async def test_fresh_begins_a_new_state_and_furnishes_it_before_anything_queued(backend: Any, on_restart: Any) -> None:
    seen: list[Any] = []

    async def init(ctx: Context) -> None:
        for _ in range(5):
            await checkpoint()

        await ctx.variables.append(NOTES, "init")
        seen.append(values(await ctx.variables.list()))

    spec = Context.child_spec("chat", backend=backend, variables=[COUNT, NOTES, FACTS], init=init, on_restart=on_restart)
    async with Supervisor([spec]):
        ctx = dspex.whereis("chat")
        await ctx.variables.set(COUNT, 7)
        await ctx.variables.append(NOTES, "lost")
        await crash(ctx)
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(ctx.variables.append, NOTES, str(number))
                await checkpoint()

        assert await ctx.variables.get(COUNT) == 0
        assert await ctx.variables.get(NOTES) == ["init", *map(str, range(20))]
        assert seen == [{"count": 0, "notes": ["init"], "facts": {}}] * 2


async def test_what_tasks_of_init_ask_while_it_furnishes_goes_ahead_too() -> None:
    async def init(ctx: Context) -> None:
        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(ctx.variables.add, COUNT, number)

        assert await ctx.variables.get(COUNT) == 10

    async with Supervisor([Context.child_spec("chat", backend=Torn, variables=[COUNT, FACTS], init=init)]):
        ctx = dspex.whereis("chat")
        await ctx.variables.set(COUNT, 99)
        await crash(ctx)
        assert await ctx.variables.add(COUNT, 1) == 11


async def test_furnishing_needs_no_room_in_a_mailbox_that_is_full() -> None:
    async def init(ctx: Context) -> None:
        for _ in range(5):
            await ctx.variables.add(COUNT, 1)

    spec = Context.child_spec("chat", backend=Torn, variables=[COUNT, FACTS], init=init, mailbox_size=2)
    async with Supervisor([spec]):
        ctx = dspex.whereis("chat")
        await crash(ctx)
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(ctx.variables.add, COUNT, 100)

        assert await ctx.variables.get(COUNT) == 1005


async def test_programs_of_the_former_state_are_forgotten_and_those_of_the_constructor_are_back() -> None:
    async def given(ctx: Any) -> int:
        return int(await ctx.get(COUNT))

    async def by_hand() -> str:
        return "here"

    spec = Context.child_spec("chat", backend=Torn, variables=[COUNT, FACTS], programs={"given": given})
    async with Supervisor([spec]):
        ctx = dspex.whereis("chat")
        given_bound, by_hand_bound = ctx.programs["given"], await ctx.register_program("by hand", by_hand)
        await crash(ctx)
        assert await given_bound() == 0
        assert set(ctx.programs) == {"given"}
        with pytest.raises(dspex.ProgramNotFound, match=r"No program 'by hand' is registered\. Registered: given"):
            await by_hand_bound()

        assert await (await ctx.register_program("by hand", by_hand))() == "here"
        assert await by_hand_bound() == "here"


async def test_kept_programs_go_on() -> None:
    async def ask(ctx: Any) -> int:
        return int(await ctx.add(COUNT, 1))

    async with Supervisor([Context.child_spec("chat", backend=Fragile, variables=[COUNT, FACTS])]):
        ctx = dspex.whereis("chat")
        bound = await ctx.register_program("ask", ask)
        assert await bound() == 1
        await crash(ctx)
        # Called while it restarts, it waits.
        assert await bound() == 2
        assert await ctx.call("ask") == 3


# --- starts that fail ---------------------------------------------------------------------------------------------------------------


async def test_a_start_that_fails_is_tried_again_and_the_queue_stays() -> None:
    tries = 0

    async def init(ctx: Context) -> None:
        nonlocal tries
        tries += 1
        await ctx.variables.append(NOTES, f"try {tries}")
        if tries in (2, 3):
            raise LookupError("not yet")

    async with Supervisor([Context.child_spec("chat", backend=Torn, variables=[NOTES, FACTS], init=init)]):
        ctx = dspex.whereis("chat")
        await crash(ctx)
        assert await ctx.variables.append(NOTES, "queued") == 2
        assert await ctx.variables.get(NOTES) == ["try 4", "queued"]
        assert ctx.statistics().lives == 2


async def test_a_crash_while_it_is_furnished_is_a_start_that_fails() -> None:
    tries = 0

    async def init(ctx: Context) -> None:
        nonlocal tries
        tries += 1
        if tries == 2:
            await ctx.variables.merge(FACTS, {})

    async with Supervisor([Context.child_spec("chat", backend=Torn, variables=[COUNT, FACTS], init=init)]):
        ctx = dspex.whereis("chat")
        await crash(ctx)
        assert await ctx.variables.add(COUNT, 1) == 1
        assert tries == 3


async def test_a_first_start_that_fails_leaves_the_handle_closed_and_the_name_free() -> None:
    kept: list[Context] = []

    def init(ctx: Context) -> None:
        kept.append(ctx)
        if len(kept) == 1:
            raise LookupError("no seed")

    spec = Context.child_spec("chat", variables=[COUNT], init=init)
    with pytest.raises(StartFailed) as caught:
        async with Supervisor([spec]):
            pass

    assert isinstance(caught.value.__cause__, LookupError)
    assert kept[0].status is Status.CLOSED
    async with Context(name="chat"):
        pass

    # The spec is as good as new, and its handle is the same.
    async with Supervisor([spec]):
        assert dspex.whereis("chat") is kept[0]
        assert await kept[0].variables.add(COUNT, 1) == 1


# --- parked, stopped, gone --------------------------------------------------------------------------------------------------------


def parking(**options: Any) -> Any:
    return Context.child_spec("chat", variables=[COUNT, FACTS], on_limit="park", max_restarts=1, max_seconds=60.0, **options)


async def test_parked_it_refuses_everyone_at_once_and_keeps_its_state() -> None:
    async with Supervisor([parking(backend=Fragile)]) as supervisor:
        ctx = dspex.whereis("chat")
        await ctx.variables.set(COUNT, 7)
        for _ in range(2):
            await crash(ctx)
            await until(lambda: ctx.status is not Status.RESTARTING)

        assert ctx.status is Status.PARKED
        assert dspex.whereis("chat") is ctx
        for operation in (ctx.variables.get, ctx.variables.info):
            with pytest.raises(ContextCrashed, match="the disk has gone") as caught:
                await operation(COUNT)

            assert caught.value.applied is False

        await supervisor.restart_child("chat")
        assert ctx.status is Status.RUNNING
        assert await ctx.variables.get(COUNT) == 7


async def test_who_waits_is_told_when_it_parks() -> None:
    async with anyio.create_task_group() as group:
        hand = ByHand(parking(backend=Fragile), group)
        ctx = await hand.start()
        called: list[str] = []

        async def program() -> None:
            called.append("called")

        bound = await ctx.register_program("p", program)
        await hand.crash(ctx)
        told: list[Any] = []

        async def wait(use: Any) -> None:
            with pytest.raises(ContextCrashed) as caught:
                await use()

            told.append(caught.value.applied)

        async def watch() -> None:
            async with ctx.variables.watch() as changes:
                async for _ in changes:
                    pass

        async with anyio.create_task_group() as waiting:
            for use in (lambda: ctx.variables.add(COUNT, 1), bound, ctx.ensure_bridged, watch, lambda: ctx.register_program("q", program)):
                waiting.start_soon(wait, use)

            await until(lambda: ctx.statistics().watches == 1)
            for _ in range(5):
                await checkpoint()

            await hand.tell("parked", hand.error)

        assert told == [False] * 5
        assert not called
        with pytest.raises(ContextCrashed):
            async with ctx.variables.watch():
                pass

        await hand.tell("gone")
        assert ctx.status is Status.CRASHED


async def test_stopped_by_its_supervisor_it_is_closed_and_its_name_is_free() -> None:
    backend = Slow()
    async with Supervisor([Context.child_spec("chat", backend=backend, variables=[COUNT])]) as supervisor:
        ctx = dspex.whereis("chat")
        await supervisor.terminate_child("chat")
        assert ctx.status is Status.CLOSED
        with pytest.raises(ContextClosed):
            await ctx.variables.get(COUNT)

        with pytest.raises(NameNotFound):
            dspex.whereis("chat")

        assert (await ctx.wait_closed()).status is Status.CLOSED
        assert backend.closed_with == [True]

        await supervisor.restart_child("chat")
        assert dspex.whereis("chat") is ctx
        assert await ctx.variables.add(COUNT, 1) == 1


@pytest.mark.parametrize("backend", [Fragile, Slow])
@pytest.mark.parametrize("state", ["stopped", "gone"])
async def test_given_up_between_two_lives_it_ends_for_good(backend: Any, state: str) -> None:
    async with anyio.create_task_group() as group:
        hand = ByHand(Context.child_spec("chat", backend=backend, variables=[COUNT, FACTS]), group)
        ctx = await hand.start()
        if backend is Slow:
            ctx.variables.backend.fails = {"set"}  # type: ignore[union-attr]
            with pytest.raises(ContextCrashed):
                await ctx.variables.set(COUNT, 1)

            await hand.ended()
        else:
            await hand.crash(ctx)

        told: list[Any] = []
        closed: list[Any] = []

        async def queued() -> None:
            try:
                await ctx.variables.add(COUNT, 1)
            except ContextCrashed as error:
                told.append(error.applied)

        async def wait_closed() -> None:
            closed.append((await ctx.wait_closed()).status)

        async with anyio.create_task_group() as waiting:
            waiting.start_soon(queued)
            waiting.start_soon(wait_closed)
            for _ in range(5):
                await checkpoint()

            assert not told and not closed
            await hand.tell(state, hand.error)

        assert told == [False] and closed == [Status.CRASHED]
        with pytest.raises(NameNotFound):
            dspex.whereis("chat")

        # The same handle again, as if new.
        assert await hand.start() is ctx
        assert await ctx.variables.get(COUNT) == 0
        await hand.stop(final=True)
        assert (await ctx.wait_closed()).status is Status.CLOSED


async def test_one_stopped_in_the_middle_of_a_group_restart_that_is_given_up_is_closed_not_crashed() -> None:
    async with anyio.create_task_group() as group:
        hand = ByHand(Context.child_spec("chat", variables=[COUNT]), group)
        ctx = await hand.start()
        await hand.stop(final=False)
        assert ctx.status is Status.RESTARTING
        await hand.tell("gone")
        assert ctx.status is Status.CLOSED
        with pytest.raises(ContextClosed):
            await ctx.variables.get(COUNT)


async def test_a_temporary_one_ends_with_its_first_crash() -> None:
    async with Supervisor([Context.child_spec("chat", backend=Fragile, variables=[FACTS], restart="temporary")]):
        ctx = dspex.whereis("chat")
        await crash(ctx)
        assert ctx.status is Status.CRASHED
        with pytest.raises(ContextCrashed):
            await ctx.variables.get(FACTS)

        assert (await ctx.wait_closed()).status is Status.CRASHED


async def test_stopped_by_its_user_it_ends_and_what_follows_is_the_supervisors() -> None:
    transient = Context.child_spec("transient", variables=[COUNT], restart="transient")
    permanent = Context.child_spec("permanent", variables=[COUNT])
    async with Supervisor([transient, permanent]) as supervisor:
        for name in ("transient", "permanent"):
            ctx = dspex.whereis(name)
            await ctx.variables.set(COUNT, 5)
            await ctx.stop()
            assert ctx.status is Status.CLOSED

        ctx = supervisor.which_child("permanent").value
        await until(lambda: ctx.status is Status.RUNNING)
        assert await ctx.variables.get(COUNT) == 0
        assert supervisor.which_child("transient").state == "stopped"


async def test_stopped_by_its_user_while_it_restarts_it_ends_for_good() -> None:
    async with anyio.create_task_group() as group:
        hand = ByHand(Context.child_spec("chat", backend=Fragile, variables=[COUNT]), group)
        ctx = await hand.start()
        await hand.crash(ctx)
        await ctx.stop()
        assert ctx.status is Status.CRASHED
        assert await hand.start() is ctx
        await hand.stop(final=True)


def test_an_expired_one_is_live_again_where_it_is_permanent(run_virtually: Any) -> None:
    async def main() -> None:
        async with Supervisor([Context.child_spec("chat", variables=[COUNT], ttl=8.0)]):
            ctx = dspex.whereis("chat")
            await ctx.variables.set(COUNT, 5)
            with pytest.raises(ContextExpired):
                async with ctx.variables.watch() as changes:
                    async for _ in changes:
                        pass

            await until(lambda: ctx.status is Status.RUNNING)
            assert await ctx.variables.get(COUNT) == 0

    run_virtually(main)


async def test_a_restarted_supervisor_makes_the_same_handle_live_again_with_a_new_state() -> None:
    spec = Context.child_spec("chat", backend=Fragile, variables=[COUNT, FACTS])
    async with Supervisor([Supervisor.child_spec("inner", [spec], max_restarts=1)], name="app"):
        ctx = dspex.whereis("chat")
        await ctx.variables.set(COUNT, 7)
        await crash(ctx)
        assert await ctx.variables.get(COUNT) == 7
        await crash(ctx)
        await until(lambda: ctx.status is Status.RUNNING)
        assert dspex.whereis("chat") is ctx
        assert await ctx.variables.get(COUNT) == 0


# --- a group's restart --------------------------------------------------------------------------------------------------------------


async def test_stopped_with_its_group_it_keeps_its_state_and_its_queue() -> None:
    backend = Slow()
    async with anyio.create_task_group() as group:
        hand = ByHand(Context.child_spec("chat", backend=backend, variables=[COUNT, NOTES]), group)
        ctx = await hand.start()
        backend.hold()
        async with anyio.create_task_group() as clients:
            for number in range(10):
                clients.start_soon(ctx.variables.append, NOTES, str(number))
                await checkpoint()

            hand.spec.stop(False)  # type: ignore[misc]
            await until(lambda: ctx.status is Status.RESTARTING)
            backend.go_on()
            await hand.ended()
            # What the owner had in hand was served; the mailbox was not.
            assert [name for name, _ in backend.taken].count("append") == 1
            assert hand.error is None
            assert ctx.statistics().pending == 9
            assert await hand.start() is ctx

        assert await ctx.variables.get(NOTES) == [str(number) for number in range(10)]
        await hand.stop(final=True)


def test_calls_in_flight_have_their_time_and_newcomers_wait_for_the_next_life(run_virtually: Any) -> None:
    async def main() -> None:
        async def long(ctx: Any) -> Any:
            await anyio.sleep(10)
            return await ctx.add(COUNT, 1)

        async def endless() -> None:
            await anyio.sleep_forever()

        async with anyio.create_task_group() as group:
            hand = ByHand(Context.child_spec("chat", variables=[COUNT], shutdown=30.0), group)
            ctx = await hand.start()
            bound = await ctx.register_program("long", long)
            stuck = await ctx.register_program("endless", endless)
            answers: list[Any] = []

            async def call(program: Any) -> None:
                try:
                    answers.append(await program())
                except ContextClosed as closed:
                    answers.append((closed.status, closed.applied))

            async with anyio.create_task_group() as calls:
                calls.start_soon(call, bound)
                calls.start_soon(call, stuck)
                await anyio.sleep(1)
                hand.spec.stop(False)  # type: ignore[misc]
                await anyio.sleep(1)
                calls.start_soon(call, bound)
                await hand.ended()
                assert answers == [1, ("restarting", None)]
                await hand.start()

            assert answers == [1, ("restarting", None), 2]
            await hand.stop(final=True)

    run_virtually(main)


async def test_the_siblings_of_one_that_crashes_keep_theirs() -> None:
    specs = [Context.child_spec(name, backend=Fragile, variables=[COUNT, FACTS]) for name in ("a", "b")]
    async with Supervisor(specs, strategy="one_for_all"):
        a, b = dspex.whereis("a"), dspex.whereis("b")
        await a.variables.set(COUNT, 1)
        await b.variables.set(COUNT, 2)
        await crash(a)
        await until(lambda: b.statistics().lives == 2)
        assert (await a.variables.get(COUNT), await b.variables.get(COUNT)) == (1, 2)


def test_a_final_stop_serves_what_is_queued_within_its_time(run_virtually: Any) -> None:
    async def main() -> None:
        backend = Slow()
        async with Supervisor([Context.child_spec("chat", backend=backend, variables=[NOTES])]) as supervisor:
            ctx = dspex.whereis("chat")
            backend.hold()
            told: list[int] = []

            async def append(number: int) -> None:
                told.append(await ctx.variables.append(NOTES, str(number)))

            async with anyio.create_task_group() as group:
                for number in range(5):
                    group.start_soon(append, number)
                    await checkpoint()

                group.start_soon(supervisor.terminate_child, "chat")
                await anyio.sleep(1)
                assert ctx.status is Status.STOPPING
                backend.go_on()

            assert told == [1, 2, 3, 4, 5]
            assert ctx.status is Status.CLOSED

    run_virtually(main)


def test_killed_brutally_it_goes_at_once_and_is_closed(run_virtually: Any) -> None:
    async def main() -> None:
        async def endless() -> None:
            await anyio.sleep_forever()

        spec = Context.child_spec("chat", variables=[COUNT], shutdown="brutal_kill")
        async with Supervisor([spec]) as supervisor:
            ctx = dspex.whereis("chat")
            bound = await ctx.register_program("endless", endless)
            async with anyio.create_task_group() as group:

                async def call() -> None:
                    with pytest.raises(ContextClosed):
                        await bound()

                group.start_soon(call)
                await anyio.sleep(1)
                began = anyio.current_time()
                await supervisor.terminate_child("chat")
                assert anyio.current_time() - began < 0.1
                assert ctx.status is Status.CLOSED

    run_virtually(main)


def test_killed_brutally_in_the_middle_of_an_operation_it_goes_at_once_too(run_virtually: Any) -> None:
    async def main() -> None:
        backend = Slow()
        async with Supervisor([Context.child_spec("chat", backend=backend, variables=[COUNT], shutdown="brutal_kill")]) as supervisor:
            ctx = dspex.whereis("chat")
            backend.hold()
            told: list[Any] = []

            async def write() -> None:
                with pytest.raises(ContextCrashed) as caught:
                    await ctx.variables.set(COUNT, 1)

                told.append(caught.value.applied)

            async with anyio.create_task_group() as group:
                group.start_soon(write)
                await anyio.sleep(1)
                began = anyio.current_time()
                await supervisor.terminate_child("chat")
                assert anyio.current_time() - began < 0.1

            assert told == [None]
            assert ctx.status is Status.CLOSED

    run_virtually(main)


# --- names ------------------------------------------------------------------------------------------------------------------------


async def test_a_name_leads_to_the_same_context_at_every_step_and_never_to_one_half_started() -> None:
    found: list[Any] = []

    def look() -> Any:
        try:
            return dspex.whereis("chat")
        except NameNotFound:
            return None

    async def init(ctx: Context) -> None:
        for _ in range(5):
            found.append(look())
            await checkpoint()

    async with anyio.create_task_group() as group:
        hand = ByHand(Context.child_spec("chat", backend=Torn, variables=[COUNT, FACTS], init=init), group)
        with pytest.raises(NameNotFound):
            dspex.whereis("chat")

        ctx = await hand.start()
        assert found == [None] * 5
        assert look() is ctx
        await hand.crash(ctx)
        assert look() is ctx
        found.clear()
        await hand.start()
        assert found == [ctx] * 5
        await hand.crash(ctx)
        await hand.tell("parked")
        assert look() is ctx
        await hand.tell("gone")
        assert look() is None


async def test_a_name_that_is_taken_says_by_whom() -> None:
    async with Context(name="chat") as ctx:
        with pytest.raises(StartFailed) as caught:
            async with Supervisor([Context.child_spec("chat")]):
                pass

        assert isinstance(caught.value.__cause__, NameTaken)
        assert repr(ctx.id)[1:-1] in str(caught.value.__cause__)


def test_a_spec_may_be_lived_in_one_event_loop_after_another() -> None:
    spec = Context.child_spec("chat", variables=[COUNT])
    found: list[Context] = []

    async def main() -> None:
        async with Supervisor([spec]):
            found.append(dspex.whereis("chat"))
            assert await found[-1].variables.add(COUNT, 1) == 1

    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(main, backend=backend)

    assert len({id(ctx) for ctx in found}) == 1


async def test_a_spec_is_lived_once_at_a_time() -> None:
    spec = Context.child_spec("chat")
    async with Supervisor([spec]):
        with pytest.raises(StartFailed) as caught:
            async with Supervisor([spec]):
                pass

        assert isinstance(caught.value.__cause__, NameTaken)
        assert dspex.whereis("chat").status is Status.RUNNING


async def test_only_its_supervisor_starts_it() -> None:
    async with Supervisor([Context.child_spec("chat")]) as supervisor:
        ctx = dspex.whereis("chat")
        await supervisor.terminate_child("chat")
        with pytest.raises(ContextClosed, match="It is the child 'chat' of a supervisor, which starts it"):
            async with ctx:
                pass

        with pytest.raises(ContextClosed, match="which starts it"):
            await ctx.start()


async def test_a_subclass_is_what_is_made() -> None:
    class Chat(Context):
        pass

    async with Supervisor([Chat.child_spec("chat")]):
        assert type(dspex.whereis("chat")) is Chat


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"ttl": 0}, "ttl: expected a positive"),
        ({"on_restart": "again"}, "on_restart: expected 'keep' or 'fresh', got 'again'"),
        ({"restart": "always"}, "restart: expected one of 'permanent'"),
        ({"shutdown": "soon"}, "shutdown: expected a number of seconds"),
        ({"bridge": ""}, "bridge: expected an open Bridge, the id of one under a supervisor, or None, got str"),
    ],
)
def test_options_are_checked_when_the_spec_is_made(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        Context.child_spec("chat", **options)

    assert sentence in str(caught.value)


def test_its_shutdown_is_thirty_seconds_unless_told() -> None:
    assert Context.child_spec("chat").shutdown == 30.0
    assert Context.child_spec("chat", shutdown=1.5).shutdown == 1.5


async def test_it_shows_itself_in_the_tree() -> None:
    async with Supervisor([Context.child_spec("chat", variables=[COUNT], programs={"p": steadily})], name="app") as supervisor:
        shown = supervisor.tree().find("app/chat")
        assert shown is not None
        assert (shown.kind, shown.state) == ("context", "running")
        assert {"backend": "local", "variables": 1, "programs": 1}.items() <= shown.facts.items()
