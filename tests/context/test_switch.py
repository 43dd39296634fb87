"""The switch (I3 to I7): all or nothing, one way, and the same state on the other side."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import math
import uuid
import zoneinfo
from collections.abc import Callable
from itertools import product
from typing import Any

import anyio
import attrs
import numpy as np
import pydantic
import pytest
from anyio.lowlevel import checkpoint
from context.homes import OwnAsync, OwnSync
from sim.failpoints import Failpoints, Fault, Injected, Kind
from sim.far import Far, FarStore, FlakyStore
from state.awaited_store import AwaitedStore

from dspex import BackendSwitchError, Bridge, CallTimeout, Context, NotBridgeable, Status, Var
from dspex.context import SwitchReport
from dspex.context._mailbox import QUEUED
from dspex.context._switch import ACTIONS, FINAL, NEXT, REVOCABLE, Step
from dspex.state import AsyncBridgedState, BridgedState, LocalState
from dspex.state.stores.memory import MemoryStore
from dspex.variables import same

COUNT = Var("count", int, 0)
TEMPERATURE = Var("temperature", float, 0.7, min=0.0, max=2.0)
NOTES = Var("notes", list[str], ["a"])
THREE = (COUNT, TEMPERATURE, NOTES)


# --- the table -----------------------------------------------------------------------------------------------------------------


def test_the_table_is_total() -> None:
    assert set(NEXT) == set(product(set(Step) - FINAL, (True, False)))
    assert set(ACTIONS) == set(Step) - FINAL
    assert set(NEXT.values()) <= set(Step)


def test_i6_the_table_is_one_way_and_ends() -> None:
    def ends(step: Step, path: tuple[Step, ...] = ()) -> set[Step]:
        assert step not in path, f"a circle: {path}"
        return {step} if step in FINAL else ends(NEXT[step, True], (*path, step)) | ends(NEXT[step, False], (*path, step))

    assert ends(Step.OPEN) == FINAL
    assert ends(Step.CLEAN_UP) == {Step.SWITCHED}
    assert ends(Step.ROLL_BACK) == {Step.KEPT}


def test_i4_every_failure_before_the_commit_leads_back_and_none_after_it() -> None:
    for step in (*REVOCABLE, Step.COMMIT):
        assert NEXT[step, False] is Step.ROLL_BACK

    assert NEXT[Step.COMMIT, True] is Step.CLEAN_UP
    assert NEXT[Step.CLEAN_UP, False] is NEXT[Step.CLEAN_UP, True] is Step.SWITCHED


# --- I5 ------------------------------------------------------------------------------------------------------------------------


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@attrs.define
class Point:
    x: int
    tags: list[str]
    near: Point | None = None


@dataclasses.dataclass(frozen=True)
class Pair:
    left: decimal.Decimal
    right: Color


class Model(pydantic.BaseModel):
    name: str
    scores: dict[str, float]


ZONED = dt.datetime(2024, 10, 27, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"), fold=1)
EVERYTHING: dict[str, tuple[Any, Any]] = {
    "float": (float, 0.1),
    "minus zero": (float, -0.0),
    "nan": (float, math.nan),
    "infinite": (float, -math.inf),
    "int": (int, -7),
    "big": (int, -(10**300)),
    "word": (int, 2**63),
    "bool": (bool, True),
    "str": (str, "naïve \U0001f600 \x00 \ud800"),
    "bytes": (bytes, bytes(range(256))),
    "maybe": (str | None, None),
    "maybe there": (int | None, 5),
    "literal": ("choice", "b"),
    "list": (list[int], [1, 2**70, -1]),
    "dict": (dict[str, list[float]], {"b": [1.0], "a": []}),
    "int keys": (dict[int, str], {2: "b", 1: "a"}),
    "tuple": (tuple[int, str], (1, "a")),
    "set": (set[str], {"b", "a"}),
    "frozenset": (frozenset[int], frozenset({3, 1})),
    "any": (Any, {"a": [1, 2.0, None, True, "x", b"y", {"deep": [[[]]]}]}),
    "enum": (Color, Color.BLUE),
    "int enum": (Level, Level.HIGH),
    "attrs": (Point, Point(1, ["a"], Point(2, []))),
    "dataclass": (Pair, Pair(decimal.Decimal("1.10"), Color.RED)),
    "pydantic": (Model, Model(name="m", scores={"a": 1.0})),
    "records": (list[Point], [Point(1, []), Point(2, ["b"])]),
    "by enum": (dict[str, Color], {"a": Color.RED}),
    "naive": (dt.datetime, dt.datetime(2024, 1, 1, 12, 0, 0, 123456)),
    "utc": (dt.datetime, dt.datetime(2024, 1, 1, tzinfo=dt.UTC)),
    "offset": (dt.datetime, dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=45)))),
    "zoned": (dt.datetime, ZONED),
    "date": (dt.date, dt.date(1, 1, 1)),
    "time": (dt.time, dt.time(23, 59, 59, 999999)),
    "timedelta": (dt.timedelta, dt.timedelta(days=-1, microseconds=1)),
    "decimal": (decimal.Decimal, decimal.Decimal("-0.00E+7")),
    "uuid": (uuid.UUID, uuid.UUID(int=7)),
    "array": (np.ndarray, np.arange(6, dtype="<f4").reshape(2, 3)),
    "embedding": ("embedding", [0.5, 0.25]),
    "tensor": ("tensor", [[1.0, 2.0], [3.0, 4.0]]),
}
OPTIONS: dict[str, dict[str, Any]] = {"literal": {"choices": ["a", "b"]}, "embedding": {"dimensions": 2}, "tensor": {"dimensions": [2, 2]}}


async def furnish(ctx: Context) -> None:
    for name, (declared, value) in EVERYTHING.items():
        await ctx.variables.define(name, declared, value, metadata={"of": name}, **OPTIONS.get(name, {}))

    await ctx.variables.define("bounded", float, 0.5, min=0.0, max=1.0, description="what for", sensitive=True)
    await ctx.variables.define("gone", int, 0)
    for name in ("float", "list", "enum"):
        value = await ctx.variables.get(name)
        await ctx.variables.set(name, value, metadata={"run": 1})
        await ctx.variables.set(name, value)

    await ctx.variables.delete("gone")


SOURCES: dict[str, Callable[[], Any]] = {"local": lambda: "local", "own sync": OwnSync, "own async": OwnAsync}
STORES: dict[str, Callable[[], Bridge]] = {"memory": Bridge, "awaited": lambda: Bridge(store=AwaitedStore())}


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("source", SOURCES)
async def test_i5_every_type_of_variable_is_the_same_on_the_other_side(source: str, store: str) -> None:
    async with Context(backend=SOURCES[source](), bridge=STORES[store]()) as ctx:
        await furnish(ctx)
        before = await ctx.variables.list()
        await ctx.ensure_bridged()
        after = await ctx.variables.list()
        assert [variable.name for variable in after] == [variable.name for variable in before]
        for one, other in zip(after, before, strict=True):
            for fact in ("id", "type", "version", "description", "sensitive", "created_at", "updated_at"):
                assert getattr(one, fact) == getattr(other, fact), (one.name, fact)

            assert same(one.value, other.value), one.name
            assert same(dict(one.constraints), dict(other.constraints)), one.name
            assert same(dict(one.metadata), dict(other.metadata)), one.name

        for name in EVERYTHING:
            assert same(await ctx.variables.get(name), next(variable.value for variable in before if variable.name == name))

        if source == "local":
            assert await ctx.variables.define("next", int, 0) == f"var_next_{len(EVERYTHING) + 3}"


@pytest.mark.parametrize("store", STORES)
async def test_i5_what_the_store_has_is_the_same_too(store: str) -> None:
    bridge = STORES[store]()
    async with Context(session_id="s", bridge=bridge) as ctx:
        await furnish(ctx)
        await ctx.ensure_bridged()
        before = await ctx.variables.list()

    async with Context(session_id="s", bridge=bridge) as ctx:
        for name, (declared, value) in EVERYTHING.items():
            if isinstance(declared, type) and not isinstance(value, np.ndarray):
                await ctx.variables.ensure(Var(name, declared, value))

        await ctx.variables.ensure(Var("records", list[Point], []), Var("by enum", dict[str, Color], {}))
        after = await ctx.variables.list()
        for one, other in zip(after, before, strict=True):
            assert same(one.value, other.value), one.name
            assert (one.id, one.version, one.created_at, one.updated_at) == (other.id, other.version, other.created_at, other.updated_at)


async def test_i5_a_var_that_was_used_before_is_good_after() -> None:
    async with Context(variables=THREE, bridge=Bridge()) as ctx:
        ids = [variable.id for variable in await ctx.variables.list()]
        await ctx.ensure_bridged()
        assert [await ctx.variables.get(key) for key in THREE] == [0, 0.7, ["a"]]
        assert [await ctx.variables.get(key) for key in ids] == [0, 0.7, ["a"]]
        assert await ctx.variables.set(TEMPERATURE, 2.0) == 1
        with pytest.raises(ValueError, match="'temperature'"):
            await ctx.variables.set(TEMPERATURE, 2.1)


# --- what it tells -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", STORES)
async def test_the_backend_info_tells_it_all(store: str) -> None:
    async with Context(variables=THREE, bridge=STORES[store]()) as ctx:
        before = ctx.backend
        assert (before.kind, before.type, before.requires_bridge, before.switching, before.switches) == (
            "local",
            LocalState,
            False,
            False,
            0,
        )
        assert before.last_switch is None and [kind for kind, _ in before.history] == [LocalState]
        await ctx.ensure_bridged()
        after = ctx.backend
        bridged = BridgedState if store == "memory" else AsyncBridgedState
        assert (after.kind, after.type, after.requires_bridge, after.switching, after.switches) == ("bridged", bridged, True, False, 1)
        assert [kind for kind, _ in after.history] == [LocalState, bridged]
        assert all(when.tzinfo is dt.UTC for _, when in after.history)
        report = after.last_switch
        assert isinstance(report, SwitchReport)
        assert report.variables == 3 and report.bytes > 100 and 0 < report.seconds < 5
        assert ctx.status is Status.RUNNING and ctx.statistics().switches == 1


async def test_progress_is_told_and_ends_at_all_of_them() -> None:
    async with Context(bridge=Bridge()) as ctx:
        for number in range(600):
            await ctx.variables.define(f"v{number}", int, number)

        told: list[tuple[int, int | None]] = []
        await ctx.ensure_bridged(on_progress=lambda done, total: told.append((done, total)))
        assert len(told) > 1 and told == sorted(told)
        assert told[-1] == (600, 600)


async def test_progress_that_raises_turns_the_switch_back() -> None:
    def progress(done: int, total: int | None) -> None:
        raise LookupError("no bar")

    async with Context(variables=THREE, bridge=Bridge()) as ctx:
        with pytest.raises(BackendSwitchError, match="no bar") as caught:
            await ctx.ensure_bridged(on_progress=progress)

        assert isinstance(caught.value.__cause__, LookupError)
        await still_whole(ctx)


async def test_an_empty_context_switches() -> None:
    async with Context(bridge=Bridge()) as ctx:
        await ctx.ensure_bridged()
        assert ctx.backend.last_switch is not None and ctx.backend.last_switch.variables == 0
        await ctx.variables.define(COUNT)


async def test_it_is_idempotent_also_for_a_backend_that_needs_a_bridge_from_the_start() -> None:
    async with Context(backend="bridged", bridge=Bridge()) as ctx:
        await ctx.ensure_bridged()
        await ctx.ensure_bridged(timeout=0)
        assert (ctx.backend.switches, len(ctx.backend.history)) == (0, 1)


@pytest.mark.parametrize("store", STORES)
async def test_many_who_ask_at_once_get_one_switch(store: str) -> None:
    async with Context(variables=THREE, bridge=STORES[store]()) as ctx:
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(ctx.ensure_bridged)

        assert ctx.backend.switches == 1


async def test_the_old_backend_is_closed_and_told_to_drop() -> None:
    backend = OwnAsync()
    async with Context(backend=backend, session_id="s", variables=THREE, bridge=Bridge()) as ctx:
        await ctx.ensure_bridged()
        assert backend.closed_with == [True]
        assert ctx.backend.kind == "bridged"
        await ctx.variables.add(COUNT, 1)

    assert backend.closed_with == [True]


# --- I3 ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", STORES)
async def test_i3_what_was_accepted_before_sees_the_old_backend_and_what_came_after_the_new(store: str) -> None:
    backend = OwnAsync()
    seen: list[tuple[int, str]] = []
    async with Context(backend=backend, variables=THREE, bridge=STORES[store]()) as ctx:

        async def write(number: int) -> None:
            def note(n: int) -> int:
                seen.append((number, ctx.backend.kind))
                return n + 1

            await ctx.variables.update(COUNT, note)

        async with anyio.create_task_group() as group:
            for number in range(20):
                if number == 10:
                    group.start_soon(ctx.ensure_bridged)
                    await accepted(ctx)

                group.start_soon(write, number)
                await accepted(ctx)

        assert seen == [(number, "custom" if number < 10 else "bridged") for number in range(20)]
        assert await ctx.variables.get(COUNT) == 20


async def accepted(ctx: Context) -> None:
    """Waits until one more request was accepted."""
    before = taken_in(ctx)
    while taken_in(ctx) == before:
        await checkpoint()


def taken_in(ctx: Context) -> int:
    return ctx.statistics().queued + sum(request.state == QUEUED for request in ctx.variables.mailbox.ledger)


async def test_i3_operations_wait_while_it_switches_and_none_is_lost() -> None:
    async with Context(variables=THREE, bridge=Bridge(store=AwaitedStore())) as ctx:
        states: set[Status] = set()

        async def use() -> None:
            for _ in range(50):
                states.add(ctx.status)
                await ctx.variables.add(COUNT, 1)

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(use)

            await checkpoint()
            group.start_soon(ctx.ensure_bridged)

        assert await ctx.variables.get(COUNT) == 200
        assert (await ctx.variables.info(COUNT)).version == 200
        assert states <= {Status.RUNNING, Status.SWITCHING}


# --- I4: every step fails in every way -----------------------------------------------------------------------------------------


async def still_whole(ctx: Context) -> None:
    """The old backend serves, everything is there, and a later switch works."""
    assert ctx.status is Status.RUNNING
    assert (ctx.backend.kind, ctx.backend.switches, ctx.backend.last_switch, ctx.backend.switching) == ("local", 0, None, False)
    assert len(ctx.backend.history) == 1
    assert await ctx.variables.get_many(THREE) == {"count": 0, "temperature": 0.7, "notes": ["a"]}
    assert await ctx.variables.add(COUNT, 1) == 1
    await ctx.variables.set(COUNT, 0)
    with anyio.fail_after(5):
        await ctx.ensure_bridged()

    assert (ctx.backend.kind, ctx.backend.switches) == ("bridged", 1)
    assert await ctx.variables.get_many(THREE) == {"count": 0, "temperature": 0.7, "notes": ["a"]}
    assert (await ctx.variables.info(COUNT)).version == 2
    assert await ctx.variables.append(NOTES, "b") == 1


BEFORE_COMMIT = [
    ("store.open", "open"),
    ("store.stage", "open"),
    ("staging.put", "stage"),
    ("staging.scan", "verify"),
    ("staging.commit", "commit"),
]


@pytest.mark.parametrize("kind", [Kind.BEFORE, Kind.AFTER])
@pytest.mark.parametrize(("point", "step"), BEFORE_COMMIT)
@pytest.mark.parametrize("store", [FlakyStore, FarStore])
async def test_i4_a_store_that_fails_at_any_step_leaves_the_old_backend_whole(store: Any, point: str, step: str, kind: Kind) -> None:
    async with Context(variables=THREE, bridge=Bridge(store=store(Failpoints(Fault(point, kind))))) as ctx:
        with pytest.raises(BackendSwitchError, match="It goes on with the old backend") as caught:
            await ctx.ensure_bridged()

        assert caught.value.step == step
        assert isinstance(caught.value.__cause__, Injected)
        await still_whole(ctx)


@pytest.mark.parametrize("store", [FlakyStore, FarStore])
async def test_i4_a_store_that_gives_back_something_else_is_found_out(store: Any) -> None:
    async with Context(variables=THREE, bridge=Bridge(store=store(Failpoints(Fault("staging.scan", Kind.WRONG))))) as ctx:
        with pytest.raises(BackendSwitchError, match="what the store gives back differs") as caught:
            await ctx.ensure_bridged()

        assert caught.value.step == "verify"
        await still_whole(ctx)


@pytest.mark.parametrize("clean_up", ["staging.abort", "store.drop"])
@pytest.mark.parametrize("kind", [Kind.BEFORE, Kind.AFTER])
@pytest.mark.parametrize("store", [FlakyStore, FarStore])
async def test_i4_a_roll_back_that_fails_too_is_reported_and_the_first_error_is_told(
    store: Any, clean_up: str, kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    points = Failpoints(Fault("staging.put", Kind.BEFORE), Fault(clean_up, kind))
    async with Context(variables=THREE, bridge=Bridge(store=store(points))) as ctx:
        with pytest.raises(BackendSwitchError) as caught:
            await ctx.ensure_bridged()

        assert caught.value.step == "stage"
        assert any("'roll back'" in record.getMessage() for record in caplog.records)
        caplog.clear()
        await still_whole(ctx)


@pytest.mark.parametrize("store", STORES)
async def test_i4_a_clean_up_of_the_old_that_fails_is_reported_and_the_switch_stands(store: str, caplog: pytest.LogCaptureFixture) -> None:
    class Sticky(OwnSync):
        def close(self, *, drop: bool = False) -> None:
            raise OSError("still in use")

    async with Context(backend=Sticky(), variables=THREE, bridge=STORES[store]()) as ctx:
        await ctx.ensure_bridged()
        assert (ctx.backend.kind, ctx.backend.switches) == ("bridged", 1)
        assert await ctx.variables.add(COUNT, 1) == 1

    assert any("'clean up'" in record.getMessage() and "still in use" in record.getMessage() for record in caplog.records)


async def test_i4_an_export_that_fails_part_way_leaves_the_old_backend_whole() -> None:
    points = Failpoints(Fault("backend.scan", Kind.BEFORE, 2))
    async with Context(backend=Far(points), variables=THREE, bridge=Bridge()) as ctx:
        with pytest.raises(BackendSwitchError) as caught:
            await ctx.ensure_bridged()

        assert isinstance(caught.value.__cause__, Injected)
        assert ctx.backend.kind == "custom"
        assert await ctx.variables.add(COUNT, 1) == 1
        await ctx.ensure_bridged()
        assert await ctx.variables.get(COUNT) == 1


@pytest.mark.parametrize("store", STORES)
async def test_i4_what_a_failed_attempt_left_is_nothing(store: str) -> None:
    bridge = STORES[store]()
    kept: Any = bridge.store if store == "memory" else bridge.store.inner  # type: ignore[attr-defined]
    async with Context(session_id="s", bridge=bridge, variables=THREE) as ctx:
        with pytest.raises(BackendSwitchError):
            await ctx.ensure_bridged(on_progress=lambda done, total: 1 // 0)

        assert not kept._sessions

    assert not kept._sessions


# --- what can't cross ----------------------------------------------------------------------------------------------------------


class Whimsical:
    """A value that has no form outside this process."""


@attrs.define
class Holder:
    held: object


@pytest.mark.parametrize("source", ["local", "own sync", "own async"])
async def test_every_variable_that_cannot_cross_is_named_with_why(source: str) -> None:
    async with Context(backend=SOURCES[source](), variables=THREE, bridge=Bridge()) as ctx:
        await ctx.variables.define("first", Holder, Holder(Whimsical()))
        await ctx.variables.define("fine", Holder, Holder({"a": 1}))
        await ctx.variables.define("second", Holder, Holder([1, lambda: None]))
        with pytest.raises(NotBridgeable) as caught:
            await ctx.ensure_bridged()

        assert set(caught.value.variables) == {"first", "second"}
        assert "Whimsical" in caught.value.variables["first"] and "function" in caught.value.variables["second"]
        assert isinstance(caught.value, BackendSwitchError) and isinstance(caught.value, TypeError)
        assert (ctx.backend.kind, ctx.status) == ("local" if source == "local" else "custom", Status.RUNNING)
        await ctx.variables.delete("first")
        await ctx.variables.set("second", Holder(None))
        await ctx.ensure_bridged()
        assert await ctx.variables.get("fine") == Holder({"a": 1})


# --- I7: cancellation and time -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", [FlakyStore, FarStore])
@pytest.mark.parametrize("point", ["store.open", "store.stage", "staging.put", "staging.scan"])
def test_i7_a_timeout_before_the_commit_turns_it_back(store: Any, point: str, run_virtually: Any) -> None:
    async def main() -> None:
        points = Failpoints(Fault(point, Kind.SLOW))
        async with Context(variables=THREE, bridge=Bridge(store=store(points))) as ctx:
            began = anyio.current_time()
            with pytest.raises(CallTimeout) as caught:
                await ctx.ensure_bridged(timeout=7.0)

            assert anyio.current_time() - began == pytest.approx(7.0, abs=0.1)
            assert caught.value.applied is False
            assert caught.value.seconds == pytest.approx(7.0, abs=0.1)
            await still_whole(ctx)

    run_virtually(main)


def test_i7_a_timeout_also_counts_while_the_owner_is_busy(run_virtually: Any) -> None:
    class Slow(OwnAsync):
        async def set(self, key: Any, value: Any, metadata: Any = None, expected_version: int | None = None) -> int:
            await anyio.sleep(60)
            return await super().set(key, value, metadata, expected_version)

    async def main() -> None:
        async with Context(backend=Slow, variables=THREE, bridge=Bridge()) as ctx, anyio.create_task_group() as group:
            group.start_soon(ctx.variables.set, COUNT, 1)
            while not ctx.statistics().pending:
                await checkpoint()

            began = anyio.current_time()
            with pytest.raises(CallTimeout) as caught:
                await ctx.ensure_bridged(timeout=2.0)

            assert anyio.current_time() - began == pytest.approx(2.0, abs=0.2)
            assert caught.value.applied is False
            assert await ctx.variables.get(COUNT) == 1
            assert ctx.backend.switches == 0

    run_virtually(main)


@pytest.mark.parametrize("store", [FlakyStore, FarStore])
@pytest.mark.parametrize("timeout", [0, 0.0])
async def test_i7_no_time_at_all_is_a_timeout_that_changes_nothing(store: Any, timeout: float) -> None:
    async with Context(variables=THREE, bridge=Bridge(store=store(Failpoints()))) as ctx:
        with pytest.raises(CallTimeout):
            await ctx.ensure_bridged(timeout=timeout)

        await still_whole(ctx)


@pytest.mark.parametrize("timeout", [-1, math.nan, "soon"])
async def test_a_timeout_that_is_none_is_refused(timeout: Any) -> None:
    async with Context(variables=THREE, bridge=Bridge()) as ctx:
        with pytest.raises((ValueError, TypeError)):
            await ctx.ensure_bridged(timeout=timeout)

        await still_whole(ctx)


@pytest.mark.parametrize("store", [FlakyStore, FarStore])
def test_i7_the_deadline_of_the_callers_own_scope_counts_as_well(store: Any, run_virtually: Any) -> None:
    async def main() -> None:
        async with Context(variables=THREE, bridge=Bridge(store=store(Failpoints(Fault("staging.put", Kind.SLOW))))) as ctx:
            with anyio.move_on_after(3.0) as scope:
                await ctx.ensure_bridged()

            assert scope.cancelled_caught
            assert anyio.current_time() < 5.0
            await still_whole(ctx)

    run_virtually(main)


def test_i7_a_commit_under_way_at_the_timeout_stands(run_virtually: Any) -> None:
    async def main() -> None:
        points = Failpoints(Fault("staging.commit", Kind.SLOW))
        from sim import failpoints

        assert failpoints.SLOW > 5.0
        async with Context(variables=THREE, bridge=Bridge(store=FarStore(points))) as ctx:
            try:
                await ctx.ensure_bridged(timeout=1.0)
            except BackendSwitchError as error:
                assert error.step == "commit"  # slower than it is given: turned back, whole
                await still_whole(ctx)
            else:
                assert ctx.backend.switches == 1

    run_virtually(main)


async def test_i7_of_many_who_ask_one_that_leaves_takes_nobody_with_it() -> None:
    for leave in range(3):
        async with Context(variables=THREE, bridge=Bridge(store=AwaitedStore())) as ctx:
            scopes = [anyio.CancelScope() for _ in range(3)]

            async def ask(scope: anyio.CancelScope) -> None:
                with scope:
                    await ctx.ensure_bridged()

            async with anyio.create_task_group() as group:
                for scope in scopes:
                    group.start_soon(ask, scope)

                for _ in range(4):
                    await checkpoint()

                scopes[leave].cancel()

            assert (ctx.backend.kind, ctx.backend.switches) == ("bridged", 1)


# --- beside other things -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", STORES)
async def test_a_stop_during_the_switch_ends_everything(store: str) -> None:
    for wait in range(12):
        bridge = STORES[store]()
        ended: list[str] = []

        async def switch(ctx: Context, ended: list[str] = ended) -> None:
            try:
                await ctx.ensure_bridged()
                ended.append("switched")
            except Exception as error:
                ended.append(type(error).__name__)

        async with anyio.create_task_group() as group, Context(variables=THREE, bridge=bridge) as ctx:
            group.start_soon(switch, ctx)
            for _ in range(wait):
                await checkpoint()

            with anyio.fail_after(5):
                await ctx.stop()

        assert len(ended) == 1
        assert ctx.status is Status.CLOSED
        kept: Any = bridge.store if store == "memory" else bridge.store.inner  # type: ignore[attr-defined]
        assert not kept._sessions, wait


async def test_a_private_bridge_that_a_failed_switch_opened_is_closed_again() -> None:
    async with Context(variables=THREE) as ctx:
        await ctx.variables.define("odd", Holder, Holder(Whimsical()))
        for _ in range(2):
            with pytest.raises(NotBridgeable):
                await ctx.ensure_bridged()

        assert ctx.backend.kind == "local"


async def test_a_private_bridge_closes_with_its_context() -> None:
    async with Context(variables=THREE) as ctx:
        await ctx.ensure_bridged()
        assert await ctx.variables.add(COUNT, 2) == 2
        assert isinstance((await ctx._inside.open_bridge()).store, MemoryStore)
