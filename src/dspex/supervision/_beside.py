"""Work with others beside it, which don't outlive it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup

T = TypeVar("T")


async def with_others(work: Callable[[TaskGroup], Awaitable[T]]) -> T:
    """
    Awaits *work*, which may start others in the group it is given. When it has ended, so do they: they are cancelled and waited for.

    What *work* raises comes out as itself, never in a group of exceptions. The others must not raise.
    """
    failures: list[BaseException] = []
    results: list[T] = []
    async with anyio.create_task_group() as others:
        try:
            results.append(await work(others))
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # noqa: BLE001 - raised below, past the group
            failures.append(error)

        others.cancel_scope.cancel()

    if failures:
        raise failures.pop()

    return results.pop()
