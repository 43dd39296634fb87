"""A thread with a blocking socket and a host, over a real pair of sockets, with messages larger than all buffers."""

from __future__ import annotations

import socket
import threading
from typing import Any

from dspex.wire import Call, Connection, Op, OpReply, Reply

SIZE = 5_000_000


def _send(end: Connection, sock: socket.socket, stream: int, message: Any) -> None:
    end.send(stream, message)
    while True:
        sock.sendall(end.data_to_send())
        if not end.blocked:
            return

        end.receive(sock.recv(1 << 18))
        assert end.next_event() is None


def _wait(end: Connection, sock: socket.socket) -> Any:
    while (event := end.next_event()) is None:
        sock.sendall(end.data_to_send())
        end.receive(sock.recv(1 << 18))

    sock.sendall(end.data_to_send())
    return event


def _serve(sock: socket.socket) -> None:
    end = Connection("worker", "thread")
    stream, call = _wait(end, sock)
    _send(end, sock, stream, Op([[1, "set", "x", call.inputs["x"]]]))
    _, answer = _wait(end, sock)
    _send(end, sock, stream, Reply(answer.results[0][2]))


def test_large_messages_cross_both_ways_between_blocking_sockets(in_use: str) -> None:
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=_serve, args=(theirs,))
    thread.start()
    end, large = Connection("host", "thread"), b"x" * SIZE
    _send(end, ours, 1, Call(["key", None], {"x": large}))
    stream, op = _wait(end, ours)
    assert op.ops == [[1, "set", "x", large]]
    _send(end, ours, stream, OpReply([[1, True, large]]))
    assert _wait(end, ours) == (1, Reply(large))
    thread.join()
    ours.close()
    theirs.close()
