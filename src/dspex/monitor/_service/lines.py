"""What both ends of a monitor's socket speak: JSON, a line each."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import anyio
import msgspec
from anyio.lowlevel import checkpoint

PROTOCOL: Final = 1

MAX_REQUEST: Final = 64 << 10
"""Bytes of a line from a client."""

MAX_ANSWER: Final = 16 << 20
"""Bytes of a line from a server, as far as a client takes it."""

SHORTEST: Final = 0.1
LONGEST: Final = 3600.0
"""Seconds between two snapshots."""


_CHUNK: Final = 64 << 10


class Request(msgspec.Struct):
    """The first line of a client."""

    want: Literal["tree", "inspect", "watch"]
    name: str = ""
    every: float = 1.0
    selected: str | None = None


class Selection(msgspec.Struct):
    """What a client that watches may say later."""

    selected: str | None


class BadLine(Exception):
    """The other end sent what it may not; says what."""


def encoded(message: Mapping[str, Any]) -> bytes:
    """*message* as a line."""
    return msgspec.json.encode(message) + b"\n"


def encodable(text: str) -> str:
    """*text*, with what no encoding has a form for written out: half a surrogate pair, as a file's name may have."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


class Peer:
    """
    The other end of *raw*, a connected socket that doesn't block; it is this object's from now on.

    Not a stream of anyio's: on asyncio one whose reader is cancelled in the step in which the other end hangs up has the loop report an error.
    """

    __slots__ = ("_left", "_longest", "_raw")

    def __init__(self, raw: socket.socket, longest: int) -> None:
        self._raw = raw
        self._longest = longest
        self._left = bytearray()

    async def next(self) -> bytes | None:
        """
        The next line, without its end; None when the other end has gone.

        Raises:
            BadLine: it has more bytes than a line may have.

        """
        searched = 0
        while (end := self._left.find(b"\n", searched)) < 0:
            searched = len(self._left)
            if searched > self._longest:
                raise BadLine(f"A line may have at most {self._longest:,} bytes.")

            received = await self._receive()
            if not received:
                return None

            self._left += received

        line = bytes(self._left[:end])
        del self._left[: end + 1]
        return line

    async def _receive(self) -> bytes:
        await checkpoint()
        while True:
            try:
                return self._raw.recv(_CHUNK)
            except BlockingIOError:
                try:
                    await anyio.wait_readable(self._raw)
                except (anyio.ClosedResourceError, OSError):
                    return b""
            except OSError:
                return b""

    async def send(self, message: Mapping[str, Any]) -> bool:
        """Sends *message* as a line, as fast as the other end takes it. Whether it was there to take it."""
        await checkpoint()
        left = memoryview(encoded(message))
        while left:
            try:
                left = left[self._raw.send(left) :]
            except BlockingIOError:
                try:
                    await anyio.wait_writable(self._raw)
                except (anyio.ClosedResourceError, OSError):
                    return False
            except OSError:
                return False

        return True

    def close(self) -> None:
        """Hangs up. Idempotent."""
        if self._raw.fileno() >= 0:
            anyio.notify_closing(self._raw)
            self._raw.close()


def checked(name: str, seconds: float) -> float:
    """
    An interval between two snapshots.

    Raises:
        ValueError: it is too short, or too long.

    """
    if not SHORTEST <= seconds <= LONGEST:
        raise ValueError(f"{name}: expected {SHORTEST:g} to {LONGEST:g} seconds, got {seconds!r}.")

    return float(seconds)


def listed(names: Iterable[str], most: int = 5) -> str:
    """The first of some names, for a sentence."""
    found = list(names)
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")
