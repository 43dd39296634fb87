"""
Time that passes only when nothing else can happen.

A loop that would sleep moves its clock instead, so a test of an hour's expiry takes a millisecond and a deadlock ends as a timeout.
No threads, processes or sockets in such a test: the clock doesn't wait for them.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

T = TypeVar("T")

HORIZON = 7 * 24 * 3600.0
"""Seconds of virtual time after which a test is taken to hang."""


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[valid-type,misc]
    jump: Callable[[float], None]

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout is None or timeout <= 0:
            return ready if ready or timeout is not None else super().select(None)

        self.jump(timeout)
        return ready


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An asyncio loop that jumps to its next timer instead of waiting for it."""

    def __init__(self) -> None:
        selector = _JumpingSelector()
        self._now = 0.0
        super().__init__(selector)
        selector.jump = self._jump

    def time(self) -> float:
        return self._now

    def _jump(self, seconds: float) -> None:
        self._now += seconds


def backend(library: str) -> tuple[str, dict[str, Any]]:
    """The name and options for *library* on virtual time, fresh for each run: a trio clock serves one run."""
    if library == "trio":
        from trio.testing import MockClock

        return "trio", {"clock": MockClock(autojump_threshold=0)}

    return "asyncio", {"loop_factory": VirtualClockLoop}


def run(library: str, main: Callable[[], Awaitable[T]]) -> T:
    """Run *main* on *library* in virtual time, and fail instead of hanging."""

    async def within_the_horizon() -> T:
        with anyio.fail_after(HORIZON):
            return await main()

    name, options = backend(library)
    return anyio.run(within_the_horizon, backend=name, backend_options=options)
