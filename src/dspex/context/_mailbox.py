"""
The mailbox: a memory object stream, and a ledger of what was accepted.

The stream brings requests to the owner and wakes it. The ledger is the truth: a request is in it from the moment it is accepted until its
answer is set, because an item that a waiting receiver had been handed is lost when that receiver is cancelled natively.

*Lives.* The ledger belongs to the handle, the stream to one life of the owner. Between two lives there is no stream: what is accepted waits in the
ledger, and the next life is handed all that is queued there, in order. A life that has to be furnished first is handed only what its own
furnishing asks, until it is up.

*Bounded.* With `size` requests in the ledger, callers wait for room, and are accepted in their order as answers go out. What a worker asks is
accepted past that bound: the window of its own connection bounds it already, and its reader must not wait.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from ._behalf import furnishing

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
        of_call: whether a call in flight asks it: then it ends with the life that the call belongs to.
        since: when it was accepted, and
        taken: when the owner took it, if somebody wants to know; in seconds.

    """

    __slots__ = ("answered", "args", "callback", "deadline", "error", "name", "of_call", "result", "scope", "since", "state", "taken")

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
        self.of_call: bool = False
        self.since: float = 0.0
        self.taken: float

    def __repr__(self) -> str:
        return f"<Request {self.name} [{_STATES[self.state]}]>"


class Mailbox:
    """
    The stream and the ledger. Accepting and answering are plain steps; whoever waits is told in them.

    Attributes:
        ahead: the life on whose behalf alone requests are handed to the owner now; None: everybody's are.

    """

    __slots__ = ("_receive", "_send", "ahead", "ledger", "size", "waiting")

    def __init__(self, size: int) -> None:
        self.size: int = size
        self.ledger: dict[Request, None] = {}
        self.waiting: dict[Request, None] = {}
        self.ahead: object | None = None
        self._send: MemoryObjectSendStream[Request] | None = None
        self._receive: MemoryObjectReceiveStream[Request] | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is an owner to hand requests to."""
        return self._send is not None

    def open(self, ahead: object | None = None) -> None:
        """Makes the stream, and hands over what is queued. With *ahead* that waits for `hand_over`."""
        self._send, self._receive = anyio.create_memory_object_stream[Request](math.inf)
        self.ahead = ahead
        if ahead is None:
            self.hand_over()

    def hand_over(self) -> None:
        """From here on the owner gets everybody's requests, in the order accepted."""
        assert self._send is not None
        self.ahead = None
        for request in self.ledger:
            if request.state == QUEUED:
                self._send.send_nowait(request)

    def goes_ahead(self) -> bool:
        """Whether what this code asks goes before what is queued."""
        return self.ahead is not None and furnishing.get() is self.ahead

    def accept(self, request: Request, *, ahead: bool = False) -> None:
        """Takes *request* in, past the bound if need be."""
        self.ledger[request] = None
        if self._send is not None and (self.ahead is None or ahead):
            self._send.send_nowait(request)

    async def ask(self, request: Request) -> None:
        """Takes *request* in, or keeps it in line for room, and waits until it is answered. A caller that is cancelled withdraws it."""
        ahead = self.goes_ahead()
        if ahead or len(self.ledger) < self.size:
            self.accept(request, ahead=ahead)
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
        """Waits for the next request, in the order accepted. EndOfStream or ClosedResourceError once shut."""
        if self._receive is None:
            raise anyio.EndOfStream

        return self._receive.receive

    def receive_nowait(self) -> Request | None:
        """The next one if there is one."""
        if self._receive is None:
            return None

        try:
            return self._receive.receive_nowait()
        except (anyio.WouldBlock, anyio.EndOfStream, anyio.ClosedResourceError):
            return None

    def shut(self) -> None:
        """Wakes the owner for the last time. What is in the ledger stays there."""
        if self._send is not None and self._receive is not None:
            self._send.close()
            self._receive.close()
            self._send = self._receive = None

    def close(self, error: Callable[[Request], BaseException]) -> None:
        """Wakes the owner for the last time and answers all that is left with *error*."""
        self.shut()
        left = (*self.ledger, *self.waiting)
        # Nobody moves up from the line any more.
        self.waiting.clear()
        for request in left:
            self.answer(request, None, error(request))

    def give_up(self, lost: Callable[[Request], bool], error: Callable[[Request], BaseException]) -> None:
        """Answers those that are *lost* with *error*; the others stay."""
        for request in (*self.ledger, *self.waiting):
            if lost(request):
                self.answer(request, None, error(request))
