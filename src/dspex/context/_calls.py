"""
The calls in flight: counted, cancelled when their life of the context ends, and told why.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING

import anyio

from .._exceptions import DspexError
from ..programs.chain import current_chain
from ._behalf import furnishing, in_call
from ._port import ContextPort
from ._status import SERVING

if TYPE_CHECKING:
    from ._inside import Inside
    from ._variables import Variables


class Calls:
    """
    Programs of one life of a context that are running now, each in a scope of its caller's task.

    Attributes:
        error: what those that were cancelled are told.
        over: whether their life is: however one of them fails after that, it is told *error*.
        waits: whether newcomers wait for the next life: this one only lets those end that are in flight.

    """

    __slots__ = ("_entry", "_idle", "_ports", "_prefix", "_scopes", "error", "over", "waits")

    def __init__(self, entry: Variables) -> None:
        self._entry = entry
        self._prefix = f"{entry.context_id}/"
        self._scopes: dict[anyio.CancelScope, None] = {}
        self._idle: anyio.Event | None = None
        self._ports: dict[object, ContextPort] = {}
        self.error: DspexError | None = None
        self.over: bool = False
        self.waits: bool = False

    def __len__(self) -> int:
        return len(self._scopes)

    @property
    def port(self) -> ContextPort:
        """Where the door delivers what a worker asks on behalf of a call of this life."""
        key = furnishing.get()
        if key not in self._ports:
            self._ports[key] = ContextPort(self._entry)

        return self._ports[key]

    def check_current(self, entry: Variables) -> None:
        """
        Whether a program, which is one of these, may still use the context of *entry*.

        Raises:
            DspexError: that is its own, and the life in which it was called is over.

        """
        if self.over and entry is self._entry and self.error is not None:
            raise self.error

    def own_chain(self) -> tuple[str, ...]:
        """The chain of calls this code runs in, if one of them is this context's; else nothing."""
        chain = current_chain()
        return chain if any(link.startswith(self._prefix) for link in chain) else ()

    def is_inside(self) -> bool:
        """Whether this code runs on behalf of a call in flight here, which may still use a context that is stopping."""
        return bool(self._scopes) and bool(self.own_chain())

    def is_nested(self) -> bool:
        """The same for a call that is about to begin: its own link is in its chain already."""
        return bool(self._scopes) and any(link.startswith(self._prefix) for link in current_chain()[:-1])

    @staticmethod
    def enter(context: Inside, program_id: str) -> InFlight:
        """Counts a call as long as the block it begins."""
        return InFlight(context, program_id)

    def begin(self, scope: anyio.CancelScope) -> None:
        """A call that runs in *scope*."""
        entry = self._entry
        entry.admit()
        if entry.status not in SERVING and not entry.mailbox.goes_ahead() and not self.is_nested():
            raise entry.refusal()

        self._scopes[scope] = None

    def end(self, scope: anyio.CancelScope) -> None:
        """It has ended."""
        del self._scopes[scope]
        if not self._scopes and self._idle is not None:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Waits until none is left."""
        while self._scopes:
            self._idle = anyio.Event()
            await self._idle.wait()

    def cancel(self, error: DspexError) -> None:
        """Cancels all that are left; their callers get *error*."""
        self.error = error
        for scope in tuple(self._scopes):
            scope.cancel()

    def cut(self, error: DspexError) -> None:
        """Their life is over: all that are left are cancelled, and what they still ask is refused, here and in workers."""
        self.over = True
        self.cancel(error)
        for port in self._ports.values():
            port.shut(error)


class InFlight(AbstractAsyncContextManager[None]):
    """
    One call, counted as long as the block it begins. A class, since each call goes through it and a generator takes twice as long.

    Entering raises `ContextClosed` when the context takes no newcomers; between two lives it waits for the next. So ends the block, if the
    context has stopped meanwhile and its drain has passed.
    """

    __slots__ = ("_calls", "_context", "_program_id", "_scope", "_token")

    def __init__(self, context: Inside, program_id: str) -> None:
        self._context = context
        self._program_id = program_id

    async def __aenter__(self) -> None:
        context = self._context
        if context.seat is not None:
            await context.seat.wait_up(at_work=context.calls is not None and context.calls.is_nested())
            context.seat.check_registered(self._program_id)

        self._calls = context.begin_calls()
        self._scope = anyio.CancelScope()
        self._calls.begin(self._scope)
        self._scope.__enter__()
        self._token = in_call.set(self._calls)

    async def __aexit__(self, cls: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        in_call.reset(self._token)
        self._calls.end(self._scope)
        swallowed = bool(self._scope.__exit__(cls, error, trace))
        calls = self._calls
        if calls.error is not None and (self._scope.cancelled_caught or (calls.over and isinstance(error, Exception))):
            raise calls.error

        return swallowed
