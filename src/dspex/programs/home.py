"""What a program needs of the context it is bound to, and nothing more: `Bound` and `ProgramContext` know a context only as a `Home`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from dspex.worker.host.pool import WorkerPool
    from dspex.worker.host.port import Port

    from .bound import Bound


class Home(Protocol):
    """The context, as its programs see it."""

    @property
    def id(self) -> str:
        """The context's id."""
        ...

    @property
    def name(self) -> str | None:
        """The name that `whereis` finds it by, if it has one."""
        ...

    @property
    def port(self) -> Port:
        """Where the door delivers what a worker asks of this context."""
        ...

    def program(self, program_id: str, /) -> Bound:
        """The program *program_id*, for another one that calls it. Raises `ProgramNotFound`, or `ContextClosed`."""
        ...

    async def operate(self, name: str, /, *args: Any) -> Any:
        """
        Serve one operation through the context's one entry.

        *name* is an operation of the state contract (``get``, ``set``, ``read``, ``list``, ...), *args* are its arguments by position:
        identifiers as given (a `Var`, a name or an id), values as given.
        """
        ...

    async def pool(self, name: str, /) -> WorkerPool:
        """The worker pool *name* of the context's open bridge. The context has switched before a program asks for it."""
        ...

    def enter_call(self, program_id: str, /) -> AbstractAsyncContextManager[object]:
        """
        Count a call as being in flight while the block runs.

        Entering raises `ContextClosed` when the context takes no newcomers. When the context stops and its drain has passed, the block
        is cancelled and ends with `ContextClosed` instead.
        """
        ...
