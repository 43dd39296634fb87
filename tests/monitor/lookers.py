"""Those who look at a service through its monitor's socket: well-behaved and other ones."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
from anyio.lowlevel import checkpoint


@contextmanager
def folder() -> Iterator[str]:
    """A folder whose name is short enough for sockets in it, open to all for searching."""
    made = tempfile.mkdtemp(prefix="dspex-")
    os.chmod(made, 0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def stale(path: str) -> None:
    """What a killed service leaves."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(path)
        left.listen()


def there(path: str) -> bool:
    return os.path.lexists(path)


def written(path: str, text: str | None = None) -> str:
    """What is in a file; with *text*, once that was written."""
    if text is not None:
        with open(path, "w") as file:
            file.write(text)

    with open(path) as file:
        return file.read()


class Raw:
    """A connection without any manners."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._left = b""

    async def line(self) -> dict[str, Any] | None:
        while b"\n" not in self._left:
            try:
                self._left += await self.stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return None

        line, _, self._left = self._left.partition(b"\n")
        return json.loads(line)

    async def say(self, line: bytes) -> None:
        await self.stream.send(line)


@asynccontextmanager
async def raw(path: str):
    async with await anyio.connect_unix(path) as stream:
        yield Raw(stream)


async def until(condition) -> None:
    with anyio.fail_after(10):
        while not condition():
            await checkpoint()


def paths(node: dict[str, Any]) -> list[str]:
    """The ids of a node and of all below it."""
    return [node["id"], *(path for child in node["children"] for path in paths(child))]


def at(node: dict[str, Any], path: str) -> dict[str, Any]:
    """The node with this id."""
    return next(each for each in _all(node) if each["id"] == path)


def _all(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node["children"]:
        yield from _all(child)
