"""The numbers of the selected node, as lines: one function a kind of node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..supervision._drawing import LOOKS, safe
from ._context_lines import context_lines
from ._counting import among
from ._header_lines import Connection
from ._lines import PLAIN, Line, Piece, apart, in_columns, within
from ._looked_at import Chart, LookedAt, events_block, first_line, heading, measured, pairs, prose, table
from ._snapshot import Detail
from ._words import of_ago, of_bars, of_bytes, of_count, of_rate, of_span, of_time

TIMELINES = (60.0, 300.0, 900.0, 3600.0)
"""Seconds that the timeline of restarts goes back: the first in which all of them are, or else the last."""
RESTARTS = 10
LISTED = 8

OPERATIONS = Chart("operations", "rate", of_rate)
CALLS = Chart("calls", "rate", of_rate)
RUNNING = Chart("running", "running", of_count, "busy", least=4)
WAITING = Chart("waiting", "waiting", of_count, "bad", least=4)
MEMORY = Chart("memory", "rss", of_bytes, "well")


def detail_lines(looked: LookedAt, columns: int) -> list[Line]:
    """All that there is to say, in at most *columns*; as long as it takes."""
    detail = looked.detail
    lines = _plain(looked, columns) if detail is None else _KINDS[_kind(looked, detail)](looked, detail, columns)
    return [within(line, columns) for line in lines]


def _kind(looked: LookedAt, detail: Detail) -> str:
    """By what its numbers have, since several kinds of node have the same."""
    return next(
        (name for name, mark in _MARKS if mark in detail), "service" if looked.totals and looked.node.kind == "process" else "other"
    )


def _plain(looked: LookedAt, columns: int) -> Iterator[Line]:
    """What the tree alone knows."""
    yield first_line(looked)
    if looked.node.note:
        yield from prose(looked.node.note, columns)

    yield ()
    yield from pairs([(name.replace("_", " "), str(fact) if name == "pid" else fact) for name, fact in looked.node.facts.items()], columns)
    yield from events_block(looked, columns)


def _other(looked: LookedAt, _: Detail, columns: int) -> Iterator[Line]:
    yield from _plain(looked, columns)


def _service(looked: LookedAt, _: Detail, columns: int) -> Iterator[Line]:
    """The root: sums over everything."""
    yield first_line(looked)
    yield from measured(looked, columns, OPERATIONS, WAITING)
    yield ()
    yield from pairs([(name.replace("_", " "), count) for name, count in looked.totals.items()], columns)
    yield from _in_trouble(looked, columns)
    yield from _busiest(looked, columns)


def _in_trouble(looked: LookedAt, columns: int) -> Iterator[Line]:
    nodes = [node for node in looked.node.walk() if node.is_in_trouble]
    rows: list[list[Piece]] = [
        [(safe(node.name), "name"), (safe(node.state), node.look), (safe(node.note, 200), PLAIN)] for node in nodes[:LISTED]
    ]
    yield from table("in trouble", rows, columns, beside=of_count(len(nodes)))


def _busiest(looked: LookedAt, columns: int) -> Iterator[Line]:
    rated = [(rate, node) for node in looked.node.walk() if (rate := looked.rates.of(node.id))]
    rows: list[list[Piece]] = [
        [(safe(node.name), "name"), (of_rate(rate), "number"), (safe(node.id, 200), "dim")]
        for rate, node in sorted(rated, key=lambda each: -each[0])[:LISTED]
    ]
    yield from table("busiest", rows, columns, beside=among(looked.node), right=(1,))


def waiting_lines(connection: Connection, columns: int) -> list[Line]:
    """What stands there while nothing has come yet."""
    if not connection.lost:
        return []

    opened = (f"async with dspex.monitor.serve({connection.where!r}):", "kind")
    told = [*prose(connection.lost, columns), (), (("A service can be looked at while it has opened this:", "dim"),), (opened,)]
    return [within(line, columns) for line in told]


# --- supervisors -------------------------------------------------------------------------------------------------------------------


def _supervisor(looked: LookedAt, detail: Detail, columns: int) -> Iterator[Line]:
    yield first_line(looked, str(detail["strategy"]).replace("_", " "))
    yield from pairs([("restarts", f"{detail['restarts']} of {detail['allowed']} in {detail['seconds']:g} s")], columns)
    if looked.node.note:
        yield from prose(looked.node.note, columns)

    children = {str(state): count for state, count in detail["children"].items()}
    rows: list[list[Piece]] = [[(of_count(count), "name"), (safe(state), LOOKS.get(state, PLAIN))] for state, count in children.items()]
    yield from table("children", rows, columns, beside=of_count(sum(children.values())), right=(0,))
    yield from _restarts(looked, detail["timeline"], columns)
    yield from events_block(looked, columns)


def _restarts(looked: LookedAt, timeline: Sequence[tuple[float, str, str]], columns: int) -> Iterator[Line]:
    oldest = max((looked.at - at for at, _, _ in timeline), default=0.0)
    span = next((seconds for seconds in TIMELINES if seconds >= oldest), TIMELINES[-1])
    recent = [at for at, _, _ in timeline if looked.at - at <= span]
    yield ()
    yield heading("restarts", columns, f"{len(recent)} in the last {of_span(span)}")
    yield ((bars_over_time(recent, looked.at, columns, span), "busy"),)
    yield apart(((f"{of_span(span)} ago", "dim"),), (("now", "dim"),), columns)
    yield from in_columns([_restart(looked, *entry) for entry in reversed(timeline[-RESTARTS:])])


def _restart(looked: LookedAt, at: float, path: str, what: str) -> list[Piece]:
    return [(of_time(at), "dim"), (of_ago(looked.at - at), PLAIN), (_below(looked, path), "name"), (safe(what, 200), PLAIN)]


def bars_over_time(times: Sequence[float], now: float, columns: int, seconds: float) -> str:
    """How many *times* fall into each part of the last *seconds*."""
    counts: list[float | None] = [None] * columns
    for at in times:
        place = columns - 1 - int((now - at) / seconds * columns)
        if 0 <= place < columns:
            counts[place] = (counts[place] or 0) + 1

    return of_bars(counts)


def _below(looked: LookedAt, path: str) -> str:
    return safe(path.removeprefix(f"{looked.node.id}/"), 100)


# --- workers -----------------------------------------------------------------------------------------------------------------------


def _worker(looked: LookedAt, detail: Detail, columns: int) -> Iterator[Line]:
    yield first_line(looked)
    yield from pairs([("pid", str(detail["pid"] or "–")), ("pool", str(detail["pool"])), ("bridge", str(detail["bridge"]))], columns)
    yield from measured(looked, columns, CALLS, RUNNING, MEMORY)
    yield from pairs([("calls served", detail["served"])], columns)
    if detail["note"]:
        yield ()
        yield heading("the one before", columns)
        yield from prose(str(detail["note"]), columns)

    yield from events_block(looked, columns)


def _pool(looked: LookedAt, detail: Detail, columns: int) -> Iterator[Line]:
    yield first_line(looked, f"{detail['ready']} of {detail['workers']} workers ready")
    yield from measured(looked, columns, CALLS, RUNNING, WAITING)
    yield from pairs([("calls", detail["calls"]), ("deaths", detail["deaths"])], columns)
    if detail["last_death"]:
        yield ()
        yield heading("last death", columns)
        yield from prose(str(detail["last_death"]), columns)
        yield from prose(str(detail["last_words"] or ""), columns, "dim")

    yield from events_block(looked, columns)


# --- bridges and families ----------------------------------------------------------------------------------------------------------


def _bridge(looked: LookedAt, detail: Detail, columns: int) -> Iterator[Line]:
    yield first_line(looked, str(detail["store"]))
    if looked.node.note:
        yield from prose(looked.node.note, columns)

    yield ()
    yield from pairs([("pools", ", ".join(map(safe, detail["pools"]))), ("starts", detail["starts"])], columns)
    yield from events_block(looked, columns)


def _family(looked: LookedAt, detail: Detail, columns: int) -> Iterator[Line]:
    yield first_line(looked)
    if detail["error"]:
        yield from prose(str(detail["error"]), columns)

    yield ()
    yield from pairs([(name.replace("_", " "), count) for name, count in detail["counts"].items()], columns)
    yield from events_block(looked, columns)


_MARKS = (
    ("context", "variables"),
    ("supervisor", "timeline"),
    ("pool", "ready"),
    ("worker", "served"),
    ("bridge", "pools"),
    ("family", "counts"),
)
_KINDS: dict[str, Callable[[LookedAt, Detail, int], Iterator[Line]]] = {
    "context": context_lines,
    "supervisor": _supervisor,
    "pool": _pool,
    "worker": _worker,
    "bridge": _bridge,
    "family": _family,
    "service": _service,
    "other": _other,
}
