"""How an event is drawn."""

from __future__ import annotations

from ..supervision._drawing import safe
from ._lines import PLAIN, Line, within
from ._snapshot import Event
from ._words import of_time

LOOK_OF = {"info": PLAIN, "warning": "warning", "error": "error"}
MARK_OF = {"info": "·", "warning": "▲", "error": "✖"}
LONGEST = 500


def event_line(event: Event, columns: int) -> Line:
    """When, how bad, and what."""
    look = LOOK_OF.get(event.level, PLAIN)
    mark = f"{MARK_OF.get(event.level, '·')} "
    return within(((f"{of_time(event.at)} ", "dim"), (mark, look or "dim"), (safe(event.text, LONGEST), look)), columns)
