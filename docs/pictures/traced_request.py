"""A request that is traced: in it a context switches, and a program that reads and writes its variables is called in a worker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dspex import Bridge, Context, Var, isolated, telemetry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dspex import SyncProgramContext

MANY = [Var(f"setting_{number}", int, number) for number in range(1000)]
STYLE = Var("style", str, "plain")
ANSWERED = Var("answered", int, 0)


@isolated
def answer(question: str, ctx: SyncProgramContext) -> str:
    """A program in a worker, with a span of its own."""
    style = ctx.get(STYLE)
    with trace.get_tracer("app").start_as_current_span("think"):
        time.sleep(0.004)

    ctx.add(ANSWERED, 1)
    return f"{question} ({style})"


async def record() -> Sequence[ReadableSpan]:
    """The spans of one request, on a bridge that has served one before."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with Bridge(workers=1) as bridge:
        with telemetry.instrument(tracer_provider=provider):
            await request(bridge, provider.get_tracer("app"))
            exporter.clear()
            await request(bridge, provider.get_tracer("app"))

    provider.shutdown()
    return exporter.get_finished_spans()


async def request(bridge: Bridge, tracer: trace.Tracer) -> None:
    """One request."""
    async with Context(variables=[*MANY, STYLE, ANSWERED], bridge=bridge) as ctx:
        with tracer.start_as_current_span("request"):
            bound = await ctx.register_program("answer", answer)
            await bound(question="What is OTP?")
