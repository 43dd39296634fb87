"""The live tree under a supervisor, as it was at one moment: to look at, to keep, to send."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from attrs import frozen

from . import _drawing
from ._branch import Branch as Branch, as_dict, branch as branch

if TYPE_CHECKING:
    from rich.tree import Tree as RichTree


@frozen(repr=False, str=False)
class Tree:
    """
    What ``supervisor.tree()`` gives: who is below whom, and how each is.

    ``print(tree)`` shows it in plain text, ``rich.print(tree)`` in colours. In both, and in `to_mermaid`, what could harm a terminal or a
    chart is escaped, long names are cut, and of more than 40 children of one branch those in trouble are drawn first and the others
    counted. `to_dict` and `to_json` have everything as it is. Iterating gives each branch with its path.
    """

    root: Branch

    def find(self, path: str) -> Branch | None:
        """The branch at *path*, such as ``"app/ingest/chat"``: the same text that names its task. None if there is none."""
        return next((below for its, below in self if its == path), None)

    def to_dict(self) -> dict[str, Any]:
        """``name``, ``kind``, ``state``, ``facts``, ``note``, ``children`` and ``others`` of each branch. A float that isn't finite is text."""
        return as_dict(self.root)

    def to_json(self, *, indent: int | None = 2) -> str:
        """The same as `to_dict`, as JSON text in ASCII."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    def to_mermaid(self) -> str:
        """The text of a Mermaid flowchart."""
        return _drawing.as_mermaid(self.root)

    def __iter__(self) -> Iterator[tuple[str, Branch]]:
        return self.root.walk()

    def __str__(self) -> str:
        return _drawing.as_text(self.root)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # IPython's, at whose prompt the tree is to be seen as at ours.
        printer.text(repr(self) if cycle else str(self))

    def __rich__(self) -> RichTree:
        return _drawing.as_rich(self.root)

    def __repr__(self) -> str:
        states = Counter(below.state for _, below in self if below.state)
        for _, below in self:
            states.update(below.others)

        told = ", ".join(f"{count:,} {_drawing.safe(state)}" for state, count in states.most_common())
        return f"<Tree {_drawing.safe(self.root.name)!r} [{told}]>"
