"""The prompt: it reads lines, has them run on the loop, and shows what they raise."""

from __future__ import annotations

import ast
import code
import linecache
import sys
import traceback
import warnings
from types import CodeType, TracebackType
from typing import Any

from anyio.from_thread import BlockingPortal

from ._line import Line
from ._terminal import is_terminal


class Console(code.InteractiveConsole):
    """The ordinary interactive console, but that ``await`` may stand anywhere and each input runs on the loop of *portal*."""

    def __init__(self, portal: BlockingPortal, namespace: dict[str, Any]) -> None:
        super().__init__(namespace)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._portal = portal
        self._namespace = namespace
        self._inputs = 0

    def interact(self, banner: str | None = "", exitmsg: str | None = "") -> None:
        """Reads and runs until end of file or ``exit()``."""
        try:
            while self._is_interrupted(banner, exitmsg):
                self.resetbuffer()
        finally:
            # A coroutine that `_` still holds is nobody's business any more.
            warnings.filterwarnings("ignore", message=r"^coroutine .* was never awaited$", category=RuntimeWarning)

    def _is_interrupted(self, banner: str | None, exitmsg: str | None) -> bool:
        try:
            super().interact(banner, exitmsg)
        except KeyboardInterrupt:  # a second one, while the first was being told of
            return True

        return False

    def raw_input(self, prompt: str = "") -> str:
        """One line, without its end. What comes from a pipe is asked for without a prompt."""
        if is_terminal():
            return input(prompt)

        line = "" if sys.stdin.closed else sys.stdin.readline()
        if not line:
            raise EOFError

        return line.rstrip("\n")

    def write(self, data: str) -> None:
        """To stderr, after all that was printed. The empty line that answers end of file has no place in a pipe."""
        sys.stdout.flush()
        if data != "\n" or is_terminal():
            sys.stderr.write(data)

    def runsource(self, source: str, filename: str = "", symbol: str = "single") -> bool:
        """Gives each input a name of its own, under which tracebacks and `inspect` find its lines."""
        filename = f"<input {self._inputs + 1}>"
        lines = [line + "\n" for line in source.split("\n")]
        linecache.cache[filename] = (len(source), None, lines, filename)
        more = super().runsource(source, filename, symbol)
        self._inputs += not more
        return more

    def runcode(self, code: CodeType) -> None:
        """Runs one input as a task on the loop, and waits for it."""
        line = Line(code, self._namespace)
        line.run_on(self._portal)
        error, line.error = line.error, None
        if isinstance(error, SystemExit):
            raise error

        if isinstance(error, KeyboardInterrupt) or (error is None and line.interrupted):
            raise KeyboardInterrupt

        if error is not None:
            self._show(error, code.co_filename)

    def _show(self, error: BaseException, filename: str) -> None:
        trace = _from(error.__traceback__, filename)
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
        sys.stdout.flush()
        if sys.excepthook is sys.__excepthook__ and sys.version_info < (3, 13):  # which opens files to find lines, and not the cache
            traceback.print_exception(error.with_traceback(trace))
        else:
            sys.excepthook(type(error), error.with_traceback(trace), trace)


def _from(trace: TracebackType | None, filename: str) -> TracebackType | None:
    """The part of a traceback that begins in the input."""
    found = trace
    while found is not None and found.tb_frame.f_code.co_filename != filename:
        found = found.tb_next

    return found or trace
