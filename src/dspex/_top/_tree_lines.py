"""How one line of the tree is drawn, in as many columns as there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..supervision._branch import Branch
from ..supervision._drawing import Words, safe, width
from ._browsing import Row, View
from ._counting import COUNTED, Rates
from ._lines import PLAIN, Line, Piece, cut, filled, within
from ._snapshot import Fact, Node
from ._words import of_rate

STATE, RATE = 10, 8
STATES_FROM, RATES_FROM, FACTS_FROM = 26, 36, 46
"""From how many columns on each has a place beside the name."""
NAMES = 0.5
"""The part of the columns that names get at most where facts are shown as well."""

MARKS = {"well": "●", "busy": "◐", "bad": "✖", "over": "○"}
"""A state in one column, for those who don't see colours too."""


def widest(rows: Iterable[Row]) -> int:
    """The columns that the longest of their names takes, with what is before it."""
    return max((2 * row.depth + 4 + len(row.node.name) for row in rows), default=0)


def tree_line(row: Row, view: View, rates: Rates, columns: int, names: int) -> Line:
    """The name, in as many columns as *names* of all rows take or there are, and what else fits: state, rate, kind and facts."""
    if row.more:
        return within(((_indent(row) + "  " + safe(row.more, 200), "dim"),), columns)

    words = Words.of(_branch(row.node))
    cells = _cells(row, words, rates, columns)
    room = columns - sum(size + 1 for _, size, _ in cells)
    facts = _facts(words) if columns >= FACTS_FROM else ()
    line = [*_name(row, words, view, min(room, names, int(columns * NAMES)) if facts else room)]
    for piece, size, right in cells:
        line += [(" ", PLAIN), (filled(piece[0], size, right=right), piece[1])]

    return within((*line, *facts), columns)


def _cells(row: Row, words: Words, rates: Rates, columns: int) -> list[tuple[Piece, int, bool]]:
    rate = rates.of(row.node.id)
    wanted = (
        (STATES_FROM, (words.state, words.look or "dim"), STATE, False),
        (RATES_FROM, ("" if rate is None else of_rate(rate), "number" if rate else "dim"), RATE, True),
    )
    return [(piece, size, right) for least, piece, size, right in wanted if columns >= least]


def _name(row: Row, words: Words, view: View, room: int) -> Line:
    branches = bool(row.node.children or row.node.more)
    fold = ("▸" if row.folded else "▾") if branches else " "
    mark = MARKS.get(words.look, "·")
    before = f"{_indent(row)}{fold} "
    name = cut(words.name, max(0, room - len(before) - 2))
    pieces = [(before, "dim"), (f"{mark} ", words.look or "dim"), *_found(name, view)]
    used = len(before) + 2
    return (*pieces, (filled("", max(0, room - used - width(name))), PLAIN))


def _found(name: str, view: View) -> Line:
    """*name*, with the word that is searched for in it apart."""
    at = name.casefold().find(view.word.casefold()) if view.word else -1
    if at < 0 or len(name.casefold()) != len(name):
        return ((name, "name"),)

    end = at + len(view.word)
    return tuple((text, look) for text, look in ((name[:at], "name"), (name[at:end], "found"), (name[end:], "name")) if text)


def _facts(words: Words) -> Line:
    told = ("  ".join(words.facts), "dim")
    calm = words.look == "well"
    note = (words.note, "dim" if calm else "error")  # of what runs again it tells what was
    pieces = ((words.kind, "kind"), *((told, note) if calm else (note, told)))
    return tuple((f"  {text}", look) for text, look in pieces if text)


def _branch(node: Node) -> Branch:
    return Branch(node.name, node.kind, node.state, _beside(node.facts), note=node.note)


def _beside(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    # What a node has done so far is shown as its rate.
    return {name: fact for name, fact in facts.items() if name not in COUNTED}


def _indent(row: Row) -> str:
    return "  " * row.depth
