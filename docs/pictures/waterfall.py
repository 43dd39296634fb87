"""
Draws a trace as a waterfall: one line a span, below what it is below of, with a bar from its beginning to its end. It is plain SVG of its own, on a ground of
its own, so that it is read on light and dark pages alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

WIDTH, LEFT, RIGHT = 1180, 330, 110
TOP, ROW, BAR = 112, 34, 16

GROUND, LINE, TEXT, FAINT = "#0f1419", "#2b333d", "#dcdfe4", "#8b949e"
COLOURS = {"this process": "#4a9fd8", "the worker process": "#dfb04f"}
OF_OTHERS = "#7d8590"


class Line(NamedTuple):
    """One span: what it is called and how deep it is, when it ran, in milliseconds from the beginning of the trace, and where."""

    name: str
    about: str
    depth: int
    start: float
    end: float
    place: str
    marks: tuple[tuple[str, float], ...]


def svg(spans: Sequence[ReadableSpan], title: str) -> str:
    """The picture of one trace."""
    lines = [*in_order(spans)]
    whole = max(line.end for line in lines)
    height = TOP + ROW * len(lines) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">',
        f'<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14" fill="{TEXT}">',
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="{GROUND}"/>',
        text(24, 36, title, size=16),
        *legend(),
        *axis(whole, height),
        *(part for number, line in enumerate(lines) for part in row(line, TOP + ROW * number, whole)),
        "</g></svg>",
    ]
    return "\n".join(parts) + "\n"


# --- what there is to draw --------------------------------------------------------------------------------------------------------


def in_order(spans: Sequence[ReadableSpan]) -> Iterator[Line]:
    """Every span after what it is below of, siblings by when they began."""
    known = {span.context.span_id: span for span in spans}
    first = min(began(span) for span in spans)

    def below(parent: int | None, depth: int, place: str) -> Iterator[Line]:
        found = [span for span in spans if parent_of(span, known) == parent]
        for span in sorted(found, key=began):
            where = place_of(span, place)
            yield line_of(span, depth, first, where)
            yield from below(span.context.span_id, depth + 1, where)

    return below(None, 0, "this process")


def parent_of(span: ReadableSpan, known: dict[int, ReadableSpan]) -> int | None:
    """The id of what it is below of, if that is in the picture."""
    return span.parent.span_id if span.parent is not None and span.parent.span_id in known else None


def place_of(span: ReadableSpan, above: str) -> str:
    """Which process it ran in: that of the span above it, unless it is one of those at which a trace goes over."""
    return {"dspex.run": "the worker process", "dspex.operation": "this process"}.get(span.name, above)


def line_of(span: ReadableSpan, depth: int, first: int, place: str) -> Line:
    """A span as a line."""
    told = span.attributes or {}
    about = told.get("dspex.variable.name") or told.get("dspex.program.id") or ""
    if "dspex.operation.name" in told:
        about = f"{told['dspex.operation.name']} {about}"

    marks = tuple((event.name.rpartition(".")[2], (event.timestamp - first) / 1e6) for event in span.events)
    return Line(span.name, str(about), depth, (began(span) - first) / 1e6, (span.end_time or first) / 1e6 - first / 1e6, place, marks)


def began(span: ReadableSpan) -> int:
    """When, in nanoseconds."""
    assert span.start_time is not None
    return span.start_time


# --- how it is drawn --------------------------------------------------------------------------------------------------------------


def x(ms: float, whole: float) -> float:
    """Where a moment is."""
    return LEFT + (WIDTH - LEFT - RIGHT) * ms / whole


def text(left: float, base: float, words: str, *, colour: str = TEXT, size: int = 14, anchor: str = "start") -> str:
    """Some words."""
    return f'<text x="{left:.1f}" y="{base:.1f}" fill="{colour}" font-size="{size}" text-anchor="{anchor}">{escape(words)}</text>'


def legend() -> Iterator[str]:
    """Which colour is which process."""
    left = 24
    for place, colour in COLOURS.items():
        yield f'<rect x="{left}" y="54" width="12" height="12" rx="2" fill="{colour}"/>'
        yield text(left + 20, 65, f"in {place}", colour=FAINT, size=13)
        left += 34 + 8 * len(f"in {place}")

    yield f'<path d="M{left + 6} 52v16" stroke="{TEXT}" stroke-width="2"/>'
    yield text(left + 16, 65, "a step of the switch has ended", colour=FAINT, size=13)


def axis(whole: float, height: int) -> Iterator[str]:
    """Lines at round milliseconds."""
    step = next(step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000) if whole / step <= 10)
    for number in range(int(whole / step) + 1):
        place = x(number * step, whole)
        yield f'<path d="M{place:.1f} {TOP - 12}V{height - 22}" stroke="{LINE}"/>'
        yield text(place, TOP - 18, f"{number * step:g} ms", colour=FAINT, size=12, anchor="middle")


def row(line: Line, top: int, whole: float) -> Iterator[str]:
    """A span: its name, what it is about, its bar, its steps and how long it took."""
    base, left, right = top + BAR - 3, x(line.start, whole), x(line.end, whole)
    indent = 24 + 20 * line.depth
    if line.depth:
        yield f'<path d="M{indent - 13} {top - 8}v16h8" stroke="{OF_OTHERS}" fill="none"/>'

    name = text(indent, base, line.name).replace("</text>", "")
    yield f'{name}<tspan fill="{FAINT}">  {escape(line.about)}</tspan></text>'
    yield f'<rect x="{left:.1f}" y="{top}" width="{max(right - left, 3):.1f}" height="{BAR}" rx="2" fill="{COLOURS[line.place]}"/>'
    for _, at in line.marks:
        yield f'<path d="M{x(at, whole):.1f} {top - 3}v{BAR + 6}" stroke="{TEXT}" stroke-width="2"/>'

    steps = ": " + ", ".join(step.replace("_", " ") for step, _ in line.marks) if line.marks else ""
    yield text(max(right, left + 3) + 8, base, duration(line.end - line.start) + steps, colour=FAINT, size=13)


def duration(ms: float) -> str:
    """In words."""
    return f"{ms * 1000:.0f} µs" if ms < 1 else f"{ms:.1f} ms"
