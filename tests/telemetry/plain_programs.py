"""Programs that know nothing of OpenTelemetry. Standard library only, and the syntax of 3.9."""

import sys
import time


def work(ctx):
    began = time.time_ns()
    ctx.add("count", 1)
    return [list(sys.version_info[:2]), began, time.time_ns(), any(name.startswith("opentelemetry") for name in sys.modules)]


async def work_async(ctx):
    began = time.time_ns()
    await ctx.add("count", 1)
    return [list(sys.version_info[:2]), began, time.time_ns(), any(name.startswith("opentelemetry") for name in sys.modules)]


def fail():
    raise LookupError("not there")


def knows(module):
    return module in sys.modules
