"""The parts of the screen. What they show is decided by the model and drawn by the lines; here they only meet a terminal."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.events import Click
from textual.message import Message
from textual.widgets import Input

from ..supervision._drawing import safe
from ._browsing import Order
from ._counting import among
from ._detail_lines import detail_lines, waiting_lines
from ._event_lines import event_line
from ._header_lines import Connection, header_lines
from ._lines import Line
from ._looked_at import LookedAt
from ._model import Model
from ._sheet import Sheet
from ._snapshot import Event
from ._tree_lines import tree_line, widest


class Head(Sheet, can_focus=False):
    """The two lines above all."""

    DEFAULT_CSS = "Head { height: 2; padding: 0 1; overflow-y: hidden; background: $panel; }"

    def __init__(self, model: Model, connection: Connection) -> None:
        super().__init__()
        self._model = model
        self.connection = connection

    def count(self) -> int:
        """Always two."""
        return 2

    def line(self, number: int) -> Line:
        """Who it is, or the sums."""
        return header_lines(self._model, self.connection, self.columns)[number]


class Search(Input):
    """Where a part of a name is typed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Keep what is found, or ask for that name"),
        Binding("escape", "app.show_all", "Show all"),
    ]
    DEFAULT_CSS = """
    Search { display: none; height: 1; border: none; padding: 0 1; }
    Search.-open { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(placeholder="part of a name", compact=True)


class TreePane(Sheet):
    """The tree. The cursor, what is folded and where it is scrolled to outlive each update."""

    DEFAULT_CSS = "TreePane { overflow-y: auto; }"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "end(-1)", "First", show=False),
        Binding("end,G", "end(1)", "Last", show=False),
        Binding("left,h", "fold", "Fold", show=False),
        Binding("right,l", "unfold", "Unfold", show=False),
        Binding("enter", "turn", "Fold or unfold", show=False),
    ]

    class Chosen(Message):
        """Another node may be selected."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._model = model
        self._was_at = 0
        self._names = 0

    def count(self) -> int:
        """As many as aren't folded away."""
        return len(self._model.rows)

    def line(self, number: int) -> Line:
        """One node."""
        return tree_line(self._model.rows[number], self._model.view, self._model.rates, self.columns, self._names)

    def is_marked(self, number: int) -> bool:
        """Whether it is the selected one."""
        return number == self._model.cursor

    def lay_out(self) -> None:
        """The selected line stays where it is on the screen, if it is on it."""
        model, height, top = self._model, self.size.height, self.scroll_offset.y
        self._names = widest(model.rows)
        super().lay_out()
        moved = model.cursor - self._was_at
        if moved and top <= self._was_at < top + height:
            self.scroll_to(y=top + moved, animate=False, immediate=True)

        self._was_at = model.cursor
        self.entitle("tree", _chosen_in(model))

    def show_cursor(self) -> None:
        """Somebody chose: the selected line is brought onto the screen."""
        self._was_at = self._model.cursor
        self.lay_out()
        top, height = self.scroll_offset.y, self.scrollable_content_region.height
        if not top <= self._was_at < top + height:
            self.scroll_to(y=self._was_at if self._was_at < top else self._was_at - height + 1, animate=False, immediate=True)

        self.post_message(self.Chosen())

    # --- keys and clicks -----------------------------------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        """One line up or down."""
        self._model.move(by)
        self.show_cursor()

    def action_page(self, pages: int) -> None:
        """What is seen at once, but for a line."""
        self.action_move(pages * max(1, self.size.height - 1))

    def action_end(self, end: int) -> None:
        """The first line or the last."""
        self.action_move(end * self.count())

    def action_fold(self) -> None:
        """Folds, or goes to the one above."""
        self._model.fold()
        self.show_cursor()

    def action_unfold(self) -> None:
        """Unfolds, or goes to the first below."""
        self._model.unfold()
        self.show_cursor()

    def action_turn(self) -> None:
        """The one or the other."""
        self._model.toggle()
        self.show_cursor()

    def on_click(self, click: Click) -> None:
        """Selects the line that was clicked, and folds or unfolds the one that was selected already."""
        place = click.get_content_offset(self)
        if place is None or (number := place.y + self.scroll_offset.y) >= self.count():
            return

        if number == self._model.cursor:
            self._model.toggle()

        self._model.move_to(number)
        self.show_cursor()


def _chosen_in(model: Model) -> str:
    word = safe(model.view.word)
    if model.search_is_vain:
        return f"none shown has /{word}"

    order = "" if model.view.order is Order.TREE else str(model.view.order)
    if model.view.order is Order.ACTIVITY and model.shown is not None and (of := among(model.shown.tree)):
        order = f"busiest {of}"

    return "  ".join(filter(None, (order, f"/{word}" if model.view.filtering else "")))


class DetailPane(Sheet):
    """
    The numbers of the selected node.

    Attributes:
        connection: how it stands with the socket; said while there is nothing else to show.

    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._model = model
        self._lines: list[Line] = []
        self._shown: str | None = None
        self.connection: Connection | None = None

    def count(self) -> int:
        """As many as it takes."""
        return len(self._lines)

    def line(self, number: int) -> Line:
        """One of them."""
        return self._lines[number]

    def lay_out(self) -> None:
        """Of another node it is shown from the top."""
        looked = self._looked_at()
        if looked is not None:
            self._lines = detail_lines(looked, self.columns)
        elif self.connection is not None:
            self._lines = waiting_lines(self.connection, self.columns)

        self.entitle("" if looked is None else safe(looked.node.name))
        super().lay_out()
        if self._model.selected != self._shown:
            self._shown = self._model.selected
            self.scroll_to(y=0, animate=False, immediate=True)

    def _looked_at(self) -> LookedAt | None:
        model, node, shown = self._model, self._model.node, self._model.shown
        if node is None or shown is None:
            return None

        if node is shown.tree:
            return LookedAt(node, model.detail or {"path": node.id}, shown.at, model.whole, totals=shown.totals, rates=model.rates)

        return LookedAt(node, model.detail, shown.at, model.remembered.of(node.id), model.changed_in(node), model.happened.about(node.id))


class EventsPane(Sheet):
    """What happened last. It follows the newest, unless somebody has scrolled back."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._model = model
        self._events: list[Event] = []
        self._follows = True

    def count(self) -> int:
        """As many as are to be seen."""
        return len(self._events)

    def line(self, number: int) -> Line:
        """One of them."""
        return event_line(self._events[number], self.columns)

    def lay_out(self) -> None:
        """Stays at the end if it was there."""
        happened = self._model.happened
        self._events = happened.seen()
        self.entitle(str(happened.shown), f"{happened.dropped:,} more were not kept" if happened.dropped else "")
        super().lay_out()
        if self._follows:
            self.call_after_refresh(self._follow)

    def _follow(self) -> None:
        if self._follows:
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Somebody scrolled, or it followed."""
        super().watch_scroll_y(old_value, new_value)
        # Where the end was a moment ago, more may stand already: only who goes back doesn't follow.
        self._follows = new_value >= self.max_scroll_y or (self._follows and new_value > old_value)
