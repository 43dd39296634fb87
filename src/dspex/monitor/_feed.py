"""
Records on their way to a reader: whoever tells never waits, the reader gets them in order, and what it is too slow for is dropped and counted.

A reader holds no task, no task group and no cancel scope, so it is safe inside an async generator; and when nothing refers to it any more, it listens
no longer.
"""

from __future__ import annotations

import weakref
from _thread import get_ident
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from ._bounds import check_count
from ._loops import Loop

R = TypeVar("R")


class Feed(Generic[R]):
    """
    The records that wait. Everything but `next` may be called from any thread.

    Attributes:
        dropped: those there was no room for.

    """

    __slots__ = ("_ended", "_size", "_waiting", "_waking", "dropped")

    def __init__(self, size: int) -> None:
        self.dropped: int = 0
        self._size = size
        self._waiting: deque[R] = deque()
        self._waking: tuple[tuple[Loop | None, anyio.Event], ...] = ()
        self._ended = False

    def put(self, record: R) -> None:
        """Hands *record* over. Of too many the oldest goes."""
        if len(self._waiting) >= self._size:
            self._waiting.popleft()
            self.dropped += 1

        self._waiting.append(record)
        self._wake()

    def end(self) -> None:
        """No more will come once what waits is read. That a context has crashed is told before the operation that it crashed of."""
        self._ended = True
        self._wake()

    def close(self) -> None:
        """No more will come."""
        self._waiting.clear()
        self.end()

    async def next(self) -> R:
        """The next one. `StopAsyncIteration` after the last."""
        # Whoever reads and writes in turns, on a context that answers directly, would never let others run.
        await checkpoint()
        while True:
            if self._waiting:
                return self._waiting.popleft()

            if self._ended:
                raise StopAsyncIteration

            await self._news()

    async def _news(self) -> None:
        waiter = (Loop.here(), anyio.Event())
        self._waking = (*self._waking, waiter)
        try:
            # Asked again: another thread may have come between.
            if not self._waiting and not self._ended:
                await waiter[1].wait()
        finally:
            self._waking = tuple(other for other in self._waking if other is not waiter)

    def _wake(self) -> None:
        for loop, event in self._waking:
            if loop is None or loop.thread == get_ident():
                event.set()
            else:
                loop.soon(event.set)


class Following(ABC, Generic[R]):
    """
    What is followed as it happens: an async iterator, to be used as it is or as ``async with ... as``.

    It listens from the moment it is entered or iterated. It listens no longer when it is closed, when its ``async with`` is left, when what it follows
    has ended, or when nothing refers to it any more, as after a ``break`` out of ``async for record in ...``.
    """

    __slots__ = ("__weakref__", "_feed", "_release")

    def __init__(self, size: int) -> None:
        check_count("max_waiting", size)
        self._feed: Feed[R] = Feed(size)
        self._release: weakref.finalize[Any, Any] | None = None

    @property
    def dropped(self) -> int:
        """Records that came faster than they were read: past the bound the oldest ones went."""
        return self._feed.dropped

    @abstractmethod
    def _listen(self, feed: Feed[R]) -> Callable[[], None]:
        """Has everything put into *feed*, and returns what ends that. Neither may refer to this object."""

    def _begin(self) -> None:
        if self._release is None:
            self._release = weakref.finalize(self, self._listen(self._feed))
            self._release.atexit = False

    def _let_go(self) -> None:
        if self._release is None:
            self._release = weakref.finalize(self, _nothing)

        self._release()

    async def aclose(self) -> None:
        """Listens no longer. Idempotent; whoever waits for the next record is told that there is none."""
        self._let_go()
        self._feed.close()

    async def __aenter__(self) -> Self:
        self._begin()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        self._begin()
        return self

    async def __anext__(self) -> R:
        self._begin()
        try:
            return await self._feed.next()
        except StopAsyncIteration:
            self._let_go()
            raise


def _nothing() -> None:
    """What ends that which never began."""
