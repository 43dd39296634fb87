"""What `inspect_context` tells, as one thing to print, to keep and to send."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from attrs import asdict, field, frozen

from . import _drawing

if TYPE_CHECKING:
    from rich.console import Group

    from ..context import BackendInfo, ContextStatistics
    from ..programs import ProgramInfo


@frozen(kw_only=True)
class VariableFacts:
    """
    One variable of a report.

    Attributes:
        value: as text on one line, cut to fit; masked if it is *sensitive*.
        updated_at: when it was written last, UTC.

    """

    name: str
    type: str
    version: int
    value: str
    sensitive: bool
    updated_at: dt.datetime


@frozen(kw_only=True, repr=False)
class ContextReport:
    """
    A context as it was at one moment.

    ``print(report)`` shows it in plain text, ``rich.print(report)`` in colours. Values are cut to 80 characters, those of sensitive variables are
    masked.

    Attributes:
        at: when that was, UTC.
        id: its id.
        name: its name, or None.
        status: where it is in its life.
        resumed: whether its session was found in the store.
        backend: what is known of its backend.
        counts: what it has counted.
        variables: its variables, in the order of their definition: the first of them, if there are many.
        more_variables: how many are left out; None where the backend doesn't say without being asked for each.
        programs: its programs: the first of them, if there are many.
        more_programs: how many are left out.
        error: what it crashed of, on one line; empty if it hasn't.
        note: why there are no variables, where they could not be read.
        drawn: whether it has been drawn on stdout already: a prompt that shows it need not do so again.

    """

    at: dt.datetime
    id: str
    name: str | None
    status: str
    resumed: bool
    backend: BackendInfo
    counts: ContextStatistics
    variables: tuple[VariableFacts, ...]
    more_variables: int | None
    programs: tuple[ProgramInfo, ...]
    more_programs: int
    error: str
    note: str
    drawn: bool = field(default=False, eq=False, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain data that JSON has words for. Times are in ISO 8601, durations in seconds."""
        return {
            "at": self.at.isoformat(),
            "id": self.id,
            "name": self.name,
            "status": self.status,
            "resumed": self.resumed,
            "backend": self._backend(),
            "counts": asdict(self.counts),
            "variables": [{**asdict(each), "updated_at": each.updated_at.isoformat()} for each in self.variables],
            "more_variables": self.more_variables,
            "programs": [{"id": each.id, "where": each.where, "pool": each.pool, "calls": each.calls} for each in self.programs],
            "more_programs": self.more_programs,
            "error": self.error or None,
            "note": self.note,
        }

    def _backend(self) -> dict[str, Any]:
        info = self.backend
        return {
            "kind": info.kind,
            "type": info.type.__qualname__,
            "requires_bridge": info.requires_bridge,
            "capabilities": _drawing.capabilities_of(info),
            "switching": info.switching,
            "switches": info.switches,
            "history": [[kind.__qualname__, when.isoformat()] for kind, when in info.history],
            "last_switch": None if info.last_switch is None else asdict(info.last_switch),
        }

    def __str__(self) -> str:
        return _drawing.as_text(_drawing.sheet_of(self))

    def __rich__(self) -> Group:
        return _drawing.as_rich(_drawing.sheet_of(self))

    def __repr__(self) -> str:
        known = len(self.variables) + (self.more_variables or 0)
        count = f"{known:,}{'+' if self.more_variables is None else ''}"
        return f"<ContextReport of {_drawing.safe(self.name or self.id)!r} [{self.status} | {self.backend.kind} | variables: {count}]>"
