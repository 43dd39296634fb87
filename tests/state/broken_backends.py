"""State backends that break the contract, one rule each; the conformance kit must name it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from anyio import Lock, sleep_forever
from anyio.lowlevel import checkpoint

from dspex.abc import Capabilities, StateBackend
from dspex.state import LocalState
from dspex.variables import Cell, Definition, Variable


class OtherFirstVersion(LocalState):
    def define(self, definition: Definition, value: Any) -> str:
        id = super().define(definition, value)
        self.table.find(id).version = 1
        return id


class ForgetsIds(LocalState):
    def get(self, key: Any) -> Any:
        return (
            self.table.find("ratio").value
            if isinstance(key, str) and key.startswith("var_") and key not in self.ids()
            else super().get(key)
        )


class AliasesOut(LocalState):
    def get(self, key: Any) -> Any:
        return self.table.find(key).value


class AliasesIn(LocalState):
    def set(self, key: Any, value: Any, metadata: Any = None, expected_version: int | None = None) -> int:
        version = super().set(key, value, metadata, expected_version)
        if isinstance(value, list):
            self.table.find(key).value = value

        return version


class IgnoresExpectedVersion(LocalState):
    def set(self, key: Any, value: Any, metadata: Any = None, expected_version: int | None = None) -> int:
        return super().set(key, value, metadata)


class TearsBatches(LocalState):
    def set_many(self, updates: Mapping[Any, Any], metadata: Any = None, atomic: bool = True) -> dict[str, int]:
        return (
            {key: self.set(key, value, metadata) for key, value in updates.items()}
            if atomic
            else super().set_many(updates, metadata, atomic)
        )


class StopsAtFirstError(LocalState):
    def set_many(self, updates: Mapping[Any, Any], metadata: Any = None, atomic: bool = True) -> dict[str, int]:
        return super().set_many(updates, metadata)


class ReplacesMetadata(LocalState):
    def set(self, key: Any, value: Any, metadata: Any = None, expected_version: int | None = None) -> int:
        version = super().set(key, value, metadata, expected_version)
        if metadata:
            self.table.find(key).metadata = dict(metadata)

        return version


class ChecksNothing(LocalState):
    def set(self, key: Any, value: Any, metadata: Any = None, expected_version: int | None = None) -> int:
        cell = self.table.find(key)
        return super().set(key, cell.value if value == "1" else value, metadata, expected_version)


class SwallowsTheFunctionsError(LocalState):
    def update(self, key: Any, function: Callable[[Any], Any], metadata: Any = None) -> Any:
        try:
            return super().update(key, function, metadata)
        except LookupError:
            return self.get(key)


class ReusesIds(LocalState):
    def define(self, definition: Definition, value: Any) -> str:
        self.table.counter = 0
        return super().define(definition, value)


class KeepsTheDeletedId(LocalState):
    def delete(self, key: Any) -> None:
        cell = self.table.find(key)
        super().delete(key)
        self.cells[cell.id] = cell


class ScansByName(LocalState):
    def scan(self) -> Iterator[list[Variable]]:
        for page in super().scan():
            yield sorted(page, key=lambda variable: variable.name) if len(page) > 9 else page


class ScansInOneGo(LocalState):
    def scan(self) -> Iterator[list[Variable]]:
        yield [variable for page in super().scan() for variable in page]


class ImportsAnew(LocalState):
    def open(self, session_id: str, *, ttl: float | None = None, existing: Sequence[Variable] | None = None) -> None:
        for variable in existing or ():
            self.define(variable.definition, variable.value)


class TouchesCreatedAt(LocalState):
    def set(self, key: Any, value: Any, metadata: Any = None, expected_version: int | None = None) -> int:
        version = super().set(key, value, metadata, expected_version)
        cell = self.table.find(key)
        cell.created_ns = cell.updated_ns + 1000
        return version


class AnswersTheOldValue(LocalState):
    def add(self, key: Any, n: Any) -> Any:
        before = self.get(key)
        super().add(key, n)
        return before


class RaisesKeyError(LocalState):
    def get(self, key: Any) -> Any:
        return super().get(key) if self.exists(key) else {}[key]


class ClosesOnce(LocalState):
    def close(self, *, drop: bool = False) -> None:
        del self.table


class Slow(StateBackend):
    """A correct backend over `LocalState` with an await before each operation, to break further."""

    capabilities = Capabilities(atomic_updates=True)

    def __init__(self) -> None:
        self.inner = LocalState()

    async def open(self, session_id: str, *, ttl: float | None = None, existing: Sequence[Variable] | None = None) -> None:
        self.inner.open(session_id, existing=existing)

    async def close(self, *, drop: bool = False) -> None:
        self.inner.close()

    async def define(self, definition: Definition, value: Any) -> str:
        await checkpoint()
        return self.inner.define(definition, value)

    async def get(self, key: Any) -> Any:
        return self.inner.get(key)

    async def set(self, key: Any, value: Any, metadata: Any = None, expected_version: int | None = None) -> int:
        await checkpoint()
        return self.inner.set(key, value, metadata, expected_version)

    async def set_many(self, updates: Mapping[Any, Any], metadata: Any = None, atomic: bool = True) -> dict[str, int]:
        await checkpoint()
        return self.inner.set_many(updates, metadata, atomic)

    async def get_many(self, keys: Iterable[Any]) -> dict[str, Any]:
        return self.inner.get_many(keys)

    async def delete(self, key: Any) -> None:
        await checkpoint()
        self.inner.delete(key)

    async def info(self, key: Any) -> Variable:
        return self.inner.info(key)

    async def scan(self) -> AsyncIterator[list[Variable]]:
        for page in self.inner.scan():
            yield page


class LosesUpdates(Slow):
    """Reads, waits, writes."""

    async def add(self, key: Any, n: Any) -> Any:
        value = self.inner.get(key)
        await checkpoint()
        self.inner.set(key, self.inner.table.plan_add(key, n).answer if value == self.inner.get(key) else value + n)
        return value + n


class WritesBatchesOneByOne(Slow):
    """All checked first, so that a refusal changes nothing; then a wait between one write and the next."""

    async def set_many(self, updates: Mapping[Any, Any], metadata: Any = None, atomic: bool = True) -> dict[str, int]:
        if not atomic:
            return self.inner.set_many(updates, metadata, atomic)

        self.inner.table.plan_set_many(updates, metadata)
        versions: dict[str, int] = {}
        for key, value in updates.items():
            versions[key] = self.inner.set(key, value, metadata)
            await checkpoint()

        return versions


class NotesFirst(Slow):
    """The metadata, a wait, the value; one at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = Lock()

    async def set(self, key: Any, value: Any, metadata: Any = None, expected_version: int | None = None) -> int:
        async with self.lock:
            plan = self.inner.table.plan_set(key, value, metadata, expected_version)
            plan.writes[0].cell.metadata = plan.writes[0].metadata
            await checkpoint()
            self.inner.table.commit(plan.writes)
            return plan.answer


class DefinesInTwoSteps(Slow):
    """The id, a wait, the name."""

    async def define(self, definition: Definition, value: Any) -> str:
        table = self.inner.table
        plan = table.plan_define(definition, value)
        blank: Cell = plan.writes[0].cell
        wanted, blank.value = blank.value, type(blank.value)()
        table.insert(blank)
        await checkpoint()
        blank.value = wanted
        return plan.answer


class Hangs(Slow):
    async def delete(self, key: Any) -> None:
        self.inner.table.find(key)
        await sleep_forever()


BROKEN: tuple[tuple[type[Any], str], ...] = (
    (OtherFirstVersion, "a variable that was defined has its value, of the same type, and version 0"),
    (RaisesKeyError, "an unknown key is refused with VariableNotFound"),
    (AliasesOut, "containers are copied out"),
    (AliasesIn, "containers are copied in"),
    (IgnoresExpectedVersion, "a version that isn't the expected one is refused with VersionConflict and nothing is written"),
    (TearsBatches, "an atomic batch writes all or nothing"),
    (StopsAtFirstError, "a best-effort batch writes what fits and tells the rest in a BatchError"),
    (ReplacesMetadata, "metadata of writes is merged"),
    (ChecksNothing, "a value that doesn't fit is refused with InvalidValue and nothing is written"),
    (SwallowsTheFunctionsError, "what the function of an update raises comes out itself, and nothing is written"),
    (ReusesIds, "a variable that was deleted is gone, and its name may be used again"),
    (KeepsTheDeletedId, "a variable that was deleted is gone, and its name may be used again"),
    (ForgetsIds, "a variable that was deleted is gone, and its name may be used again"),
    (ScansByName, "a scan tells all variables in order of definition, in pages of at most 256"),
    (ScansInOneGo, "a scan tells all variables in order of definition, in pages of at most 256"),
    (ImportsAnew, "existing variables come in as they are"),
    (TouchesCreatedAt, "timestamps are aware, and a write moves only the later one"),
    (AnswersTheOldValue, "update and add answer the new value, append and merge the new version"),
    (ClosesOnce, "closing twice is no error"),
    (LosesUpdates, "of many writers at once none loses a write"),
    (WritesBatchesOneByOne, "a batch is never seen in halves"),
    (NotesFirst, "an operation cut at any await has either happened or not"),
    (DefinesInTwoSteps, "an operation cut at any await has either happened or not"),
)
