"""What keeps the view attached: it reads snapshots, and attaches again, ever more slowly, when the connection is lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import anyio
from attrs import frozen

from .._exceptions import MonitorUnreachable
from ..monitor import MonitoredService, ServiceWatch
from ..supervision import Backoff
from ._snapshot import Node, Service, Snapshot

AGAIN = Backoff(initial=0.25, maximum=5.0, jitter=0.1)

Opening = Callable[[], AbstractAsyncContextManager[MonitoredService]]


@frozen
class Lost:
    """There is no connection."""

    why: str
    """In words."""
    again_in: float
    """Seconds until it is tried again."""


class Link:
    """
    The connection, for as long as the view is there.

    Args:
        opening: gives a new connection.
        every: seconds between two snapshots.
        tell: gets whatever is new, in the order in which it came.

    """

    def __init__(self, opening: Opening, every: float, tell: Callable[[Service | Snapshot | Lost], None]) -> None:
        self._opening = opening
        self._every = every
        self._tell = tell
        self._watching: ServiceWatch | None = None
        self._wanted: str | None = None
        self._asked: str | None = None
        self._attached = 0
        self._turn = anyio.Lock()

    async def run(self) -> None:
        """Until it is cancelled."""
        strikes = 0
        while True:
            began = self._attached
            try:
                async with self._opening() as service:
                    await self._read(service)
            except MonitorUnreachable as error:
                why = error.problem
            except ValueError as error:  # what came is no snapshot
                why = str(error)
            else:
                why = "the service has hung up"
            finally:
                self._watching = None

            strikes = 1 if self._attached > began else strikes + 1
            delay = AGAIN.delay(strikes)
            self._tell(Lost(why, delay))
            await anyio.sleep(delay)

    async def _read(self, service: MonitoredService) -> None:
        asked = self._wanted
        async with service.watch(every=self._every, selected=asked) as watching:
            self._watching, self._asked = watching, asked
            self._tell(Service.of(service.hello))
            async for data in watching:
                self._attached += 1
                self._tell(Snapshot.of(data))

    async def find(self, name: str) -> Node:
        """
        What the service finds by *name*, drawn or not: a path or the end of one, the name or id of a context, the process id of a worker.

        Raises:
            LookupError: nothing is called so, or several things are.
            MonitorUnreachable: the service isn't there, or doesn't answer.

        """
        async with self._opening() as service:
            return Node.found_as(await service.inspect(name))

    async def select(self, path: str | None) -> None:
        """Asks for the numbers of the node *path*, of the last one asked for if this is called again meanwhile."""
        self._wanted = path
        async with self._turn:
            watching = self._watching
            if watching is None or self._asked == self._wanted:
                return

            self._asked = self._wanted
            try:
                await watching.select(self._wanted)
            except MonitorUnreachable:
                """Whoever reads finds that out as well, and says so."""
