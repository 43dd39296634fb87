"""
Which of a supervisor's children are in which state, kept in the step in which one changes: with very many, nobody can look at each.

Only those are kept apart that aren't simply running. However many there are, few are at anything else for long.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ._facts import ChildState

if TYPE_CHECKING:
    from ._child import Child

# The states that somebody should look at, the most urgent first.
URGENT: Final = (ChildState.OVERDUE, ChildState.PARKED, ChildState.RESTARTING, ChildState.STOPPING, ChildState.STARTING)
TROUBLED: Final = URGENT[:2]
_RUNNING: Final = ChildState.RUNNING


class Standing:
    """The children that aren't running, by state, each state in the order in which they came to it."""

    __slots__ = ("_apart",)

    def __init__(self) -> None:
        self._apart: dict[ChildState, dict[Child, None]] = {}

    def enter(self, child: Child) -> None:
        """*child* is listed."""
        self._apart.setdefault(child.state, {})[child] = None

    def move(self, child: Child, state: ChildState) -> None:
        """*child* comes to *state*."""
        before, child.state = child.state, state
        if before is not _RUNNING:
            self._take_out(child, before)

        if state is not _RUNNING:
            there = self._apart.get(state)
            if there is None:
                self._apart[state] = {child: None}
            else:
                there[child] = None

    def leave(self, child: Child) -> None:
        """It is listed no longer."""
        if child.state is not _RUNNING:
            self._take_out(child, child.state)

    def _take_out(self, child: Child, state: ChildState) -> None:
        there = self._apart.get(state)
        if there is not None:
            there.pop(child, None)
            if not there:
                del self._apart[state]

    def counts(self, listed: int) -> dict[ChildState, int]:
        """How many of *listed* children are in each state; states in which none is are left out."""
        apart = {state: len(there) for state, there in self._apart.items()}
        running = listed - sum(apart.values())
        return {_RUNNING: running, **apart} if running else apart

    def urgent(self) -> Iterator[Child]:
        """Those that somebody should look at first."""
        for state in URGENT:
            yield from self._apart.get(state, ())

    @property
    def troubled(self) -> bool:
        """Whether one is parked or overdue."""
        return any(state in self._apart for state in TROUBLED)
