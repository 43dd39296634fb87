"""
How the variables of a context are read for a report: the first of them, in slices, as they are.

Ours keep theirs in a table of this process, which is read as it stands, whatever the owner is doing. Another backend is asked in the owner's turn, and
given up if that doesn't come.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import checkpoint
from attrs import frozen

from .._exceptions import DspexError, in_short
from ..context._status import ENDED, SERVING, Status
from ..state import AsyncBridgedState, BridgedState, LocalState
from ..variables import MASK, Cell, Variable, moment
from ._report import VariableFacts
from ._shown import shown
from ._watchdog.owners import name_of, taken_of

if TYPE_CHECKING:
    from ..context._inside import Inside
    from ..context._mailbox import Request

_SLICE = 64
"""Variables that are read in one go: less than a millisecond."""


@frozen
class Reading:
    """
    What could be read.

    Attributes:
        variables: the first of them.
        more: how many there are beyond; None where that isn't known.
        note: why there are none.

    """

    variables: tuple[VariableFacts, ...] = ()
    more: int | None = 0
    note: str = ""


async def read_variables(inside: Inside, limit: int, timeout: float | None) -> Reading:
    """The first *limit* variables, waiting at most *timeout* seconds for a backend that has to be asked."""
    status = inside.status
    if status is Status.NEW or status in ENDED:
        return Reading(note="it hasn't been started" if status is Status.NEW else f"it has ended: it is {status}")

    backend: Any = inside.variables.backend
    if type(backend) in (LocalState, BridgedState, AsyncBridgedState):
        return await _from_table(backend.table, limit)

    if status not in SERVING:
        return Reading(note=f"only while it runs: it is {status}")

    return await _asked(inside, limit, timeout)


# --- from a table ------------------------------------------------------------------------------------------------------------------


async def _from_table(table: Any, limit: int) -> Reading:
    found: list[VariableFacts] = []
    cells: Iterator[Cell] = (cell for block in table.ordered() for cell in block)
    while part := [*islice(cells, min(_SLICE, limit - len(found)))]:
        found += map(_of_cell, part)
        await checkpoint()

    return Reading(tuple(found), max(0, len(table) - len(found)))


def _of_cell(cell: Cell) -> VariableFacts:
    known = cell.definition
    return VariableFacts(
        name=cell.name,
        type=known.kind.label,
        version=cell.version,
        value=MASK if known.sensitive else shown(cell.value),
        sensitive=known.sensitive,
        updated_at=moment(cell.updated_ns),
    )


# --- from any other backend --------------------------------------------------------------------------------------------------------


async def _asked(inside: Inside, limit: int, timeout: float | None) -> Reading:
    try:
        with anyio.move_on_after(timeout):
            found: Reading = await inside.variables.enqueue("run", _first, inside, limit, timeout)
            return found
    except DspexError as error:
        return Reading(note=in_short(error))

    return Reading(note=_busy(inside, timeout or 0.0))


def _busy(inside: Inside, timeout: float) -> str:
    taken = taken_of(inside.variables.mailbox.ledger)
    busy = f", which is in {name_of(taken)!r}" if taken is not None else ""
    return f"not within {timeout:g} s: they have to be asked of its owner{busy}"


async def _first(request: Request, inside: Inside, limit: int, timeout: float | None) -> Reading:
    """In the owner's turn, which is given back after *timeout* seconds. A backend that fails here crashes nothing: no operation has failed."""
    found: list[Variable] = []
    pages: Any = inside.serving.scan()
    try:
        with anyio.move_on_after(timeout) as scope:
            while len(found) <= limit and (page := await _page(pages)) is not None:
                found += page
    except Exception as error:  # noqa: BLE001 - it is looked at because something is wrong, and what that is goes into the report
        return Reading(note=in_short(error))
    finally:
        if hasattr(pages, "aclose"):
            await pages.aclose()

    return Reading(tuple(map(_of_variable, found[:limit])), None if scope.cancelled_caught or len(found) > limit else 0)


async def _page(pages: Any) -> list[Variable] | None:
    if hasattr(pages, "__anext__"):
        return await anext(pages, None)

    await checkpoint()
    return next(pages, None)


def _of_variable(variable: Variable) -> VariableFacts:
    return VariableFacts(
        name=variable.name,
        type=variable.type,
        version=variable.version,
        value=MASK if variable.sensitive else shown(variable.value),
        sensitive=variable.sensitive,
        updated_at=variable.updated_at,
    )
