"""
The socket file of a monitor: made so that nobody else can ever open it, and who is at the other end of a connection.

*Made.* The mode of a socket file is that of the socket when it is bound, as far as the umask leaves it: it is set before, so that there is no moment
at which the file is there for others. Where a system doesn't heed that, the umask does it.

*Replaced.* A file that nobody listens behind is what a killed process left, and is replaced. Two that start at once agree by a lock on the folder on
who looks first. One behind which somebody listens is left alone, and so is anything that isn't a socket.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import anyio

MODE: Final = 0o600

# What fits into sockaddr_un with its closing zero.
_LONGEST: Final = 107 if sys.platform == "linux" else 103

# Others hold the lock for a few system calls. After so long it is somebody who has nothing to do with this, and isn't waited for.
_PATIENCE: Final = 1.0
_BACKLOG: Final = 64

File = tuple[int, int]


async def listen(path: str) -> tuple[socket.socket, File]:
    """
    A socket that listens at *path*, and what tells its file from another one of this name.

    Raises:
        ValueError: *path* is too long for a socket.
        FileNotFoundError: there is no such folder.
        FileExistsError: something that is no socket is there.
        OSError: somebody listens there, or the folder doesn't let us.

    """
    _check(path)
    lock = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        await _lock(lock)
        _make_way(path)
        return _bound(path)
    finally:
        os.close(lock)


def remove(path: str, file: File) -> None:
    """Removes the file, if it is still the one that `listen` made."""
    try:
        if _file(os.lstat(path)) == file:
            os.unlink(path)
    except FileNotFoundError:
        pass


def peer_uid(raw: Any) -> int | None:
    """The user at the other end of a connected socket; None where the system doesn't say."""
    try:
        if hasattr(socket, "SO_PEERCRED"):
            _, uid, _ = struct.unpack("iII", raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII")))
        else:
            # LOCAL_PEERCRED of the BSDs and macOS: a struct xucred.
            _, uid = struct.unpack_from("II", raw.getsockopt(0, 1, 76))
    except (OSError, struct.error):
        return None

    return int(uid)


# --- where it is to be -------------------------------------------------------------------------------------------------------------


def _check(path: str) -> None:
    if not hasattr(socket, "AF_UNIX"):
        raise RuntimeError(
            "There are no Unix sockets here, so that a service can't be looked at from outside. Use monitor.inspect_context()."
        )

    length = len(os.fsencode(path))
    if length > _LONGEST:
        raise ValueError(
            f"path: expected at most {_LONGEST} bytes, which is all that the path of a socket may have, got {length}: {path!r}."
        )

    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, f"The folder of the monitor's socket isn't there. Make it first: {folder!r}.", path)


async def _lock(folder: int) -> None:
    import fcntl

    deadline = anyio.current_time() + _PATIENCE
    while anyio.current_time() < deadline:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await anyio.sleep(0.002)
        except OSError:
            return  # a file system without locks
        else:
            return


def _make_way(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return

    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(
            errno.EEXIST, "There is something at the path of the monitor's socket that is no socket. It is left alone", path
        )

    if _is_live(path):
        raise OSError(
            errno.EADDRINUSE, "Somebody listens at the path of the monitor's socket already: another service, or one like it", path
        )

    os.unlink(path)


def _is_live(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        # Anything but a refusal leaves it alone: a line that is full is one that somebody has opened.
        return probe.connect_ex(path) != errno.ECONNREFUSED


def _bound(path: str) -> tuple[socket.socket, File]:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        with _closed_to_others(listener):
            listener.bind(path)

        found = os.lstat(path)
        if stat.S_IMODE(found.st_mode) != MODE:
            os.chmod(path, MODE)  # the umask took away more than it should

        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise

    return listener, _file(found)


@contextmanager
def _closed_to_others(listener: socket.socket) -> Generator[None]:
    if sys.platform == "linux":
        os.fchmod(listener.fileno(), MODE)
        yield
        return

    before = os.umask(0o777 & ~MODE)
    try:
        yield
    finally:
        os.umask(before)


def _file(found: os.stat_result) -> File:
    return found.st_dev, found.st_ino
