"""
The seat: a context's place under a supervisor, over all its lives and those of the supervisor.

It makes the child spec, and is what that knows of the context: how to start a life, how to ask it to end, what to do when the supervisor has
decided what follows.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Literal

import anyio
from anyio.abc import TaskStatus
from attrs import frozen

from .._exceptions import ContextClosed, NameTaken, ProgramNotFound
from ..abc import StateBackend
from ..supervision import ChildSpec
from ._child_life import ChildLife
from ._life import SETTLE, close, close_nowait
from ._status import PAUSED, Status

if TYPE_CHECKING:
    from ..supervision import Delays, OnLimit, Restart, Shutdown
    from ._handle import Context

# Seconds a context has to stop under a supervisor, unless told.
SHUTDOWN = 30.0

OnRestart = Literal["keep", "fresh"]


@frozen(kw_only=True)
class Terms:
    """
    On which terms a context is restarted. All but the first are `ChildSpec`'s.

    Attributes:
        on_restart: ``"keep"``: the next life goes on with the state; ``"fresh"``: it begins a new one.

    """

    on_restart: OnRestart = "keep"
    restart: Restart = "permanent"
    shutdown: Shutdown | None = None
    backoff: Delays | None = None
    significant: bool = False
    max_restarts: int | None = None
    max_seconds: float | None = None
    on_limit: OnLimit = "escalate"

    def __attrs_post_init__(self) -> None:
        if self.on_restart not in ("keep", "fresh"):
            raise ValueError(f"on_restart: expected 'keep' or 'fresh', got {self.on_restart!r}")

    @property
    def time(self) -> Shutdown:
        """How long it has to stop."""
        return SHUTDOWN if self.shutdown is None else self.shutdown


def seated(context: Context, child_id: str, terms: Terms) -> ChildSpec:
    """The spec by which a supervisor keeps *context*, which nobody has started, alive under *child_id*."""
    seat = Seat(context, child_id, terms)
    spec = seat.spec()
    context._inside.seat = seat
    return spec


class Seat:
    """
    The place of one context.

    Attributes:
        lives: how often it came up.
        furnished: whether the state it has was furnished to the end.
        former: the names of variables that watches knew and that a new state may not have.
        stopping: whether its supervisor stops it.

    """

    __slots__ = ("_context", "_ending", "_taken", "_terms", "_up", "drain", "former", "furnished", "id", "lives", "stopping")

    def __init__(self, context: Context, child_id: str, terms: Terms) -> None:
        self._context = context
        self._terms = terms
        self._taken = False
        self._ending = False
        self._up: anyio.Event | None = None
        self.id: str = child_id
        self.drain: float = _drain(terms.time)
        self.lives: int = 0
        self.furnished: bool = False
        self.former: set[str] = set()
        self.stopping: bool = False

    def spec(self) -> ChildSpec:
        """What a supervisor needs to keep this context alive."""
        terms = self._terms
        return ChildSpec(
            self.id,
            self.start,
            restart=terms.restart,
            shutdown=terms.time,
            significant=terms.significant,
            backoff=terms.backoff,
            max_restarts=terms.max_restarts,
            max_seconds=terms.max_seconds,
            on_limit=terms.on_limit,
            stop=self.stop,
            on_change=self.on_change,
        )

    @property
    def temporary(self) -> bool:
        """Whether no life follows the first."""
        return self._terms.restart == "temporary"

    @property
    def is_patient(self) -> bool:
        """Whether it is given any time to stop."""
        return self._terms.time != "brutal_kill"

    @property
    def fresh(self) -> bool:
        """Whether each life begins a new state."""
        return self._terms.on_restart == "fresh"

    # --- what the supervisor calls -----------------------------------------------------------------------------------------------

    async def start(self, *, task_status: TaskStatus[Any] = anyio.TASK_STATUS_IGNORED) -> None:
        """One life, to its end. Its value is the context, the same in each."""
        inside = self._context._inside
        if self._taken:
            raise NameTaken(self.id, holder=repr(self._context))

        self._taken = True
        self.stopping = False
        try:
            if self._ending:
                await inside.closed.wait()

            inside.life = life = ChildLife(inside, self)
            await life.live(task_status)
        finally:
            self._taken = False

    def stop(self, final: bool) -> None:
        """Asks the life that it has now to end."""
        self.stopping = True
        life = self._context._inside.life
        if isinstance(life, ChildLife):
            life.ask(final)

    def on_change(self, state: str, error: BaseException | None) -> Awaitable[None] | None:
        """What the supervisor has decided. What has to be awaited for it is returned."""
        self.stopping = state in ("stopping", "overdue")
        if state == "parked":
            self._park(error)
        elif state in ("stopped", "gone"):
            return self._end(error)

        return None

    # --- what follows ------------------------------------------------------------------------------------------------------------

    def came_up(self) -> None:
        """A life is up."""
        self.lives += 1
        self._settle()

    def _settle(self) -> None:
        if self._up is not None:
            self._up.set()
            self._up = None

    def _park(self, error: BaseException | None) -> None:
        entry = self._context.variables
        if entry.status in PAUSED:
            entry.crash_error = entry.crash_error or error
            entry.park()
            self._settle()
            self._context._inside.tell_status()

    async def retire(self) -> None:
        """Ends it for good between two lives."""
        ending = self._end(None)
        if ending is not None:
            await ending

    def _end(self, error: BaseException | None) -> Awaitable[None] | None:
        inside = self._context._inside
        entry = inside.variables
        if entry.status not in PAUSED:
            return None

        entry.crash_error = entry.crash_error or error
        entry.finish(Status.CLOSED if entry.crash_error is None else Status.CRASHED)
        self._settle()
        backend = entry.uninstall()
        inside.private = None
        if isinstance(backend, StateBackend):
            self._ending = True
            return self._close(backend)

        if backend is not None:
            close_nowait(backend, inside.id, drop=not inside.keeps_session)

        inside.over()
        return None

    async def _close(self, backend: StateBackend) -> None:
        inside = self._context._inside
        try:
            with anyio.CancelScope(shield=True):
                await close(backend, inside.id, drop=not inside.keeps_session)
        finally:
            self._ending = False
            inside.over()

    # --- what others ask of it ---------------------------------------------------------------------------------------------------

    async def wait_up(self, *, at_work: bool) -> None:
        """Lets a newcomer wait while its context is between two lives. Who is *at_work* on its behalf needn't, nor who furnishes it."""
        inside = self._context._inside
        while inside.status is Status.RESTARTING or (inside.calls is not None and inside.calls.waits):
            if at_work or inside.variables.mailbox.goes_ahead():
                return

            self._up = self._up or anyio.Event()
            await self._up.wait()

    def check_registered(self, program_id: str) -> None:
        """
        Whether the state that is there now knows this program.

        Raises:
            ProgramNotFound: it belonged to a former one.

        """
        programs = self._context._inside.programs
        if programs is not None and program_id in programs.forgotten:
            raise ProgramNotFound(program_id, known=programs.view)

    def refuse_others(self) -> None:
        """
        Whether somebody else than its supervisor may start it.

        Raises:
            ContextClosed: nobody may.

        """
        status = self._context.status.value
        raise ContextClosed(self._context.id, status=status, hint=f"It is the child {self.id!r} of a supervisor, which starts it.")


def _drain(shutdown: Any) -> float:
    """Seconds for calls in flight: what is left of them, and the mailbox, needs some of the time too."""
    if not isinstance(shutdown, (int, float)):
        return 0.0

    return float(shutdown) if shutdown == math.inf else shutdown - min(SETTLE, shutdown / 4)
