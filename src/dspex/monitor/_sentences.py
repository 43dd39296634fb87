"""
Which records are logged, in which words, and at which level.

What code of a user's own says in its exceptions isn't quoted: a function given to `update`, or a program, may tell the value of a sensitive variable.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from .._exceptions import DspexError, ProgramFailed, VariableExists, VariableNotFound, VersionConflict, WorkerDied, in_short
from ._contexts import label_of
from ._shown import one_line

if TYPE_CHECKING:
    from ..telemetry import BackendSwitched, ContextChanged, OperationFailed, ProgramCalled, SwitchFailed, VariableOperation

ORDINARY: Final[tuple[type[BaseException], ...]] = (VariableNotFound, VariableExists, VersionConflict)
"""
Refusals that are an answer: ``get`` with a default asks whether there is a variable, ``ensure`` whether there is one already, ``expected_version``
whether somebody came between. They are logged at DEBUG.
"""

_SOME = 4
_LONGEST = 400


@frozen
class Sentences:
    """
    Writes records to a log.

    Attributes:
        log: where to.
        slow_switch: seconds past which a switch is slow; None: none is.
        slow_operation: seconds past which an operation is, its waiting included; None: none is.
        ordinary: errors of operations that are nobody's trouble.

    """

    log: logging.Logger
    slow_switch: float | None
    slow_operation: float | None
    ordinary: tuple[type[BaseException], ...]

    def hear(self, record: Any) -> None:
        """Writes *record*, if it is worth it."""
        _WORDS[type(record).__name__](self, record)

    def _switched(self, record: BackendSwitched) -> None:
        slow = self.slow_switch is not None and record.seconds > self.slow_switch
        self.log.log(
            logging.WARNING if slow else logging.INFO,
            "%s: context %s, from %s to %s, duration %s, %s, %s bytes",
            "Slow context backend switch" if slow else "Context backend switch",
            _context(record),
            record.source,
            record.target,
            milliseconds(record.seconds),
            counted(record.variables, "variable"),
            f"{record.bytes:,}",
            extra=_facts(record, "source", "target", "seconds", "variables", "bytes"),
        )

    def _switch_failed(self, record: SwitchFailed) -> None:
        given_up = record.error is None
        self.log.log(
            logging.WARNING if given_up else logging.ERROR,
            "%s: context %s, operation switch (step %r, after %s), error %s. It goes on with its %s",
            "Context backend switch given up" if given_up else "Context error",
            _context(record),
            record.step,
            milliseconds(record.seconds),
            "none: whoever asked for it has gone, or ran out of time" if given_up else _told(record.error),
            record.source,
            extra={**_facts(record, "source", "step", "seconds"), "dspex_operation": "switch", "dspex_error": _told(record.error)},
        )

    def _operated(self, record: VariableOperation) -> None:
        if self.slow_operation is None or record.seconds + record.waited <= self.slow_operation:
            return

        self.log.warning(
            "Slow variable operation: context %s, operation %s, duration %s%s",
            _context(record),
            _operation(record),
            milliseconds(record.seconds),
            f" after waiting {milliseconds(record.waited)} for its turn" if record.waited else "",
            extra=_facts(record, "operation", "variables", "backend", "seconds", "waited"),
        )

    def _operation_failed(self, record: OperationFailed) -> None:
        # Foreign code fails in `update` alone: what else isn't a refusal is the backend's, and a crash.
        own = record.operation == "update" and not isinstance(record.error, DspexError)
        error = f"{type(record.error).__name__}, from the function it was given" if own else _told(record.error)
        self.log.log(
            logging.DEBUG if isinstance(record.error, self.ordinary) else logging.ERROR,
            "Context error: context %s, operation %s, error %s",
            _context(record),
            _operation(record),
            error,
            extra={**_facts(record, "operation", "variables", "backend", "seconds", "waited"), "dspex_error": error},
        )

    def _called(self, record: ProgramCalled) -> None:
        if record.outcome not in ("failed", "died", "timeout"):
            return

        error = _of_program(record.error)
        self.log.error(
            "Context error: context %s, operation call of program %r, error %s, after %s",
            _context(record),
            one_line(record.program_id, 48),
            error,
            milliseconds(record.queued + record.seconds),
            extra={
                **_facts(record, "program_id", "where", "pool", "worker_pid", "queued", "seconds", "outcome"),
                "dspex_operation": "call",
                "dspex_error": error,
            },
        )

    def _changed(self, record: ContextChanged) -> None:
        if record.error is None or record.status not in _AFTER_A_CRASH:
            return

        self.log.error(
            "Context error: context %s crashed and %s, error %s",
            _context(record),
            _AFTER_A_CRASH[record.status],
            _told(record.error),
            extra={**_facts(record, "status", "backend", "lives"), "dspex_error": _told(record.error)},
        )


_AFTER_A_CRASH: Final = {"crashed": "is closed", "restarting": "is being restarted", "parked": "is parked"}

_WORDS: Final[dict[str, Callable[[Sentences, Any], None]]] = {
    "BackendSwitched": Sentences._switched,
    "SwitchFailed": Sentences._switch_failed,
    "VariableOperation": Sentences._operated,
    "OperationFailed": Sentences._operation_failed,
    "ProgramCalled": Sentences._called,
    "ContextChanged": Sentences._changed,
}


def milliseconds(seconds: float) -> str:
    """As the log has it: ``"1,234 ms"``, ``"0.123 ms"``."""
    return f"{seconds * 1000:,.0f} ms" if seconds >= 0.1 else f"{seconds * 1000:.3g} ms"


def counted(number: int, what: str) -> str:
    """So many of *what*: ``"1 variable"``, ``"1,234 variables"``."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _context(record: Any) -> str:
    return label_of(record.context_id, record.context_name)


def _operation(record: Any) -> str:
    names: tuple[str, ...] = record.variables
    more = f", and {len(names) - _SOME:,} more" if len(names) > _SOME else ""
    told = ", ".join(repr(one_line(name, 48)) for name in names[:_SOME])
    return f"{record.operation} of {told}{more}" if names else record.operation


def _of_program(error: BaseException | None) -> str:
    """What became of a program, without its own words: those of its exception, and those that its worker wrote last."""
    if isinstance(error, ProgramFailed):
        return one_line(f"ProgramFailed: it raised {error.type}", _LONGEST)

    if isinstance(error, WorkerDied):
        return one_line(f"WorkerDied: worker {error.pid} {error.ended}", _LONGEST)

    return _told(error)


def _told(error: BaseException | None) -> str:
    return one_line(in_short(error), _LONGEST)


def _facts(record: Any, *names: str) -> dict[str, Any]:
    return {
        "dspex_context": record.context_id,
        "dspex_name": record.context_name,
        **{f"dspex_{name}": getattr(record, name) for name in names},
    }
