"""An ``async def`` program runs here, in its caller's task: cancelling the caller cancels the program, and their context variables are one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._failure import PASSING, program_failed
from .context import Life, ProgramContext
from .signature import CONTEXT

if TYPE_CHECKING:
    from .home import Home

ENDED = "it has ended, and its context with it"


async def run_in_task(program_id: str, run: Callable[..., Any], inputs: dict[str, Any], home: Home | None) -> Any:
    """Await *run*; *home* is None when it takes no context. Raises `ProgramFailed` from what it raised."""
    life = Life(program_id)
    if home is not None:
        inputs = {**inputs, CONTEXT: ProgramContext(home, life)}

    try:
        return await run(**inputs)
    except PASSING:
        raise
    except (Exception, SystemExit) as error:  # whatever the program raises
        raise program_failed(program_id, error) from error
    finally:
        life.over = ENDED
