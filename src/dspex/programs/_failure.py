"""How a program's exception becomes a `ProgramFailed`: the same words wherever it ran."""

from __future__ import annotations

import traceback
from types import TracebackType

from dspex._exceptions import CallCycle, ProgramFailed

PASSING = (ProgramFailed, CallCycle)
"""What a program lets through from a call that it made itself stays as it is: it already says what happened, and where."""


def program_failed(program_id: str, error: BaseException, *, own_frames: int = 1) -> ProgramFailed:
    """The `ProgramFailed` for *error*; its traceback begins *own_frames* further in, where the program does."""
    return ProgramFailed(
        program_id,
        type=_name(type(error)),
        message=_text(error),
        traceback="".join(traceback.format_exception(type(error), error, _without(error.__traceback__, own_frames))),
        types=[_name(cls) for cls in type(error).__mro__ if cls is not object],
    )


def _without(frames: TracebackType | None, count: int) -> TracebackType | None:
    for _ in range(count):
        frames = frames.tb_next if frames is not None else None

    return frames


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as unprintable:  # noqa: BLE001  # its own __str__ is the program's code too
        return f"<its text can't be had: {type(unprintable).__name__}>"
