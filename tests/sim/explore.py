"""
From a program to a verdict: run it under many schedules, check each run, and make the first failure readable.

A program is ``async def program(stage)``: it plays on the stage and says there what is wrong. What it has to patch, it patches in a context
manager ``patched()`` of its own, entered around the run: a run that hangs is cut off, and would leave patches of its own behind. One seed, with the loop, is one run.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

from dspex.state import _pages

from .choosers import Chooser, Fifo, Guided, portfolio, shrink
from .loops import Backend, Ran, run
from .recorder import Recorder

BACKENDS: tuple[Backend, ...] = ("asyncio", "trio")


@dataclass(slots=True)
class Stage:
    """
    One run of a program: its random numbers, its history, what is wrong with it.

    *overlapped* is how many operations were in flight during the switch. A run with none proves nothing, and is counted as rejected.
    """

    seed: int
    recorder: Recorder = field(default_factory=Recorder)
    wrong: list[str] = field(default_factory=list)
    overlapped: int = 0
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note *otherwise* unless it *holds*."""
        if not holds:
            self.wrong.append(otherwise)


Program = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Finding:
    """A failed run: how to get it again, and what it was."""

    backend: Backend
    seed: int
    choices: Sequence[int]
    preemptions: Sequence[str]
    wrong: Sequence[str]
    history: str
    steps: int

    def __str__(self) -> str:
        parts = [
            f"seed {self.seed} on {self.backend}, {self.steps} steps; replay with",
            f"    replay(program, {self.backend!r}, {self.seed}, {list(self.choices)})",
            "what is wrong:",
            *(f"    {line}" for wrong in self.wrong for line in wrong.splitlines()),
            f"the {len(self.preemptions)} preemptions that it needs:",
            *(f"    {preemption}" for preemption in self.preemptions),
            "history:",
            self.history,
        ]
        return "\n".join(parts)


@dataclass(slots=True)
class Tally:
    """How an exploration went. *rejected* runs had no operation in flight during the switch; *failed* ones are counted, the first kept."""

    runs: int = 0
    rejected: int = 0
    failed: int = 0
    overlapped: int = 0
    seconds: float = 0.0
    finding: Finding | None = None

    def __str__(self) -> str:
        each = self.seconds / self.runs * 1e3 if self.runs else 0.0
        return f"{self.runs} runs, {self.rejected} rejected, {self.failed} failed, {self.overlapped} operations overlapped, {each:.2f} ms a run"


def play(program: Program, backend: Backend, seed: int, chooser: Chooser) -> tuple[Stage, Ran]:
    """One run. Whatever the program raises is wrong too, except what it caught itself."""
    stage = Stage(seed)
    with _no_time_passing(), getattr(program, "patched", nullcontext)():
        ran = run(lambda: program(stage), backend, chooser)

    if ran.error is not None:
        stage.wrong.append("\n".join([f"L5 the run ended with {_told(ran.error)}", *ran.controller.stuck]))

    return stage, ran


@contextmanager
def _no_time_passing() -> Iterator[None]:
    """Pages are cut where real time is up: on a busy machine one more, with a step more. Here they are cut where they are full."""
    looks_at, _pages.perf_counter = _pages.perf_counter, lambda: 0.0
    try:
        yield
    finally:
        _pages.perf_counter = looks_at


def _told(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return f"{type(error).__name__}({', '.join(_told(inner) for inner in error.exceptions)})"

    return f"{type(error).__name__}: {error}" + (f" from {_told(error.__cause__)}" if error.__cause__ else "")


def replay(program: Program, backend: Backend, seed: int, choices: Sequence[int]) -> Finding:
    """The run that a finding names, again."""
    stage, ran = play(program, backend, seed, Guided(choices))
    stage.recorder.close()
    return Finding(backend, seed, choices, ran.preemptions(), stage.wrong, str(stage.recorder), ran.controller.steps)


def minimal(program: Program, backend: Backend, seed: int, choices: Sequence[int]) -> Finding:
    """The same failure with as few preemptions as can be found quickly."""
    smaller = shrink(choices, lambda trial: bool(play(program, backend, seed, Guided(trial))[0].wrong))
    found = replay(program, backend, seed, smaller)
    return found if found.wrong else replay(program, backend, seed, choices)


def decisions(program: Program, backend: Backend, seed: int) -> int:
    """How many choices a run has, for PCT's bound."""
    return len(play(program, backend, seed, Fifo())[1].trace.ranks)


def explore(program: Program, seeds: Iterable[int], *, backends: Sequence[Backend] = BACKENDS, keep_going: bool = False) -> Tally:
    """Run *program* once a seed, the loops by turns, until it fails (or to the end, to count)."""
    tally, began = Tally(), time.perf_counter()
    bounds = {backend: decisions(program, backend, 0) for backend in backends}
    for at, seed in enumerate(seeds):
        backend = backends[at // 2 % len(backends)]
        stage, ran = play(program, backend, seed, portfolio(seed, bounds[backend]))
        _count(tally, stage)
        if stage.wrong and tally.finding is None:
            tally.finding = minimal(program, backend, seed, ran.trace.ranks)

        if stage.wrong and not keep_going:
            break

    tally.seconds = time.perf_counter() - began
    return tally


def _count(tally: Tally, stage: Stage) -> None:
    tally.runs += 1
    tally.overlapped += stage.overlapped
    tally.rejected += not stage.overlapped and not stage.wrong
    tally.failed += bool(stage.wrong)
