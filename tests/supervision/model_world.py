"""
What the model of a supervisor stands on: plans of children, a clock, and what goes on in it.

Every activity (a life of a child, a group restart, the end of a supervisor, somebody's call) is a generator that yields what it waits
for. `World` runs those that can go on, and moves the clock when none can.

An event belongs to a *chain*: what follows from one crash or one call. Along a chain the order is told; chains that run at once have
none between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

FAILS, IGNORES = "fails", "ignores"


@dataclass(frozen=True)
class Plan:
    """A child: what its spec says, and the part it plays. With *children*, a supervisor."""

    id: str
    restart: str = "permanent"
    starts: tuple[Any, ...] = ()  # of each life: None, FAILS, IGNORES, or the seconds it takes; those after the last are None
    lingers: float = 0.0  # seconds it takes to stop
    refuses: bool = False  # to stop, until it is released
    asked: float | None = None  # it has a stop function, and takes these seconds to follow it
    last_words: bool = False  # it raises when it is stopped
    shutdown: float = 3.0
    significant: bool = False
    backoff: float | None = None  # seconds before the first restart in a row, doubled each time, up to eight times as many
    budget: tuple[int, float] | None = None
    parks: bool = False
    children: tuple[Plan, ...] | None = None
    strategy: str = "one_for_one"
    auto_shutdown: str = "never"
    allowed: int = 3
    seconds: float = 8.0


@dataclass(frozen=True)
class Wait:
    """For *condition*, or for the time *at*."""

    condition: Callable[[], bool]
    at: float = math.inf


Steps = Iterator[Wait]
Chain = list[tuple[float, str]]


class World:
    """The clock, what is going on, and what happened."""

    def __init__(self) -> None:
        self.now = 0.0
        self.going_on: list[tuple[Wait, Steps]] = []
        self.chains: list[Chain] = []
        self.lives_begun: dict[str, int] = {}
        self.broken: set[str] = set()
        self.released: set[str] = set()
        self.outcomes: dict[int, str] = {}
        self.cancelled = False

    def chain(self) -> Chain:
        self.chains.append([])
        return self.chains[-1]

    def say(self, chain: Chain, text: str) -> None:
        chain.append((round(self.now, 3), text))

    def begin(self, steps: Steps) -> None:
        self.going_on.append((Wait(lambda: True), steps))

    def run(self) -> None:
        """All that can happen without time passing."""
        while due := next((each for each in self.going_on if each[0].condition() or each[0].at <= self.now), None):
            place = self.going_on.index(due)
            following = next(due[1], None)
            self.going_on[place : place + 1] = [(following, due[1])] if following else []

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        self.run()
        while (soonest := min((wait.at for wait, _ in self.going_on), default=math.inf)) <= until:
            self.now = soonest
            self.run()

        self.now = until

    def next_start(self, plan: Plan) -> Any:
        number = self.lives_begun[plan.id] = self.lives_begun.get(plan.id, 0) + 1
        how = plan.starts[number - 1] if number <= len(plan.starts) else None
        return FAILS if how is None and plan.id in self.broken else how


class Life:
    """From the start of a child to its end."""

    def __init__(self, chain: Chain, *, revival: bool, begins: float) -> None:
        self.chain = chain
        self.revival = revival
        self.begins = begins
        self.up = False
        self.over = False
        self.passed = False
        self.since = 0.0
        self.cue = ""
        self.leaves = ""
        self.asked_at = 0.0

    @property
    def settled(self) -> bool:
        return self.up or self.over


class Window:
    def __init__(self, world: World, allowed: int, seconds: float) -> None:
        self.world = world
        self.allowed = allowed
        self.seconds = seconds
        self.times: list[float] = []

    def count(self) -> int:
        return sum(self.world.now - time <= self.seconds for time in self.times)
