"""``dspex top``: a terminal view of a running service, attached through the socket that it opened with ``monitor.serve(path)``."""

# _app.py           the application: keys, timers, and what moves between link, model and panes
# _link.py          the connection, kept up
# _snapshot.py      what came over it, read once
# _model.py         what is shown and chosen, without a terminal; _browsing.py: in the tree; _counting.py: rates, and what was measured
# _*_lines.py       what is drawn, as lines of plain pieces; _looked_at.py, _context_lines.py: of the selected node; _words.py: numbers
# _panes.py         the parts of the screen; _sheet.py: the widget that they are; _help.py: the keys
# _demo.py          the demo's service as a process; _demo_service.py: that service

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Final

from .._exceptions import MissingExtra

USAGE: Final = """\
dspex top shows a running service. It needs the path of the socket that the service opened:

    async with dspex.monitor.serve("/run/app/dspex.sock"):    # in the service
    dspex top /run/app/dspex.sock                             # here

Without a service at hand:

    dspex top --demo                                          # looks at a made-up one"""


def run(path: str | None, *, every: float = 0.5, demo: bool = False) -> int:
    """
    Show the service whose socket is at *path*, or with *demo* a made-up one, with *every* seconds between two looks, until somebody leaves.

    Returns the exit code: 1 where textual isn't installed or the demo doesn't come up, 2 where it isn't clear what to show, or there is no terminal.

    """
    problem, code = _problem(path, demo)
    if problem:
        print(problem, file=sys.stderr)
        return code

    from ._demo import DemoFailed, demo_service

    service: AbstractContextManager[str | os.PathLike[str]] = demo_service() if path is None else nullcontext(path)
    try:
        with service as socket:
            return _show(os.fspath(socket), every)
    except DemoFailed as failed:
        print(failed, file=sys.stderr)
        return 1


def _problem(path: str | None, demo: bool) -> tuple[str, int]:
    """Why nothing can be shown, and the exit code that says so."""
    if path is None and not demo:
        return USAGE, 2

    if find_spec("textual") is None:
        return str(MissingExtra("textual", needed_for="dspex top", install="pip install 'dspex[top]'")), 1

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return (
            "dspex top draws on a terminal, and there is none. For scripts: dspex tree PATH, dspex inspect PATH NAME, both with --json.",
            2,
        )

    return "", 0


def _show(socket: str, every: float) -> int:
    from functools import partial

    from ..monitor import connect
    from ._app import Top

    return Top(partial(connect, socket), where=socket, every=every, heed_signals=True).run() or 0
