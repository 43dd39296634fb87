"""
When a worker that ended is replaced: a pure table of why it ended, and one line of arithmetic.

The first replacements of a worker that had started well come at once, so that one crash costs its callers tens of milliseconds. A
worker that dies again and again, or that can't even start, is replaced ever more slowly, and never given up on. While there is none,
callers are told of one that can't start; for the next of one that died they wait, so that one isn't long in coming.
"""

from __future__ import annotations

import enum
import random
from typing import Final

from attrs import define

INITIAL_DELAY: Final = 0.1
DELAY_FACTOR: Final = 2.0
MAX_DELAY: Final = 30.0
# The same where callers wait meanwhile.
MAX_WAIT: Final = 2.0
JITTER: Final = 0.2
# A worker that lived this long, in seconds, has proved itself: what came before is forgotten.
PROVED_SECONDS: Final = 10.0


class Ending(enum.Enum):
    """Why a worker ended."""

    RETIRED = "retired"
    """It was asked to, having reached `max_calls` or `max_rss`, or was no longer to be trusted."""

    KILLED = "killed"
    """It was killed here, because a cancelled program in it would not end."""

    DIED = "died"
    """It ended by itself, or somebody else killed it."""

    NEVER_STARTED = "never started"
    """It did not get as far as saying hello."""

    CUT_DOWN = "cut down"
    """It did not get as far, or not much further, and that is somebody else's doing: a signal ended it."""

    BROKEN = "broken"
    """What runs it here failed."""


# How many such endings in a row are replaced at once; None: each of them, since what causes them takes its own time.
FREE: Final[dict[Ending, int | None]] = {
    Ending.RETIRED: None,
    Ending.KILLED: None,
    Ending.DIED: 3,
    Ending.CUT_DOWN: 3,
    Ending.NEVER_STARTED: 0,
    Ending.BROKEN: 0,
}

# Seeding a generator takes longer than everything else about opening a pool.
_RANDOM: Final = random.Random()  # noqa: S311 - jitter


@define
class Restarts:
    """The record of one place in a pool: how many workers in a row ended badly in it."""

    random: random.Random = _RANDOM
    strikes: int = 0

    def delay_after(self, ending: Ending, *, lived: float, told: bool = False) -> float:
        """Seconds to wait before the next worker, after one that was ready for *lived* seconds. *told*: of which callers are told meanwhile."""
        free = FREE[ending]
        if lived >= PROVED_SECONDS:
            self.strikes = 0

        if free is None:
            return 0.0

        self.strikes += 1
        beyond = self.strikes - free
        if beyond <= 0:
            return 0.0

        longest = MAX_DELAY if told else MAX_WAIT
        return self._jittered(min(longest, INITIAL_DELAY * DELAY_FACTOR ** min(beyond - 1, 20)))

    def _jittered(self, delay: float) -> float:
        return delay * (1 + JITTER * (2 * self.random.random() - 1))
