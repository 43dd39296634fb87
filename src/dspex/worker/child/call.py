"""
One running call: what it may still do, and why not.

A call is open until something ends it: it was cancelled, its deadline passed, its connection is gone, or it returned. The first of these
stays the reason, except that returning always closes: a thread that the program left behind gets a clear error, whatever it asks.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from itertools import count
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional

from ...wire import Malformed, Unencodable, error_from_wire, operations
from .failures import Refused, failure, home, result_failed
from .identifiers import errand_of, is_named

if TYPE_CHECKING:
    from .tracing import Trace

PAST_DEADLINE = "its deadline has passed"
CANCELLATIONS = ("CallCancelled", "CancelledError")
"""What a program that lets its cancellation through raises: ours, of either copy of dspex, or asyncio's."""

KEY_ALONE = 3
"""The length of an operation that has nothing but a number, a name and what `identifiers` made."""

_INPUTS = "ops[0][3]"
"""How the path of an input begins, in the operation that calls another program."""

GONE = "its connection to the host is closed"


class RunningCall:
    """
    What sync and async calls have in common.

    Args:
        stream: its stream on the channel.
        message: the `Call` that began it.

    """

    def __init__(self, stream: int, message: Any) -> None:
        self.stream = stream
        self.program: str = message.meta.get("program") or "this program"
        self.context: str = message.meta.get("context") or ""
        self.deadline: Optional[float] = None if message.deadline_us is None else time.monotonic() + message.deadline_us / 1e6
        self.cancelled: Optional[str] = None
        self.began = False
        self.trace: Optional[Trace] = _trace(message.meta) if "traceparent" in message.meta else None
        self._returned = False
        self._numbers = count(1)

    def check(self) -> None:
        """Raise what an operation gets now: nothing while the call is open."""
        if self._returned:
            raise self.over()

        if self.cancelled is None and self.deadline is not None and time.monotonic() >= self.deadline:
            self.cancelled = PAST_DEADLINE

        if self.cancelled is not None:
            raise self.refusal()

    def refusal(self, *, applied: Optional[bool] = False) -> Any:
        """The `CallCancelled` with the reason. *applied* is None for an operation that was under way."""
        error = home().CallCancelled(self.program, reason=self.cancelled or GONE)
        error.applied = applied
        return error

    def over(self) -> Exception:
        """What is raised once the program has returned."""
        hint = "The call it was lent to has ended. Do what needs ctx before the program returns, and wait for your threads."
        error: Exception = home().ContextClosed(self.context, status=f"closed to {self.program!r}", hint=hint)
        return error

    def failure(self, error: BaseException) -> Any:
        """The message for what came out of the program, or for why it was never begun."""
        if self.cancelled is not None and is_named(error, *CANCELLATIONS):
            error = Refused(self.refusal(applied=None if self.began else False))

        return self._traced(failure(self.program, error))

    def result_failure(self, error: BaseException) -> Any:
        """The message for a result that can't be sent."""
        return self._traced(result_failed(self.program, error))

    def _traced(self, failed: Any) -> Any:
        if self.trace is not None:
            self.trace.fail(failed)
            failed.meta = self.trace.told()

        return failed

    def meta(self, began: float) -> Dict[str, Any]:
        """What the host is told beside a result. *began* is monotonic time."""
        meta: Dict[str, Any] = {"seconds": time.monotonic() - began}
        if self.trace is not None:
            meta.update(self.trace.told())

        return meta

    def errand(self, program_id: Any, inputs: Optional[Mapping[str, Any]], timeout: Any) -> List[Any]:
        """The arguments of a call of another program, see `errand_of`."""
        args = errand_of(program_id, inputs, timeout)
        return args if self.trace is None else [*args, self.trace.here()]

    def next_operation(self) -> int:
        """A number for an operation, counting from 1."""
        return next(self._numbers)


def _trace(meta: Dict[str, Any]) -> Optional[Trace]:
    from .tracing import traced  # most calls aren't

    return traced(meta)


def refused_value(operation: List[Any], error: Unencodable) -> Exception:
    """The error for an *operation* (number, name, arguments) of which something has no encoded form."""
    _, name, *args = operation
    if name == "call":
        path = f"inputs{error.path[len(_INPUTS) :]}" if error.path.startswith(_INPUTS) else "inputs"
        problem = f"an input can't leave the worker at {path}: {error.type_name} ({error.reason})"
        unfit: Exception = home().InvalidInputs(args[0], problem=problem)
        return unfit

    variable = args[0] if args and isinstance(args[0], str) else f"ctx.{name}"
    path = error.path[len("ops[0][") :].partition("]")[2]
    refused: Exception = home().InvalidValue(
        variable, expected="a value that can leave the worker", got=f"{error.type_name} ({error.reason})", path=path
    )
    return refused


def checked(operation: List[Any]) -> List[Any]:
    """The *operation*, if the host will take it: it closes the connection of a worker that asks for something else. Raises TypeError."""
    if len(operation) > KEY_ALONE:
        try:
            operations.check([operation])
        except Malformed as error:
            raise TypeError(str(error)) from None

    return operation


def told(error: Any) -> BaseException:
    """The exception that the host answered an operation with."""
    return error_from_wire(error, home=home())


current: ContextVar[Any] = ContextVar("dspex_worker_call")
"""The `ProgramContext` of the call that the code runs in, for code that isn't handed it."""
