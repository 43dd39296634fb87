"""
What happened lately, a line each: the last 200 of it.

What goes well all the time doesn't drive out the rest: calls that returned, other things that went well, and trouble each have a share of their own.

A record is put into words in the step in which it is told, and let go: an error in it holds on to everything that was in use where it was raised.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from attrs import frozen

from ... import telemetry
from ..._exceptions import in_short
from ...telemetry import Record, Subscription
from .._sentences import counted
from .._shown import one_line
from .spots import escaped

# How many events are kept of each share.
_SHARES: Final = {"calls": 50, "well": 75, "trouble": 75}
KEPT: Final = sum(_SHARES.values())
"""Events."""

_RESTARTS: Final = 500
_LONGEST: Final = 300

Level = Literal["info", "warning", "error"]
About = tuple[str, str]
"""What an event is about: ``("path", path)``, ``("context", id)``, or ``("bridge", "name/pool")``."""

_HEARD: Final = (
    telemetry.BackendSwitched,
    telemetry.SwitchFailed,
    telemetry.ProgramCalled,
    telemetry.WorkerStarted,
    telemetry.WorkerEnded,
    telemetry.ChildChanged,
    telemetry.ContextChanged,
    telemetry.OwnerStuck,
    telemetry.LoopHeld,
)


@frozen
class Event:
    """One of them."""

    number: int
    at: float
    kind: str
    about: About
    level: Level
    text: str

    def plain(self, paths: Mapping[About, str]) -> dict[str, Any]:
        """As data, with the path of what it is about."""
        kind, name = self.about
        path = name if kind == "path" else paths.get(self.about, name if kind == "context" else "")
        return {"at": self.at, "kind": self.kind, "path": path, "level": self.level, "text": self.text}


class Ring:
    """
    The last events, while it listens.

    Attributes:
        last: the number of the last one.
        switches: backends switched since it listens.

    """

    __slots__ = ("_numbers", "_restarts", "_shares", "_subscription", "last", "switches")

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._shares: dict[str, deque[Event]] = {share: deque(maxlen=most) for share, most in _SHARES.items()}
        self._restarts: deque[tuple[float, str, str]] = deque(maxlen=_RESTARTS)
        self._subscription: Subscription | None = None
        self.last: int = 0
        self.switches: int = 0

    def open(self) -> None:
        """Listens from now on."""
        self._subscription = telemetry.subscribe(self.take, only=_HEARD)

    def close(self) -> None:
        """No longer."""
        if self._subscription is not None:
            self._subscription.unsubscribe()

    def take(self, record: Record) -> None:
        """Puts *record* into words."""
        kind = type(record).__name__
        about, level, text = _WORDS[kind](record)
        self.last = number = next(self._numbers)
        event = Event(number, record.at, kind, about, level, one_line(text, _LONGEST))
        self._shares["trouble" if level != "info" else "calls" if isinstance(record, telemetry.ProgramCalled) else "well"].append(event)
        if isinstance(record, telemetry.BackendSwitched):
            self.switches += 1
        elif isinstance(record, telemetry.ChildChanged) and record.state in ("restarting", "parked"):
            self._restarts.append((record.at, record.path, one_line(f"{record.state}{_because(record.error)}", _LONGEST)))

    def since(self, number: int) -> tuple[list[Event], int]:
        """Those after the one with *number*, oldest first, and how many more there were."""
        last = self.last
        kept = heapq.merge(*map(list, self._shares.values()), key=_number)
        events = [event for event in kept if event.number > number]
        return events, max(0, last - number - len(events))

    def restarts_below(self, path: str, most: int) -> list[tuple[float, str, str]]:
        """The last restarts of what is below *path*, oldest first: when, the path of what, and why."""
        below = [restart for restart in list(self._restarts) if restart[1].startswith(f"{path}/")]
        return below[-most:]


def _number(event: Event) -> int:
    return event.number


# --- in words ----------------------------------------------------------------------------------------------------------------------


def _of_context(record: Any) -> tuple[About, str]:
    return ("context", record.context_id), str(record.context_name or record.context_id)


def _because(error: BaseException | None) -> str:
    return f": {in_short(error)}" if error is not None else ""


def _switched(record: telemetry.BackendSwitched) -> tuple[About, Level, str]:
    about, who = _of_context(record)
    moved = f"{counted(record.variables, 'variable')}, {record.bytes:,} bytes in {_seconds(record.seconds)}"
    return about, "info", f"{who} moved from {record.source} to {record.target}: {moved}"


def _switch_failed(record: telemetry.SwitchFailed) -> tuple[About, Level, str]:
    about, who = _of_context(record)
    return about, "error", f"{who} stays on {record.source}, its switch failed at {record.step!r}{_because(record.error)}"


_OUTCOMES: Final[dict[str, Level]] = {
    "returned": "info",
    "cancelled": "info",
    "failed": "warning",
    "timeout": "warning",
    "refused": "warning",
}


def _called(record: telemetry.ProgramCalled) -> tuple[About, Level, str]:
    about, who = _of_context(record)
    where = f"worker {record.worker_pid}" if record.worker_pid is not None else record.where
    times = f"after {_seconds(record.seconds)} in {where}, {_seconds(record.queued)} queued"
    return about, _OUTCOMES.get(record.outcome, "error"), f"{record.program_id} of {who} {record.outcome} {times}{_because(record.error)}"


def _worker_started(record: telemetry.WorkerStarted) -> tuple[About, Level, str]:
    text = f"worker {record.pid} of {record.bridge}/{record.pool} is ready after {_seconds(record.seconds)}"
    return _pool_of(record), "info", text


def _worker_ended(record: telemetry.WorkerEnded) -> tuple[About, Level, str]:
    level: Level = {"drained": "info", "killed": "warning"}.get(record.ending, "error")  # type: ignore[assignment]
    how = f" by {record.signal}" if record.signal else f" with code {record.exit_code}" if record.exit_code else ""
    words = [line for line in record.last_words.splitlines() if line.strip()][-1:]
    said = f", its last words: {words[0]}" if words and level != "info" else ""
    served = f"after {_seconds(record.seconds)} and {record.served:,} call{'' if record.served == 1 else 's'}"
    return _pool_of(record), level, f"worker {record.pid} of {record.bridge}/{record.pool} {record.ending}{how} {served}{said}"


def _pool_of(record: telemetry.WorkerStarted | telemetry.WorkerEnded) -> About:
    return "bridge", f"{escaped(record.bridge)}/{escaped(record.pool)}"


_CHILD_LEVELS: Final[dict[str, Level]] = {"restarting": "warning", "overdue": "warning", "parked": "error"}


def _child(record: telemetry.ChildChanged) -> tuple[About, Level, str]:
    usual: Level = "info" if record.error is None else "warning"
    return ("path", record.path), _CHILD_LEVELS.get(record.state, usual), f"{record.path} is {record.state}{_because(record.error)}"


_STATUS_LEVELS: Final[dict[str, Level]] = {"restarting": "warning", "parked": "error", "crashed": "error"}


def _context(record: telemetry.ContextChanged) -> tuple[About, Level, str]:
    about, who = _of_context(record)
    again = f" again, in life {record.lives}" if record.lives > 1 and record.status == "running" else ""
    level = _STATUS_LEVELS.get(record.status, "info")
    return about, level, f"{who} is {record.status}{again}{_because(record.error if level != 'info' else None)}"


def _stuck(record: telemetry.OwnerStuck) -> tuple[About, Level, str]:
    about, who = _of_context(record)
    return about, "warning", f"{who} has been in {record.operation!r} for {_seconds(record.seconds)}: {_innermost(record.stack)}"


def _held(record: telemetry.LoopHeld) -> tuple[About, Level, str]:
    held = f"the event loop of {record.thread} has been held for {_seconds(record.seconds)}"
    return ("path", ""), "warning", f"{held}: {_innermost(record.stack)}"


def _innermost(stack: str) -> str:
    # The innermost frame first: where there is little room, it is what is left.
    lines = [line.strip() for line in stack[-2000:].splitlines() if line.strip()]
    return ", from ".join(reversed(lines[-2:]))


def _seconds(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} us" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


_WORDS: Final[dict[str, Callable[[Any], tuple[About, Level, str]]]] = {
    "BackendSwitched": _switched,
    "SwitchFailed": _switch_failed,
    "ProgramCalled": _called,
    "WorkerStarted": _worker_started,
    "WorkerEnded": _worker_ended,
    "ChildChanged": _child,
    "ContextChanged": _context,
    "OwnerStuck": _stuck,
    "LoopHeld": _held,
}
