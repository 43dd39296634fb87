"""
Failures made on purpose: to see that what is built on dspex goes on.
"""

from __future__ import annotations

import os
import random
import signal
from typing import TYPE_CHECKING, Final

from .._exceptions import ContextClosed

if TYPE_CHECKING:
    from ..bridge import Bridge
    from ..context import Context

_ALIVE: Final = ("running", "switching")


class Chaos(RuntimeError):
    """What `crash` makes a context crash of, unless told otherwise."""


def crash(context: Context, error: Exception | None = None) -> None:
    """
    Makes *context* crash in this very step, as a backend does that fails between two operations. Its supervisor, if it has one, restarts it.

    Raises:
        ContextClosed: it isn't running.

    """
    if context.status not in _ALIVE:
        raise ContextClosed(context.id, status=context.status.value)

    context.variables.crash(error or Chaos("crashed on purpose"), "crash()")


def kill(bridge: Bridge, *, pool: str = "default") -> int | None:
    """
    Kills one worker process of *bridge*, any of *pool*, as the kernel does when memory runs out. Returns its pid, None if there is none now.

    Raises:
        KeyError: there is no such pool.

    """
    workers = bridge.statistics().pools[pool].workers
    if not workers:
        return None

    pid = random.choice(workers).pid  # noqa: S311 - any
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return None

    return pid
