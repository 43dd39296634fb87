"""
Watches: what changed, conflated, bounded, never in a writer's way.

A writer only marks a name, in its own step. A watcher reads the latest when it gets round to it: one entry a variable is all that is
ever kept, `skipped` counts what was not handed over. The switch marks nothing: to a watcher it is no change.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Protocol

import anyio

from .._exceptions import BatchError, ContextClosed, ContextCrashed, DspexError
from ..variables import Change, Variable

Kind = Literal["defined", "set", "deleted", "reset"]

# What an operation does to the variables its first argument names.
_KINDS: dict[str, Kind] = {
    "define": "defined",
    "set": "set",
    "set_many": "set",
    "update": "set",
    "add": "set",
    "append": "set",
    "merge": "set",
    "delete": "deleted",
}


class Source(Protocol):
    """Where a watcher reads the latest, and the names behind ids."""

    def on_thread(self) -> None:
        """Raises `WrongThread` unless the caller is on the context's own thread."""
        ...

    def name_of(self, key: Any) -> str:
        """The name behind an identifier, as far as no await is needed; of one that nobody knows, itself."""
        ...

    async def name_awaited(self, key: Any) -> str:
        """The same on any backend. Only in the owner's turn."""
        ...

    async def name_found(self, key: Any) -> str:
        """The same from anywhere."""
        ...

    async def latest(self, name: str) -> Variable | None:
        """The variable called *name* as it is now; None where there is none."""
        ...

    def latest_nowait(self, name: str) -> Variable | None:
        """The same in one step; of an asynchronous backend only what its cells still hold."""
        ...

    def version_of(self, name: str) -> int:
        """The version right after a write, on a backend that needs no await."""
        ...

    async def version_awaited(self, name: str) -> int:
        """The same on any other. Only in the owner's turn."""
        ...

    async def walked(self) -> list[Variable]:
        """All variables."""
        ...

    def open_hub(self) -> Hub:
        """The watches, for one more."""
        ...

    def drop_hub(self, hub: Hub) -> None:
        """The last watch of *hub* has gone."""
        ...


class Mark:
    """That a name changed: how it did last, how often since it was handed over, and the version before the first of these."""

    __slots__ = ("base", "count", "kind")

    def __init__(self, kind: Kind, base: int) -> None:
        self.kind: Kind = kind
        self.base = base
        self.count = 0


class Hub:
    """
    The watches of one context.

    Attributes:
        hushed: whether changes are told to nobody now: a state is being furnished, and will be told as a whole.

    """

    __slots__ = ("_watches", "hushed", "source")

    def __init__(self, source: Source) -> None:
        self.source: Source = source
        self.hushed: bool = False
        self._watches: list[Watch] = []

    def __len__(self) -> int:
        return len(self._watches)

    def join(self, watch: Watch) -> None:
        """Tells *watch* of every change from here on."""
        self._watches.append(watch)

    def leave(self, watch: Watch) -> None:
        """No longer. With the last one the hub is dropped."""
        if watch in self._watches:
            self._watches.remove(watch)

        if not self._watches:
            self.source.drop_hub(self)

    def end(self, error: DspexError | None) -> None:
        """No more changes: every watch ends once it has handed over what it holds; with *error* if there is one."""
        for watch in self._watches:
            watch.end(error)

    def mark(self, kind: Kind, name: str, version: int) -> None:
        """*name* changed, and is at *version* now. A plain step."""
        if self.hushed:
            return

        for watch in self._watches:
            watch.mark(kind, name, version)

    def hush(self) -> None:
        """Tells of no change until `reset`."""
        self.hushed = True

    def reset(self, versions: Mapping[str, int], gone: Collection[str]) -> None:
        """Another state is there now: it has the variables in *versions*, and no longer those in *gone*."""
        self.hushed = False
        for watch in self._watches:
            watch.reset(versions, gone)

    def observe(self, name: str, args: Sequence[Any], method: Callable[..., Any]) -> Any:
        """Runs an operation of a synchronous backend and marks what it changed."""
        if name not in _KINDS:
            return method(*args)

        touched = {key: self.source.name_of(key) for key in _keys(name, args)}
        try:
            result = method(*args)
        except BatchError as error:
            self._tell(name, _changed(touched, error))
            raise

        self._tell(name, touched.values())
        return result

    def _tell(self, name: str, touched: Iterable[str]) -> None:
        kind = _KINDS[name]
        for changed in touched:
            self.mark(kind, changed, -1 if kind == "deleted" else self.source.version_of(changed))

    async def observe_async(self, name: str, args: Sequence[Any], method: Callable[..., Any]) -> Any:
        """The same of an asynchronous one."""
        if name not in _KINDS:
            return await method(*args)

        touched = {key: await self.source.name_awaited(key) for key in _keys(name, args)}
        try:
            result = await method(*args)
        except BatchError as error:
            await self._tell_awaited(name, _changed(touched, error))
            raise

        await self._tell_awaited(name, touched.values())
        return result

    async def _tell_awaited(self, name: str, touched: Iterable[str]) -> None:
        kind = _KINDS[name]
        for changed in touched:
            self.mark(kind, changed, -1 if kind == "deleted" else await self.source.version_awaited(changed))


def _changed(touched: Mapping[Any, str], error: BatchError) -> list[str]:
    """What a batch changed that was refused in part: it tells names, and the ids that were given."""
    return [changed for key, changed in touched.items() if changed in error.versions or key in error.versions]


def _keys(name: str, args: Sequence[Any]) -> Iterable[Any]:
    """The identifiers that an operation writes to."""
    if name == "define":
        return (args[0].name,)

    return list(args[0]) if name == "set_many" else (args[0],)


class Watch:
    """
    An open watch: ``async with ctx.variables.watch(...) as changes: async for change in changes``.

    It holds no task and no cancel scope, so it is safe inside an async generator.
    """

    __slots__ = ("_error", "_final", "_finished", "_hub", "_include_initial", "_marks", "_names", "_seen", "_source", "_wake")

    def __init__(self, source: Source, names: frozenset[str] | None, *, include_initial: bool) -> None:
        self._source = source
        self._names = names
        self._include_initial = include_initial
        self._hub: Hub | None = None
        self._marks: dict[str, Mark] = {}
        self._seen: dict[str, tuple[str, int]] = {}
        self._wake = anyio.Event()
        self._finished = False
        self._final: dict[str, Variable | None] = {}
        self._error: DspexError | None = None

    async def __aenter__(self) -> Watch:
        # Joined before the list is read, so that no change falls between.
        self._hub = self._source.open_hub()
        self._hub.join(self)
        if self._names is not None:
            self._names = frozenset([await self._source.name_found(name) for name in self._names])

        if self._include_initial:
            for variable in await self._source.walked():
                self.mark("set", variable.name, variable.version)

        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        hub, self._hub = self._hub, None
        if hub is not None:
            hub.leave(self)
            self._wake.set()

    def __aiter__(self) -> AsyncIterator[Change]:
        return self

    async def __anext__(self) -> Change:
        while True:
            if not self._marks:
                await self._wait()
                continue

            change = await self._next()
            if change is not None:
                return change

    async def _wait(self) -> None:
        if self._hub is None:
            raise RuntimeError("a watch is iterated inside its 'async with' block")

        if self._finished:
            if self._error is not None:
                raise self._error

            raise StopAsyncIteration

        self._source.on_thread()
        self._wake = anyio.Event()
        await self._wake.wait()

    async def _next(self) -> Change | None:
        name, mark = next(iter(self._marks.items()))
        kind, taken = mark.kind, mark.count
        latest = None if kind == "deleted" else await self._latest(name)
        if self._marks.get(name) is not mark:
            # It was handed over meanwhile, or the state was replaced, which a mark of its own tells.
            return None

        if latest is None and kind != "deleted":
            # It was deleted meanwhile, which its own mark tells; or it can't be read any more, which is no deletion.
            if mark.kind == kind:
                self._marks.pop(name, None)

            return None

        # Writers may have marked it again meanwhile: what was read covers only the marks counted before.
        mark.count -= taken
        if mark.count <= 0:
            self._marks.pop(name, None)

        return self._change(kind, name, latest, mark, taken)

    def _is_finished(self) -> bool:
        return self._finished

    async def _latest(self, name: str) -> Variable | None:
        while not self._finished:
            try:
                return await self._source.latest(name)
            except ContextClosed:
                # It ended while we waited for our turn; what was the latest then is kept.
                break
            except ContextCrashed as crashed:
                # The owner crashed with our question in its hands: the next life is asked again, if there is one.
                if crashed.applied is False or self._is_finished():
                    raise

        return self._final.get(name)

    def _change(self, kind: Kind, name: str, latest: Variable | None, mark: Mark, taken: int) -> Change | None:
        seen = self._seen.get(name)
        if latest is None:
            self._seen.pop(name, None)
            return Change(kind="deleted", name=name, value=None, version=seen[1] if seen else mark.base, skipped=taken - 1)

        # A write that came between the mark and the reading was handed over with it.
        if seen == (latest.id, latest.version):
            return None

        base = seen[1] if seen is not None and seen[0] == latest.id else mark.base
        skipped = max(0, latest.version - base - 1)
        self._seen[name] = (latest.id, latest.version)
        return Change(
            kind=kind,
            name=name,
            value=latest.value,
            version=latest.version,
            metadata=latest.metadata,
            skipped=skipped,
            sensitive=latest.sensitive,
        )

    def mark(self, kind: Kind, name: str, version: int) -> None:
        """A writer's step: never waits, keeps one entry a name."""
        if self._names is not None and name not in self._names:
            return

        mark = self._marks.get(name)
        if mark is None:
            mark = self._marks[name] = Mark(kind, version - 1)
        elif kind == "defined":
            mark.base = version - 1

        # A variable that was defined and then set, and never seen between, is still new to the watcher; so is one of another state.
        if not (mark.kind in ("defined", "reset") and kind == "set" and mark.count):
            mark.kind = kind

        mark.count += 1
        self._wake.set()

    def reset(self, versions: Mapping[str, int], gone: Collection[str]) -> None:
        """Everything is another state's now. What was marked and not handed over counts as skipped."""
        pending, self._marks = self._marks, {}
        for name in (*versions, *gone):
            if self._names is None or name in self._names:
                self._marks[name] = self._reset_mark(name, versions.get(name), pending.get(name))

        self._seen.clear()
        self._wake.set()

    def _reset_mark(self, name: str, version: int | None, pending: Mark | None) -> Mark:
        missed = 0 if pending is None else pending.count
        if version is not None:
            mark = Mark("reset", version - 1 - missed)
            mark.count = 1
            return mark

        seen = self._seen.get(name)
        mark = Mark("deleted", seen[1] if seen is not None else pending.base if pending is not None else 0)
        mark.count = 1 + missed
        return mark

    def end(self, error: DspexError | None) -> None:
        """No more will come. What is marked is read now, while there is a backend to read it from."""
        self._final = {name: self._source.latest_nowait(name) for name, mark in self._marks.items() if mark.kind != "deleted"}
        self._finished = True
        self._error = error
        self._wake.set()
