"""A detail as a sheet of paper: a heading, single facts, and tables; in plain text and with rich. Both show the same words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from ...supervision._drawing import LOOKS, width
from .._shown import one_line

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

_LONGEST: Final = 200
_HEADING: Final = ("path", "kind", "name", "state", "facts", "note")
_COLOURS: Final = {"well": "green", "busy": "yellow", "bad": "bold red", "over": "dim"}

# What facts are measured in, by the last word of their name, and how much of what is sent makes one of it.
_UNITS: Final[dict[str, tuple[str, int]]] = {"rss": ("MiB", 2**20), "seconds": ("s", 1)}

# Lists whose items have no names of their own.
_COLUMNS: Final[dict[str, tuple[str, ...]]] = {"history": ("backend", "since"), "timeline": ("at", "child", "what")}


@frozen
class Table:
    """Rows of cells under a title."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@frozen
class Sheet:
    """
    What is to be read of one thing.

    Attributes:
        heading: its path, its kind and its state.
        note: what is wrong with it.
        facts: names with what they are.
        tables: the rest.

    """

    heading: tuple[str, str, str]
    note: str
    facts: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]


def of(detail: Mapping[str, Any]) -> Sheet:
    """The sheet for *detail*."""
    told = {**detail.get("facts", {}), **{name: value for name, value in detail.items() if name not in _HEADING}}
    flat = dict(_flat(told))
    lists: dict[str, list[Any]] = {name: value for name, value in flat.items() if isinstance(value, list) and value}
    tables = tuple(_table(name, value) for name, value in lists.items())
    facts = tuple(
        (_words(name), _measured(name, value))
        for name, value in flat.items()
        if not isinstance(value, list) and not _is_nothing(name, value)
    )
    texts = tuple(Table(_words(name), (), tuple((line,) for line in text.splitlines())) for name, text in flat.items() if _is_long(text))
    heading = (_cell(detail.get("path")), _cell(detail.get("kind")), _cell(detail.get("state")))
    return Sheet(heading, _cell(detail.get("note") or ""), tuple((name, text) for name, text in facts if text), (*tables, *texts))


def _flat(told: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """What is in tables of tables, each with its way there as its name."""
    for name, value in told.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name} ")
        else:
            yield f"{above}{name}", value


def _table(name: str, rows: list[Any]) -> Table:
    first: Any = rows[0]
    if isinstance(first, dict):
        columns: tuple[str, ...] = tuple(map(str, rows[0]))
        return Table(_words(name), tuple(map(_words, columns)), tuple(tuple(_cell(row.get(column)) for column in columns) for row in rows))

    if isinstance(first, list):
        columns = _COLUMNS.get(name.rpartition(" ")[2], ())
        cells = (tuple(_when(cell) if number == 0 else _cell(cell) for number, cell in enumerate(row)) for row in rows)
        return Table(_words(name), columns, tuple(cells))

    return Table(_words(name), (), tuple((_cell(row),) for row in rows))


def _words(name: str) -> str:
    return one_line(name.replace("_", " "), _LONGEST)


def _is_nothing(name: str, value: Any) -> bool:
    return value == 0 and name.startswith("more_")


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and "\n" in value


def _cell(value: Any) -> str:
    if value is None or _is_long(value):
        return ""

    if isinstance(value, bool):
        return "yes" if value else "no"

    return one_line(f"{value:.6g}" if isinstance(value, float) else str(value), _LONGEST)


def _measured(name: str, value: Any) -> str:
    """A fact, with its unit where its name tells that it has one."""
    unit, of_it = _UNITS.get(name.rpartition(" ")[2], ("", 1))
    if not unit or isinstance(value, bool) or not isinstance(value, int | float):
        return _cell(value)

    return f"{_cell(value if of_it == 1 else f'{value / of_it:,.1f}')} {unit}"


def _when(cell: Any) -> str:
    """A Unix time, or whatever else is in a first column."""
    if not isinstance(cell, float):
        return _cell(cell)

    return datetime.fromtimestamp(cell).astimezone().isoformat(timespec="seconds")


# --- plain text --------------------------------------------------------------------------------------------------------------------


def as_text(sheet: Sheet) -> str:
    """One line a fact, one line a row."""
    lines = ["  ".join(filter(None, sheet.heading))]
    if sheet.note:
        lines.append(sheet.note)

    lines += ["", *_aligned(sheet.facts)] if sheet.facts else []
    for table in sheet.tables:
        rows = [table.columns, *table.rows] if table.columns else table.rows
        lines += ["", table.title, *(f"  {line}" for line in _aligned(rows))]

    return "\n".join(lines)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    columns = [max(width(row[number]) for row in rows) for number in range(len(rows[0]))]
    for row in rows:
        cells = (cell + " " * (column - width(cell)) for cell, column in zip(row, columns, strict=True))
        yield "  ".join(cells).rstrip()


# --- rich --------------------------------------------------------------------------------------------------------------------------


def as_rich(sheet: Sheet) -> Group:
    """The same words in colours."""
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    parts: list[Any] = [_heading(sheet)]
    if sheet.note:
        parts.append(Text(sheet.note, style="red"))

    facts = RichTable.grid(padding=(0, 2))
    for name, text in sheet.facts:
        facts.add_row(Text(name, style="dim"), Text(text))

    parts += ["", facts]
    for table in sheet.tables:
        drawn = RichTable(box=None, show_header=bool(table.columns), pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for column in table.columns or ("",) * len(table.rows[0]):
            drawn.add_column(column)

        for row in table.rows:
            drawn.add_row(*map(Text, row))

        parts += ["", Text(table.title, style="bold"), drawn]

    return Group(*parts)


def _heading(sheet: Sheet) -> Text:
    from rich.text import Text

    path, kind, state = sheet.heading
    colour = _COLOURS.get(LOOKS.get(state, ""), "")
    cells = [(path, "bold"), (kind, "cyan"), (state, colour)]
    return Text("  ").join(Text(text, style=style) for text, style in cells if text)
