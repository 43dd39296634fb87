"""Work with others beside it, which don't outlive it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


class Others:
    """Where work starts what runs beside it. What is started must not raise."""

    __slots__ = ("_any", "_group")

    def __init__(self) -> None:
        self._group = anyio.create_task_group()
        self._any = False

    def start_soon(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: object, name: str) -> None:
        """Starts a task that is cancelled when the work has ended."""
        self._any = True
        self._group.start_soon(function, *args, name=name)

    async def beside(self, work: Callable[[Others], Awaitable[T]]) -> T:
        """See `with_others`."""
        failures: list[BaseException] = []
        results: list[T] = []
        async with self._group:
            try:
                results.append(await work(self))
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # noqa: BLE001 - raised below, past the group
                failures.append(error)

            if self._any:  # to cancel nobody takes longer than all else here
                self._group.cancel_scope.cancel()

        if failures:
            raise failures.pop()

        if not results:
            raise RuntimeError("A task beside the one that waits for all of them was cancelled by nobody we know.")

        return results.pop()


async def with_others(work: Callable[[Others], Awaitable[T]]) -> T:
    """
    Awaits *work*, which may start others beside it. When it has ended, so do they: they are cancelled and waited for.

    What *work* raises comes out as itself, never in a group of exceptions.
    """
    return await Others().beside(work)
