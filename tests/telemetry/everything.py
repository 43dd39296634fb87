"""A run in which everything happens that is told of."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import anyio
import pytest
from context.homes import OwnAsync
from opentelemetry.sdk.metrics.export import Metric
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sim.failpoints import Failpoints, Fault, Kind
from sim.far import FlakyStore
from telemetry import traced_programs
from telemetry.readings import Reader

from dspex import (
    BackendSwitchError,
    Backoff,
    Bridge,
    ChildSpec,
    Context,
    InvalidValue,
    ProgramFailed,
    Supervisor,
    Var,
    VariableNotFound,
    WorkerDied,
    isolated,
    monitor,
    telemetry,
)
from dspex.programs import Prediction
from dspex.telemetry import ChildChanged, Record

COUNT = Var("count", int, 0)
SECRET = Var("secret", str, "hunter2", sensitive=True, max_length=12)
BOUND = 0.03
MANY_SPANS = 400
USAGE = {"test/model": {"prompt_tokens": 12, "completion_tokens": 3}}


class Listening:
    """What is told while it listens: records, spans, log lines, and metrics when it is asked."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = Reader()
        self.metrics: defaultdict[str, list[Metric]] = defaultdict(list)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def collect(self) -> None:
        """A reader reads."""
        for name, metric in self.reader.collect().items():
            self.metrics[name].append(metric)


@contextmanager
def listen() -> Iterator[Listening]:
    found = Listening()
    with ExitStack() as stack:
        stack.enter_context(telemetry.subscribe(found.records.append))
        instrumented = telemetry.instrument(tracer_provider=found.tracers, meter_provider=found.reader.provider, operations_per_call=2)
        stack.enter_context(instrumented)
        yield found

    found.tracers.shutdown()
    found.reader.provider.shutdown()


def predict(question: str) -> Prediction:
    """What a DSPy program gives, without DSPy."""
    return Prediction({"answer": question}, usage=USAGE)


class Fuse:
    """A child that crashes when it is told to."""

    def __init__(self) -> None:
        self.blow = anyio.Event()

    async def burn(self) -> None:
        self.blow = anyio.Event()
        await self.blow.wait()
        raise ValueError("blown")


class Slow(OwnAsync):
    """A backend that takes its time with one variable."""

    async def get(self, key: Any) -> Any:
        await anyio.sleep(4 * BOUND)
        return await super().get(key)


async def happen(listening: Listening) -> None:
    """Everything."""
    fuse = Fuse()
    children = [
        Bridge.child_spec("bridge"),
        Context.child_spec("shop", bridge="bridge", variables=[COUNT, SECRET]),
        ChildSpec("fuse", fuse.burn, backoff=Backoff(initial=0.001)),
    ]
    with monitor.Watchdog(owner=BOUND, loop=BOUND):
        async with Supervisor(children, name="app", max_restarts=100) as app:
            ctx: Context = app.which_child("shop").value
            await operate(ctx, listening)
            await fail_to_switch()
            await call_programs(ctx)
            await restart(fuse)
            await be_slow(listening)
            # The replacement of the worker that died is up.
            await ctx.call("add up", {"n": 1})

    listening.collect()


async def restart(fuse: Fuse) -> None:
    running = anyio.Event()

    def look(record: ChildChanged) -> None:
        if (record.path, record.state) == ("app/fuse", "running"):
            running.set()

    with telemetry.subscribe(look, only=ChildChanged), anyio.fail_after(10):
        fuse.blow.set()
        await running.wait()


async def operate(ctx: Context, listening: Listening) -> None:
    listening.collect()
    await ctx.variables.set(SECRET, "swordfish")
    with pytest.raises(InvalidValue):
        await ctx.variables.set(SECRET, "swordfish" * 10)

    with pytest.raises(VariableNotFound):
        await ctx.variables.get("nothing")


async def fail_to_switch() -> None:
    store = FlakyStore(Failpoints(Fault("staging.put", Kind.BEFORE)))
    async with Context(variables=[COUNT], bridge=Bridge(store=store)) as ctx:
        with pytest.raises(BackendSwitchError):
            await ctx.ensure_bridged()


async def call_programs(ctx: Context) -> None:
    predicting = await ctx.register_program("predict", predict)
    assert (await predicting(question="?")).answer == "?"
    adding = await ctx.register_program("add up", isolated(traced_programs.add_up))
    assert await adding(n=5) == 5
    await (await ctx.register_program("make spans", isolated(traced_programs.make_spans)))(n=MANY_SPANS)
    with pytest.raises(ProgramFailed):
        await (await ctx.register_program("fail", isolated(traced_programs.fail)))()

    with pytest.raises(WorkerDied):
        await (await ctx.register_program("die", isolated(traced_programs.die)))()


async def be_slow(listening: Listening) -> None:
    """An owner that is stuck, and a loop that is held."""
    async with Context(variables=[COUNT], backend=Slow) as ctx:
        listening.collect()
        await ctx.variables.get(COUNT)

    time.sleep(4 * BOUND)  # noqa: ASYNC251 - that is what is told of


def facts_of(entry: logging.LogRecord) -> set[str]:
    """The names of what a log line carries on top of what every one has."""
    return set(vars(entry)) - set(vars(logging.makeLogRecord({}))) - {"message", "asctime"}
