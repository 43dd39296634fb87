"""What ``python -m dspex demo`` shows: real state moving from a dict in this process to worker processes."""

from __future__ import annotations

import logging
import os
import sys
from importlib.util import find_spec

import anyio

from .._exceptions import MissingExtra
from ._show import Show
from ._story import tell


def run(backend: str) -> int:
    """
    Tell the story on the event loop *backend*, to stdout.

    Returns the exit code: 1 where that loop isn't installed, or where whoever reads stdout leaves before the end.

    """
    if find_spec(backend) is None:
        print(MissingExtra(backend, needed_for=f"The demo on {backend}", install=f"pip install 'dspex[{backend}]'"), file=sys.stderr)
        return 1

    # The story tells of the worker that it kills: the log needn't.
    logging.getLogger("dspex.worker").addHandler(logging.NullHandler())
    try:
        anyio.run(tell, Show.on_stdout(), backend=backend)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head`, say. Python flushes stdout once more as it ends, and must find something that takes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1

    return 0
