"""
How a worker is started: its command, its environment, and what the hello tells it.

A worker of this interpreter gets the host's own `sys.path`, so it may skip `site` and start in half the time. Another interpreter
finds its packages by itself and gets nothing of the host's but what the pool's options name.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

if TYPE_CHECKING:
    from .pool import Pool

BOOT: Final = str(Path(__file__).parent.parent / "child" / "boot.py")


@frozen(kw_only=True)
class Launch:
    """Everything that is decided before a worker process exists."""

    name: str
    interpreter: str
    flags: tuple[str, ...]
    cwd: str | None = None
    environment: Mapping[str, str] | None = field(default=None, repr=False)
    config: Mapping[str, Any] = field(factory=dict[str, Any])

    def command(self, control: int, lifeline: int) -> list[str]:
        """The argument list for a worker whose ends of the control socket and of the lifeline are these descriptors."""
        return [self.interpreter, *self.flags, BOOT, str(control), str(lifeline)]

    @property
    def advice(self) -> str:
        """What to look at when an interpreter ran and was no worker; nothing when it is this one."""
        return "" if "-S" in self.flags else f" Expected {self.interpreter!r} to be Python 3.9 or newer: check the pool's python=."

    def explain(self, error: OSError | ValueError) -> str:
        """Why the process could not be started, and what to look at."""
        if self.cwd is not None and not Path(self.cwd).is_dir():
            return f"its working directory {self.cwd!r} is not a directory. Check the pool's cwd=."

        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            return f"there is no Python interpreter at {self.interpreter!r}. Check the pool's python=."

        if isinstance(error, PermissionError):
            return f"the interpreter {self.interpreter!r} may not be executed. Check the pool's python=."

        return f"{self.interpreter!r} could not be run: {error}"


def plan_launch(name: str, options: Pool) -> Launch:
    """How workers of the pool *name* are started, read off its options and this process."""
    here = runs_this_interpreter(options.python)
    return Launch(
        name=f"A worker of pool {name!r}",
        interpreter=options.python if options.python is not None else sys.executable,
        flags=("-I", "-S") if here else ("-I",),
        cwd=options.cwd,
        environment={**os.environ, **options.env} if options.env else None,
        config=_config(options, here=here),
    )


def runs_this_interpreter(python: str | None) -> bool:
    """Whether the pool's *python* is the one this process runs, virtual environment included."""
    return python is None or os.path.abspath(python) == os.path.abspath(sys.executable)


def _config(options: Pool, *, here: bool) -> dict[str, Any]:
    path = list(options.path)
    config: dict[str, Any] = {"path": [*path, *_host_path()] if here else path, "imports": list(options.imports)}
    if options.cwd is None and here:
        config["cwd"] = os.getcwd()

    return config


def _host_path() -> list[str]:
    # The empty entry means the directory one is in, which the host may leave.
    return [entry or os.getcwd() for entry in sys.path]
