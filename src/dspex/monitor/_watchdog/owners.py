"""
Whether owners get on: one that is in the same operation as it was a bound ago is stuck in it.

Nothing is added to an operation for this. What an owner has taken stands in the ledger of its mailbox until it is answered, and the count of what
went through the mailbox tells one operation from the next.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import compress, islice
from operator import attrgetter
from typing import Any, Final

from ...context._mailbox import TAKEN, Request
from ...telemetry._hooks import OWNER_STUCK
from ...telemetry._live import CONTEXTS
from .._contexts import label_of
from .._sentences import milliseconds
from .stacks import stack_of_task

PORTION: Final = 500
"""Contexts that are looked at in one go: a fraction of a millisecond, for which a loop that wants to run may have to wait."""

_ledger_of = attrgetter("variables.mailbox.ledger")

# Those that a watchdog has told of, until they get on or it ends: a snapshot shows them.
STUCK: dict[Any, Turn] = {}

# What the owner is asked to run, as its user knows it.
_ASKED = {"_switch": "switch", "walk": "list", "_first": "list", "_nothing": "stop"}


class Turn:
    """One operation that an owner is in: the how-manieth of its mailbox, since when at least it has been seen there, and whether it was told."""

    __slots__ = ("name", "number", "since", "told")

    def __init__(self, number: int, name: str, since: float) -> None:
        self.number = number
        self.name = name
        self.since = since
        self.told = False


class Owners:
    """
    The owners of all contexts, looked at in rounds. Only the watchdog's thread uses it. Times are in seconds, of `time.monotonic`.
    """

    def __init__(self, bound: float, log: logging.Logger) -> None:
        self._bound = bound
        self._log = log
        self._turns: dict[Any, Turn] = {}
        self._round: Iterator[Any] | None = None
        self._next = 0.0

    def look(self, now: float) -> bool:
        """Looks at a portion of them; whether the round is over."""
        if self._round is None:
            if now < self._next:
                return True

            self._round = iter(CONTEXTS)
            self._next = now + self._bound / 4

        portion = [*islice(self._round, PORTION)]
        for inside in [*compress(portion, map(_ledger_of, portion))]:
            self._look_at(inside, taken_of(_ledger_of(inside)), now)

        if len(portion) == PORTION:
            return False

        self._round = None
        self._forget_idle(now)
        return True

    def forgive(self, seconds: float) -> None:
        """The whole process has stood still for *seconds*."""
        for turn in self._turns.values():
            if not turn.told:
                turn.since += seconds

    def close(self) -> None:
        """Looks no longer: of what it told of, nobody would say that it has ended."""
        for inside, turn in self._turns.items():
            if STUCK.get(inside) is turn:
                del STUCK[inside]

        self._turns.clear()

    def _look_at(self, inside: Any, taken: Request | None, now: float) -> None:
        turn, number = self._turns.get(inside), inside.variables.queued
        if taken is not None and turn is not None and turn.number == number:
            if not turn.told and now - turn.since >= self._bound:
                self._tell(inside, turn, now - turn.since)

            return

        if turn is not None:
            self._end(inside, now)

        if taken is not None:
            self._turns[inside] = Turn(number, name_of(taken), now)

    def _tell(self, inside: Any, turn: Turn, seconds: float) -> None:
        stack = _stack_of(inside)
        if inside.variables.queued != turn.number or taken_of(inside.variables.mailbox.ledger) is None:
            return

        turn.told = True
        STUCK[inside] = turn
        if OWNER_STUCK.heard:
            from ...telemetry import OwnerStuck

            told = OwnerStuck(context_id=inside.id, context_name=inside.name, operation=turn.name, seconds=seconds, stack=stack)
            OWNER_STUCK.tell(told)

        self._log.warning(
            "The owner of context %s has been in %r for %s. It is at\n%s",
            label_of(inside.id, inside.name),
            turn.name,
            milliseconds(seconds),
            stack,
            extra={**_facts(inside, turn), "dspex_seconds": seconds, "dspex_stack": stack},
        )

    def _end(self, inside: Any, now: float) -> None:
        turn = self._turns.pop(inside)
        if not turn.told:
            return

        STUCK.pop(inside, None)
        self._log.info(
            "The owner of context %s is out of %r, after %s",
            label_of(inside.id, inside.name),
            turn.name,
            milliseconds(now - turn.since),
            extra={**_facts(inside, turn), "dspex_seconds": now - turn.since},
        )

    def _forget_idle(self, now: float) -> None:
        for inside in [inside for inside in self._turns if inside not in CONTEXTS or not _ledger_of(inside)]:
            self._end(inside, now)


def taken_of(ledger: dict[Request, None]) -> Request | None:
    """What the owner has in hand."""
    # Copied in one step of the interpreter: the loop's thread goes on meanwhile.
    return next((request for request in tuple(ledger) if request.state == TAKEN), None)


def name_of(request: Request) -> str:
    """What a request is to its user."""
    if request.name != "run":
        return request.name

    function = getattr(request.args[0], "__name__", "run")
    return _ASKED.get(function, function.strip("_"))


def _stack_of(inside: Any) -> str:
    owner = getattr(inside.life, "_owner", None)
    return stack_of_task(None if owner is None else owner.coro, inside.variables.thread)


def _facts(inside: Any, turn: Turn) -> dict[str, Any]:
    return {"dspex_context": inside.id, "dspex_name": inside.name, "dspex_operation": turn.name}
