"""The numbers of a context."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from ..supervision._drawing import safe
from ._lines import PLAIN, Line, Piece
from ._looked_at import Chart, LookedAt, events_block, first_line, measured, pairs, prose, table
from ._snapshot import Detail
from ._words import of_bytes, of_count, of_rate, of_seconds, of_span, of_time

NAMES, TYPES = 24, 16
CHARTS = (
    Chart("operations", "rate", of_rate),
    Chart("p50", "p50", of_seconds, "well"),
    Chart("p99", "p99", of_seconds, "busy"),
    Chart("queue", "pending", of_count, "bad", least=16),
)


def context_lines(looked: LookedAt, detail: Detail, columns: int) -> Iterator[Line]:
    """How fast it is, what waits, what changes, what it switched to."""
    backend, counts, doing = detail["backend"], detail["counts"], detail.get("doing")
    yield first_line(looked, str(backend["type"]), "switching" if backend.get("switching") else f"in {doing!r}" if doing else "")
    yield from pairs([("id", str(detail["id"])), ("lives", counts["lives"])], columns)
    if detail["error"]:
        yield from prose(str(detail["error"]), columns)

    yield from _charts(looked, detail, columns)
    yield ()
    yield from pairs([(name, counts[name]) for name in ("operations", "queued", "calls", "watches", "switches")], columns)
    yield from _variables(looked, detail, columns)
    yield from _programs(detail, columns)
    yield from _switches(backend, columns)
    yield from events_block(looked, columns)


def _charts(looked: LookedAt, detail: Detail, columns: int) -> Iterator[Line]:
    interval, counts = detail["interval"], detail["counts"]
    seen = len(looked.measured.ring("rate")) * (interval["seconds"] or 0)
    yield from measured(looked, columns, *CHARTS, beside=f"over {of_span(seen)}" if seen >= 1 else "")
    timed = [("timed", interval["count"]), ("slowest", of_seconds(interval["max"])), ("waited at most", of_seconds(interval["waited_max"]))]
    yield from pairs([*timed, ("room", counts["mailbox_size"])], columns)


def _variables(looked: LookedAt, detail: Detail, columns: int) -> Iterator[Line]:
    rows = [_variable(one, looked.changed.get(one["name"], 0)) for one in detail["variables"]]
    more = detail["more_variables"]
    if more is None:
        yield ()
        yield (("Its backend is of a kind of its own, which isn't asked for its variables.", "dim"),)
        return

    yield from table("variables", rows, columns, beside=of_count(len(rows) + more), right=(1, 2))
    if more:
        yield ((f"… and {more:,} more", "dim"),)


def _variable(one: Mapping[str, Any], moved: int) -> list[Piece]:
    look = "changed" if moved else PLAIN
    return [
        (safe(one["name"], NAMES), "changed" if moved else "name"),
        (f"v{one['version']}", look or "dim"),
        (f"+{moved}" if moved else "", look),
        (safe(str(one["type"]), TYPES), "kind"),
        (safe(str(one["value"]), 200), look),
    ]


def _programs(detail: Detail, columns: int) -> Iterator[Line]:
    rows: list[list[Piece]] = [
        [(safe(one["id"], NAMES), "name"), (f"in a {safe(one['where'])}", "kind"), (f"{of_count(one['calls'])} calls", PLAIN)]
        for one in detail["programs"]
    ]
    yield from table("programs", rows, columns, beside=of_count(len(rows)))


def _switches(backend: Mapping[str, Any], columns: int) -> Iterator[Line]:
    history: list[Any] = backend["history"]
    rows: list[list[Piece]] = [[(_time(when), "dim"), (safe(kind), PLAIN)] for kind, when in history]
    last = backend["last_switch"]
    if last is not None and rows:
        told = f"{last['variables']:,} variables, {of_bytes(last['bytes'])}, {of_seconds(last['seconds'])}"
        rows[-1].append((told, "dim"))

    yield from table("backends", rows, columns, beside=f"{backend['switches']} switches" if backend["switches"] != 1 else "1 switch")


def _time(when: str) -> str:
    try:
        return of_time(datetime.fromisoformat(when).timestamp())
    except ValueError:
        return safe(when)
