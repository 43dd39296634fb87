"""What the host is told when a call fails: the program's exception as text and names, never as an object."""

from __future__ import annotations

import sys
import traceback
from types import ModuleType, TracebackType
from typing import Any, List, Optional

from ... import _exceptions
from ...wire import Error, Unencodable, error_to_wire
from .outcome import Outcome

ROOT = __name__.partition(".")[0]
MAX_TEXT = 65_536
"""Characters of a message or a traceback that travel; the middle of a longer one is left out."""

_HERE = __name__.rpartition(".")[0]
_OURS = (f"{_HERE}.", "importlib.")
_PROGRAMS = f"{_HERE}.modules."


class Refused(Exception):
    """An error of ours to be told to the host as it is, not as something the program raised."""

    def __init__(self, error: _exceptions.DspexError) -> None:
        super().__init__(str(error))
        self.error = error


def home() -> ModuleType:
    """The module whose error classes a program sees: the real dspex's once the program has imported that, our copy of it until then."""
    return sys.modules.get("dspex._exceptions", _exceptions)


def failure(program: str, error: BaseException) -> Error:
    """The message that tells of *error*, which came out of *program* or of our dealing with it."""
    if isinstance(error, Refused):
        return Error(*error_to_wire(error.error))

    return Error(*error_to_wire(error if passes(error) else program_failed(program, error)))


def passes(error: BaseException) -> bool:
    """Whether *error* says already what happened, and where: it came from a call that the program made itself. Of either copy of dspex."""
    ours = (_exceptions.ProgramFailed, _exceptions.CallCycle, home().ProgramFailed, home().CallCycle)
    return type(error) in ours and hasattr(error, "facts")  # which one that a program made in odd ways may lack


def program_failed(program: str, error: BaseException) -> _exceptions.ProgramFailed:
    """*error* as a `ProgramFailed` with everything in words."""
    return _exceptions.ProgramFailed(
        program,
        type=qualified(type(error)),
        message=_short(_message(error)),
        traceback=traceback_of(error),
        types=[qualified(cls) for cls in type(error).__mro__ if cls is not object],
    )


def result_failed(program: str, error: BaseException) -> Error:
    """The message for a result that has no encoded form, or whose encoding raised."""
    if not isinstance(error, Unencodable):
        return failure(program, error)

    problem = f"its result can't leave the worker: {_whereabouts(error)}. Return plain data: numbers, text, lists, dicts, records."
    types = [qualified(cls) for cls in _exceptions.InvalidValue.__mro__ if cls is not object]
    return Error(*error_to_wire(_exceptions.ProgramFailed(program, type=types[0], message=problem, types=types)))


def _whereabouts(error: Unencodable) -> str:
    path = "result" + error.path[len("value") :]
    return f"at {_short(path, 200)}: got {error.type_name} ({error.reason.rstrip('.')})"


def qualified(cls: type) -> str:
    """The class's full name; that of our private copy is dspex's."""
    return _public(f"{cls.__module__}.{cls.__qualname__}")


def traceback_of(error: BaseException) -> str:
    """The formatted traceback, from the first frame that isn't ours."""
    # An exception's own code runs here (__str__, __notes__) and may fail in any way: then there is less to tell.
    shown = Outcome()
    with shown:
        lines: List[str] = traceback.format_exception(type(error), error, theirs(error.__traceback__))
        shown.value = _public(_short("".join(lines)))

    return f"(the traceback can't be shown: {type(shown.error).__name__})" if shown.error is not None else str(shown.value)


def theirs(trace: Optional[TracebackType]) -> Optional[TracebackType]:
    """*trace* without the leading frames of the worker and of importlib; None if there are no others."""
    while trace is not None and _is_ours(trace.tb_frame.f_globals):
        trace = trace.tb_next

    return trace


def _is_ours(namespace: Any) -> bool:
    name = f"{namespace.get('__name__', '')}."
    return name.startswith(_OURS) and not name.startswith(_PROGRAMS)


def _message(error: BaseException) -> str:
    shown = Outcome()
    with shown:
        shown.value = str(error)

    return f"(its text can't be shown: {type(shown.error).__name__})" if shown.error is not None else str(shown.value)


def _public(text: str) -> str:
    return text.replace(f"{ROOT}.", "dspex.")


def _short(text: str, limit: int = MAX_TEXT) -> str:
    if len(text) <= limit:
        return text

    half = limit // 2
    return f"{text[:half]} ... {len(text) - 2 * half} characters left out ... {text[-half:]}"
