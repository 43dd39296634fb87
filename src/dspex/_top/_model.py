"""What `dspex top` shows, apart from how: snapshots come in, keys choose, and what is drawn is read from here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve

from ._browsing import Order, Row, View, lineage, rows, with_found
from ._counting import Measured, Rates, Remembered
from ._happened import Happened
from ._snapshot import Detail, Node, Service, Snapshot

HELD = 1200
"""Snapshots that a pause keeps, for what they measured: ten minutes at two a second."""
DETAILS = 64


class Model:
    """
    The state of the view.

    Attributes:
        service: who is at the other end; None before it has said so.
        shown: the snapshot that is on the screen; None before the first.
        view: what is folded, sorted, searched for.
        rows: the lines of the tree, as shown.
        cursor: which of them is selected.
        rates: how busy each node is.
        whole: what was measured of the whole service.
        remembered: what was measured of the nodes that were selected.
        changed: by how many versions the selected context's variables have moved on since the snapshot before.
        happened: the last events.
        paused: whether the screen stands still.

    """

    def __init__(self) -> None:
        self.service: Service | None = None
        self.shown: Snapshot | None = None
        self.view = View()
        self.rows: list[Row] = []
        self.cursor = 0
        self.rates = Rates()
        self.whole = Measured()
        self.remembered = Remembered()
        self.changed: dict[str, int] = {}
        self.happened = Happened()
        self.paused = False
        self._held: deque[Snapshot] = deque(maxlen=HELD)
        self._line: tuple[str, ...] = ()
        self._drawn: Snapshot | None = None
        self._found: Node | None = None
        self._details: dict[str, Detail] = {}

    # --- what comes ----------------------------------------------------------------------------------------------------------------

    def take(self, snapshot: Snapshot) -> None:
        """The newest snapshot: shown, or held back during a pause."""
        if self.paused and self.shown is not None:
            self._held.append(snapshot)
        else:
            self._show(snapshot)

    def _show(self, snapshot: Snapshot) -> None:
        self._measure(snapshot)
        self.happened.take(snapshot.events, snapshot.dropped)
        self._found = self._found_in(snapshot)
        self._drawn, self.shown = snapshot, self._with_found(snapshot)
        self._lay_out()

    def _found_in(self, snapshot: Snapshot) -> Node | None:
        """What was found, as *snapshot* has it: without a state while something else is selected, None when it has gone."""
        found, told, before = self._found, snapshot.selected, None if self.shown is None else self.shown.selected
        if found is None or (told is not None and told["path"] == found.id):
            return found if found is None or told is None else Node.found_as(told)

        if self.selected != found.id:
            return evolve(found, state="", facts={}, note="")

        # What is told may be of before it was selected.
        has_gone = told is None and (before is None or before["path"] == found.id)
        return None if has_gone else found

    def _with_found(self, snapshot: Snapshot) -> Snapshot:
        return snapshot if self._found is None else evolve(snapshot, tree=with_found(snapshot.tree, self._found))

    def _measure(self, snapshot: Snapshot) -> None:
        before = self.shown
        if before is not None and (passed := snapshot.at - before.at) > 0:
            done = snapshot.totals["operations"] - before.totals["operations"]
            self.whole.take(rate=max(0, done) / passed, waiting=snapshot.totals["waiting"])

        self.rates.take(snapshot.tree, snapshot.at)
        self.changed = {}
        if snapshot.selected is not None:
            path = str(snapshot.selected["path"])
            self.changed = self.remembered.take(snapshot.selected, snapshot.at)
            self._details.pop(path, None)
            self._details[path] = snapshot.selected
            if len(self._details) > DETAILS:
                del self._details[next(iter(self._details))]

    # --- pause ---------------------------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """The screen stands still, or goes on with all that has come meanwhile."""
        self.paused = not self.paused
        while self._held and not self.paused:
            self._show(self._held.popleft())

    @property
    def behind(self) -> float:
        """By how many seconds what is shown is older than what has come."""
        return self._held[-1].at - self.shown.at if self._held and self.shown is not None else 0.0

    # --- what is selected ----------------------------------------------------------------------------------------------------------

    @property
    def row(self) -> Row | None:
        """The selected line of the tree."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    @property
    def selected(self) -> str | None:
        """The id of the node that the numbers are wanted of."""
        return None if self.row is None else self.row.node.id

    @property
    def node(self) -> Node | None:
        """The selected node."""
        return None if self.row is None else self.row.node

    @property
    def detail(self) -> Detail | None:
        """Its numbers, as last sent; None if they never were."""
        return self._details.get(self.selected or "")

    def changed_in(self, node: Node) -> Mapping[str, int]:
        """By how many versions its variables moved on since the snapshot before."""
        told = None if self.shown is None else self.shown.selected
        return self.changed if told is not None and told["path"] == node.id else {}

    def move(self, by: int) -> None:
        """Selects the line *by* lines further down, or the first or last."""
        self.move_to(self.cursor + by)

    def move_to(self, number: int) -> None:
        """Selects the line of this number, or the nearest there is."""
        self.cursor = max(0, min(number, len(self.rows) - 1))
        self._remember()

    def select(self, path: str) -> None:
        """Selects the node at *path*, and unfolds what is above it."""
        if self.shown is not None and (line := lineage(self.shown.tree, path)):
            self._line = line
            self._change(folded=self.view.folded.difference(line[:-1]))

    def _remember(self) -> None:
        # Where it stands in the tree: when it goes, the nearest that is left above it is selected instead.
        if self.shown is not None and self.row is not None:
            line = lineage(self.shown.tree, self.row.node.id)
            self._line = (*line, self.row.id) if self.row.more else line

    def _lay_out(self) -> None:
        if self.shown is None:
            return

        self.rows = rows(self.shown.tree, self.view, self.rates)
        places = {row.id: number for number, row in enumerate(self.rows)}
        self.cursor = next((places[path] for path in reversed(self._line) if path in places), 0)

    def _change(self, **chosen: Any) -> None:
        self.view = evolve(self.view, **chosen)
        self._lay_out()

    # --- folding and order ---------------------------------------------------------------------------------------------------------

    def fold(self) -> None:
        """Hides what is below the selected node; where that is hidden, or nothing is, goes to the one above it."""
        row = self.row
        if row is None:
            return

        if row.folded or row.more or not (row.node.children or row.node.more):
            self._line = self._line[:-1] or self._line
            self._lay_out()
        else:
            self._change(folded=self.view.folded | {row.node.id})

    def unfold(self) -> None:
        """Shows what is below the selected node; where that is shown, goes to its first."""
        if self.row is not None and self.row.folded:
            self._change(folded=self.view.folded - {self.row.node.id})
        elif self.row is not None and self.row.node.children and not self.row.more:
            self.move(1)

    def toggle(self) -> None:
        """Folds or unfolds the selected node."""
        if self.row is not None and self.row.folded:
            self.unfold()
        elif self.row is not None and self.row.node.children and not self.row.more:
            self.fold()

    def sort(self) -> Order:
        """Siblings in the next order."""
        self._change(order=self.view.order.following())
        return self.view.order

    # --- searching -----------------------------------------------------------------------------------------------------------------

    def search(self, word: str) -> None:
        """Shows only what has *word* in its name, and what is above; the first that has it is selected unless one is."""
        self._change(word=word, filtering=bool(word))
        if word and not (self.node is not None and self.view.finds(self.node)):
            self.cursor = 0
            self.find_next()

    @property
    def search_is_vain(self) -> bool:
        """Whether nothing of what is shown has the word that is searched for."""
        return self.view.filtering and not any(self.view.finds(row.node) for row in self.rows)

    @property
    def asks_by_name(self) -> bool:
        """Whether the word may be the name of something that isn't shown."""
        if self.search_is_vain:
            return True

        return self.is_partial and self.node is not None and self.view.word not in (self.node.name, self.node.id)

    def show_found(self, found: Node) -> None:
        """Selects *found*, which the service has found by its name, and ends the search. Where the tree doesn't have it, it is put there."""
        self._found = found
        if self._drawn is not None:
            self.shown = self._with_found(self._drawn)
            self._change(filtering=False)
            self.select(found.id)

    @property
    def is_partial(self) -> bool:
        """Whether the service draws a part of what it has only."""
        return self._drawn is not None and any(node.more for node in self._drawn.tree.walk())

    def show_all(self) -> None:
        """Ends the search. The word is kept for the next one, and so is what is selected."""
        selected = self.selected
        self._change(filtering=False)
        if selected is not None:
            self.select(selected)

    def find_next(self, step: int = 1) -> bool:
        """Selects the next node that has the word, or with -1 the one before, round and round. Whether there is one."""
        return self._go_to_next(self.view.finds, step)

    def find_trouble(self) -> bool:
        """Selects the next node that somebody should look at, and ends a search that hides it. Whether there is one."""
        self._change(filtering=False)
        return self._go_to_next(lambda node: node.is_in_trouble, 1)

    def _go_to_next(self, wanted: Callable[[Node], bool], step: int) -> bool:
        if self.shown is None:
            return False

        everything = [row for row in rows(self.shown.tree, evolve(self.view, folded=frozenset()), self.rates) if not row.more]
        here = next((number for number, row in enumerate(everything) if row.node.id == self.selected), 0)
        round_once = (everything[(here + step * number) % len(everything)].node for number in range(1, len(everything) + 1))
        found = next(filter(wanted, round_once), None)
        if found is not None:
            self.select(found.id)

        return found is not None
