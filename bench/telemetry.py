"""What OpenTelemetry costs: a call that is traced, and operations while a reader of metrics is attached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from bench import programs
from bench.measure import Options, Row, Sample, in_turns, repeated
from dspex import Bridge, Context, Var, telemetry

VALUE = Var("value", float, 0.5, min=0.0, max=1.0)
TIMED = 64
"""Operations of a context that are timed after a collection."""


class Nowhere(SpanExporter):
    """Takes spans, as an exporter does whose endpoint costs nothing."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


async def traced(options: Options) -> list[Row]:
    """Calls with the SDK and a span processor attached, beside the same without."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))

    def within(sample: Sample) -> Sample:
        async def measured() -> float:
            with telemetry.instrument(tracer_provider=provider):
                return await sample()

        return measured

    rows: list[Row] = []
    async with Bridge(workers=1) as bridge, Context(variables=[VALUE], bridge=bridge) as ctx:
        empty = await ctx.register_program("nothing", programs.nothing)
        reading = await ctx.register_program("read", programs.read)
        note = "two spans, dspex.call and dspex.run; the SDK, a BatchSpanProcessor and an exporter that throws them away"
        for work, sample, said in (
            ("a call of an empty program, traced", repeated(empty, times=options.count(300)), note),
            ("a call that reads 16 variables, traced", called(reading, options.count(100)), "18 spans, one for each operation"),
        ):
            found = await in_turns(within(sample), sample, options.rounds)
            rows.append(Row(work, "not traced", None, *found, note=said))

    provider.shutdown()
    return rows


def called(reading: Any, times: int) -> Sample:
    """A call that reads its variable sixteen times."""

    async def once() -> None:
        await reading(name=VALUE.name, times=16)

    return repeated(once, times=times)


async def metered(options: Options) -> list[Row]:
    """Operations between two collections of a reader of metrics, beside the same with none."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    async with Context(variables=[VALUE]) as ctx:
        get = repeated(ctx.variables.get, VALUE, times=options.count(20_000))
        timed = repeated(ctx.variables.get, VALUE, times=2 * TIMED)

        async def between() -> float:
            with telemetry.instrument(meter_provider=provider):
                reader.collect()
                await timed()
                return await get()

        found = await in_turns(between, get, options.rounds)

    provider.shutdown()
    note = f"after the {TIMED} operations that each collection has timed"
    return [Row("get of a scalar, between two collections of metrics", "no reader", 1.05, *found, note=note)]
