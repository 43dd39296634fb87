"""The border between the worker and the user's code: whatever comes out of that is the outcome of one call, never the worker's end."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Optional, Type


class Outcome:
    """
    What became of a call. As a block it lets no exception out, not even SystemExit or KeyboardInterrupt, but keeps it.

    So::

        outcome = Outcome()
        with outcome:
            outcome.value = program()
    """

    def __init__(self) -> None:
        self.value: Any = None
        self.error: Optional[BaseException] = None

    def __enter__(self) -> Outcome:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> bool:
        self.error = error
        return True
