"""
What workers log, said again by the host's own `logging`.

A program's logger ``app.ocr`` is ``dspex.worker.app.ocr`` here: one name to listen to or to silence, and no worker speaks in another's. The
records carry ``worker_pid`` and ``program_id``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ...wire import Log

ROOT: Final = "dspex.worker"
_LEVELS: Final = range(logging.DEBUG, logging.CRITICAL + 1)
_NAME_LENGTH: Final = 200
# A logger once made is never forgotten, and a program may make up names without end.
_NAMES_LIMIT: Final = 1000
_names: set[str] = set()


def relay(record: Log, *, pid: int | None = None) -> None:
    """Logs *record* of worker *pid* here. Its text is taken as it is: nothing in it is formatted."""
    level = record.level if record.level in _LEVELS else logging.INFO
    extra = {"worker_pid": pid, "program_id": record.facts.get("program")}
    logging.getLogger(_known(record.logger)).log(level, "%s", record.text, extra=extra)


def _known(name: str) -> str:
    if not name or name == ROOT or len(name) > _NAME_LENGTH:
        return ROOT

    full = name if name.startswith(f"{ROOT}.") else f"{ROOT}.{name}"
    if full not in _names and len(_names) >= _NAMES_LIMIT:
        return ROOT

    _names.add(full)
    return full
