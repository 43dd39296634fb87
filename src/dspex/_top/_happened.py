"""What happened: the last events, of which a person chooses how much to see."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum

from ._snapshot import Event

KEPT = 1000
"""Events that are kept to scroll back to, apart from calls that went well."""
CALLS = 300
"""Of these so many."""


class Shown(StrEnum):
    """How much of it is seen."""

    NEWS = "events but for calls that went well"
    TROUBLE = "trouble only"
    ALL = "all events"

    def following(self) -> Shown:
        """The next one, round and round."""
        every = list(Shown)
        return every[(every.index(self) + 1) % len(every)]


_WANTED: Mapping[Shown, Callable[[Event], bool]] = {
    Shown.NEWS: lambda event: not event.is_usual,
    Shown.TROUBLE: lambda event: event.is_trouble,
    Shown.ALL: lambda event: True,
}


class Happened:
    """
    The last events.

    Attributes:
        shown: how much is seen.
        dropped: how many the service could not keep.

    """

    def __init__(self) -> None:
        self.shown = Shown.NEWS
        self.dropped = 0
        self._news: deque[Event] = deque(maxlen=KEPT)
        self._calls: deque[Event] = deque(maxlen=CALLS)

    def take(self, events: Iterable[Event], dropped: int = 0) -> None:
        """More of them, oldest first. Whoever attaches again is told once more of the last ones: those are known."""
        known = {*self._news, *self._calls}
        self.dropped += dropped
        for event in events:
            if event not in known:
                (self._calls if event.is_usual else self._news).append(event)

    def seen(self) -> list[Event]:
        """What is to be seen, oldest first."""
        every = heapq.merge(self._news, self._calls, key=lambda event: event.at) if self.shown is Shown.ALL else self._news
        return list(filter(_WANTED[self.shown], every))

    def about(self, path: str) -> list[Event]:
        """The same of the node at *path* and what is below it."""
        below = f"{path}/"
        return [event for event in self.seen() if event.path == path or event.path.startswith(below)]
