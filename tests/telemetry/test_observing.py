"""A context that is observed does what it would do unobserved, and tells all of it once: whoever asks, and whoever comes or goes meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from context.fragile import COUNT, FACTS, NOTES, Fragile, Gone, Slow
from supervision.cast import settled

from dspex import Context, ContextClosed, ContextCrashed, Supervisor, Var, VariableNotFound, telemetry, whereis
from dspex.context import _observed
from dspex.context._port import ContextPort
from dspex.state import LocalState
from dspex.telemetry import ContextChanged, OperationFailed, VariableOperation
from dspex.telemetry._hooks import VARIABLE_OPERATION
from dspex.telemetry._live import CONTEXTS

SECRET = Var("secret", list[int], [], sensitive=True)


def listening(hook: Callable[[Any], object]) -> telemetry.Subscription:
    return telemetry.subscribe(hook, only=(VariableOperation, OperationFailed))


def in_short(record: VariableOperation | OperationFailed) -> tuple[str, str, tuple[str, ...]]:
    return type(record).__name__, record.operation, record.variables


def after_the_turn(ctx: Context, told: list[Any]) -> Callable[[Any], None]:
    """A hook that keeps what it is told when the owner isn't in its turn."""

    def hook(record: Any) -> None:
        if not ctx._inside.variables.mailbox.ledger:
            told.append(record)

    return hook


def port_of(ctx: Context) -> ContextPort:
    return ctx._inside.port


# --- what a worker asks ------------------------------------------------------------------------------------------------------------

ODD: list[tuple[str, Sequence[Any]]] = [
    ("get_many", [[[1]]]),
    ("get_many", [[7, None]]),
    ("set_many", [{7: 1}]),
    ("set_many", [{b"x": 1}, None, False]),
    ("define", [{}, 1]),
    ("define", [{"name": [1]}, 1]),
]


@pytest.mark.parametrize(("name", "args"), ODD)
@pytest.mark.parametrize("who", ["observed", "watched", "both"])
async def test_i11_whatever_a_worker_calls_a_variable_the_context_goes_on(name: str, args: Sequence[Any], who: str) -> None:
    told: list[Any] = []
    answers: list[Any] = []
    async with Context(variables=[COUNT]) as ctx, AsyncExitStack() as others:
        if who != "watched":
            others.enter_context(listening(told.append))

        if who != "observed":
            await others.enter_async_context(ctx.variables.watch())

        try:
            answers.append(port_of(ctx).operate_nowait(name, args))
        except Exception as error:
            answers.append(error)

        port_of(ctx).post(name, args, lambda result, error: answers.append(error or result))
        await ctx.variables.list()
        assert ctx.status == "running"

    assert len(answers) == 2
    assert not [answer for answer in answers if isinstance(answer, ContextCrashed)]
    assert len([record for record in told if record.operation == name]) == (0 if who == "watched" else 2)


REFUSED: list[tuple[str, Sequence[Any], str]] = [
    ("set", ["nobody", [1]], "nobody"),
    ("set", ["secret", ["hunter2"]], "secret"),
    ("append", ["nobody", {}], "nobody"),
    ("define", [{"name": "late"}, 1], "late"),
]


@pytest.mark.parametrize(("name", "args", "about"), REFUSED)
@pytest.mark.parametrize("backend", ["local", "slow"])
async def test_what_a_worker_is_refused_before_the_backend_is_asked_is_told_too(
    name: str, args: Sequence[Any], about: str, backend: str
) -> None:
    told: list[Any] = []
    answers: list[Any] = []
    async with Context(backend=Slow() if backend == "slow" else "local", variables=[SECRET]) as ctx:
        with listening(told.append):
            port_of(ctx).post(name, args, lambda _, error: answers.append(error))
            await ctx.variables.exists(SECRET)

    assert in_short(told[0]) == ("OperationFailed", name, (about,))
    assert [told[0].error] == answers
    assert "hunter2" not in f"{told[0]!r} {told[0].error}"


async def test_a_list_is_told_whoever_asks_for_it() -> None:
    told: list[Any] = []
    answers: list[Any] = []
    async with Context(variables=[COUNT, NOTES]) as ctx:
        with listening(told.append):
            port_of(ctx).post("list", [], lambda result, _: answers.append(result))
            await ctx.variables.list()

    assert [in_short(record) for record in told] == [("VariableOperation", "list", ())] * 2
    assert [variable["name"] for variable in answers[0]] == ["count", "notes"]


# --- what the backend does ---------------------------------------------------------------------------------------------------------


class Unlisted(LocalState):
    """It fails when all there is is asked for."""

    def scan(self, *args: Any, **options: Any) -> Iterator[Any]:
        raise Gone("the disk has gone")
        yield


async def test_a_list_that_fails_is_told() -> None:
    told: list[Any] = []
    with listening(told.append), pytest.raises(ContextCrashed):
        async with Context(backend=Unlisted()) as ctx:
            await ctx.variables.list()

    assert [in_short(record) for record in told] == [("OperationFailed", "list", ())]
    assert type(told[0].error) is Gone


class Unasked(LocalState):
    """It fails when it is asked whether there is a variable."""

    def exists(self, key: Any) -> bool:
        raise Gone("the disk has gone")


async def test_a_backend_that_cant_tell_a_name_fails_nobody_who_has_not_asked_for_it() -> None:
    told: list[Any] = []
    async with Context(backend=Unasked()) as ctx:
        made = await ctx.variables.define("late", int, 7)
        with listening(told.append):
            assert await ctx.variables.get(made) == 7

    assert [in_short(record) for record in told] == [("VariableOperation", "get", (made,))]


# --- who comes and goes meanwhile --------------------------------------------------------------------------------------------------


async def ask(ctx: Context) -> None:
    await ctx.variables.get(COUNT)


async def ask_in_vain(ctx: Context) -> None:
    with pytest.raises(VariableNotFound):
        await ctx.variables.get("nobody")


async def test_a_watch_that_begins_during_an_operation_changes_nothing_of_what_is_told() -> None:
    slow = Slow()
    told: list[Any] = []
    async with Context(backend=slow, variables=[COUNT]) as ctx, anyio.create_task_group() as tasks:
        with listening(after_the_turn(ctx, told)):
            slow.hold()
            tasks.start_soon(ask_in_vain, ctx)
            await settled()
            async with ctx.variables.watch():
                slow.go_on()
                await settled()

    assert [(in_short(record), record.direct) for record in told] == [(("OperationFailed", "get", ("nobody",)), False)]


async def test_who_comes_during_an_operation_is_told_from_the_next_one_on() -> None:
    slow = Slow()
    told: list[Any] = []
    async with Context(backend=slow, variables=[COUNT]) as ctx:
        for ends_well in (True, False):
            async with anyio.create_task_group() as tasks:
                slow.hold()
                tasks.start_soon(ask if ends_well else ask_in_vain, ctx)
                await settled()
                with listening(told.append):
                    slow.go_on()
                    await settled()
                    assert told == []
                    await ctx.variables.exists(COUNT)

            assert [in_short(record) for record in told] == [("VariableOperation", "exists", ("count",))]
            told.clear()


async def test_what_begins_in_a_turn_that_nobody_saw_begin_is_told_after_it() -> None:
    slow = Slow()
    async with Context(backend=slow, variables=[NOTES]) as ctx:
        told: list[Any] = []
        slow.hold()
        port_of(ctx).post("set", ["notes", ["x"]], lambda _, __: None)
        await settled()
        with listening(after_the_turn(ctx, told)):
            slow.go_on()
            await settled()

    assert [(record.operation, record.direct) for record in told] == [("set", False)]


async def test_a_context_on_an_asynchronous_backend_notices_too_that_who_listened_has_gone_in_another_thread() -> None:
    async with Context(backend=Slow(), variables=[COUNT]) as ctx:
        here = listening(lambda _: None)
        assert ctx.variables.probe is not None
        await anyio.to_thread.run_sync(here.unsubscribe)
        await ctx.variables.get(COUNT)
        assert ctx.variables.probe is None
        assert ctx.variables.eye is None


class Held:
    """A channel at which one thread, called "first", stands for a moment after it has seen who listens."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.seen = threading.Event()
        self.go_on = threading.Event()

    @property
    def heard(self) -> Any:
        heard = self.channel.heard
        if threading.current_thread().name == "first":
            self.seen.set()
            self.go_on.wait(0.2)

        return heard


async def test_who_comes_while_the_last_one_goes_in_another_thread_leaves_nobody_unheard(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = Held(VARIABLE_OPERATION)
    monkeypatch.setattr(_observed, "VARIABLE_OPERATION", channel)
    there: list[telemetry.Subscription] = []

    def go() -> None:
        for subscription in channel.channel.heard:
            subscription.unsubscribe()

        channel.go_on.set()

    async with Context(variables=[COUNT]) as ctx:
        first = threading.Thread(target=lambda: there.append(telemetry.subscribe(print, only=VariableOperation)), name="first")
        first.start()
        await anyio.to_thread.run_sync(channel.seen.wait)
        await anyio.to_thread.run_sync(go)
        await anyio.to_thread.run_sync(first.join)

        told: list[Any] = []
        with telemetry.subscribe(told.append, only=VariableOperation):
            await ctx.variables.get(COUNT)

    assert [record.operation for record in told] == ["get"]


async def test_who_comes_in_another_thread_while_the_context_looks_is_not_overlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Context(variables=[COUNT]) as ctx:
        told: list[Any] = []
        entry: Any = ctx.variables
        is_observed = _observed.Observed.is_observed

        def look_away(self: Any) -> bool:
            observed = is_observed(self)
            monkeypatch.undo()
            thread = threading.Thread(target=entry.observe, args=(told.append,))
            thread.start()
            thread.join()
            return observed

        monkeypatch.setattr(_observed.Observed, "is_observed", look_away)
        entry.look()
        await ctx.variables.get(COUNT)
        entry.unobserve(told.append)

    assert [record.operation for record in told] == ["get"]


# --- the context itself ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["running", "closed"])
async def test_an_interrupt_out_of_a_hook_leaves_nothing_of_the_context_behind(status: str) -> None:
    def interrupt(record: ContextChanged) -> None:
        if record.status == status:
            raise KeyboardInterrupt

    ctx = Context(variables=[COUNT])
    with telemetry.subscribe(interrupt, only=ContextChanged), pytest.raises(KeyboardInterrupt):
        async with ctx:
            pass

    assert ctx.status == "closed"
    assert ctx._inside not in CONTEXTS
    with pytest.raises(ContextClosed):
        await ctx.variables.get(COUNT)


async def test_who_comes_and_goes_and_comes_again_misses_no_change_that_happens_meanwhile() -> None:
    async def crash() -> None:
        with pytest.raises(ContextCrashed):
            await whereis("desk").variables.merge(FACTS, {"a": 1})

    told: list[Any] = []
    spec = Context.child_spec("desk", backend=Fragile, variables=[FACTS])
    async with Supervisor([spec], max_restarts=9):
        for _ in range(2):
            here = telemetry.subscribe(told.append, only=ContextChanged)
            await crash()
            here.unsubscribe()
            await whereis("desk").variables.get(FACTS)

    assert [record.status for record in told] == ["restarting"] * 2


async def test_a_call_goes_on_when_its_tracer_goes_in_the_middle_of_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    from dspex.programs._telling import Notes
    from dspex.telemetry._tracing import TRACING

    asked: list[str] = []

    class Tracer:
        def call(self, context_id: str, program_id: str, **about: Any) -> None:
            asked.append(program_id)

    class Spec:
        id = "ask"
        pool = "default"

        @property
        def where(self) -> str:
            TRACING.tracer = None
            return "host"

    monkeypatch.setattr(TRACING, "tracer", Tracer())
    async with Context() as ctx:
        spec: Any = Spec()
        assert Notes(ctx._inside, spec).trace is None

    assert asked == ["ask"]
