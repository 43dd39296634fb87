"""All there is to say of one thing: a context with its variables, a worker process, a pool, a supervisor, and whatever else is in the tree."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import attrs

from ..._exceptions import in_short
from ...bridge import Bridge
from ...context import Context, Status
from ...context._family import Contexts
from ...supervision import Branch, bounded
from ...supervision._branch import branch as branch_of_child
from ...supervision._told import Told
from ...variables import Cell
from ...variables._misfit import MASK
from ...variables._records import moment
from ...worker.host.pool import WorkerPool
from ...worker.host.seats import Seat
from ...worker.host.statistics import WorkerStatistics
from .._shown import one_line, shown
from .._watchdog.owners import name_of, taken_of
from .events import Ring
from .snapshots import as_node
from .spots import Spot
from .turns import STATE, note_of

VARIABLES: Final = 100
"""So many variables of a context are shown."""

_PROGRAMS: Final = 100
_RESTARTS: Final = 50
_HISTORY: Final = 20
_WORDS: Final = 200
_LAST_WORDS: Final = 8192


def detail(spot: Spot, ring: Ring) -> dict[str, Any]:
    """What there is to say of what is at *spot*, as data. A plain step of a few milliseconds at most."""
    node = as_node(_branch(spot), spot.path)
    told = {"path": node["id"], **{name: node[name] for name in ("kind", "name", "state", "facts", "note")}}
    for base, tell in _TELLERS:
        if isinstance(spot.thing, base):
            return {**told, **tell(spot, ring)}

    return told


def _branch(spot: Spot) -> Branch:
    """How it shows itself, without what is below it."""
    above = spot.above
    if spot.child is not None and above is not None:
        supervisor: Told = above.thing
        info = supervisor._info(spot.child, supervisor._counted_now())
        return branch_of_child(info, spot.child.last_value, limit=0)

    if isinstance(spot.thing, Seat):
        return spot.thing.branch(spot.path.rpartition("/")[2])

    return bounded(spot.thing, 0)


# --- contexts ----------------------------------------------------------------------------------------------------------------------


def _context(spot: Spot, ring: Ring) -> dict[str, Any]:
    context: Context = spot.thing
    variables, more = _variables(context)
    programs = context.programs
    taken = taken_of(context._inside.variables.mailbox.ledger)
    note = note_of(context._inside)
    return {
        **({"state": STATE, "note": note} if note and context.status is Status.RUNNING else {}),
        "kind": "context",
        "id": one_line(context.id, _WORDS),
        "name": one_line(_known_as(spot), _WORDS),
        "status": context.status.value,
        "doing": None if taken is None else one_line(name_of(taken), _WORDS),
        "backend": _backend(context),
        "counts": attrs.asdict(context.statistics()),
        "variables": variables,
        "more_variables": more,
        "programs": [_program(program_id, bound) for program_id, bound in islice(list(programs.items()), _PROGRAMS)],
        "more_programs": max(0, len(programs) - _PROGRAMS),
        "error": one_line(in_short(context.variables.crash_error), _WORDS) or None,
    }


def _known_as(spot: Spot) -> str:
    """The key of a context in a family, the name or the id of any other."""
    if spot.above is not None and isinstance(spot.above.thing, Contexts):
        return spot.path.rpartition("/")[2].replace("%2F", "/")

    return str(spot.thing.name or spot.thing.id)


def _backend(context: Context) -> dict[str, Any]:
    info = context.backend
    return {
        "kind": info.kind,
        "type": info.type.__qualname__,
        "switches": info.switches,
        "switching": info.switching,
        "last_switch": None if info.last_switch is None else attrs.asdict(info.last_switch),
        "history": [[kind.__qualname__, when.isoformat()] for kind, when in info.history[-_HISTORY:]],
        "capabilities": attrs.asdict(info.capabilities),
    }


def _variables(context: Context) -> tuple[list[dict[str, Any]], int | None]:
    """The first variables, and how many more there are. None: the backend is one of its user's own, and isn't disturbed."""
    table: Any = getattr(context.variables.backend, "table", None)
    if table is None:
        return [], 0 if context.variables.backend is None else None

    cells: Iterator[Cell] = (cell for block in table.ordered() for cell in block)
    first = [_variable(cell) for cell in islice(cells, VARIABLES)]
    return first, max(0, len(table) - len(first))


def _variable(cell: Cell) -> dict[str, Any]:
    known = cell.definition
    return {
        "name": one_line(cell.name, _WORDS),
        "type": one_line(known.kind.label, _WORDS),
        "version": cell.version,
        "value": MASK if known.sensitive else shown(cell.value),
        "sensitive": known.sensitive,
        "updated_at": moment(cell.updated_ns).isoformat(),
    }


def _program(program_id: str, bound: Any) -> dict[str, Any]:
    info = bound.info
    return {"id": one_line(program_id, _WORDS), "where": info.where, "pool": info.pool, "calls": info.calls}


# --- families, bridges, pools, workers ---------------------------------------------------------------------------------------------


def _family(spot: Spot, ring: Ring) -> dict[str, Any]:
    family: Contexts = spot.thing
    return {"counts": attrs.asdict(family.statistics()), "error": one_line(in_short(family.last_error), _WORDS) or None}


def _bridge(spot: Spot, ring: Ring) -> dict[str, Any]:
    bridge: Bridge = spot.thing
    return {"store": type(bridge.store).__qualname__, "starts": bridge._starts, "pools": [one_line(name, _WORDS) for name in bridge._pools]}


def _pool(spot: Spot, ring: Ring) -> dict[str, Any]:
    pool: WorkerPool = spot.thing
    told = pool.statistics()
    return {
        "bridge": _name_above(spot),
        "workers": len(told.workers),
        "wanted": pool.options.workers,
        "ready": sum(worker.serves for worker in pool._places.workers),
        "running": told.running,
        "waiting": told.waiting,
        "calls": told.calls,
        "deaths": told.deaths,
        "last_death": one_line(told.last_death, _WORDS),
        "last_words": shown_lines(told.last_words),
    }


def _worker(spot: Spot, ring: Ring) -> dict[str, Any]:
    seat: Seat = spot.thing
    told = {"pid": None, "running": 0, "served": 0, "rss": None, "pool": _name_above(spot), "bridge": _name_above(spot.above)}
    worker = seat._worker
    if worker is None:
        return told

    known = WorkerStatistics.of(worker)
    return {**told, "pid": known.pid, "running": known.running, "served": known.served, "rss": resident(known.pid)}


def _name_above(spot: Spot | None) -> str:
    return one_line(spot.above.thing.name, _WORDS) if spot is not None and spot.above is not None else ""


def resident(pid: int) -> int | None:
    """The bytes of memory that a process has in use; None where the system doesn't say so, or it has gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None

    return pages * os.sysconf("SC_PAGE_SIZE")


def shown_lines(text: str) -> str:
    """The end of a text of several lines, safe to print."""
    return "\n".join(one_line(line, _WORDS) for line in text[-_LAST_WORDS:].splitlines()[-50:])


# --- supervisors -------------------------------------------------------------------------------------------------------------------


def _supervisor(spot: Spot, ring: Ring) -> dict[str, Any]:
    supervisor: Told = spot.thing
    window = supervisor._window
    return {
        "strategy": getattr(supervisor, "strategy", "one_for_one"),
        "restarts": supervisor._counted_now(),
        "allowed": window.allowed,
        "seconds": window.seconds,
        "children": dict(supervisor.statistics().children),
        "timeline": [list(restart) for restart in ring.restarts_below(spot.path, _RESTARTS)],
    }


_TELLERS: Final[tuple[tuple[type, Callable[[Spot, Ring], dict[str, Any]]], ...]] = (
    (Context, _context),
    (Told, _supervisor),
    (Contexts, _family),
    (Bridge, _bridge),
    (WorkerPool, _pool),
    (Seat, _worker),
)
