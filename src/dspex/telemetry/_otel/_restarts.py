"""Restarts of supervisors' children, as spans, made from what is told of their states."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from opentelemetry.context import Context
from opentelemetry.trace import Status, StatusCode

from . import _names
from ._names import error_type

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from .._records import ChildChanged

MAX_PENDING: Final = 10_000
"""Children that are being restarted and of which a span is going to tell. Past it those that have been for longest are forgotten."""

_GIVEN_UP: Final = frozenset({"parked", "stopped", "gone"})


class Restarts:
    """A hook for `ChildChanged`."""

    __slots__ = ("_pending", "_tracer")

    def __init__(self, tracer: Callable[[], Tracer]) -> None:
        self._tracer = tracer
        self._pending: dict[str, ChildChanged] = {}

    def __call__(self, record: ChildChanged) -> None:
        """A child is in another state."""
        if record.state == "restarting":
            self._begin(record)
        elif record.state == "running" or record.state in _GIVEN_UP:
            began = self._pending.pop(record.path, None)
            if began is not None:
                self._make(began, record)

    def _begin(self, record: ChildChanged) -> None:
        # One that fails again while it is being restarted is still the same restart.
        self._pending.setdefault(record.path, record)
        while len(self._pending) > MAX_PENDING:
            self._pending.pop(next(iter(self._pending)), None)

    def _make(self, began: ChildChanged, ended: ChildChanged) -> None:
        error = ended.error or began.error if ended.state in _GIVEN_UP else began.error
        attributes: dict[str, str | int] = {_names.CHILD_PATH: ended.path, _names.CHILD_LIVES: ended.lives, _names.CHILD_STATE: ended.state}
        if error is not None:
            attributes[_names.ERROR_TYPE] = error_type(error)

        span = self._tracer().start_span(_names.RESTART.name, Context(), attributes=attributes, start_time=int(began.at * 1e9))
        if ended.state in _GIVEN_UP:
            span.set_status(Status(StatusCode.ERROR, f"It is {ended.state}, and was to run again"))

        span.end(int(ended.at * 1e9))
