"""
The mailbox: a memory object stream, and a ledger of what was accepted.

The stream brings requests to the owner and wakes it. The ledger is the truth: a request is in it from the moment it is accepted until its
answer is set, because an item that a waiting receiver had been handed is lost when that receiver is cancelled natively.

*Bounded.* With `size` requests in the ledger, callers wait for room, and are accepted in their order as answers go out. What a worker asks is
accepted past that bound: the window of its own connection bounds it already, and its reader must not wait.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

Answer = Callable[[Any, BaseException | None], None]

# The states of a request. It is withdrawn when its caller goes, or its deadline passes, before the owner takes it: it never happens.
QUEUED, TAKEN, ANSWERED, WITHDRAWN = range(4)
_STATES = ("queued", "taken", "answered", "withdrawn")


class Request:
    """
    One operation on its way to the owner.

    Attributes:
        deadline: on the loop's clock. Past it the owner doesn't take the request.
        scope: what to cancel to turn it back after it was taken; only a switch has one, until its commit.

    """

    __slots__ = ("answered", "args", "callback", "deadline", "error", "name", "result", "scope", "state")

    def __init__(self, name: str, args: tuple[Any, ...], *, callback: Answer | None = None, deadline: float = math.inf) -> None:
        self.name: str = name
        self.args: tuple[Any, ...] = args
        self.callback: Answer | None = callback
        self.deadline: float = deadline
        self.state: int = QUEUED
        self.result: Any = None
        self.error: BaseException | None = None
        self.answered: anyio.Event | None = None
        self.scope: anyio.CancelScope | None = None

    def __repr__(self) -> str:
        return f"<Request {self.name} [{_STATES[self.state]}]>"


class Mailbox:
    """The stream and the ledger. Accepting and answering are plain steps; whoever waits is told in them."""

    __slots__ = ("_receive", "_send", "ledger", "size", "waiting")

    def __init__(self, size: int) -> None:
        self.size: int = size
        self.ledger: dict[Request, None] = {}
        self.waiting: dict[Request, None] = {}
        self._send: MemoryObjectSendStream[Request] | None = None
        self._receive: MemoryObjectReceiveStream[Request] | None = None

    def open(self) -> None:
        """Makes the stream. Until then nothing can be accepted."""
        self._send, self._receive = anyio.create_memory_object_stream[Request](math.inf)

    def accept(self, request: Request) -> None:
        """Takes *request* in, past the bound if need be."""
        assert self._send is not None
        self.ledger[request] = None
        self._send.send_nowait(request)

    async def ask(self, request: Request) -> None:
        """Takes *request* in, or keeps it in line for room, and waits until it is answered. A caller that is cancelled withdraws it."""
        if len(self.ledger) < self.size:
            self.accept(request)
        else:
            self.waiting[request] = None

        request.answered = anyio.Event()
        try:
            await request.answered.wait()
        finally:
            if request.state == QUEUED:
                self.withdraw(request)

    def withdraw(self, request: Request) -> None:
        """Takes back a request that the owner hasn't taken, and wakes its caller."""
        request.state = WITHDRAWN
        self._forget(request)
        if request.answered is not None:
            request.answered.set()

    def answer(self, request: Request, result: Any, error: BaseException | None = None) -> None:
        """Sets the answer of *request*, once. Of a caller that has gone it reaches nobody."""
        if request.state >= ANSWERED:
            return

        request.state = ANSWERED
        request.result = result
        request.error = error
        self._forget(request)
        if request.callback is not None:
            request.callback(result, error)
        elif request.answered is not None:
            request.answered.set()

    def _forget(self, request: Request) -> None:
        self.ledger.pop(request, None)
        if self.waiting:
            self.waiting.pop(request, None)
            while self.waiting and len(self.ledger) < self.size:
                first = next(iter(self.waiting))
                del self.waiting[first]
                self.accept(first)

    @property
    def receive(self) -> Callable[[], Awaitable[Request]]:
        """Waits for the next request, in the order accepted. EndOfStream once closed."""
        assert self._receive is not None
        return self._receive.receive

    def receive_nowait(self) -> Request | None:
        """The next one if there is one."""
        assert self._receive is not None
        try:
            return self._receive.receive_nowait()
        except (anyio.WouldBlock, anyio.EndOfStream, anyio.ClosedResourceError):
            return None

    def close(self, error: Callable[[Request], BaseException]) -> None:
        """Wakes the owner for the last time and answers all that is left with *error*."""
        if self._send is None or self._receive is None:
            return

        self._send.close()
        left = (*self.ledger, *self.waiting)
        # Nobody moves up from the line any more.
        self.waiting.clear()
        for request in left:
            self.answer(request, None, error(request))

        # What lies in the stream is answered; the owner finds its end.
        self._receive.close()
