"""Finding one thing of the live tree by what a person calls it: its path, the end of one, a context's name or id, a worker's process id."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable, Iterator

import anyio

from ...context import Context
from ...telemetry._live import CONTEXTS
from ...worker.host.seats import Seat
from .lines import listed
from .slices import Slices
from .spots import TOP, RootNames, Spot, roots, stands_alone

# How many contexts that are below something else are passed over at once.
_STRIDE = 1000


class NotFound(LookupError):
    """Nothing is called so, or several things are."""


class Finder:
    """
    Finds things: one search at a time, in no more than a tenth of the loop's time.

    Attributes:
        names: what the roots are called.

    """

    def __init__(self, names: RootNames) -> None:
        self.names: RootNames = names
        self._turn = anyio.Lock()
        self._free_at = -math.inf

    async def find(self, name: str) -> Spot:
        """
        What *name* means: a path before anything else, then the name or id of a context or the process id of a worker, then the end of a path.

        Raises:
            NotFound: nothing, or several things.

        """
        found = self.at(name)
        if found is not None:
            return found

        async with self._turn:
            await anyio.sleep_until(self._free_at)
            slices = Slices()
            try:
                return _settled(_only(name, await _search(name, self.names, slices)), self.names)
            finally:
                slices.stop()
                self._free_at = anyio.current_time() + slices.rest

    def at(self, path: str) -> Spot | None:
        """What is at *path* now. It takes as many steps as the path has parts."""
        first, *parts = path.split("/")
        return _down(self.names.find(first) or _root_called(first, self.names), parts)


async def _search(name: str, names: RootNames, slices: Slices) -> list[Spot]:
    called: list[Spot] = []
    ending: list[Spot] = []
    async for spot in _everything(names, slices):
        if spot.path == name or _is_called(spot, name):
            called.append(spot)
        elif spot.path.endswith(f"/{name}"):
            ending.append(spot)

    return called or ending


def _down(spot: Spot | None, parts: Iterable[str]) -> Spot | None:
    for part in parts:
        if spot is None:
            return None

        spot = spot.at(part)

    return spot


def _root_called(name: str, names: RootNames) -> Spot | None:
    for thing in roots():
        spot = names.spot(thing)
        if spot.path == name:
            return spot

    return None


def _settled(spot: Spot, names: RootNames) -> Spot:
    """The same, by a path that no other has from now on."""
    root, parts = spot, list[str]()
    while root.above is not None:
        parts.insert(0, root.path.rpartition("/")[2])
        root = root.above

    return _down(names.spot(root.thing), parts) or spot


def _only(name: str, found: list[Spot]) -> Spot:
    if len(found) == 1:
        return found[0]

    if not found:
        raise NotFound(
            f"There is nothing called {name!r}: it is no path, nor the end of one, no name or id of a context, no process id of a worker."
        )

    raise NotFound(f"{name!r} may be {listed([spot.path for spot in found])}. Say more of the path.")


def _is_called(spot: Spot, name: str) -> bool:
    if isinstance(spot.thing, Context):
        return name in (spot.thing.name, spot.thing.id)

    if isinstance(spot.thing, Seat):
        worker = spot.thing._worker
        return worker is not None and str(worker.process.pid) == name

    return False


async def _everything(names: RootNames, slices: Slices) -> AsyncIterator[Spot]:
    """All there is, in slices."""
    for spot in _walk(names):
        if spot is not None:
            yield spot

        if spot is None or slices.is_long:
            await slices.pause()


def _walk(names: RootNames) -> Iterator[Spot | None]:
    """All there is. None: what comes next takes a slice by itself, or there was nothing for a while."""
    waiting: list[Iterator[Spot | None]] = [_lone(), iter([names.spot(thing) for thing in roots()])]
    while waiting:
        try:
            spot = next(waiting[-1])
        except StopIteration:
            waiting.pop()
            continue

        yield spot
        if spot is not None:
            if spot.is_broad:
                yield None

            waiting.append(spot.below())


def _lone() -> Iterator[Spot | None]:
    """Contexts that stand alone. They are named only when they are asked for: there may be very many."""
    yield None
    for number, inside in enumerate(CONTEXTS):
        if stands_alone(inside):
            handle = inside.handle
            yield Spot(str(handle.name or handle.id), handle)
        elif number % _STRIDE == 0:
            yield None


def is_top(name: str) -> bool:
    """Whether the process itself is meant."""
    return name in ("", TOP)
