"""
Do something at the k-th suspension of a coroutine: cancel its caller, above all.

The action runs just before the suspension is handed to the loop, so that k = 1..K covers every await there is, on both loops. Only
cancel there, never throw: the task already stands in some lock's queue, and would be woken later while it waits for something else.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any


class Suspensions:
    """An awaitable that runs *coroutine*, counts its suspensions in `count`, and calls *action* at number *at*, counted from 1."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], *, at: int | None = None, action: Callable[[], object] | None = None) -> None:
        self._coroutine = coroutine
        self._at = at
        self._action = action
        self.count = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        step: Callable[[Any], Any] = self._coroutine.send
        value: Any = None
        while True:
            try:
                yielded = step(value)
            except StopIteration as stop:
                return stop.value

            self._suspended()
            try:
                step, value = self._coroutine.send, (yield yielded)
            except BaseException as error:  # it goes on into the coroutine, which is where it was meant to go
                step, value = self._coroutine.throw, error

    def _suspended(self) -> None:
        self.count += 1
        if self.count == self._at and self._action is not None:
            self._action()
