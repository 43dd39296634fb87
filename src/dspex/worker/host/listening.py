"""
Listening to a socket: a plain function takes what has come, each time something has.

On asyncio it runs in the loop's own callback for the socket: between a worker that asks and its answer no task is woken, the loop makes no
further turn, and what its selector watches stays the same. These three are most of what an operation cost otherwise. trio has nothing of
the kind; there a task waits for the socket.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from contextvars import Context, copy_context
from time import perf_counter
from typing import Any, Final

import anyio
import anyio.lowlevel

# Gives what came that it doesn't deal with by itself; None: go on. Raises BlockingIOError when nothing had come.
Step = Callable[[], Any]

# Seconds. Whoever asked again within this time of an answer is taken to do so once more.
PROMPT: Final = 100e-6
# Steps between two choices, and choices between two trials of the other way.
CHOICE: Final = 32
TRIAL: Final = 16


class Patience:
    """
    Whether to sleep between two steps, or to keep the loop turning for a moment.

    To be woken takes longer than all else about an operation where the worker has another processor, and to stay awake keeps the worker
    from running where it has the same one. Only the scheduler knows which it is, so both ways are tried now and then, and measured.
    """

    __slots__ = ("_gaps", "_served", "_steps", "_watchful")

    def __init__(self) -> None:
        self._gaps = [0.0, 0.0]
        self._served = 0.0
        self._steps = 0
        self._watchful = False

    def came(self) -> None:
        """Something has come."""
        gap = perf_counter() - self._served
        if gap > 2 * PROMPT:
            self._watchful = False
            return

        self._gaps[self._watchful] += (gap - self._gaps[self._watchful]) / 8
        self._steps += 1
        if self._steps % CHOICE == 0:
            self._watchful = (self._gaps[1] < self._gaps[0]) is not (self._steps % (CHOICE * TRIAL) == 0)

    def served(self) -> None:
        """And was dealt with."""
        self._served = perf_counter()

    def lasts(self) -> bool:
        """Whether to stay awake for now."""
        return self._watchful and perf_counter() - self._served < PROMPT


class Ear:
    """One socket, which one task at a time may listen to."""

    __slots__ = ("_awake", "_loop", "_patience", "_sock", "_waiting")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._awake = False
        self._loop: Any = None
        self._patience = Patience()
        self._waiting: Any = None

    async def listen(self, step: Step) -> Any:
        """
        Calls *step* whenever there is something to read, until it gives something else than None, and gives that.

        Raises:
            ClosedResourceError: the socket is closed, or was meanwhile.
            Exception: whatever *step* raises.

        """
        asyncio = sys.modules.get("asyncio")
        if asyncio is None or anyio.get_cancelled_exc_class() is not asyncio.CancelledError:
            return await self._wait_in_turns(step)

        if self._sock.fileno() < 0:
            raise anyio.ClosedResourceError

        self._loop = asyncio.get_running_loop()
        self._waiting = self._loop.create_future()
        _as_in_a_task().run(self._loop.add_reader, self._sock.fileno(), self._readable, step)
        try:
            return await self._waiting
        finally:
            self._stop()

    def _readable(self, step: Step) -> None:
        waiting = self._waiting
        if waiting is None or waiting.done():
            return

        self._patience.came()
        found = None
        try:
            found = step()
        except BlockingIOError:
            pass
        except Exception as error:  # noqa: BLE001 - it is raised where `listen` is awaited
            _settle(waiting, error=error)

        self._patience.served()
        if found is not None:
            _settle(waiting, found)
        elif not self._awake:
            self._stay_awake()

    def _stay_awake(self) -> None:
        """Keeps the loop turning while that is worth it."""
        self._awake = self._waiting is not None and self._patience.lasts()
        if self._awake:
            self._loop.call_soon(self._stay_awake)

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting = None
            if self._sock.fileno() >= 0:
                self._loop.remove_reader(self._sock.fileno())

    async def _wait_in_turns(self, step: Step) -> Any:
        # Most answers come within one turn of the loop, and two changes to what it watches cost more than that turn does.
        dry = False
        while True:
            await (anyio.wait_readable(self._sock) if dry else anyio.lowlevel.checkpoint())
            try:
                found = step()
            except BlockingIOError:
                dry = True
                continue

            if found is not None:
                return found

            dry = False

    def close(self) -> None:
        """Wakes whoever listens. Just before the socket is closed."""
        if self._waiting is not None:
            _settle(self._waiting, error=anyio.ClosedResourceError())

        self._stop()
        anyio.notify_closing(self._sock)


def _as_in_a_task() -> Context:
    """This task's context for callbacks, where anyio, unless it runs the loop itself, can't see by the task which library it is on."""
    context = copy_context()
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:
        context.run(sniffio.current_async_library_cvar.set, "asyncio")

    return context


def _settle(waiting: Any, found: Any = None, error: Exception | None = None) -> None:
    # A step may have closed its own channel.
    if not waiting.done():
        waiting.set_result(found) if error is None else waiting.set_exception(error)
