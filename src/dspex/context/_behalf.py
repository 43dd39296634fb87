"""On whose behalf code runs, where that decides whether an operation has to wait. It follows the task, and into threads."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._calls import Calls
    from ._mailbox import Request

# The life that this code helps to furnish: what it asks of its context goes before everybody else's, until that life is up.
furnishing: ContextVar[object | None] = ContextVar("dspex_furnishing", default=None)

# The request in whose turn of the owner this code runs: as long as that isn't answered, its context can take nothing from here.
in_turn: ContextVar[Request | None] = ContextVar("dspex_in_turn", default=None)

# The calls, of one life of a context, that the program this code runs in is one of.
in_call: ContextVar[Calls | None] = ContextVar("dspex_in_call", default=None)
