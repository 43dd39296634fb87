"""Calling for each of many inputs, a few at once, with the results in order and a failure that comes out bare."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

import anyio

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")


async def map_in_order(function: Callable[[I], Awaitable[R]], items: Iterable[I] | AsyncIterable[I], limit: int) -> list[R]:
    """``[await function(item) for item in items]``, *limit* at once. The first failure cancels the rest and is raised, in no group."""
    if isinstance(limit, bool) or not isinstance(limit, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"limit: expected an int of at least 1 or None, got {limit!r}.")

    if limit < 1:
        raise ValueError(f"limit: expected at least 1, got {limit}.")

    run = _Run(function, items)
    async with anyio.create_task_group() as group:
        for _ in range(limit):
            group.start_soon(run.serve, group.cancel_scope)

    if run.failure is not None:
        raise run.failure

    return [run.results[index] for index in range(len(run.results))]


class _Run:
    def __init__(self, function: Callable[[Any], Awaitable[Any]], items: Iterable[Any] | AsyncIterable[Any]) -> None:
        self.results: dict[int, Any] = {}
        self.failure: Exception | None = None
        self._function = function
        self._items = _numbered(items)
        self._turn = anyio.Lock()

    async def serve(self, scope: anyio.CancelScope) -> None:
        try:
            while (item := await self._next()) is not None:
                self.results[item[0]] = await self._function(item[1])
        except Exception as error:  # noqa: BLE001  # handed to the caller of map
            if self.failure is None:
                self.failure = error
                scope.cancel()

    async def _next(self) -> tuple[int, Any] | None:
        async with self._turn:
            return await anext(self._items, None)


async def _numbered(items: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[tuple[int, Any]]:
    index = 0
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield index, item
            index += 1
    else:
        for item in items:
            yield index, item
            index += 1
