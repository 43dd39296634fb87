"""A widget that shows lines of looks, of which it draws those that are seen and no others."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ..supervision._drawing import safe
from ._lines import LOOKS, Line


class Sheet(ScrollView):
    """
    So many lines, drawn one at a time.

    A class below this one says what stands in each line, and calls `lay_out` whenever that, or their number, has changed.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"sheet--{look}" for look in LOOKS} | {"sheet--cursor", "sheet--plain"}

    DEFAULT_CSS = """
    Sheet {
        overflow-x: hidden;
        overflow-y: scroll; /* as wide when there is nothing to scroll */
        scrollbar-size-vertical: 1;
        scrollbar-color: $surface-lighten-3;
        scrollbar-background: $background;
        & > .sheet--plain { color: $foreground; }
        & > .sheet--name { color: $foreground; text-style: bold; }
        & > .sheet--kind { color: $secondary; }
        & > .sheet--dim { color: $text-muted; }
        & > .sheet--well { color: $success; }
        & > .sheet--busy { color: $warning; }
        & > .sheet--bad { color: $error; text-style: bold; }
        & > .sheet--over { color: $text-disabled; }
        & > .sheet--number { color: $accent; }
        & > .sheet--changed { color: $warning; text-style: bold; }
        & > .sheet--found { color: $warning; text-style: bold underline; }
        & > .sheet--head { color: $primary; text-style: bold; }
        & > .sheet--info { color: $foreground; }
        & > .sheet--warning { color: $warning; }
        & > .sheet--error { color: $error; }
        & > .sheet--cursor { background: $primary 40%; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[int, tuple[Line, bool] | None] = {}
        self._titles = ("", "")

    @property
    def columns(self) -> int:
        """How many there are to draw in."""
        return self.scrollable_content_region.width

    def count(self) -> int:
        """How many lines there are."""
        raise NotImplementedError

    def line(self, number: int) -> Line:
        """What stands in that line. The first is 0."""
        raise NotImplementedError

    def is_marked(self, number: int) -> bool:
        """Whether that line is the selected one."""
        return False

    def lay_out(self) -> None:
        """What the lines are may have changed. Only what has is drawn again: the terminal may be far away."""
        self.virtual_size = Size(self.columns, self.count())
        for y in range(self.size.height):
            if self._seen.get(y) != self._what(y):
                self.refresh_line(y + self.scroll_offset.y)

    def entitle(self, title: str, subtitle: str = "") -> None:
        """What stands in the border, as it is: no markup."""
        # To set one draws everything anew, also if it is the same.
        if self._titles != (title, subtitle):
            self._titles = (title, subtitle)
            self.border_title, self.border_subtitle = (text.replace("[", r"\[") for text in self._titles)

    def on_resize(self) -> None:
        """There is another number of columns."""
        self.lay_out()

    def render_line(self, y: int) -> Strip:
        """The line *y* of those that are seen."""
        plain = self._style("plain")
        what = self._seen[y] = self._what(y)
        if what is None:
            return Strip.blank(self.size.width, plain)

        line, marked = what
        behind = self._behind() if marked else Style.null()
        strip = Strip([Segment(_harmless(text), self._style(look or "plain") + behind) for text, look in line])
        return strip.adjust_cell_length(self.size.width, plain + behind)

    def _what(self, y: int) -> tuple[Line, bool] | None:
        number = y + self.scroll_offset.y
        return (self.line(number), self.is_marked(number)) if number < self.count() else None

    def _style(self, look: str) -> Style:
        return self.get_component_rich_style(f"sheet--{look}")

    def _behind(self) -> Style:
        return Style(bgcolor=self.get_component_rich_style("sheet--cursor").bgcolor)


def _harmless(text: str) -> str:
    # Whoever made the line has seen to that. Here is the terminal, and nothing but letters may reach it.
    return text if text.isprintable() else safe(text, len(text))
