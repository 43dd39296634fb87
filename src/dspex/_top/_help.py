"""All the keys, on a screen of their own."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

from ._lines import Line, Piece, in_columns

KEYS = (
    ("↑ ↓  k j", "the line above, the line below"),
    ("← →  h l", "fold, or go up; unfold, or go down"),
    ("Enter", "fold or unfold"),
    ("PgUp PgDn Home End", "further"),
    ("/", "show what has a word in its name; Esc shows all"),
    ("/ and Enter", "and ask for what is called just so, shown or not"),
    ("n N", "the next that has the word, the one before"),
    ("t", "the next in trouble"),
    ("s", "sort: as they are, by name, trouble or busiest first"),
    ("e", "events: without usual calls, trouble only, all"),
    ("space", "pause; once more: catch up"),
    ("Tab", "the next pane, to scroll it"),
    ("q  Ctrl-C", "leave; the service doesn't notice"),
)

MEANING = (
    ("● ◐ ✖ ○ ·", "well, busy, in trouble, over, without a state"),
    ("v12 +3", "a version, and by how much it moved on just now"),
    ("▁▃▇", "from 0 to the highest of the last minutes"),
)


class Help(ModalScreen[None]):
    """The keys, and what they do. It goes with Esc, Enter, space, ? or q."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,enter,space", "dismiss", "Close")]
    DEFAULT_CSS = """
    Help { align: center middle; }
    Help > Static { width: auto; max-width: 100%; height: auto; max-height: 100%; padding: 1 2; border: round $primary; background: $surface; }
    """

    def compose(self) -> ComposeResult:
        """One block of text."""
        text = Static(Text("\n").join(map(_drawn, _lines())))
        text.border_title = "keys"
        yield text


def _lines() -> list[Line]:
    rows: list[list[Piece]] = [[(key, "bold"), (meaning, "")] for key, meaning in (*KEYS, ("", ""), *MEANING)]
    return in_columns(rows)


def _drawn(line: Line) -> Text:
    return Text.assemble(*line)
