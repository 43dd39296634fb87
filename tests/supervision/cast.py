"""
Children that play parts: they start, crash and return on a cue, linger or refuse to stop. Every turn of theirs goes into one list.

`Cast` makes their specs and gives the cues:

    cast = Cast()
    async with Supervisor([cast("a"), cast("b")]):
        await cast.crash("a")

    assert cast.events == ["a up", "b up", "a crashes", "a up", "b down", "a down"]

What is recorded of a child: ``starts`` (where starting takes time), ``up``, ``fails`` (its start), ``ignores`` (returns before it is up),
``crashes``, ``returns``, ``asked`` or ``asked for good`` (its stop function), ``stopping`` (where stopping takes time), ``down``.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import anyio
from anyio.abc import TaskStatus
from anyio.lowlevel import checkpoint

from dspex import ChildInfo, ChildSpec, DynamicSupervisor, Supervisor

IGNORE = "ignore"
"""In ``starts=``: returns before it is up."""


class Boom(Exception):
    """What a child crashes with."""


class Part:
    """One child over all its lives."""

    def __init__(self, cast: Cast, id: str, starts: Iterable[Any]) -> None:
        self.cast = cast
        self.id = id
        self.starts: Iterator[Any] = iter(starts)
        self.broken = False
        self.lingers = 0.0
        self.refuses = False
        self.swallows = False
        self.last_words: BaseException | None = None
        self.leaves_in: float | None = None
        self.lives = 0
        self.alive = False
        self.released = anyio.Event()
        self.cue = anyio.Event()
        self.ending: Any = None

    def say(self, what: str) -> None:
        self.cast.record(f"{self.id} {what}")

    async def play(self, *, task_status: TaskStatus[str]) -> None:
        if self.alive:
            self.say("HAS TWO LIVES AT ONCE")

        self.alive = True
        self.lives += 1
        self.cue = anyio.Event()
        try:
            if await self.is_ready():
                self.say("up")
                task_status.started(f"{self.id}#{self.lives}")
                await self.live()
        finally:
            self.alive = False

    async def is_ready(self) -> bool:
        begins = next(self.starts, None)
        if isinstance(begins, float):
            await self.get_ready(begins)
        elif begins == IGNORE:
            self.say("ignores")
            return False
        elif isinstance(begins, BaseException) or self.broken:
            self.say("fails")
            raise begins or Boom(f"{self.id} is broken")

        return True

    async def get_ready(self, seconds: float) -> None:
        self.say("starts")
        try:
            await anyio.sleep(seconds)
        except anyio.get_cancelled_exc_class():
            self.say("gives up")
            raise

    async def live(self) -> None:
        try:
            await self.cue.wait()
        except anyio.get_cancelled_exc_class():
            await self.end()
            if self.swallows:
                return

            raise

        if self.ending == "asked":
            await self.leave()
        elif self.ending is None:
            self.say("returns")
        else:
            self.say("crashes")
            raise self.ending

    async def end(self) -> None:
        with anyio.CancelScope(shield=True):
            if self.lingers or self.refuses:
                self.say("stopping")

            await anyio.sleep(self.lingers)
            if self.refuses:
                await self.released.wait()

        self.say("down")
        if self.last_words is not None:
            raise self.last_words

    def ask(self, final: bool) -> None:
        self.say("asked for good" if final else "asked")
        self.take_cue("asked")

    async def leave(self) -> None:
        assert self.leaves_in is not None
        try:
            await anyio.sleep(self.leaves_in)
        except anyio.get_cancelled_exc_class():
            self.say("cut")
            raise

        self.say("down")

    def take_cue(self, ending: Any) -> None:
        self.ending = ending
        self.cue.set()


class Cast:
    """The children of one test, by id, and what they did."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.timed: list[tuple[float, str]] = []
        self.parts: dict[str, Part] = {}

    def __call__(
        self, id: str, restart: Any = "permanent", *, starts: Iterable[Any] = (), asked: float | None = None, **spec: Any
    ) -> ChildSpec:
        """
        The spec of the child *id*.

        Args:
            starts: how its starts go, one after the other: an exception, `IGNORE`, seconds it takes, or None, as for all later ones.
            asked: with a stop function, and this many seconds to follow it.

        """
        part = self.parts[id] = Part(self, id, starts)
        for name in ("lingers", "refuses", "swallows", "last_words"):
            if name in spec:
                setattr(part, name, spec.pop(name))

        if asked is not None:
            part.leaves_in = asked
            spec["stop"] = part.ask

        return ChildSpec(id, part.play, restart=restart, **spec)

    def __getitem__(self, id: str) -> Part:
        return self.parts[id]

    def record(self, event: str) -> None:
        self.events.append(event)
        self.timed.append((round(anyio.current_time(), 3), event))

    @property
    def alive(self) -> list[str]:
        return [id for id, part in self.parts.items() if part.alive]

    def since(self, count: int = 0) -> list[str]:
        """What was recorded after the first *count* events."""
        return self.events[count:]

    def forget(self) -> None:
        """Empties the lists: what follows is what the test is about."""
        self.events.clear()
        self.timed.clear()

    async def crash(self, *ids: str, error: BaseException | None = None) -> None:
        """The children *ids* crash in one step, and all that follows without time passing happens."""
        for id in ids:
            self.parts[id].take_cue(error or Boom(id))

        await settled()

    async def finish(self, *ids: str) -> None:
        for id in ids:
            self.parts[id].take_cue(None)

        await settled()


async def settled() -> None:
    """Everything happens that can happen without time passing."""
    for _ in range(100):
        await checkpoint()


async def forever() -> None:
    """A child with nothing to do."""
    await anyio.sleep_forever()


def states(supervisor: Supervisor | DynamicSupervisor) -> dict[str, str]:
    return {info.id: str(info.state) for info in supervisor.which_children()}


def counts(supervisor: Supervisor | DynamicSupervisor) -> tuple[int, int, int, int]:
    """Specs, active, supervisors, workers."""
    told = supervisor.count_children()
    return told.specs, told.active, told.supervisors, told.workers


def values(supervisor: Supervisor | DynamicSupervisor) -> dict[str, Any]:
    return {info.id: info.value for info in supervisor.which_children()}


def state(info: ChildInfo) -> tuple[str, str]:
    return info.id, str(info.state)


def in_virtual_time(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """The async test *test* as a plain one that runs in virtual time, on asyncio and on trio."""

    def plain(run_virtually: Any, **arguments: Any) -> None:
        run_virtually(lambda: test(**arguments))

    parameters = [
        inspect.Parameter("run_virtually", inspect.Parameter.KEYWORD_ONLY),
        *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in inspect.signature(test).parameters.values()),
    ]
    plain.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(plain, name, getattr(test, name))

    return plain
