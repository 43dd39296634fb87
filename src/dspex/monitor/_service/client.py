"""The other end of a monitor's socket: what another process asks of a running service."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self

import anyio
import msgspec

from ..._exceptions import MonitorUnreachable
from .lines import MAX_ANSWER, PROTOCOL, BadLine, Peer, checked, encodable

# Seconds that a service has for its first line, and for an answer. One that is held up for longer has other problems, which that tells of.
_PATIENCE: Final = 10.0
_PATIENCE_FOR_ANSWER: Final = 60.0
_PAUSE: Final = 0.01

_WHY: Final[dict[int, str]] = {
    errno.ENOENT: "there is no such socket",
    errno.ECONNREFUSED: "nobody listens there: the service has ended, or was killed",
    errno.EACCES: "it belongs to another user",
    errno.EPERM: "it belongs to another user",
    errno.ENOTSOCK: "that is no socket",
    errno.EPROTOTYPE: "that is a socket of another kind",
    errno.EAGAIN: "too many others wait to be let in",
    errno.ENOTDIR: "a part of the path is no folder",
    errno.EINVAL: "that is no path of a socket",
}


class MonitoredService:
    """
    A running service as it is seen through its monitor's socket; `connect` gives one.

    Everything told is plain data, as ``docs/monitor.md`` has it.

    Attributes:
        path: of the socket.
        hello: what the service says of itself: ``dspex`` (its version), ``protocol``, ``pid``, ``python``, ``title``, ``started`` (Unix time in seconds).

    """

    def __init__(self, path: str, hello: Mapping[str, Any]) -> None:
        self.path: str = path
        self.hello: Mapping[str, Any] = hello

    def __repr__(self) -> str:
        return f"<MonitoredService {self.hello.get('title')!r} at {self.path!r} [process {self.hello.get('pid')}]>"

    async def tree(self) -> dict[str, Any]:
        """
        The tree and the totals: ``at``, ``uptime``, ``tree``, ``totals``.

        Raises:
            MonitorUnreachable: the service isn't there any more.

        """
        return await self._ask({"want": "tree"})

    async def inspect(self, name: str) -> dict[str, Any]:
        """
        All there is to say of one thing.

        Args:
            name: its path in the tree or the end of that, the name or id of a context, or the process id of a worker.

        Raises:
            LookupError: nothing is called so, or several things are.
            MonitorUnreachable: the service isn't there any more.

        """
        detail: dict[str, Any] = (await self._ask({"want": "inspect", "name": encodable(name)}))["detail"]
        return detail

    def watch(self, *, every: float = 1.0, selected: str | None = None) -> ServiceWatch:
        """
        Snapshots as time goes on.

        ::

            async with service.watch(every=1.0) as snapshots:
                async for snapshot in snapshots:
                    ...

        Args:
            every: seconds between two, 0.1 to 3600. There are fewer when they aren't taken, or when the service has so much to tell that it would
                take a tenth of its time.
            selected: of what each of them has the details; as for `inspect`.

        Raises:
            ValueError: *every* is too short, or too long.

        """
        return ServiceWatch(self.path, checked("every", every), selected)

    async def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        async with _Connection(self.path) as connection:
            await connection.send(request)
            silent = f"it hasn't answered for {_PATIENCE_FOR_ANSWER:g} seconds"
            answer = await connection.next_within(_PATIENCE_FOR_ANSWER, silent=silent, gone="it hung up before it had answered")

        if "error" in answer:
            raise LookupError(str(answer["error"]))

        return answer


class ServiceWatch:
    """
    Snapshots of a service, as `MonitoredService.watch` gives them: an async context manager, and within it an async iterator.

    It ends when the service does.
    """

    def __init__(self, path: str, every: float, selected: str | None) -> None:
        self._connection = _Connection(path)
        self._every = every
        self._selected = selected

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        try:
            await self._connection.send({"want": "watch", "every": self._every, "selected": self._selected})
        except BaseException:
            await self._connection.__aexit__(None, None, None)
            raise

        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._connection.__aexit__(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> dict[str, Any]:
        snapshot = await self._connection.next()
        if snapshot is None:
            raise StopAsyncIteration

        if "error" in snapshot:
            raise MonitorUnreachable(self._connection.path, problem=str(snapshot["error"]))

        return snapshot

    async def select(self, selected: str | None) -> None:
        """
        Of what the snapshots have the details from now on. One with them comes at once. From any task, one at a time.

        Raises:
            MonitorUnreachable: the service isn't there any more.

        """
        await self._connection.send({"selected": None if selected is None else encodable(selected)})


@asynccontextmanager
async def connect(path: str | os.PathLike[str]) -> AsyncGenerator[MonitoredService]:
    """
    Looks at the service that has opened a monitor at *path*, from this process or another one.

    ::

        async with monitor.connect("/run/app/dspex.sock") as service:
            print((await service.tree())["totals"])

    Raises:
        MonitorUnreachable: there is no such socket, nobody listens there, it is another user's, or what answers is no dspex of this protocol.

    """
    where = os.fspath(path)
    async with _Connection(where) as connection:
        hello = connection.hello

    yield MonitoredService(where, hello)


class _Connection:
    """One connection, from the hello on."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.hello: dict[str, Any] = {}
        self._peer: Peer | None = None

    async def __aenter__(self) -> Self:
        self._peer = Peer(await self._connected(), MAX_ANSWER)
        try:
            self.hello = await self._greeted()
        except BaseException:
            self._peer.close()
            raise

        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._peer is not None:
            self._peer.close()

    async def _connected(self) -> socket.socket:
        raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        raw.setblocking(False)
        deadline = anyio.current_time() + _PATIENCE
        try:
            while True:
                try:
                    raw.connect(self.path)
                except BlockingIOError:
                    # Others wait in line, and the line is full.
                    if anyio.current_time() > deadline:
                        raise

                    await anyio.sleep(_PAUSE)
                else:
                    return raw
        except (OSError, ValueError) as error:
            raw.close()
            raise MonitorUnreachable(self.path, problem=_why(self.path, error)) from error
        except BaseException:
            raw.close()
            raise

    async def _greeted(self) -> dict[str, Any]:
        hello = await self.next_within(_PATIENCE, silent=f"it said nothing for {_PATIENCE:g} seconds", gone="it hung up without a word")
        if "error" in hello:
            raise MonitorUnreachable(self.path, problem=str(hello["error"]).removesuffix("."))

        if "dspex" not in hello:
            raise MonitorUnreachable(self.path, problem="what answers there is no monitor of dspex")

        if hello.get("protocol") != PROTOCOL:
            theirs = f"protocol {hello.get('protocol')} (dspex {hello['dspex']}), and this is protocol {PROTOCOL}"
            raise MonitorUnreachable(self.path, problem=f"it speaks {theirs}: use the dspex that the service has")

        return hello

    async def send(self, message: Mapping[str, Any]) -> None:
        """Sends a line."""
        assert self._peer is not None
        if not await self._peer.send(message):
            raise MonitorUnreachable(self.path, problem="it has hung up")

    async def next(self) -> dict[str, Any] | None:
        """The next line; None when the service has hung up."""
        assert self._peer is not None
        try:
            line = await self._peer.next()
            return None if line is None else msgspec.json.decode(line, type=dict[str, Any])
        except (BadLine, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise MonitorUnreachable(self.path, problem="what answers there is no monitor of dspex") from error

    async def next_within(self, seconds: float, *, silent: str, gone: str) -> dict[str, Any]:
        """The next line. Raises `MonitorUnreachable`, in these words, when it doesn't come in time and when the service has hung up."""
        line: dict[str, Any] | None = None
        with anyio.move_on_after(seconds) as patience:
            line = await self.next()

        if patience.cancelled_caught or line is None:
            raise MonitorUnreachable(self.path, problem=silent if patience.cancelled_caught else gone)

        return line


def _why(path: str, error: Exception) -> str:
    number = getattr(error, "errno", None) or 0
    # Linux says the same of a file that is no socket and of a socket that nobody listens at.
    if number == errno.ECONNREFUSED and _is_something_else(path):
        number = errno.ENOTSOCK

    return _WHY.get(number, str(error))


def _is_something_else(path: str) -> bool:
    try:
        return not stat.S_ISSOCK(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False
