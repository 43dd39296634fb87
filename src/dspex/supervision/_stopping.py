"""
How a child is stopped: asked, given its time, cancelled, and when it is still there, told of.

A task can't be killed. One that doesn't end is overdue: whoever stops it goes on past it, it is reported with its stack at growing intervals, and it
is tracked until it is gone.
"""

from __future__ import annotations

import gc
import inspect
import logging
from collections.abc import Iterator
from typing import Any, Final

import anyio

from ._child import Child, Run

# Seconds that any task has to unwind after it was cancelled, even one that is to be given no time.
MOMENT: Final = 0.1
# Seconds from one report of an overdue child to the next: twice as long each time, up to the last.
FIRST_REPORT: Final = 1.0
# Seconds until a child that isn't ready is reported.
SLOW_START: Final = 10.0
LAST_REPORT: Final = 60.0

_STEPS = frozenset({"async_generator_asend", "async_generator_athrow", "anext_awaitable", "coroutine_wrapper"})

log = logging.getLogger(__name__)


def asks_first(child: Child, run: Run) -> bool:
    """Whether it is asked to end by itself before it is cancelled. One that isn't up yet is only cancelled."""
    return child.spec.stop is not None and run.started and child.spec.shutdown != "brutal_kill"


def patience(child: Child) -> float:
    """Seconds from the asking until it is overdue, or cancelled where it was asked first."""
    shutdown = child.spec.shutdown
    return MOMENT if shutdown == "brutal_kill" else max(MOMENT, float(shutdown))


async def see_out(child: Child, run: Run, *, path: str, politely: bool) -> bool:
    """Sees *run*, which is to stop, to its end; *politely*: it is asked, and cancelled later. Whether it ended within its time."""
    if not politely:
        return await _ended_within(run, patience(child))

    with anyio.move_on_after(patience(child)) as run.grace:
        if await _asked(child, run, path):
            await run.wait_gone()

    if run.over:
        return True

    run.cancel()
    return await _ended_within(run, MOMENT)


async def _asked(child: Child, run: Run, path: str) -> bool:
    stop = child.spec.stop
    assert stop is not None
    try:
        answer = stop(run.leaves != "restarting")
        if inspect.isawaitable(answer):
            await answer
    except Exception:
        log.exception("%s: its stop function failed; it is cancelled instead", path, extra={"dspex_child": path})
        return False

    return True


async def _ended_within(run: Run, seconds: float) -> bool:
    with anyio.move_on_after(seconds):
        await run.wait_gone()

    return run.over


async def report_until_gone(run: Run, *, path: str, waited: float) -> None:
    """Tells of an overdue child until it is gone."""
    pause = FIRST_REPORT
    while not run.over:
        facts = {"dspex_child": path, "dspex_seconds": waited}
        told = "%s is overdue: it was asked to stop %g s ago and is still there. It is at\n%s"
        log.warning(told, path, round(waited, 3), stack_of(run), extra=facts)
        with anyio.move_on_after(pause):
            await run.wait_gone()

        waited += pause
        pause = min(LAST_REPORT, pause * 2)

    log.info("%s is gone at last", path, extra={"dspex_child": path, "dspex_seconds": waited})


async def wait_settled(run: Run, *, path: str) -> None:
    """Waits until *run* is ready or over, and tells of it when that takes long: a start that never says that it is ready hangs those after it."""
    waited, pause = 0.0, SLOW_START
    while True:
        with anyio.move_on_after(pause):
            await run.wait_settled()
            return

        waited += pause
        pause = min(LAST_REPORT, pause * 2)
        facts = {"dspex_child": path, "dspex_seconds": waited}
        told = "%s has been starting for %g s and hasn't called task_status.started(). It is at\n%s"
        log.warning(told, path, waited, stack_of(run), extra=facts)


def stack_of(run: Run) -> str:
    """Where a child's task is, outermost first, a line each."""
    lines = list(_frames(run.task.coro if run.task is not None else None))
    # The first is our own.
    return "\n".join(lines[1:] or lines) or "  (nowhere: it has ended)"


def _frames(awaited: Any) -> Iterator[str]:
    while awaited is not None:
        for kind in ("cr", "gi", "ag"):
            frame = getattr(awaited, f"{kind}_frame", None)
            if frame is not None:
                yield f"  {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
                awaited = getattr(awaited, f"{kind}_await" if kind != "gi" else "gi_yieldfrom", None)
                break
        else:
            awaited = _behind(awaited)


def _behind(awaited: Any) -> Any:
    """What one step of an async generator, or of a coroutine, is a step of. It has no frame of its own and doesn't say; the collector knows."""
    if type(awaited).__name__ not in _STEPS:
        return None

    within = gc.get_referents(awaited)
    return next((each for each in within if hasattr(each, "ag_frame") or hasattr(each, "cr_frame") or type(each).__name__ in _STEPS), None)
