"""A non-blocking socket and a `Connection` on an asyncio loop: what is sent in one tick leaves in one write."""

from __future__ import annotations

import _socket
import asyncio
from typing import Any, Callable, Optional

from ..._exceptions import RemoteProtocolError
from ...wire import Close, Connection
from .labels import resolve
from .link import READ


class LoopLink:
    """
    The loop's side of the channel. Everything happens on the loop's thread.

    Args:
        fd: the connected socket, owned by the link.
        deliver: gets each ``(stream, message)``.
        gone: called once, when the connection is over.
        prepare: called just before a write, for what waits to be sent with it.

    """

    def __init__(self, fd: int, deliver: Callable[[int, Any], None], *, gone: Callable[[], None], prepare: Callable[[], None]) -> None:
        self._socket = _socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self._connection = Connection("worker", "loop", resolve=resolve)
        self._deliver = deliver
        self._gone = gone
        self._prepare = prepare
        self._unsent = bytearray()
        self._due = False
        self._loop: Optional[asyncio.AbstractEventLoop] = None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to read on *loop*."""
        self._loop = loop
        loop.add_reader(self._socket.fileno(), self._readable)

    @property
    def closed(self) -> bool:
        """Whether nothing is read or written any more."""
        return self._loop is None

    def close(self) -> None:
        """Stop reading and writing, and tell. Idempotent."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.remove_reader(self._socket.fileno())
            loop.remove_writer(self._socket.fileno())
            self._socket.close()
            self._gone()

    def abandon(self) -> None:
        """Let go of the socket, in a fork of this process."""
        self._socket.close()

    def send(self, stream: int, message: Any) -> None:
        """Queue *message* and write soon. Raises `Unencodable`, with nothing queued."""
        if self._loop is not None:
            self._connection.send(stream, message)
            self.write_soon()

    def write_soon(self) -> None:
        """Write in the next tick, whatever has come together by then."""
        if not self._due and self._loop is not None:
            self._due = True
            self._loop.call_soon(self._write)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""

        if not data:
            self.close()
            return

        self._connection.receive(data)
        try:
            self._deliver_all()
        except RemoteProtocolError as error:
            self._connection.send(0, Close(error.code, error.problem))
            self._write()
            self.close()

    def _deliver_all(self) -> None:
        while self._loop is not None:
            event = self._connection.next_event()
            if event is None:
                break

            self._deliver(*event)

        self.write_soon()

    def _write(self) -> None:
        self._due = False
        self._prepare()
        self._unsent += self._connection.data_to_send()
        if self._unsent and self._loop is not None:
            self._push(self._loop)

    def _push(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return

        del self._unsent[:sent]
        if self._unsent:
            loop.add_writer(self._socket.fileno(), self._push, loop)
        else:
            loop.remove_writer(self._socket.fileno())
