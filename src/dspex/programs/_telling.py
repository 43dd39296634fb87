"""A call that somebody is told of: those who listen when it has ended, and a tracer all along. A call that nobody asks about makes none of this."""

from __future__ import annotations

import math
from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import anyio

from dspex._exceptions import (
    BridgeClosed,
    CallCancelled,
    CallTimeout,
    ContextClosed,
    ContextCrashed,
    InvalidInputs,
    InvalidProgram,
    ProgramFailed,
    WorkerDied,
)
from dspex.telemetry._hooks import PROGRAM_CALLED
from dspex.telemetry._tracing import TRACING

from .prediction import Prediction

if TYPE_CHECKING:
    from dspex.telemetry._tracing import CallTrace

    from .home import Home
    from .spec import ProgramSpec

Outcome: TypeAlias = Literal["returned", "failed", "died", "timeout", "cancelled", "refused"]

# In order: whatever else a call that had no place yet comes to, it was refused.
_WHEREVER: Final[tuple[tuple[type[Exception] | tuple[type[Exception], ...], Outcome], ...]] = (
    (ProgramFailed, "failed"),
    (WorkerDied, "died"),
    (CallTimeout, "timeout"),
    (CallCancelled, "cancelled"),
    ((InvalidInputs, InvalidProgram), "refused"),
)
# These end a call that runs because what it runs in ends.
_ENDING: Final = (ContextClosed, ContextCrashed, BridgeClosed)


class Notes:
    """
    What is noted of one call, from its beginning on. `returned` or `failed` ends it, in the task that began it.

    Attributes:
        trace: who records it, if anybody does.

    """

    __slots__ = ("_began", "_home", "_pid", "_placed", "_spec", "_until", "trace")

    def __init__(self, home: Home, spec: ProgramSpec) -> None:
        self._home = home
        self._spec = spec
        self._began = perf_counter()  # not the loop's clock, which may stand still while a step of it runs
        self._until = anyio.current_effective_deadline()
        self._placed: float | None = None
        self._pid: int | None = None
        self.trace: CallTrace | None = None
        tracer = TRACING.tracer
        if tracer is not None:
            pool = spec.pool if spec.where == "worker" else None
            self.trace = tracer.call(home.id, spec.id, where=spec.where, pool=pool)

    @property
    def travelling(self) -> CallTrace | None:
        """The trace, if a worker has a part in it."""
        return self.trace if self.trace is not None and self.trace.carrier() else None

    def placed(self, pid: int | None) -> None:
        """It has a place to run in. An idempotent program's second one, after a worker's death, is no end of waiting."""
        self._pid = pid
        if self._placed is None:
            self._placed = perf_counter()

        if self.trace is not None:
            self.trace.placed(pid, self._placed - self._began)

    def lost(self) -> None:
        """The place was in a worker that was gone, and nothing had begun there."""
        self._placed = self._pid = None

    def returned(self, result: Any) -> None:
        """It has ended, with *result*."""
        self._tell("returned", None, result.usage if isinstance(result, Prediction) else {})

    def failed(self, error: BaseException) -> None:
        """It has ended, with *error*. One that is thrown away together with its loop has no clock, and nobody to tell."""
        if not isinstance(error, GeneratorExit):
            self._tell(self._outcome_of(error), error, {})

    def _outcome_of(self, error: BaseException) -> Outcome:
        for kinds, outcome in _WHEREVER:
            if isinstance(error, kinds):
                return outcome

        if isinstance(error, Exception):
            return "refused" if self._placed is None else "cancelled" if isinstance(error, _ENDING) else "failed"

        # A scope whose deadline has passed is told by nothing else than the time.
        return "timeout" if self._until != -math.inf and anyio.current_time() >= self._until else "cancelled"

    def _tell(self, outcome: Outcome, error: BaseException | None, usage: Mapping[str, Any]) -> None:
        if self.trace is not None:
            self.trace.ended(outcome, error, usage)

        if PROGRAM_CALLED.heard:
            self._tell_listeners(outcome, error, usage)

    def _tell_listeners(self, outcome: Outcome, error: BaseException | None, usage: Mapping[str, Any]) -> None:
        from dspex.telemetry import ProgramCalled

        now = perf_counter()
        placed = now if self._placed is None else self._placed
        spec = self._spec
        PROGRAM_CALLED.tell(
            ProgramCalled(
                context_id=self._home.id,
                context_name=self._home.name,
                program_id=spec.id,
                where=spec.where,
                pool=spec.pool if spec.where == "worker" else None,
                worker_pid=self._pid,
                queued=placed - self._began,
                seconds=now - placed,
                outcome=outcome,
                error=error if isinstance(error, Exception) else None,
                usage=usage,
            )
        )
