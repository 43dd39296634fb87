"""
`Context`: the handle a user holds, one for ever.

It joins the parts: the variables with their entry, the programs, the life that runs the owner, and the switch. What a part does is in the
part's own file.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import anyio

from .._exceptions import CallCycle, CallTimeout, ContextClosed, NameTaken, SessionTaken
from ..abc import StateBackend, SyncStateBackend
from ..state import AsyncBridgedState, BackendSpec, BridgedState, backend_from
from ..supervision import HostTask, Names
from ..variables import Snapshot, Var, Variable
from ._life import Life, load_the_bridge
from ._mailbox import TAKEN, WITHDRAWN, Request
from ._seed_names import SeedNames
from ._status import BackendInfo, BackendKind, CloseReason, ContextStatistics, Status, SwitchReport
from ._switch import SETTLE, Progress, Switch
from ._variables import Variables

if TYPE_CHECKING:
    from ..bridge import Bridge
    from ..programs import Bound
    from ..worker.host.pool import WorkerPool
    from ._calls import Calls
    from ._port import ContextPort
    from ._programs import Programs

_NAMES: Names[Context] = Names("dspex_names")
_SESSIONS: Names[Context] = Names("dspex_sessions")
_numbers = itertools.count(1)
_NO_PROGRAMS: Mapping[str, Bound] = MappingProxyType({})

# Seconds that the caller of a switch, when it has gone, waits for the commit or the roll back to be over.
PATIENCE = 3 * SETTLE

Init = Callable[["Context"], Any]


def whereis(name: str) -> Context:
    """
    The live context called *name* in this event loop run.

    Raises:
        NameNotFound: there is none, or it is still starting.

    """
    return _NAMES.whereis(name)


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
        init: an async function of the context, awaited at the end of the start.
        backend: ``"local"``, ``"bridged"``, or a backend of your own: a class or an object with the methods of `dspex.abc`.
        bridge: a shared, open `Bridge`; without one the context opens a private one when it first needs it.
        session_id: the key of its session, kept when it stops; generated if not given, and then dropped with it.
        ttl: seconds without any use after which it expires, within a quarter more. None: never.
        existing_state: variables to begin with, exactly as they were.
        mailbox_size: requests that may wait for the owner before callers wait for room.
        max_container: the largest container that is taken, in encoded bytes.

    Raises:
        InvalidBackend: *backend* doesn't fulfil the contract; names everything that is missing.

    """

    __slots__ = (
        "_bridge",
        "_existing",
        "_given_id",
        "_history",
        "_host",
        "_init",
        "_initial_programs",
        "_initial_variables",
        "_last_switch",
        "_life",
        "_port",
        "_programs",
        "_spec",
        "_switches",
        "calls",
        "close_reason",
        "id",
        "left_garbage",
        "name",
        "resumed",
        "ttl",
        "variables",
    )

    def __init__(  # noqa: PLR0913 - a context is one call, its options keywords
        self,
        *,
        name: str | None = None,
        variables: Iterable[Var[Any]] = (),
        programs: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        init: Init | None = None,
        backend: Any = "local",
        bridge: Bridge | None = None,
        session_id: str | None = None,
        ttl: float | None = None,
        existing_state: Snapshot | None = None,
        mailbox_size: int = 1024,
        max_container: int = 16 << 20,
    ) -> None:
        _check_options(name=name, session_id=session_id, ttl=ttl, mailbox_size=mailbox_size, existing_state=existing_state, bridge=bridge)
        self._spec: BackendSpec = backend_from(backend)
        self.id: str = session_id or f"ctx_{next(_numbers)}_{os.urandom(4).hex()}"
        self.name: str | None = name
        self.ttl: float | None = ttl
        self.resumed: bool = False
        self.left_garbage: bool = False
        self.variables: Variables = Variables(self.id, mailbox_size=mailbox_size, max_container=max_container)
        self.variables.ttl = ttl or 0.0
        self._given_id = session_id is not None
        self._bridge = bridge
        self._existing = existing_state
        self._initial_variables = tuple(variables)
        pairs = cast("Mapping[str, Any]", programs).items() if isinstance(programs, Mapping) else programs
        self._initial_programs: tuple[tuple[str, Any], ...] = tuple(pairs)
        self._init = init
        self._life: Life | None = None
        self._host: HostTask | None = None
        self._port: ContextPort | None = None
        self._programs: Programs | None = None
        self.calls: Calls | None = None
        self._history: tuple[tuple[type, datetime], ...] = ()
        self._switches = 0
        self._last_switch: SwitchReport | None = None
        self.close_reason: CloseReason | None = None

    def __repr__(self) -> str:
        label = f"{self.name!r} " if self.name else ""
        return f"<Context {label}{self.id} [{self.status} | {self._kind} | operations: {self.variables.operations}]>"

    # --- what it tells -----------------------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """Where it is in its life."""
        return self.variables.status

    @property
    def backend(self) -> BackendInfo:
        """What is known of the backend that serves now."""
        serving = cast(Any, self.variables.backend if self.variables.backend is not None else self._spec)
        return BackendInfo(
            kind=self._kind,
            type=serving.__class__ if serving is not self._spec else self._spec.type,
            requires_bridge=bool(serving.requires_bridge),
            capabilities=serving.capabilities,
            switching=self.status is Status.SWITCHING,
            switches=self._switches,
            history=self._history,
            last_switch=self._last_switch,
        )

    @property
    def _kind(self) -> BackendKind:
        bridged = isinstance(self.variables.backend, (BridgedState, AsyncBridgedState))
        return "bridged" if bridged else self._spec.kind

    @property
    def programs(self) -> Mapping[str, Bound]:
        """The registered programs, by id."""
        return self._programs.view if self._programs is not None else _NO_PROGRAMS

    def statistics(self) -> ContextStatistics:
        """Counts, read from plain integers."""
        entry = self.variables
        return ContextStatistics(
            operations=entry.operations,
            queued=entry.queued,
            pending=len(entry.mailbox.ledger),
            mailbox_size=entry.mailbox.size,
            calls=len(self.calls) if self.calls is not None else 0,
            watches=len(entry.hub) if entry.hub is not None else 0,
            switches=self._switches,
        )

    # --- its life ----------------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self.status is not Status.NEW:
            raise ContextClosed(self.id, status=self.status.value, hint="A context is started once: make a new one.")

        self._life = Life(self)
        await self._life.begin()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        assert self._life is not None
        await self._life.end(kind, error, traceback)

    @classmethod
    async def start(cls, **options: Any) -> Self:
        """
        Makes a context and starts it beside the caller; `stop` ends it. Options as for the class.

        For the REPL and for fixtures: both may be called from any task. In code that has a block to hold it, use ``async with``.
        """
        context = cls(**options)
        context._host = host = HostTask(context, f"dspex context {context.name or context.id}")
        await host.open()
        return context

    async def stop(self) -> None:
        """
        Stops it, in order: newcomers are refused, calls in flight have time to end and may still use it, then are cancelled; the mailbox is
        served; watches end; the backend closes, then a bridge of its own. Idempotent: all callers wait for the one end.

        Raises:
            CallCycle: called by one of its own programs, which it would wait for.

        """
        if self.calls is not None and (chain := self.calls.own_chain()):
            raise CallCycle(chain=[*chain, "stop()"], problem=f"Context {self.id!r} can't be stopped by a program of its own.")

        if self._life is None:
            if self.status is Status.NEW:
                self.variables.finish(Status.CLOSED)

            return

        if self._host is not None:
            self._host.release()
            self._life.turn_back()
            await self._host.closed.wait()
        else:
            await self._life.stop()

    async def wait_closed(self) -> CloseReason:
        """Waits until it has ended, and tells how."""
        if self._life is not None:
            await self._life.closed.wait()

        return self.close_reason or CloseReason(self.status)

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
        _check_timeout(timeout)
        entry = self.variables
        entry.admit()
        if self.serving.requires_bridge:
            return

        if self._bridge is None:
            await load_the_bridge()
            entry.admit()

        request = Request("run", (self._switch, on_progress), deadline=anyio.current_effective_deadline())
        entry.close_gate()
        try:
            with anyio.move_on_after(timeout) as patience:
                await entry.mailbox.ask(request)
        except BaseException:
            await self._turn_back(request)
            raise
        finally:
            entry.open_gate()

        if patience.cancelled_caught:
            await self._turn_back(request)
            if timeout is not None and not request.result and request.error is None:
                raise _late(self.id, timeout)

        if request.error is not None:
            raise request.error

        if request.state == WITHDRAWN:
            await entry.out_of_time("ensure_bridged")

    async def _turn_back(self, request: Request) -> None:
        """Nobody waits for this switch any more: it rolls back unless it has committed. Returns when that is settled."""
        if request.state == TAKEN:
            request.answered = anyio.Event()
            if request.scope is not None:
                request.scope.cancel()

            with anyio.move_on_after(PATIENCE, shield=True):
                await request.answered.wait()

    async def _switch(self, request: Request, on_progress: Progress | None) -> bool:
        """In the owner's turn. Whether the context is bridged now."""
        entry = self.variables
        if self.serving.requires_bridge:
            return True

        entry.status = Status.SWITCHING if entry.status is Status.RUNNING else entry.status
        try:
            await Switch(self, on_progress).run(request)
            return self.serving.requires_bridge
        finally:
            if entry.status is Status.SWITCHING:
                entry.status = Status.RUNNING

    @property
    def serving(self) -> StateBackend | SyncStateBackend:
        """The backend that serves now."""
        assert self.variables.backend is not None
        return self.variables.backend

    async def open_bridge(self) -> Bridge:
        """The bridge given, or a private one whose tasks live in this life's group."""
        if self._bridge is not None:
            return self._bridge

        assert self._life is not None
        return await self._life.open_private_bridge()

    async def close_private_bridge(self) -> None:
        """Closes the private one, if there is one."""
        if self._life is not None:
            await self._life.close_private_bridge()

    def install_switched(self, backend: Any, report: SwitchReport) -> None:
        """The commit of a switch: from this step on *backend* serves."""
        self.install(backend)
        self._switches += 1
        self._last_switch = report

    def install(self, backend: Any) -> None:
        """Makes *backend* the one that serves. A plain step."""
        self.variables.install(backend)
        self._history = (*self._history, (type(backend), datetime.now(UTC)))

    # --- programs ----------------------------------------------------------------------------------------------------------------

    async def register_program(
        self, program_id: str, program: Any, *, pool: str = "default", idempotent: bool = False
    ) -> Bound:
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
        return await self._registry().register(program_id, program, pool=pool, idempotent=idempotent)

    async def unregister_program(self, program_id: str) -> None:
        """
        Forgets a program. Calls in flight go on.

        Raises:
            ProgramNotFound: none has this id.

        """
        self.variables.admit()
        self._registry().unregister(program_id)

    async def call(self, program_id: str, inputs: Mapping[str, Any] | None = None, *, timeout: float | None = None, wait: bool = True) -> Any:
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
        return await self._registry().find(program_id).call(inputs or {}, timeout=timeout, wait=wait)

    def _registry(self) -> Programs:
        if self._programs is None:
            # Loaded with the first program, and so are the other two below: a context without any has no use for that floor.
            from ._programs import Programs

            self._programs = Programs(self)

        return self._programs

    # what programs need of their home

    @property
    def port(self) -> ContextPort:
        """Where the door delivers what a worker asks of this context."""
        if self._port is None:
            from ._port import ContextPort

            self._port = ContextPort(self.variables)

        return self._port

    async def operate(self, name: str, /, *args: Any) -> Any:
        """One operation through the entry, for a program that runs in this process."""
        if name in ("list", "update"):
            return await getattr(self.variables, name)(*args[:2], **({"metadata": args[2]} if len(args) > 2 else {}))

        return await self.variables.operate(name, *args)

    async def pool(self, name: str, /) -> WorkerPool:
        """The worker pool *name* of the open bridge."""
        return (await self.open_bridge()).pool(name)

    def enter_call(self, program_id: str, /) -> AbstractAsyncContextManager[object]:
        """Counts a call as being in flight while the block runs."""
        if self.calls is None:
            from ._calls import Calls

            self.calls = Calls(self.variables)
            self.variables.inflight = self.calls.is_inside

        return self.calls.enter()

    # --- what its life needs -----------------------------------------------------------------------------------------------------

    @property
    def spec(self) -> BackendSpec:
        """The backend it was made with."""
        return self._spec

    @property
    def existing(self) -> tuple[Variable, ...] | None:
        """The variables to begin with."""
        return None if self._existing is None else self._existing.variables

    @property
    def may_resume(self) -> bool:
        """Whether a store may know its session already."""
        return self._given_id and self._bridge is not None

    @property
    def keeps_session(self) -> bool:
        """Whether its session outlives it."""
        return self._given_id and self.status is not Status.EXPIRED

    @property
    def uses(self) -> int:
        """A number that changes with every use."""
        return self.variables.operations + (self._programs.begun if self._programs is not None else 0)

    @property
    def in_use(self) -> bool:
        """Whether something goes on right now."""
        return bool(self.calls) or bool(self.variables.mailbox.ledger)

    def reserve(self) -> None:
        """Takes its name and its session, not yet visible."""
        if self.name is not None:
            _NAMES.reserve(self.name, self)

        if self._given_id:
            try:
                _SESSIONS.reserve(self.id, self)
            except NameTaken as taken:
                self.release()
                raise SessionTaken(self.id, holder=f"{taken.holder} has it") from None

    async def furnish(self) -> None:
        """What it is to begin with, after its backend is open: variables, programs, `init`."""
        await self.variables.ensure(*self._initial_variables)
        for program_id, program in self._initial_programs:
            await self.register_program(program_id, program)

        if self._init is not None:
            await self._init(self)

        if self.ttl is not None and self._life is not None:
            self._life.expire_when_idle(self.ttl)

    def publish(self) -> None:
        """It is up: `whereis` finds it."""
        if self.name is not None:
            _NAMES.publish(self.name, self)

    def release(self) -> None:
        """It is gone: name and session are free."""
        if self.name is not None:
            _NAMES.release(self.name, self)

        if self._given_id:
            _SESSIONS.release(self.id, self)

    def release_host(self) -> None:
        """Lets the task behind `start` leave."""
        if self._host is not None:
            self._host.release()

    # --- state as a whole --------------------------------------------------------------------------------------------------------

    async def export_state(self) -> Snapshot:
        """All variables with everything that is known of them, as of one moment."""
        found: Any = await self.variables.list()
        return Snapshot(session_id=self.id, variables=found)


def _late(context_id: str, timeout: float) -> CallTimeout:
    error = CallTimeout(what=f"The switch of context {context_id!r}", seconds=timeout)
    error.applied = False
    return error


def _check_timeout(timeout: float | None) -> None:
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"timeout: expected a number of seconds of at least 0 or None, got {timeout!r}")


def _check_options(*, name: Any, session_id: Any, ttl: Any, mailbox_size: Any, existing_state: Any, bridge: Any) -> None:
    for label, text in (("name", name), ("session_id", session_id)):
        if text is not None and (not isinstance(text, str) or not text):
            raise TypeError(f"{label}: expected a non-empty str or None, got {text!r}")

    if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, (int, float)) or not 0 < ttl < float("inf")):
        raise ValueError(f"ttl: expected a positive, finite number of seconds or None, got {ttl!r}")

    if isinstance(mailbox_size, bool) or not isinstance(mailbox_size, int) or mailbox_size < 1:
        raise ValueError(f"mailbox_size: expected an int of at least 1, got {mailbox_size!r}")

    if existing_state is not None and not isinstance(existing_state, Snapshot):
        raise TypeError(f"existing_state: expected a Snapshot (see Snapshot.from_json) or None, got {type(existing_state).__name__}")

    if bridge is not None and not hasattr(bridge, "store"):
        raise TypeError(f"bridge: expected an open Bridge or None, got {type(bridge).__name__}")
