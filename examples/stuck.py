"""
What doesn't end. The watchdog tells of an owner that is stuck in one operation, and of an event loop that somebody holds, each with the stack of what it is doing.

Run it with ``python examples/stuck.py``. The context in it has a backend of its own: state that is kept far away.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import anyio

from dspex import Context, LocalState, Var, Variable, monitor
from dspex.abc import Capabilities, Key, StateBackend

COUNT = Var("count", int, 0)


class Distant(StateBackend):
    """State at the other end of a line that is slow at times. Here it is made up: `LocalState` behind an await."""

    capabilities = Capabilities(atomic_updates=True, distributed=True)
    requires_bridge = False

    def __init__(self) -> None:
        self.delay = 0.0
        self._kept = LocalState()

    async def travel(self) -> None:
        """The way there and back."""
        await anyio.sleep(self.delay)

    async def open(self, session_id: str, *, ttl: float | None = None, existing: Sequence[Variable] | None = None) -> None:
        """Its session, with what a context brings along."""
        self._kept.open(session_id, ttl=ttl, existing=existing)

    async def close(self, *, drop: bool = False) -> None:
        """No more operations."""
        self._kept.close(drop=drop)

    async def define(self, definition: Any, value: Any) -> str:
        """A new variable."""
        return self._kept.define(definition, value)

    async def get(self, key: Key) -> Any:
        """A value."""
        await self.travel()
        return self._kept.get(key)

    async def set(self, key: Key, value: Any, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None) -> int:
        """A new value; gives its version."""
        await self.travel()
        return self._kept.set(key, value, metadata, expected_version)

    async def set_many(self, updates: Mapping[Any, Any], metadata: Mapping[str, Any] | None = None, atomic: bool = True) -> dict[str, int]:
        """All of them or, unless *atomic*, those that can be."""
        await self.travel()
        return self._kept.set_many(updates, metadata, atomic)

    async def delete(self, key: Key) -> None:
        """Forget one."""
        self._kept.delete(key)

    async def info(self, key: Key) -> Variable:
        """All that is known of one."""
        return self._kept.info(key)

    async def scan(self) -> AsyncIterator[list[Variable]]:
        """All variables, in pages: what a switch takes along."""
        for page in self._kept.scan():
            yield page


def reindex() -> None:
    """Work of the kind that belongs in a worker, or a thread: nothing else runs on this loop meanwhile."""
    time.sleep(0.7)


async def main() -> None:
    """Be stuck, and hold the loop, under the watchdog's eyes."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(message)s")

    backend = Distant()
    with monitor.Watchdog(owner=0.3, loop=0.3):  # or monitor.attach(watchdog=True), with a second and a quarter of one
        async with Context(name="counter", variables=[COUNT], backend=backend) as ctx:
            # One operation of the owner takes long, and all others wait for it.
            backend.delay = 0.7
            await ctx.variables.set(COUNT, 1)
            backend.delay = 0.0
            await anyio.sleep(0.2)

            # One callback of the loop takes long, and everything waits for it.
            reindex()
            await anyio.sleep(0.2)


if __name__ == "__main__":
    anyio.run(main)
