"""
One worker process: started, listened to, waited for and killed.

It is started by `subprocess.Popen` on the loop's own thread. `anyio.open_process` forks in a short-lived thread on trio, and a worker
that asked to die with its parent (PDEATHSIG) would then die with that thread, ten seconds later.

It leads a session, hence a process group, of its own: what it starts dies with it, and a Ctrl-C in the terminal reaches the host alone.
Its only credential is one end of a socketpair, which it inherits; there is no path and no token to guess or to clean up.

Of a second pipe, the lifeline, the host holds the writing end and never writes: when the last copy of it closes, as it does when the
host is killed, the kernel kills the worker's whole group.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from time import monotonic
from typing import TYPE_CHECKING, Final

import anyio

from ..._exceptions import StartFailed, WorkerDied

if TYPE_CHECKING:
    from .launch import Launch

LAST_WORDS_BYTES: Final = 8192
_READ_BYTES: Final = 65_536
# A pipe holds 64 KiB, and what it started may go on writing: the rest is read in at most so many reads.
_PIPE_READS: Final = 16
# Without pidfds (macOS) the end of a process is looked for this often, in seconds.
_POLL_SECONDS: Final = 0.005


def ended_in_words(exit_code: int | None) -> str:
    """How a process ended, from its exit code: negative ones are signals."""
    if exit_code is None:
        return "ended in a way nobody saw"

    if exit_code >= 0:
        return f"exited with code {exit_code}"

    return f"was killed by {_name_of(-exit_code) or 'an unnamed signal'} (signal {-exit_code})"


def _name_of(number: int) -> str | None:
    try:
        return signal.Signals(number).name
    except ValueError:
        return None


class WorkerProcess:
    """
    A started process, its end of the control socket, and what it last said.

    Attributes:
        pid: its process id, which is its process group's as well.
        control: the host's end of the inherited socketpair, non-blocking.
        exit_code: None while it runs; negative for the signal that ended it.
        killed_for: why it was killed by this process, in words; empty if it wasn't, or not for anything to be told.

    Raises:
        StartFailed: the interpreter, the working directory or the environment doesn't exist, or can't be used. Nothing is left open.

    """

    __slots__ = ("_began", "_ended", "_lifeline", "_output", "_pidfd", "_popen", "_said", "control", "exit_code", "killed_for", "pid")
    control: socket.socket

    def __init__(self, launch: Launch) -> None:
        self._began = monotonic()
        self._ended: float | None = None
        try:
            self._start(launch)
        except (OSError, ValueError) as error:  # ValueError: a NUL in a path, a name of an environment variable that is none
            raise StartFailed(launch.name, problem=launch.explain(error)) from error

        self.control.setblocking(False)
        os.set_blocking(self._output, False)
        self.pid: int = self._popen.pid
        self.exit_code: int | None = None
        self.killed_for: str = ""
        self._said = bytearray()

    def _start(self, launch: Launch) -> None:
        with contextlib.ExitStack() as failed, contextlib.ExitStack() as always:
            self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            failed.callback(self.control.close)
            always.callback(theirs.close)
            self._output, output = os.pipe()
            failed.callback(os.close, self._output)
            always.callback(os.close, output)
            lifeline, self._lifeline = os.pipe()
            failed.callback(os.close, self._lifeline)
            always.callback(os.close, lifeline)
            self._popen = _spawn(launch, theirs.fileno(), lifeline, output)
            failed.callback(self._popen.wait)
            failed.callback(self._popen.kill)
            self._pidfd = _open_pidfd(self._popen.pid)
            failed.pop_all()

    def __repr__(self) -> str:
        return f"<WorkerProcess {self.pid} [{'running' if self.exit_code is None else ended_in_words(self.exit_code)}]>"

    async def wait(self) -> None:
        """Returns once the process has ended. What it left in its group is killed, and it is reaped, in that order."""
        if self.exit_code is not None:
            return

        if self._pidfd is not None:
            await anyio.wait_readable(self._pidfd)
        else:
            while self._popen.poll() is None:  # noqa: ASYNC110 - nobody else tells
                await anyio.sleep(_POLL_SECONDS)

        self.reap()

    def reap(self) -> None:
        """Collects the exit code of a process that has ended, and reads what it still had to say. Idempotent."""
        if self.exit_code is not None:
            return

        # Until it is reaped its id can't be given to another process, so the group still is its own.
        self._signal_group(signal.SIGKILL)
        self.exit_code = self._popen.wait()
        self._ended = monotonic()
        self._read_rest()

    def kill(self) -> None:
        """Ends the process and its group now. Of one that has ended already, nothing."""
        if self.exit_code is None:
            self._signal(signal.SIGKILL)
            self._signal_group(signal.SIGKILL)

    def terminate(self) -> None:
        """Asks the process alone to end, by SIGTERM."""
        if self.exit_code is None:
            self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd is None:
                self._popen.send_signal(number)
            else:
                signal.pidfd_send_signal(self._pidfd, number)

    def _signal_group(self, number: int) -> None:
        # EPERM: on macOS a group of nothing but zombies.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def drain_output(self) -> None:
        """Reads stdout and stderr until both are closed, so that a talkative program never blocks on a full pipe."""
        count: int | None = None
        while count != 0:
            await anyio.wait_readable(self._output)
            count = self._read_some()

    def _read_some(self) -> int | None:
        try:
            data = os.read(self._output, _READ_BYTES)
        except BlockingIOError:
            return None

        self._said += data
        del self._said[:-LAST_WORDS_BYTES]
        return len(data)

    def _read_rest(self) -> None:
        for _ in range(_PIPE_READS):
            if not self._read_some():
                return

    def resident_bytes(self) -> int:
        """Its resident memory; 0 where that can't be told, or once it has ended."""
        try:
            with open(f"/proc/{self.pid}/statm", "rb") as statm:
                return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            return 0

    @property
    def seconds(self) -> float:
        """How long it has run, or ran."""
        return (monotonic() if self._ended is None else self._ended) - self._began

    @property
    def signal(self) -> str | None:
        """The signal that ended it: ``"SIGKILL"``; None where none did, or none yet."""
        if self.exit_code is None or self.exit_code >= 0:
            return None

        return _name_of(-self.exit_code) or f"signal {-self.exit_code}"

    @property
    def ended(self) -> str:
        """How it ended, in words."""
        if self.killed_for and self.exit_code == -signal.SIGKILL:
            return f"was killed by its host: {self.killed_for}"

        return ended_in_words(self.exit_code)

    @property
    def last_words(self) -> str:
        """The last 8 KiB it wrote to stdout and stderr."""
        return self._said.decode("utf-8", "replace")

    def obituary(self) -> WorkerDied:
        """A fresh error that tells how it ended, for one call that was in it."""
        return WorkerDied(pid=self.pid, exit_code=self.exit_code, ended=self.ended, last_words=self.last_words)

    def close(self) -> None:
        """Closes every descriptor. The process must have been reaped."""
        for descriptor in (self._output, self._lifeline, self._pidfd):
            if descriptor is not None:
                anyio.notify_closing(descriptor)
                os.close(descriptor)

        anyio.notify_closing(self.control)
        self.control.close()


def _spawn(launch: Launch, control: int, lifeline: int, output: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        launch.command(control, lifeline),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=(control, lifeline),
        start_new_session=True,
        env=launch.environment,
        cwd=launch.cwd,
    )


def _open_pidfd(pid: int) -> int | None:
    opener = getattr(os, "pidfd_open", None)
    return None if opener is None else int(opener(pid))
