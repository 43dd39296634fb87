"""What a pool needs to know of a call, and what the owner of the variables offers it: the only words the two floors share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from attrs import field, frozen

if TYPE_CHECKING:
    from ...telemetry._tracing import CallTrace

Answer = Callable[[Any, BaseException | None], None]

CallOther = Callable[[str, Mapping[str, Any] | None, float | None], Awaitable[Any]]
"""Calls another program of the same context: its id, its inputs as they came from the worker, its timeout."""


class GateClosed(Exception):
    """Raised by `Port.operate_nowait` when the operation would have to queue. Not an error: the door posts it instead."""


class Port(Protocol):
    """
    One context's operations, as its workers reach them. Everything is called on the event loop's own thread.

    Names and arguments are those of `dspex.wire.operations`; arguments come decoded as data, with tagged values inside.
    """

    @property
    def context_id(self) -> str:
        """Whose variables these are."""
        ...

    def operate_nowait(self, name: str, args: Sequence[Any]) -> Any:
        """
        Serves one operation in this very step.

        Raises:
            GateClosed: it would have to queue. Nothing was done.
            DspexError: it was refused.

        """
        ...

    def post(self, name: str, args: Sequence[Any], answer: Answer) -> None:
        """Queues one operation. *answer* is called once with ``(result, None)`` or ``(None, error)``, possibly right away."""
        ...


class Progress(Protocol):
    """Whoever makes a call, told how far it has come."""

    def placed(self, pid: int | None) -> None:
        """It has a place, in the worker of this process id. None: in this process."""
        ...

    def lost(self) -> None:
        """The place was in a worker that was gone: it waits for another one."""
        ...


@frozen(kw_only=True)
class WorkerCall:
    """
    One call of a program in a worker.

    Attributes:
        program_id: what errors call the program.
        key: the digest of *definition*, under which a worker keeps what it built.
        definition: how a worker gets the program; it is sent to each worker once.
        inputs: keyword arguments, of types that cross exactly.
        port: whose variables the program may use. None: nobody's.
        call_other: how the program calls others of its context. None: it can't.
        kind: ``"sync"`` programs run on a thread with a socket of its own, ``"async"`` ones on the worker's loop.
        timeout: seconds from the moment the call is made, queueing included; None for no bound of its own.
        chain: the ids of the calls on whose behalf this one is made, outermost first.
        wait: False to be refused rather than to queue for a place.
        meta: facts that travel with the call.
        progress: who is told when it has a place.
        trace: who records it, in the worker too. None: nobody.

    """

    program_id: str
    key: str
    definition: Mapping[str, Any]
    inputs: Mapping[str, Any] = field(factory=dict[str, Any])
    port: Port | None = None
    call_other: CallOther | None = None
    kind: Literal["sync", "async"] = "sync"
    timeout: float | None = None
    chain: tuple[str, ...] = ()
    wait: bool = True
    meta: Mapping[str, Any] = field(factory=dict[str, Any])
    progress: Progress | None = None
    trace: CallTrace | None = None


@frozen(kw_only=True)
class ProgramShape:
    """
    What a worker found when it imported a program.

    Attributes:
        kind: ``"sync"``, ``"async"``, ``"generator"`` or ``"async generator"``.
        signature: its signature, as text.
        parameters: the names, kinds and defaults of its parameters, as the worker tells them.
        doc: its docstring, empty if it has none.

    """

    kind: str
    signature: str = ""
    parameters: Any = ()
    doc: str = ""
