"""
Makes the pictures of the README from what really runs: ``python docs/pictures/make.py`` makes all of them, with names behind it some.

top    `dspex top` on its demo's service, which has run for a while: docs/pictures/top.svg
trace  a request, from the switch to the worker and back: docs/pictures/trace.svg
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from dspex._top._app import Top

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parents[1] / "src"))  # of this tree, installed or not

LONGEST = 90.0
"""Seconds that a picture may wait for something to show."""


def top() -> None:
    """The view of a context that is in use, while something else is in trouble."""
    from dspex._top._demo import demo_service

    with demo_service() as socket:
        anyio.run(_look, socket)


async def _look(socket: Path) -> None:
    from dspex import monitor
    from dspex._top._app import Top

    view = Top(partial(monitor.connect, socket), where=str(socket), every=0.5)
    async with view.run_test(size=(132, 40)) as pilot:
        await _until(pilot, lambda: "shop/goods" in _ids(view))
        view.model.select("shop/goods")
        view._tree.show_cursor()
        await pilot.pause(30)
        await _until(pilot, lambda: _is_telling(view))
        _save("top", view.export_screenshot(title="dspex top --demo"))


def _ids(view: Top) -> set[str]:
    return set() if view.model.shown is None else {node.id for node in view.model.shown.tree.walk()}


def _is_telling(view: Top) -> bool:
    """Whether something is in trouble, and a worker has died lately."""
    model = view.model
    troubled = model.shown is not None and any(node.is_in_trouble for node in model.shown.tree.walk())
    return troubled and bool(model.changed) and any(event.kind == "WorkerEnded" for event in model.happened.seen()[-6:])


async def _until(pilot: Any, so: Callable[[], bool]) -> None:
    with anyio.move_on_after(LONGEST):
        while not so():
            await pilot.pause(0.1)


def _save(name: str, svg: str) -> None:
    """Without the fonts that textual would fetch from elsewhere: whoever reads has one of fixed width."""
    file = FOLDER / f"{name}.svg"
    file.write_text(re.sub(r"@font-face\s*\{[^}]*\}\s*", "", svg), encoding="utf-8")
    print(f"{file}: {file.stat().st_size:,} bytes")


def trace() -> None:
    """The spans of a request, as the SDK has them."""
    from traced_request import record
    from waterfall import svg

    _save("trace", svg(anyio.run(record), "A request: a switch, and a call of a program in a worker that reads and writes variables here"))


PICTURES: dict[str, Callable[[], None]] = {"top": top, "trace": trace}

if __name__ == "__main__":
    for picture in sys.argv[1:] or PICTURES:
        PICTURES[picture]()
