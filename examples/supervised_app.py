"""
An app as a tree: a bridge, contexts with names, a ticker, and a group that stands and falls together.

Run it with ``python examples/supervised_app.py``: it shows the tree, crashes what it can, shows that nothing was lost, and stops. With ``--serve`` it runs
until Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import anyio
from anyio.abc import TaskStatus

from dspex import Bridge, ChildSpec, Context, Supervisor, SyncProgramContext, Var, WorkerDied, isolated, serve, whereis

VISITS = Var("visits", int, 0, min=0)
GREETING = Var("greeting", str, "Hello")
TICKS = Var("ticks", int, 0)


@isolated
def greet(name: str, ctx: SyncProgramContext) -> dict[str, object]:
    """Runs in a worker process of the bridge that both contexts share."""
    return {"text": f"{ctx.get(GREETING)}, {name}: visit {ctx.add(VISITS, 1)}", "pid": os.getpid()}


async def tick(every: float, *, task_status: TaskStatus[None]) -> None:
    """Any async callable can be a child. This one counts in a context that it finds by its name."""
    clock = whereis("clock")
    task_status.started()
    while True:
        await clock.variables.add(TICKS, 1)
        await anyio.sleep(every)


async def fetch(*, task_status: TaskStatus[str]) -> None:
    """One half of a pair of which neither is of use without the other."""
    task_status.started("fetching")
    await anyio.sleep_forever()


async def index() -> None:
    """The other half."""
    await anyio.sleep_forever()


async def tick_fast(*, task_status: TaskStatus[None]) -> None:
    """A child takes no arguments: give it what it needs here, or with `functools.partial`."""
    await tick(0.01, task_status=task_status)


def children() -> list[ChildSpec]:
    """In the order of their start. They stop the other way round."""
    return [
        Bridge.child_spec("bridge", workers=1),
        # By name: the bridge that stands beside them in the tree.
        Context.child_spec("lobby", variables=[GREETING, VISITS], programs={"greet": greet}, bridge="bridge"),
        Context.child_spec("clock", variables=[TICKS]),
        ChildSpec("ticker", tick_fast, restart="transient"),
        Supervisor.child_spec("ingest", [ChildSpec("fetch", fetch), ChildSpec("index", index)], strategy="one_for_all"),
    ]


async def ask_again(lobby: Context, name: str) -> Any:
    """A call that was in the worker when it died says so, and nobody but you knows whether to repeat it."""
    while True:
        try:
            return await lobby.call("greet", {"name": name})
        except WorkerDied:
            continue


async def main() -> None:
    """Up, looked at, hurt, looked at again, down."""
    async with Supervisor(children(), name="app") as app:
        print(app.tree())

        lobby = whereis("lobby")
        first = await lobby.call("greet", {"name": "Ada"})
        print(first["text"])

        # A worker is killed, as an out-of-memory killer would. The bridge starts another; the variables never were in it.
        os.kill(first["pid"], 9)
        again = await ask_again(lobby, "Joe")
        print(again["text"].partition(":")[0], "| another process:", again["pid"] != first["pid"])

        # A child is stopped by hand, and started again: whoever holds its handle may go on using it.
        await app.terminate_child("ticker")
        before = await whereis("clock").variables.get(TICKS)
        await app.restart_child("ticker")
        await anyio.sleep(0.05)
        print("ticks went on:", await whereis("clock").variables.get(TICKS) > before)

        print(app.count_children())

    print("all gone:", app)


if __name__ == "__main__":
    if "--serve" in sys.argv:
        anyio.run(lambda: serve(children(), name="app"))
    else:
        anyio.run(main)
