"""
The socket by which a running service is looked at from outside: `dspex top`, `dspex tree`, `dspex inspect`, and whatever speaks its few lines of JSON.

It only tells. A request names what it wants to see; there is none that changes anything. A client is of the same user, or root. It is sent what it
can take: nothing is kept for one that doesn't read, and one that doesn't for a minute is let go.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import anyio
from anyio.abc import TaskGroup, TaskStatus

from ...supervision import Branch, ChildSpec
from .answering import Answers
from .lines import MAX_REQUEST, Peer, encoded
from .socket_file import File, listen, peer_uid, remove

if TYPE_CHECKING:
    from ...supervision import Delays, OnLimit, Restart

log = logging.getLogger(__name__)

CLIENTS: Final = 16
"""How many are served at once."""

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
        self._place = ""
        self._begin()

    def _begin(self) -> None:
        self._answers = Answers()
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
        # Where it is, also once the process has gone to another folder.
        self._place = os.path.abspath(self.path)  # noqa: ASYNC240 - that asks for the current folder only
        self._listener, self._file = await listen(self.path)
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        try:
            await self._answers.open()
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
            self._answers.close()
            listener.close()
            remove(self._place, self._file)

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
            await self._answers.converse(peer)
        except Exception:
            log.exception("The monitor at %r failed for a client", self.path, extra={"dspex_monitor": self.path})
        finally:
            self.clients -= 1
            peer.close()


def _send_off(raw: socket.socket, refusal: str) -> None:
    """Says why, as far as that goes in one step, and hangs up."""
    with raw:
        try:
            raw.send(encoded({"error": refusal}))
        except OSError:
            pass


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
