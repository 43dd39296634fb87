"""The contract of state backends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from dspex._exceptions import VariableNotFound, VersionConflict
from dspex.abc._operands import Key, appended, combined, merged, named, summed

if TYPE_CHECKING:
    from dspex.variables import Cell, Definition, Variable


@attrs.frozen
class Capabilities:
    """
    What a backend promises beyond the contract.

    Attributes:
        atomic_updates: every operation, cut at any of its awaits, has either happened or not, and concurrent ones don't mix. A context
            restarted after a crash keeps the state of such a backend; that of another is started afresh.
        streaming: it can tell of changes as they happen.
        persistent: what it holds survives this process.
        distributed: what it holds can be reached from other processes.

    """

    atomic_updates: bool = False
    streaming: bool = False
    persistent: bool = False
    distributed: bool = False


class SyncStateBackend(ABC):
    """
    A backend of plain methods, each done when it returns: the context may call it directly, without a turn of its owner.

    A key is a name, an id or a `Var`. Unknown keys raise `VariableNotFound`, and a `Var` that differs from the variable of its name raises
    `DefinitionMismatch`. Containers are copied in and out: what is handed in or out may be changed by its holder with no effect here.
    Versions start at 0 and rise by one with each write. Ids are never used twice.
    """

    __slots__ = ()
    capabilities: Capabilities
    requires_bridge: ClassVar[bool] = False
    cells: dict[Any, Cell]
    """Optional: name, id and `Var` to `Cell`, from which a context reads scalars itself. What isn't in it may still exist."""

    @abstractmethod
    def open(self, session_id: str, *, ttl: float | None = None, existing: Sequence[Variable] | None = None) -> None:
        """
        Make ready, with the variables in *existing* as they are: ids, versions, metadata, timestamps and order kept.

        *ttl* is in seconds, None for ever.
        """

    @abstractmethod
    def close(self, *, drop: bool = False) -> None:
        """Let go of everything; with *drop* also of what would outlive this object. Closing twice is no error."""

    @abstractmethod
    def define(self, definition: Definition, value: Any) -> str:
        """Make a variable and return its id. `VariableExists` for a name that is taken or is a live id, `InvalidValue` for the value."""

    @abstractmethod
    def get(self, key: Key) -> Any:
        """The value."""

    @abstractmethod
    def set(self, key: Key, value: Any, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None) -> int:
        """Store *value*, merge *metadata* into the variable's, and return the new version. `InvalidValue`, `VersionConflict`."""

    @abstractmethod
    def set_many(self, updates: Mapping[Any, Any], metadata: Mapping[str, Any] | None = None, atomic: bool = True) -> dict[str, int]:
        """Store all or, on any refusal, none; with ``atomic=False`` what can be stored, and then `BatchError`. New versions by key."""

    @abstractmethod
    def delete(self, key: Key) -> None:
        """Remove the variable."""

    @abstractmethod
    def info(self, key: Key) -> Variable:
        """All there is to know of the variable, as a frozen record."""

    @abstractmethod
    def scan(self) -> Iterator[list[Variable]]:
        """All variables in order of definition, in pages of at most 256 and so that no page takes longer than 5 ms."""

    def open_in_slices(self, session_id: str, *, ttl: float | None = None, existing: Sequence[Variable] | None = None) -> Iterator[int]:
        """`open`, in steps of at most 5 ms: each item is how many variables are in so far."""
        self.open(session_id, ttl=ttl, existing=existing)
        yield len(existing or ())

    def read(self, key: Key) -> tuple[Any, int]:
        """The value and its version, of one moment."""
        return self.get(key), self.info(key).version

    def exists(self, key: Key) -> bool:
        """Whether there is such a variable."""
        try:
            self.info(key)
        except VariableNotFound:
            return False

        return True

    def get_many(self, keys: Iterable[Key]) -> dict[str, Any]:
        """Values by key, all of one moment; a `Var` goes by its name. Keys that aren't there are left out."""
        return {named(key): self.get(key) for key in keys if self.exists(key)}

    def update(self, key: Key, function: Callable[[Any], Any], metadata: Mapping[str, Any] | None = None) -> Any:
        """Set what *function* makes of the value, and return it as stored. What *function* raises goes to the caller and changes nothing."""
        value, version = self.read(key)
        self.set(key, function(value), metadata, version)
        return self.get(key)

    def add(self, key: Key, n: Any) -> Any:
        """Add *n* and return the sum."""
        return self.update(key, lambda value: combined(named(key), summed, value, n))

    def append(self, key: Key, item: Any) -> int:
        """Append *item* to a list and return the new version."""
        return self._changed(key, appended, item)

    def merge(self, key: Key, mapping: Mapping[Any, Any]) -> int:
        """Lay *mapping* over a dict and return the new version."""
        return self._changed(key, merged, mapping)

    def ids(self) -> list[str]:
        """All ids, in order of definition."""
        return [variable.id for page in self.scan() for variable in page]

    def _changed(self, key: Key, combine: Callable[[Any, Any], Any], operand: Any) -> int:
        value, version = self.read(key)
        return self.set(key, combined(named(key), combine, value, operand), None, version)


class StateBackend(ABC):
    """
    A backend whose methods are coroutines; the names, arguments and rules are those of `SyncStateBackend`.

    The owner awaits one method at a time. `Capabilities.atomic_updates` promises that cutting one at any await leaves it done or undone.
    """

    __slots__ = ()
    capabilities: Capabilities
    requires_bridge: ClassVar[bool] = False
    cells: dict[Any, Cell]

    @abstractmethod
    async def open(self, session_id: str, *, ttl: float | None = None, existing: Sequence[Variable] | None = None) -> None:
        """See `SyncStateBackend.open`."""

    @abstractmethod
    async def close(self, *, drop: bool = False) -> None:
        """See `SyncStateBackend.close`."""

    @abstractmethod
    async def define(self, definition: Definition, value: Any) -> str:
        """See `SyncStateBackend.define`."""

    @abstractmethod
    async def get(self, key: Key) -> Any:
        """See `SyncStateBackend.get`."""

    @abstractmethod
    async def set(self, key: Key, value: Any, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None) -> int:
        """See `SyncStateBackend.set`."""

    @abstractmethod
    async def set_many(self, updates: Mapping[Any, Any], metadata: Mapping[str, Any] | None = None, atomic: bool = True) -> dict[str, int]:
        """See `SyncStateBackend.set_many`."""

    @abstractmethod
    async def delete(self, key: Key) -> None:
        """See `SyncStateBackend.delete`."""

    @abstractmethod
    async def info(self, key: Key) -> Variable:
        """See `SyncStateBackend.info`."""

    @abstractmethod
    def scan(self) -> AsyncIterator[list[Variable]]:
        """See `SyncStateBackend.scan`."""

    async def read(self, key: Key) -> tuple[Any, int]:
        """See `SyncStateBackend.read`."""
        while True:
            version = (await self.info(key)).version
            value = await self.get(key)
            if (await self.info(key)).version == version:
                return value, version

    async def exists(self, key: Key) -> bool:
        """See `SyncStateBackend.exists`."""
        try:
            await self.info(key)
        except VariableNotFound:
            return False

        return True

    async def get_many(self, keys: Iterable[Key]) -> dict[str, Any]:
        """See `SyncStateBackend.get_many`."""
        return {named(key): await self.get(key) for key in keys if await self.exists(key)}

    async def update(self, key: Key, function: Callable[[Any], Any], metadata: Mapping[str, Any] | None = None) -> Any:
        """See `SyncStateBackend.update`."""
        value, _ = await self._replaced(key, function, metadata)
        return value

    async def add(self, key: Key, n: Any) -> Any:
        """See `SyncStateBackend.add`."""
        value, _ = await self._replaced(key, lambda value: combined(named(key), summed, value, n))
        return value

    async def append(self, key: Key, item: Any) -> int:
        """See `SyncStateBackend.append`."""
        _, version = await self._replaced(key, lambda value: combined(named(key), appended, value, item))
        return version

    async def merge(self, key: Key, mapping: Mapping[Any, Any]) -> int:
        """See `SyncStateBackend.merge`."""
        _, version = await self._replaced(key, lambda value: combined(named(key), merged, value, mapping))
        return version

    async def ids(self) -> list[str]:
        """See `SyncStateBackend.ids`."""
        return [variable.id async for page in self.scan() for variable in page]

    async def _replaced(self, key: Key, function: Callable[[Any], Any], metadata: Mapping[str, Any] | None = None) -> tuple[Any, int]:
        """Compare and set until nobody came between. The value is what *function* made, as it was handed to `set`."""
        while True:
            value, version = await self.read(key)
            made = function(value)
            try:
                return made, await self.set(key, made, metadata, version)
            except VersionConflict:
                continue
