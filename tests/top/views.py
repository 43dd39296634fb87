"""A view that runs in a test, with a feed in place of a service."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Self

import anyio
from textual.pilot import Pilot
from top.snapshots import Feed

from dspex._top._app import Top

PATIENCE = 20.0
"""Seconds that may pass until something shows that is sure to come."""
CELL = 12.2  # how wide textual draws a letter
PIECE = re.compile(r'<text[^>]* x="([\d.]+)"[^>]*clip-path="url\(#[^)]*-line-(\d+)\)"[^>]*>([^<]*)</text>')


class Looking:
    """
    ``async with Looking(...) as view``.

    Attributes:
        feed: what stands in for the service.
        app: the view.
        pilot: who presses its keys.

    """

    def __init__(self, *snapshots: dict[str, Any], size: tuple[int, int] = (100, 30), clock: Callable[[], float] = lambda: 0.0) -> None:
        self.feed = Feed()
        self.feed.send(*snapshots)
        self.app = Top(self.feed.connect, where="/run/shop.sock", clock=clock)  # type: ignore[arg-type]
        self.pilot: Pilot[int]
        self._size = size
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._stack.callback(self.feed.close)
        self.pilot = await self._stack.enter_async_context(self.app.run_test(size=self._size, notifications=True))
        if not self.feed.refuse:
            await self.until(lambda: self.feed.is_read)

        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.aclose()

    @property
    def model(self) -> Any:
        return self.app.model

    async def show(self, *snapshots: dict[str, Any]) -> None:
        """Sends these and waits until they have been taken."""
        self.feed.send(*snapshots)
        await self.until(lambda: self.feed.is_read)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self._settle()

    async def type(self, text: str) -> None:
        await self.press(*text)

    async def until(self, so: Callable[[], bool]) -> None:
        deadline = anyio.current_time() + PATIENCE
        while anyio.current_time() < deadline:
            await self._settle()
            if so():
                return

        raise AssertionError("it never came to that; the screen:\n" + "\n".join(self.screen()))

    async def _settle(self) -> None:
        # What is called after a refresh may ask for another one.
        for _ in range(3):
            await self.pilot.pause(0)

    def screen(self) -> list[str]:
        """What is on the screen, line by line."""
        return lines_of(self.app.export_screenshot(), self._size[1])

    def sees(self, text: str) -> bool:
        return any(text in line for line in self.screen())


def lines_of(svg: str, height: int) -> list[str]:
    """The letters that a screenshot has, where they are."""
    lines: list[dict[int, str]] = [{} for _ in range(height)]
    for x, line, text in PIECE.findall(svg):
        for place, letter in enumerate(html.unescape(text).replace("\xa0", " "), round(float(x) / CELL)):
            lines[int(line)][place] = letter

    return ["".join(line.get(place, " ") for place in range(max(line, default=-1) + 1)).rstrip() for line in lines]
