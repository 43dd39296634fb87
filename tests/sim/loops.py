"""
asyncio and trio, one task step at a time, the next task chosen by a chooser, in virtual time.

Both need private parts: of trio `_r`, `_ALLOW_DETERMINISTIC_SCHEDULING`, `GLOBAL_RUN_CONTEXT.runner.runq`; of asyncio
`BaseEventLoop._run_once`, `_ready`, `_scheduled`. A test holds that they still do what is used here. uvloop can't be controlled.

Tasks are numbered as they are first seen runnable, which is the order of their creation: never by address, and no set is iterated.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

import anyio
import trio
import trio.testing
from trio._core import _run as trio_run

from .choosers import Fifo, Guided, Trace

Backend = Literal["asyncio", "trio"]
HORIZON = 3600.0  # virtual seconds: whoever waits longer waits for ever
STEPS = 20_000
PATIENCE = 50  # rounds of callbacks without a task step, before time goes on all the same


class SimDeadlock(Exception):
    """Nothing can run, no timer is set, and nothing outside may wake the loop: there is no outside."""


class SimLivelock(Exception):
    """A run that used up its steps, was cancelled, and still goes on."""


@dataclass(slots=True)
class Controller:
    """Asks the trace's chooser while the program runs, counts steps, and ends a run that has too many."""

    trace: Trace
    budget: int = STEPS
    steps: int = 0
    current: int | None = None
    running: bool = False
    exhausted: bool = False
    scope: anyio.CancelScope | None = None
    names: dict[int, str] = field(default_factory=dict)
    stuck: list[str] = field(default_factory=list)
    _numbers: WeakKeyDictionary[Any, int] = field(default_factory=WeakKeyDictionary)
    _before: Fifo = field(default_factory=Fifo)

    def number(self, task: Any, name: str) -> int:
        """The number of a task: the order in which it was first seen."""
        known = self._numbers.get(task)
        if known is None:
            known = self._numbers[task] = len(self.names)
            self.names[known] = name

        return known

    def pick(self, ids: list[int]) -> int:
        """Which of *ids* runs now."""
        self.steps += 1
        if self.steps > self.budget:
            self._end()

        ask = self.trace if self.running and not self.exhausted else self._before
        self.current = ids[0] if len(ids) == 1 else ask.choose(ids, self.current)
        return self.current

    def jumping(self, to: float, tasks: Callable[[], Iterable[tuple[str, Any]]]) -> None:
        """Before a jump of the clock, beyond which nobody is expected to wait: note where everybody stands."""
        if to >= HORIZON and not self.stuck:
            self.stuck = [f"{name} waits in {_where(coroutine)}" for name, coroutine in tasks()]

    def _end(self) -> None:
        """Cancel what runs; raising from within a scheduler would only hide where it was."""
        if self.steps > 2 * self.budget:
            raise SimLivelock(f"still running {self.budget} steps after it was cancelled")

        if not self.exhausted and self.scope is not None:
            self.exhausted = True
            self.scope.cancel()


def _where(coroutine: Any) -> str:
    """The innermost places of a suspended coroutine, innermost first."""
    places: list[str] = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "ag_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            places.append(f"{frame.f_code.co_qualname} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})")

        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None) or getattr(coroutine, "gi_yieldfrom", None)

    return " < ".join(
        place for place in reversed(places[-8:]) if not place.startswith(("_async_yield", "_real_async_yield", "wait_task_rescheduled"))
    )


# --- trio ------------------------------------------------------------------------------------------------------------------------


class _OneOfBatch:
    """Stands in for trio's random generator: keeps the chosen task in the batch and hands the others back to the run queue."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def shuffle(self, batch: list[Any]) -> None:
        tasks = {self._controller.number(task, task.name): task for task in batch}
        if not tasks:
            return

        chosen = self._controller.pick(list(tasks))
        trio_run.GLOBAL_RUN_CONTEXT.runner.runq.extendleft(task for number, task in reversed(tasks.items()) if number != chosen)
        batch[:] = [tasks[chosen]]

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2

    def random(self) -> float:
        return 0.0


def _trio_tasks() -> Iterable[tuple[str, Any]]:
    runner = trio_run.GLOBAL_RUN_CONTEXT.runner
    own = {runner.init_task, *(task for task in runner.tasks if task.name.startswith("<"))}
    return [(task.name, task.coro) for task in sorted(runner.tasks - own, key=lambda task: task._counter)]


def _clock(controller: Controller) -> trio.testing.MockClock:
    """
    A clock that jumps when nothing can run.

    With nowhere to jump to, everybody waits in a shield that no timeout can end: the shields are lifted, so that the horizon, which
    has passed, ends the run in an orderly way; again and again, since clean-up has shields of its own. Raising here leaves trio's own tasks
    where they stand.
    """
    clock = trio.testing.MockClock(autojump_threshold=0)
    jump, lifted = clock._autojump, 0

    def jump_or_end() -> None:
        nonlocal lifted
        seconds = trio.lowlevel.current_statistics().seconds_to_next_deadline
        controller.jumping(clock.current_time() + seconds, _trio_tasks)
        if seconds < math.inf:
            jump()
        elif lifted > PATIENCE:
            raise SimDeadlock("every task waits, and neither a timeout nor a cancellation ends it")
        else:
            lifted += 1
            _lift_shields()

    clock._autojump = jump_or_end  # type: ignore[method-assign]
    return clock


def _lift_shields() -> None:
    for task in sorted(trio_run.GLOBAL_RUN_CONTEXT.runner.tasks, key=lambda task: task._counter):
        status: Any = task._cancel_status
        while status is not None:
            status._scope.shield = False
            status = status._parent


@contextmanager
def _trio_controlled(controller: Controller) -> Iterator[dict[str, Any]]:
    former = trio_run._r, trio_run._ALLOW_DETERMINISTIC_SCHEDULING
    trio_run._r, trio_run._ALLOW_DETERMINISTIC_SCHEDULING = _OneOfBatch(controller), True  # type: ignore[assignment,misc]
    try:
        yield {"clock": _clock(controller)}
    finally:
        trio_run._r, trio_run._ALLOW_DETERMINISTIC_SCHEDULING = former  # type: ignore[misc]


# --- asyncio ---------------------------------------------------------------------------------------------------------------------


class SimLoop(asyncio.BaseEventLoop):
    """
    An event loop with no outside: no selector, no sockets, no threads.

    A round is: the callbacks that were queued before it, first come first served, then one step of one task. Callbacks have no strict
    priority, since anyio's delivery of a cancellation queues itself again and would starve the very task that it waits for. For the
    same reason a loop that ran only callbacks for long counts as idle, and its clock goes on.
    """

    # Of the base class, and not in its stubs.
    _ready: deque[Any]
    _scheduled: list[Any]
    _stopping: bool

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._now = 0.0
        self._tasks_ready: dict[int, asyncio.Handle] = {}
        self._idle = 0

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def _write_to_self(self) -> None:
        """Nothing sleeps in a selector."""

    def _run_once(self) -> None:
        callbacks = self._sort_ready()
        if not callbacks and not self._tasks_ready:
            self._jump()
            callbacks = self._sort_ready()

        self._now += 1e-9  # two timers set one after the other are two times
        for handle in callbacks:
            _run(handle)

        self._step()

    def _all_tasks(self) -> Iterable[tuple[str, Any]]:
        tasks = asyncio.all_tasks(self)
        return [
            (task.get_name(), task.get_coro()) for task in sorted(tasks, key=lambda task: self._controller.number(task, task.get_name()))
        ]

    def _sort_ready(self) -> list[asyncio.Handle]:
        """Take what is ready: task steps become choices, the other callbacks are returned."""
        self._expire()
        callbacks = []
        while self._ready:
            handle = self._ready.popleft()
            task = getattr(handle._callback, "__self__", None)
            if isinstance(task, asyncio.Task) and not handle._cancelled:
                self._tasks_ready[self._controller.number(task, task.get_name())] = handle
            else:
                callbacks.append(handle)

        return callbacks

    def _step(self) -> None:
        if self._tasks_ready:
            self._idle = 0
            _run(self._tasks_ready.pop(self._controller.pick(sorted(self._tasks_ready))))
            return

        self._idle += 1
        if self._idle % PATIENCE == 0 and self._ready:
            self._jump()

        if self._idle > 100 * PATIENCE:
            raise SimDeadlock("every task waits, in a shield that no timeout can end")

    def _expire(self) -> None:
        while self._scheduled and (self._scheduled[0]._cancelled or self._scheduled[0]._when <= self._now):
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False
            self._ready.append(handle)

    def _jump(self) -> None:
        timers = [handle._when for handle in self._scheduled if not handle._cancelled]
        self._controller.jumping(min(timers, default=math.inf), self._all_tasks)
        if timers:
            self._now = max(self._now, min(timers))
        elif not self._ready and not self._stopping:
            raise SimDeadlock("every task waits, and no timer is set")


def _run(handle: asyncio.Handle) -> None:
    if not handle._cancelled:
        handle._run()


@contextmanager
def _asyncio_controlled(controller: Controller) -> Iterator[dict[str, Any]]:
    yield {"loop_factory": lambda: SimLoop(controller)}


_CONTROLLED: dict[Backend, Callable[[Controller], Any]] = {"asyncio": _asyncio_controlled, "trio": _trio_controlled}


# --- both ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a run: its value or its error, and how it was scheduled."""

    value: Any
    error: BaseException | None
    controller: Controller

    @property
    def trace(self) -> Trace:
        """The choices."""
        return self.controller.trace

    def preemptions(self) -> list[str]:
        """Who was stopped for whom, by name."""
        name = self.controller.names
        return [
            f"choice {at}: {name.get(old, 'nobody') if old is not None else 'nobody'} -> {name[new]}"
            for at, old, new in self.trace.preemptions
        ]


def run(program: Callable[[], Awaitable[Any]], backend: Backend, chooser: Any = None, *, budget: int = STEPS) -> Ran:
    """
    Run *program* under *chooser* (choice 0 throughout if there is none).

    A deadlock ends as TimeoutError at the horizon, a livelock at its budget of steps; both come back as the run's error, like any other.
    """
    controller = Controller(Trace(chooser or Guided(())), budget)
    value: Any = None
    error: BaseException | None = None
    try:
        with _CONTROLLED[backend](controller) as options:
            value = anyio.run(_bounded, program, controller, backend=backend, backend_options=options)
    except Exception as raised:
        error = raised

    return Ran(value, error, controller)


async def _bounded(program: Callable[[], Awaitable[Any]], controller: Controller) -> Any:
    with anyio.fail_after(HORIZON), anyio.CancelScope() as controller.scope:
        controller.running = True
        try:
            return await program()
        finally:
            controller.running = False

    raise SimLivelock(f"more than {controller.budget} steps")
