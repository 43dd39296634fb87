"""Run every theme, print the table, write the results."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import anyio

from bench import contexts, operations, supervision, switching, telemetry, workers
from bench.measure import Options, Row

Theme = Callable[[Options], Awaitable[list[Row]]]

RESULTS = Path(__file__).with_name("results.json")
COLUMNS = ("work", "against", "ours", "theirs", "median", "min..max", "budget", "verdict")

# In this order; each runs on a loop of its own.
THEMES: list[tuple[str, Theme, str]] = [
    ("direct", operations.direct, "asyncio"),
    ("nobody listens", operations.unheard, "asyncio"),
    ("heard", operations.heard, "asyncio"),
    ("bridged", operations.bridged, "asyncio"),
    ("queued", operations.queued("asyncio", 1.5), "asyncio"),
    ("queued on trio", operations.queued("trio", 1.2), "trio"),
    ("small switch", switching.small, "asyncio"),
    ("large switch", switching.large, "asyncio"),
    ("reading in a worker", workers.reading, "asyncio"),
    ("many at once in a worker", workers.many_at_once, "asyncio"),
    ("calling", workers.calling, "asyncio"),
    ("calling, traced", telemetry.traced, "asyncio"),
    ("a reader of metrics", telemetry.metered, "asyncio"),
    ("killed", workers.killed, "asyncio"),
    ("restart", supervision.restart("asyncio"), "asyncio"),
    ("restart on trio", supervision.restart("trio"), "trio"),
    ("dynamic children", supervision.children, "asyncio"),
    ("bounded tree", supervision.drawing, "asyncio"),
    ("family", supervision.family, "asyncio"),
    ("idle", contexts.idle, "asyncio"),
    ("importing", contexts.importing, "asyncio"),
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for. Returns 0; a row over its budget is told, and no failure: machines differ."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run: fewer rounds, smaller states; its figures mean little")
    parser.add_argument("--large", action="store_true", help="add the switch of a million variables")
    parser.add_argument("--only", metavar="WORD", default="", help="only the themes whose name has WORD in it; nothing is written")
    parser.add_argument("--output", metavar="FILE", type=Path, default=RESULTS, help="where to write the results, as JSON (%(default)s)")
    chosen = parser.parse_args(arguments)
    options = Options(rounds=3, scale=0.02) if chosen.quick else Options(large=chosen.large)

    rows: list[Row] = []
    for name, theme, library in THEMES:
        if chosen.only in name:
            print(f"measuring: {name} ...", file=sys.stderr, flush=True)
            rows += anyio.run(theme, options, backend=library)

    show(rows)
    if not chosen.only:
        write(rows, chosen.output, quick=chosen.quick)

    return 0


def cells(row: Row) -> tuple[str, ...]:
    """A row as text."""
    unit = "x" if row.theirs else f" {row.unit}"
    extremes = f"{min(row.rounds):.2f}..{max(row.rounds):.2f}"
    budget = "" if row.budget is None else f"{row.budget:g}{unit}"
    theirs = f"{median(row.theirs):.2f} {row.unit}" if row.theirs else ""
    return row.work, row.against, f"{median(row.ours):.2f} {row.unit}", theirs, f"{row.value:.2f}{unit}", extremes, budget, row.verdict


def median(found: Sequence[float]) -> float:
    """The middle one."""
    return sorted(found)[len(found) // 2]


def show(rows: Sequence[Row]) -> None:
    """Print the table, by rich where it is installed."""
    if find_spec("rich") is not None:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*COLUMNS)
        for row in rows:
            table.add_row(*map(Text, cells(row)), style="red" if row.verdict == "over" else None)

        Console(width=None if sys.stdout.isatty() else 180).print(table)
    else:
        for line in (COLUMNS, *map(cells, rows)):
            print(" | ".join(line))

    for row in rows:
        if row.note:
            print(f"{row.work}: {row.note}")


def write(rows: Sequence[Row], output: Path, *, quick: bool) -> None:
    """Write the results."""
    machine = {"python": platform.python_version(), "machine": platform.platform()}
    output.write_text(json.dumps({**machine, "quick": quick, "rows": [row.record() for row in rows]}, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
