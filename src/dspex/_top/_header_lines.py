"""The two lines above all: who is looked at, whether it still answers, and the sums over it."""

from __future__ import annotations

from attrs import frozen

from ..supervision._drawing import safe
from ._lines import PLAIN, Line, apart, as_many_as_fit, width_of
from ._model import Model
from ._words import of_bars, of_columns, of_count, of_rate, of_span

SILENT = 4.0
"""Seconds, at the least, without an answer after which the service is said to be silent."""
SPARK = 16


@frozen
class Connection:
    """How it stands with the socket."""

    where: str
    """Its path."""
    every: float
    """Seconds between two snapshots, as asked for."""
    lost: str = ""
    """Why there is none, in words; empty while there is one."""
    again_in: float = 0.0
    """Seconds until it is tried again."""
    silent: float = 0.0
    """Seconds since the last snapshot came."""

    @property
    def is_silent(self) -> bool:
        """Whether the service should have told more by now."""
        return self.silent > max(SILENT, 4 * self.every)


def header_lines(model: Model, connection: Connection, columns: int) -> tuple[Line, Line]:
    """Both lines, in at most *columns*."""
    status = status_of(model, connection)
    room = columns - width_of(status) - 2
    return apart(as_many_as_fit(_who(model, connection), room), status, columns), as_many_as_fit(_sums(model), columns)


def status_of(model: Model, connection: Connection) -> Line:
    """Whether what is seen is what is."""
    if connection.lost:
        again = f"again in {connection.again_in:.0f} s" if connection.again_in >= 0.5 else "trying again"
        return ((f"✖ not connected, {again}", "bad"),)

    if model.paused:
        return ((f"❚❚ paused, {of_span(model.behind)} behind", "busy"),)

    if connection.is_silent:
        return ((f"◐ no answer for {of_span(connection.silent)}", "busy"),)

    return (("○ connecting", "dim"),) if model.shown is None else (("● live", "well"),)


def _who(model: Model, connection: Connection) -> list[Line]:
    service, shown = model.service, model.shown
    if service is None:
        return [((safe(connection.where, 200), "name"),)]

    up = [] if shown is None else [(("up ", "dim"), (of_span(shown.uptime), PLAIN))]
    return [
        ((safe(service.title), "name"),),
        (("pid ", "dim"), (str(service.pid), PLAIN)),
        *up,
        ((f"dspex {safe(service.dspex)}, Python {safe(service.python)}", "dim"),),
    ]


def _sums(model: Model) -> list[Line]:
    if model.shown is None:
        return []

    sums, rate = model.shown.totals, model.whole.ring("rate")
    bars = of_bars(of_columns(rate.samples, SPARK, before=rate.before)).rjust(SPARK)
    ready, workers, waiting = sums["workers_ready"], sums["workers"], sums["waiting"]
    return [
        _sum("contexts", of_count(sums["contexts"])),
        _sum("operations", of_rate(rate.last), "number"),
        _sum("workers", f"{ready} of {workers}", "well" if ready == workers else "busy"),
        _sum("restarts", of_count(sums["restarts"])),
        _sum("running", of_count(sums["running"])),
        _sum("waiting", of_count(waiting), "busy" if waiting else ""),
        _sum("switches", of_count(sums["switches"])),
        ((bars, "number"),),
    ]


def _sum(name: str, value: str, look: str = "") -> Line:
    return ((f"{name} ", "dim"), (value, look or "name"))
