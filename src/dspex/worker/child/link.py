"""
A blocking socket, a `Connection` and a bell, as one.

Whoever waits in `Link.read` waits for the socket, for a deadline and for the bell at once; another thread (or a signal handler) rings it to
make the reader look up. Reading is for one thread at a time; sending is for any.
"""

from __future__ import annotations

import _socket
import _thread
import os
import select
import time
from collections import deque

from ...wire import Close, Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Optional, Tuple

    Event = Tuple[int, Any]

READ = 65_536


class Gone(Exception):
    """The connection is over: the other end closed it, or this process is a fork that must not use it."""


class Garbage(Gone):
    """The host sent what it may not. It was told, and nothing more is read."""


class Link:
    """
    One connection to the host.

    Args:
        fd: the connected socket; the link owns it.
        kind: ``"control"``, ``"thread"`` or ``"loop"``.
        resolve: finds the class a label names, for values that are members of enums or records.

    """

    def __init__(self, fd: int, kind: str, *, resolve: Optional[Callable[[str, str], Any]] = None) -> None:
        self.socket: _socket.socket = _socket.socket(fileno=fd)
        self.socket.setblocking(True)
        self.connection: Connection = Connection("worker", kind, resolve=resolve)
        self._bell, self._ringer = os.pipe()
        self._lock = _thread.allocate_lock()
        self._early: Deque[Event] = deque()
        self._dry = True
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._poll.register(self._bell, select.POLLIN)

    def ring(self) -> None:
        """Make the reader's `read` give None. Safe in signal handlers."""
        os.write(self._ringer, b"!")

    def send(self, stream: int, message: Any) -> None:
        """
        Send a message, whole, however long the host takes to read it.

        Raises `Unencodable` (nothing was sent) or `Gone`.
        """
        with self._lock:
            self.connection.send(stream, message)
            self._flush()

        self._wait_for_credit()

    def send_row(self, stream: int, row: Any) -> None:
        """
        The same for an operation by itself, in short. What of it needs credit leaves while somebody reads the answer.
        """
        with self._lock:
            self.connection.send_row(stream, row)
            self._flush()

    def _wait_for_credit(self) -> None:
        while self.connection.blocked:
            event = self._fill()
            while event is not None:
                self._early.append(event)
                event = self._next()

    def read(self, until: Optional[float] = None) -> Optional[Event]:
        """The next ``(stream, message)``. None when the bell rang or the monotonic time *until* has come. Raises `Gone`."""
        if self._early:
            return self._early.popleft()

        event = None if self._dry else self._next()
        while event is None:
            if not self._wait(until):
                return None

            event = self._fill()

        return event

    def close(self) -> None:
        """Close the socket and the bell. A fork of this process calls it too: what it closes is its own copy."""
        if self._bell >= 0:
            self.socket.close()
            os.close(self._bell)
            os.close(self._ringer)
            self._bell = self._ringer = -1

    def _next(self) -> Optional[Event]:
        return self._taken(self.connection.next_event)

    def _taken(self, take: Callable[..., Optional[Event]], *args: Any) -> Optional[Event]:
        with self._lock:
            try:
                event = take(*args)
            except Exception as error:
                raise self._broken(error) from error

            self._flush()
            self._dry = not self.connection.undigested

        return event

    def _broken(self, error: Exception) -> Exception:
        """Tell the host what was wrong with what it sent. What to raise."""
        from ..._exceptions import RemoteProtocolError  # it takes 8 ms

        if not isinstance(error, RemoteProtocolError):
            return error

        self.connection.send(0, Close(error.code, error.problem))
        self._flush()
        return Garbage(error.problem)

    def _flush(self) -> None:
        data = self.connection.data_to_send()
        if data:
            try:
                self.socket.sendall(data)
            except OSError as error:
                raise Gone from error

    def _wait(self, until: Optional[float]) -> bool:
        """Whether the socket has something to read; False for the bell and for *until*."""
        ready = self._poll.poll(None if until is None else max(0.0, (until - time.monotonic()) * 1000))
        if len(ready) == 1 and ready[0][0] != self._bell:
            return True

        if ready:
            os.read(self._bell, 64)

        return False

    def _fill(self) -> Optional[Event]:
        """Wait for what comes, and give the first message in it, if one is whole now."""
        try:
            data = self._receive()
        except OSError as error:
            raise Gone from error

        if not data:
            raise Gone

        return self._taken(self.connection.receive_event, data)

    def _receive(self) -> bytes:
        return self.socket.recv(READ)


class ControlLink(Link):
    """The control connection, which file descriptors travel over too: `descriptors` has those received and not yet taken, in order."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd, "control")
        self.descriptors: Deque[int] = deque()

    def _receive(self) -> bytes:
        data, ancillary, _flags, _address = self.socket.recvmsg(READ, _socket.CMSG_SPACE(64), getattr(_socket, "MSG_CMSG_CLOEXEC", 0))
        for level, kind, packed in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                self.descriptors.extend(map(_beyond_streams, memoryview(packed).cast("i")))

        for fd in self.descriptors:
            os.set_inheritable(fd, False)

        return data


def _beyond_streams(fd: int) -> int:
    """*fd*, moved if it is one of 0 to 2: a program that closed those may still print, and would print into a channel."""
    if fd > 2:
        return fd

    import fcntl

    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return moved
