"""
`Context`: the handle a user holds, one for ever.

It joins the parts: the variables with their entry, the programs, the life that runs the owner, and the switch. What a part does is in the
part's own file.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

from .._exceptions import CallCycle, ContextClosed
from ..state import backend_from
from ..supervision import starting
from ..variables import Snapshot, Var
from ._claims import NAMES
from ._inside import Inside
from ._life import Life
from ._options import ContextOptions, Options, UnnamedOptions, check_options
from ._seed_names import SeedNames
from ._status import PAUSED, BackendInfo, CloseReason, ContextStatistics, Status
from ._switch import Progress
from ._variables import Variables

if TYPE_CHECKING:
    from ..bridge import Bridge
    from ..programs import Bound
    from ..supervision import Branch, ChildSpec, Delays, OnLimit, Restart, Shutdown
    from ._options import Init
    from ._seat import OnRestart

_numbers = itertools.count(1)
_NO_PROGRAMS: Mapping[str, Bound] = MappingProxyType({})


def whereis(name: str) -> Context:
    """
    The live context called *name* in this event loop run.

    Raises:
        NameNotFound: there is none, or it is still starting.

    """
    return NAMES.whereis(name)


class Context(SeedNames):
    """
    One task that owns named, typed variables and the programs that use them.

    It starts on a local backend, inside this process. When a program joins that must run outside of it, the context moves its whole state
    to a bridged backend that worker processes share, in one awaited switch. The caller's code doesn't change.

    ``async with Context() as ctx: ...`` is the structured form. `start` and `stop` may be called from any task.

    Args:
        name: for `whereis`, unique in this event loop run.
        variables: defined at the start, unless they are there already.
        programs: registered at the start, by id. Those that need the bridge make the context switch before it is up.
        init: a function of the context, plain or async, called at the end of the start.
        backend: ``"local"``, ``"bridged"``, or a backend of your own: a class or an object with the methods of `dspex.abc`.
        bridge: a shared, open `Bridge`, or the id of one that is a child of a supervisor above this context; without one the context
            opens a private one when it first needs it.
        session_id: the key of its session, kept when it stops; generated if not given, and then dropped with it.
        ttl: seconds without any use after which it expires, within a quarter more. None: never.
        existing_state: variables to begin with, exactly as they were.
        mailbox_size: requests that may wait for the owner before callers wait for room.
        max_container: the largest container that is taken, in encoded bytes.

    Raises:
        InvalidBackend: *backend* doesn't fulfil the contract; names everything that is missing.

    """

    __slots__ = ("_inside", "id", "name", "ttl", "variables")

    def __init__(  # noqa: PLR0913 - a context is one call, its options keywords
        self,
        *,
        name: str | None = None,
        variables: Iterable[Var[Any]] = (),
        programs: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        init: Init | None = None,
        backend: Any = "local",
        bridge: Bridge | str | None = None,
        session_id: str | None = None,
        ttl: float | None = None,
        existing_state: Snapshot | None = None,
        mailbox_size: int = 1024,
        max_container: int = 16 << 20,
    ) -> None:
        check_options(
            name=name,
            session_id=session_id,
            ttl=ttl,
            sizes={"mailbox_size": mailbox_size, "max_container": max_container},
            existing_state=existing_state,
            bridge=bridge,
            variables=variables,
            programs=programs,
            init=init,
        )
        pairs = cast("Mapping[str, Any]", programs).items() if isinstance(programs, Mapping) else programs
        options = Options(
            spec=backend_from(backend),
            bridge=bridge,
            given_id=session_id is not None,
            existing=existing_state,
            variables=tuple(variables),
            programs=tuple(pairs),
            init=init,
        )
        self.id: str = session_id or f"ctx_{next(_numbers)}_{os.urandom(4).hex()}"
        self.name: str | None = name
        self.ttl: float | None = ttl
        self.variables: Variables = Variables(self.id, mailbox_size=mailbox_size, max_container=max_container)
        self.variables.context_name = name or ""
        self.variables.ttl = ttl or 0.0
        self._inside = Inside(self, options)

    def __repr__(self) -> str:
        name = self.variables.context_name
        label = f"{name!r} " if name else ""
        lives = f" | lives: {self._inside.lives}" if self._inside.seat is not None else ""
        return f"<Context {label}{self.id} [{self.status} | {self._inside.kind} | operations: {self.variables.operations}{lives}]>"

    def __branch__(self) -> Branch:
        """What it shows of itself in a tree."""
        return self._inside.branch()

    # --- what it tells -----------------------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """Where it is in its life."""
        return self.variables.status

    @property
    def backend(self) -> BackendInfo:
        """What is known of the backend that serves now."""
        return self._inside.backend_info()

    @property
    def resumed(self) -> bool:
        """Whether its session was found in the store."""
        return self._inside.resumed

    @property
    def programs(self) -> Mapping[str, Bound]:
        """The registered programs, by id."""
        programs = self._inside.programs
        return programs.view if programs is not None else _NO_PROGRAMS

    def statistics(self) -> ContextStatistics:
        """Counts, read from plain integers."""
        entry = self.variables
        return ContextStatistics(
            operations=entry.operations,
            queued=entry.queued,
            pending=len(entry.mailbox.ledger),
            mailbox_size=entry.mailbox.size,
            calls=len(self._inside.calls or ()),
            watches=len(entry.hub) if entry.hub is not None else 0,
            switches=self._inside.switches,
            lives=self._inside.lives,
        )

    # --- its life ----------------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._inside.seat is not None:
            self._inside.seat.refuse_others()

        if self.status is not Status.NEW:
            raise ContextClosed(self.id, status=self.status.value, hint="A context is started once: make a new one.", name=self.name or "")

        self._inside.life = life = Life(self._inside)
        await life.begin()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        assert self._inside.life is not None
        await self._inside.life.end(kind, error, traceback)

    @starting
    async def start(cls, **options: Unpack[ContextOptions]) -> Self:  # noqa: N805 - a class method, to type checkers too
        """
        Makes a context and starts it beside the caller; `stop` ends it. Options as for the class. On a context, ``await ctx.start()``
        starts that one.

        For the REPL and for fixtures: both may be called from any task. In code that has a block to hold it, use ``async with``.
        """
        return await cls(**options)._start_beside()

    async def _start_beside(self) -> Self:
        await self._inside.start()
        return self

    @classmethod
    def child_spec(
        cls,
        name: str,
        *,
        restart: Restart = "permanent",
        shutdown: Shutdown | None = None,
        on_restart: OnRestart = "keep",
        backoff: Delays | None = None,
        significant: bool = False,
        max_restarts: int | None = None,
        max_seconds: float | None = None,
        on_limit: OnLimit = "escalate",
        **options: Unpack[UnnamedOptions],
    ) -> ChildSpec:
        """
        A context as a child of a supervisor, under its *name* there and for `whereis`. The child's value is the context: one handle for ever,
        over its restarts and those of its supervisor.

        When it crashes, what it had in hand is answered `ContextCrashed`; what is queued, and who comes meanwhile, waits for the next life, and
        is served in order. When it is stopped for good and started again, the same handle is live again, with a new state.

        Args:
            name: its name, and its id among the supervisor's children.
            restart: see `ChildSpec`, as for the rest of these.
            shutdown: seconds it has to stop; most of it is for calls in flight. 30 unless told.
            on_restart: ``"keep"``: the next life goes on with the state, if its backend has ``atomic_updates``; ``"fresh"``: each life
                begins with what the options say, before anything queued is served.
            backoff: see `ChildSpec`.
            significant: see `ChildSpec`.
            max_restarts: see `ChildSpec`.
            max_seconds: see `ChildSpec`.
            on_limit: see `ChildSpec`. Parked, it refuses everybody with `ContextCrashed` and keeps its state.
            **options: as for the class.

        Raises:
            TypeError, ValueError, InvalidBackend: an option can't be.

        """
        from ._seat import Terms, seated

        terms = Terms(
            on_restart=on_restart,
            restart=restart,
            shutdown=shutdown,
            backoff=backoff,
            significant=significant,
            max_restarts=max_restarts,
            max_seconds=max_seconds,
            on_limit=on_limit,
        )
        return seated(cls(name=name, **options), name, terms)

    async def stop(self) -> None:
        """
        Stops it, in order: newcomers are refused, calls in flight have time to end and may still use it, then are cancelled; the mailbox is
        served; watches end; the backend closes, then a bridge of its own. Idempotent: all callers wait for the one end.

        Raises:
            CallCycle: called by one of its own programs, which it would wait for.

        """
        inside = self._inside
        if inside.life is not None and inside.close_reason is None:
            self.variables.on_thread()

        self.variables.out_of_turn("stop()")
        if inside.calls is not None and (chain := inside.calls.own_chain()):
            raise CallCycle(chain=[*chain, "stop()"], problem=f"Context {self.id!r} can't be stopped by a program of its own.")

        if inside.seat is not None and inside.life is None and self.status in PAUSED:
            await inside.seat.retire()
        elif inside.life is None:
            if self.status is Status.NEW:
                self.variables.finish(Status.CLOSED)

        elif inside.host is not None:
            inside.host.release()
            inside.life.turn_back()
            await inside.host.closed.wait()
        else:
            await inside.life.stop()

    async def wait_closed(self) -> CloseReason:
        """Waits until it has ended for good, and tells how. Under a supervisor it lives over its restarts."""
        inside = self._inside
        if inside.close_reason is None and (inside.life is not None or self.status in PAUSED):
            self.variables.on_thread()
            await inside.closed.wait()

        return inside.close_reason or CloseReason(self.status)

    # --- the bridge --------------------------------------------------------------------------------------------------------------

    async def ensure_bridged(self, *, timeout: float | None = None, on_progress: Progress | None = None) -> None:
        """
        Switches to a bridged backend, unless the one that serves needs a bridge already. Idempotent.

        Args:
            timeout: seconds until the switch is given up, if it hasn't committed by then.
            on_progress: a plain function of (variables moved, variables in all or None), called now and then.

        Raises:
            NotBridgeable: names every variable whose value has no form outside this process.
            BackendSwitchError: a step failed; from its cause. The context goes on with the old backend.
            CallTimeout: *timeout* passed; the old backend goes on.

        """
        await self._inside.ensure_bridged(timeout, on_progress)

    # --- programs ----------------------------------------------------------------------------------------------------------------

    async def register_program(self, program_id: str, program: Any, *, pool: str = "default", idempotent: bool = False) -> Bound:
        """
        Registers *program* and returns it bound to this context.

        What must run outside this process makes the context switch first, and is imported in a worker before this returns. Registering an
        equal program again is fine.

        Args:
            program_id: its id in this context.
            program: a function, a class, an import path ``"module:qualname"``, a DSPy module, or a mapping with the seed's keys.
            pool: the worker pool it runs in.
            idempotent: whether it may be called again when a worker died in it.

        Raises:
            ProgramExists: a different one has this id.
            InvalidProgram: it can't be a program, or can't be brought to a worker.
            BackendSwitchError: the switch it needs failed; it is not registered, and the context goes on.
            ProgramFailed: importing it in a worker failed; with the worker's traceback.

        """
        return await self._inside.registry.register(program_id, program, pool=pool, idempotent=idempotent)

    async def unregister_program(self, program_id: str) -> None:
        """
        Forgets a program. Calls in flight go on.

        Raises:
            ProgramNotFound: none has this id.

        """
        self.variables.admit()
        self._inside.registry.unregister(program_id)

    async def call(
        self, program_id: str, inputs: Mapping[str, Any] | None = None, *, timeout: float | None = None, wait: bool = True
    ) -> Any:
        """
        Calls a registered program.

        Args:
            program_id: its id.
            inputs: its keyword arguments.
            timeout: seconds for the whole call.
            wait: False to be refused with `Overloaded` rather than to wait for a place in the pool.

        Raises:
            ProgramNotFound: none has this id.
            InvalidInputs: the inputs don't fit its signature; it was not called.
            ProgramFailed: it raised.
            WorkerDied: the worker it ran in ended.
            CallTimeout: *timeout* passed.

        """
        inside = self._inside
        if inside.seat is not None:
            await inside.seat.wait_up(at_work=self.variables.inflight())

        return await inside.registry.find(program_id).call(inputs or {}, timeout=timeout, wait=wait)

    # --- state as a whole --------------------------------------------------------------------------------------------------------

    async def export_state(self) -> Snapshot:
        """All variables with everything that is known of them, as of one moment."""
        found: Any = await self.variables.list()
        return Snapshot(session_id=self.id, variables=found)
