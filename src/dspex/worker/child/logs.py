"""
What programs log, for the host to log again: WARNING and above, as long as nobody has configured `logging` in the worker.

`logging` takes 8 ms to import and most programs do without it, so it is waited for: the moment anybody imports it, its last resort, which
writes to stderr whatever no handler has taken, becomes ours. A program that adds a handler has its records to itself.
"""

from __future__ import annotations

import sys
from typing import Any, Callable, Dict

from .link import Gone

Tell = Callable[[int, str, str, Dict[str, Any]], None]

NAME = "logging"
MAX_TEXT = 8192
"""Characters of a record that travel."""

MAX_WAITING = 1000
"""Records that wait to be sent. What comes on top is told on stderr alone: no program is held up by how fast the host listens."""


def relay_logs(tell: Tell) -> None:
    """Have *tell* (level, logger, text, facts) called with each record that falls through to the last resort."""
    module = sys.modules.get(NAME)
    if module is None:
        sys.meta_path.insert(0, _Lookout(tell))
    else:
        _install(module, tell)


class _Lookout:
    """A finder of one module, which lets the other finders find it and is told when it has been loaded."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != NAME:
            return None

        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Loader(spec.loader, self._tell)  # type: ignore[assignment]
                return spec

        return None


class _Loader:
    """The loader that was found, and afterwards ourselves. It leaves no trace on the module."""

    def __init__(self, loader: Any, tell: Tell) -> None:
        self._loader = loader
        self._tell = tell

    def create_module(self, spec: Any) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _install(module, self._tell)


def _install(logging: Any, tell: Tell) -> None:
    import threading
    from _queue import SimpleQueue

    original = logging.lastResort
    waiting: SimpleQueue[Any] = SimpleQueue()

    class LastResort(logging.Handler):  # type: ignore[misc]
        """Tells the host, and writes to stderr as the one before did: what a worker said last stays among its last words."""

        def emit(self, record: Any) -> None:
            if original is not None:
                original.emit(record)

            if waiting.qsize() < MAX_WAITING:
                try:
                    waiting.put((record.levelno, record.name, self.format(record)[:MAX_TEXT], _facts()))
                except Exception:
                    self.handleError(record)

    # Not sent in the thread that logs: a finalizer may log, in whatever thread, and that one may just be holding the connection's lock.
    threading.Thread(target=_send, args=(waiting, tell), name="dspex-logs", daemon=True).start()
    logging.lastResort = LastResort(logging.WARNING)


def _send(waiting: Any, tell: Tell) -> None:
    try:
        while True:
            tell(*waiting.get())
    except Gone:
        """The main thread sees it too, and ends us."""


def _facts() -> Dict[str, Any]:
    from .call import current  # loaded by whoever runs programs

    context = current.get(None)
    return {} if context is None else {"program": context._call.program}
