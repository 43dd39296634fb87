"""What is ready at the prompt."""

from __future__ import annotations

from typing import Any

from ..context import Context
from ..supervision import Supervisor, leave_all


async def start_what_is_ready() -> dict[str, Any]:
    """
    Starts a supervisor and, beside it, a context. Gives them by their names at the prompt.

    Beside it, so that trying out what a supervisor does with children that crash, to its limit, doesn't cost what the context holds.
    """
    return {"supervisor": await Supervisor.start(name="repl"), "ctx": await Context.start(name="scratch")}


async def stop_what_is_left() -> None:
    """Stops these, and whatever else somebody started at the prompt and didn't stop, the youngest first."""
    await leave_all()
