"""A thread that calls one hook, for a hook that may block."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._records import Record

MAX_WAITING: Final = 10_000
"""Records that wait to be told. What comes on top is dropped: nobody is held up by how fast a hook is."""

FLUSH_SECONDS: Final = 5.0
"""How long an end waits for what was handed over before it."""

log = logging.getLogger(__name__)


class HookThread:
    """
    The thread of one hook.

    Attributes:
        dropped: records that there was no room for.

    """

    def __init__(self, name: str) -> None:
        self.dropped: int = 0
        self._name = name
        self._waiting: deque[Record] = deque()
        self._news = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def start(self, run: Callable[[Record], None]) -> None:
        """Begins to call *run* with each record, in order."""
        self._thread = threading.Thread(target=self._work, args=(run,), name=f"dspex hook {self._name}", daemon=True)
        self._thread.start()

    def put(self, record: Record) -> None:
        """Hands *record* over. Never waits."""
        if len(self._waiting) >= MAX_WAITING:
            if not self.dropped:
                told = "The hook %s is too slow: %d records wait for it, and what comes on top is dropped"
                log.warning(told, self._name, MAX_WAITING, extra={"dspex_hook": self._name})

            self.dropped += 1
            return

        self._waiting.append(record)
        self._news.set()

    def close(self) -> None:
        """Ends the thread once it has told what it was handed, and waits for that; not if it is the thread itself that asks."""
        self._closed = True
        self._news.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(FLUSH_SECONDS)

    def _work(self, run: Callable[[Record], None]) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            while self._waiting:
                run(self._waiting.popleft())

            if self._closed and not self._waiting:
                return
