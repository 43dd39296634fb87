"""
A call in a worker, from its `Call` to its `Reply` or `Error`: on a thread's own channel, or among others on the loop's.

A sync program has a channel to itself, and the task that called it reads that channel: there is nobody between the program and its
caller, which is what makes an operation of it cheap. Async programs share one channel, which one task reads for all of them.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

import anyio

from ..._exceptions import DspexError, RemoteProtocolError
from ...wire import Call, Cancel, Close, Error, Log, Op, Reply
from .channel import Channel, Ended
from .door import SLICE, Door
from .journal import relay
from .nested import see_through

if TYPE_CHECKING:
    from .channel import Event
    from .port import CallOther, Port

Outcome = Reply | Error


class ThreadChannel(Channel):
    """A channel with a thread of the worker at its other end: one call at a time."""

    __slots__ = ()

    def begin(self, call: Call, port: Port | None) -> ThreadTalk:
        """
        Sends *call*.

        Raises:
            Unencodable: its inputs can't cross. Nothing was sent.

        """
        stream = self.next_stream()
        self.connection.send(stream, call)
        self.flush()
        return ThreadTalk(self, stream, port)


class ThreadTalk:
    """One call on a `ThreadChannel`. `outcome` may be awaited again after it was cancelled."""

    __slots__ = ("channel", "door", "over", "stream")

    def __init__(self, channel: ThreadChannel, stream: int, port: Port | None) -> None:
        self.channel: ThreadChannel = channel
        self.stream: int = stream
        self.over: bool = False
        self.door: Door = Door(channel, stream, port=port)

    async def outcome(self, call_other: CallOther | None = None) -> Outcome:
        """
        Serves the program's operations until it ends; what it calls by *call_other* ends no later.

        Raises:
            Ended: the channel was closed, most likely since its worker has died.
            RemoteProtocolError: garbage came.

        """
        return await self.heard() or await see_through(self, call_other)

    async def heard(self) -> Outcome | None:
        """Its end; None as soon as it asks for something that the door doesn't serve."""
        while not self.door.errands:
            message = await self.channel.listen(self._take)
            if type(message) is Op:
                await self.door.serve(message.ops)
            elif message is not self.door:
                return self._end(message)

        return None

    def _take(self, event: Event) -> Any:
        """Serves what can be served in this step; gives back what can't."""
        message = event[1]
        if type(message) is Op and len(message.ops) <= SLICE:
            self.door.serve_nowait(message.ops)
            return self.door if self.door.errands else None

        if type(message) is not Log:
            return message

        relay(message)
        return None

    def _end(self, message: object) -> Outcome:
        self.door.shut = True
        if isinstance(message, (Reply, Error)):
            self.over = True
            return message

        raise gave_up(message)

    def cancel(self, control: Channel, reason: str) -> None:
        """Asks the program to end. Its thread may be busy, so this goes by way of the control connection."""
        self.door.left = True
        if control.usable:
            control.connection.send(0, Cancel(reason, self.channel.index, self.stream))
            control.flush()

    def abandon(self) -> None:
        """Nothing more is answered on behalf of this call."""
        self.door.shut = True


class LoopChannel(Channel):
    """A channel with the worker's event loop at its other end: many calls at once."""

    __slots__ = ("_talks",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._talks: dict[int, LoopTalk] = {}

    def begin(self, call: Call, port: Port | None) -> LoopTalk:
        """
        Sends *call*.

        Raises:
            Unencodable: its inputs can't cross. Nothing was sent.

        """
        stream = self.next_stream()
        self.connection.send(stream, call)
        talk = self._talks[stream] = LoopTalk(self, stream, port)
        self.flush()
        return talk

    async def read(self) -> None:
        """Reads for all calls until the channel ends; then all of them are told."""
        failure: Exception = Ended()
        try:
            while True:
                talk, message = await self.listen(self._take)
                await talk.take(message)
        except (Ended, RemoteProtocolError) as error:
            failure = error
        finally:
            self.hang_up()
            for talk in list(self._talks.values()):
                talk.settle(failure)

    def _take(self, event: Event) -> tuple[LoopTalk, Op] | None:
        """Serves what can be served in this step; gives back what can't."""
        stream, message = event
        talk = self._talks.get(stream)
        if isinstance(message, Log):
            relay(message)
        elif talk is not None:
            return talk.take_nowait(message)
        elif stream == 0:
            raise gave_up(message)

        return None

    def forget(self, stream: int) -> None:
        """The call of *stream* has ended."""
        self._talks.pop(stream, None)


class LoopTalk:
    """One call on a `LoopChannel`. `outcome` may be awaited again after it was cancelled."""

    __slots__ = ("_news", "_outcome", "channel", "door", "over", "stream")

    def __init__(self, channel: LoopChannel, stream: int, port: Port | None) -> None:
        self.channel: LoopChannel = channel
        self.stream: int = stream
        self.door: Door = Door(channel, stream, port=port)
        self.over: bool = False
        self._news = anyio.Event()
        self._outcome: Outcome | Exception | None = None

    def take_nowait(self, message: object) -> tuple[LoopTalk, Op] | None:
        """What the worker said about this call. A batch too large for one step is given back, for `take`."""
        if isinstance(message, Op):
            if len(message.ops) > SLICE:
                return self, message

            self.door.serve_nowait(message.ops)
            self._tell_of_errands()
        elif isinstance(message, (Reply, Error)):
            self.settle(message)

        return None

    async def take(self, message: Op) -> None:
        """Serves a batch of any size."""
        await self.door.serve(message.ops)
        self._tell_of_errands()

    def _tell_of_errands(self) -> None:
        if self.door.errands:
            self._news.set()

    def settle(self, outcome: Outcome | Exception) -> None:
        """Ends the call with what came, or with why nothing will."""
        self.over = True
        self.abandon()
        self._outcome = outcome
        self._news.set()

    async def outcome(self, call_other: CallOther | None = None) -> Outcome:
        """Waits for the program's end. Takes and raises what `ThreadTalk.outcome` does."""
        return await self.heard() or await see_through(self, call_other)

    async def heard(self) -> Outcome | None:
        """Its end; None as soon as it asks for something that the door doesn't serve."""
        await self._news.wait()
        if self._outcome is None:
            self._news = anyio.Event()
            return None

        if isinstance(self._outcome, Exception):
            raise copy(self._outcome)  # each caller gets an error of its own

        return self._outcome

    def cancel(self, control: Channel, reason: str) -> None:
        """Asks the program to end: its task is cancelled."""
        self.door.left = True
        if self.channel.usable:
            self.channel.connection.send(self.stream, Cancel(reason))
            self.channel.flush()

    def abandon(self) -> None:
        """Nothing more is answered on behalf of this call."""
        self.door.shut = True
        self.channel.forget(self.stream)


def gave_up(message: object) -> DspexError:
    """The error of a channel on which the worker said something that ends it."""
    if isinstance(message, Close):
        return RemoteProtocolError(
            f"The worker closed a call's channel: {message.reason or message.code or 'no reason given'}.", code=message.code
        )

    return RemoteProtocolError(f"The worker sent {type(message).__name__} where only the end of a call or an operation belongs.")
