"""
What clients did and saw: one list, one counter, no clock.

The counter is read just before the first await of an operation and right after its last one, in the client's task, so no two
stamps are equal and "A ended before B began" is a comparison of integers.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from dspex._exceptions import DspexError, VariableNotFound, VersionConflict


class Outcome(Enum):
    """What the client learned of its operation."""

    OK = "ok"  # it happened between call and return, with this result
    FAIL = "fail"  # it was refused and never happened
    INFO = "info"  # it may have happened at any time after the call, or never


class Unknown(Enum):
    """The result of an operation whose client never saw one."""

    UNKNOWN = "?"

    def __repr__(self) -> str:
        return "?"


UNKNOWN: Final = Unknown.UNKNOWN
MISSING: Final = "missing"
READS: Final = frozenset({"get", "info", "get_many", "snapshot", "list"})


@dataclass(frozen=True, slots=True)
class Conflict:
    """The result of a compare-and-set that was refused: the version it found."""

    actual: int


@dataclass(frozen=True, slots=True)
class Op:
    """
    One operation of one client.

    *args* are what the model needs to play it. *call* and *ret* are stamps; *ret* is infinite while the outcome is unknown.
    *facts* are what the client could see of the serving side when it returned.
    """

    client: int
    name: str
    args: tuple[Any, ...]
    call: int
    ret: float = math.inf
    outcome: Outcome = Outcome.INFO
    result: Any = UNKNOWN
    error: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False, hash=False)

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.name in READS

    def __str__(self) -> str:
        shown = self.result if self.outcome is Outcome.OK else f"{self.outcome.value} {self.error}"
        span = f"[{self.call}, {'∞' if self.ret == math.inf else int(self.ret)}]"
        return f"{span:>12}  client {self.client}  {self.name}{self.args} -> {shown}"


@dataclass(frozen=True, slots=True)
class Mark:
    """Something other than a client's operation, such as the switch's start, commit, end and abort."""

    at: int
    name: str
    text: str = ""

    def __str__(self) -> str:
        return f"{f'[{self.at}]':>12}  -- {self.name} {self.text}"


def _verdict(error: BaseException) -> Outcome:
    """An error that says it was not applied is a refusal; a cancellation and everything else leaves the outcome open."""
    refused = isinstance(error, DspexError) and error.applied is False
    return Outcome.FAIL if refused else Outcome.INFO


class Recorder:
    """The history of one run."""

    def __init__(self, facts: Callable[[], Mapping[str, Any]] = dict) -> None:
        self.ops: list[Op] = []
        self.marks: list[Mark] = []
        self.facts = facts
        self._stamps = itertools.count()
        self._clients = itertools.count(1)
        self._tokens = itertools.count(1)
        self.open: dict[int, tuple[int, str, tuple[Any, ...]]] = {}

    def client(self) -> int:
        """A new client number."""
        return next(self._clients)

    def token(self) -> int:
        """A number no other write uses, and no sum of others is likely to equal: 40 bits, the same in every run."""
        return random.Random(next(self._tokens)).getrandbits(40)

    def mark(self, name: str, text: str = "") -> int:
        """Note an event that is no client's operation."""
        at = next(self._stamps)
        self.marks.append(Mark(at, name, text))
        return at

    async def run(self, client: int, name: str, args: tuple[Any, ...], operation: Callable[[], Awaitable[Any]]) -> Any:
        """Run *operation* and note what came of it, whatever that is. Errors and cancellations go on to the caller."""
        call = next(self._stamps)
        self.open[call] = (client, name, args)
        try:
            result = await operation()
        except VariableNotFound:
            self._note(Op(client, name, args, call, next(self._stamps), Outcome.OK, MISSING, facts=self.facts()))
            raise
        except VersionConflict as error:
            self._note(Op(client, name, args, call, next(self._stamps), Outcome.OK, Conflict(error.actual), facts=self.facts()))
            raise
        except BaseException as error:
            self._lose(client, name, args, call, error)
            raise

        self._note(Op(client, name, args, call, next(self._stamps), Outcome.OK, result, facts=self.facts()))
        return result

    def _lose(self, client: int, name: str, args: tuple[Any, ...], call: int, error: BaseException) -> None:
        verdict = _verdict(error)
        ret = next(self._stamps)
        told = f"{type(error).__name__}: {str(error)[:120]}" if isinstance(error, Exception) else "cancelled"
        self._note(Op(client, name, args, call, ret if verdict is Outcome.FAIL else math.inf, verdict, UNKNOWN, told))

    def _note(self, op: Op) -> None:
        del self.open[op.call]
        self.ops.append(op)

    def close(self) -> None:
        """Note what is still open as unknown: it was never answered."""
        for call, (client, name, args) in list(self.open.items()):
            self._note(Op(client, name, args, call, error="never answered"))

    def between(self, begin: int, end: float) -> int:
        """How many operations were in flight at some time in the stretch from *begin* to *end*."""
        return sum(op.call < end and op.ret > begin for op in self.ops)

    def stamp_of(self, name: str) -> int | None:
        """The stamp of the first mark of this name."""
        return next((mark.at for mark in self.marks if mark.name == name), None)

    def __str__(self) -> str:
        rows: list[tuple[int, str]] = [(op.call, str(op)) for op in self.ops] + [(mark.at, str(mark)) for mark in self.marks]
        return "\n".join(row for _, row in sorted(rows))


class Client:
    """One client: an operation after the other. After an unknown outcome it goes on under a new number, as its old self may still act."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.number = recorder.client()

    async def run(self, name: str, args: Iterable[Any], operation: Callable[[], Awaitable[Any]]) -> Any:
        """Run and record one operation."""
        try:
            return await self.recorder.run(self.number, name, tuple(args), operation)
        except DspexError as error:
            if error.applied is not False:
                self.number = self.recorder.client()

            raise
        except BaseException:
            self.number = self.recorder.client()
            raise
