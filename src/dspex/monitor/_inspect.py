"""A context looked at: `inspect_context` draws it, `describe_context` only tells."""

from __future__ import annotations

import datetime as dt
import sys
from itertools import islice
from typing import IO, TYPE_CHECKING

from attrs import evolve

from .._exceptions import in_short
from ..context._status import ENDED, Status
from . import _drawing
from ._bounds import check_count, check_seconds
from ._contexts import context_of
from ._reading import read_variables
from ._report import ContextReport

if TYPE_CHECKING:
    from ..context import Context

MAX_VARIABLES = 100
"""Variables that are told, unless more are asked for."""

_PROGRAMS = 100


async def inspect_context(
    context: Context | str, *, file: IO[str] | None = None, max_variables: int = MAX_VARIABLES, timeout: float | None = 1.0
) -> ContextReport:
    """
    Draws *context* with all that is known of it, and returns that: id, backend, capabilities, counts, the history of its backends, and its
    variables with their types, versions, times and values. Values are cut to fit, sensitive ones masked.

    In colours where rich is installed and *file* is a terminal, else in plain text. It works on a context in any state, on one that hangs too.

    Args:
        context: a context, or its name.
        file: where to draw it; stdout unless told.
        max_variables: variables that are told; the others are counted.
        timeout: seconds to wait for the variables of a backend of your own, which have to be asked of the context's owner. None: as long as it takes.

    Raises:
        NameNotFound: no live context has this name.
        WrongThread: it lives on another thread.

    """
    report = await describe_context(context, max_variables=max_variables, timeout=timeout)
    _drawing.show(_drawing.sheet_of(report), sys.stdout if file is None else file)
    return report if file is not None else evolve(report, drawn=True)


async def describe_context(context: Context | str, *, max_variables: int = MAX_VARIABLES, timeout: float | None = 1.0) -> ContextReport:
    """The same, without drawing it."""
    check_count("max_variables", max_variables, least=0)
    check_seconds("timeout", timeout)
    found = context_of(context)
    inside = found._inside
    if inside.status is not Status.NEW and inside.status not in ENDED:
        inside.variables.on_thread()

    reading = await read_variables(inside, max_variables, timeout)
    return ContextReport(
        at=dt.datetime.now(dt.UTC),
        id=found.id,
        name=found.name,
        status=str(found.status),
        resumed=found.resumed,
        backend=found.backend,
        counts=found.statistics(),
        variables=reading.variables,
        more_variables=reading.more,
        programs=tuple(bound.info for bound in islice(found.programs.values(), _PROGRAMS)),
        more_programs=max(0, len(found.programs) - _PROGRAMS),
        error=in_short(inside.variables.crash_error),
        note=reading.note,
    )
