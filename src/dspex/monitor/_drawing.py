"""
How reports are drawn, in plain text and with rich. Both show the same words.

A report is first laid out as a sheet: a title, then blocks of facts, of lines or of columns.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

from attrs import fields, frozen

from ..abc import Capabilities
from ..supervision._drawing import safe as safe, width
from ._sentences import counted, milliseconds
from ._shown import one_line

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from ..context import BackendInfo
    from ._report import ContextReport

TITLE = "DSPex Context Inspection"
_LONGEST = 200


@frozen
class Block:
    """
    A part of a sheet.

    Attributes:
        title: a heading, or nothing.
        facts: what stands behind a label each.
        lines: what stands alone.
        columns: headings, those of numbers with a ``>`` before.
        rows: what stands below the headings.

    """

    title: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    lines: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@frozen
class Sheet:
    """What is drawn."""

    title: str
    blocks: tuple[Block, ...]


# --- the layout of a context's report ----------------------------------------------------------------------------------------------


def sheet_of(report: ContextReport) -> Sheet:
    """The seed's report, and what else there is to know."""
    capabilities = tuple(f"- {name}: {_yes(has)}" for name, has in capabilities_of(report.backend).items())
    history = tuple(f"- {kind.__qualname__} at {moment(when)}" for kind, when in report.backend.history)
    blocks = [
        Block(facts=tuple(_facts(report))),
        Block("Capabilities:", lines=capabilities),
        Block("History:", lines=history or ("- none",)),
        Block("Counts:", lines=(_counts(report),)),
        _variables(report),
    ]
    if report.programs:
        blocks.append(_programs(report))

    return Sheet(TITLE, tuple(blocks))


def _facts(report: ContextReport) -> Iterator[tuple[str, str]]:
    info = report.backend
    yield "ID", safe(report.id)
    if report.name:
        yield "Name", safe(report.name)

    yield "Status", report.status + (", switching" if info.switching and report.status != "switching" else "")
    if report.error:
        yield "Error", one_line(report.error, _LONGEST)

    yield "Backend", safe(info.type.__qualname__)
    yield "Type", info.kind
    yield "Requires Bridge", _yes(info.requires_bridge)
    if report.resumed:
        yield "Resumed", "yes"

    yield "Switches", f"{info.switches}"
    if (last := info.last_switch) is not None:
        yield "Last Switch", f"{milliseconds(last.seconds)}, {counted(last.variables, 'variable')}, {last.bytes:,} bytes"


def _counts(report: ContextReport) -> str:
    counts = report.counts
    told = [
        f"operations {counts.operations:,}",
        f"queued {counts.queued:,}",
        f"pending {counts.pending:,} of {counts.mailbox_size:,}",
        f"calls {counts.calls:,}",
        f"watches {counts.watches:,}",
        f"lives {counts.lives:,}",
    ]
    return ", ".join(told)


def _variables(report: ContextReport) -> Block:
    rows = tuple((safe(each.name), safe(each.type), f"{each.version:,}", moment(each.updated_at), each.value) for each in report.variables)
    more = "… and more" if report.more_variables is None else f"… and {report.more_variables:,} more" if report.more_variables else ""
    if report.note:
        return Block("Variables: not read", lines=(one_line(report.note, _LONGEST),))

    if not rows:
        return Block("Variables: none")

    known = "" if report.more_variables is None else f" {len(rows) + report.more_variables:,}"
    columns = ("name", "type", ">version", "updated", "value")
    return Block(f"Variables:{known}", lines=(more,) if more else (), columns=columns, rows=rows)


def _programs(report: ContextReport) -> Block:
    rows = tuple((safe(each.id), each.where, safe(each.pool or ""), f"{each.calls:,}") for each in report.programs)
    more = (f"… and {report.more_programs:,} more",) if report.more_programs else ()
    return Block(f"Programs: {len(rows) + report.more_programs:,}", lines=more, columns=("id", "where", "pool", ">calls"), rows=rows)


def capabilities_of(info: BackendInfo) -> dict[str, bool]:
    """What the backend promises, by name."""
    return {each.name: bool(getattr(info.capabilities, each.name, False)) for each in fields(Capabilities)}


def moment(when: dt.datetime) -> str:
    """A time, UTC, to the millisecond."""
    return f"{when.astimezone(dt.UTC).replace(tzinfo=None).isoformat(sep=' ', timespec='milliseconds')} UTC"


def _yes(fact: object) -> str:
    return "yes" if fact else "no"


# --- plain text --------------------------------------------------------------------------------------------------------------------


def as_text(sheet: Sheet) -> str:
    """The sheet as lines."""
    return "\n\n".join("\n".join(lines) for lines in [_titled(sheet), *map(_lines_of, sheet.blocks[1:])])


def _titled(sheet: Sheet) -> list[str]:
    return [sheet.title, "=" * width(sheet.title), *_lines_of(sheet.blocks[0])]


def _lines_of(block: Block) -> list[str]:
    title = [block.title] if block.title else []
    return [*title, *(f"{label}: {fact}" for label, fact in block.facts), *_aligned(block), *(f"  {line}" for line in block.lines)]


def _aligned(block: Block) -> Iterator[str]:
    if not block.columns:
        return

    heads = tuple(column.removeprefix(">") for column in block.columns)
    right = [column.startswith(">") for column in block.columns]
    widths = [max(map(width, column)) for column in zip(heads, *block.rows, strict=True)]
    for row in (heads, *block.rows):
        yield "  " + "  ".join(_padded(row, widths, right)).rstrip()


def _padded(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> Iterator[str]:
    for cell, columns, to_the_right in zip(row, widths, right, strict=True):
        blank = " " * (columns - width(cell))
        yield blank + cell if to_the_right else cell + blank


# --- rich --------------------------------------------------------------------------------------------------------------------------


def as_rich(sheet: Sheet) -> Group:
    """The same words in colours; lines that don't fit are cut."""
    from rich.console import Group

    return Group(*_coloured(sheet))


def _coloured(sheet: Sheet) -> Iterator[Any]:
    yield _text((sheet.title, "bold"))
    yield _text(("=" * width(sheet.title), "dim"))
    for number, block in enumerate(sheet.blocks):
        if number:
            yield _text()

        if block.title:
            yield _text((block.title, "bold"))

        yield from (_text((f"{label}: ", "cyan"), (fact, _FACTS.get((label, fact), ""))) for label, fact in block.facts)
        if block.columns:
            yield _table(block)

        yield from (_text((f"  {line}", "")) for line in block.lines)


# Facts that have a colour of their own.
_FACTS = {
    ("Status", "running"): "green",
    ("Status", "crashed"): "bold red",
    ("Status", "parked"): "bold red",
    **{("Status", state): "yellow" for state in ("starting", "switching", "restarting", "stopping")},
}


def _text(*pieces: tuple[str, str]) -> Text:
    from rich.text import Text

    text = Text(no_wrap=True, overflow="ellipsis")
    for words, style in pieces:
        text.append(words, style=style)

    return text


def _table(block: Block) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 0, 0, 2), header_style="cyan")
    for column in block.columns:
        table.add_column(Text(column.removeprefix(">")), justify="right" if column.startswith(">") else "left", no_wrap=True)

    for row in block.rows:
        table.add_row(*map(Text, row))

    return table


# --- where to ----------------------------------------------------------------------------------------------------------------------


def show(sheet: Sheet, file: IO[str]) -> None:
    """Draws *sheet* on *file*: with rich where that is installed and *file* is a terminal, else in plain text."""
    if file.isatty() and (console := _console(file)) is not None:
        console.print(as_rich(sheet))
    else:
        file.write(as_text(sheet) + "\n")


def _console(file: IO[str]) -> Any:
    try:
        from rich.console import Console
    except ImportError:
        return None

    return Console(file=file)
