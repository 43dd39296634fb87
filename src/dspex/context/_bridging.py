"""
How a context comes to its bridge, and its state to a bridged backend: to the switch, this is the `Ground`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio

from .._exceptions import BackendInitError, CallTimeout
from ..abc import StateBackend, SyncStateBackend
from ..state import AsyncBridgedState, BackendSpec, BridgedState
from ..supervision import current_path, sibling
from ..telemetry._tracing import TRACING
from ._life import Life, load_the_bridge
from ._mailbox import TAKEN, WITHDRAWN, Request
from ._options import Options
from ._status import BackendInfo, BackendKind, Status, SwitchReport
from ._switch import SETTLE, Progress, Switch
from ._switch_told import end_trace, tell_switch
from ._variables import Variables

if TYPE_CHECKING:
    from ..bridge import Bridge
    from ..telemetry._tracing import SwitchTrace
    from ._handle import Context

# Seconds that the caller of a switch, when it has gone, waits for the commit or the roll back to be over.
PATIENCE = 3 * SETTLE


class Bridging:
    """
    The backend of one context, and where its bridge comes from.

    Attributes:
        bridge: the one it was given. None: it opens a private one when it first needs it.
        private: that one. Its store lives as long as the state, its workers as long as a life.
        lender: what opens one for several contexts, when one of them first needs it; then it is as if given.
        life: the one it has now, or had last.

    """

    __slots__ = (
        "_history",
        "bridge",
        "id",
        "last_switch",
        "left_garbage",
        "lender",
        "life",
        "name",
        "options",
        "private",
        "switches",
        "ttl",
        "variables",
    )

    def __init__(self, handle: Context, options: Options) -> None:
        self.id: str = handle.id
        self.name: str | None = handle.name
        self.ttl: float | None = handle.ttl
        self.variables: Variables = handle.variables
        self.options: Options = options
        self.bridge: Bridge | None = None if isinstance(options.bridge, str) else options.bridge
        self.private: Bridge | None = None
        self.lender: Callable[[], Bridge] | None = None
        self.life: Life | None = None
        self.last_switch: SwitchReport | None = None
        self.left_garbage: bool = False
        self._history: tuple[tuple[type, datetime], ...] = ()
        self.switches: int = 0

    def call_it(self, name: str) -> None:
        """What errors, records and tasks call it, which `whereis` doesn't know."""
        self.name = self.variables.context_name = name

    # --- its backend -------------------------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """Where it is in its life."""
        return self.variables.status

    @property
    def spec(self) -> BackendSpec:
        """The backend it was made with."""
        return self.options.spec

    @property
    def kind(self) -> BackendKind:
        """What serves now, in a word."""
        bridged = isinstance(self.variables.backend, (BridgedState, AsyncBridgedState))
        return "bridged" if bridged else self.spec.kind

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
            switches=self.switches,
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
        entry.out_of_turn("ensure_bridged")
        if entry.status is not Status.RESTARTING and self.serving.requires_bridge:
            return

        if self.bridge is None:
            await load_the_bridge()
            entry.admit()

        tracer = TRACING.tracer
        if tracer is None:
            await self._ask_for_switch(timeout, on_progress, [])
        else:
            await self._traced(tracer.switch(self.id), timeout, on_progress)

    async def _traced(self, trace: SwitchTrace | None, timeout: float | None, on_progress: Progress | None) -> None:
        attempt: list[Switch] = []
        failure: BaseException | None = None
        try:
            await self._ask_for_switch(timeout, on_progress, attempt)
        except BaseException as error:
            failure = error
            raise
        finally:
            if trace is not None:
                end_trace(trace, attempt[0] if attempt else None, failure)

    async def _ask_for_switch(self, timeout: float | None, on_progress: Progress | None, attempt: list[Switch]) -> None:
        """Has the owner switch. *attempt* gets what it makes, if it comes to that."""
        entry = self.variables
        request = Request("run", (self._switch, on_progress, attempt), deadline=anyio.current_effective_deadline())
        request.of_call = entry.inflight()
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

    async def _switch(self, request: Request, on_progress: Progress | None, attempt: list[Switch]) -> bool:
        """In the owner's turn. Whether the context is bridged now."""
        entry = self.variables
        if self.serving.requires_bridge:
            return True

        entry.status = Status.SWITCHING if entry.status is Status.RUNNING else entry.status
        switch = Switch(self, on_progress)
        attempt.append(switch)
        try:
            await switch.run(request)
            return self.serving.requires_bridge
        finally:
            if entry.status is Status.SWITCHING:
                entry.status = Status.RUNNING

            tell_switch(self, switch)

    @property
    def serving(self) -> StateBackend | SyncStateBackend:
        """The backend that serves now."""
        assert self.variables.backend is not None
        return self.variables.backend

    async def open_bridge(self) -> Bridge:
        """The bridge given, or a private one whose tasks live in this life's group."""
        if self.bridge is None and self.lender is not None:
            self.bridge = self.lender()

        if self.bridge is not None:
            return self.bridge

        assert self.life is not None
        return await self.life.open_private_bridge()

    async def close_private_bridge(self) -> None:
        """Closes the private one, if there is one, and forgets it with all that its store has."""
        if self.life is not None:
            await self.life.stop_private_bridge()

        self.private = None

    def resolve_bridge(self) -> None:
        """
        Finds the bridge that was given by its name.

        Raises:
            ChildNotFound: no supervisor above has such a child that runs; says which there are.
            BackendInitError: there is no supervisor above, or that child is no bridge.

        """
        name = self.options.bridge
        if not isinstance(name, str):
            return

        if not current_path():
            problem = f"bridge={name!r} names a child of a supervisor above it, and there is none. Give it the Bridge itself."
            raise BackendInitError(self.spec.name, problem=problem)

        found = sibling(name)
        if not hasattr(found, "store"):
            problem = f"bridge={name!r} names a child that is no Bridge: its value is {found!r}."
            raise BackendInitError(self.spec.name, problem=problem)

        self.bridge = found

    def install_switched(self, backend: Any, report: SwitchReport) -> None:
        """The commit of a switch: from this step on *backend* serves."""
        self.install(backend)
        self.switches += 1
        self.last_switch = report

    def forget(self) -> None:
        """What was true of the former state isn't of the next."""
        self._history = ()
        self.switches = 0
        self.last_switch = None
        self.private = None


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
