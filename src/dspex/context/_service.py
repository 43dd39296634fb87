"""
Whether a context serves, and what becomes of those who come when it doesn't.

Here is what an entry keeps, who is let in, in what words others are refused, and how service ends: for good, or until the next life.
"""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio

from .._exceptions import CallCycle, ContextClosed, ContextCrashed, ContextExpired, DspexError, WrongThread, in_short
from ._behalf import in_turn
from ._bounds import Bounds
from ._mailbox import TAKEN, Mailbox, Request
from ._status import SERVING, Status

if TYPE_CHECKING:
    from ..abc import StateBackend, SyncStateBackend
    from ..telemetry import Record
    from ..telemetry._hooks import Channel
    from ..variables import Cell
    from ._probe import Probe, Sink
    from ._watch import Hub

NO_CELLS: dict[Any, Cell] = {}


class Service:
    """
    What the entry of a context keeps, and the beginning and the end of its service.

    Attributes:
        gate: how many operations may be delivered directly now; see `Entry`.
        known: the cells of the backend, if it has any.
        cells: the same for those who are delivered directly, unless somebody observes.
        eye: what looks on at operations: a probe, else the watches, else nobody.
        probe: what tells of each one, while somebody listens.
        sinks: who listens to this context alone.
        untold: what there is to tell when the owner's turn is over.
        outlives: whether another life may follow when its owner crashes.
        crash_error: what it crashed of.
        on_crash: called in the step of a crash.
        inflight: whether the caller is at work on behalf of a call in flight; nobody is, until there was one.
        taking: what to cancel to cut short what the owner has taken.

    """

    __slots__ = (
        "_budgeted",
        "_queued",
        "backend",
        "beyond",
        "bounds",
        "cells",
        "context_id",
        "context_name",
        "crash_error",
        "eye",
        "gate",
        "hub",
        "inflight",
        "known",
        "mailbox",
        "on_crash",
        "outlives",
        "probe",
        "sheltered",
        "sinks",
        "status",
        "synchronous",
        "taking",
        "thread",
        "ttl",
        "untold",
    )

    def __init__(self, context_id: str, *, mailbox_size: int, max_container: int) -> None:
        self.gate: int = 0
        self.thread: int = 0
        self.known: dict[Any, Cell] = NO_CELLS
        self.cells: dict[Any, Cell] = NO_CELLS
        self.context_id: str = context_id
        self.context_name: str = ""
        self.status: Status = Status.NEW
        self.backend: SyncStateBackend | StateBackend | None = None
        self.synchronous: bool = False
        self.beyond: Callable[[Cell, Any], int] | None = None
        self.mailbox: Mailbox = Mailbox(mailbox_size)
        self.bounds: Bounds = Bounds(self, max_container)
        self.hub: Hub | None = None
        self.eye: Probe | Hub | None = None
        self.probe: Probe | None = None
        self.sinks: tuple[Sink, ...] = ()
        self.untold: tuple[tuple[Channel, Record], ...] = ()
        self.taking: anyio.CancelScope | None = None
        self.sheltered: bool = False
        self.crash_error: BaseException | None = None
        self.on_crash: Callable[[], None] | None = None
        self.inflight: Callable[[], bool] = bool
        self.outlives: bool = False
        self.ttl: float = 0.0
        self._budgeted: int = 0
        self._queued: int = 0

    def close_gate(self) -> None:
        """No direct delivery from this step on."""
        self._budgeted -= self.gate
        self.gate = 0

    # --- who is let in -------------------------------------------------------------------------------------------------------------

    def admit(self) -> None:
        """
        Whether a newcomer is let in.

        Raises:
            ContextClosed: it isn't running (`ContextCrashed`, `ContextExpired` where that is why).
            WrongThread: it comes from another thread.

        """
        if self.status not in SERVING and not self._is_let_in():
            raise self.refusal()

        self.on_thread()

    def _is_let_in(self) -> bool:
        """Whether a newcomer is, although the context isn't serving: in some states those are who are at work on its behalf, or all others."""
        if self.status is Status.STOPPING:
            return self.inflight()

        if self.status is Status.RESTARTING:
            # What a call of the former life still asks is refused: nobody waits for its answer.
            return self.mailbox.goes_ahead() or not self.inflight()

        return self.status is Status.STARTING and self.mailbox.goes_ahead()

    def out_of_turn(self, name: str) -> None:
        """
        Whether the owner can serve *name* while the caller waits.

        Raises:
            CallCycle: the caller is what the owner waits for.

        """
        turn = in_turn.get()
        if turn is not None and turn in self.mailbox.ledger:
            owner = f"the owner of context {self.context_id!r}, serving {turn.name!r}"
            problem = f"The backend of context {self.context_id!r} can't use that context while it serves an operation of it."
            raise CallCycle(chain=[owner, f"{type(self.backend).__name__}.{turn.name}", f"{name!r} of the same context"], problem=problem)

    def on_thread(self) -> None:
        """
        Whether the caller is on the context's own thread.

        Raises:
            WrongThread: it isn't.

        """
        if get_ident() != self.thread:
            raise WrongThread(self.context_id)

    def refusal(self, request: Request | None = None) -> DspexError:
        """The error for one who comes too late, or whose request is left over."""
        if self.status in (Status.CRASHED, Status.PARKED) or (self.status is Status.RESTARTING and self.crash_error is not None):
            return self._lost(request)

        if self.status is Status.EXPIRED:
            return ContextExpired(self.context_id, ttl=self.ttl, name=self.context_name)

        hint = "Start it with 'async with' or 'await Context.start()'." if self.status is Status.NEW else ""
        status = "not started" if self.status is Status.NEW else self.status.value
        return ContextClosed(self.context_id, status=status, hint=hint, name=self.context_name)

    def _lost(self, request: Request | None) -> ContextCrashed:
        """The error for one whose request ended with its life, or may: of what the owner had taken nobody knows."""
        taken = request is not None and request.state == TAKEN
        name = request.name if request is not None else ""
        return self.crashed_of(self.crash_error, name, applied=None if taken else False)

    def crashed_of(self, error: BaseException | None, operation: str = "", *, applied: bool | None = None) -> ContextCrashed:
        """What somebody is told whose *operation* ended with a crash of *error*."""
        crashed = ContextCrashed(self.context_id, operation=operation, applied=applied, cause=in_short(error), name=self.context_name)
        crashed.__cause__ = error
        return crashed

    # --- the end -----------------------------------------------------------------------------------------------------------------

    def crash(self, error: BaseException, operation: str) -> ContextCrashed:
        """
        The backend failed in a way that is no refusal: closes the gate, wakes the owner, tells those who wait. Returns the error to raise.

        Where another life may follow, what is queued waits for it.
        """
        crashed = self.crashed_of(error, operation)
        if not self.mailbox.is_open:
            return crashed

        self.crash_error = error
        if self.outlives and self.status is not Status.STOPPING:
            self.pause()
            self.give_up_turns()
        else:
            self.finish(Status.CRASHED)

        if self.on_crash is not None:
            self.on_crash()

        return crashed

    def pause(self) -> None:
        """Ends this life's service in this step: the gate closes, the owner is woken. What is queued, and who comes now, waits for the next."""
        self.status = Status.RESTARTING
        self.close_gate()
        self.mailbox.shut()

    def give_up_turns(self) -> None:
        """What this life had in its hands, and what calls of this life asked, is answered: the next one doesn't serve it."""
        self.mailbox.give_up(lambda request: request.state == TAKEN or request.of_call, self._lost)

    def park(self) -> None:
        """No life will follow by itself: everyone who waits is told so, and so are newcomers. The state stays."""
        self.status = Status.PARKED
        self.mailbox.close(self.refusal)
        if self.hub is not None:
            self.hub.end(self.refusal())
            self.hub = None

    def finish(self, status: Status) -> None:
        """Ends service in this step: the gate closes, the owner is woken, everyone who waits is told why."""
        self.status = status
        self.close_gate()
        self.mailbox.close(self.refusal)
        if self.hub is not None:
            self.hub.end(None if status is Status.CLOSED else self.refusal())
