"""What workers log, said again by the host's own `logging`, under the name the worker gave it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ...wire import Log

_LEVELS: Final = range(logging.DEBUG, logging.CRITICAL + 1)
_LOGGER_NAME_LIMIT: Final = 200


def relay(record: Log) -> None:
    """Logs *record* here. Its text is taken as it is: nothing in it is formatted."""
    level = record.level if record.level in _LEVELS else logging.INFO
    logging.getLogger(record.logger[:_LOGGER_NAME_LIMIT] or "dspex.worker").log(level, "%s", record.text)
