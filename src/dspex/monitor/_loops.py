"""
An event loop, as other threads see it.

`anyio.from_thread.run_sync` waits until the loop has done what it is asked. One that is stopped, or closed before it comes to it, never does, and whoever
waits for it hangs for good. So a loop is told here, with its own way of being told, and nobody waits.
"""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable
from typing import Any

import anyio
from anyio.lowlevel import current_token

from ..supervision._hosting import running, settled


class Loop:
    """
    One run of an event loop.

    Attributes:
        native: what it is to its own library: asyncio's loop, or trio's token.
        thread: the id of the thread that it runs on.

    """

    __slots__ = ("_is_running", "_soon", "native", "thread")

    def __init__(self, native: Any, thread: int) -> None:
        self.native: Any = native
        self.thread: int = thread
        self._soon: Callable[[Callable[[], object]], object] = getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon
        self._is_running: Callable[[], bool] | None = getattr(native, "is_running", None)

    @classmethod
    def here(cls) -> Loop | None:
        """The one that runs this code, also in a callback of it, where there is no task; None where none does."""
        try:
            return cls(current_token().native_token, get_ident())
        except anyio.NoEventLoopError:
            pass

        try:
            return cls(running(), get_ident())
        except RuntimeError:
            return None

    @classmethod
    def known(cls) -> list[Loop]:
        """Those that contexts began in, on whatever thread, as far as they are still there."""
        return [cls(native, thread) for native, thread in settled()]

    @property
    def is_running(self) -> bool:
        """Whether it runs. Those that tell can be stopped and run again."""
        return self._is_running is None or self._is_running()

    @property
    def has_ended(self) -> bool:
        """Whether it has ended for good. One that can't say is asked for nothing, which it refuses then."""
        closed: Callable[[], bool] | None = getattr(self.native, "is_closed", None)
        return not self.soon(_nothing) if closed is None else closed()

    def soon(self, function: Callable[[], object]) -> bool:
        """Has *function* called on the loop's thread. Never waits. False: it has ended for good."""
        try:
            self._soon(function)
        except RuntimeError:  # which trio's RunFinishedError is too
            return False

        return True


def _nothing() -> None:
    """What a loop is asked for that is asked for nothing."""
