"""What one client is answered: the tree, one thing, or snapshots as time goes on."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Mapping
from time import time
from typing import Any, Final

import anyio
import msgspec

from ..._version import __version__
from .details import detail
from .events import Ring
from .finding import Finder, NotFound, is_top
from .lines import PROTOCOL, BadLine, Peer, Request, encodable
from .snapshots import Snapshots
from .watching import Watcher, described, overview

# Seconds that a client has to say what it wants, and to take what it is sent.
_PATIENCE_FOR_REQUEST: Final = 10.0
_PATIENCE_FOR_READER: Final = 60.0


class Answers:
    """
    All that is told of this process, from `open` to `close`.

    Attributes:
        snapshots: the trees and totals, built once for all clients.

    """

    def __init__(self) -> None:
        self._began = time()
        self._ring = Ring()
        self.snapshots: Snapshots = Snapshots(title(), self._ring)
        self._finder = Finder(self.snapshots.names)

    async def open(self) -> None:
        """Listens to what happens from now on."""
        self._ring.open()
        await self.snapshots.begin()

    def close(self) -> None:
        """No longer."""
        self._ring.close()

    async def converse(self, peer: Peer) -> None:
        """Serves one client until it has what it wants, or has gone."""
        try:
            await _send(peer, self._hello())
            request = await _request(peer)
            if request is not None:
                await _ANSWERS[request.want](self, request, peer)
        except (BadLine, NotFound, ValueError) as error:
            await _send(peer, {"error": encodable(str(error))})

    def _hello(self) -> dict[str, Any]:
        python = platform.python_version()
        return {"dspex": __version__, "protocol": PROTOCOL, "pid": os.getpid(), "python": python, "title": title(), "started": self._began}

    async def _tell_tree(self, request: Request, peer: Peer) -> None:
        await _send(peer, overview(await self.snapshots.latest(0.0)))

    async def _tell_one(self, request: Request, peer: Peer) -> None:
        await _send(peer, {"detail": await self._inspected(request.name)})

    async def _inspected(self, name: str) -> dict[str, Any]:
        try:
            if not is_top(name):
                return detail(await self._finder.find(name), self._ring)
        except NotFound:
            told = described(name, await self.snapshots.latest(1.0))
            if told is None:
                raise

            return told

        told = described(name, await self.snapshots.latest(0.0))
        assert told is not None
        return told

    async def _tell_on(self, request: Request, peer: Peer) -> None:
        watcher = Watcher(request, self.snapshots, self._finder, self._ring)
        problem: list[BadLine] = []
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_heed, watcher, peer, tasks.cancel_scope, problem)
                while await _send(peer, await watcher.snapshot()):
                    await watcher.wait_due()

                tasks.cancel_scope.cancel()
        finally:
            watcher.close()

        if problem:
            raise problem[0]


_ANSWERS: Final[dict[str, Callable[..., Any]]] = {
    "tree": Answers._tell_tree,
    "inspect": Answers._tell_one,
    "watch": Answers._tell_on,
}


async def _heed(watcher: Watcher, peer: Peer, scope: anyio.CancelScope, problem: list[BadLine]) -> None:
    try:
        await watcher.heed(peer)
    except BadLine as bad:
        problem.append(bad)

    scope.cancel()


async def _request(peer: Peer) -> Request | None:
    """What the client wants; None if it has gone, or says nothing."""
    with anyio.move_on_after(_PATIENCE_FOR_REQUEST):
        line = await peer.next()
        if line is None:
            return None

        try:
            return msgspec.json.decode(line, type=Request)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadLine(f'Expected {{"want": "tree" | "inspect" | "watch", ...}}, got something else: {error}.') from None

    raise BadLine(f"Expected a request within {_PATIENCE_FOR_REQUEST:g} seconds.")


async def _send(peer: Peer, message: Mapping[str, Any]) -> bool:
    """Sends *message*. Whether the client took it."""
    with anyio.move_on_after(_PATIENCE_FOR_READER):
        return await peer.send(message)

    return False


def title() -> str:
    """What this process is called."""
    command = sys.argv[0] if sys.argv else ""
    name = os.path.basename(command)
    if name == "__main__.py":
        name = os.path.basename(os.path.dirname(command))

    return encodable(name or "python")
