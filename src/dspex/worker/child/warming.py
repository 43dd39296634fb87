"""What a worker does in the background once it is ready: site and the modules of ``imports=``, before its first program, and a faster codec."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from typing import Any, Callable, Dict, Iterable, Optional

from ...wire import codec
from .link import Gone
from .outcome import Outcome

Tell = Callable[[int, str, Dict[str, Any]], None]

DEBUG = 10


class Warming:
    """
    The background work, once a worker.

    Args:
        config: what the host's hello says: ``imports`` are names of modules, ``warm=False`` leaves everything but those out.
        tell: sends what came of it to the host.

    """

    def __init__(self, config: Dict[str, Any], tell: Tell) -> None:
        self._config = config
        self._tell = tell
        self._done = threading.Event()

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self._run, name="dspex-warming", daemon=True).start()

    def wait(self) -> None:
        """Wait for its end, as everything that runs programs does first."""
        self._done.wait()

    def _run(self) -> None:
        began = time.monotonic()
        failed: Dict[str, str] = {}
        try:
            if self._config.get("warm", True):
                _complete_site()

            failed = import_all(self._config.get("imports") or ())
        finally:
            # Said before any program begins: a worker that ends without having said it has ended by what it imported.
            self._report("imported", {"failed": failed})
            self._done.set()

        # A program is served in the plain codec's time rather than kept waiting for the quicker one.
        # Programs run beside this, and may have taken what an import needs, such as the room for another open file.
        if self._config.get("warm", True):
            with Outcome():
                codec.upgrade()

        self._report("warm", {"seconds": time.monotonic() - began, "codec": codec.name()})

    def _report(self, text: str, facts: Dict[str, Any]) -> None:
        try:
            self._tell(DEBUG, text, facts)
        except Gone:
            """The main thread sees it too, and ends us."""


def _complete_site() -> None:
    """
    Do what ``-S`` left out: it is quicker to start with, but editable installs and virtual environments live in .pth files.

    Entries that are there already keep their places.
    """
    if sys.flags.no_site:
        import site

        site.main()


def import_all(names: Iterable[str]) -> Dict[str, str]:
    """Import the modules *names*; the traceback of each that failed, by name."""
    told = {name: _import(name) for name in names}
    return {name: trace for name, trace in told.items() if trace is not None}


def _import(name: str) -> Optional[str]:
    """The traceback if it failed. A module may raise anything, and the worker can do without it."""
    from .failures import traceback_of  # what it imports takes 8 ms, mostly for nothing

    outcome = Outcome()
    with outcome:
        importlib.import_module(name)

    return None if outcome.error is None else traceback_of(outcome.error)
