"""`ProgramContext` of an async program in a worker: the variables of the context that it was called on."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional

from .identifiers import MISSING, definition_of, is_named, key_of, keys_of, updates_of, variable_of
from .loop import AsyncCall


class AsyncContext:
    """
    The variables, each method awaited; those of one tick of the loop travel together.

    Variables are named by a `Var`, a name or an id. It is the program's for as long as its call runs; afterwards every method raises
    `ContextClosed`. Once the caller has gone or the deadline has passed, the program is cancelled where it awaits.
    """

    def __init__(self, call: AsyncCall) -> None:
        self._call = call

    def __repr__(self) -> str:
        return f"<ProgramContext {self.id!r} of {self._call.program!r}>"

    @property
    def id(self) -> str:
        """The id of the context."""
        return self._call.context

    async def get(self, v: Any, default: Any = MISSING) -> Any:
        """The value. Raises `VariableNotFound` unless there is a *default*."""
        try:
            return await self._call.ask("get", key_of(v))
        except KeyError as error:
            if default is MISSING or not is_named(error, "VariableNotFound"):
                raise

            return default

    async def set(self, v: Any, value: Any, *, metadata: Optional[Mapping[str, Any]] = None, expected_version: Optional[int] = None) -> int:
        """Set it, and give the new version. Raises `VersionConflict` if it isn't at *expected_version*."""
        version: int = await self._call.ask("set", key_of(v), value, metadata and dict(metadata), expected_version)
        return version

    async def update(self, v: Any, function: Callable[[Any], Any], *, metadata: Optional[Mapping[str, Any]] = None) -> Any:
        """
        Set it to what *function* makes of its value, and give that.

        *function* runs here, between a read and a write that is refused if somebody wrote meanwhile: then it runs again, on the new value.
        """
        key = key_of(v)
        while True:
            value, version = await self._call.ask("read", key)
            value = function(value)
            try:
                await self._call.ask("set", key, value, metadata and dict(metadata), version)
            except ValueError as error:
                if not is_named(error, "VersionConflict"):
                    raise
            else:
                return value

    async def add(self, v: Any, n: Any) -> Any:
        """Add the number *n* to it, atomically, and give the new value."""
        return await self._call.ask("add", key_of(v), n)

    async def append(self, v: Any, item: Any) -> int:
        """Append *item* to the list it holds, atomically, and give the new version."""
        version: int = await self._call.ask("append", key_of(v), item)
        return version

    async def merge(self, v: Any, mapping: Mapping[Any, Any]) -> int:
        """Merge *mapping* into the dict it holds, atomically, and give the new version."""
        version: int = await self._call.ask("merge", key_of(v), dict(mapping))
        return version

    async def get_many(self, vs: Iterable[Any]) -> Dict[str, Any]:
        """The values by name (or id, where one was given), read at one moment. Missing ones are left out."""
        values: Dict[str, Any] = await self._call.ask("get_many", keys_of(vs))
        return values

    async def set_many(
        self, values: Mapping[Any, Any], *, metadata: Optional[Mapping[str, Any]] = None, atomic: bool = True
    ) -> Dict[str, int]:
        """Set all or none, and give the new versions. With ``atomic=False`` set what can be set, then raise `BatchError` for the rest."""
        versions: Dict[str, int] = await self._call.ask("set_many", updates_of(values), metadata and dict(metadata), atomic)
        return versions

    async def define(self, v: Any, type: Any = "any", initial: Any = None, **constraints: Any) -> str:  # noqa: A002
        """Define a variable, from a `Var` or from a name, a type (``"float"``) and constraints. Gives its id. No patterns from a worker."""
        definition = definition_of(v, type, constraints)
        identifier: str = await self._call.ask("define", definition, getattr(v, "initial", initial))
        return identifier

    async def delete(self, v: Any) -> None:
        """Remove it."""
        await self._call.ask("delete", key_of(v))

    async def exists(self, v: Any) -> bool:
        """Whether there is such a variable."""
        found: bool = await self._call.ask("exists", key_of(v))
        return found

    async def info(self, v: Any) -> Any:
        """All there is to know of it, as a record with the fields of `dspex.Variable`."""
        return variable_of(await self._call.ask("info", key_of(v)))

    async def list(self) -> List[Any]:
        """The same of all variables, in the order they were defined."""
        return [variable_of(told) for told in await self._call.ask("list")]

    async def call(self, program_id: str, inputs: Optional[Mapping[str, Any]] = None, *, timeout: Optional[float] = None) -> Any:
        """
        Call another program of the context and give its result: plain data, of a DSPy program a dict of its output fields.

        It is a call on behalf of this one: it gets a place at once, ends when this one does, and has no more time.

        Args:
            program_id: as it was registered.
            inputs: by name.
            timeout: seconds until `CallTimeout`.

        Raises `ProgramNotFound`, `InvalidInputs`, `ProgramFailed`, `CallTimeout`, `CallCycle` (calls nested too deep, most likely in a
        circle), and what else `Bound.call` raises in the host.
        """
        return await self._call.ask("call", *self._call.errand(program_id, inputs, timeout))
