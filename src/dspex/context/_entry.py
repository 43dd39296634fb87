"""
The way in: everybody's operations come through here, and only the owner's turn touches the state.

An operation is delivered **directly**, in the caller's own step, while the gate is open; else it goes through the mailbox to the owner.

*The gate* is one integer, tested once. Above zero it is open, and says how many more operations may be delivered directly before one has
to let other tasks run. At zero or below nobody gets in directly: the context isn't running, or something is pending (queued, waiting for room, in
service), or the budget is spent. The slow path finds out which. Whoever begins a switch, a crash, a stop or an expiry closes it in that same step.

The yield of a spent budget comes before a delivery, never after it, and the gate is tested again after the yield: a caller that was
cancelled in it has done nothing. A direct delivery itself is no checkpoint.

*Order.* While the ledger of the mailbox holds anything the gate is closed, so a direct delivery can't overtake a queued operation.
"""

from __future__ import annotations

import math
from _thread import get_ident
from collections.abc import Callable, Sequence
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import checkpoint

from .._exceptions import CallTimeout, DspexError
from ..abc import SyncStateBackend
from ..state import AsyncBridgedState, BridgedState, LocalState
from ..worker.host.port import GateClosed
from ._behalf import in_turn
from ._bounds import WRITTEN
from ._mailbox import QUEUED, TAKEN, WITHDRAWN, Request
from ._observed import Observed
from ._service import NO_CELLS
from ._status import Status

if TYPE_CHECKING:
    from ..variables import Cell
    from ._probe import Probe
    from ._watch import Hub

# Direct deliveries between two yields: at 0.2 us each they hold the loop for a fifth of a millisecond.
BUDGET = 1000
# Served in one go by the owner before it lets others run.
BURST = 64


class Refused(Exception):
    """Internal: carries what a caller's own function raised past the backend, which must not take it for its own failure."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class Entry(Observed):
    """The gate, direct delivery, and the way through the mailbox, of one context."""

    __slots__ = ()
    gate: int
    synchronous: bool
    known: dict[Any, Cell]
    cells: dict[Any, Cell]
    beyond: Callable[[Cell, Any], int] | None
    taking: anyio.CancelScope | None
    sheltered: bool

    # --- the gate ----------------------------------------------------------------------------------------------------------------

    def open_gate(self) -> None:
        """Opens it, if the context runs on a synchronous backend and nothing is pending."""
        if self.gate == 0 and self.status is Status.RUNNING and self.synchronous and not self.mailbox.ledger:
            self.gate = BUDGET
            self._budgeted += BUDGET

    def reopen(self) -> bool:
        """Opens it if it can be; whether it is open."""
        self.open_gate()
        return self.gate > 0

    def install(self, backend: Any) -> None:
        """Makes *backend* the one that serves. A plain step."""
        kind = backend.__class__
        self.backend = backend
        self.synchronous = isinstance(backend, SyncStateBackend)
        # A class derived from ours may do more in its methods than ours do: it is asked by them.
        self.known = backend.cells if kind in (LocalState, BridgedState, AsyncBridgedState) else NO_CELLS
        self.arrange()

    def uninstall(self) -> Any:
        """No backend from this step on. Returns the one there was."""
        backend, self.backend = self.backend, None
        self.synchronous = False
        self.known = NO_CELLS
        self.arrange()
        return backend

    def arrange(self) -> None:
        """What a direct `set` has to do beyond writing the cell: nothing on a local backend that nobody watches. And who looks on."""
        write = self.backend.write if type(self.backend) is BridgedState else None
        self.beyond = None if write is None and self.hub is None else self._beyond
        self.look()

    def _beyond(self, cell: Cell, value: Any) -> int:
        """A direct `set` of an admitted value, where the backend persists it, or somebody watches."""
        backend = self.backend
        if type(backend) is not BridgedState:
            version = write_in_place(cell, value)
        else:
            try:
                version = backend.write(cell, value)
            except DspexError:
                raise
            except Exception as error:
                raise self.crash(error, "set") from error

        if self.hub is not None:
            self.hub.mark("set", cell.name, version)

        return version

    @property
    def operations(self) -> int:
        """Operations taken so far: the budget spent, and what the owner served."""
        return self._budgeted - self.gate + self._queued

    @property
    def queued(self) -> int:
        """Of these, the ones that went through the mailbox."""
        return self._queued

    # --- operations --------------------------------------------------------------------------------------------------------------

    async def operate(self, name: str, *args: Any) -> Any:
        """
        One operation of the backend, by its method's name: directly if the gate is open, else through the mailbox.

        Raises:
            ContextClosed: the context isn't running.
            ContextCrashed: the backend failed; see its `applied`.
            WrongThread: the caller is not on the context's thread.

        """
        if self.gate == 0:
            await self._wait_for_budget()

        if self.gate > 0 and get_ident() == self.thread:
            self.gate -= 1
            return self.deliver(name, args)

        return await self.enqueue(name, *args)

    def operate_nowait(self, name: str, args: Sequence[Any]) -> Any:
        """
        The same for a caller that may not wait, such as the reader of a worker's socket: its own reads are its yields.

        Raises:
            GateClosed: it would have to queue.

        """
        if self.gate <= 0 and not self.reopen():
            raise GateClosed

        self.gate -= 1
        return self.deliver(name, args)

    async def enqueue(self, name: str, *args: Any) -> Any:
        """An operation through the mailbox, in order with all others. Cancelled or out of time before the owner takes it, it never happens."""
        self.admit()
        self.out_of_turn(name)
        request = Request(name, args, deadline=anyio.current_effective_deadline())
        request.of_call = self.inflight()
        if self.probe is not None:
            request.since = perf_counter()

        self.close_gate()
        try:
            await self.mailbox.ask(request)
        finally:
            if request.state == WITHDRAWN:
                self.open_gate()

        if request.state == WITHDRAWN:
            await self.out_of_time(name)

        if request.error is not None:
            raise request.error

        # The answer of a walk may be large, and letting go of it takes time: it goes with its caller, and isn't kept by the owner for the next one.
        result, request.result = request.result, None
        return result

    def accept(self, request: Request, *, ahead: bool = False) -> None:
        """Takes in a request whose answer goes to its callback."""
        if self.probe is not None:
            request.since = perf_counter()

        self.mailbox.accept(request, ahead=ahead)
        self.close_gate()

    # --- the owner's turn --------------------------------------------------------------------------------------------------------

    def deliver(self, name: str, args: Sequence[Any]) -> Any:
        """Runs the operation *name* of a synchronous backend: measured, observed by the watches, and what is no refusal is a crash."""
        eye = self.eye
        try:
            if name in WRITTEN:
                self.bounds.check(name, args)

            if eye is None:
                return getattr(self.backend, name)(*args)

            return eye.observe(name, args, getattr(self.backend, name))
        except DspexError as error:
            self._note_failure(eye, name, args, error)
            raise
        except Refused as refused:
            self._note_failure(eye, name, args, refused.error)
            raise refused.error from None
        except Exception as error:
            crashed = self.crash(error, name)
            self._note_failure(eye, name, args, error)
            raise crashed from error

    def _note_failure(self, eye: Probe | Hub | None, name: str, args: Sequence[Any], error: BaseException) -> None:
        # Of an operation that began before anybody listened nothing is told, however it ends.
        if self.probe is not None and self.probe is eye:
            self.probe.failed(name, args, error)

    async def serve_sheltered(self) -> None:
        """`serve` under one shield, for a backend each of whose operations would need one. `taking` ends it."""
        with anyio.CancelScope(shield=True) as self.taking:
            self.sheltered = True
            try:
                await self.serve()
            finally:
                self.sheltered = False

    async def serve(self) -> None:
        """The owner: serves the mailbox, in order, until it is closed."""
        try:
            while True:
                request = await self.mailbox.receive()
                if not self.mailbox.is_open:
                    # It was handed over in the very step in which this life ended: it is still in the ledger, for the next.
                    return

                await self._serve(request)
                for _ in range(BURST):
                    following = self.mailbox.receive_nowait()
                    if following is None:
                        break

                    await self._serve(following)
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            return

    async def _serve(self, request: Request) -> None:
        if request.state != QUEUED:
            return

        if request.deadline < math.inf and request.deadline <= anyio.current_time():
            self.mailbox.withdraw(request)
            self.open_gate()
            return

        request.state = TAKEN
        self._queued += 1
        probe = self.probe
        if probe is not None:
            probe.begin_turn(request)

        try:
            result = await self._take(request)
        except DspexError as error:
            self.mailbox.answer(request, None, error)
        except Refused as refused:
            self.mailbox.answer(request, None, refused.error)
        except Exception as error:  # noqa: BLE001 - a crash is any exception out of a backend that isn't a refusal
            self.crash(error, request.name)
        else:
            self.mailbox.answer(request, result)

        self.open_gate()
        if probe is not None:
            probe.end_turn()

        if self.untold:
            self.tell_untold()

    async def _take(self, request: Request) -> Any:
        if self.synchronous and request.name != "run":
            return self.deliver(request.name, request.args)

        if self.sheltered:
            return await self._run(request)

        # What was taken completes: a cancelled outer scope reaches the owner only while it waits for the next request.
        with anyio.CancelScope(shield=True) as self.taking:
            return await self._run(request)

    async def _run(self, request: Request) -> Any:
        in_turn.set(request)
        if request.name == "run":
            function, *args = request.args
            return await function(request, *args)

        return await self.deliver_async(request.name, request.args)

    async def deliver_async(self, name: str, args: tuple[Any, ...]) -> Any:
        """The same on any other backend; whoever awaits it tells a crash from a refusal."""
        eye = self.eye
        try:
            if name in WRITTEN:
                self.bounds.check(name, args)

            if eye is None:
                return await getattr(self.backend, name)(*args)

            return await eye.observe_async(name, args, getattr(self.backend, name))
        except Refused as refused:
            self._note_failure(eye, name, args, refused.error)
            raise
        except Exception as error:
            self._note_failure(eye, name, args, error)
            raise

    async def _wait_for_budget(self) -> None:
        if self.synchronous and self.status is Status.RUNNING and not self.mailbox.ledger and get_ident() == self.thread:
            await checkpoint()
            self.open_gate()

    async def out_of_time(self, name: str) -> None:
        """Waits for the cancellation of a caller that is too late. Raises `CallTimeout`, with nothing applied, where none comes."""
        # The owner saw the caller's deadline pass before the caller's own scope did. The scope's cancellation is due now.
        await anyio.sleep(0.05)
        raise _late(name)


def _late(name: str) -> CallTimeout:
    error = CallTimeout(what=f"The operation {name!r}", seconds=0.0)
    error.applied = False
    return error


def write_in_place(cell: Cell, value: Any) -> int:
    """The whole of a `set` on a local backend, for a value that the cell's own bounds admit."""
    cell.value = value
    cell.updated_ns = time_ns()
    cell.version += 1
    return cell.version
