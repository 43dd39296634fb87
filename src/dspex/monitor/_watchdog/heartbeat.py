"""
Whether an event loop runs: it is asked for a sign of life, and has a bound to give it.

A loop that is stopped isn't held: nobody runs it. What it has been asked it does when it runs again.
"""

from __future__ import annotations

import logging
import threading
from _thread import get_ident
from time import monotonic

from ...telemetry._hooks import LOOP_HELD
from .._loops import Loop
from .._sentences import milliseconds
from .stacks import stack_of_thread


class Heartbeat:
    """
    The pulse of one loop. All but `answer` is called by the watchdog's thread. Times are in seconds, of `time.monotonic`.

    Attributes:
        loop: which.
        over: whether it has ended for good.

    """

    __slots__ = ("_answered", "_asked", "_bound", "_held", "_log", "loop", "over")

    def __init__(self, loop: Loop, bound: float, log: logging.Logger) -> None:
        self.loop: Loop = loop
        self.over: bool = False
        self._bound = bound
        self._log = log
        self._asked: float | None = None
        self._answered: float | None = None
        self._held = False

    def look(self, now: float) -> None:
        """Takes note of its answer, asks again, or tells that it is held."""
        if self._answered is not None:
            self._came_back(self._answered)

        if self._asked is None:
            self._ask(now)
        elif not self.loop.is_running:
            self.over = self.loop.has_ended
            self._asked, self._held = now, False
        elif not self._held and now - self._asked >= self._bound:
            self._tell(now - self._asked)

    def forgive(self, seconds: float) -> None:
        """The whole process has stood still for *seconds*."""
        if self._asked is not None and not self._held:
            self._asked += seconds

    def answer(self) -> None:
        """Called by the loop."""
        self.loop.thread = get_ident()
        self._answered = monotonic()

    def _ask(self, now: float) -> None:
        self._asked = now
        self.over = not self.loop.soon(self.answer)

    def _came_back(self, answered: float) -> None:
        if self._held and self._asked is not None:
            seconds = answered - self._asked
            name = _name_of(self.loop.thread)
            self._log.info(
                "The event loop of thread %r runs again, after %s",
                name,
                milliseconds(seconds),
                extra={"dspex_thread": name, "dspex_seconds": seconds},
            )

        self._asked, self._answered, self._held = None, None, False

    def _tell(self, seconds: float) -> None:
        stack = stack_of_thread(self.loop.thread)
        self.over = self.loop.has_ended
        if self.over or self._answered is not None:
            # It ended, or came back, before we looked: what was seen isn't what held it.
            return

        self._held = True
        name = _name_of(self.loop.thread)
        if LOOP_HELD.heard:
            from ...telemetry import LoopHeld

            LOOP_HELD.tell(LoopHeld(thread=name, seconds=seconds, stack=stack))

        self._log.warning(
            "The event loop of thread %r has been held for %s. It is at\n%s",
            name,
            milliseconds(seconds),
            stack,
            extra={"dspex_thread": name, "dspex_seconds": seconds, "dspex_stack": stack},
        )


def _name_of(ident: int) -> str:
    return next((thread.name for thread in threading.enumerate() if thread.ident == ident), f"{ident}")
