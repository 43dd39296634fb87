"""
Which contexts are stuck: their owner has been in one operation for long.

A watchdog that has told of one knows since when. Without any, an owner that is in the same operation as one snapshot before is in it since then, at
least. Of an operation only its number and its name are kept: a context may go meanwhile.
"""

from __future__ import annotations

from time import monotonic
from typing import Any, Final

from .._watchdog.owners import STUCK, Turn, name_of, taken_of

LONG: Final = 1.0
"""Seconds that an owner may be in one operation, as for a watchdog with its usual bounds."""

_KEPT: Final = 1000
"""So many owners that are in an operation are remembered from one snapshot to the next."""

STATE: Final = "stuck"
"""The state of the node of a context that would be running."""


def note_of(inside: Any) -> str:
    """What to say of a context that a watchdog has told of; nothing of any other."""
    turn = STUCK.get(inside)
    return _words(turn, monotonic()) if turn is not None and turn.number == inside.variables.queued else ""


class Turns:
    """
    The owners that are in an operation, from one snapshot to the next.
    """

    __slots__ = ("_before", "_notes", "_now", "_turns")

    def __init__(self) -> None:
        self._before: dict[str, Turn] = {}
        self._turns: dict[str, Turn] = {}
        self._notes: dict[str, str] = {}
        self._now = 0.0

    def __len__(self) -> int:
        """How many are stuck."""
        return len(self._notes)

    def begin(self, now: float) -> None:
        """One more snapshot, at *now*, in seconds of `time.monotonic`."""
        self._before, self._turns, self._notes, self._now = self._turns, {}, {}, now

    def look_at(self, inside: Any) -> None:
        """A context that has been asked for something."""
        number, taken = inside.variables.queued, taken_of(inside.variables.mailbox.ledger)
        if taken is None:
            return

        told = STUCK.get(inside)
        turn = told or self._before.get(inside.id)
        if turn is None or turn.number != number:
            turn = Turn(number, name_of(taken), self._now)

        if len(self._turns) < _KEPT:
            self._turns[inside.id] = turn

        if turn is told or self._now - turn.since >= LONG:
            self._notes[inside.id] = _words(turn, self._now)

    def note(self, inside: Any) -> str:
        """What to say of a context, if it is stuck."""
        return self._notes.get(inside.id, "")


def _words(turn: Turn, now: float) -> str:
    seconds = now - turn.since
    return f"in {turn.name!r} for {seconds:,.0f} s" if seconds >= 10 else f"in {turn.name!r} for {seconds:.2g} s"
