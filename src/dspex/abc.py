"""
The contracts: what a state backend and a session store must be.

A *backend* holds the variables of one context and is used by one owner at a time. Its methods are all plain (`SyncStateBackend`) or
all coroutines (`StateBackend`), with the same names. Nine are required, the others have defaults made of these. A class of one's own
may derive from either, or just have the methods: `dspex.state.backend_from` checks it and names everything that is missing.

A *session store* keeps the encoded form of sessions: it knows bytes, ids, versions and revisions, and no types.

What a backend or a store raises is read so: a `DspexError` is a refusal, goes to the caller and has changed nothing; anything else is
a crash of the backend.

The conformance kits in `dspex.testing` hold these rules: `check_state_backend` and `check_session_store`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import attrs

from dspex._exceptions import InvalidValue, VariableNotFound, VersionConflict

if TYPE_CHECKING:
    from dspex.variables import Cell, Definition, Var, Variable

    Key = str | Var[Any]

Mode = Literal["create", "resume", "any"]
PAGE = 256
ABSENT = -1


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


# --- backends --------------------------------------------------------------------------------------------------------------------


def named(key: Key) -> str:
    """What *key* is called in the result of a batch: a `Var` goes by its name, a name or an id by itself."""
    return key if isinstance(key, str) else key.name


class Unfit(TypeError):
    """Operands that don't go together: internal, told to callers as `InvalidValue`."""

    def __init__(self, expected: str, got: Any) -> None:
        super().__init__(expected)
        self.expected = expected
        self.got = type(got).__name__


def summed(value: Any, n: Any) -> Any:
    """*value* plus *n*, where both are quantities."""
    for one in (value, n):
        if one is None or isinstance(one, (bool, str, bytes, tuple, list, dict, set, frozenset)):
            raise Unfit("a number", one)

    try:
        return value + n
    except (TypeError, ValueError, ArithmeticError) as error:
        raise Unfit(f"a number that can be added to {type(value).__name__}", n) from error


def appended(value: Any, item: Any) -> list[Any]:
    """A list with *item* behind *value*'s."""
    if not isinstance(value, list):
        raise Unfit("a list to append to", value)

    return [*value, item]


def merged(value: Any, mapping: Mapping[Any, Any]) -> dict[Any, Any]:
    """A dict of *value* with *mapping* laid over it."""
    for one in (value, mapping):
        if not isinstance(one, Mapping):
            raise Unfit("a mapping to merge", one)

    return {**value, **mapping}


def combined(name: str, combine: Callable[[Any, Any], Any], value: Any, operand: Any) -> Any:
    """What *combine* makes of *value* and *operand*; `InvalidValue` for the variable *name* where they don't go together."""
    try:
        return combine(value, operand)
    except Unfit as unfit:
        raise InvalidValue(name, expected=unfit.expected, got=unfit.got) from unfit


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
    async def open(self, session_id: str, *, ttl: float | None = None, existing: Sequence[Variable] | None = None) -> None: ...

    @abstractmethod
    async def close(self, *, drop: bool = False) -> None: ...

    @abstractmethod
    async def define(self, definition: Definition, value: Any) -> str: ...

    @abstractmethod
    async def get(self, key: Key) -> Any: ...

    @abstractmethod
    async def set(self, key: Key, value: Any, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None) -> int: ...

    @abstractmethod
    async def set_many(self, updates: Mapping[Any, Any], metadata: Mapping[str, Any] | None = None, atomic: bool = True) -> dict[str, int]: ...

    @abstractmethod
    async def delete(self, key: Key) -> None: ...

    @abstractmethod
    async def info(self, key: Key) -> Variable: ...

    @abstractmethod
    def scan(self) -> AsyncIterator[list[Variable]]: ...

    async def read(self, key: Key) -> tuple[Any, int]:
        while True:
            version = (await self.info(key)).version
            value = await self.get(key)
            if (await self.info(key)).version == version:
                return value, version

    async def exists(self, key: Key) -> bool:
        try:
            await self.info(key)
        except VariableNotFound:
            return False

        return True

    async def get_many(self, keys: Iterable[Key]) -> dict[str, Any]:
        return {named(key): await self.get(key) for key in keys if await self.exists(key)}

    async def update(self, key: Key, function: Callable[[Any], Any], metadata: Mapping[str, Any] | None = None) -> Any:
        value, _ = await self._replaced(key, function, metadata)
        return value

    async def add(self, key: Key, n: Any) -> Any:
        value, _ = await self._replaced(key, lambda value: combined(named(key), summed, value, n))
        return value

    async def append(self, key: Key, item: Any) -> int:
        _, version = await self._replaced(key, lambda value: combined(named(key), appended, value, item))
        return version

    async def merge(self, key: Key, mapping: Mapping[Any, Any]) -> int:
        _, version = await self._replaced(key, lambda value: combined(named(key), merged, value, mapping))
        return version

    async def ids(self) -> list[str]:
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


# --- session stores --------------------------------------------------------------------------------------------------------------


class Record(NamedTuple):
    """
    One record of a session, as it is stored.

    Attributes:
        id: its key within the session.
        version: 0 when it is made, one more with each put.
        head: what stays the same for the life of the id.
        data: what a put replaces.

    """

    id: str
    version: int
    head: bytes
    data: bytes


class Put(NamedTuple):
    """
    Write *data* under *id*, making the record where there is none.

    Attributes:
        if_version: refuse with `VersionConflict` unless the record has this version; `ABSENT` (-1): unless there is none; None: never.
        head: None keeps the one it has (empty for a new record).

    """

    id: str
    data: bytes
    if_version: int | None = None
    head: bytes | None = None


class Delete(NamedTuple):
    """Remove the record *id*; one that isn't there is no error, unless *if_version* names a version."""

    id: str
    if_version: int | None = None


class Applied(NamedTuple):
    """The session's revision after a batch, and the version of each record put, in the order of the puts."""

    revision: int
    versions: tuple[int, ...]


class Changes(NamedTuple):
    """
    What changed after a revision.

    Attributes:
        revision: the session's revision now.
        versions: the version of each changed record by id; None where it was deleted.
        complete: whether that is all. False when the store no longer knows so far back: scan instead.

    """

    revision: int
    versions: dict[str, int | None]
    complete: bool = True


@attrs.frozen(slots=True)
class Lease:
    """
    The right to write one session.

    Attributes:
        session: its id.
        fence: higher than that of any lease before. Writes under a lower one are refused with `FenceLost`.
        until: when others may take it, on the store's clock, in seconds. It stays good after that while nobody has.
        resumed: whether the session was there already.

    """

    session: str
    fence: int
    until: float = math.inf
    resumed: bool = False


class Staging(ABC):
    """Records on their way in, which nobody sees before the commit. A newer one for the session, or the end of its lease, ends this one."""

    @abstractmethod
    async def put(self, page: Sequence[Record]) -> None:
        """Add records, with the versions they come with; an id that is there already is replaced, so a page may be put again."""

    @abstractmethod
    def scan(self) -> AsyncIterator[list[Record]]:
        """What has been put, read back from where it is kept, in the order of the first puts."""

    @abstractmethod
    async def commit(self, digest: bytes) -> int:
        """Make what was put the whole content of the session, at once, and return its revision. The same digest again: the same answer."""

    @abstractmethod
    async def abort(self) -> None:
        """Forget it. Once committed, or again: no effect."""


class SessionStore(ABC):
    """
    Keeps sessions as encoded records, for one holder of a lease each. Every method may be retried.

    All methods raise `FenceLost` for a lease that others have superseded or that was released.
    """

    persistent: ClassVar[bool] = False
    distributed: ClassVar[bool] = False

    @abstractmethod
    async def open(self, session: str, mode: Mode = "any", *, ttl: float | None = None, holder: str = "") -> Lease:
        """
        Take the lease on *session*.

        A session exists from its first `apply` or `Staging.commit` on. ``"create"`` wants it not to exist, ``"resume"`` wants it to.

        Args:
            session: its id.
            mode: what to do about one that exists, or doesn't.
            ttl: seconds after its last use (`open`, `renew`, `release` or the end of its lease) at which it is dropped; None: never.
            holder: who asks, for the sentence others get. The same holder may take its lease over, which fences the former.

        Raises:
            SessionTaken: another holder has it, or it exists and mode is ``"create"``.
            SessionNotFound: mode is ``"resume"`` and there is none.

        """

    @abstractmethod
    async def renew(self, lease: Lease) -> Lease:
        """Prolong the lease. The fence stays."""

    @abstractmethod
    async def release(self, lease: Lease) -> None:
        """Give the lease back and keep the session. Of a session that doesn't exist yet nothing is left. A lease given back: no effect."""

    @abstractmethod
    async def drop(self, lease: Lease) -> None:
        """Give the lease back and delete the session. A lease given back: no effect."""

    @abstractmethod
    async def apply(self, lease: Lease, op_id: str | None, ops: Sequence[Put | Delete]) -> Applied:
        """
        Write all of *ops* or none. The same *op_id* again (within the last 1024 of the session) writes nothing and gives the first answer.

        Raises:
            VersionConflict: an ``if_version`` didn't hold. Nothing was written.

        """

    @abstractmethod
    async def read(self, session: str, ids: Sequence[str]) -> dict[str, Record]:
        """The records of *ids*, of one revision; those that aren't there are left out."""

    @abstractmethod
    def scan(self, session: str) -> AsyncIterator[list[Record]]:
        """All records as of one revision, in the order in which their ids were first put, in pages of at most 256."""

    @abstractmethod
    async def stage(self, lease: Lease) -> Staging:
        """An empty staging area, in place of any former one of the session."""

    @abstractmethod
    async def changes(self, session: str, after: int) -> Changes:
        """What changed after the revision *after*."""
