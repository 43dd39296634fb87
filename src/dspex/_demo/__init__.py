"""What ``python -m dspex demo`` shows: real state moving from a dict in this process to worker processes."""

from __future__ import annotations

import anyio

from ._show import Show
from ._story import tell


def run(backend: str) -> int:
    """Tell the story on the event loop *backend*, to stdout. Returns the exit code."""
    anyio.run(tell, Show.on_stdout(), backend=backend)
    return 0
