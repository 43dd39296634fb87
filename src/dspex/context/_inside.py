"""
What a context is on the inside: what its life, its switch and its programs need of it. `Context`, the handle, is the outside.

To the switch it is the `Ground`, to programs the `Home`.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import anyio

from .._exceptions import DspexError
from ..supervision import Branch, HostTask
from ..telemetry._hooks import CONTEXT_CHANGED
from ..telemetry._live import CONTEXTS
from ..variables import Variable
from ._behalf import in_call
from ._bridging import Bridging
from ._claims import claim, give_back, show
from ._options import Options
from ._status import CloseReason, Status

if TYPE_CHECKING:
    from ..programs import Bound
    from ..worker.host.pool import WorkerPool
    from ._calls import Calls
    from ._handle import Context
    from ._port import ContextPort
    from ._programs import Programs
    from ._seat import Seat


class Inside(Bridging):
    """
    The inside of one context.

    Attributes:
        seat: its place under a supervisor, if it has one: then its life may end and another follow.
        told: the last status that there was to tell of, whether anybody listened or not.

    """

    __slots__ = (
        "_closed",
        "calls",
        "close_reason",
        "handle",
        "host",
        "programs",
        "resumed",
        "seat",
        "told",
    )

    def __init__(self, handle: Context, options: Options) -> None:
        super().__init__(handle, options)
        self.handle: Context = handle
        self.seat: Seat | None = None
        self.host: HostTask | None = None
        self.programs: Programs | None = None
        self.calls: Calls | None = None
        self.close_reason: CloseReason | None = None
        self.resumed: bool = False
        self.told: Status | None = None
        self._closed: anyio.Event | None = None

    @property
    def lives(self) -> int:
        """How often its owner came up."""
        if self.seat is not None:
            return self.seat.lives

        return int(self.life is not None and self.life.up)

    def branch(self) -> Branch:
        """What it shows of itself in a tree."""
        facts: dict[str, Any] = {"backend": self.kind}
        table: Any = getattr(self.variables.backend, "table", None)
        if table is not None:
            facts["variables"] = len(table)

        if self.programs is not None and self.programs.view:
            facts["programs"] = len(self.programs.view)

        draw: Any = getattr(self.private, "__branch__", None)
        below = () if draw is None else (draw(),)
        return Branch(self.name or self.id, "context", str(self.status), facts, below)

    # --- what programs need of their home ----------------------------------------------------------------------------------------

    @property
    def registry(self) -> Programs:
        """The programs. Loaded with the first one, and so is what the next two bring: a context without any has no use for that floor."""
        if self.programs is None:
            from ._programs import Programs

            self.programs = Programs(self)

        return self.programs

    @property
    def port(self) -> ContextPort:
        """Where the door delivers what a worker asks of this context."""
        return self.begin_calls().port

    def program(self, program_id: str, /) -> Bound:
        """The program of this id, for another one that calls it."""
        return self.registry.find(program_id)

    async def operate(self, name: str, /, *args: Any) -> Any:
        """One operation through the entry, for a program that runs in this process."""
        if (calls := in_call.get()) is not None:
            calls.check_current(self.variables)

        if name in ("list", "update"):
            return await getattr(self.variables, name)(*args[:2], **({"metadata": args[2]} if len(args) > 2 else {}))

        return await self.variables.operate(name, *args)

    async def pool(self, name: str, /) -> WorkerPool:
        """The worker pool *name* of the open bridge."""
        return (await self.open_bridge()).pool(name)

    def enter_call(self, program_id: str, /) -> AbstractAsyncContextManager[object]:
        """Counts a call as being in flight while the block runs."""
        return self.begin_calls().enter(self, program_id)

    def begin_calls(self) -> Calls:
        """The calls of this life."""
        if self.calls is None:
            from ._calls import Calls

            self.calls = Calls(self.variables)
            self.variables.inflight = self.calls.is_inside

        return self.calls

    def end_calls(self, error: DspexError) -> None:
        """The calls of this life are cancelled and told *error*. A plain step."""
        if self.calls is not None:
            self.calls.cut(error)

    # --- what its life needs -----------------------------------------------------------------------------------------------------

    @property
    def existing(self) -> tuple[Variable, ...] | None:
        """The variables to begin with."""
        return None if self.options.existing is None else self.options.existing.variables

    @property
    def may_resume(self) -> bool:
        """Whether a store may know its session already."""
        return self.options.given_id and self.bridge is not None

    @property
    def keeps_session(self) -> bool:
        """Whether its session outlives it."""
        return self.options.given_id and self.status is not Status.EXPIRED

    @property
    def uses(self) -> int:
        """A number that changes with every use."""
        return self.variables.operations + (self.programs.begun if self.programs is not None else 0)

    @property
    def in_use(self) -> bool:
        """Whether something goes on right now."""
        return bool(self.calls) or bool(self.variables.mailbox.ledger)

    def reserve(self) -> None:
        """Takes its name and its session, not yet visible."""
        claim(self.handle, session=self.options.given_id, backend=self.spec.instance)
        CONTEXTS.enter(self)

    async def furnish(self) -> None:
        """What it is to begin with, after its backend is open: variables, programs, `init`."""
        await self.variables.ensure(*self.options.variables)
        for program_id, program in self.options.programs:
            await self.registry.register(program_id, program)

        if self.options.init is not None:
            made = self.options.init(self.handle)
            if isawaitable(made):
                await made

    def publish(self) -> None:
        """It is up: `whereis` finds it."""
        show(self.handle)
        self.tell_status()

    # --- its end -----------------------------------------------------------------------------------------------------------------

    @property
    def closed(self) -> anyio.Event:
        """Set once it has ended for good, and everything of it is gone."""
        if self._closed is None:
            self._closed = anyio.Event()
            if self.close_reason is not None:
                self._closed.set()

        return self._closed

    def over(self) -> None:
        """It has ended for good: name and session are free, who waits for the end is told."""
        give_back(self.handle, backend=self.spec.instance)
        CONTEXTS.leave(self)
        self.close_reason = CloseReason(self.status, self.variables.crash_error)
        if self._closed is not None:
            self._closed.set()

        self.tell_status()

    def tell_status(self) -> None:
        """Tells those who listen where it is in its life, if that is news."""
        if self.variables.untold:
            self.variables.tell_untold()

        if self.status is self.told:
            return

        self.told = self.status
        if not CONTEXT_CHANGED.heard:
            return

        from ..telemetry import ContextChanged

        told = ContextChanged(
            context_id=self.id,
            context_name=self.name,
            status=self.status.value,
            backend=self.kind,
            error=self.variables.crash_error,
            lives=self.lives,
        )
        CONTEXT_CHANGED.tell(told)

    def counts(self) -> tuple[int, int]:
        """Operations delivered directly so far, and those that were queued."""
        entry = self.variables
        return entry.operations - entry.queued, entry.queued

    def forget(self) -> None:
        """What was true of the former state isn't of the next."""
        super().forget()
        self.resumed = False
        if self.programs is not None:
            self.programs.reset()

    def renew(self) -> None:
        """One that had ended for good begins anew, as if it never had."""
        self.forget()
        self.close_reason = None
        self._closed = None
        self.variables.crash_error = None
        self.variables.hub = None
        self.variables.outlives = False

    async def start(self) -> Context:
        """Starts it in a task beside the caller's."""
        host = HostTask(self.handle, f"dspex context {self.name or self.id}")
        if self.host is None:
            self.host = host

        await host.open()
        return self.handle

    def release_host(self) -> None:
        """Lets the task behind `start` leave."""
        if self.host is not None:
            self.host.release()
