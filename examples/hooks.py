"""
What happens, told to functions of yours: which context switched, which worker died and with what last words, which child restarted and why.

Run it with ``python examples/hooks.py``: a worker is killed in the middle of a call, and a child crashes twice.
"""

from __future__ import annotations

import logging
import os

import anyio
from anyio.abc import TaskStatus

from dspex import Bridge, ChildSpec, Context, Supervisor, SyncProgramContext, Var, WorkerDied, isolated, telemetry, whereis

LETTERS = Var("letters", int, 0)


@isolated
def read(text: str, ctx: SyncProgramContext) -> int:
    """Runs in a worker. On a text that is too long its process dies, as an out-of-memory killer would have it."""
    if len(text) > 1000:
        print("reading", len(text), "letters at once")
        os.kill(os.getpid(), 9)

    return ctx.add(LETTERS, len(text))


async def fetch(*, task_status: TaskStatus[None]) -> None:
    """A child that isn't long for this world."""
    task_status.started()
    raise ConnectionError("the other end has gone")


# --- hooks: plain functions of one record. What they raise is logged once, and hurts nobody else. ---------------------------------


def tell_switch(record: telemetry.BackendSwitched) -> None:
    """A context moved its state."""
    print(f"{record.context_name} switched from {record.source} to {record.target}, variables: {record.variables}")


def tell_death(record: telemetry.WorkerEnded) -> None:
    """A worker's process has ended. One that was asked to leave is no news."""
    if record.ending != "drained":
        print(f"a worker of pool {record.pool!r} {record.ending} by {record.signal}; its last words: {record.last_words.strip()!r}")


def tell_child(record: telemetry.ChildChanged) -> None:
    """A supervisor's child is in another state: ended for a reason, or up again."""
    if record.error is not None:
        print(f"{record.path} is {record.state}: {type(record.error).__name__}")
    elif record.lives > 1 and record.state == "running":
        print(f"{record.path} is in life {record.lives}")


def children() -> list[ChildSpec]:
    """A bridge, a context that calls on it, and the child that crashes. It may be restarted once a minute, and is parked then."""
    return [
        Bridge.child_spec("bridge", workers=1),
        Context.child_spec("library", variables=[LETTERS], programs={"read": read}, bridge="bridge"),
        ChildSpec("fetch", fetch, max_restarts=1, max_seconds=60, on_limit="park"),
    ]


async def main() -> None:
    """Listen, let it happen, listen no longer."""
    # The log has all of this too, with tracebacks. For once only the hooks shall speak.
    logging.getLogger("dspex").addHandler(logging.NullHandler())

    with (
        telemetry.subscribe(tell_switch, only=telemetry.BackendSwitched),
        telemetry.subscribe(tell_death, only=telemetry.WorkerEnded),
        telemetry.subscribe(tell_child, only=telemetry.ChildChanged),
    ):
        async with Supervisor(children(), name="app"):
            print("letters:", await whereis("library").call("read", {"text": "short"}))
            try:
                await whereis("library").call("read", {"text": "long " * 1000})
            except WorkerDied:
                """Its caller gets the last words as well. The next call is served by the next worker."""

            print("letters:", await whereis("library").call("read", {"text": "short"}))


if __name__ == "__main__":
    anyio.run(main)
