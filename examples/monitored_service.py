"""
A service to be looked at from outside while it works: ``monitor.serve`` and the watchdog, in two lines.

Start it with ``python examples/monitored_service.py /tmp/reading.sock``. Then, in another terminal: ``dspex top /tmp/reading.sock`` to watch it, or for scripts
``dspex tree /tmp/reading.sock`` and ``dspex inspect /tmp/reading.sock library``, both with ``--json``. Ctrl-C or SIGTERM stops it in order.
"""

from __future__ import annotations

import logging
import random
import sys
import time

import anyio
from anyio.abc import TaskStatus

from dspex import Backoff, Bridge, ChildSpec, Context, Supervisor, SyncProgramContext, Var, isolated, monitor, serve, whereis

PAGES = Var("pages", int, 0)
WORDS = Var("words", int, 0)
LAST = Var("last", str, "")
PASSWORD = Var("password", str, "swordfish", sensitive=True)  # nowhere is it shown


@isolated
def read(page: str, ctx: SyncProgramContext) -> int:
    """Runs in a worker: some work, and some variables written."""
    time.sleep(0.02)
    ctx.set(LAST, page)
    ctx.add(PAGES, 1)
    return ctx.add(WORDS, len(page.split()))


async def reader(*, task_status: TaskStatus[None]) -> None:
    """Has one page after the other read."""
    library = whereis("library")
    await library.call("read", {"page": "It was a dark and stormy night"})
    task_status.started()
    while True:
        await library.call("read", {"page": "the rain fell in torrents " * random.randint(1, 20)})
        await anyio.sleep(0.05)


async def fetch(*, task_status: TaskStatus[None]) -> None:
    """Loses its connection every few seconds, and is restarted."""
    task_status.started()
    await anyio.sleep(random.uniform(2, 8))
    raise ConnectionError("the other end has gone")


async def index() -> None:
    """Is of no use without the fetcher: they stand and fall together."""
    await anyio.sleep_forever()


def children() -> list[ChildSpec]:
    """The whole service."""
    sources = [ChildSpec("fetch", fetch, backoff=Backoff(initial=0.5)), ChildSpec("index", index)]
    return [
        Bridge.child_spec("bridge", workers=2),
        Context.child_spec("library", variables=[PAGES, WORDS, LAST, PASSWORD], programs={"read": read}, bridge="bridge"),
        ChildSpec("reader", reader),
        Supervisor.child_spec("sources", sources, strategy="one_for_all", max_restarts=100),
    ]


async def main(path: str) -> None:
    """Serves until Ctrl-C or SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

    # Switches, errors, and what is stuck, in the log. Operations are left alone: they stay as fast as if nobody looked.
    with monitor.attach(slow_operation=None, watchdog=True):
        # A socket that only you can open, and that only tells. monitor.child_spec(path) is the same as a child of the tree.
        async with monitor.serve(path):
            await serve(children(), name="app")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
