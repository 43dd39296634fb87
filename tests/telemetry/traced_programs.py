"""Programs that run in workers, for a run in which everything happens."""

from __future__ import annotations

import os
import signal
from typing import Any

from opentelemetry import trace


def add_up(n: int, ctx: Any) -> int:
    for _ in range(n):
        ctx.add("count", 1)

    return int(ctx.get("count"))


def fail(ctx: Any) -> None:
    ctx.get("nothing")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def make_spans(n: int) -> None:
    tracer = trace.get_tracer("app")
    with tracer.start_as_current_span("outer"):
        for number in range(n):
            tracer.start_span(f"step {number}").end()
