"""Work in slices, between which others run."""

from __future__ import annotations

from time import perf_counter
from typing import Final

from anyio.lowlevel import checkpoint

SLICE: Final = 0.002
"""Seconds of work after which others run."""


PART: Final = 0.1
"""The part of the loop's time that a piece of work which is asked for again and again takes at most."""


class Slices:
    """
    One piece of work that may be long.

    Attributes:
        busy: seconds that it has worked so far, up to the last pause.
        longest: seconds of its longest slice.

    """

    __slots__ = ("_began", "busy", "longest")

    def __init__(self) -> None:
        self._began = perf_counter()
        self.busy: float = 0.0
        self.longest: float = 0.0

    @property
    def rest(self) -> float:
        """Seconds that should pass before it is done again."""
        return self.busy * (1 / PART - 1)

    @property
    def is_long(self) -> bool:
        """Whether it is time for a pause."""
        return perf_counter() - self._began >= SLICE

    async def breathe(self) -> None:
        """Lets others run, if it is time."""
        if self.is_long:
            await self.pause()

    async def pause(self) -> None:
        """Lets others run."""
        self.stop()
        await checkpoint()
        self._began = perf_counter()

    def stop(self) -> None:
        """Counts the slice that has just ended."""
        seconds = perf_counter() - self._began
        self.busy += seconds
        self.longest = max(self.longest, seconds)
        self._began = perf_counter()
