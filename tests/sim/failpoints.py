"""
Named places where something can fail, in the five ways that a remote thing fails.

A wrapped object asks `Failpoints.around` for each of its calls. `heal` ends all faults and lets what hangs fail, so that after it everything
has to come to an end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

import anyio

T = TypeVar("T")
SLOW = 30.0  # virtual seconds


class Kind(Enum):
    """How it fails."""

    BEFORE = "error before"
    AFTER = "error after"  # it was applied, and the reply was lost
    HANG = "hang"
    SLOW = "slow"
    WRONG = "wrong data"


class Injected(Exception):
    """What a failpoint raises: nothing that the library knows of, like a driver's own error."""


@dataclass(frozen=True, slots=True)
class Fault:
    """At the *nth* time (from 1) that *point* is passed, fail in the way of *kind*; 0 is every time."""

    point: str
    kind: Kind
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.kind.value} at {self.point}#{self.nth or 'all'}"


class Failpoints:
    """
    The faults of one run, how often each point was passed, and what was injected.

    While not *armed* nothing is counted and nothing fails.
    """

    def __init__(self, *faults: Fault) -> None:
        self._faults = list(faults)
        self._healed: anyio.Event | None = None
        self.armed = True
        self.passed: Counter[str] = Counter()
        self.fired: list[Fault] = []

    def _due(self, point: str) -> Kind | None:
        if not self.armed:
            return None

        self.passed[point] += 1
        for fault in self._faults:
            if fault.point == point and fault.nth in (0, self.passed[point]):
                self.fired.append(fault)
                return fault.kind

        return None

    async def around(self, point: str, call: Callable[[], Awaitable[T]], spoil: Callable[[T], T] | None = None) -> T:
        """Make *call*, unless *point* is to fail now. *spoil* makes wrong data of its result."""
        kind = self._due(point)
        if kind is Kind.BEFORE:
            raise Injected(f"before {point}")

        if kind is Kind.HANG:
            await self._hang(point)

        if kind is Kind.SLOW:
            await anyio.sleep(SLOW)

        result = await call()
        return self._after(point, kind, result, spoil)

    def around_nowait(self, point: str, call: Callable[[], T], spoil: Callable[[T], T] | None = None) -> T:
        """The same for a plain call, which can neither hang nor be slow."""
        kind = self._due(point)
        if kind is Kind.BEFORE:
            raise Injected(f"before {point}")

        return self._after(point, kind, call(), spoil)

    def _after(self, point: str, kind: Kind | None, result: T, spoil: Callable[[T], T] | None) -> T:
        if kind is Kind.AFTER:
            raise Injected(f"after {point}")

        return spoil(result) if kind is Kind.WRONG and spoil is not None else result

    async def _hang(self, point: str) -> None:
        if self._healed is None:
            self._healed = anyio.Event()

        await self._healed.wait()
        raise Injected(f"{point} hung until it was healed")

    def heal(self) -> None:
        """No more faults, and whatever hangs ends with an error."""
        self._faults.clear()
        if self._healed is not None:
            self._healed.set()


class Faulty:
    """Any object with async methods, each of which passes the failpoint ``<label>.<method>``. Plain attributes go straight through."""

    def __init__(self, wrapped: Any, label: str, points: Failpoints) -> None:
        self._wrapped = wrapped
        self._label = label
        self._points = points

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._wrapped, name)
        if not callable(method) or name.startswith("_"):
            return method

        async def passing(*args: Any, **options: Any) -> Any:
            return await self._points.around(f"{self._label}.{name}", lambda: method(*args, **options))

        return passing
