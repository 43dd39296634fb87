"""The channels of one worker: one for each sync call that runs in it, reused; and one for all its async calls. Made when needed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

from ...wire import Channel as ChannelMessage
from .conversation import LoopChannel, ThreadChannel

if TYPE_CHECKING:
    from .channel import Channel, Spawn

C = TypeVar("C", ThreadChannel, LoopChannel)


class Channels:
    """
    Opens channels and keeps them.

    Args:
        control: the worker's control connection, over which the other end of a new channel is passed.
        spawn: starts a task that lives no longer than the worker.

    """

    __slots__ = ("_busy", "_control", "_count", "_idle", "_loop", "_spawn")

    def __init__(self, control: Channel, *, spawn: Spawn) -> None:
        self._control = control
        self._spawn = spawn
        self._count = 0
        self._idle: list[ThreadChannel] = []
        self._busy: set[ThreadChannel] = set()
        self._loop: LoopChannel | None = None

    def _open(self, cls: type[C], kind: str) -> C:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        self._count += 1
        channel = cls(ours, kind, spawn=self._spawn, index=self._count)
        self._control.connection.send(0, ChannelMessage(kind, self._count))
        self._control.pass_on(theirs)
        return channel

    def thread(self) -> ThreadChannel:
        """
        A channel with a thread at its other end that nobody else uses, until `put_back`.

        Raises:
            OSError: no descriptors are left.

        """
        channel = self._quiet() or self._open(ThreadChannel, "thread")
        self._busy.add(channel)
        return channel

    def _quiet(self) -> ThreadChannel | None:
        while self._idle:
            channel = self._idle.pop()
            if channel.is_quiet():
                return channel

            channel.close()

        return None

    def put_back(self, channel: ThreadChannel, *, reusable: bool) -> None:
        """Returns what `thread` lent. It is closed unless it is *reusable*, that is, unless its call has ended in good order."""
        self._busy.discard(channel)
        if reusable and not channel.broken and not self._control.broken:
            self._idle.append(channel)
        else:
            channel.close()

    def loop(self) -> LoopChannel:
        """
        The channel with the worker's event loop at its other end. One that has failed is followed by another.

        Raises:
            OSError: no descriptors are left.

        """
        if self._loop is None or self._loop.broken:
            if self._loop is not None:
                self._loop.close()

            self._loop = self._open(LoopChannel, "loop")
            self._spawn(self._loop.read)

        return self._loop

    def _unused(self) -> Iterator[Channel]:
        yield from self._idle
        if self._loop is not None:
            yield self._loop

    def hang_up(self) -> None:
        """Wakes whoever reads one of them."""
        for channel in (*self._unused(), *self._busy):
            channel.hang_up()

    def close(self) -> None:
        """Closes all but those that calls still have: they close theirs when they leave."""
        for channel in self._unused():
            channel.close()
