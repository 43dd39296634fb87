"""A trace goes from the caller to the worker and back, and out through the one exporter of the host."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from opentelemetry import baggage, context as otel, trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode
from telemetry import span_programs
from telemetry.spans import Exported, exported, ids

from dspex import (
    LM,
    Bridge,
    ChildSpec,
    Context,
    Contexts,
    InvalidInputs,
    Pool,
    Predict,
    ProgramFailed,
    Supervisor,
    Var,
    WorkerDied,
    isolated,
    telemetry,
    whereis,
)
from dspex.programs import Prediction
from dspex.telemetry import SwitchStep
from dspex.telemetry._otel._spans import Spans
from dspex.telemetry._tracing import TRACING

COUNT = Var("count", int, 0)
OLD = Path("~/.pyenv/versions/3.9.18/bin/python").expanduser()
TESTS = Path(__file__).parents[1]
EITHER = pytest.mark.parametrize("suffix", ["", "_async"])
SPANS = "telemetry.span_programs:"
PLAIN = "telemetry.plain_programs:"


@pytest.fixture
def traced() -> Iterator[Exported]:
    with exported() as found:
        yield found


# --- the chain ---------------------------------------------------------------------------------------------------------------------


@EITHER
async def test_a_trace_goes_from_the_host_through_switch_and_worker_to_the_operation_back_in_the_host(traced, suffix, anyio_backend):
    before = time.time_ns()
    async with Context(variables=[COUNT]) as ctx:
        with traced.tracer.start_as_current_span("request"):
            program = await ctx.register_program("work", f"{PLAIN}work{suffix}")
            (_, began, ended, _) = await program()

    after = time.time_ns()
    request, switch, call = traced.one("request"), traced.one("dspex.switch"), traced.one("dspex.call")
    run, operation = traced.one("dspex.run"), traced.one("dspex.operation")
    assert traced.below(request) == ["dspex.switch", "dspex.call"]
    assert traced.below(call) == ["dspex.run"]
    assert traced.below(run) == ["dspex.operation"]
    assert len({span.context.trace_id for span in traced.spans}) == 1
    times = [before, request.start_time, switch.start_time, switch.end_time, call.start_time, run.start_time, began, operation.start_time]
    times += [operation.end_time, ended, run.end_time, call.end_time, request.end_time, after]
    assert times == sorted(times)
    assert [span.kind for span in (switch, call, run, operation)] == [
        SpanKind.INTERNAL,
        SpanKind.CLIENT,
        SpanKind.SERVER,
        SpanKind.INTERNAL,
    ]
    pid = run.attributes["process.pid"]
    assert pid != os.getpid()
    about = {"dspex.context.id": ctx.id, "dspex.program.id": "work", "dspex.pool.name": "default"}
    assert run.attributes == {**about, "process.pid": pid}
    queued = call.attributes["dspex.program.queued"]
    where = {"dspex.program.where": "worker", "dspex.program.outcome": "returned", "dspex.program.queued": queued, "dspex.worker.pid": pid}
    assert call.attributes == {**about, **where}
    assert 0 <= queued < 20
    assert operation.attributes == {"dspex.context.id": ctx.id, "dspex.operation.name": "add", "dspex.variable.name": "count"}


async def test_a_switch_that_a_context_makes_by_itself_belongs_to_no_request(traced, anyio_backend):
    ways = {"bridge": "bridge", "variables": [COUNT], "programs": {"nothing": isolated(span_programs.nothing)}}
    specs = [Bridge.child_spec("bridge", workers=1), Contexts.child_spec("users", **ways), Context.child_spec("lobby", **ways)]
    async with Supervisor(specs) as app:
        with traced.tracer.start_as_current_span("request"):
            async with app.which_child("users").value.open("ada") as ada, Context(bridge=app.which_child("bridge").value) as own:
                await own.ensure_bridged()
                ids = {ada.id: None, whereis("lobby").id: None, own.id: "request"}

    (request,) = traced.named("request")
    above = {"request": request.context.span_id, None: None}
    assert {span.attributes["dspex.context.id"]: span.parent and span.parent.span_id for span in traced.named("dspex.switch")} == {
        id: above[name] for id, name in ids.items()
    }


async def test_a_switch_has_its_steps_as_events_at_their_times(traced, anyio_backend):
    async with Context(variables=[COUNT]) as ctx:
        await ctx.ensure_bridged()
        await ctx.ensure_bridged()  # there is nothing to do any more, and nothing to tell

    span = traced.one("dspex.switch")
    assert span.parent is None
    assert span.attributes == {"dspex.context.id": ctx.id, "dspex.switch.outcome": "switched"}
    assert [event.name.rpartition(".")[2] for event in span.events] == ["open", "stage", "verify", "commit", "clean_up"]
    times = [event.timestamp // 1000 for event in span.events]
    assert times == sorted(times)
    assert span.start_time // 1000 <= times[0] <= times[-1] <= span.end_time // 1000 + 1
    assert all(event.attributes["dspex.switch.step.ok"] is True for event in span.events)
    assert sum(event.attributes["dspex.switch.step.duration"] for event in span.events) <= (span.end_time - span.start_time) / 1e9


def test_a_switch_that_failed_is_an_error_with_the_step_that_did(traced):
    switch = TRACING.tracer.switch("ctx_1")
    steps = [SwitchStep("open", time.time(), 0.1), SwitchStep("stage", time.time(), 0.2, False), SwitchStep("roll back", time.time(), 0.1)]
    switch.ended(steps, OSError("disk full"), switched=False)
    TRACING.tracer.switch("ctx_1").ended((), None, switched=False)
    span = traced.one("dspex.switch")
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "disk full")
    assert span.attributes == {"dspex.context.id": "ctx_1", "dspex.switch.outcome": "rolled back", "error.type": "OSError"}
    assert [event.attributes["dspex.switch.step.ok"] for event in span.events] == [True, False, True]


# --- programs in this process ------------------------------------------------------------------------------------------------------


async def test_a_switch_whose_caller_goes_is_no_error_and_none_that_had_not_begun(traced, anyio_backend):
    async with Context(variables=[COUNT]) as ctx:
        for steps in range(2, 9, 3):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ctx.ensure_bridged)
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()

                tasks.cancel_scope.cancel()

        with anyio.CancelScope() as scope:
            scope.cancel()
            await ctx.ensure_bridged()

    told = traced.named("dspex.switch")
    assert told
    assert [span.status.status_code for span in told] == [StatusCode.UNSET] * len(told)
    assert all(span.events and "error.type" not in span.attributes for span in told)


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_what_a_program_in_this_process_records_is_below_its_call(traced, kind, anyio_backend):
    def work() -> None:
        with traced.tracer.start_as_current_span("work"):
            pass

    async def work_async() -> None:
        work()

    async with Context() as ctx:
        await (await ctx.register_program("work", work if kind == "thread" else work_async))()

    call = traced.one("dspex.call")
    assert traced.below(call) == ["work"]
    assert (call.kind, call.parent) == (SpanKind.INTERNAL, None)
    assert call.attributes["dspex.program.where"] == "host"
    assert trace.get_current_span() is trace.INVALID_SPAN


async def test_a_call_that_failed_is_an_error_with_what_was_raised(traced, anyio_backend):
    async def fail() -> None:
        raise LookupError("not there")

    async with Context() as ctx:
        program = await ctx.register_program("fail", fail)
        with pytest.raises(ProgramFailed):
            await program()

        with pytest.raises(InvalidInputs):
            await program(surplus=1)

    failed, refused = traced.named("dspex.call")
    assert (failed.status.status_code, failed.attributes["error.type"]) == (StatusCode.ERROR, "LookupError")
    assert [(event.name, event.attributes["exception.type"]) for event in failed.events] == [("exception", "LookupError")]
    assert "not there" in failed.events[0].attributes["exception.message"]
    assert (refused.attributes["dspex.program.outcome"], refused.attributes["error.type"]) == ("refused", "dspex.InvalidInputs")
    assert "dspex.program.queued" not in refused.attributes


async def test_a_call_whose_caller_goes_is_no_error_and_one_whose_time_is_up_is(traced, anyio_backend):
    async with Context() as ctx:
        program = await ctx.register_program("wait", anyio.sleep_forever)
        with anyio.move_on_after(0.01):
            await program()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(program)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()

    late, cancelled = traced.named("dspex.call")
    assert (late.status.status_code, late.attributes["error.type"]) == (StatusCode.ERROR, "timeout")
    assert (cancelled.status.status_code, cancelled.attributes["dspex.program.outcome"]) == (StatusCode.UNSET, "cancelled")
    assert "error.type" not in cancelled.attributes


async def test_tokens_are_told_in_the_words_of_the_conventions(traced, anyio_backend):
    async def ask(models: int) -> Prediction:
        counts = {"prompt_tokens": 12, "completion_tokens": 3, "details": None}
        return Prediction({"answer": "42"}, usage={f"test/{number}": counts for number in range(models)})

    async with Context() as ctx:
        program = await ctx.register_program("ask", ask)
        for models in range(3):
            await program(models=models)

    told = [{name: value for name, value in call.attributes.items() if name.startswith("gen_ai")} for call in traced.named("dspex.call")]
    assert told == [
        {},
        {"gen_ai.request.model": "test/0", "gen_ai.usage.input_tokens": 12, "gen_ai.usage.output_tokens": 3},
        {"gen_ai.usage.input_tokens": 24, "gen_ai.usage.output_tokens": 6},
    ]


async def test_tokens_that_are_no_number_of_tokens_are_not_told_and_a_model_has_no_long_name(traced, anyio_backend):
    async def ask(count: int) -> Prediction:
        return Prediction({"answer": "42"}, usage={"m" * 5000: {"prompt_tokens": count, "completion_tokens": (1 << 63) - 1}})

    async with Context() as ctx:
        program = await ctx.register_program("ask", ask)
        for count in (1 << 63, -1):
            await program(count=count)

    for call in traced.named("dspex.call"):
        told = {name: value for name, value in call.attributes.items() if name.startswith("gen_ai")}
        assert told == {"gen_ai.request.model": "m" * 1024, "gen_ai.usage.output_tokens": (1 << 63) - 1}


async def test_a_programs_class_of_errors_has_no_long_name(traced, anyio_backend):
    async def fail() -> None:
        raise type("E" * 5000, (Exception,), {})

    async with Context() as ctx:
        program = await ctx.register_program("fail", fail)
        with pytest.raises(ProgramFailed):
            await program()

    call = traced.one("dspex.call")
    assert len(call.attributes["error.type"]) == len(call.events[0].attributes["exception.type"]) == 256


# --- programs in workers that know OpenTelemetry -----------------------------------------------------------------------------------


@pytest.mark.parametrize("program", ["nest", "nest_async", "nest_in_a_thread"])
async def test_spans_of_a_program_in_a_worker_are_exported_here_as_they_were_there(traced, program, anyio_backend):
    async with Context(variables=[COUNT]) as ctx:
        innermost = await (await ctx.register_program("nest", SPANS + program))()

    run, outer, inner = traced.one("dspex.run"), traced.one("outer"), traced.one("inner")
    assert ids(inner) == innermost
    assert sorted(traced.below(run)) == ["dspex.operation", "outer"]
    assert traced.below(outer) == ["inner"]
    assert run.start_time < outer.start_time < inner.start_time < inner.end_time < outer.end_time < run.end_time
    assert (outer.kind, inner.kind) == (SpanKind.PRODUCER, SpanKind.INTERNAL)
    assert outer.attributes == {"texts": ("a", "b"), "whole": 7}
    assert [(event.name, event.attributes) for event in outer.events] == [("halfway", {"left": 0.5})]
    assert outer.start_time < outer.events[0].timestamp < inner.start_time
    assert (outer.instrumentation_scope.name, outer.instrumentation_scope.version) == ("their.library", "1.2")
    assert outer.resource is traced.one("dspex.call").resource


@EITHER
async def test_the_workers_span_is_the_current_one_of_the_program_which_may_speak_of_it(traced, suffix, anyio_backend):
    async with Context() as ctx:
        *here, recording = await (await ctx.register_program("speak", f"{SPANS}speak_of_the_current_span{suffix}"))()

    run = traced.one("dspex.run")
    assert (here, recording) == (ids(run), True)
    assert (run.attributes["said"], run.attributes["said.too"]) == ("a", (1, 2))
    assert [(event.name, event.attributes) for event in run.events] == [("seen", {"n": 1})]


@EITHER
async def test_a_program_carries_the_trace_on_and_baggage_stays_at_home(traced, suffix, anyio_backend):
    token = otel.attach(baggage.set_baggage("customer", "4711"))
    try:
        async with Context() as ctx:
            carried, packed = await (await ctx.register_program("carry", f"{SPANS}carry{suffix}"))()
    finally:
        otel.detach(token)

    trace_id, span_id = ids(traced.one("dspex.run"))
    flags = traced.one("dspex.call").context.trace_flags
    assert carried == {"traceparent": f"00-{trace_id}-{span_id}-{flags:02x}"}
    assert packed == {}


async def test_the_state_of_a_trace_travels(traced, anyio_backend):
    state = trace.TraceState([("vendor", "x:1")])
    above = trace.SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=trace.TraceFlags(1), trace_state=state)
    token = otel.attach(trace.set_span_in_context(trace.NonRecordingSpan(above)))
    try:
        async with Context() as ctx:
            carried, _ = await (await ctx.register_program("carry", f"{SPANS}carry"))()
    finally:
        otel.detach(token)

    assert carried["tracestate"] == "vendor=x:1"
    assert traced.one("dspex.run").context.trace_state.to_header() == "vendor=x:1"
    assert traced.one("dspex.run").context.trace_id == 0xABC


@EITHER
async def test_what_a_program_in_a_worker_calls_is_below_the_span_that_it_called_in(traced, suffix, anyio_backend):
    async def second() -> None:
        with traced.tracer.start_as_current_span("in the host"):
            pass

    async with Context() as ctx:
        await ctx.register_program("second", second)
        await ctx.register_program("here", f"{SPANS}here")
        calling = await ctx.register_program("first", f"{SPANS}call_others{suffix}")
        await calling()

    first, host, worker = sorted(traced.named("dspex.call"), key=lambda span: span.start_time)
    run, nested_run = sorted(traced.named("dspex.run"), key=lambda span: span.start_time)
    assert traced.below(first) == ["dspex.run"]
    assert traced.below(run) == ["planning", "dspex.call"]
    assert traced.below(traced.one("planning")) == ["dspex.call"]
    assert traced.below(host) == ["in the host"]
    assert traced.below(worker) == ["dspex.run"]
    assert worker.parent.span_id == run.context.span_id
    assert nested_run.parent.span_id == worker.context.span_id
    assert [span.attributes["dspex.program.id"] for span in (first, host, worker)] == ["first", "second", "here"]


async def test_calls_of_one_trace_that_run_at_once_keep_their_spans_apart(traced, anyio_backend):
    async with Bridge(workers=1) as bridge, Context(bridge=bridge) as ctx:
        program = await ctx.register_program("mark", f"{SPANS}mark")
        with traced.tracer.start_as_current_span("request"):
            told = await program.map([{"name": f"span {number}"} for number in range(8)])

    by_id = {span.context.span_id: span for span in traced.spans}
    for number, (_, span_id) in enumerate(told):
        run = by_id[int(span_id, 16)]
        assert (run.name, traced.below(run)) == ("dspex.run", [f"span {number}"])


async def test_a_program_that_seeds_the_random_numbers_gets_other_ids_each_time(traced, anyio_backend):
    async with Context() as ctx:
        program = await ctx.register_program("seed", f"{SPANS}seed")
        await program()
        await program()

    assert len({span.context.span_id for span in traced.named("seeded")}) == 2


async def test_a_span_that_never_ends_and_one_of_another_trace_are_not_told(traced, anyio_backend):
    async with Context() as ctx:
        await (await ctx.register_program("leave", f"{SPANS}leave_open"))()

    assert sorted(span.name for span in traced.spans) == ["dspex.call", "dspex.run", "dspex.switch"]


async def test_a_program_with_a_provider_of_its_own_exports_by_itself_below_the_same_span(traced, anyio_backend):
    async with Context() as ctx:
        told = await (await ctx.register_program("own", "telemetry.own_provider_programs:work"))()

    assert told == ids(traced.one("dspex.run"))
    assert traced.named("own") == []


async def test_without_the_sdk_the_programs_own_spans_are_nothing_and_the_trace_is_carried_on(traced, anyio_backend):
    async with Context() as ctx:
        told = await (await ctx.register_program("api", "telemetry.api_only_programs:work"))()

    assert told == ids(traced.one("dspex.run"))
    assert traced.below(traced.one("dspex.run")) == []


# --- programs in workers that don't ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not OLD.exists(), reason="needs a Python 3.9 from pyenv")
@EITHER
async def test_a_worker_needs_nothing_of_opentelemetrys(traced, suffix, anyio_backend):
    async with Bridge(pools={"old": Pool(python=OLD, path=[TESTS])}) as bridge, Context(variables=[COUNT], bridge=bridge) as ctx:
        version, began, ended, loaded = await (await ctx.register_program("work", f"{PLAIN}work{suffix}", pool="old"))()
        fails = await ctx.register_program("fail", f"{PLAIN}fail", pool="old")
        with pytest.raises(ProgramFailed):
            await fails()

    assert (version, loaded) == ([3, 9], False)
    run, failed = traced.named("dspex.run")
    assert run.start_time <= began < ended <= run.end_time
    assert traced.below(run) == ["dspex.operation"]
    assert failed.attributes["error.type"] == "LookupError"


async def test_tracing_makes_a_worker_load_nothing(traced, anyio_backend):
    async with Context() as ctx:
        knows = await ctx.register_program("knows", f"{PLAIN}knows")
        assert not await knows(module="opentelemetry")

    assert traced.one("dspex.run")


@pytest.mark.dspy
async def test_a_dspy_program_is_traced_like_any_other(traced, anyio_backend):
    temperature = Var("temperature", float, 0.7)
    asking = Predict(
        "question -> answer", bind={"temperature": temperature}, lm=LM("scripted/echo", factory="dspex.testing.scripted_lm:make")
    )
    async with Context(variables=[temperature]) as ctx:
        prediction = await (await asking.attach(ctx, "ask"))(question="?")

    call, run = traced.one("dspex.call"), traced.one("dspex.run")
    assert traced.below(call) == ["dspex.run"]
    assert traced.below(run) == ["dspex.operation"]
    counts = prediction.usage["scripted/echo"]
    told = {name: value for name, value in call.attributes.items() if name.startswith("gen_ai")}
    assert told == {
        "gen_ai.request.model": "scripted/echo",
        "gen_ai.usage.input_tokens": counts["prompt_tokens"],
        "gen_ai.usage.output_tokens": counts["completion_tokens"],
    }


# --- failures ----------------------------------------------------------------------------------------------------------------------


async def test_a_failure_is_told_on_the_workers_span_by_type_and_message_alone(traced, anyio_backend):
    async with Context() as ctx:
        program = await ctx.register_program("fail", f"{SPANS}fail")
        with pytest.raises(ProgramFailed):
            await program()

    run, doomed, call = traced.one("dspex.run"), traced.one("doomed"), traced.one("dspex.call")
    assert (run.status.status_code, run.status.description) == (StatusCode.ERROR, "not there")
    assert run.attributes["error.type"] == call.attributes["error.type"] == "LookupError"
    (event,) = run.events
    assert (event.name, event.attributes) == ("exception", {"exception.type": "LookupError", "exception.message": "not there"})
    assert run.start_time < event.timestamp <= run.end_time
    assert (doomed.status.status_code, doomed.status.description) == (StatusCode.ERROR, "LookupError: not there")
    assert not any("hunter2" in span.to_json() for span in traced.spans)


async def test_a_result_that_cant_leave_the_worker_is_a_failure_there(traced, anyio_backend):
    async with Context() as ctx:
        program = await ctx.register_program("object", isolated(object_of_its_own))
        with pytest.raises(ProgramFailed):
            await program()

    assert traced.one("dspex.run").status.status_code is StatusCode.ERROR


def object_of_its_own() -> object:
    return object()


async def test_a_worker_that_is_killed_ends_the_call_and_tells_nothing(traced, anyio_backend):
    async with Context(variables=[COUNT]) as ctx:
        program = await ctx.register_program("die", f"{SPANS}die")
        with pytest.raises(WorkerDied) as caught:
            await program()

    call = traced.one("dspex.call")
    assert (call.status.status_code, call.attributes["error.type"]) == (StatusCode.ERROR, "dspex.WorkerDied")
    assert (call.attributes["dspex.program.outcome"], call.attributes["dspex.worker.pid"]) == ("died", caught.value.pid)
    assert traced.named("dspex.run") == []
    assert traced.below(call) == ["dspex.operation"]


async def test_a_program_that_goes_on_without_its_caller_is_told_when_it_ends(traced, tmp_path, anyio_backend):
    async with Bridge(kill_after=20) as bridge, Context(variables=[COUNT], bridge=bridge) as ctx:
        program = await ctx.register_program("ends", f"{SPANS}end_when_told")
        async with anyio.create_task_group() as tasks, ctx.variables.watch(COUNT) as changes:
            tasks.start_soon(program.call, {"path": str(tmp_path / "go")})
            async for change in changes:
                if change.value:
                    break

            tasks.cancel_scope.cancel()

        call = traced.one("dspex.call")
        assert call.attributes["dspex.program.outcome"] == "cancelled"
        assert traced.named("dspex.run") == []
        (tmp_path / "go").touch()
        with anyio.fail_after(20):
            while not traced.named("dspex.run"):
                await anyio.lowlevel.checkpoint()

    run = traced.one("dspex.run")
    assert run.end_time > call.end_time
    assert traced.below(run) == ["dspex.operation"]


# --- bounds ------------------------------------------------------------------------------------------------------------------------


async def test_of_many_operations_the_first_are_spans_and_the_others_are_counted(anyio_backend):
    with exported(operations_per_call=3) as traced:
        async with Context(variables=[COUNT]) as ctx:
            await (await ctx.register_program("operate", f"{SPANS}operate"))(n=5)
            await (await ctx.register_program("operate less", f"{SPANS}operate"))(n=2)

    many, few = traced.named("dspex.call")
    assert many.attributes["dspex.operations.unrecorded"] == 3
    assert "dspex.operations.unrecorded" not in few.attributes
    operations = traced.named("dspex.operation")
    assert [span.attributes["dspex.variable.name"] for span in operations] == ["count"] * 5 + ["missing"]
    assert (operations[-1].status.status_code, operations[-1].attributes["error.type"]) == (StatusCode.ERROR, "dspex.VariableNotFound")


async def test_of_many_spans_the_first_travel_and_the_others_are_counted(traced, anyio_backend):
    async with Context() as ctx:
        await (await ctx.register_program("make", f"{SPANS}make_many"))(n=300)

    assert traced.below(traced.one("dspex.run")) == [f"step {number}" for number in range(256)]
    assert traced.one("dspex.call").attributes["dspex.spans.lost"] == 44


# --- what isn't to be trusted ------------------------------------------------------------------------------------------------------

SPAN: dict[str, Any] = {"name": "mine", "start": 10, "end": 20}
OWN = {**SPAN, "name": "whatever", "span": "1" * 16}


def tell(traced: Exported, *rows: Any, own: dict[str, Any] | None = OWN) -> list[str]:
    """Has a call be told of *rows*, behind the worker's own span; *own* None for none. What is exported, and how many were lost."""
    call = TRACING.tracer.call("ctx_1", "program", where="worker", pool="default")
    _, trace_id, span_id, _ = call.carrier()["traceparent"].split("-")

    def filled(row: Any) -> Any:
        filling = {"TRACE": trace_id, "CALL": span_id}
        return {key: filling.get(str(value), value) for key, value in row.items()} if isinstance(row, dict) else row

    given = [{"trace": "TRACE", "parent": "CALL", **own}] if own is not None else []
    for _ in call.told([filled(row) for row in (*given, *rows)], 0):
        pass

    call.ended("returned", None, {})
    lost = traced.one("dspex.call").attributes.get("dspex.spans.lost", 0)
    return [*(span.name for span in traced.spans if span.name != "dspex.call"), f"{lost} lost"]


GOOD = {**SPAN, "trace": "TRACE", "span": "2" * 16, "parent": "1" * 16}


def test_a_good_span_is_told(traced):
    assert tell(traced, GOOD) == ["dspex.run", "mine", "0 lost"]


@pytest.mark.parametrize(
    "row",
    [
        None,
        7,
        "span",
        [],
        {},
        {**GOOD, "trace": "3" * 32},
        {**GOOD, "trace": 0},
        {**GOOD, "span": "2" * 15},
        {**GOOD, "span": "2" * 17},
        {**GOOD, "span": "0" * 16},
        {**GOOD, "span": "G" * 16},
        {**GOOD, "span": "-" + "2" * 15},
        {**GOOD, "span": 2},
        {**GOOD, "span": "CALL"},
        {**GOOD, "span": OWN["span"]},
        {**GOOD, "start": 20, "end": 10},
        {**GOOD, "start": 1.5},
        {**GOOD, "end": float("nan")},
        {**GOOD, "end": 1 << 63},
        {**GOOD, "start": -1},
        {**GOOD, "start": True},
        {**GOOD, "name": None},
        {**GOOD, "parent": GOOD["span"]},
    ],
    ids=repr,
)
def test_what_is_no_span_of_this_call_is_left_out_and_counted(traced, row):
    assert tell(traced, row) == ["dspex.run", "1 lost"]


def test_spans_in_a_circle_are_left_out(traced):
    one, two = {**GOOD, "span": "2" * 16, "parent": "3" * 16}, {**GOOD, "span": "3" * 16, "parent": "2" * 16}
    assert tell(traced, one, two) == ["dspex.run", "2 lost"]


def test_a_span_whose_parent_nobody_told_is_below_the_workers_own(traced):
    tell(traced, {**GOOD, "parent": "9" * 16})
    assert traced.below(traced.one("dspex.run")) == ["mine"]


@pytest.mark.parametrize("own", [{**OWN, "parent": "9" * 16}, {**OWN, "span": "CALL"}, {**OWN, "end": None}], ids=repr)
def test_without_a_span_of_the_worker_the_others_are_below_the_call(traced, own):
    assert tell(traced, GOOD, own=own) == ["mine", "1 lost"]
    assert traced.below(traced.one("dspex.call")) == ["mine"]


def test_what_is_no_attribute_no_event_and_no_status_is_left_out(traced):
    odd = {"n": 1, "": 2, 3: 4, "none": None, "nested": {"a": 1}, "mixed": [1, "a"], "large": 1 << 63, "long": "x" * 2000, "many": [1] * 99}
    events = [["seen", 15, {"a": 1}], ["seen"], [1, 2, {}], "seen", ["when", "now", {}]]
    tell(traced, {**GOOD, "attributes": odd, "events": events, "status": [9, 9], "kind": 77, "scope": "mine"})
    span = traced.one("mine")
    assert span.attributes == {"n": 1, "long": "x" * 1024}
    assert [event.name for event in span.events] == ["seen"]
    assert (span.status.status_code, span.kind, span.instrumentation_scope.name) == (StatusCode.UNSET, SpanKind.INTERNAL, "dspex")


def test_a_worker_cant_fill_the_provider_with_scopes(traced):
    tell(traced, *({**GOOD, "span": f"{number:016x}", "scope": [f"scope {number}", ""]} for number in range(2, 300)))
    assert len({span.instrumentation_scope.name for span in traced.spans}) == 65


@pytest.mark.parametrize(
    "meta",
    [{}, {"spans": b"\xc1"}, {"spans": [1]}, {"spans": b"\x91\xc4\x01\xc1", "unsent": "many"}, {"spans": b"\xff" * 300_000, "unsent": -1}],
    ids=["nothing", "no data", "a list", "a span of garbage", "too much"],
)
async def test_whatever_a_worker_sends_as_spans_the_call_is_answered(traced, meta, anyio_backend):
    async with Context() as ctx:
        forging = await ctx.register_program("forge", f"{SPANS}forge")
        here = await ctx.register_program("here", f"{SPANS}here")
        await forging(meta=meta)
        assert len(await here()) == 2

    assert [call.attributes["dspex.program.outcome"] for call in traced.named("dspex.call")] == ["returned", "returned"]
    assert [call.attributes.get("dspex.spans.lost", 0) for call in traced.named("dspex.call")] == [int("spans" in meta)] * 2
    assert traced.named("dspex.run") == []


def test_a_parent_of_another_trace_is_none(traced):
    call = TRACING.tracer.call("ctx_1", "program", where="worker", pool="default")
    for parent in ("", "garbage", f"00-{'1' * 32}-{'2' * 16}-01", f"00-{'0' * 32}-{'0' * 16}-01"):
        call.below(parent)
        assert f"{trace.get_current_span().get_span_context().span_id:016x}" == call.carrier()["traceparent"].split("-")[2]

    call.ended("returned", None, {})
    assert traced.one("dspex.call").attributes["dspex.spans.lost"] == 4


# --- providers ---------------------------------------------------------------------------------------------------------------------


async def test_who_isnt_sampled_sends_nothing(anyio_backend):
    with exported(sampler=ParentBased(ALWAYS_OFF)) as traced:
        async with Context(variables=[COUNT]) as ctx:
            with traced.tracer.start_as_current_span("request"):
                program = await ctx.register_program("nest", f"{SPANS}nest")
                assert await program() == ["0" * 32, "0" * 16]
                knows = await ctx.register_program("knows", f"{SPANS}knows")
                assert not await knows(module="_dspex_child.worker.child.tracing")

    assert traced.spans == ()


async def test_a_program_below_a_call_that_isnt_sampled_isnt_either(anyio_backend):
    found = []

    async def look() -> None:
        found.append(trace.get_current_span().get_span_context())

    with exported(sampler=ParentBased(ALWAYS_OFF)):
        async with Context() as ctx:
            await (await ctx.register_program("look", look))()

    assert (found[0].is_valid, found[0].trace_flags.sampled) == (True, False)


async def test_without_a_provider_a_call_is_as_if_untraced(anyio_backend):
    with telemetry.instrument():
        async with Context() as ctx:
            assert await (await ctx.register_program("here", f"{SPANS}here"))() == ["0" * 32, "0" * 16]


async def test_a_provider_whose_tracers_choose_their_own_ids_keeps_the_shape(traced, anyio_backend):
    class Opaque(trace.TracerProvider):
        def get_tracer(self, *args: Any, **options: Any) -> Any:
            return OpaqueTracer(traced.provider.get_tracer(*args, **options))

    class OpaqueTracer(trace.Tracer):
        def __init__(self, inner: Any) -> None:
            self.start_span = inner.start_span
            self.start_as_current_span = inner.start_as_current_span

        def start_span(self, *args: Any, **options: Any) -> Any: ...
        def start_as_current_span(self, *args: Any, **options: Any) -> Any: ...

    spans = Spans(Opaque(), operations_per_call=128)
    usual, TRACING.tracer = TRACING.tracer, spans
    try:
        async with Context(variables=[COUNT]) as ctx:
            await (await ctx.register_program("nest", f"{SPANS}nest"))()
    finally:
        TRACING.tracer = usual

    assert traced.below(traced.one("dspex.call")) == ["dspex.run"]
    assert sorted(traced.below(traced.one("dspex.run"))) == ["dspex.operation", "outer"]
    assert traced.below(traced.one("outer")) == ["inner"]


async def test_the_hosts_own_tracers_go_on_making_ids(traced, anyio_backend):
    theirs = traced.provider.get_tracer("their.library", "1.2")
    async with Context(variables=[COUNT]) as ctx:
        await (await ctx.register_program("nest", f"{SPANS}nest"))()

    for _ in range(2):
        theirs.start_span("later").end()

    assert len({span.context.span_id for span in traced.named("later")} | {traced.one("inner").context.span_id}) == 3


class Clumsy(SpanProcessor):
    def __init__(self, at: str) -> None:
        setattr(self, at, self.fall)

    def fall(self, *args: Any, **options: Any) -> None:
        raise ZeroDivisionError("a processor")


@pytest.mark.parametrize("at", ["on_start", "on_end"])
async def test_a_processor_that_fails_hurts_no_call_and_is_logged_once(at, caplog, anyio_backend):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Clumsy(at))
    with telemetry.instrument(tracer_provider=provider):
        async with Context(variables=[COUNT]) as ctx:
            program = await ctx.register_program("operate", f"{SPANS}operate")
            await program(n=3)
            await program(n=3)

    assert caplog.text.count("ZeroDivisionError: a processor") == 1
    assert trace.get_current_span() is trace.INVALID_SPAN


async def test_a_call_that_outlives_the_tracing_ends_its_span(anyio_backend):
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    began, go = anyio.Event(), anyio.Event()

    async def wait() -> None:
        began.set()
        await go.wait()

    async with Context() as ctx, anyio.create_task_group() as tasks:
        program = await ctx.register_program("wait", wait)
        with telemetry.instrument(tracer_provider=provider):
            tasks.start_soon(program)
            await began.wait()

        go.set()

    assert [span.name for span in exporter.get_finished_spans()] == ["dspex.call"]
    assert TRACING.tracer is None


# --- restarts ----------------------------------------------------------------------------------------------------------------------


async def test_a_restart_is_a_span_from_the_end_of_the_child_until_it_runs_again(traced, anyio_backend):
    lives: list[anyio.Event] = []

    async def child() -> None:
        lives.append(anyio.Event())
        if len(lives) == 2:
            raise OSError("again")

        await lives[-1].wait()
        raise ValueError("blown")

    with traced.tracer.start_as_current_span("request"):
        async with Supervisor([ChildSpec("fuse", child)], name="app", max_restarts=5) as app:
            lives[0].set()
            with anyio.fail_after(20):
                while len(lives) < 3:
                    await anyio.lowlevel.checkpoint()

            await anyio.wait_all_tasks_blocked()
            assert app.which_child("fuse").state == "running"

    for span in traced.named("dspex.restart"):
        assert span.parent is None
        assert (span.attributes["dspex.child.path"], span.attributes["dspex.child.state"]) == ("app/fuse", "running")
        assert span.status.status_code is StatusCode.UNSET
        assert span.end_time >= span.start_time

    assert traced.named("dspex.restart")[0].attributes["error.type"] == "ValueError"


def test_a_restart_that_comes_to_nothing_is_an_error(traced):
    from dspex.telemetry._hooks import CHILD_CHANGED
    from dspex.telemetry._records import ChildChanged

    def change(path: str, previous: str, state: str, **more: Any) -> None:
        CHILD_CHANGED.tell(ChildChanged(path=path, previous=previous, state=state, kind="worker", **more))

    change("app/a", "running", "restarting", error=ValueError("1"), lives=1)
    change("app/a", "restarting", "starting", lives=2)
    change("app/a", "starting", "restarting", error=OSError("2"), lives=2)
    change("app/a", "restarting", "parked", lives=2)
    change("app/b", "starting", "running", lives=1)
    change("app/b", "running", "stopped", lives=1)
    span = traced.one("dspex.restart")
    assert (span.status.status_code, span.attributes["dspex.child.state"]) == (StatusCode.ERROR, "parked")
    assert (span.attributes["error.type"], span.attributes["dspex.child.lives"]) == ("ValueError", 2)


def test_children_that_restart_for_ever_are_forgotten_past_a_bound(traced, monkeypatch):
    from dspex.telemetry._otel import _restarts
    from dspex.telemetry._records import ChildChanged

    monkeypatch.setattr(_restarts, "MAX_PENDING", 2)
    restarts = _restarts.Restarts(lambda: traced.tracer)
    for state in ("restarting", "running"):
        for child in "abc":
            restarts(ChildChanged(path=child, previous="", state=state, kind="worker"))

    assert [span.attributes["dspex.child.path"] for span in traced.spans] == ["b", "c"]


assert span_programs.tracer  # this process knows them too: they are registered by path, and imported by workers
