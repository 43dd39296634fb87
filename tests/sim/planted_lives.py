"""Bugs planted in what happens between two lives of a context, each as a patch of the library for the time of a run."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from dspex.context._child_life import ChildLife
from dspex.context._entry import Entry
from dspex.context._mailbox import QUEUED, TAKEN, Mailbox


def queue_dropped() -> AbstractContextManager[Any]:
    """The next life is handed nothing of what was queued."""

    def hand_over(mailbox: Any) -> None:
        mailbox.ahead = None

    return patch.object(Mailbox, "hand_over", hand_over)


def queue_refused() -> AbstractContextManager[Any]:
    """What is queued is dropped with the life, and told that it may have happened: nobody hangs, and nothing is lost but time."""
    original = Entry.pause

    def pause(entry: Any) -> None:
        original(entry)
        entry.mailbox.ledger.clear()

    return patch.object(Entry, "pause", pause)


def taken_again() -> AbstractContextManager[Any]:
    """What the former owner had in its hands is served again by the next."""

    def give_up(entry: Any) -> None:
        for request in entry.mailbox.ledger:
            if request.state == TAKEN:
                request.state = QUEUED

    return patch.object(Entry, "give_up_turns", give_up)


def taken_denied() -> AbstractContextManager[Any]:
    """What the former owner had in its hands is said never to have happened."""
    original = Entry._lost

    def lost(entry: Any, request: Any) -> Any:
        error = original(entry, request)
        error.applied = False
        return error

    return patch.object(Entry, "_lost", lost)


def unfurnished() -> AbstractContextManager[Any]:
    """Everybody gets to a new state while it is being furnished."""
    original = Mailbox.open
    return patch.object(Mailbox, "open", lambda mailbox, ahead=None: original(mailbox))


def gate_before_the_queue() -> AbstractContextManager[Any]:
    """The next life's gate is open while the former's queue is still being served."""
    original = Entry.open_gate

    def open_gate(entry: Any) -> None:
        ledger = entry.mailbox.ledger
        entry.mailbox.ledger = {}
        try:
            original(entry)
        finally:
            entry.mailbox.ledger = ledger

    return patch.object(Entry, "open_gate", open_gate)


@contextmanager
def backend_reopened() -> Any:
    """A life that should go on with the state begins with what the one before it had at its start."""
    original = ChildLife._take_over

    async def take_over(life: Any) -> None:
        entry = life._context.variables
        for variable in [variable async for page in entry.pages() for variable in page]:
            cell = entry.backend._kept.table.find(variable.name)
            cell.version, cell.value = 0, 1 if variable.name == "x" else 2

        await original(life)

    with ExitStack() as patches:
        patches.enter_context(patch.object(ChildLife, "_take_over", take_over))
        yield
