"""
The calls in flight: counted, cancelled when the context stops, and told why.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from .._exceptions import DspexError
from ..programs.chain import current_chain
from ._entry import Entry


class Calls:
    """Programs of one context that are running now, each in a scope of its caller's task."""

    __slots__ = ("_entry", "_error", "_idle", "_prefix", "_scopes")

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._prefix = f"{entry.context_id}/"
        self._scopes: dict[anyio.CancelScope, None] = {}
        self._idle: anyio.Event | None = None
        self._error: DspexError | None = None

    def __len__(self) -> int:
        return len(self._scopes)

    def own_chain(self) -> tuple[str, ...]:
        """The chain of calls this code runs in, if one of them is this context's; else nothing."""
        chain = current_chain()
        return chain if any(link.startswith(self._prefix) for link in chain) else ()

    def is_inside(self) -> bool:
        """Whether this code runs on behalf of a call in flight here, which may still use a context that is stopping."""
        return bool(self._scopes) and bool(self.own_chain())

    @asynccontextmanager
    async def enter(self) -> AsyncGenerator[None, None]:
        """
        Counts a call while the block runs.

        Raises:
            ContextClosed: the context takes no newcomers, or has stopped meanwhile and its drain has passed.

        """
        self._entry.admit()
        with anyio.CancelScope() as scope:
            self._scopes[scope] = None
            try:
                yield
            finally:
                del self._scopes[scope]
                if not self._scopes and self._idle is not None:
                    self._idle.set()

        if scope.cancelled_caught and self._error is not None:
            raise self._error

    async def wait_idle(self) -> None:
        """Waits until none is left."""
        while self._scopes:
            self._idle = anyio.Event()
            await self._idle.wait()

    def cancel(self, error: DspexError) -> None:
        """Cancels all that are left; their callers get *error*."""
        self._error = error
        for scope in tuple(self._scopes):
            scope.cancel()
