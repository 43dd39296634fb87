"""Contexts on every backend there is, to run one specification on them all; and backends of a user's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

from anyio.lowlevel import checkpoint
from state.awaited_store import AwaitedStore

from dspex import Bridge, Context
from dspex.abc import Capabilities
from dspex.state import LocalState
from dspex.variables import Definition, Variable


class OwnSync:
    """A user's own backend: no base class, and only the methods that must be there."""

    capabilities = Capabilities(atomic_updates=True)
    requires_bridge = False

    def __init__(self) -> None:
        self.inner = LocalState()
        self.closed_with: list[bool] = []

    def open(self, session_id: str, *, ttl: float | None = None, existing: Sequence[Variable] | None = None) -> None:
        self.inner.open(session_id, ttl=ttl, existing=existing)

    def close(self, *, drop: bool = False) -> None:
        self.closed_with.append(drop)
        self.inner.close(drop=drop)

    def define(self, definition: Definition, value: Any) -> str:
        return self.inner.define(definition, value)

    def get(self, key: Any) -> Any:
        return self.inner.get(key)

    def set(self, key: Any, value: Any, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None) -> int:
        return self.inner.set(key, value, metadata, expected_version)

    def set_many(self, updates: Mapping[Any, Any], metadata: Mapping[str, Any] | None = None, atomic: bool = True) -> dict[str, int]:
        return self.inner.set_many(updates, metadata, atomic)

    def delete(self, key: Any) -> None:
        self.inner.delete(key)

    def info(self, key: Any) -> Variable:
        return self.inner.info(key)

    def scan(self) -> Iterator[list[Variable]]:
        return self.inner.scan()


class OwnAsync:
    """The same behind awaits."""

    capabilities = Capabilities(atomic_updates=True)
    requires_bridge = False

    def __init__(self) -> None:
        self.inner = LocalState()
        self.closed_with: list[bool] = []

    async def _there_and_back(self, method: str, *args: Any, **options: Any) -> Any:
        await checkpoint()
        answer = getattr(self.inner, method)(*args, **options)
        await checkpoint()
        return answer

    async def open(self, session_id: str, *, ttl: float | None = None, existing: Sequence[Variable] | None = None) -> None:
        await self._there_and_back("open", session_id, ttl=ttl, existing=existing)

    async def close(self, *, drop: bool = False) -> None:
        self.closed_with.append(drop)
        await self._there_and_back("close", drop=drop)

    async def define(self, definition: Definition, value: Any) -> str:
        return str(await self._there_and_back("define", definition, value))

    async def get(self, key: Any) -> Any:
        return await self._there_and_back("get", key)

    async def set(self, key: Any, value: Any, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None) -> int:
        return int(await self._there_and_back("set", key, value, metadata, expected_version))

    async def set_many(self, updates: Mapping[Any, Any], metadata: Mapping[str, Any] | None = None, atomic: bool = True) -> dict[str, int]:
        return dict(await self._there_and_back("set_many", updates, metadata, atomic))

    async def delete(self, key: Any) -> None:
        await self._there_and_back("delete", key)

    async def info(self, key: Any) -> Variable:
        found: Variable = await self._there_and_back("info", key)
        return found

    async def scan(self) -> AsyncIterator[list[Variable]]:
        for page in self.inner.scan():
            await checkpoint()
            yield page


# Their bridges are never opened: a store is all that variables need, and no worker has to start.
HOMES: dict[str, Callable[..., Context]] = {
    "local": lambda **options: Context(**options),
    "bridged": lambda **options: Context(backend="bridged", bridge=Bridge(), **options),
    "awaited": lambda **options: Context(backend="bridged", bridge=Bridge(store=AwaitedStore()), **options),
    "own sync": lambda **options: Context(backend=OwnSync, **options),
    "own async": lambda **options: Context(backend=OwnAsync, **options),
}
