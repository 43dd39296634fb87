"""
What all who watch see: the tree and the totals, built once for all of them, in slices.

However much there is, a snapshot has a bounded size. What it costs grows with the number of contexts, since each is asked for its counts: so it is
built no more often than that it takes a tenth of the loop's time.
"""

from __future__ import annotations

from collections import Counter
from time import monotonic, perf_counter, time
from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec
from attrs import frozen

from ...context import Context, Status
from ...supervision import bounded, others_line
from ...telemetry._live import BRIDGES, CONTEXTS, RESTARTS
from .._sentences import counted
from .lines import encodable
from .slices import Slices
from .spots import TOP, RootNames, Spot, escaped, roots, stands_alone
from .turns import STATE, Turns

if TYPE_CHECKING:
    from ...supervision import Branch
    from .events import About, Ring

# So many of what stands alone are in a snapshot, and as many contexts that do.
_ROOTS: Final = 40
# Branches below all roots, and below one of them; each has a few, however many roots there are.
_BRANCHES: Final = 1200
_MOST: Final = 200
_FEW: Final = 8

_RUNNING: Final = Status.RUNNING.value

# How many contexts are counted between two looks at the clock.
_STRIDE: Final = 256

_WORDS: Final = 200
"""Characters of a name, a fact or a note."""


@frozen
class Shared:
    """
    One snapshot, as far as it is the same for all.

    Attributes:
        at: Unix time in seconds.
        uptime: seconds since the monitor was opened.
        made: when it was built, in seconds on a clock that only goes forward.
        tree: the root node.
        totals: numbers over all there is.
        nodes: all nodes by their paths.
        paths: where what events are about is to be found.
        tree_encoded: the tree as JSON.
        rest: seconds that should pass before another one is built.

    """

    at: float
    uptime: float
    made: float
    tree: dict[str, Any]
    totals: dict[str, int]
    nodes: dict[str, dict[str, Any]]
    paths: dict[About, str]
    tree_encoded: msgspec.Raw
    rest: float


class Snapshots:
    """
    Builds them.

    Attributes:
        names: what the roots are called.
        longest: seconds of the longest slice that building one has taken so far.

    """

    def __init__(self, title: str, ring: Ring) -> None:
        self._title = title
        self._began = perf_counter()
        self._ring = ring
        self._turn = anyio.Lock()
        self._last: Shared | None = None
        self._switched_before = 0
        self._turns = Turns()
        self.names: RootNames = RootNames()
        self.longest: float = 0.0

    async def begin(self) -> None:
        """Counts what happened before anybody listened."""
        slices = Slices()
        for inside in CONTEXTS:
            self._switched_before += inside.switches
            await slices.breathe()

    async def latest(self, older: float) -> Shared:
        """The last one, unless it is more than *older* seconds old; then a new one. Who asks while one is built gets that."""
        async with self._turn:
            last = self._last
            if last is None or perf_counter() - last.made > max(older, last.rest):
                last = self._last = await self._build()

            return last

    async def _build(self) -> Shared:
        slices = Slices()
        self.names.forget()
        totals = await self._bridges(slices)
        alone = await self._contexts(totals, slices)
        totals["restarts"] = RESTARTS.children + RESTARTS.workers
        totals["switches"] = self._switched_before + self._ring.switches
        forest = Forest(self._title, self._turns)
        await self._plant(forest, alone, slices)
        encoded = msgspec.Raw(msgspec.json.encode(forest.tree))
        slices.stop()
        self.longest = max(self.longest, slices.longest)
        now = perf_counter()
        return Shared(time(), now - self._began, now, forest.tree, totals, forest.nodes, forest.paths, encoded, slices.rest)

    async def _bridges(self, slices: Slices) -> dict[str, int]:
        totals: dict[str, int] = dict.fromkeys(("contexts", "operations", "queued", "workers", "workers_ready", "running", "waiting"), 0)
        for bridge in BRIDGES:
            for pool in bridge._pools.values():
                places = pool._places
                totals["workers"] += len(places.workers)
                totals["workers_ready"] += sum(worker.serves for worker in places.workers)
                totals["running"] += places.running
                totals["waiting"] += places.waiting

            await slices.breathe()

        return totals

    async def _contexts(self, totals: dict[str, int], slices: Slices) -> Alone:
        await slices.pause()
        (direct, queued), living = CONTEXTS.moment()
        await slices.breathe()
        alone = Alone(self._turns)
        self._turns.begin(monotonic())
        for start in range(0, len(living), _STRIDE):
            for inside in living[start : start + _STRIDE]:
                straight, through = inside.counts()
                direct += straight
                queued += through
                if inside.variables.mailbox.ledger:
                    self._turns.look_at(inside)

                if stands_alone(inside):
                    alone.add(inside)

            await slices.breathe()

        totals.update(contexts=len(living), operations=direct + queued, queued=queued)
        await slices.pause()
        return alone

    async def _plant(self, forest: Forest, alone: Alone, slices: Slices) -> None:
        others = list(roots())
        things = [*others[:_ROOTS], *alone.chosen()]
        share = min(_MOST, max(_FEW, _BRANCHES // max(1, len(things))))
        for thing in things:
            # Each in a slice of its own: by itself it may take one.
            await slices.pause()
            forest.plant(self.names.spot(thing), share)

        await slices.pause()
        left = Counter(alone.left())
        left.update("" for _ in others[_ROOTS:])
        forest.tree["others"] = {state: count for state, count in left.items() if count}
        forest.tree["more"] = _more(forest.tree["others"])
        forest.tell_stuck()


class Alone:
    """The contexts that stand alone: the first ones, before them those that aren't simply running, and how many are in which state."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._running: list[Any] = []
        self._others: list[Any] = []
        self._states: Counter[str] = Counter()

    def add(self, inside: Any) -> None:
        """One more."""
        state = self._state(inside)
        self._states[state] += 1
        few = self._running if state == _RUNNING else self._others
        if len(few) < _ROOTS:
            few.append(inside)

    def chosen(self) -> list[Any]:
        """Those to show."""
        return [inside.handle for inside in self._chosen()]

    def left(self) -> dict[str, int]:
        """How many others are in each state."""
        left = Counter(self._states)
        left.subtract(map(self._state, self._chosen()))
        return {state: count for state, count in left.items() if count > 0}

    def _state(self, inside: Any) -> str:
        state: str = inside.status.value
        return STATE if state == _RUNNING and self._turns.note(inside) else state

    def _chosen(self) -> list[Any]:
        return [*self._others, *self._running][:_ROOTS]


# --- nodes -------------------------------------------------------------------------------------------------------------------------


class Forest:
    """
    All trees below one root, as data.

    Attributes:
        tree: that root.
        nodes: all of it by path.
        paths: where what events are about is to be found.

    """

    def __init__(self, title: str, turns: Turns) -> None:
        self._turns = turns
        self._stuck = 0
        self.tree: dict[str, Any] = _node(TOP, title, "process", "running")
        self.nodes: dict[str, dict[str, Any]] = {TOP: self.tree}
        self.paths: dict[About, str] = {}

    def plant(self, spot: Spot, limit: int) -> None:
        """The tree of one root, of about *limit* branches. A plain step."""
        branch = bounded(spot.thing, limit)
        self.tree["children"].append(self._grown(branch, spot, spot.path))

    def _grown(self, branch: Branch, spot: Spot | None, path: str) -> dict[str, Any]:
        node = as_node(branch, path)
        self.nodes[path] = node
        if spot is not None:
            self._note(node, spot)

        taken: Counter[str] = Counter()
        for child in branch.children:
            part = escaped(child.name)
            taken[part] += 1
            below = f"{path}/{part}" if taken[part] == 1 else f"{path}/{part}~{taken[part]}"
            at = spot.at(part) if spot is not None and taken[part] == 1 else None
            node["children"].append(self._grown(child, at, below))

        return node

    def _note(self, node: dict[str, Any], spot: Spot) -> None:
        thing, path = spot.thing, spot.path
        if isinstance(thing, Context):
            node["operations"] = thing.variables.operations
            self.paths["context", thing.id] = path
            self._note_stuck(node, self._turns.note(thing._inside))
        elif node["kind"] == "pool" and spot.above is not None:
            self.paths["bridge", f"{escaped(spot.above.thing.name)}/{escaped(thing.name)}"] = path

    def _note_stuck(self, node: dict[str, Any], note: str) -> None:
        if not note:
            return

        self._stuck += 1
        node["note"] = _words(note)
        if node["state"] == _RUNNING:
            node["state"] = STATE

    def tell_stuck(self) -> None:
        """Says of how many that are stuck there is no node."""
        hidden = len(self._turns) - self._stuck
        if hidden > 0:
            self.tree["note"] = f"{counted(hidden, 'more context')} {'is' if hidden == 1 else 'are'} stuck"


def as_node(branch: Branch, path: str) -> dict[str, Any]:
    """One branch as data, without what is below it."""
    node = _node(path, branch.name, branch.kind, branch.state)
    node["facts"] = {_words(name): _fact(fact) for name, fact in branch.facts.items()}
    node["note"] = _words(branch.note)
    node["others"] = dict(branch.others)
    node["more"] = _words(others_line(branch))
    return node


def _node(path: str, name: str, kind: str, state: str) -> dict[str, Any]:
    return {
        "id": encodable(path),
        "name": _words(name),
        "kind": _words(kind),
        "state": _words(state),
        "facts": {},
        "note": "",
        "children": [],
        "others": {},
        "more": "",
    }


def _words(text: Any) -> str:
    words = text if isinstance(text, str) else str(text)
    return encodable(words if len(words) <= _WORDS else words[: _WORDS - 1] + "…")


def _fact(fact: Any) -> Any:
    if fact is None or isinstance(fact, bool):
        return fact

    if isinstance(fact, int) and -(2**53) < fact < 2**53:
        return int(fact)

    # JSON has no infinity.
    return float(fact) if isinstance(fact, float) and fact - fact == 0 else _words(fact)


def _more(others: dict[str, int]) -> str:
    from ...supervision import Branch

    return others_line(Branch("", others=others))
