"""
What a supervisor does when, as tables: who is started again, who goes down with whom, when it ends by itself. Pure.

The behaviour is that of OTP's ``supervisor``, but for what is said here to differ.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final, Literal, TypeAlias, TypeVar

T = TypeVar("T")

Strategy: TypeAlias = Literal["one_for_one", "one_for_all", "rest_for_one"]
AutoShutdown: TypeAlias = Literal["never", "any_significant", "all_significant"]
EndedBy: TypeAlias = Literal["stop", "auto_shutdown", "limit", "error"]


class Ending(Enum):
    """How a child ended."""

    RETURNED = "it returned"
    RAISED = "it raised"
    ASKED = "it was asked to"
    """Whatever it did then: returned, raised, or was cancelled."""
    CANCELLED = "it was cancelled by nobody we know"
    """By a stranger's ``Task.cancel()``: a crash."""


# Whether a child that ended this way is started again by itself. One that we asked never is: who asked says what follows.
RESTARTED: Final[dict[tuple[str, Ending], bool]] = {
    ("permanent", Ending.RETURNED): True,
    ("permanent", Ending.RAISED): True,
    ("permanent", Ending.CANCELLED): True,
    ("permanent", Ending.ASKED): False,
    ("transient", Ending.RETURNED): False,
    ("transient", Ending.RAISED): True,
    ("transient", Ending.CANCELLED): True,
    ("transient", Ending.ASKED): False,
    ("temporary", Ending.RETURNED): False,
    ("temporary", Ending.RAISED): False,
    ("temporary", Ending.CANCELLED): False,
    ("temporary", Ending.ASKED): False,
}


def _only(children: Sequence[T], failed: T) -> Sequence[T]:
    return [failed]


def _all(children: Sequence[T], failed: T) -> Sequence[T]:
    return children


def _rest(children: Sequence[T], failed: T) -> Sequence[T]:
    return children[children.index(failed) :]


# Who goes down and comes back with a child that failed, in the order of their start.
AFFECTED: Final[dict[str, Callable[[Sequence[Any], Any], Sequence[Any]]]] = {
    "one_for_one": _only,
    "one_for_all": _all,
    "rest_for_one": _rest,
}

# Whether the end of a significant child, by itself and for good, ends the supervisor: how many other significant ones are left.
ENDS_ITSELF: Final[dict[str, Callable[[int], bool]]] = {
    "never": lambda others: False,
    "any_significant": lambda others: True,
    "all_significant": lambda others: others == 0,
}


class Window:
    """
    So many restarts in so many seconds.

    A restart counts while ``now - then <= seconds``, in float seconds. (OTP counts in whole ones.)
    """

    __slots__ = ("_times", "allowed", "seconds")

    def __init__(self, allowed: int, seconds: float) -> None:
        self.allowed: int = allowed
        self.seconds: float = seconds
        self._times: deque[float] = deque()

    def add(self, now: float) -> bool:
        """Counts one more, if it is allowed. Whether it is."""
        if self.count(now) >= self.allowed:
            return False

        self._times.append(now)
        return True

    def count(self, now: float) -> int:
        """How many count at the time *now*."""
        while self._times and now - self._times[0] > self.seconds:
            self._times.popleft()

        return len(self._times)

    def clear(self) -> None:
        """Forgets them all."""
        self._times.clear()
