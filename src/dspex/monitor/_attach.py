"""What happens in the log: `attach` has it written, `detach` no longer. One attachment a process."""

from __future__ import annotations

import logging
from threading import Lock
from types import TracebackType
from typing import Any, Self

from ..telemetry import BackendSwitched, ContextChanged, OperationFailed, ProgramCalled, SwitchFailed, VariableOperation, subscribe
from ._bounds import check_seconds
from ._sentences import ORDINARY, Sentences
from ._watchdog.watchdog import Watchdog

_ALWAYS = (BackendSwitched, SwitchFailed, ProgramCalled, ContextChanged)
_OPERATIONS = (VariableOperation, OperationFailed)

_changing = Lock()
_current: Attachment | None = None


class Attachment:
    """
    What `attach` gives. As a context manager it is detached at the end of the block.

    Attributes:
        watchdog: the one that runs as long as this is attached, if one was asked for.

    """

    __slots__ = ("_sentences", "_subscription", "watchdog")

    def __init__(self, sentences: Sentences, watchdog: Watchdog | None) -> None:
        kinds = _ALWAYS if sentences.slow_operation is None else _ALWAYS + _OPERATIONS
        self._sentences = sentences
        self.watchdog: Watchdog | None = watchdog
        self._subscription = subscribe(sentences.hear, only=kinds)
        if watchdog is not None:
            watchdog.start()

    def __repr__(self) -> str:
        state = "attached" if self.active else "detached"
        bounds = f"slow_switch: {_shown(self._sentences.slow_switch)} | slow_operation: {_shown(self._sentences.slow_operation)}"
        return f"<Attachment [{state} | {bounds} | watchdog: {'on' if self.watchdog is not None else 'off'}]>"

    @property
    def active(self) -> bool:
        """Whether it writes."""
        return self._subscription.active

    def detach(self) -> None:
        """Writes no longer, and ends the watchdog. Idempotent; one that another has replaced is detached already."""
        global _current
        with _changing:
            if _current is self:
                _current = None

        self._end()

    def _end(self) -> None:
        self._subscription.unsubscribe()
        if self.watchdog is not None:
            self.watchdog.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.detach()


def attach(
    *,
    slow_switch: float | None = 0.05,
    slow_operation: float | None = 0.1,
    ordinary: tuple[type[BaseException], ...] = ORDINARY,
    watchdog: Watchdog | bool | None = None,
    logger: logging.Logger | str | None = None,
) -> Attachment:
    """
    Has what happens in all contexts of this process written to the log, from now on. Attaching again replaces what was attached.

    A switch at INFO, at WARNING if it was slow or given up; a slow operation at WARNING; at ERROR a switch or an operation that failed, a program that
    raised, lost its worker or ran out of time, and a context that crashed. Each line has its facts as ``extra=`` too: ``dspex_context``
    (its id), ``dspex_name``, ``dspex_operation``, ``dspex_seconds``, ``dspex_error``, ... What is sensitive is in none.

    While it listens to operations, every context is off its fastest path: an operation takes some microseconds rather than a fraction of one. With
    ``slow_operation=None`` it doesn't, and of what fails in an operation it then tells only crashes.

    Args:
        slow_switch: seconds from the beginning of a switch to its commit; one that takes longer is warned of. None: none is.
        slow_operation: seconds from asking for an operation to its end; one that takes longer is warned of. None: leave operations alone.
        ordinary: errors of operations that are answers rather than trouble, at DEBUG: unless told `VariableNotFound` (a ``get`` with a default asks
            for it), `VariableExists` (``ensure`` does) and `VersionConflict`. ``()`` for none.
        watchdog: True for a `Watchdog` with its usual bounds, or one with others. It reports what hasn't ended at all.
        logger: where to; ``"dspex.monitor"`` unless told. What of it is shown is for the application's `logging` to say.

    Raises:
        TypeError, ValueError: an argument can't be. What was attached stays.

    """
    global _current
    check_seconds("slow_switch", slow_switch)
    check_seconds("slow_operation", slow_operation)
    log = _logger_of(logger)
    sentences = Sentences(log, slow_switch, slow_operation, _checked(ordinary))
    dog = _watchdog_of(watchdog, log)
    with _changing:
        former, _current = _current, None
        if former is not None:
            former._end()

        _current = Attachment(sentences, dog)
        return _current


def detach() -> None:
    """Undoes `attach`. Idempotent."""
    if _current is not None:
        _current.detach()


def _logger_of(given: Any) -> logging.Logger:
    if given is None or isinstance(given, str):
        return logging.getLogger(given or "dspex.monitor")

    if not isinstance(given, logging.Logger):
        raise TypeError(f"logger: expected a logging.Logger, the name of one, or None, got {given!r}")

    return given


def _checked(ordinary: Any) -> tuple[type[BaseException], ...]:
    kinds = (ordinary,) if isinstance(ordinary, type) else tuple(ordinary)
    for kind in kinds:
        if not isinstance(kind, type) or not issubclass(kind, BaseException):
            raise TypeError(f"ordinary: expected classes of errors, got {kind!r}")

    return kinds


def _watchdog_of(given: Any, log: logging.Logger) -> Watchdog | None:
    if given is None or isinstance(given, bool):
        return Watchdog(logger=log) if given else None

    if not isinstance(given, Watchdog):
        raise TypeError(f"watchdog: expected True, False or a Watchdog, got {given!r}")

    return given


def _shown(seconds: float | None) -> str:
    return "off" if seconds is None else f"{seconds:g} s"
