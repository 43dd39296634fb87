"""
The calls that a running program makes of others: each in a task beside the one that waits for the program.

So such a call is on behalf of the first one in every way: it is within its scopes, has its deadline and its chain, and is over when that is.
One that the program no longer waits for is cancelled. A program has so many at once, and the others wait for those: for nothing that
anybody else holds.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio
from attrs import define, field

from ..._exceptions import CallCancelled, ContextClosed, DspexError, Overloaded
from ...supervision._beside import with_others
from ...wire.operations import complete

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...supervision._beside import Others
    from .conversation import Outcome
    from .door import Door
    from .port import CallOther

# Calls that one running program has of others at once, and those it may have asked for beyond.
AT_ONCE: Final = 64
WAITING: Final = 1024


class Talk(Protocol):
    """A running program, as the one who waits for it sees it."""

    @property
    def door(self) -> Door:
        """Where it asks."""
        ...

    async def heard(self) -> Outcome | None:
        """Its end; None as soon as it asks for something that the door doesn't serve."""
        ...


async def see_through(talk: Talk, call_other: CallOther | None) -> Outcome:
    """Does what the program asks for until it ends, and gives its end. What it has asked for and not waited for is cancelled then."""

    async def work(others: Others) -> Outcome:
        calls = _Calls(talk.door, call_other, others)
        outcome = None
        while outcome is None:
            calls.begin()
            outcome = await talk.heard()

        return outcome

    return await with_others(work)


@define(eq=False)
class _Call:
    op: Sequence[Any]
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)


class _Calls:
    """Those of one program."""

    __slots__ = ("_call_other", "_door", "_others", "_running", "_waiting")

    def __init__(self, door: Door, call_other: CallOther | None, others: Others) -> None:
        self._door = door
        self._call_other = call_other
        self._others = others
        self._running: set[_Call] = set()
        self._waiting: deque[_Call] = deque()

    def begin(self) -> None:
        """Begins with what the program has asked for since. Called by the task that waits for it: its tasks inherit what is that one's."""
        errands = self._door.errands
        while errands:
            op = errands.popleft()
            if op[1] == "cancel":
                self._cancel(op)
            elif (refusal := self._refusal(op[2])) is not None:
                self._door.answer_to(op)(None, refusal)
            else:
                self._waiting.append(_Call(op))
                self._fill()

    def _refusal(self, program_id: str) -> DspexError | None:
        if self._door.left:
            return CallCancelled(program_id)

        if self._call_other is None:
            return ContextClosed("", status="not there", hint="This call was made without a context, so there are no programs to call.")

        if len(self._waiting) >= WAITING:
            return Overloaded(what="One running program, with the calls it makes of others", limit=AT_ONCE + WAITING)

        return None

    def _cancel(self, op: Sequence[Any]) -> None:
        number = op[2]
        self._waiting = deque(call for call in self._waiting if call.op[0] != number)
        for call in self._running:
            if call.op[0] == number:
                call.scope.cancel()

        self._door.answer_to(op)(None, None)

    def _fill(self) -> None:
        while self._waiting and len(self._running) < AT_ONCE:
            call = self._waiting.popleft()
            self._running.add(call)
            self._others.start_soon(self._run, call, name=f"dspex call of {call.op[2]}")

    async def _run(self, call: _Call) -> None:
        assert self._call_other is not None
        program_id, inputs, timeout, parent = complete("call", list(call.op[2:]))
        if parent is not None and self._door.trace is not None:
            self._door.trace.below(parent)

        result: Any = None
        failure: Exception | None = None
        try:
            with call.scope:
                result = await self._call_other(program_id, inputs, timeout)
        except Exception as error:  # noqa: BLE001 - the border: whatever it raises is the program's to hear
            failure = error
        except anyio.get_cancelled_exc_class():
            if anyio.current_effective_deadline() == -math.inf:
                raise

            # By a stranger, in the last steps of this task. Let out, it would cancel the one who waits for the program.
            failure = CallCancelled(program_id)
        finally:
            self._running.discard(call)

        self._door.answer_to(call.op)(result, CallCancelled(program_id) if call.scope.cancelled_caught else failure)
        self._fill()
