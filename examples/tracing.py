"""
One request as a trace: the caller, the switch, the call, its run in the worker, what the program does there, and the variables back in this process.

``python examples/tracing.py`` shows spans and metrics on the console. ``python examples/tracing.py http://localhost:4318``, or the same in
``OTEL_EXPORTER_OTLP_ENDPOINT``, sends them over OTLP/HTTP to whatever listens there: a collector, Jaeger, ... Either needs ``pip install 'dspex[otel]'``, the
latter ``opentelemetry-exporter-otlp-proto-http`` too.
"""

from __future__ import annotations

import os
import sys

import anyio
from anyio.to_thread import run_sync
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    HistogramDataPoint,
    MetricExporter,
    MetricsData,
    NumberDataPoint,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

from dspex import Context, SyncProgramContext, Var, isolated, telemetry

STYLE = Var("style", str, "plain", choices=["plain", "loud"])
ANSWERED = Var("answered", int, 0)


@isolated
def answer(question: str, ctx: SyncProgramContext) -> str:
    """Runs in a worker. A span of its own is exported by the host, like all others: nothing is configured there."""
    with trace.get_tracer("app").start_as_current_span("think"):
        text = f"You asked: {question}"
        if ctx.get(STYLE) == "loud":
            text = text.upper()

    ctx.add(ANSWERED, 1)
    return text


async def main(endpoint: str | None = None) -> None:
    """Set OpenTelemetry up, as any application does, and tell dspex to use it."""
    resource = Resource.create({"service.name": "answers"})
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(span_exporter(endpoint)))
    meters = MeterProvider([PeriodicExportingMetricReader(metric_exporter(endpoint))], resource=resource)

    # This line is all that is dspex's. Without arguments it uses the providers that OpenTelemetry was given globally.
    with telemetry.instrument(tracer_provider=tracers, meter_provider=meters):
        async with Context(variables=[STYLE, ANSWERED]) as ctx:
            # A web framework's instrumentation would begin this one.
            with tracers.get_tracer("app").start_as_current_span("request"):
                ask = await ctx.register_program("answer", answer)
                print(await ask(question="What is OTP?"))

            # What is exported last. In a service nobody calls these two: they are called at exit. They wait for the exporter, so not on the loop.
            await run_sync(meters.shutdown)

    await run_sync(tracers.shutdown)


# --- exporters: to the console, a line each, or over OTLP -------------------------------------------------------------------------


def span_exporter(endpoint: str | None) -> SpanExporter:
    """Where spans go."""
    if endpoint is None:
        return ConsoleSpanExporter(out=sys.stdout, formatter=span_line)

    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(f"{endpoint}/v1/traces")


def metric_exporter(endpoint: str | None) -> MetricExporter:
    """Where metrics go."""
    if endpoint is None:
        return ConsoleMetricExporter(out=sys.stdout, formatter=metric_lines)

    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter(f"{endpoint}/v1/metrics")


def span_line(span: ReadableSpan) -> str:
    """Its name, id, parent and duration. Without a formatter the console has all of it, as JSON."""
    assert span.start_time is not None
    assert span.end_time is not None
    below = f"{span.parent.span_id:016x}" if span.parent is not None else "nothing"
    return f"{span.name:15} {span.context.span_id:016x} below {below:16} {(span.end_time - span.start_time) / 1e6:.1f} ms\n"


def metric_lines(data: MetricsData) -> str:
    """Each metric with its sum over all attributes; of a histogram, how much was recorded."""
    metrics = [metric for of_one in data.resource_metrics for scope in of_one.scope_metrics for metric in scope.metrics]
    return "".join(f"{metric.name:29} {sum(map(amount, metric.data.data_points))} {metric.unit}\n" for metric in metrics)


def amount(point: object) -> float:
    """What one point counts for."""
    if isinstance(point, HistogramDataPoint):
        return point.count

    return point.value if isinstance(point, NumberDataPoint) else 0


if __name__ == "__main__":
    anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
