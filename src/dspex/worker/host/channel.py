"""
One connection with a worker: a socket and the protocol's state, and nothing that waits for longer than a socket does.

Bytes leave in the step that made them, as long as the kernel takes them; what it doesn't take is left to a writer task, which exists
only meanwhile. Nobody ever waits to send, so that a worker which has stopped reading holds up its own calls and nobody else's: what is
queued for it is bounded by the credit it gave.
"""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio

from ...wire import Connection, codec
from .listening import Ear

# Here msgspec is always there; the pure codec is for workers.
codec.upgrade()

_READ_BYTES: Final = 65_536

Event = tuple[int, Any]
Serve = Callable[[Event], Any]
Spawn = Callable[[Callable[[], Awaitable[Any]]], Any]


class Ended(Exception):
    """The other side closed the connection, or the process behind it has died."""


class Channel:
    """
    A non-blocking stream socket that speaks the protocol.

    Attributes:
        connection: the protocol's state; messages are queued on it, then `flush` writes them.
        index: what the worker calls this channel; 0 for the control connection.
        broken: True once anything about it has failed. It is closed then, never used again.

    """

    __slots__ = ("_ear", "_outbox", "_sock", "_spawn", "_streams", "broken", "connection", "index")

    def __init__(self, sock: socket.socket, kind: str, *, spawn: Spawn, index: int = 0) -> None:
        self.connection: Connection = Connection("host", kind)
        self.index: int = index
        self.broken: bool = False
        self._sock = sock
        self._ear = Ear(sock)
        self._spawn = spawn
        self._streams = 0
        self._outbox: deque[tuple[memoryview, socket.socket | None]] = deque()

    def next_stream(self) -> int:
        """The number of the next call on this channel. They rise."""
        self._streams += 1
        return self._streams

    async def receive(self) -> None:
        """
        Waits until something has come and hands it to `connection`.

        Raises:
            Ended: nothing will ever come.
            RemoteProtocolError: what came is no frame.

        """
        try:
            await anyio.wait_readable(self._sock)
        except (OSError, ValueError, anyio.ClosedResourceError):
            self.broken = True
            raise Ended from None

        with contextlib.suppress(BlockingIOError):
            self.receive_nowait()

    def receive_nowait(self) -> None:
        """The same for what has come already. Raises BlockingIOError when nothing has."""
        self.connection.receive(self._read())

    async def listen(self, serve: Serve) -> Any:
        """
        Hands each message that comes to *serve*, until that gives something else than None, and gives that.

        Raises: as `receive` does, and what *serve* raises.

        """
        found = self._serve_all(self.connection.next_event(), serve)
        if found is not None:
            return found

        try:
            return await self._ear.listen(lambda: self._serve_all(self._read_event(), serve))
        except anyio.ClosedResourceError:
            self.broken = True
            raise Ended from None

    def _serve_all(self, event: Event | None, serve: Serve) -> Any:
        """What is left after the first message that *serve* makes something of is for the next time."""
        found = None
        while event is not None:
            found = serve(event)
            if found is not None:
                break

            event = self.connection.next_event() if self.connection.undigested else None

        self.flush()
        return found

    def _read_event(self) -> Event | None:
        return self.connection.receive_event(self._read())

    def _read(self) -> bytes:
        """Something. Raises BlockingIOError when there is nothing yet, `Ended` when there never will be."""
        try:
            data = self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            raise
        except OSError:
            data = b""

        if not data:
            self.broken = True
            raise Ended

        return data

    @property
    def usable(self) -> bool:
        """Whether something may still be said on it."""
        return not self.broken and self.connection.state() not in {"closed", "broken"}

    def is_quiet(self) -> bool:
        """Whether nothing has come since the last call ended: no stray bytes of its program's, no end of the connection."""
        if self.broken:
            return False

        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass

        return False

    def flush(self) -> None:
        """Writes what the protocol lets go now. Of a socket that has failed nothing is said here: whoever reads it is told."""
        data = self.connection.data_to_send()
        if data:
            self._write(data)

    def pass_on(self, sock: socket.socket) -> None:
        """Writes what is queued, with *sock* attached to it, and closes *sock* on this side."""
        self._write(self.connection.data_to_send(), sock)

    def _write(self, data: bytes, attached: socket.socket | None = None) -> None:
        sent = 0
        if not self._outbox:
            sent = self._send(data, attached)
            if sent == len(data):
                return

            self._spawn(self._write_rest)

        self._outbox.append((memoryview(data)[sent:], None if sent else attached))

    def _send(self, data: bytes | memoryview, attached: socket.socket | None) -> int:
        """How much of *data* is off this side's hands. With any of it *attached* has gone."""
        try:
            sent = self._sock.send(data) if attached is None else socket.send_fds(self._sock, [data], [attached.fileno()])
        except BlockingIOError:
            return 0
        except OSError:
            self.broken = True
            sent = len(data)

        if attached is not None:
            attached.close()

        return sent

    async def _write_rest(self) -> None:
        while self._outbox and not self.broken:
            with contextlib.suppress(anyio.ClosedResourceError, OSError):
                await anyio.wait_writable(self._sock)
                self._write_one()

    def _write_one(self) -> None:
        view, attached = self._outbox[0]
        sent = self._send(view, attached)
        if sent == len(view):
            self._outbox.popleft()
        elif sent:
            self._outbox[0] = (view[sent:], None)

    def hang_up(self) -> None:
        """Ends the conversation both ways: whoever waits on this channel, here or there, is woken. The socket stays open."""
        self.broken = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the socket, waking whoever still waits on it. Idempotent."""
        self.broken = True
        for _, attached in self._outbox:
            if attached is not None:
                attached.close()

        self._outbox.clear()
        if self._sock.fileno() >= 0:
            self._ear.close()
            self._sock.close()
