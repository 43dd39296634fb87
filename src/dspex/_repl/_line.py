"""One input: its way over the loop, and what came of it."""

from __future__ import annotations

import ctypes
import inspect
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextvars import ContextVar, copy_context
from queue import Empty, SimpleQueue
from threading import Thread, get_ident
from types import CodeType, FrameType, FunctionType
from typing import Any, Literal

import anyio
from anyio.from_thread import BlockingPortal

# Seconds that an interrupted line has for ending before it is looked at what it does.
PATIENCE = 0.5

News = Literal["ended", "interrupt", "nothing"]


class Line:
    """
    One input as a task of its own.

    Attributes:
        error: what it raised, `SystemExit` and `KeyboardInterrupt` included. None where it was interrupted.
        interrupted: whether somebody wanted it to end.

    """

    def __init__(self, code: CodeType, namespace: dict[str, Any]) -> None:
        self._code = code
        self._namespace = namespace
        self._changes: list[tuple[ContextVar[Any], Any]] = []
        # A queue, and one that a signal handler may put into while its own thread is about to take out.
        self._news: SimpleQueue[News] = SimpleQueue()
        self._thread: int | None = None
        self._task: Future[None] | None = None
        self.error: BaseException | None = None
        self.interrupted = False

    def run_on(self, portal: BlockingPortal) -> None:
        """Runs it and returns when it has ended; Ctrl-C interrupts it. In the main thread."""
        usual = signal.signal(signal.SIGINT, self._heed)
        try:
            # From a thread, since the loop may be busy with something else, and Ctrl-C is to help then too.
            Thread(target=copy_context().run, args=(self._submit, portal), daemon=True).start()
            self._wait()
        finally:
            signal.signal(signal.SIGINT, usual)

        for var, value in self._changes:
            var.set(value)

    # --- in the main thread ------------------------------------------------------------------------------------------------------

    def _heed(self, number: int, frame: FrameType | None) -> None:
        self._news.put("interrupt")

    def _wait(self) -> None:
        timeout = None
        while (news := self._next_news(timeout)) != "ended":
            timeout = None
            if news == "nothing":
                self._throw()
                continue

            self.interrupted = True
            if self._thread is None:
                return  # what hasn't begun never will

            timeout = PATIENCE
            if self._task is not None:
                self._task.cancel()

    def _next_news(self, timeout: float | None) -> News:
        try:
            return self._news.get(timeout=timeout)
        except Empty:
            return "nothing"

    def _throw(self) -> None:
        """Raises `KeyboardInterrupt` in a line that doesn't come to an await. What holds the loop otherwise can't be interrupted."""
        frames = list(_outwards(sys._current_frames().get(self._thread or 0)))
        if any(frame.f_code is Line._evaluate.__code__ for frame in frames[1:]):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread or 0), ctypes.py_object(KeyboardInterrupt))

    # --- beside it ---------------------------------------------------------------------------------------------------------------

    def _submit(self, portal: BlockingPortal) -> None:
        try:
            self._task = portal.start_task_soon(self._run)
        except RuntimeError:
            self.error = SystemExit("The event loop has ended.")
            self._news.put("ended")
            return

        if self.interrupted:
            self._task.cancel()

    # --- on the loop -------------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        self._thread = get_ident()
        before = copy_context()
        try:
            if not self.interrupted:
                await self._evaluate()
        except anyio.get_cancelled_exc_class() as cancelled:
            if self.interrupted:
                raise

            self.error = cancelled  # by its own doing, or because the loop ends
        except (Exception, BaseExceptionGroup, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001 - the prompt shows whatever it is
            self.error = error
        finally:
            # What it set is there for the next line, whose task is another one.
            self._changes = [(var, value) for var, value in copy_context().items() if before.get(var) is not value]
            self._news.put("ended")

    async def _evaluate(self) -> None:
        made = FunctionType(self._code, self._namespace)()
        if self._code.co_flags & inspect.CO_COROUTINE:
            await made


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
