"""The other end of an echo: ``python -m bench.echo blocking|anyio SOCKET COMMANDS``. Waits for a number, measures so many echoes, tells the seconds of one."""

from __future__ import annotations

import socket
import sys
from time import perf_counter

import anyio
from anyio.abc import UNIXSocketStream

MESSAGE = bytes(32)


def blocking(fd: int, commands: socket.socket) -> None:
    """Ask with a blocking socket."""
    with socket.socket(fileno=fd) as end:
        commands.send(b"ready")
        while order := commands.recv(64):
            started = perf_counter()
            for _ in range(int(order)):
                end.send(MESSAGE)
                end.recv(64)

            commands.send(str((perf_counter() - started) / int(order)).encode())


async def by_anyio(fd: int, commands: socket.socket) -> None:
    """Ask on an event loop."""
    async with await UNIXSocketStream.from_socket(socket.socket(fileno=fd)) as end:
        commands.send(b"ready")
        while order := await anyio.to_thread.run_sync(commands.recv, 64):
            started = perf_counter()
            for _ in range(int(order)):
                await end.send(MESSAGE)
                await end.receive()

            commands.send(str((perf_counter() - started) / int(order)).encode())


if __name__ == "__main__":
    kind, fd, commands = sys.argv[1], int(sys.argv[2]), socket.socket(fileno=int(sys.argv[3]))
    if kind == "blocking":
        blocking(fd, commands)
    else:
        anyio.run(by_anyio, fd, commands)
