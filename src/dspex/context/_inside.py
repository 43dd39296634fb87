"""
What a context is on the inside: what its life, its switch and its programs need of it. `Context`, the handle, is the outside.

To the switch it is the `Ground`, to programs the `Home`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import anyio
from attrs import frozen

from .._exceptions import CallTimeout, InvalidBackend, NameTaken, SessionTaken
from ..abc import StateBackend, SyncStateBackend
from ..state import AsyncBridgedState, BackendSpec, BridgedState
from ..supervision import HostTask, Names
from ..variables import Snapshot, Var, Variable
from ._life import Life, load_the_bridge
from ._mailbox import TAKEN, WITHDRAWN, Request
from ._status import BackendInfo, BackendKind, CloseReason, Status, SwitchReport
from ._switch import SETTLE, Progress, Switch
from ._variables import Variables

if TYPE_CHECKING:
    from ..bridge import Bridge
    from ..worker.host.pool import WorkerPool
    from ._calls import Calls
    from ._handle import Context
    from ._port import ContextPort
    from ._programs import Programs

NAMES: Names[Context] = Names()
SESSIONS: Names[Context] = Names()
# Backend objects of users' own that serve a context now, by identity.
_SERVING: dict[int, Context] = {}

# Seconds that the caller of a switch, when it has gone, waits for the commit or the roll back to be over.
PATIENCE = 3 * SETTLE


@frozen
class Options:
    """
    What a context was asked to be.

    Attributes:
        spec: the backend to begin with.
        bridge: the one it was given.
        given_id: whether its session was named, and so is kept when it stops.
        existing: variables to begin with, exactly as they were.
        variables: defined at the start, unless they are there.
        programs: registered at the start.
        init: awaited at the end of the start.

    """

    spec: BackendSpec
    bridge: Bridge | None
    given_id: bool
    existing: Snapshot | None
    variables: tuple[Var[Any], ...]
    programs: tuple[tuple[str, Any], ...]
    init: Callable[[Context], Any] | None


class Inside:
    """The inside of one context."""

    __slots__ = (
        "_history",
        "_options",
        "_port",
        "_switches",
        "calls",
        "close_reason",
        "handle",
        "host",
        "id",
        "last_switch",
        "left_garbage",
        "life",
        "name",
        "programs",
        "resumed",
        "ttl",
        "variables",
    )

    def __init__(self, handle: Context, options: Options) -> None:
        self.handle: Context = handle
        self.id: str = handle.id
        self.name: str | None = handle.name
        self.ttl: float | None = handle.ttl
        self.variables: Variables = handle.variables
        self._options = options
        self.life: Life | None = None
        self.host: HostTask | None = None
        self.programs: Programs | None = None
        self.calls: Calls | None = None
        self.close_reason: CloseReason | None = None
        self.last_switch: SwitchReport | None = None
        self.left_garbage: bool = False
        self.resumed: bool = False
        self._port: ContextPort | None = None
        self._history: tuple[tuple[type, datetime], ...] = ()
        self._switches = 0

    # --- its backend -------------------------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """Where it is in its life."""
        return self.variables.status

    @property
    def spec(self) -> BackendSpec:
        """The backend it was made with."""
        return self._options.spec

    @property
    def kind(self) -> BackendKind:
        """What serves now, in a word."""
        bridged = isinstance(self.variables.backend, (BridgedState, AsyncBridgedState))
        return "bridged" if bridged else self.spec.kind

    @property
    def switches(self) -> int:
        """How many switches were committed."""
        return self._switches

    def backend_info(self) -> BackendInfo:
        """What is known of the backend that serves now."""
        serving: Any = self.variables.backend
        described: Any = self.spec if serving is None else serving
        return BackendInfo(
            kind=self.kind,
            type=self.spec.type if serving is None else serving.__class__,
            requires_bridge=bool(described.requires_bridge),
            capabilities=described.capabilities,
            switching=self.status is Status.SWITCHING,
            switches=self._switches,
            history=self._history,
            last_switch=self.last_switch,
        )

    def install(self, backend: Any) -> None:
        """Makes *backend* the one that serves. A plain step."""
        self.variables.install(backend)
        self._history = (*self._history, (type(backend), datetime.now(UTC)))

    # --- the switch --------------------------------------------------------------------------------------------------------------

    async def ensure_bridged(self, timeout: float | None = None, on_progress: Progress | None = None) -> None:
        """See `Context.ensure_bridged`."""
        _check_timeout(timeout)
        entry = self.variables
        entry.admit()
        if self.serving.requires_bridge:
            return

        if self._options.bridge is None:
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
        if self._options.bridge is not None:
            return self._options.bridge

        assert self.life is not None
        return await self.life.open_private_bridge()

    async def close_private_bridge(self) -> None:
        """Closes the private one, if there is one."""
        if self.life is not None:
            await self.life.close_private_bridge()

    def install_switched(self, backend: Any, report: SwitchReport) -> None:
        """The commit of a switch: from this step on *backend* serves."""
        self.install(backend)
        self._switches += 1
        self.last_switch = report

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
    def existing(self) -> tuple[Variable, ...] | None:
        """The variables to begin with."""
        return None if self._options.existing is None else self._options.existing.variables

    @property
    def may_resume(self) -> bool:
        """Whether a store may know its session already."""
        return self._options.given_id and self._options.bridge is not None

    @property
    def keeps_session(self) -> bool:
        """Whether its session outlives it."""
        return self._options.given_id and self.status is not Status.EXPIRED

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
        if self.name is not None:
            NAMES.reserve(self.name, self.handle)

        try:
            if self._options.given_id:
                SESSIONS.reserve(self.id, self.handle)

            self._reserve_backend()
        except NameTaken as taken:
            self.release()
            raise SessionTaken(self.id, holder=f"{taken.holder} has it") from None
        except InvalidBackend:
            self.release()
            raise

    def _reserve_backend(self) -> None:
        instance = self.spec.instance
        if instance is not None and _SERVING.setdefault(id(instance), self.handle) is not self.handle:
            holder = _SERVING[id(instance)]
            raise InvalidBackend(self.spec.name, problems=[f"this object serves {holder!r} already; give each context one of its own"])

    async def furnish(self) -> None:
        """What it is to begin with, after its backend is open: variables, programs, `init`."""
        await self.variables.ensure(*self._options.variables)
        for program_id, program in self._options.programs:
            await self.registry.register(program_id, program)

        if self._options.init is not None:
            made = self._options.init(self.handle)
            if isawaitable(made):
                await made

        if self.ttl is not None and self.life is not None:
            self.life.expire_when_idle(self.ttl)

    def publish(self) -> None:
        """It is up: `whereis` finds it."""
        if self.name is not None:
            NAMES.publish(self.name, self.handle)

    def release(self) -> None:
        """It is gone: name and session are free."""
        if self.name is not None:
            NAMES.release(self.name, self.handle)

        if self._options.given_id:
            SESSIONS.release(self.id, self.handle)

        if _SERVING.get(id(self.spec.instance)) is self.handle:
            del _SERVING[id(self.spec.instance)]

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


def _late(context_id: str, timeout: float) -> CallTimeout:
    error = CallTimeout(what=f"The switch of context {context_id!r}", seconds=timeout)
    error.applied = False
    return error


def _check_timeout(timeout: Any) -> None:
    # Programs have the same words; loading their floor for them would hold the loop.
    wrong = f"timeout: expected a number of seconds of at least 0 or None, got {timeout!r}"
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, (int, float))):
        raise TypeError(wrong)

    if timeout is not None and not timeout >= 0:
        raise ValueError(wrong)
