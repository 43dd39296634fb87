"""One client that watches: what it has selected, which events it has seen, and when it is due again."""

from __future__ import annotations

import math
from typing import Any, Final

import anyio
import msgspec

from .details import detail
from .events import Ring
from .finding import Finder, NotFound, is_top
from .lines import BadLine, Peer, Request, Selection, checked
from .snapshots import Shared, Snapshots
from .spots import Spot, is_live
from .timing import Timing

# Seconds between two snapshots that a new selection brings about.
_HASTE: Final = 0.05


class Watcher:
    """
    Makes the snapshots of one client. It keeps none: a client that is slow gets fewer.

    Attributes:
        every: seconds between two.

    """

    def __init__(self, request: Request, snapshots: Snapshots, finder: Finder, ring: Ring) -> None:
        self.every: float = checked("every", request.every)
        self._wanted: str | None = request.selected
        self._chosen = anyio.Event()
        self._snapshots = snapshots
        self._finder = finder
        self._ring = ring
        self._seen = 0
        self._spot: Spot | None = None
        self._known: str | None = None
        self._timing: Timing | None = None

    def close(self) -> None:
        """Observes nothing any longer."""
        if self._timing is not None:
            self._timing.close()
            self._timing = None

    async def heed(self, peer: Peer) -> None:
        """
        Takes what the client says until it has gone.

        Raises:
            BadLine: it says what it may not.

        """
        while (line := await peer.next()) is not None:
            try:
                self._wanted = msgspec.json.decode(line, type=Selection).selected
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise BadLine(f'Expected {{"selected": a path or null}}, got something else: {error}.') from None

            self._chosen.set()

    async def wait_due(self) -> None:
        """Waits until the next snapshot is due: at whole multiples of the interval, so that all who have the same are served by one; or selected anew."""
        now = anyio.current_time()
        due = (math.floor(now / self.every) + 1) * self.every
        with anyio.move_on_at(due):
            await anyio.sleep(min(_HASTE, due - now))
            await self._chosen.wait()

    async def snapshot(self) -> dict[str, Any]:
        """The next one."""
        hurried = self._chosen.is_set()
        self._chosen = anyio.Event()
        shared = await self._snapshots.latest(math.inf if hurried else self.every / 2)
        selected = await self._selected(shared)
        events, dropped = self._ring.since(self._seen)
        self._seen = max(self._seen, events[-1].number if events else 0)
        told = [event.plain(shared.paths) for event in events]
        return {**overview(shared), "selected": selected, "events": told, "dropped": dropped}

    async def _selected(self, shared: Shared) -> dict[str, Any] | None:
        wanted = self._wanted
        if wanted != self._known or self._spot is None:
            self._spot = None if wanted is None else await self._look_for(wanted)
            self._known = wanted

        spot = self._spot = _again(self._spot)
        self._time(spot)
        if spot is not None:
            told = detail(spot, self._ring)
            return told if self._timing is None else {**told, "interval": self._timing.look()}

        return None if wanted is None else described(wanted, shared)

    async def _look_for(self, wanted: str) -> Spot | None:
        if wanted == self._known:
            # It has gone, and may come back at the place where it was.
            return self._finder.at(wanted)

        try:
            return None if is_top(wanted) else await self._finder.find(wanted)
        except NotFound:
            return None

    def _time(self, spot: Spot | None) -> None:
        from ...context import Context

        context = spot.thing if spot is not None and isinstance(spot.thing, Context) else None
        if self._timing is not None and self._timing.context is not context:
            self.close()

        if self._timing is None and context is not None:
            self._timing = Timing(context)


def _again(spot: Spot | None) -> Spot | None:
    """What is now where *spot* was."""
    if spot is None:
        return None

    if spot.above is None:
        return spot if is_live(spot.thing) else None

    above = _again(spot.above)
    return None if above is None else above.at(spot.path.rpartition("/")[2])


def overview(shared: Shared) -> dict[str, Any]:
    """The part that is the same for all."""
    return {"at": shared.at, "uptime": shared.uptime, "tree": shared.tree_encoded, "totals": shared.totals}


def described(path: str, shared: Shared) -> dict[str, Any] | None:
    """What a snapshot has of something that draws itself, and of which no more is known."""
    node = shared.nodes.get("/" if is_top(path) else path)
    if node is None:
        return None

    told = {"path": node["id"], **{name: node[name] for name in ("kind", "name", "state", "facts", "note")}}
    return {**told, "totals": shared.totals} if is_top(path) else told
