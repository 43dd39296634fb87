"""
The host task: what stands behind ``start()``.

A cancel scope or a task group must be left by the task that entered it. In a REPL each line is a task of its own, and a fixture may
be set up by one task and torn down by another. So ``start()`` gives the whole ``async with`` block to one task that lives beside the
caller's, and ``stop()`` only asks it to leave.

Such a task belongs to no task group. This is one of the few places where a loop's own primitive is the point.

A prompt may be left without a word: ``python -m asyncio`` and IPython stop their loop for good as it stands, no task cancelled, nothing
closed. What is still held open then is left in order as the interpreter ends, the youngest first.
"""

from __future__ import annotations

import atexit
import contextvars
import logging
import os
import sys
from threading import get_ident
from types import MethodType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import anyio
import anyio.lowlevel

log = logging.getLogger(__name__)

# Seconds that the host tasks of an abandoned loop have for leaving in order, and as many again once they are cancelled.
GRACE = 10.0

# All host tasks, in the order of their start, each with its task: asyncio itself keeps only weak references to those.
_held: dict[HostTask, Any] = {}

# The event loop runs that a context began in, as long as somebody else keeps them, each with the id of its thread.
_settled: WeakKeyDictionary[Any, int] = WeakKeyDictionary()


def running() -> Any:
    """The event loop run this code is in: asyncio's loop, or trio's token. Also in a callback of the loop, where there is no task."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        try:
            return asyncio.get_running_loop()
        except RuntimeError:
            pass

    trio = sys.modules.get("trio")
    if trio is None:
        raise RuntimeError("no event loop is running here")

    return trio.lowlevel.current_trio_token()


def settle() -> int:
    """Takes note of the event loop run this code is in, for `settled`. Returns the id of its thread."""
    loop, thread = running(), get_ident()
    if _settled.get(loop) != thread:
        _settled[loop] = thread

    return thread


def settled() -> list[tuple[Any, int]]:
    """The event loop runs that somebody settled in, each with the id of its thread. From any thread."""
    # Copied in one step of the interpreter: others settle meanwhile.
    loops = [loop for reference in _settled.keyrefs() if (loop := reference()) is not None]
    return [(loop, _settled[loop]) for loop in loops]


if TYPE_CHECKING:
    starting = classmethod
else:

    class starting:  # noqa: N801 - a decorator
        """A class method ``start`` that, asked of an object rather than of its class, starts that object: its ``_start_beside``."""

        def __init__(self, function):
            self._function = function
            self.__doc__ = function.__doc__

        def __get__(self, holder, cls):
            return MethodType(self._function, cls) if holder is None else holder._start_beside


class HostTask:
    """One task that holds an async context manager open until `release` is called or the loop ends."""

    __slots__ = ("_error", "_name", "_opened", "_released", "_resource", "closed", "exit_error", "home", "loop")

    def __init__(self, resource: Any, name: str) -> None:
        self._resource = resource
        self._name = name
        self._opened = anyio.Event()
        self._released = anyio.Event()
        self._error: BaseException | None = None
        self.home: tuple[int, int] = _here()
        self.loop: Any = running()
        self.closed: anyio.Event = anyio.Event()
        self.exit_error: BaseException | None = None

    async def open(self) -> None:
        """
        Starts the task and returns once the block is entered.

        Raises:
            BaseException: what entering raised; `Stranger` if somebody else cancelled the task. A cancellation while waiting leaves the block again
                before it goes on.

        """
        self._spawn()
        try:
            await self._opened.wait()
        except BaseException:
            self.release()
            with anyio.CancelScope(shield=True):
                await self.closed.wait()

            raise

        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def release(self) -> None:
        """Asks the task to leave the block. Idempotent; wait for `closed` to know that it has."""
        self._released.set()
        if not self._opened.is_set() and (turn_back := getattr(self._resource, "_turn_back", None)) is not None:
            turn_back()

    def _spawn(self) -> None:
        context = contextvars.Context()
        if hasattr(self.loop, "create_task"):
            atexit.unregister(_leave_abandoned)  # once, and before all that was registered until now
            atexit.register(_leave_abandoned)
            task = _held[self] = self.loop.create_task(self._hold(), name=self._name, context=context)
            # A task that is cancelled before its first step, as when a loop ends, never runs.
            task.add_done_callback(self._ended)
        else:
            # A system task outlives the main task and is cancelled after it; an exception out of it would be an internal error of trio's.
            _held[self] = sys.modules["trio"].lowlevel.spawn_system_task(self._hold, name=self._name, context=context)

    def _ended(self, task: Any) -> None:
        if not self.closed.is_set():
            self._keep(Stranger(self._name))
            self._finish()

    def _finish(self) -> None:
        _held.pop(self, None)
        self._opened.set()
        self.closed.set()

    async def _hold(self) -> None:
        try:
            await self._hold_open()
        except Exception as error:  # noqa: BLE001 - nobody awaits this task: what leaves the block is kept for those who stop it
            self._keep(error)
        except BaseException as error:
            self._keep(error)
            if hasattr(self.loop, "create_task") or isinstance(error, anyio.get_cancelled_exc_class()):
                raise

            # An interrupt out of a system task would be an internal error of trio's. It is raised where the end is waited for.
            log.critical("%s was interrupted: %r", self._name, error, extra={"dspex_task": self._name})
        finally:
            self._finish()

    async def _hold_open(self) -> None:
        if self._released.is_set():
            return  # who opens it has gone before it began

        async with self._resource:
            self._opened.set()
            await self._released.wait()

    def _keep(self, error: BaseException) -> None:
        if self._opened.is_set():
            self.exit_error = error
        elif isinstance(error, anyio.get_cancelled_exc_class()):
            # Whoever waits for the opening is not the one who was cancelled.
            self._error = Stranger(self._name)
        else:
            self._error = error


class Stranger(Exception):
    """What a task ends with that was cancelled by nobody we know."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the task of {name} was cancelled by a stranger")


async def leave_all() -> None:
    """Has all host tasks of this loop leave, one after the other, the youngest first, and returns when they have."""
    loop = running()
    for host in [host for host in reversed(_held) if host.loop is loop]:
        host.release()
        await host.closed.wait()

    # What was closed last tells its transport so in a step of its own.
    for _ in range(3):
        await anyio.lowlevel.checkpoint()


def _leave_abandoned() -> None:
    """Runs each loop that was stopped with host tasks in it until they have left. Not one of another thread, nor of before a fork."""
    for loop in dict.fromkeys(host.loop for host in _held if host.home == _here()):
        if hasattr(loop, "create_task") and not loop.is_running() and not loop.is_closed():
            loop.run_until_complete(_leave_in_time(loop))


async def _leave_in_time(loop: Any) -> None:
    with anyio.move_on_after(GRACE):
        await leave_all()

    for host, task in _held.items():
        if host.loop is loop:
            task.cancel()

    with anyio.move_on_after(GRACE):
        await leave_all()


def _here() -> tuple[int, int]:
    return os.getpid(), get_ident()
