"""What ``python -m dspex demo`` shows: real state moving from a dict in this process to worker processes."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import anyio

from .._exceptions import MissingExtra
from ._show import Show
from ._story import tell


def run(backend: str) -> int:
    """Tell the story on the event loop *backend*, to stdout. Returns the exit code: 1 where that loop isn't installed."""
    if find_spec(backend) is None:
        print(MissingExtra(backend, needed_for=f"The demo on {backend}", install=f"pip install 'dspex[{backend}]'"), file=sys.stderr)
        return 1

    anyio.run(tell, Show.on_stdout(), backend=backend)
    return 0
