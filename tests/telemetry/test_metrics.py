"""What a reader of metrics is told, and that nothing is measured for nobody."""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from context.homes import OwnAsync
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from sim.failpoints import Failpoints, Fault, Injected, Kind
from sim.far import FlakyStore
from telemetry.readings import Reader, attributes, metrics_of, read

from dspex import (
    BackendSwitchError,
    Backoff,
    Bridge,
    ChildSpec,
    Context,
    DspexError,
    Pool,
    ProgramFailed,
    Supervisor,
    Var,
    VariableNotFound,
    telemetry,
)
from dspex.telemetry import ChildChanged, ProgramCalled, WorkerEnded, WorkerStarted
from dspex.telemetry._hooks import CHANNELS, PROGRAM_CALLED, WORKER_ENDED
from dspex.telemetry._live import CONTEXTS
from dspex.telemetry._otel._names import ERROR_TYPE, METRICS, MOST_VALUES, OTHER, PROGRAM, error_type
from dspex.telemetry._otel._reading import AT_ONCE
from dspex.telemetry._otel._sampling import MOST_CONTEXTS, MOST_OPERATIONS
from dspex.testing import kill

COUNT = Var("count", int, 0)
SECRET = Var("secret", str, "hunter2", sensitive=True)
LONG = 10.0


@pytest.fixture
def reader() -> Iterator[Reader]:
    with read() as reader:
        yield reader


def timed(ctx: Context) -> bool:
    """Whether anything measures this context's operations."""
    return bool(ctx.variables.sinks)  # type: ignore[attr-defined]


# --- operations --------------------------------------------------------------------------------------------------------------------


async def test_operations_are_counted_by_the_way_they_went(reader: Reader) -> None:
    before = reader.points("dspex.operations")
    async with Context(variables=[COUNT]) as ctx:
        for _ in range(7):
            await ctx.variables.get(COUNT)

        defined_and_read = reader.point("dspex.operations", dspex_route="direct") - before[attributes(dspex_route="direct")]
        assert defined_and_read == 1 + 7

    async with Context(variables=[COUNT], backend=OwnAsync) as ctx:
        for _ in range(5):
            await ctx.variables.get(COUNT)

        queued = reader.point("dspex.operations", dspex_route="queued") - before[attributes(dspex_route="queued")]
        assert queued == ctx.statistics().queued >= 5


async def test_the_count_of_operations_never_goes_down_when_contexts_end(reader: Reader) -> None:
    seen = [sum(reader.points("dspex.operations").values())]
    for _ in range(3):
        async with Context(variables=[COUNT]) as ctx, Context(variables=[COUNT], backend=OwnAsync) as other:
            await ctx.variables.set(COUNT, 1)
            await other.variables.set(COUNT, 1)
            seen.append(sum(reader.points("dspex.operations").values()))

        seen.append(sum(reader.points("dspex.operations").values()))

    assert seen == sorted(seen)
    assert seen[-1] - seen[0] >= 12


async def test_operations_from_before_there_was_a_reader_are_counted_too() -> None:
    async with Context(variables=[COUNT]) as ctx:
        for _ in range(10):
            await ctx.variables.get(COUNT)

        with read() as reader:
            assert reader.point("dspex.operations", dspex_route="direct") >= 11


# --- durations: of a sample, and only while somebody reads -------------------------------------------------------------------------


async def test_nothing_is_timed_before_somebody_reads(reader: Reader) -> None:
    async with Context(variables=[COUNT]) as ctx:
        for _ in range(10):
            await ctx.variables.get(COUNT)

        assert not timed(ctx)
        assert "dspex.operation.duration" not in reader.collect()


async def test_after_a_collection_the_next_operations_are_timed_and_then_no_more(reader: Reader) -> None:
    async with Context(variables=[COUNT]) as ctx:
        reader.collect()
        assert timed(ctx)
        for _ in range(MOST_OPERATIONS - 1):
            await ctx.variables.get(COUNT)

        assert timed(ctx)
        await ctx.variables.set(COUNT, 1)
        assert not timed(ctx)
        for _ in range(100):
            await ctx.variables.get(COUNT)

        about: dict[str, Any] = {"dspex_route": "direct", "dspex_backend": "local"}
        assert reader.points("dspex.operation.duration") == {
            attributes(dspex_operation_name="get", **about): MOST_OPERATIONS - 1,
            attributes(dspex_operation_name="set", **about): 1,
        }
        assert timed(ctx), "that was another collection"


async def test_durations_are_seconds_in_buckets_that_tell_microseconds_apart(reader: Reader) -> None:
    async with Context(variables=[COUNT]) as ctx:
        reader.collect()
        began = time.perf_counter()
        await ctx.variables.get(COUNT)
        elapsed = time.perf_counter() - began
        metric = reader.collect()["dspex.operation.duration"]

    (point,) = metric.data.data_points
    assert metric.unit == "s"
    assert 0 < point.sum <= elapsed
    assert point.explicit_bounds[0] == 1e-6
    assert point.explicit_bounds[-1] == 10.0


async def test_an_operation_that_is_refused_says_the_class_of_the_error(reader: Reader) -> None:
    async with Context() as ctx:
        reader.collect()
        with pytest.raises(VariableNotFound):
            await ctx.variables.get("nothing")

        (about,) = reader.points("dspex.operation.duration")
        assert (ERROR_TYPE, "dspex.VariableNotFound") in about


async def test_what_was_queued_says_how_long_it_waited(reader: Reader) -> None:
    async with Context(variables=[COUNT], backend=OwnAsync) as ctx:
        reader.collect()
        await ctx.variables.get(COUNT)
        assert reader.points("dspex.mailbox.wait") == {attributes(dspex_operation_name="get", dspex_backend="custom"): 1}
        about = attributes(dspex_operation_name="get", dspex_backend="custom", dspex_route="queued")
        assert reader.points("dspex.operation.duration") == {about: 1}


async def test_of_many_contexts_some_are_timed_the_busy_ones_among_them(reader: Reader) -> None:
    async with anyio.create_task_group() as group, anyio.create_task_group():
        contexts = [await Context.start(variables=[COUNT]) for _ in range(4 * MOST_CONTEXTS)]
        reader.collect()
        chosen = [ctx for ctx in contexts if timed(ctx)]
        assert len(chosen) == MOST_CONTEXTS
        busy = chosen[: MOST_CONTEXTS // 4]
        for ctx in busy:
            await ctx.variables.get(COUNT)

        reader.collect()
        assert sum(timed(ctx) for ctx in contexts) == MOST_CONTEXTS
        assert all(timed(ctx) for ctx in busy)
        for ctx in contexts:
            group.start_soon(ctx.stop)


async def test_a_context_that_has_ended_is_not_kept_by_what_timed_it(reader: Reader) -> None:
    async with Context(variables=[COUNT]) as ctx:
        reader.collect()
        timing = weakref.ref(ctx.variables.sinks[0])  # type: ignore[attr-defined]

    del ctx
    await anyio.lowlevel.checkpoint()
    gc.collect()
    assert timing() is None


# --- gauges of what lives now ------------------------------------------------------------------------------------------------------


async def test_contexts_are_counted_by_what_serves_them(reader: Reader) -> None:
    def told() -> dict[Any, int]:
        return {dict(about)["dspex.backend"]: count for about, count in reader.points("dspex.contexts").items()}

    before = told()
    async with Context(), Context() as moving, Context(backend=OwnAsync):
        await moving.ensure_bridged()
        now = told()

    assert {kind: now[kind] - before[kind] for kind in now} == {"local": 1, "bridged": 1, "custom": 1}
    assert told() == before


class Held(OwnAsync):
    """A backend that takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = anyio.Event()

    async def get(self, key: Any) -> Any:
        await self.gate.wait()
        return await super().get(key)


async def test_requests_in_mailboxes_are_counted_with_those_that_wait_for_room(reader: Reader) -> None:
    before = reader.point("dspex.mailbox.depth")
    async with Context(variables=[COUNT], backend=(backend := Held()), mailbox_size=3) as ctx:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(ctx.variables.get, COUNT)

            await anyio.wait_all_tasks_blocked()
            assert reader.point("dspex.mailbox.depth") - before == 5
            backend.gate.set()

        assert reader.point("dspex.mailbox.depth") == before


# --- what is recorded as it happens ------------------------------------------------------------------------------------------------


async def test_a_switch_is_counted_and_timed(reader: Reader) -> None:
    async with Context(variables=[COUNT]) as ctx:
        await ctx.ensure_bridged()
        found = reader.collect()
        assert ctx.backend.last_switch is not None
        (counted,), (timing,) = found["dspex.switches"].data.data_points, found["dspex.switch.duration"].data.data_points
        assert dict(counted.attributes or {}) == dict(timing.attributes or {}) == {"dspex.switch.outcome": "switched"}
        assert (counted.value, timing.count) == (1, 1)
        assert timing.sum == pytest.approx(ctx.backend.last_switch.seconds, rel=0.5)


async def test_a_switch_that_was_rolled_back_is_counted_with_its_cause(reader: Reader) -> None:
    store = FlakyStore(Failpoints(Fault("staging.put", Kind.BEFORE)))
    async with Context(variables=[COUNT], bridge=Bridge(store=store)) as ctx:
        with pytest.raises(BackendSwitchError) as raised:
            await ctx.ensure_bridged()

        assert isinstance(raised.value.__cause__, Injected)
        about = attributes(dspex_switch_outcome="rolled back", error_type=error_type(raised.value.__cause__))
        assert reader.points("dspex.switches") == {about: 1}
        assert reader.points("dspex.switch.duration") == {about: 1}


def call(program_id: str = "summarize", **facts: Any) -> ProgramCalled:
    given: dict[str, Any] = {"where": "worker", "pool": "default", "worker_pid": 1, "queued": 0.25, "seconds": 2.0, "outcome": "returned"}
    return ProgramCalled(context_id="ctx_1_abc", program_id=program_id, **{**given, **facts})


def test_a_call_is_timed_from_its_place_on_and_before(reader: Reader) -> None:
    failed = ProgramFailed("summarize", type="builtins.ValueError", message="no")
    PROGRAM_CALLED.tell(call())
    PROGRAM_CALLED.tell(call(outcome="failed", error=failed))
    about = {"dspex_program_id": "summarize", "dspex_program_where": "worker"}
    returned = attributes(**about, dspex_program_outcome="returned")
    raised = attributes(**about, dspex_program_outcome="failed", error_type="ValueError")
    assert reader.points("dspex.program.duration") == reader.points("dspex.program.queue.duration") == {returned: 1, raised: 1}
    sums = {
        name: {point.sum for point in reader.collect()[name].data.data_points}
        for name in ("dspex.program.duration", "dspex.program.queue.duration")
    }
    assert sums == {"dspex.program.duration": {2.0}, "dspex.program.queue.duration": {0.25}}


def test_ids_that_users_choose_are_told_apart_up_to_a_hundred(reader: Reader) -> None:
    for number in range(MOST_VALUES + 50):
        PROGRAM_CALLED.tell(call(f"program-{number}"))

    PROGRAM_CALLED.tell(call("program-0"))
    told = {dict(about)[PROGRAM]: count for about, count in reader.points("dspex.program.duration").items()}
    assert len(told) == MOST_VALUES + 1
    assert (told[OTHER], told["program-0"]) == (50, 2)


def test_a_worker_that_ended_is_counted_by_its_ending(reader: Reader) -> None:
    facts: dict[str, Any] = {"bridge": "b", "pid": 7, "exit_code": None, "signal": "SIGKILL", "last_words": "", "seconds": 1.0, "served": 0}
    for number in range(MOST_VALUES + 2):
        WORKER_ENDED.tell(WorkerEnded(pool=f"pool-{number}", ending="died", **facts))

    told = reader.points("dspex.worker.endings")
    assert told[attributes(dspex_worker_ending="died", dspex_pool_name="pool-0")] == 1
    assert told[attributes(dspex_worker_ending="died", dspex_pool_name=OTHER)] == 2


async def test_workers_are_counted_by_pool_and_state_and_those_that_died_by_their_ending(reader: Reader) -> None:
    started = Latch()
    died = reader.point("dspex.restarts", dspex_restart_of="worker")

    def ready() -> int:
        return int(reader.point("dspex.workers", dspex_pool_name="busy", dspex_worker_state="ready"))

    with telemetry.subscribe(lambda record: record.pool == "busy" and started.count(), only=WorkerStarted):
        async with Bridge(pools={"busy": Pool(workers=2)}) as bridge:
            await started.reaches(2)
            assert ready() == 2
            assert kill(bridge, pool="busy") is not None
            await started.reaches(3)
            assert ready() == 2
            assert reader.points("dspex.worker.endings") == {attributes(dspex_worker_ending="died", dspex_pool_name="busy"): 1}
            assert reader.point("dspex.restarts", dspex_restart_of="worker") - died == 1

    assert ready() == 0


class Latch:
    """Counts what is told, and lets those through who wait for so many."""

    def __init__(self) -> None:
        self._told = 0
        self._news = anyio.Event()

    def count(self, _: Any = None) -> None:
        self._told += 1
        self._news.set()

    async def reaches(self, number: int) -> None:
        with anyio.fail_after(LONG):
            while self._told < number:
                self._news = anyio.Event()
                await self._news.wait()


async def test_restarts_of_children_are_counted(reader: Reader) -> None:
    before = reader.point("dspex.restarts", dspex_restart_of="child")
    running, starts = Latch(), 0

    async def child(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        nonlocal starts
        starts += 1
        task_status.started()
        if starts < 3:
            raise ValueError

        await anyio.sleep_forever()

    with telemetry.subscribe(lambda record: record.state == "running" and running.count(), only=ChildChanged):
        async with Supervisor([ChildSpec("child", child, backoff=Backoff(initial=0.001))], name="app"):
            await running.reaches(3)
            assert reader.point("dspex.restarts", dspex_restart_of="child") - before == 2


class OfAUser(Exception): ...


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError(), "TimeoutError"),
        (VariableNotFound("x"), "dspex.VariableNotFound"),
        (DspexError("x"), "dspex.DspexError"),
        (OfAUser(), f"{OfAUser.__module__}.OfAUser"),
        (ProgramFailed("p", type="builtins.KeyError", message=""), "KeyError"),
        (ProgramFailed("p", type="app.errors.NoRoom", message=""), "app.errors.NoRoom"),
        (ProgramFailed("p", type="dspex._exceptions.VariableNotFound", message=""), "dspex.VariableNotFound"),
    ],
)
def test_the_type_of_an_error_is_its_class_as_it_is_imported(error: BaseException, said: str) -> None:
    assert error_type(error) == said


# --- attributes are few, and nobody's ----------------------------------------------------------------------------------------------


async def test_no_metric_tells_ids_of_contexts_or_values(reader: Reader) -> None:
    async with Context(name="shop", variables=[COUNT, SECRET], session_id="customer-17") as ctx, Context(backend=OwnAsync) as other:
        for _ in range(2):
            reader.collect()
            await ctx.variables.set(SECRET, "swordfish")
            with pytest.raises(VariableNotFound):
                await other.variables.get("customer-17")

        await ctx.ensure_bridged()
        everything = repr(reader.reader.get_metrics_data())

    for kept in ("shop", "customer-17", other.id, "hunter2", "swordfish", "secret"):
        assert kept not in everything


# --- the end, and again ------------------------------------------------------------------------------------------------------------


async def test_afterwards_nothing_is_left_behind() -> None:
    reader = Reader()
    async with Context(variables=[COUNT]) as ctx:
        instrumentation = telemetry.instrument(meter_provider=reader.provider)
        reader.collect()
        assert timed(ctx)
        instrumentation.uninstrument()
        instrumentation.uninstrument()
        assert not timed(ctx)
        assert [name for name, channel in CHANNELS.items() if channel.heard] == []
        await ctx.variables.get(COUNT)
        await ctx.ensure_bridged()
        assert reader.collect() == {}
        assert not timed(ctx), "nobody is there whom a collection could tell"

    reader.provider.shutdown()


async def test_again_with_the_same_provider_and_with_another() -> None:
    first, second = Reader(), Reader()
    for reader in (first, second, first):
        with telemetry.instrument(meter_provider=reader.provider):
            for each in (first, second):
                assert set(each.points("dspex.contexts")) == (
                    {attributes(dspex_backend=kind) for kind in ("local", "bridged", "custom")} if each is reader else set()
                )

            before = reader.point(
                "dspex.program.duration", dspex_program_id="p", dspex_program_where="worker", dspex_program_outcome="returned"
            )
            PROGRAM_CALLED.tell(call("p"))
            after = reader.point(
                "dspex.program.duration", dspex_program_id="p", dspex_program_where="worker", dspex_program_outcome="returned"
            )
            assert after - before == 1

    for reader in (first, second):
        reader.provider.shutdown()


def test_a_provider_that_nobody_keeps_is_not_kept_here() -> None:
    reader = Reader()
    telemetry.instrument(meter_provider=reader.provider).uninstrument()
    provider = weakref.ref(reader.provider)
    reader.provider.shutdown()
    del reader
    gc.collect()
    assert provider() is None


@pytest.mark.parametrize("provider_set", ["before", "after", "between"])
def test_the_global_provider_may_be_set_before_or_after(provider_set: str) -> None:
    """Once a process, so in one of its own."""
    script = textwrap.dedent("""
        import sys
        from opentelemetry import metrics
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from dspex import telemetry

        reader = InMemoryMetricReader()
        provider = MeterProvider([reader], shutdown_on_exit=False)

        def read():
            data = reader.get_metrics_data()
            metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else ()
            return sorted(m.name for m in metrics)

        when = sys.argv[1]
        if when == "before":
            metrics.set_meter_provider(provider)

        first = telemetry.instrument()
        if when == "after":
            metrics.set_meter_provider(provider)

        if when != "between":
            print(len(read()))

        first.uninstrument()
        if when == "between":
            metrics.set_meter_provider(provider)

        print(len(read()))
        with telemetry.instrument():
            print(len(read()))

        print(len(read()))
        with telemetry.instrument(meter_provider=provider):
            print(len(read()))
    """)
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, provider_set], check=False, capture_output=True, text=True, timeout=30, env=paths
    )
    assert done.stderr == ""
    read_each_time = [int(line) for line in done.stdout.split()]
    assert read_each_time == ([0, 4, 0, 4] if provider_set == "between" else [4, 0, 4, 0, 4])


# --- threads -----------------------------------------------------------------------------------------------------------------------


class Collected(MetricExporter):
    """Keeps what is exported, and says on which thread."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.threads: set[threading.Thread] = set()
        self.durations = threading.Event()

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> MetricExportResult:
        self.names |= {metric.name for metric in metrics_of(metrics_data)}
        self.threads.add(threading.current_thread())
        if "dspex.operation.duration" in self.names:
            self.durations.set()

        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None: ...


async def test_a_reader_in_a_thread_of_its_own_reads_while_the_loop_runs() -> None:
    exporter = Collected()
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=5)], shutdown_on_exit=False)
    with telemetry.instrument(meter_provider=provider), anyio.fail_after(LONG):
        async with Context(variables=[COUNT]) as ctx:
            while not exporter.durations.is_set():
                assert await ctx.variables.add(COUNT, 1) > 0
                await anyio.lowlevel.checkpoint()

            operations = ctx.statistics().operations
            assert await ctx.variables.get(COUNT) == operations - 1

    await anyio.to_thread.run_sync(provider.shutdown)
    assert {"dspex.operations", "dspex.operation.duration", "dspex.contexts"} <= exporter.names
    assert threading.current_thread() not in {*exporter.threads} or len(exporter.threads) > 1


class Stand:
    """What the walk asks of a context: a hundred thousand real ones take a gigabyte."""

    class Entry:
        thread = -1

        class mailbox:
            ledger = waiting = ()

        def observe(self, sink: Any) -> None: ...
        def unobserve(self, sink: Any) -> None: ...

    variables = Entry()
    kind = "local"
    operations = 0

    def counts(self) -> tuple[int, int]:
        return self.operations, 0


def test_with_a_hundred_thousand_contexts_a_collection_lets_other_threads_run_again_and_again(reader: Reader) -> None:
    stands = [Stand() for _ in range(100_000)]
    before = sum(reader.points("dspex.operations").values())
    for stand in stands:
        CONTEXTS.enter(stand)
        stand.operations = 2

    try:
        turns = _turns_while_another_thread_collects(reader)
        assert sum(reader.points("dspex.operations").values()) - before == 200_000
    finally:
        for stand in stands:
            CONTEXTS.leave(stand)

    # If it never paused there would be one every 5 ms, when the interpreter takes it away by itself: a dozen.
    assert turns >= len(stands) / AT_ONCE


def _turns_while_another_thread_collects(reader: Reader) -> int:
    """How often this thread, which always has something to do, was let run by another one that collects."""
    collecting = threading.Thread(target=reader.collect)
    collecting.start()
    turns = 0
    while collecting.is_alive():
        time.sleep(0)
        turns += 1

    return turns


def test_every_metric_has_a_unit_and_says_what_it_is() -> None:
    for metric in METRICS:
        assert metric.unit == "s" or (metric.unit[0], metric.unit[-1]) == ("{", "}")
        assert metric.description and not metric.description.endswith(".")
        assert bool(metric.boundaries) == (metric.kind == "histogram")
        assert list(metric.boundaries) == sorted(set(metric.boundaries)) and math.inf not in metric.boundaries
