"""
The host task: what stands behind ``start()``.

A cancel scope or a task group must be left by the task that entered it. In a REPL each line is a task of its own, and a fixture may
be set up by one task and torn down by another. So ``start()`` gives the whole ``async with`` block to one task that lives beside the
caller's, and ``stop()`` only asks it to leave.

Such a task belongs to no task group. This is one of the few places where a loop's own primitive is the point.
"""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

# asyncio keeps only weak references to its tasks.
_running: set[Any] = set()


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


def _spawn(function: Callable[[], Awaitable[None]], name: str) -> None:
    context = contextvars.Context()
    loop = running()
    if hasattr(loop, "create_task"):
        task = loop.create_task(function(), name=name, context=context)
        _running.add(task)
        task.add_done_callback(_running.discard)
    else:
        # A system task outlives the main task and is cancelled after it; an exception out of it would be an internal error of trio's.
        sys.modules["trio"].lowlevel.spawn_system_task(function, name=name, context=context)


class HostTask:
    """One task that holds an async context manager open until `release` is called or the loop ends."""

    __slots__ = ("_error", "_name", "_opened", "_released", "_resource", "closed", "exit_error")

    def __init__(self, resource: Any, name: str) -> None:
        self._resource = resource
        self._name = name
        self._opened = anyio.Event()
        self._released = anyio.Event()
        self._error: BaseException | None = None
        self.closed: anyio.Event = anyio.Event()
        self.exit_error: BaseException | None = None

    async def open(self) -> None:
        """
        Starts the task and returns once the block is entered.

        Raises:
            BaseException: what entering raised. A cancellation while waiting leaves the block again before it goes on.

        """
        _spawn(self._hold, self._name)
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

    async def _hold(self) -> None:
        try:
            await self._hold_open()
        except Exception as error:  # noqa: BLE001 - nobody awaits this task: what leaves the block is kept for those who stop it
            self._keep(error)
        except BaseException as error:
            self._keep(error)
            raise
        finally:
            self._opened.set()
            self.closed.set()

    async def _hold_open(self) -> None:
        async with self._resource:
            self._opened.set()
            await self._released.wait()

    def _keep(self, error: BaseException) -> None:
        if self._opened.is_set():
            self.exit_error = error
        else:
            self._error = error
