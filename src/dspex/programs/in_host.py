"""
Programs that run in this process.

An ``async def`` runs in its caller's task: cancelling the caller cancels it, and their context variables are one. A plain ``def`` runs in
a thread.

A thread can't be stopped. When its caller goes away, or its time is up, the caller is told at once and the thread is abandoned: its next
use of ``ctx`` raises `CallCancelled`, what it returns is dropped, and its place stays taken until it has really ended. A program that may
hang belongs in a worker (`isolated`), whose process can be killed.

There are `HOST_THREADS` places for each event loop. A call made by a running program takes an extra one rather than wait for one that its
own caller may be holding.
"""

from __future__ import annotations

import enum
import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from anyio import CapacityLimiter, RunFinishedError, WouldBlock, from_thread, to_thread
from anyio.lowlevel import RunVar, current_token

from dspex._exceptions import Overloaded
from dspex.supervision._beside import with_others

from ._failure import PASSING, program_failed
from .context import Life, ProgramContext, SyncProgramContext
from .signature import CONTEXT

if TYPE_CHECKING:
    from ._telling import Notes
    from .home import Home

HOST_THREADS: Final = 40
"""Sync programs that run at once in one event loop's threads."""

_places: RunVar[CapacityLimiter] = RunVar("dspex_host_thread_places")
_extra: RunVar[CapacityLimiter] = RunVar("dspex_host_threads_unbounded")


async def run_in_task(program_id: str, run: Callable[..., Any], inputs: dict[str, Any], home: Home | None) -> Any:
    """Await *run*; *home* is None when it takes no context. Raises `ProgramFailed` from what it raised."""
    life = Life(program_id, home.id if home is not None else "")
    if home is not None:
        inputs = {**inputs, CONTEXT: ProgramContext(home, life)}

    try:
        return await run(**inputs)
    except PASSING:
        raise
    except (Exception, SystemExit) as error:  # whatever the program raises
        raise program_failed(program_id, error) from error
    finally:
        life.end = "returned"


class _State(enum.Enum):
    NEW = enum.auto()
    RUNNING = enum.auto()
    ENDED = enum.auto()
    ABANDONED = enum.auto()  # running, its caller gone
    DROPPED = enum.auto()  # its caller went before it began: it never runs


_BEGUN = {_State.NEW: _State.RUNNING, _State.DROPPED: _State.DROPPED}
_DONE = {_State.RUNNING: _State.ENDED, _State.ABANDONED: _State.ABANDONED, _State.DROPPED: _State.DROPPED}
_LEFT = {_State.NEW: _State.DROPPED, _State.RUNNING: _State.ABANDONED, _State.ENDED: _State.ENDED}


class _Run:
    """One call. The thread and its caller race for the end of it: the lock decides who gives the place back."""

    def __init__(self, life: Life, places: CapacityLimiter | None) -> None:
        self.life = life
        self._places = places
        self._state = _State.NEW
        self._lock = threading.Lock()
        self._token = current_token()

    def _go(self, table: dict[_State, _State]) -> _State:
        with self._lock:
            self._state = table[self._state]
            return self._state

    async def in_thread(self, run: Callable[..., Any], inputs: dict[str, Any]) -> Any:
        """Its place was taken; however this is left, it is given back."""
        try:
            return await to_thread.run_sync(self.work, run, inputs, abandon_on_cancel=True, limiter=_limiter(_extra, math.inf))
        finally:
            self.leave()

    def work(self, run: Callable[..., Any], inputs: dict[str, Any]) -> Any:
        """Run the program; in the thread."""
        if self._go(_BEGUN) is _State.DROPPED:
            return None

        try:
            return run(**inputs)
        except PASSING:
            raise
        except (Exception, SystemExit) as error:  # whatever the program raises
            raise program_failed(self.life.program_id, error) from error
        finally:
            if self._go(_DONE) is _State.ABANDONED:
                self._give_back_from_thread()

    def leave(self) -> None:
        """Its caller goes, with the answer or without."""
        state = self._go(_LEFT)
        self.life.end = "abandoned" if state is _State.ABANDONED else "returned"
        if state is not _State.ABANDONED:
            self._give_back()

    def _give_back(self) -> None:
        if self._places is not None:
            self._places.release_on_behalf_of(self)

    def _give_back_from_thread(self) -> None:
        try:
            from_thread.run_sync(self._give_back, token=self._token)
        except RunFinishedError:  # the loop is gone, and its places with it
            return


async def run_in_thread(
    program_id: str,
    run: Callable[..., Any],
    inputs: dict[str, Any],
    home: Home | None,
    *,
    nested: bool,
    wait: bool = True,
    notes: Notes | None = None,
) -> Any:
    """
    Call *run* in a thread; *home* is None when it takes no context.

    Raises `ProgramFailed` from what it raised, and `Overloaded` when there is no place and *wait* is False.
    """
    life = Life(program_id, home.id if home is not None else "")
    call = _Run(life, None if nested else _limiter(_places, HOST_THREADS))
    if not nested:
        await _take_place(call, wait=wait)

    if notes is not None:
        notes.placed(None)

    if home is None:
        return await call.in_thread(run, inputs)

    return await with_others(lambda others: call.in_thread(run, {**inputs, CONTEXT: SyncProgramContext(home, life, others)}))


async def _take_place(call: _Run, *, wait: bool) -> None:
    places = _limiter(_places, HOST_THREADS)
    try:
        places.acquire_on_behalf_of_nowait(call)
    except WouldBlock:
        if not wait:
            raise Overloaded(what="The threads for programs in this process", limit=HOST_THREADS) from None

        await places.acquire_on_behalf_of(call)


def _limiter(held: RunVar[CapacityLimiter], places: float) -> CapacityLimiter:
    try:
        return held.get()
    except LookupError:
        limiter = CapacityLimiter(places)
        held.set(limiter)
        return limiter
