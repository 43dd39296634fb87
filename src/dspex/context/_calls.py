"""
The calls in flight: counted, cancelled when the context stops, and told why.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType

import anyio

from .._exceptions import DspexError
from ..programs.chain import current_chain
from ._entry import Entry


class Calls:
    """Programs of one context that are running now, each in a scope of its caller's task."""

    __slots__ = ("_entry", "_idle", "_prefix", "_scopes", "error")

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._prefix = f"{entry.context_id}/"
        self._scopes: dict[anyio.CancelScope, None] = {}
        self._idle: anyio.Event | None = None
        self.error: DspexError | None = None

    def __len__(self) -> int:
        return len(self._scopes)

    def own_chain(self) -> tuple[str, ...]:
        """The chain of calls this code runs in, if one of them is this context's; else nothing."""
        chain = current_chain()
        return chain if any(link.startswith(self._prefix) for link in chain) else ()

    def is_inside(self) -> bool:
        """Whether this code runs on behalf of a call in flight here, which may still use a context that is stopping."""
        return bool(self._scopes) and bool(self.own_chain())

    def enter(self) -> InFlight:
        """
        Counts a call as long as the block it begins.

        Entering raises `ContextClosed` when the context takes no newcomers. So ends the block, if the context has stopped meanwhile and
        its drain has passed.
        """
        return InFlight(self)

    def begin(self, scope: anyio.CancelScope) -> None:
        """A call that runs in *scope*."""
        self._entry.admit()
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


class InFlight(AbstractAsyncContextManager[None]):
    """One call. A class, since each call goes through it and a generator takes twice as long."""

    __slots__ = ("_calls", "_scope")

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._scope = anyio.CancelScope()

    async def __aenter__(self) -> None:
        self._calls.begin(self._scope)
        self._scope.__enter__()

    async def __aexit__(self, cls: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        self._calls.end(self._scope)
        swallowed = bool(self._scope.__exit__(cls, error, trace))
        if self._scope.cancelled_caught and self._calls.error is not None:
            raise self._calls.error

        return swallowed
