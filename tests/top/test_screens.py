"""
Whole screens, as they were when somebody looked at them and found them good.

They are kept as text in ``screens/``. ``DSPEX_SCREENS=new pytest tests/top/test_screens.py`` keeps what is drawn now instead, to be looked at again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from top.snapshots import AT, event, of_context, of_pool, of_supervisor, shop, snapshot
from top.views import Looking

KEPT = Path(__file__).parent / "screens"
LOBBY, SHOP, POOL = 6, 1, 3
"""How far down they stand in the tree."""


def recorded(number: int, selected: dict[str, Any]) -> dict[str, Any]:
    """The snapshot of this number of a made-up minute."""
    waves = 1 + number * 7919 % 5
    if selected["kind"] == "context":
        interval = {**selected["interval"], "operations": 100 * waves, "p50": 1e-6 * waves, "p99": 1e-5 * (waves + number % 3)}
        selected = {**of_context(visits=10 + 2 * number), "interval": interval}

    events = (
        [event("shop/ingest/fetch is restarting: ConnectionError: gone", "shop/ingest/fetch", "warning", number)] if number % 9 == 4 else []
    )
    if number == 20:
        events.append(
            event("worker 4300 of bridge/default died by SIGKILL after 41.2 s and 92 calls", "shop/bridge/default", "error", number)
        )

    sums = {"operations": 1000 + 120 * number * waves}
    return snapshot(shop(12 + 3 * number, 1000 + 200 * number), after=number, totals=sums, selected=selected, events=events)


CASES = [
    ("context-80x24", LOBBY, of_context(), (80, 24)),
    ("context-100x30", LOBBY, of_context(), (100, 30)),
    ("context-140x45", LOBBY, of_context(), (140, 45)),
    ("context-60x30", LOBBY, of_context(), (60, 30)),
    (
        "supervisor-100x30",
        SHOP,
        of_supervisor("shop", *[(AT - 40 + 5 * n, "shop/ingest/fetch", "restarting") for n in range(6)]),
        (100, 30),
    ),
    ("pool-100x30", POOL, of_pool(), (100, 30)),
]


@pytest.mark.parametrize(("name", "down", "selected", "size"), CASES, ids=[case[0] for case in CASES])
async def test_the_screen_is_as_it_was(name, down, selected, size):
    async with Looking(snapshot(), size=size) as view:
        await view.press(*["down"] * down)
        await view.show(*(recorded(number, selected) for number in range(1, 41)))
        await view.until(lambda: view.sees("22:14:00"))  # the newest event
        screen = "\n".join(view.screen()) + "\n"

    file = KEPT / f"{name}.txt"
    if os.environ.get("DSPEX_SCREENS") == "new":
        KEPT.mkdir(exist_ok=True)
        file.write_text(screen)

    assert screen == file.read_text(), "\n" + screen


@pytest.mark.parametrize("name", [case[0] for case in CASES])
def test_a_kept_screen_fits_its_terminal(name):
    columns, height = map(int, name.rpartition("-")[2].split("x"))
    lines = (KEPT / f"{name}.txt").read_text().splitlines()
    assert len(lines) == height
    assert all(len(line) <= columns for line in lines)
