"""The application: keys, timers, and what moves between the link, the model and the panes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any, ClassVar

import anyio
from attrs import evolve
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.theme import Theme
from textual.widgets import Footer, Input

from .._exceptions import MonitorUnreachable
from ..supervision._drawing import safe
from ._header_lines import Connection
from ._help import Help
from ._link import Link, Lost, Opening
from ._model import Model
from ._panes import DetailPane, EventsPane, Head, Search, TreePane
from ._snapshot import Event, Service, Snapshot

REFRESH = 0.5
"""Seconds between two looks at whether the service is silent."""

LONGEST = 400
"""Letters of what the service says of a name that it doesn't find."""

THEME = Theme(
    "dspex",
    primary="#4a9fd8",
    secondary="#86a8cf",
    accent="#55c4d6",
    success="#63bf7f",
    warning="#e0b04f",
    error="#ef6b73",
    foreground="#dcdfe4",
    background="#14171b",
    surface="#1d2228",
    panel="#20262d",
)


class Top(App[int]):
    """
    The view.

    Args:
        opening: gives a new connection to the service.
        where: what it is attached to, in words.
        every: seconds between two snapshots.
        heed_signals: whether SIGTERM and SIGHUP end it, so that the terminal is left as it was.
        clock: seconds on a clock that only goes forward.

    """

    TITLE = "dspex top"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (70, "-wide"), (120, "-broad")]  # noqa: RUF012 - as textual has it
    VERTICAL_BREAKPOINTS = [(0, "-low"), (16, "-high")]  # noqa: RUF012 - the same

    CSS = """
    Screen { layout: vertical; }
    #middle { layout: horizontal; height: 1fr; }
    #left { width: 42%; }
    TreePane { height: 1fr; }
    DetailPane { width: 1fr; }
    EventsPane { height: 25%; min-height: 5; }
    TreePane, DetailPane, EventsPane {
        border: round $surface-lighten-2; border-title-color: $text-muted; border-subtitle-color: $warning;
        &:focus { border: round $primary; border-title-color: $foreground; }
    }
    .-broad #left { width: 50%; }
    .-narrow #middle { layout: vertical; }
    .-narrow #left { width: 100%; height: 1fr; }
    .-narrow DetailPane { height: 1fr; }
    .-low EventsPane { display: none; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        # With priority, so that it is obeyed before the next key is given to whoever has the focus: what is typed ahead comes at once.
        Binding("slash", "search", "Search", key_display="/", priority=True),
        Binding("n", "find(1)", "Next", show=False),
        Binding("N", "find(-1)", "Previous", show=False),
        Binding("t", "trouble", "Trouble"),
        Binding("s", "sort", "Sort"),
        Binding("e", "events", "Events"),
        Binding("space", "pause", "Pause"),
        Binding("tab", "app.focus_next", "Pane"),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q,ctrl+c", "quit", "Quit", key_display="q", priority=False),
        Binding("escape", "show_all", "Show all", show=False),
    ]

    def __init__(
        self, opening: Opening, *, where: str, every: float = 0.5, heed_signals: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self.register_theme(THEME)
        self.theme = THEME.name
        self.model = Model()
        self._clock = clock
        self._heeds_signals = heed_signals
        self._link = Link(opening, every, self._tell)
        self._last_came = clock()
        self._again_at = 0.0
        self._head = Head(self.model, Connection(where, every))
        self._tree, self._detail, self._events = TreePane(self.model), DetailPane(self.model), EventsPane(self.model)
        self._search = Search()

    def compose(self) -> ComposeResult:
        """The head, the tree beside the numbers, the events, the keys."""
        yield self._head
        with Vertical(id="middle"):
            with Vertical(id="left"):
                yield self._tree
                yield self._search

            yield self._detail

        yield self._events
        yield Footer()

    def on_mount(self) -> None:
        """The tree has the keys, and the link begins."""
        self._tree.focus()
        self.set_interval(REFRESH, self._look_at_clock)
        self.run_worker(self._link.run(), name="link")
        if self._heeds_signals:
            self.run_worker(self._heed_signals(), name="signals")

    async def _heed_signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
            async for received in signals:
                self.exit(128 + received)

    # --- what comes ----------------------------------------------------------------------------------------------------------------

    def _tell(self, news: Service | Snapshot | Lost) -> None:
        self._take(news)
        self._look_at_clock()
        self._draw()

    def _take(self, news: Service | Snapshot | Lost) -> None:
        self._last_came = self._clock()
        match news:
            case Snapshot():
                self.model.take(news)
                self._ask()
            case Service():
                if self._lost:
                    self._note("info", f"attached to {news.title}, pid {news.pid}")

                self.model.service = news
                self._connection(lost="")
            case Lost():
                if news.why != self._lost:
                    self._note("error", f"not connected to {self._head.connection.where}: {news.why}")

                self._again_at = self._clock() + news.again_in
                self._connection(lost=news.why)
                self._detail.connection = self._head.connection

    @property
    def _lost(self) -> str:
        return self._head.connection.lost

    def _note(self, level: str, text: str) -> None:
        self.model.happened.take([Event(time.time(), "", "Connection", level, text)])

    def _connection(self, **changed: Any) -> None:
        self._head.connection = evolve(self._head.connection, **changed)

    def _look_at_clock(self) -> None:
        now = self._clock()
        self._connection(silent=now - self._last_came, again_in=max(0.0, self._again_at - now))
        self._head.lay_out()

    def _draw(self) -> None:
        for pane in (self._tree, self._detail, self._events):
            pane.lay_out()

    def _ask(self) -> None:
        self.run_worker(self._link.select(self.model.selected), group="select")

    @on(TreePane.Chosen)
    def _choose(self) -> None:
        self._ask()
        self._detail.lay_out()

    # --- keys ----------------------------------------------------------------------------------------------------------------------

    def action_pause(self) -> None:
        """Stands still, or catches up."""
        self.model.pause()
        self._look_at_clock()
        self._draw()

    def action_sort(self) -> None:
        """Siblings in the next order."""
        self.model.sort()
        self._tree.show_cursor()

    def action_events(self) -> None:
        """More events, or fewer."""
        self.model.happened.shown = self.model.happened.shown.following()
        self._draw()

    def action_help(self) -> None:
        """All the keys."""
        self.push_screen(Help())

    def action_trouble(self) -> None:
        """The next in trouble."""
        self._told(self.model.find_trouble(), "nothing is in trouble")

    def action_find(self, step: int) -> None:
        """The next that has the word."""
        word = self.model.view.word
        self._told(self.model.find_next(step), f"nothing that is shown has {word!r} in its name" if word else "/ asks for a word first")

    def _told(self, found: bool, otherwise: str) -> None:
        if found:
            self._tree.show_cursor()
        else:
            self._say(otherwise)

    def _say(self, text: str, seconds: float = 3) -> None:
        self.notify(text, timeout=seconds, markup=False)

    def action_search(self) -> None:
        """Asks for a part of a name."""
        self._search.add_class("-open")
        self._search.value = ""
        self.screen.set_focus(self._search)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether *action* may be asked for now: a slash that is typed into the search is part of a name, and none goes through the help."""
        return not (action == "search" and (self._search.has_focus or len(self.screen_stack) > 1))

    def action_show_all(self) -> None:
        """Ends the search."""
        self._search.remove_class("-open")
        self.model.show_all()
        self._tree.focus()
        self._tree.show_cursor()

    @on(Input.Changed)
    def _search_for(self, typed: Input.Changed) -> None:
        if self._search.has_class("-open"):
            self.model.search(typed.value)
            self._tree.show_cursor()

    @on(Input.Submitted)
    def _keep_found(self, typed: Input.Submitted) -> None:
        self._search.remove_class("-open")
        self._tree.focus()
        if self.model.view.word and self.model.asks_by_name:
            self.run_worker(self._find_by_name(self.model.view.word), group="find", exclusive=True)

    async def _find_by_name(self, word: str) -> None:
        """Asks the service for what it may not draw, and selects it unless somebody has gone on meanwhile."""
        vain, selected = self.model.search_is_vain, self.model.selected
        try:
            found = await self._link.find(word)
        except (LookupError, ValueError, MonitorUnreachable) as problem:
            if vain and self.model.view.word == word:
                why = problem.problem if isinstance(problem, MonitorUnreachable) else str(problem)
                self._say(f"nothing that is shown has {word!r} in its name\n{safe(why, LONGEST)}", seconds=8)
        else:
            if (self.model.view.word, self.model.selected) == (word, selected):
                self.model.show_found(found)
                self._tree.show_cursor()
