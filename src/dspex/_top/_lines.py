"""
Lines of text whose pieces have a look, cut and filled up to a number of columns.

What is drawn is decided here and in the files above as plain data; only the widgets know a terminal's colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..supervision._drawing import width

Piece = tuple[str, str]
"""A text, and how it looks: one of `LOOKS`, or nothing special."""
Line = tuple[Piece, ...]

LOOKS = ("name", "kind", "dim", "well", "busy", "bad", "over", "number", "changed", "found", "head", "info", "warning", "error")
"""Each is a style of the sheets. The states' are named as `supervision` names them."""

PLAIN = ""


def width_of(line: Iterable[Piece]) -> int:
    """The columns that *line* takes."""
    return sum(width(text) for text, _ in line)


def cut(text: str, columns: int) -> str:
    """*text* in at most *columns*; an ellipsis stands for what had no place."""
    if width(text) <= columns:
        return text

    kept, room = "", columns - 1
    for letter in text:
        room -= width(letter)
        if room < 0:
            break

        kept += letter

    return f"{kept}…" if columns > 0 else ""


def filled(text: str, columns: int, *, right: bool = False) -> str:
    """*text* in exactly *columns*."""
    kept = cut(text, columns)
    space = " " * (columns - width(kept))
    return space + kept if right else kept + space


def within(line: Iterable[Piece], columns: int) -> Line:
    """*line*, cut at *columns*."""
    kept: list[Piece] = []
    for text, look in line:
        taken = cut(text, columns)
        kept.append((taken, look))
        columns -= width(taken)
        if taken != text:
            break

    return tuple(kept)


def apart(left: Line, right: Line, columns: int) -> Line:
    """*left* and *right* at the two ends of a line; the left one is cut where both don't fit."""
    room = max(0, columns - width_of(right))
    left = within(left, max(0, room - 1)) if right else within(left, columns)
    return (*left, (" " * max(0, room - width_of(left)), PLAIN), *within(right, columns))


def as_many_as_fit(parts: Sequence[Line], columns: int, *, between: str = "   ") -> Line:
    """The first of *parts*, as many as there is room for."""
    line: Line = ()
    for part in parts:
        longer = (*line, (between, PLAIN), *part) if line else part
        if width_of(longer) > columns:
            break

        line = longer

    return line or within(parts[0] if parts else (), columns)


def in_columns(rows: Sequence[Sequence[Piece]], *, right: Iterable[int] = (), between: int = 2) -> list[Line]:
    """*rows* with their pieces under each other; the columns numbered *right* end under each other, the last one is as long as it likes."""
    ends = frozenset(right)
    widths = [
        max((width(row[number][0]) for row in rows if number < len(row)), default=0) for number in range(max(map(len, rows), default=0))
    ]
    return [_row(row, widths, ends, between) for row in rows]


def _row(row: Sequence[Piece], widths: Sequence[int], ends: frozenset[int], between: int) -> Line:
    last = len(row) - 1
    cells: list[Piece] = []
    for number, (text, look) in enumerate(row):
        fits = text if number == last and number not in ends else filled(text, widths[number], right=number in ends)
        cells.append((fits if number == last else fits + " " * between, look))

    return tuple(cells)
