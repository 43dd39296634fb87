"""Programs that know OpenTelemetry. They run in workers, and in this process."""

import os
import random
import signal
import sys
import threading

from opentelemetry import baggage, propagate, trace

tracer = trace.get_tracer("their.library", "1.2", attributes={})


def here():
    """The span that the running code is in, as two ids."""
    context = trace.get_current_span().get_span_context()
    return [f"{context.trace_id:032x}", f"{context.span_id:016x}"]


def nothing():
    return None


def nest(ctx):
    """Two spans of its own, one in the other, and an operation in between."""
    with tracer.start_as_current_span("outer", kind=trace.SpanKind.PRODUCER, attributes={"texts": ["a", "b"], "whole": 7}) as outer:
        outer.add_event("halfway", {"left": 0.5})
        ctx.add("count", 1)
        with tracer.start_as_current_span("inner"):
            return here()


async def nest_async(ctx):
    with tracer.start_as_current_span("outer", kind=trace.SpanKind.PRODUCER, attributes={"texts": ["a", "b"], "whole": 7}) as outer:
        outer.add_event("halfway", {"left": 0.5})
        await ctx.add("count", 1)
        with tracer.start_as_current_span("inner"):
            return here()


def nest_in_a_thread(ctx):
    import contextvars

    found = []
    thread = threading.Thread(target=contextvars.copy_context().run, args=(lambda: found.append(nest(ctx)),))
    thread.start()
    thread.join()
    return found[0]


def speak_of_the_current_span():
    span = trace.get_current_span()
    span.set_attribute("said", "a")
    span.set_attributes({"said.too": [1, 2]})
    span.add_event("seen", {"n": 1})
    return [*here(), span.is_recording()]


async def speak_of_the_current_span_async():
    return speak_of_the_current_span()


def carry():
    carrier = {}
    propagate.inject(carrier)
    return carrier, dict(baggage.get_all())


async def carry_async():
    return carry()


def call_others(ctx):
    with tracer.start_as_current_span("planning"):
        ctx.call("second")

    ctx.call("here")
    return here()


async def call_others_async(ctx):
    with tracer.start_as_current_span("planning"):
        await ctx.call("second")

    await ctx.call("here")
    return here()


def fail(secret="hunter2"):
    with tracer.start_as_current_span("doomed"):
        raise LookupError("not there")


def die(ctx):
    ctx.get("count")
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()


def seed():
    random.seed(1)
    with tracer.start_as_current_span("seeded"):
        pass


async def mark(name):
    import asyncio

    with tracer.start_as_current_span(name):
        await asyncio.sleep(0)

    return here()


def leave_open():
    """A span that nobody ends, and one of another trace."""
    tracer.start_span("open")
    tracer.start_span("elsewhere", context=_elsewhere()).end()


def _elsewhere():
    other = trace.SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=trace.TraceFlags(1))
    return trace.set_span_in_context(trace.NonRecordingSpan(other))


def make_many(n):
    for number in range(n):
        tracer.start_span(f"step {number}").end()


def forge(meta):
    """Has this worker tell of every later call what *meta* says."""
    sys.modules["_dspex_child.worker.child.tracing"].Trace.told = lambda self: meta


def end_when_told(path, ctx):
    """Says that it runs, and ends when there is a file at *path*, whatever its caller does."""
    import time

    try:
        ctx.set("count", os.getpid())
    except Exception:
        pass

    while not os.path.exists(path):
        time.sleep(0.002)


def knows(module):
    return module in sys.modules


def operate(n, ctx):
    for _ in range(n):
        ctx.get("count")

    try:
        ctx.get("missing")
    except KeyError:
        pass
