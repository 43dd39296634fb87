"""
What the owner and the watches read of the variables: names behind ids, the latest of one, and walks over all of them.

Where a backend needs an await, a name has two ways: one for the owner's turn and one for everybody else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from anyio.lowlevel import checkpoint

from .._exceptions import VariableNotFound
from ..variables import Definition, Variable
from ._entry import Entry
from ._mailbox import Request
from ._status import Status
from ._watch import Hub


class Outlook(Entry):
    """The entry, and what it knows of what is behind it."""

    __slots__ = ()

    def name_of(self, key: Any) -> str:
        """The name behind an identifier; of one that nobody knows, itself."""
        cell = self.known.get(key)
        if cell is not None:
            return cell.name

        if isinstance(key, str) and key.startswith("var_") and self.synchronous:
            backend: Any = self.backend
            if backend.exists(key):
                return str(backend.info(key).name)

        # What a worker names a variable by may be anything that can be a key.
        return key if isinstance(key, str) else str(getattr(key, "name", key))

    async def name_awaited(self, key: Any) -> str:
        """The same on any backend. Only in the owner's turn."""
        name = self.name_of(key)
        if self.synchronous or name != key or not name.startswith("var_"):
            return name

        backend: Any = self.backend
        try:
            return str((await backend.info(key)).name)
        except VariableNotFound:
            return name

    async def name_found(self, key: Any) -> str:
        """The same from anywhere."""
        name = self.name_of(key)
        if self.synchronous or not name.startswith("var_"):
            return name

        try:
            return str((await self.operate("info", name)).name)
        except VariableNotFound:
            return name

    def definition_of(self, key: Any) -> Definition:
        """
        The definition behind an identifier, on a backend that needs no await.

        Raises:
            VariableNotFound: there is none.

        """
        cell = self.known.get(key)
        if cell is not None:
            return cell.definition

        backend: Any = self.backend
        found: Definition = backend.info(key).definition
        return found

    async def latest(self, name: str) -> Variable | None:
        """The variable called *name* as it is now, for a watcher."""
        # While it restarts what is there may be a state that isn't furnished yet: that is for the next life to tell.
        cell = self.known.get(name) if self.status is not Status.RESTARTING else None
        if cell is not None:
            return cell.variable()

        try:
            found: Variable = await self.operate("info", name)
        except VariableNotFound:
            return None

        return found

    def latest_nowait(self, name: str) -> Variable | None:
        """The same in one step; of an asynchronous backend only what its cells still hold."""
        cell = self.known.get(name)
        if cell is not None:
            return cell.variable()

        backend: Any = self.backend
        try:
            found: Variable | None = backend.info(name) if self.synchronous else None
        except Exception:  # noqa: BLE001 - the context is ending, perhaps because of this very backend
            return None

        return found

    def version_of(self, name: str) -> int:
        """The version of the variable called *name*, right after it was written, on a backend that needs no await."""
        cell = self.known.get(name)
        if cell is not None:
            return cell.version

        backend: Any = self.backend
        return int(backend.info(name).version)

    async def version_awaited(self, name: str) -> int:
        """The same on any other. Only in the owner's turn."""
        backend: Any = self.backend
        return int((await backend.info(name)).version)

    def open_hub(self) -> Hub:
        """The watches, for one more."""
        self.admit()
        if self.hub is None:
            self.hub = Hub(self)
            self.hub.hushed = self.status is Status.RESTARTING and self.mailbox.ahead is not None
            self.arrange()

        return self.hub

    def drop_hub(self, hub: Hub) -> None:
        """The last watch of *hub* has gone: operations pay nothing for it any more."""
        if self.hub is hub:
            self.hub = None
            self.arrange()

    async def walked(self) -> list[Variable]:
        """All variables, in the order of their definition, of one moment."""
        found: list[Variable] = await self.enqueue("run", self.walk)
        return found

    async def walk(self, request: Request, shown: Callable[[Variable], Any] | None = None) -> list[Any]:
        """All variables, each as *shown* shows it, in slices, in one turn of the owner."""
        found: list[Any] = []
        probe = self.probe
        if probe is not None:
            probe.begin("list", ())

        try:
            async for page in self.pages():
                found += page if shown is None else map(shown, page)
        except Exception as error:
            if probe is not None:
                probe.failed("list", (), error)

            raise

        if probe is not None:
            probe.succeeded("list")

        return found

    async def pages(self) -> AsyncIterator[list[Variable]]:
        """The backend's pages; between those of a synchronous one others may run. Only in the owner's turn."""
        assert self.backend is not None
        pages = self.backend.scan()
        if isinstance(pages, AsyncIterator):
            async for page in pages:
                yield page
        else:
            for page in pages:
                yield page
                await checkpoint()
