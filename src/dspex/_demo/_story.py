"""The chapters of the demo, in order. Each does something real and shows what it saw."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from importlib.util import find_spec
from time import perf_counter
from typing import Any

from .._exceptions import WorkerDied
from ..context import Context
from ..modules import LM, ChainOfThought
from ..variables import Var
from . import programs
from ._show import Branches, Show

TEMPERATURE = Var("temperature", float, 0.7, min=0.0, max=2.0, description="how freely a model speaks")
MAX_WORDS = Var("max_words", int, 4, min=1)
CALLS = Var("calls", int, 0, description="counted by the program, in its worker")
PROBE = Var("probe", float, 0.5, min=0.0, max=1.0, description="what the demo measures with")

TEXT = "state that starts in a dict and ends up shared with worker processes"
ROUNDS = 20_000
SCRIPTED = "dspex.testing.scripted_lm:make"  # a language model without network and key
ANSWER = "OTP is a set of libraries and principles for programs that keep running."
QA = ChainOfThought(
    "question -> answer", bind={"temperature": TEMPERATURE}, lm=LM("scripted", factory=SCRIPTED, answers={"answer": ANSWER})
)


async def tell(show: Show) -> None:
    """The whole story, in a few seconds."""
    async with Context(variables=[TEMPERATURE, MAX_WORDS, CALLS, PROBE]) as ctx:
        local = await _start_local(show, ctx)
        ask = await _register(show, ctx)
        await _call(show, ctx, ask)
        await _measure_again(show, ctx, local)
        await _kill_a_worker(show, ctx, ask)
        await _run_dspy(show, ctx)
        _draw(show, ctx)


async def _start_local(show: Show, ctx: Context) -> tuple[float, float]:
    show.heading("1. A context, in this process")
    await ctx.variables.set(TEMPERATURE, 0.9)
    await _show_variables(show, ctx)
    get, set_ = await _measure(ctx)
    show.line(f"Backend {ctx.backend.kind}, in process {os.getpid()}: get {_microseconds(get)}, set {_microseconds(set_)}.")
    return get, set_


async def _register(show: Show, ctx: Context) -> Any:
    show.heading("2. A program joins that must not run here")
    ask = await ctx.register_program("headline", programs.headline)
    for reason in ask.info.reasons:
        show.line(f"It needs the bridge because {reason}.")

    last = ctx.backend.last_switch
    if last is not None:
        show.line(f"The context switched by itself: {last.variables} variables, {last.bytes} bytes, {last.seconds * 1e3:.2f} ms.")

    show.table(["backend", "since"], [(kind.__name__, f"{when:%H:%M:%S.%f} UTC") for kind, when in ctx.backend.history])
    return ask


async def _call(show: Show, ctx: Context, ask: Any) -> None:
    show.heading("3. The program runs in a worker, on the same variables")
    answer = await ask(text=TEXT)
    show.line(f"This is process {os.getpid()}; the program ran in process {answer['pid']}.")
    show.line(f"It read max_words and answered {answer['headline']!r}; it wrote calls, now {await ctx.variables.get(CALLS)}.")
    await _show_variables(show, ctx)


async def _measure_again(show: Show, ctx: Context, local: tuple[float, float]) -> None:
    show.heading("4. The same calls as before")
    bridged = await _measure(ctx)
    rows = [
        (f"{name}(PROBE)", _microseconds(before), _microseconds(now), f"{now / before:.1f}x")
        for name, before, now in zip(("get", "set"), local, bridged, strict=True)
    ]
    show.table(["operation", "local", "bridged", "ratio"], rows)


async def _kill_a_worker(show: Show, ctx: Context, ask: Any) -> None:
    show.heading("5. A worker is killed in the middle of a call")
    crash = await ctx.register_program("crash", programs.crash)
    try:
        await crash()
    except WorkerDied as died:
        show.line(f"WorkerDied: {str(died).splitlines()[0]}")

    started = perf_counter()
    answer = await ask(text=TEXT)
    show.line(f"The next call was served {(perf_counter() - started) * 1e3:.0f} ms later by process {answer['pid']}; nothing was lost:")
    show.line(f"calls is {await ctx.variables.get(CALLS)}, temperature is {await ctx.variables.get(TEMPERATURE)}.")


async def _run_dspy(show: Show, ctx: Context) -> None:
    show.heading("6. A DSPy module")
    if find_spec("dspy") is None:
        show.line("dspy isn't installed here. With it, this chapter runs a DSPy module in a worker: pip install 'dspex[dspy]'")
        return

    importing, ask = await _timed(lambda: QA.attach(ctx))
    running, prediction = await _timed(lambda: ask(question="What is OTP?"))
    show.line(
        f"ChainOfThought('question -> answer') was declared here and made in a worker, with dspy imported there, in {importing * 1e3:.0f} ms."
    )
    show.line(f"It answered {prediction.answer!r}")
    show.line(f"in {running * 1e3:.1f} ms, at the temperature of the context, {prediction.settings['temperature']}.")


def _draw(show: Show, ctx: Context) -> None:
    show.heading("All of it")
    history = " -> ".join(kind.__name__ for kind, _ in ctx.backend.history)
    infos = [program.info for program in ctx.programs.values()]
    bound: Branches = {f"{info.id}, in a {info.where}, calls: {info.calls}": {} for info in infos}
    statistics = ctx.statistics()
    show.tree(
        f"context {ctx.id} [{ctx.status}]",
        {f"backend: {history}": {}, "programs": bound, f"operations: {statistics.operations:,}, of them queued {statistics.queued}": {}},
    )


async def _show_variables(show: Show, ctx: Context) -> None:
    rows = [(one.id, one.name, one.type, one.value, one.version, _told(one.constraints)) for one in await ctx.variables.list()]
    show.table(["id", "name", "type", "value", "version", "constraints"], rows)


def _told(constraints: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in constraints.items())


async def _measure(ctx: Context) -> tuple[float, float]:
    """Seconds for a get and for a set, on the average of many."""
    get, set_ = ctx.variables.get, ctx.variables.set
    value = await get(PROBE)
    started = perf_counter()
    for _ in range(ROUNDS):
        await get(PROBE)

    between = perf_counter()
    for _ in range(ROUNDS):
        await set_(PROBE, value)

    return (between - started) / ROUNDS, (perf_counter() - between) / ROUNDS


async def _timed(call: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    started = perf_counter()
    result = await call()
    return perf_counter() - started, result


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.2f} us"
