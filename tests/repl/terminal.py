"""A pseudo-terminal to type into and to read back from."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[2] / "src"
ESCAPES = re.compile(r"\x1b\][^\x07]*\x07|\x1b\[[0-9;?>=]*[a-zA-Z]|\x1b[=>]|\r|\x07|.\x08")
PATIENCE = 30.0

# The terminal becomes the controlling one of what runs in it, so that its Ctrl-C is a signal.
IN_THE_FOREGROUND = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execve(sys.argv[1], sys.argv[1:], dict(os.environ))"
)


class Terminal:
    """
    A Python command in a terminal of its own.

    Args:
        arguments: what the interpreter gets.
        prompt: what it says when it is ready for the next input, without the end of the line above.
        farewell: what is typed to leave: end of file, by default.
        environment: on top of this process's.

    Attributes:
        said: all that was on the screen, without colours and cursor movements.
        raw: the same as it came.

    """

    def __init__(self, *arguments: str, prompt: str = ">>> ", farewell: str = "\x04", **environment: str) -> None:
        self._prompt = re.compile(rf"\n{prompt}\Z")
        self._farewell = farewell
        self._mark = uuid.uuid4().hex
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-IS", "-c", IN_THE_FOREGROUND, sys.executable, *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={**os.environ, **ORDINARY, "DSPEX_TERMINAL": self._mark, **environment},
        )  # fmt: skip
        os.close(theirs)
        self.raw = ""
        self.said = ""

    # --- reading -----------------------------------------------------------------------------------------------------------------

    def _read(self, until: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            return False

        try:
            data = os.read(self._ours, 65536)
        except OSError:  # Linux says so when nobody is left at the other end
            return False

        self.raw += data.decode(errors="replace")
        self.said = ESCAPES.sub("", self.raw)
        return bool(data)

    def wait_for(self, text: str, since: int = 0) -> str:
        """Waits until *text* stands on the screen after the first *since* characters, and tells those."""
        until = time.monotonic() + PATIENCE
        while text not in self.said[since:]:
            assert self._read(until), f"waited for {text!r}; the screen says:\n{self.said}"

        return self.said[since:]

    def wait_for_prompt(self, since: int = 0) -> str:
        """Waits until it is ready for input, and tells what came after the first *since* characters."""
        until = time.monotonic() + PATIENCE
        while not self._prompt.search(self.said, since):
            assert self._read(until), f"waited for the prompt; the screen says:\n{self.said}"

        return self._prompt.sub("", self.said[since:])

    # --- typing ------------------------------------------------------------------------------------------------------------------

    def type(self, keys: str) -> None:
        """Types *keys* as they are."""
        os.write(self._ours, keys.encode())

    def ask(self, *lines: str) -> str:
        """Types *lines*, each when the one before has been taken, and tells what came after the last one until the next prompt."""
        since = len(self.said)
        for line in lines[:-1]:
            self.type(f"{line}\n")
            self.wait_for("... ", since)
            since = len(self.said)

        self.type(f"{lines[-1]}\n")
        return self.wait_for_prompt(since).partition("\n")[2]

    def define(self, *lines: str) -> str:
        """Types a compound statement and the empty line that ends it."""
        return self.ask(*lines, "")

    def interrupt(self, since: int) -> str:
        """Types Ctrl-C and tells what came after the first *since* characters until the next prompt."""
        self.type("\x03")
        self.wait_for("KeyboardInterrupt", since)
        return self.wait_for_prompt(since)

    def interrupt_typing(self, since: int) -> str:
        """
        The same in the middle of a line that is being typed.

        Readline misses a signal that comes between its echo and its wait for the next key. A person presses again, and so does this.
        """
        until = time.monotonic() + PATIENCE
        while "KeyboardInterrupt" not in self.said[since:]:
            assert time.monotonic() < until, f"Ctrl-C did nothing; the screen says:\n{self.said}"
            self.type("\x03")
            self._read(time.monotonic() + 0.5)

        return self.wait_for_prompt(since)

    def leave(self, farewell: str | None = None) -> str:
        """Types *farewell*, or what was given for it, waits until it has ended, and tells what came after it."""
        typed = self._farewell if farewell is None else farewell
        since = len(self.said) + len(typed.rstrip("\x04\n"))
        self.type(typed)
        until = time.monotonic() + PATIENCE
        while self._read(until):
            pass

        self.process.wait(PATIENCE)
        return self.said[since:]

    # --- what runs in it ---------------------------------------------------------------------------------------------------------

    def running(self) -> set[int]:
        """The processes in it and all that these started, in whatever session: they inherit its mark."""
        return {pid for pid in _pids() if f"DSPEX_TERMINAL={self._mark}".encode() in _environment(pid)}

    def close(self) -> None:
        """Ends whatever still runs in it."""
        for pid in self.running():
            os.kill(pid, signal.SIGKILL)

        self.process.wait(PATIENCE)
        os.close(self._ours)


ORDINARY: dict[str, Any] = {
    "PYTHONPATH": str(SOURCE),
    "PYTHONWARNINGS": "default",
    "PYTHON_BASIC_REPL": "1",
    "PYTHON_HISTORY": os.devnull,
    "INPUTRC": os.devnull,
    "TERM": "dumb",
}


Opening = Callable[..., Terminal]


def _pids() -> Iterator[int]:
    yield from (int(name) for name in os.listdir("/proc") if name.isdigit())


def _environment(pid: int) -> bytes:
    try:
        return Path("/proc", str(pid), "environ").read_bytes()
    except OSError:  # gone, or somebody else's
        return b""
