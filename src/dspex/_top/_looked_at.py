"""What there is to say of the selected node, whatever its kind: how it is, what was measured of it, what happened to it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence

from attrs import field, frozen

from ..supervision._drawing import safe
from ._counting import Measured, Rates
from ._event_lines import event_line
from ._lines import PLAIN, Line, cut, filled, in_columns
from ._snapshot import Detail, Event, Node
from ._tree_lines import MARKS
from ._words import NONE, of_bars, of_columns, of_count

LABELS, VALUES = 12, 10
EVENTS = 8
"""Events of the selected node that stand below its numbers."""
LONGEST = 2000


@frozen(eq=False)
class LookedAt:
    """One node and all that is known of it."""

    node: Node
    detail: Detail | None
    """Its numbers; None while they haven't come."""
    at: float
    """When this was so: Unix time in seconds."""
    measured: Measured = field(factory=Measured)
    changed: Mapping[str, int] = {}
    """By how many versions its variables moved on since the snapshot before."""
    events: Sequence[Event] = ()
    """What happened to it and to what is below it, oldest first."""
    totals: Mapping[str, int] = {}
    """The sums over the whole service."""
    rates: Rates = field(factory=Rates)
    """How busy everything is."""


# --- blocks ------------------------------------------------------------------------------------------------------------------------


def first_line(looked: LookedAt, *more: str) -> Line:
    """How it is and what it is."""
    node = looked.node
    state = ((f"{MARKS.get(node.look, '·')} {safe(node.state)}  ", node.look or "dim"),) if node.state else ()
    told = "  ".join(filter(None, map(safe, more)))
    return (*state, (safe(node.kind), "kind"), (f"  {told}" if told else "", PLAIN))


def heading(text: str, columns: int, beside: str = "") -> Line:
    """What begins a block."""
    told = f"{text} {beside}".rstrip()
    return ((f"{cut(text, columns)} ", "head"), (f"{beside} " if beside else "", "dim"), ("─" * max(0, columns - len(told) - 1), "dim"))


@frozen
class Chart:
    """One thing that was measured: how it is called, which ring has it, how a number of it reads, and how it looks."""

    label: str
    ring: str
    words: Callable[[float | None], str]
    look: str = "number"
    least: float = 0.0
    """What is at least as high as the highest bar: of a queue of two, two are not many."""


def chart(chart: Chart, looked: LookedAt, columns: int) -> Line:
    """The last that was measured in words, and what was in the last minutes as bars."""
    ring = looked.measured.ring(chart.ring)
    room = max(1, columns - LABELS - VALUES - 2)
    bars = of_bars(of_columns(ring.samples, room, before=ring.before), chart.least)
    words = filled(chart.words(ring.last), VALUES, right=True)
    return ((filled(chart.label, LABELS), "dim"), (words, "name"), (f"  {bars.rjust(room)}", chart.look))


def measured(looked: LookedAt, columns: int, *charts: Chart, beside: str = "") -> Iterator[Line]:
    """What was measured of it."""
    yield ()
    yield heading("measured", columns, beside)
    yield from (chart(each, looked, columns) for each in charts)


def pairs(facts: Sequence[tuple[str, object]], columns: int) -> Iterator[Line]:
    """Names and values, as many in a line as fit."""
    line: list[tuple[str, str]] = []
    room = columns
    for name, value in facts:
        told = _shown(value)
        size = len(name) + len(told) + 3
        if line and size - 2 > room:
            yield tuple(line)
            line, room = [], columns

        line += [("  " if line else "", PLAIN), (f"{name} ", "dim"), (told, PLAIN)]
        room -= size

    if line:
        yield tuple(line)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"

    return (
        NONE
        if value is None
        else of_count(value)
        if isinstance(value, int)
        else safe(f"{value:g}" if isinstance(value, float) else str(value))
    )


def prose(text: str, columns: int, look: str = "error") -> Iterator[Line]:
    """A text of any length and kind, line by line."""
    for line in text[-LONGEST:].splitlines():
        yield from (((part, look),) for part in textwrap.wrap(safe(line, LONGEST), max(10, columns)))


def events_block(looked: LookedAt, columns: int) -> Iterator[Line]:
    """What happened to it last, the newest first."""
    if looked.events:
        yield ()
        yield heading("events", columns, of_count(len(looked.events)))
        yield from (event_line(event, columns) for event in reversed(looked.events[-EVENTS:]))


def table(
    title: str, rows: Sequence[Sequence[tuple[str, str]]], columns: int, *, beside: str = "", right: Sequence[int] = ()
) -> Iterator[Line]:
    """Rows under a heading; nothing at all if there are none."""
    if rows:
        yield ()
        yield heading(title, columns, beside)
        yield from in_columns(rows, right=right)
