"""What a context tells of its operations, its switch and its life; and that it costs nothing while nobody listens."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from context.fragile import COUNT, FACTS, NOTES, Fragile, Gone, Slow
from sim.failpoints import Failpoints, Fault, Injected, Kind
from sim.far import FlakyStore

from dspex import (
    BackendSwitchError,
    Bridge,
    Context,
    ContextCrashed,
    Contexts,
    InvalidValue,
    NameNotFound,
    Supervisor,
    Var,
    VariableNotFound,
    telemetry,
    whereis,
)
from dspex.context import _observed
from dspex.context._service import NO_CELLS
from dspex.telemetry import (
    BackendSwitched,
    ContextChanged,
    OperationFailed,
    SwitchFailed,
    VariableOperation,
)
from dspex.telemetry._live import CONTEXTS

TEMPERATURE = Var("temperature", float, 0.7, min=0.0, max=2.0)
KEY = Var("key", str, "sk-1234", sensitive=True)

Heard = list[Any]


def hearing(*kinds: type[Any]) -> tuple[Heard, telemetry.Subscription]:
    heard: Heard = []
    return heard, telemetry.subscribe(heard.append, only=kinds)


def in_short(record: VariableOperation | OperationFailed) -> tuple[Any, ...]:
    return record.operation, record.variables, getattr(record, "version", None), record.direct


# --- operations --------------------------------------------------------------------------------------------------------------------


async def test_each_operation_is_told_with_its_variables_its_version_and_its_time() -> None:
    heard, listening = hearing(VariableOperation)
    async with Context(name="desk", variables=[COUNT, NOTES, FACTS, TEMPERATURE]) as ctx:
        heard.clear()
        with listening:
            vs = ctx.variables
            await vs.get(COUNT)
            await vs.set(COUNT, 3)
            await vs.set("temperature", 0.9)
            await vs.add(COUNT, 2)
            await vs.update(COUNT, lambda n: n * 2)
            await vs.append(NOTES, "x")
            await vs.merge(FACTS, {"a": 1})
            await vs.get_many([COUNT, "nobody"])
            await vs.set_many({COUNT: 1, TEMPERATURE: 1.0})
            await vs.exists("count")
            await vs.info("count")
            made = await vs.define("late", int, 0)
            await vs.get(made)
            await vs.delete("late")
            await vs.list()

        await vs.get(COUNT)

    assert [in_short(record) for record in heard] == [
        ("get", ("count",), None, True),
        ("set", ("count",), 1, True),
        ("set", ("temperature",), 1, True),
        ("add", ("count",), 2, True),
        ("update", ("count",), 3, True),
        ("append", ("notes",), 1, True),
        ("merge", ("facts",), 1, True),
        ("get_many", ("count", "nobody"), None, True),
        ("set_many", ("count", "temperature"), None, True),
        ("exists", ("count",), None, True),
        ("info", ("count",), None, True),
        ("define", ("late",), None, True),
        ("get", ("late",), None, True),
        ("delete", ("late",), None, True),
        ("list", (), None, False),
    ]
    assert {(record.context_id, record.context_name, record.backend) for record in heard} == {(ctx.id, "desk", "local")}
    assert all(0 < record.seconds < 60 and record.waited >= 0 for record in heard)


async def test_one_that_was_refused_is_told_with_what_its_caller_got() -> None:
    heard, listening = hearing(VariableOperation, OperationFailed)
    async with Context(variables=[COUNT, TEMPERATURE], max_container=1 << 16) as ctx:
        await ctx.variables.define("bag", list[str], [])
        heard.clear()
        told: list[BaseException] = []
        with listening:
            for attempt in (
                lambda: ctx.variables.set(TEMPERATURE, 9.0),
                lambda: ctx.variables.get("nobody"),
                lambda: ctx.variables.update(COUNT, lambda n: n // 0),
                lambda: ctx.variables.set("bag", ["x" * 1_000_000]),
            ):
                with pytest.raises(Exception) as caught:
                    await attempt()

                told.append(caught.value)

            assert await ctx.variables.get("nobody", None) is None

    assert [type(record) for record in heard] == [OperationFailed] * 5
    assert [(record.operation, record.variables) for record in heard] == [
        ("set", ("temperature",)),
        ("get", ("nobody",)),
        ("update", ("count",)),
        ("set", ("bag",)),
        ("get", ("nobody",)),
    ]
    assert [record.error for record in heard[:4]] == told
    assert [type(error) for error in told] == [InvalidValue, VariableNotFound, ZeroDivisionError, InvalidValue]


async def test_no_value_of_a_sensitive_variable_is_in_what_is_told() -> None:
    heard, listening = hearing(VariableOperation, OperationFailed, ContextChanged)
    with listening:
        async with Context(variables=[KEY]) as ctx:
            await ctx.variables.set(KEY, "sk-5678")
            with pytest.raises(InvalidValue):
                await ctx.variables.set(KEY, 5678)  # type: ignore[call-overload]

    assert len(heard) == 5
    assert not [record for record in heard if "5678" in repr(record) or "1234" in repr(record)]


async def test_what_was_queued_says_how_long_it_waited_and_is_told_when_its_caller_has_its_answer() -> None:
    slow = Slow()
    async with Context(backend=slow, variables=[COUNT]) as ctx, anyio.create_task_group() as tasks:
        heard, listening = hearing(VariableOperation)
        pending: list[int] = []
        noting = telemetry.subscribe(lambda record: pending.append(len(ctx.variables.mailbox.ledger)), only=VariableOperation)
        with listening, noting:
            slow.hold()
            for number in (1, 2):
                tasks.start_soon(ctx.variables.set, COUNT, number)
                await checkpoint()

            while len(ctx.variables.mailbox.ledger) < 2:
                await checkpoint()

            await anyio.sleep(0.02)
            slow.go_on()
            while len(heard) < 2:
                await checkpoint()

    assert [(record.operation, record.direct, record.version, record.backend) for record in heard] == [
        ("set", False, n, "custom") for n in (1, 2)
    ]
    assert heard[0].seconds >= 0.01  # the first held the owner, the second waited for that
    assert heard[1].waited >= 0.01
    assert pending == [1, 0]  # each was answered, and out of the ledger, before it was told


async def test_a_crash_is_told_as_the_failure_of_its_operation_and_as_a_change_of_its_context() -> None:
    heard, listening = hearing(OperationFailed, ContextChanged)
    with listening, pytest.raises(ContextCrashed):
        async with Context(backend=Fragile(), variables=[FACTS]) as ctx:
            await ctx.variables.merge(FACTS, {"a": 1})

    assert [type(record) for record in heard] == [ContextChanged, ContextChanged, OperationFailed]
    assert [record.status for record in heard[:2]] == ["running", "crashed"]
    assert type(heard[1].error) is Gone
    assert heard[2].error is heard[1].error


# --- what it costs -----------------------------------------------------------------------------------------------------------------


async def test_while_nobody_listens_a_context_has_no_probe_and_shows_its_cells() -> None:
    async with Context(variables=[COUNT]) as ctx:
        entry: Any = ctx.variables
        assert (entry.probe, entry.eye, entry.cells is entry.known) == (None, None, True)
        with telemetry.subscribe(print, only=[BackendSwitched, ContextChanged]):
            assert (entry.probe, entry.eye, entry.cells is entry.known) == (None, None, True)

        heard, listening = hearing(VariableOperation)
        with listening:
            assert entry.cells is NO_CELLS
            assert entry.probe is entry.eye is not None

        assert (entry.probe, entry.eye, entry.cells is entry.known) == (None, None, True)
        assert await ctx.variables.get(COUNT) == 0
        assert heard == []


async def test_who_listens_to_one_context_costs_the_others_nothing() -> None:
    async with Context(variables=[COUNT]) as seen, Context(variables=[COUNT]) as other:
        heard: Heard = []
        entry: Any = seen.variables
        entry.observe(heard.append)
        assert other.variables.probe is None
        await other.variables.set(COUNT, 1)
        await seen.variables.set(COUNT, 2)
        entry.unobserve(heard.append)
        await seen.variables.set(COUNT, 3)
        assert [(record.context_id, record.version) for record in heard] == [(seen.id, 1)]
        assert entry.cells is entry.known


async def test_it_goes_on_over_a_switch_and_the_watches_with_it() -> None:
    heard, listening = hearing(VariableOperation)
    async with Context(variables=[COUNT]) as ctx:
        with listening:
            async with ctx.variables.watch(COUNT) as changes:
                await ctx.variables.set(COUNT, 1)
                await ctx.ensure_bridged()
                await ctx.variables.set(COUNT, 2)
                change = await anext(aiter(changes))
                assert (change.value, change.version) == (2, 2)

        told = [(record.operation, record.backend, record.version) for record in heard if record.operation == "set"]
        assert told == [("set", "local", 1), ("set", "bridged", 2)]
        entry: Any = ctx.variables
        assert entry.cells is entry.known is not NO_CELLS


async def test_another_thread_may_come_to_listen_and_go() -> None:
    async with Context(variables=[COUNT]) as ctx:
        heard: Heard = []

        async def in_thread(function: Callable[[], Any]) -> Any:
            return await anyio.to_thread.run_sync(function)

        listening = await in_thread(lambda: telemetry.subscribe(heard.append, only=VariableOperation))
        await ctx.variables.set(COUNT, 1)
        await in_thread(listening.unsubscribe)
        await ctx.variables.set(COUNT, 2)
        entry: Any = ctx.variables
        assert [record.version for record in heard] == [1]
        assert entry.cells is entry.known  # its next operation after that took it back to its fastest path


async def test_of_very_many_contexts_the_last_are_observed_by_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_observed, "AT_ONCE", 1)
    async with Context() as first, Context() as second:
        heard, listening = hearing(VariableOperation)
        with listening:
            assert first.variables.probe is not None
            while second.variables.probe is None:
                await checkpoint()

            await second.variables.define("late", int, 0)

        while any(thread.name == "dspex observers" for thread in threading.enumerate()):
            await checkpoint()

        await second.variables.get("late")
        entry: Any = second.variables
        assert entry.cells is entry.known
        assert [record.operation for record in heard] == ["define"]


# --- the switch --------------------------------------------------------------------------------------------------------------------


async def test_a_switch_is_told_with_its_steps_once_it_is_over() -> None:
    heard, listening = hearing(BackendSwitched, SwitchFailed)
    async with Context(name="desk", variables=[COUNT, TEMPERATURE]) as ctx:
        statuses: list[str] = []
        noting = telemetry.subscribe(lambda record: statuses.append(f"{ctx.status} {ctx.backend.kind}"), only=BackendSwitched)
        with listening, noting:
            await ctx.ensure_bridged()
            await ctx.ensure_bridged()

        (told,) = heard
        report = ctx.backend.last_switch
        assert report is not None
        assert (told.context_id, told.context_name, told.source, told.target) == (ctx.id, "desk", "LocalState", "BridgedState")
        assert (told.seconds, told.variables, told.bytes) == (report.seconds, 2, report.bytes)
        assert [step.name for step in told.steps] == ["open", "stage", "verify", "commit", "clean up"]
        assert all(step.ok and step.seconds >= 0 for step in told.steps)
        assert sorted(step.at for step in told.steps) == [step.at for step in told.steps]
        assert told.steps[-1].at <= told.at
        assert math.isclose(sum(step.seconds for step in told.steps[:-1]), told.seconds, abs_tol=0.05)
        assert statuses == ["running bridged"]


async def test_one_that_failed_is_told_with_the_step_and_the_cause() -> None:
    heard, listening = hearing(BackendSwitched, SwitchFailed)
    bridge = Bridge(store=FlakyStore(Failpoints(Fault("staging.put", Kind.BEFORE))))
    async with Context(bridge=bridge, variables=[COUNT]) as ctx:
        with listening, pytest.raises(BackendSwitchError) as caught:
            await ctx.ensure_bridged()

        (told,) = heard
        assert isinstance(told, SwitchFailed)
        assert (told.context_id, told.source, told.step) == (ctx.id, "LocalState", "stage")
        assert told.error is caught.value.__cause__
        assert isinstance(told.error, Injected)
        assert [(step.name, step.ok) for step in told.steps] == [("open", True), ("stage", False), ("roll back", True)]
        assert ctx.backend.kind == "local"


def test_one_whose_caller_has_gone_is_told_without_an_error(run_virtually: Any) -> None:
    async def main() -> list[tuple[str, BaseException | None]]:
        heard, listening = hearing(SwitchFailed)
        bridge = Bridge(store=FlakyStore(Failpoints(Fault("staging.put", Kind.SLOW))))
        async with Context(bridge=bridge, variables=[COUNT]) as ctx:
            with listening, anyio.move_on_after(7):
                await ctx.ensure_bridged()

        return [(record.step, record.error) for record in heard]

    assert run_virtually(main) == [("stage", None)]


# --- its life ----------------------------------------------------------------------------------------------------------------------


async def test_a_context_opens_and_closes() -> None:
    heard, listening = hearing(ContextChanged)
    with listening:
        async with Context(name="desk") as ctx:
            assert [(record.status, record.lives) for record in heard] == [("running", 1)]

    assert [(record.status, record.error, record.context_name, record.backend) for record in heard] == [
        ("running", None, "desk", "local"),
        ("closed", None, "desk", "local"),
    ]
    assert ctx._inside not in CONTEXTS


def test_one_that_expires_says_so(run_virtually) -> None:
    async def main() -> list[str]:
        heard, listening = hearing(ContextChanged)
        with listening:
            async with Context(ttl=10) as ctx:
                await ctx.wait_closed()

        return [record.status for record in heard]

    assert run_virtually(main) == ["running", "expired"]


async def test_under_a_supervisor_it_restarts_and_at_last_is_parked() -> None:
    heard, listening = hearing(ContextChanged)
    spec = Context.child_spec("desk", backend=Fragile, variables=[FACTS], max_restarts=1, max_seconds=60, on_limit="park")
    with listening:
        async with Supervisor([spec]) as supervisor:
            for _ in range(2):
                with pytest.raises(ContextCrashed):
                    await whereis("desk").variables.merge(FACTS, {"a": 1})

                await checkpoint()

            while supervisor.which_child("desk").state != "parked":
                await checkpoint()

    assert [(record.status, record.lives) for record in heard] == [
        ("running", 1),
        ("restarting", 1),
        ("running", 2),
        ("restarting", 2),
        ("parked", 2),
        ("crashed", 2),
    ]
    assert [type(record.error) for record in heard] == [type(None), Gone, type(None), Gone, Gone, Gone]


async def test_what_lives_now_is_listed_and_its_operations_are_counted_beyond_its_end() -> None:
    direct, queued = CONTEXTS.totals()
    async with Context(variables=[COUNT]) as ctx:
        assert ctx._inside in CONTEXTS
        before = CONTEXTS.totals()
        for number in range(5):
            await ctx.variables.set(COUNT, number)

        await ctx.variables.list()
        assert CONTEXTS.totals() == (before[0] + 5, before[1] + 1)

    assert ctx._inside not in CONTEXTS
    assert CONTEXTS.totals()[0] >= direct + 5
    assert CONTEXTS.totals()[1] >= queued + 1


async def test_a_context_of_a_family_is_told_of_by_the_names_of_both() -> None:
    heard, listening = hearing(ContextChanged, VariableOperation, OperationFailed, BackendSwitched)
    async with Contexts(name="users", variables=[COUNT]) as family, family.open("ada") as ctx:
        with listening:
            heard.clear()
            await ctx.variables.set(COUNT, 1)
            with pytest.raises(VariableNotFound):
                await ctx.variables.get("nobody")

            await ctx.ensure_bridged()

        assert [type(record) for record in heard] == [VariableOperation, OperationFailed, BackendSwitched]
        assert {(record.context_id, record.context_name) for record in heard} == {(ctx.id, "users/ada")}
        assert repr(ctx).startswith(f"<Context 'users/ada' {ctx.id} [running | bridged")
        assert ctx.name is None
        with pytest.raises(NameNotFound):
            whereis("users/ada")


async def test_its_crash_says_whose_it_is() -> None:
    crashed: list[str] = []
    family = Contexts(name="users", variables=[COUNT])
    async with family, family.open("ada") as ctx:
        crashed.append(str(ctx.variables.crash(Gone("the disk has gone"), "set")))
        await checkpoint()

    assert "'users/ada'" in crashed[0]
