"""
The socket by which a running service is looked at from outside: `dspex top`, `dspex tree`, `dspex inspect`, and whatever speaks its few lines of JSON.

It only tells. A request names what it wants to see; there is none that changes anything. A client is of the same user, or root. It is sent what it
can take: nothing is kept for one that doesn't read, and one that doesn't for a minute is let go.
"""

from __future__ import annotations

import errno
import logging
import os
import platform
import socket
import sys
from collections.abc import Callable, Mapping
from functools import partial
from time import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import anyio
import msgspec
from anyio.abc import TaskGroup, TaskStatus

from .._version import __version__
from ..supervision import Branch, ChildSpec
from ._details import detail
from ._events import Ring
from ._finding import Finder, NotFound, is_top
from ._lines import MAX_REQUEST, PROTOCOL, BadLine, Peer, Request, encodable, encoded
from ._snapshots import Snapshots
from ._socket_file import File, listen, peer_uid, remove
from ._watching import Watcher, described, overview

if TYPE_CHECKING:
    from ..supervision import Delays, OnLimit, Restart

log = logging.getLogger(__name__)

CLIENTS: Final = 16
"""How many are served at once."""

# Seconds that a client has to say what it wants, and to take what it is sent.
_PATIENCE_FOR_REQUEST: Final = 10.0
_PATIENCE_FOR_READER: Final = 60.0

# Clients in a row that have gone before they were taken. More than that it is the socket that is broken: one that was shut down, say.
_IN_VAIN: Final = 100

# What may be there again later, and seconds between two tries to take a client until it is.
_SHORT_OF: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_BREATHER: Final = 1.0


class MonitorServer:
    """
    Lets others look at this process through a socket; `serve` makes one. An async context manager.

    Attributes:
        path: where its socket is.
        clients: how many look now.

    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: str = os.fspath(path)
        self.clients: int = 0
        self._group: TaskGroup | None = None
        self._listener: socket.socket | None = None
        self._file: File = (0, 0)
        self._begin()

    def _begin(self) -> None:
        self._began = time()
        self._ring = Ring()
        self._snapshots = Snapshots(title(), self._ring)
        self._finder = Finder(self._snapshots.names)
        self._failed = anyio.Event()
        self._failure: Exception | None = None

    def __repr__(self) -> str:
        return f"<MonitorServer {self.path!r} [{'open' if self._listener is not None else 'closed'} | clients: {self.clients}]>"

    def __branch__(self) -> Branch:
        """How it looks in a supervisor's tree."""
        return Branch("monitor", "monitor", "running" if self._listener is not None else "closed", {"clients": self.clients})

    # --- its life ----------------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._listener is not None:
            raise RuntimeError(f"The monitor at {self.path!r} is open already.")

        self._begin()
        self._listener, self._file = await listen(self.path)
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        try:
            self._ring.open()
            await self._snapshots.begin()
            self._group.start_soon(self._accept, self._listener, name=f"dspex monitor {self.path}")
        except BaseException:
            await self._close()
            raise

        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._close()

    async def _close(self) -> None:
        group, self._group = self._group, None
        listener, self._listener = self._listener, None
        assert group is not None
        assert listener is not None
        try:
            # Left empty-handed: what the body raised is none of the group's business, and nothing in here waits for anybody.
            group.cancel_scope.shield = True
            group.cancel_scope.cancel()
            await group.__aexit__(None, None, None)
        finally:
            self._ring.close()
            listener.close()
            remove(self.path, self._file)

    async def wait_failed(self) -> None:
        """
        Waits until it can take no more clients.

        Raises:
            OSError: what its socket failed with.

        """
        await self._failed.wait()
        if self._failure is not None:
            raise self._failure

    async def _accept(self, listener: socket.socket) -> None:
        try:
            in_vain = 0
            while in_vain < _IN_VAIN:
                await anyio.wait_readable(listener)
                in_vain = 0 if await self._take(listener) else in_vain + 1

            raise OSError(errno.EINVAL, "The socket says that there is somebody, and there is nobody", self.path)
        except Exception as error:
            log.exception("The monitor at %r takes no more clients", self.path, extra={"dspex_monitor": self.path})
            self._failure = error
            self._failed.set()

    async def _take(self, listener: socket.socket) -> bool:
        """Takes the next client. Whether there was one."""
        assert self._group is not None
        try:
            raw, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError, InterruptedError):
            return False
        except OSError as error:
            log.warning("The monitor at %r can't take a client now: %s", self.path, error, extra={"dspex_monitor": self.path})
            await anyio.sleep(_BREATHER)
            return True

        raw.setblocking(False)
        refusal = self._refusal(raw)
        if refusal:
            _send_off(raw, refusal)
        else:
            self.clients += 1
            self._group.start_soon(self._serve, Peer(raw, MAX_REQUEST), name=f"dspex monitor {self.path} (a client)")

        return True

    def _refusal(self, raw: socket.socket) -> str:
        uid = peer_uid(raw)
        if uid not in (0, os.geteuid()):
            return f"This service may be looked at by user {os.geteuid()} and root only."

        if self.clients >= CLIENTS:
            return f"{CLIENTS} clients look at this service already, which is as many as it serves."

        return ""

    # --- one client --------------------------------------------------------------------------------------------------------------

    async def _serve(self, peer: Peer) -> None:
        try:
            await self._converse(peer)
        except Exception:
            log.exception("The monitor at %r failed for a client", self.path, extra={"dspex_monitor": self.path})
        finally:
            self.clients -= 1
            peer.close()

    async def _converse(self, peer: Peer) -> None:
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
        await _send(peer, overview(await self._snapshots.latest(0.0)))

    async def _tell_one(self, request: Request, peer: Peer) -> None:
        await _send(peer, {"detail": await self._inspected(request.name)})

    async def _inspected(self, name: str) -> dict[str, Any]:
        try:
            if not is_top(name):
                return detail(await self._finder.find(name), self._ring)
        except NotFound:
            told = described(name, await self._snapshots.latest(1.0))
            if told is None:
                raise

            return told

        told = described(name, await self._snapshots.latest(0.0))
        assert told is not None
        return told

    async def _tell_on(self, request: Request, peer: Peer) -> None:
        watcher = Watcher(request, self._snapshots, self._finder, self._ring)
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
    "tree": MonitorServer._tell_tree,
    "inspect": MonitorServer._tell_one,
    "watch": MonitorServer._tell_on,
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


def _send_off(raw: socket.socket, refusal: str) -> None:
    """Says why, as far as that goes in one step, and hangs up."""
    with raw:
        try:
            raw.send(encoded({"error": refusal}))
        except OSError:
            pass


def title() -> str:
    """What this process is called."""
    command = sys.argv[0] if sys.argv else ""
    name = os.path.basename(command)
    if name == "__main__.py":
        name = os.path.basename(os.path.dirname(command))

    return encodable(name or "python")


# --- opening it --------------------------------------------------------------------------------------------------------------------


def serve(path: str | os.PathLike[str]) -> MonitorServer:
    """
    Lets this process be looked at from outside, as long as the block runs: by ``dspex top PATH``, ``dspex tree PATH`` and ``dspex inspect PATH NAME``.

    ::

        async with monitor.serve("/run/app/dspex.sock"):
            ...

    The socket is of mode 0600, serves clients of the same user and root, 16 at once, and only tells: no request changes anything. Values of
    `sensitive` variables are masked, all others are cut. What a killed process left at *path* is replaced. While nobody looks, it costs as much as
    a hook for everything but the operations of variables; see `telemetry.subscribe`.

    Args:
        path: of the socket, at most 107 bytes, in a folder that exists.

    Raises:
        ValueError: *path* is too long.
        FileNotFoundError: its folder isn't there.
        FileExistsError: there is something that is no socket.
        OSError: another service listens there, or the folder doesn't let us.

    """
    return MonitorServer(path)


def child_spec(
    path: str | os.PathLike[str],
    id: str = "monitor",  # noqa: A002 - as ChildSpec has it
    *,
    restart: Restart = "permanent",
    backoff: Delays | None = None,
    max_restarts: int | None = None,
    max_seconds: float | None = None,
    on_limit: OnLimit = "park",
) -> ChildSpec:
    """
    The same as a child of a supervisor, called *id*. Its value is the `MonitorServer`; each start opens a new socket.

    Past its budget of restarts it is parked unless told: a service goes on without being looked at. *restart* to *on_limit* are as `ChildSpec` has them.
    """
    return ChildSpec(
        id,
        partial(_live, os.fspath(path)),
        restart=restart,
        shutdown=5.0,
        backoff=backoff,
        max_restarts=max_restarts,
        max_seconds=max_seconds,
        on_limit=on_limit,
    )


async def _live(path: str, *, task_status: TaskStatus[MonitorServer]) -> None:
    async with MonitorServer(path) as server:
        task_status.started(server)
        await server.wait_failed()
