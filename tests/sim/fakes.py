"""
A toy context with a switch, and a catalogue of planted bugs: the kit's own guinea pig.

A checker that nobody has seen fail is no evidence. Each bug here has been written for real by somebody, and each must be found, by the claim
that is there for it, in a small number of runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from dspex._exceptions import VersionConflict

from .failpoints import Failpoints, Injected

BUGS = (
    "early swap",  # the new backend serves while it is still being filled
    "writes not held",  # the old one takes writes while it is being copied
    "reads bypass",  # reads don't wait for their turn
    "backend chosen before the lock",
    "no rollback",
    "unshielded rollback",
    "unshielded cleanup",
    "lost queued calls",  # whoever waited for a switch that failed is forgotten
    "version reset",  # the copy begins at version 0
    "double apply",  # a write whose reply was lost is sent again
)


class ToyBackend:
    """Cells by key, with a suspension at every step, as if far away. Operations on many keys are not atomic by themselves."""

    def __init__(self, kind: str, points: Failpoints, cells: Mapping[str, tuple[int, Any]] | None = None) -> None:
        self.kind = kind
        self.points = points
        self.cells = dict(cells or {})
        self.is_open = True

    async def _at(self, point: str) -> None:
        await self.points.around(f"{self.kind}.{point}", checkpoint)

    async def info(self, key: str) -> tuple[int, Any]:
        await checkpoint()
        return self.cells[key]

    async def put(self, key: str, value: Any) -> int:
        async def apply() -> int:
            await checkpoint()
            version = self.cells[key][0] + 1
            self.cells[key] = (version, value)
            return version

        return await self.points.around(f"{self.kind}.put", apply)

    async def scan(self) -> dict[str, tuple[int, Any]]:
        await self._at("scan")
        found = {}
        for key, cell in list(self.cells.items()):
            found[key] = cell
            await checkpoint()

        return found

    async def load(self, key: str, cell: tuple[int, Any]) -> None:
        await self._at("load")
        self.cells[key] = cell

    async def close(self) -> None:
        await self._at("close")
        self.is_open = False


class ToyContext:
    """Serves one operation at a time under a lock; a switch holds the lock, and newcomers park until it is over."""

    def __init__(self, initial: Mapping[str, Any], *, bug: str = "", points: Failpoints | None = None) -> None:
        assert not bug or bug in BUGS
        self.bug = bug
        self.points = points or Failpoints()
        self.backend = ToyBackend("local", self.points, {key: (0, value) for key, value in initial.items()})
        self.backends = [self.backend]
        self.leaks: list[ToyBackend] = []
        self.lock = anyio.Lock()
        self.phase = "local"
        self.parked: list[anyio.Event] = []

    def facts(self) -> dict[str, Any]:
        """What a client can see of who serves."""
        return {"kind": self.backend.kind, "switches": int(self.backend.kind == "bridged")}

    # operations

    async def _turn(self, use: Callable[[ToyBackend], Awaitable[Any]], *, reads: bool) -> Any:
        if self.bug == "reads bypass" and reads:
            return await use(self.backend)

        while self.phase == "switching" and self.bug != "writes not held":
            self.parked.append(anyio.Event())
            await self.parked[-1].wait()

        early = self.backend
        async with self.lock:
            return await use(early if self.bug == "backend chosen before the lock" else self.backend)

    async def get(self, key: str) -> Any:
        return (await self.info(key))[1]

    async def info(self, key: str) -> Any:
        return await self._turn(lambda backend: backend.info(key), reads=True)

    async def set(self, key: str, value: Any, expected: int | None = None) -> Any:
        async def use(backend: ToyBackend) -> int:
            version = (await backend.info(key))[0]
            if expected is not None and expected != version:
                raise VersionConflict(key, expected=expected, actual=version)

            return await self._put(backend, key, value)

        return await self._turn(use, reads=False)

    async def _put(self, backend: ToyBackend, key: str, value: Any) -> int:
        try:
            return await backend.put(key, value)
        except Injected:
            if self.bug != "double apply":
                raise

            return await backend.put(key, value)

    async def add(self, key: str, n: int) -> Any:
        async def use(backend: ToyBackend) -> Any:
            total = (await backend.info(key))[1] + n
            await self._put(backend, key, total)
            return total

        return await self._turn(use, reads=False)

    async def set_many(self, values: Mapping[str, Any]) -> Any:
        async def use(backend: ToyBackend) -> dict[str, int]:
            versions = {}
            with anyio.CancelScope(shield=True):  # the toy's way to be atomic
                for key, value in values.items():
                    versions[key] = await self._put(backend, key, value)

            return versions

        return await self._turn(use, reads=False)

    async def get_many(self, keys: tuple[str, ...]) -> Any:
        cells = await self.snapshot()
        return {key: cells[key][1] for key in keys}

    async def snapshot(self) -> Any:
        return await self._turn(lambda backend: backend.scan(), reads=True)

    list = snapshot

    # the switch

    async def switch(self) -> None:
        """Move everything to a new backend, or change nothing."""
        if self.bug == "writes not held":
            await self._switch_under_lock(anyio.Lock())
        else:
            await self._switch_under_lock(self.lock)

    async def _switch_under_lock(self, lock: anyio.Lock) -> None:
        async with lock:
            if self.phase == "bridged":
                return

            self.phase = "switching"
            new = ToyBackend("bridged", self.points)
            self.backends.append(new)
            try:
                await self._copy(new)
            except BaseException:
                await self._roll_back(new)
                raise

            old, self.backend = self.backend, new
            self._resume("bridged")
            await self._clean_up(old)

    async def _copy(self, new: ToyBackend) -> None:
        await new._at("open")
        old = self.backend
        if self.bug == "early swap":
            self._resume("bridged")
            self.backend = new
            self.lock.release()

        for key, cell in (await old.scan()).items():
            await new.load(key, (0, cell[1]) if self.bug == "version reset" else cell)

        if self.bug == "early swap":
            self.backend = old
            await self.lock.acquire()

        await new._at("verify")

    def _resume(self, phase: str) -> None:
        self.phase = phase
        for event in self.parked:
            event.set()

        self.parked.clear()

    async def _roll_back(self, new: ToyBackend) -> None:
        if self.bug == "no rollback":
            return

        if self.bug == "lost queued calls":
            self.parked.clear()

        with anyio.CancelScope(shield=self.bug != "unshielded rollback"):
            await self._close(new)
            self._resume("local")

    async def _clean_up(self, old: ToyBackend) -> None:
        with anyio.CancelScope(shield=self.bug != "unshielded cleanup"):
            await self._close(old)

    async def _close(self, backend: ToyBackend) -> None:
        try:
            await backend.close()
        except Injected:
            self.leaks.append(backend)
