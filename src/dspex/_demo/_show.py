"""Where the demo draws: with rich if it is installed, in plain text if not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

Branches = Mapping[str, "Branches"]
"""A tree: each label with what grows from it."""


class Show(ABC):
    """Headings, lines, tables and trees."""

    @staticmethod
    def on_stdout() -> Show:
        """The best there is here."""
        return RichShow() if find_spec("rich") is not None else PlainShow()

    @abstractmethod
    def heading(self, text: str) -> None:
        """Open a chapter."""

    @abstractmethod
    def line(self, text: str) -> None:
        """One line of prose."""

    @abstractmethod
    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Rows under columns; the cells are shown by `str`."""

    @abstractmethod
    def tree(self, root: str, branches: Branches) -> None:
        """A tree under *root*."""


class PlainShow(Show):
    """Plain text."""

    def heading(self, text: str) -> None:
        """Open a chapter."""
        print(f"\n{text}\n{'-' * len(text)}")

    def line(self, text: str) -> None:
        """One line of prose."""
        print(text, flush=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Rows under columns, as wide as their widest cell."""
        lines = [list(columns), *([str(cell) for cell in row] for row in rows)]
        widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
        for line in lines:
            print("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())

    def tree(self, root: str, branches: Branches) -> None:
        """A tree by indentation."""
        print(f"  {root}")
        self._grow(branches, 2)

    def _grow(self, branches: Branches, depth: int) -> None:
        for label, below in branches.items():
            print("  " * depth + label)
            self._grow(below, depth + 1)


class RichShow(Show):
    """Colours, boxes and trees, by rich, which knows whether anyone is looking."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False)

    def heading(self, text: str) -> None:
        """Open a chapter."""
        from rich.text import Text

        self._console.print()
        self._console.rule(Text(text, style="bold cyan"), align="left", style="dim")

    def line(self, text: str) -> None:
        """One line of prose."""
        from rich.text import Text

        self._console.print(Text(text))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Rows under columns."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(*columns, box=box.SIMPLE_HEAD, header_style="bold")
        for row in rows:
            table.add_row(*(Text(str(cell)) for cell in row))

        self._console.print(table)

    def tree(self, root: str, branches: Branches) -> None:
        """A tree with guides."""
        from rich.text import Text
        from rich.tree import Tree

        tree = Tree(Text(root, style="bold"), guide_style="dim")
        self._grow(tree, branches)
        self._console.print(tree)

    def _grow(self, tree: Any, branches: Branches) -> None:
        from rich.text import Text

        for label, below in branches.items():
            self._grow(tree.add(Text(label)), below)
