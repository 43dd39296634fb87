"""Finding one's way in a tree that changes: what is folded, in which order siblings stand, what is searched for, what is selected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum

from attrs import evolve, frozen

from ._counting import Rates
from ._snapshot import Node

URGENCY = {"bad": 0, "busy": 1}
CALM = 2


class Order(StrEnum):
    """How siblings stand."""

    TREE = "tree order"
    NAME = "by name"
    STATE = "trouble first"
    ACTIVITY = "busiest first"

    def following(self) -> Order:
        """The next one, round and round."""
        orders = list(Order)
        return orders[(orders.index(self) + 1) % len(orders)]


@frozen(eq=False)
class Row:
    """One line of the tree as it is shown."""

    node: Node
    depth: int
    """How far from the root, which is 0."""
    folded: bool
    """Whether it has children that aren't shown."""
    more: str = ""
    """If set, this is no node: it tells of children that the service left out of *node*."""

    @property
    def id(self) -> str:
        """Its node's, or one of its own."""
        return f"{self.node.id}\n…" if self.more else self.node.id


@frozen
class View:
    """What a person has chosen. Everything of it outlives any update of the tree."""

    folded: frozenset[str] = frozenset()
    order: Order = Order.TREE
    word: str = ""
    """What was searched for last."""
    filtering: bool = False
    """Whether only what has the word is shown, and what is above it."""

    def finds(self, node: Node) -> bool:
        """Whether *node* has the word in its name."""
        return bool(self.word) and self.word.casefold() in node.name.casefold()


def rows(root: Node, view: View, rates: Rates) -> list[Row]:
    """The lines of the tree below and with *root*."""
    kept = _kept(root, view) if view.filtering and view.word else None
    key = _key(root, view.order, rates)
    found: list[Row] = []
    waiting = [Row(root, 0, False)]
    while waiting:
        row = waiting.pop()
        if not row.more:
            below = list(_below(row, view, kept))
            hidden = bool(row.node.children or row.node.more) and not below
            below.sort(key=key)
            waiting.extend(reversed(below))
            row = evolve(row, folded=hidden) if hidden else row

        found.append(row)

    return found


def _below(row: Row, view: View, kept: Mapping[str, Node] | None) -> Iterator[Row]:
    if kept is None and row.node.id in view.folded:
        return

    yield from (Row(child, row.depth + 1, False) for child in row.node.children if kept is None or child.id in kept)
    if row.node.more and kept is None:
        yield Row(row.node, row.depth + 1, False, more=row.node.more)


def _kept(root: Node, view: View) -> dict[str, Node]:
    """What has the word, and all that is above one that has."""
    kept: dict[str, Node] = {}
    for node in reversed(list(root.walk())):  # children before their parent
        if view.finds(node) or any(child.id in kept for child in node.children):
            kept[node.id] = node

    return kept


def _key(root: Node, order: Order, rates: Rates) -> Callable[[Row], tuple[int, float | str]]:
    """What siblings are sorted by. The line on those left out stays last, and the one of those that was found below it."""
    if order is Order.NAME:
        return lambda row: (_place(row), row.node.name.casefold())

    weights = _WEIGHTS[order](root, rates)
    return lambda row: (_place(row), weights.get(row.node.id, 0))


def _place(row: Row) -> int:
    return 1 if row.more else 2 if row.node.found else 0


def _urgencies(root: Node, rates: Rates) -> dict[str, float]:
    """How much each node, or what is most urgent below it, needs somebody: 0 most."""
    found: dict[str, float] = {}
    for node in reversed(list(root.walk())):
        own = URGENCY.get(node.look, CALM)
        found[node.id] = min([own, *(found[child.id] for child in node.children)])

    return found


def _idleness(root: Node, rates: Rates) -> dict[str, float]:
    """Minus how often a second each node, and all below it, does something."""
    found: dict[str, float] = {}
    for node in reversed(list(root.walk())):
        found[node.id] = sum(found[child.id] for child in node.children) - (rates.of(node.id) or 0)

    return found


_WEIGHTS: Mapping[Order, Callable[[Node, Rates], Mapping[str, float]]] = {
    Order.TREE: lambda root, rates: {},
    Order.STATE: _urgencies,
    Order.ACTIVITY: _idleness,
}


def with_found(root: Node, found: Node) -> Node:
    """*root* with *found* below the nearest that is above it and drawn; as it is if *found* is drawn itself."""
    drawn = {node.id: node for node in root.walk()}
    if found.id in drawn:
        return root

    above = found.id
    while above and above not in drawn:
        above = above.rpartition("/")[0]

    *others, parent = (drawn[path] for path in lineage(root, above or root.id))
    below, new = parent, evolve(parent, children=(*parent.children, found))
    for node in reversed(others):
        children = tuple(new if child is below else child for child in node.children)
        below, new = node, evolve(node, children=children)

    return new


def lineage(root: Node, wanted: str) -> tuple[str, ...]:
    """The ids from *root* down to the node *wanted*; empty if it isn't there."""
    parents: dict[str, str] = {}
    for node in root.walk():
        if node.id == wanted:
            return _upwards(wanted, parents)

        parents.update({child.id: node.id for child in node.children})

    return ()


def _upwards(wanted: str, parents: Mapping[str, str]) -> tuple[str, ...]:
    line = [wanted]
    while line[-1] in parents:
        line.append(parents[line[-1]])

    return tuple(reversed(line))
