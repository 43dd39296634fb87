"""How often things happen: rates from counts that only grow, and rings of what was measured in the last minutes."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

from ._snapshot import Detail, Node

COUNTED = ("served", "calls")
"""Facts of a node that count what it has done. The first that a node has is its activity, unless it is a context."""

SHORTEST = 0.05
"""Seconds: over less a rate says little. The first look at a node comes at once."""
KEPT = 600
"""Samples of a ring: five minutes at two a second."""
REMEMBERED = 64
"""Nodes whose rings are kept once somebody has looked at them."""


class Rates:
    """How busy each node is, from one tree to the next."""

    def __init__(self) -> None:
        self._counts: dict[str, float] = {}
        self._rates: dict[str, float] = {}
        self._at: float | None = None

    def take(self, root: Node, at: float) -> None:
        """Counts *root* and all below it, as they were *at* that time."""
        counts = {node.id: count for node in root.walk() if (count := count_of(node)) is not None}
        passed = 0.0 if self._at is None else at - self._at
        if passed > 0:
            # A count that has gone down belongs to another one of the same name: it began again from nothing.
            self._rates = {
                path: (count - before if count >= before else count) / passed
                for path, count in counts.items()
                if (before := self._counts.get(path)) is not None
            }

        self._counts, self._at = counts, at

    def of(self, path: str) -> float | None:
        """Times a second, of the node at *path* itself. None if it counts nothing, or was seen only once."""
        return self._rates.get(path)


def count_of(node: Node) -> float | None:
    """What *node* has done so far, as far as it counts."""
    if node.operations is not None:
        return node.operations

    return next((fact for name in COUNTED if isinstance(fact := node.facts.get(name), (int, float))), None)


def among(root: Node) -> str:
    """Of how many the busiest is told, where the service draws a part of what it has; else nothing."""
    nodes = list(root.walk())
    counting = sum(count_of(node) is not None and not node.found for node in nodes)
    return f"of the {counting:,} shown" if any(node.more for node in nodes) else ""


class Ring:
    """The last samples, and how many there were before them."""

    def __init__(self) -> None:
        self._samples: deque[float | None] = deque(maxlen=KEPT)
        self._taken = 0

    def __len__(self) -> int:
        return len(self._samples)

    def take(self, sample: float | None) -> None:
        """One more; None where there was nothing to measure."""
        self._samples.append(sample)
        self._taken += 1

    @property
    def samples(self) -> tuple[float | None, ...]:
        """The oldest first."""
        return tuple(self._samples)

    @property
    def before(self) -> int:
        """How many have gone."""
        return self._taken - len(self._samples)

    @property
    def last(self) -> float | None:
        """The newest."""
        return self._samples[-1] if self._samples else None


class Measured:
    """The rings of one node, or of the whole service."""

    def __init__(self) -> None:
        self._rings: dict[str, Ring] = {}

    def ring(self, name: str) -> Ring:
        """Of that name; empty before anything was taken."""
        return self._rings.get(name) or Ring()

    def take(self, **samples: float | None) -> None:
        """One sample for each of these rings."""
        for name, sample in samples.items():
            self._rings.setdefault(name, Ring()).take(sample)

    def leave_gap(self) -> None:
        """Nobody looked for a while."""
        for ring in self._rings.values():
            ring.take(None)


class Remembered:
    """What was measured of nodes that somebody looked at: of the last of them."""

    def __init__(self) -> None:
        self._nodes: OrderedDict[str, Measured] = OrderedDict()
        self._last: Detail | None = None
        self._at = 0.0

    def of(self, path: str) -> Measured:
        """The rings of the node at *path*."""
        return self._nodes.get(path) or Measured()

    def take(self, detail: Detail, at: float) -> dict[str, int]:
        """
        The numbers of the selected node, as they were *at* that time.

        Returns by how many versions each of its variables has moved on since the snapshot before.
        """
        path = str(detail["path"])
        measured = self._nodes.setdefault(path, Measured())
        self._nodes.move_to_end(path)
        if len(self._nodes) > REMEMBERED:
            self._nodes.popitem(last=False)

        before = self._last if self._last is not None and self._last["path"] == path else None
        if before is None:
            measured.leave_gap()

        if before is None or at - self._at >= SHORTEST:
            measured.take(**samples_of(before, detail, at - self._at))

        moved, self._last, self._at = changes(before, detail), detail, at
        return moved


def samples_of(before: Detail | None, now: Detail, passed: float) -> dict[str, float | None]:
    """What there is to keep of one look at a node, *passed* seconds after the one before."""
    interval = now.get("interval")
    if interval:
        rate = interval["operations"] / interval["seconds"] if interval["seconds"] >= SHORTEST else None
        return {"rate": rate, "p50": interval["p50"], "p99": interval["p99"], "pending": now["counts"]["pending"]}

    numbers = {name: number for name in ("running", "waiting", "rss") if isinstance(number := now.get(name), (int, float))}
    return {"rate": _rate(before, now, passed), **numbers}


def _rate(before: Detail | None, now: Detail, passed: float) -> float | None:
    for name in COUNTED:
        if before is not None and passed > 0 and isinstance(count := now.get(name), int) and isinstance(former := before.get(name), int):
            return (count - former if count >= former else count) / passed

    return None


def changes(before: Detail | None, now: Detail) -> dict[str, int]:
    """By how many versions each variable moved on between two looks at the same context. One that is new counts from where it began."""
    if before is None or before.get("path") != now.get("path") or before.get("id") != now.get("id"):
        return {}

    former = {one["name"]: one["version"] for one in _variables(before)}
    moved = {one["name"]: one["version"] - former.get(one["name"], 0) for one in _variables(now)}
    return {name: by for name, by in moved.items() if by or name not in former}


def _variables(detail: Detail) -> Iterable[Detail]:
    return detail.get("variables") or ()
