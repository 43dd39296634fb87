"""The demo's programs. They run in worker processes, which import this module by name."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from ..programs import isolated

if TYPE_CHECKING:
    from ..programs import SyncProgramContext


@isolated
def headline(text: str, ctx: SyncProgramContext) -> dict[str, object]:
    """The first words of *text*, as many as the context's variable says. Counts its own calls in the context."""
    words = text.split()[: ctx.get("max_words")]
    return {"headline": " ".join(words).title(), "pid": os.getpid(), "calls": ctx.add("calls", 1)}


@isolated
def crash() -> None:
    """Ends its process the hard way, as a segmentation fault would."""
    os.kill(os.getpid(), signal.SIGKILL)
