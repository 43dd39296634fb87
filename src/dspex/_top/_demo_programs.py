"""The programs of the demo's service. They run in worker processes, which import this module by name."""

from __future__ import annotations

import random
import sys
import time
from typing import TYPE_CHECKING

from ..programs import isolated

if TYPE_CHECKING:
    from ..programs import SyncProgramContext


@isolated
def answer(text: str, ctx: SyncProgramContext) -> str:
    """Takes its time over *text*, as a language model does, and counts the turn in the chat that asked."""
    print(f"answering turn {ctx.add('turns', 1)}: {text!r}", file=sys.stderr)
    time.sleep(random.lognormvariate(-4.0, 0.7))
    return text.upper()


@isolated
def price(item: str, ctx: SyncProgramContext) -> int:
    """What *item* costs today, in cents. Of some items nobody knows."""
    if item == "unicorn":
        raise LookupError(f"no price for {item!r}")

    time.sleep(0.004)
    margin: float = ctx.get("margin")
    return round(margin * 20 * len(item))
