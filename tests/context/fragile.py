"""Backends that fail on demand, and a supervisor's part played by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
from anyio.abc import TaskGroup, TaskStatus
from anyio.lowlevel import checkpoint

from dspex import ChildSpec, Context, Var
from dspex.abc import Capabilities, StateBackend
from dspex.state import LocalState

COUNT = Var("count", int, 0)
NOTES = Var("notes", list[str], [])
FACTS = Var("facts", dict[str, int], {})


class Gone(OSError):
    """The disk has gone: no refusal, so the owner crashes of it."""


class Fragile(LocalState):
    """Local, but `merge` crashes its owner."""

    def merge(self, key: Any, mapping: Any) -> int:
        raise Gone("the disk has gone")


class Torn(Fragile):
    """The same, and no operation of it is atomic."""

    capabilities = Capabilities()


class Slow(StateBackend):
    """
    The same behind awaits. `hold` keeps the owner in its next operation until `go_on`; *fails* names operations that crash it in the middle:
    applied already, the reply lost.
    """

    capabilities = Capabilities(atomic_updates=True)
    requires_bridge = False

    def __init__(self) -> None:
        self.kept = LocalState()
        self.fails: set[str] = set()
        self.taken: list[tuple[str, Any]] = []
        self.opened = 0
        self.closed_with: list[bool] = []
        self._held: anyio.Event | None = None

    def hold(self) -> None:
        self._held = anyio.Event()

    def go_on(self) -> None:
        assert self._held is not None
        self._held.set()
        self._held = None

    async def _do(self, name: str, *args: Any) -> Any:
        self.taken.append((name, args[1] if len(args) > 1 else None))
        if self._held is not None:
            await self._held.wait()

        await checkpoint()
        answer = getattr(self.kept, name)(*args)
        if name in self.fails:
            raise Gone(f"after {name}")

        await checkpoint()
        return answer

    async def open(self, session_id: str, *, ttl: float | None = None, existing: Any = None) -> None:
        await checkpoint()
        self.opened += 1
        self.kept.open(session_id, ttl=ttl, existing=existing)

    async def close(self, *, drop: bool = False) -> None:
        await checkpoint()
        self.closed_with.append(drop)
        self.kept.close(drop=drop)

    async def define(self, definition: Any, value: Any) -> str:
        return str(await self._do("define", definition, value))

    async def get(self, key: Any) -> Any:
        return await self._do("get", key)

    async def set(self, key: Any, value: Any, metadata: Any = None, expected_version: int | None = None) -> int:
        return int(await self._do("set", key, value, metadata, expected_version))

    async def set_many(self, updates: Mapping[str, Any], metadata: Any = None, atomic: bool = True) -> dict[str, int]:
        return dict(await self._do("set_many", updates, metadata, atomic))

    async def append(self, key: Any, item: Any) -> int:
        return int(await self._do("append", key, item))

    async def delete(self, key: Any) -> None:
        await self._do("delete", key)

    async def info(self, key: Any) -> Any:
        return await self._do("info", key)

    async def scan(self) -> Any:
        for page in self.kept.scan():
            await checkpoint()
            yield page


class ByHand:
    """Plays the supervisor of one spec in *group*: starts it, notes how it ended, and tells it what follows."""

    def __init__(self, spec: ChildSpec, group: TaskGroup) -> None:
        self.spec = spec
        self.error: BaseException | None = None
        self._group = group
        self._ended = anyio.Event()
        self.scope = anyio.CancelScope()

    async def start(self) -> Context:
        """Raises what the start raised."""
        self._ended, self.error, self.scope = anyio.Event(), None, anyio.CancelScope()
        context: Context = await self._group.start(self._live)
        return context

    async def _live(self, *, task_status: TaskStatus[Any]) -> None:
        said = _Said(task_status)
        try:
            with self.scope:
                await self.spec.start(task_status=said)
        except Exception as error:
            self.error = error
            if not said.started_already:
                raise
        finally:
            self._ended.set()

    async def ended(self) -> BaseException | None:
        """Waits until nothing of this life is left. What it raised."""
        await self._ended.wait()
        return self.error

    async def stop(self, *, final: bool) -> None:
        assert self.spec.stop is not None
        self.spec.stop(final)
        await self.ended()

    async def tell(self, state: str, error: BaseException | None = None) -> None:
        assert self.spec.on_change is not None
        following = self.spec.on_change(state, error)
        if following is not None:
            await following

    async def crash(self, context: Context) -> None:
        """Lets a `Fragile` one crash, and waits until its life is over."""
        with contextlib.suppress(Exception):
            await context.variables.merge(COUNT, {})  # type: ignore[arg-type]

        await self.ended()


class _Said:
    def __init__(self, task_status: TaskStatus[Any]) -> None:
        self._task_status = task_status
        self.started_already = False

    def started(self, value: Any = None) -> None:
        self.started_already = True
        self._task_status.started(value)


def values(given: Sequence[Any]) -> dict[str, Any]:
    return {variable.name: variable.value for variable in given}
