"""
`Variables`: the API of a context's variables.

It *is* the entry, rather than holding one: a layer between would cost each operation one more load. `get` and `set` deliver themselves
while the gate is open; everything else, and these two when it isn't, goes through `Entry.operate`.
"""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable, Iterable, Mapping
from inspect import iscoroutine
from time import time_ns
from typing import Any, Protocol, TypeAlias, TypeVar, Unpack, overload

from .._exceptions import InvalidDefinition, VariableExists, VariableNotFound
from ..variables import Constraints, Definition, Quantity, Var, Variable
from ._entry import Refused
from ._outlook import Outlook
from ._watch import Watch

T = TypeVar("T")
D = TypeVar("D")
K = TypeVar("K")
V = TypeVar("V")
N = TypeVar("N", bound=Quantity)
T_co = TypeVar("T_co", covariant=True)

_REQUIRED: Any = object()
# In the class below `list` is a method.
Page: TypeAlias = list[Variable]
ListOf: TypeAlias = list[T]


class Readable(Protocol[T_co]):
    """A `Var`, for reading: what is expected of the value may be wider than what the `Var` says."""

    @property
    def name(self) -> str: ...

    @property
    def initial(self) -> T_co: ...


# What other rooms use of it; nobody who completes at a prompt is looking for these.
_WITHIN = frozenset(dir(Outlook)) - frozenset(dir(object))


class Variables(Outlook):
    """
    The variables of one context. An identifier is a `Var`, a name or an id; names win.

    All methods raise `ContextClosed` when the context isn't running, `ContextCrashed` when its backend fails, and `WrongThread` when
    called from another thread than the context's own.
    """

    __slots__ = ()
    gate: int

    def __dir__(self) -> Iterable[str]:
        """The operations, without what the entry has for the other rooms."""
        return [name for name in object.__dir__(self) if name not in _WITHIN]

    def __repr__(self) -> str:
        return f"<Variables of {self.context_id!r} [{self.status}]>"

    # --- one variable ------------------------------------------------------------------------------------------------------------

    @overload
    async def get(self, variable: Readable[T], /) -> T: ...
    @overload
    async def get(self, variable: Readable[T], /, default: D) -> T | D: ...
    @overload
    async def get(self, variable: str, /, default: Any = ...) -> Any: ...
    async def get(self, variable: Any, /, default: Any = _REQUIRED) -> Any:
        """
        The value of *variable*; a container comes as a copy.

        Raises:
            VariableNotFound: there is none, and no *default* was given.
            DefinitionMismatch: the variable of this name differs from the `Var` in type or constraints.

        """
        if self.gate > 0 and get_ident() == self.thread:
            try:
                cell = self.cells[variable]
            except (KeyError, TypeError):
                pass
            else:
                if cell.copy is None:
                    self.gate -= 1
                    return cell.value

        try:
            return await self.operate("get", _key(variable))
        except VariableNotFound:
            if default is _REQUIRED:
                raise

            return default

    @overload
    async def set(
        self, variable: Var[T], value: T, /, *, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None
    ) -> int: ...
    @overload
    async def set(
        self, variable: str, value: Any, /, *, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None
    ) -> int: ...
    async def set(  # keyword-only to those who type it; at run time a plain default costs half of a keyword-only one
        self, variable: Any, value: Any, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None
    ) -> int:
        """
        Sets *variable* and returns its new version.

        Args:
            variable: a `Var`, a name or an id.
            value: checked against type and constraints; a container is copied in.
            metadata: merged into the variable's.
            expected_version: write only if the variable is at this version.

        Raises:
            VariableNotFound: there is none.
            InvalidValue: *value* doesn't fit; the variable is unchanged.
            VersionConflict: it is at another version than *expected_version*.

        """
        if self.gate > 0 and get_ident() == self.thread and metadata is expected_version:  # type: ignore[comparison-overlap]  # both None
            try:
                cell = self.cells[variable]
            except (KeyError, TypeError):
                pass
            else:
                if type(value) is cell.exact and ((low := cell.low) is None or low <= value <= cell.high):
                    self.gate -= 1
                    if self.beyond is not None:
                        return self.beyond(cell, value)

                    cell.value = value
                    cell.updated_ns = time_ns()
                    cell.version += 1
                    return cell.version

        return int(await self.operate("set", _key(variable), value, metadata, expected_version))

    @overload
    async def update(self, variable: Readable[T], function: Callable[[T], T], /, *, metadata: Mapping[str, Any] | None = None) -> T: ...
    @overload
    async def update(self, variable: str, function: Callable[[Any], Any], /, *, metadata: Mapping[str, Any] | None = None) -> Any: ...
    async def update(self, variable: Any, function: Callable[[Any], Any], /, *, metadata: Mapping[str, Any] | None = None) -> Any:
        """
        Sets *variable* to what *function* makes of its value, atomically, and returns that.

        *function* runs in the owner's turn: plain, short, and without touching the context. What it raises goes to the caller, and nothing
        is changed.
        """
        return await self.operate("update", _key(variable), self._refusing(variable, function), metadata)

    @overload
    async def add(self, variable: Var[N], n: N, /) -> N: ...
    @overload
    async def add(self, variable: str, n: Any, /) -> Any: ...
    async def add(self, variable: Any, n: Any, /) -> Any:
        """Adds *n* to a number, atomically, and returns the sum."""
        return await self.operate("add", _key(variable), n)

    @overload
    async def append(self, variable: Var[ListOf[T]], item: T, /) -> int: ...
    @overload
    async def append(self, variable: str, item: Any, /) -> int: ...
    async def append(self, variable: Any, item: Any, /) -> int:
        """Appends *item* to a list, atomically, and returns the new version."""
        return int(await self.operate("append", _key(variable), item))

    @overload
    async def merge(self, variable: Var[dict[K, V]], mapping: Mapping[K, V], /) -> int: ...
    @overload
    async def merge(self, variable: str, mapping: Mapping[Any, Any], /) -> int: ...
    async def merge(self, variable: Any, mapping: Mapping[Any, Any], /) -> int:
        """Lays *mapping* over a dict, atomically, and returns the new version."""
        return int(await self.operate("merge", _key(variable), mapping))

    async def exists(self, variable: Var[Any] | str, /) -> bool:
        """Whether there is such a variable."""
        return bool(await self.operate("exists", _key(variable)))

    async def delete(self, variable: Var[Any] | str, /) -> None:
        """
        Removes *variable*. Its id is never used again.

        Raises:
            VariableNotFound: there is none.

        """
        await self.operate("delete", _key(variable))

    async def info(self, variable: Var[Any] | str, /) -> Variable:
        """All there is to know of *variable*."""
        found: Variable = await self.operate("info", _key(variable))
        return found

    # --- making them -------------------------------------------------------------------------------------------------------------

    async def define(
        self,
        variable: Var[Any] | str,
        type: Any = None,  # noqa: A002 - the seed's word
        initial: Any = _REQUIRED,
        *,
        exist_ok: bool = False,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        sensitive: bool = False,
        **constraints: Unpack[Constraints],
    ) -> str:
        """
        Makes a variable, from a `Var` or from a name, a type and an initial value, and returns its id.

        With *exist_ok* an equal definition is no error: the existing value stays, and its id is returned.

        Raises:
            VariableExists: the name is taken, or is a live id.
            DefinitionMismatch: *exist_ok*, and the existing one differs in type or constraints.
            InvalidDefinition: an unknown type or constraint, constraints that can't be, or no initial value for a type that needs one.
            InvalidValue: *initial* doesn't fit.

        """
        if isinstance(variable, Var):
            _alone(variable, type, None if initial is _REQUIRED else initial, description, metadata, sensitive, constraints)
            definition, value = variable.definition, variable.initial
        elif type is None:
            raise InvalidDefinition(str(variable), problem="it has no type", hint="Pass a type, or a Var.")
        else:
            definition = Definition.make(
                variable, type, constraints=constraints, description=description, metadata=metadata or {}, sensitive=sensitive
            )
            value = initial
            if initial is _REQUIRED:
                value = None
                definition.begins_empty()

        while True:
            try:
                return str(await self.operate("define", definition, value))
            except VariableExists:
                if not exist_ok:
                    raise

                # Not found: it was deleted meanwhile. Another name: the name asked for is the id of a live variable.
                existing = await self._existing(variable, definition)
                if existing is not None and existing.name != definition.name:
                    raise

            if existing is not None:
                return existing.id

    async def _existing(self, variable: Var[Any] | str, definition: Definition) -> Variable | None:
        """What a definition met. If it is of a class that only *variable* knows, it knows it too from now on."""
        try:
            existing: Variable = await self.operate("info", definition.name)
            if existing.name == definition.name:
                existing.definition.match(definition)
                if existing.definition.opaque and isinstance(variable, Var):
                    existing = await self.operate("info", variable)
        except VariableNotFound:
            return None

        return existing

    async def ensure(self, *variables: Var[Any]) -> None:
        """
        Defines what is missing of *variables* and keeps the values of what is there.

        Raises:
            DefinitionMismatch: one exists with another type or other constraints. Those before it are defined.

        """
        for variable in variables:
            await self.define(variable, exist_ok=True)

    # --- many --------------------------------------------------------------------------------------------------------------------

    async def get_many(self, variables: Iterable[Var[Any] | str], /) -> dict[str, Any]:
        """The values of *variables*, all of one moment, by name (or by id where an id was given); missing ones are left out."""
        if isinstance(variables, str):
            raise TypeError(f"expected several variables, got the str {variables!r}. Use [{variables!r}].")

        found: dict[str, Any] = await self.operate("get_many", [_key(variable) for variable in variables])
        return found

    async def set_many(
        self, updates: Mapping[Any, Any], /, *, metadata: Mapping[str, Any] | None = None, atomic: bool = True
    ) -> dict[str, int]:
        """
        Sets many variables in one step and returns their new versions. *updates* maps identifiers to values.

        Args:
            updates: identifier to value.
            metadata: merged into each one's.
            atomic: all or none. If false, what can be set is set, then `BatchError` tells the rest.

        Raises:
            VariableNotFound, InvalidValue: with *atomic*; nothing was set.
            BatchError: without; with its ``versions`` and ``errors``.

        """
        if not isinstance(updates, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"expected a mapping of variables to values, got {type(updates).__name__}")

        checked = {_key(key): value for key, value in updates.items()}
        versions: dict[str, int] = await self.operate("set_many", checked, metadata, atomic)
        return versions

    async def list(self) -> Page:
        """All variables, in the order of their definition, of one moment."""
        return await self.walked()

    def watch(self, *variables: Var[Any] | str, include_initial: bool = False) -> Watch:
        """
        Changes as they happen: ``async with variables.watch(TEMPERATURE) as changes: async for change in changes: ...``.

        None named: all, future ones too. A slow reader gets the latest of each, and in ``skipped`` how many it missed. The watch ends when
        the context stops; expiry and a crash raise.
        """
        names = frozenset(self.name_of(_key(variable)) for variable in variables) or None
        return Watch(self, names, include_initial=include_initial)

    def _refusing(self, variable: Var[Any] | str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """*function*, whose failure isn't the backend's, and whose result is measured."""

        def guarded(value: Any) -> Any:
            try:
                made = function(value)
            except Exception as error:
                raise Refused(error) from error

            if iscoroutine(made):
                made.close()
                raise Refused(_waiting(function))

            self.bounds.measure(variable, made)
            return made

        return guarded


def _key(variable: Any) -> Any:
    key = variable
    if isinstance(variable, (str, Var)):
        return key

    raise TypeError(f"a variable is named by a Var, a name or an id, not by {type(variable).__name__}: {variable!r}")


def _waiting(function: Callable[[Any], Any]) -> TypeError:
    name = getattr(function, "__qualname__", repr(function))
    return TypeError(
        f"update: expected a plain function, got {name}, which is async: it is called in the owner's turn, where nothing may wait. "
        "Await what you need before, and update with a function that only computes."
    )


def _alone(variable: Var[Any], *beside: Any) -> None:
    if any(value is not None and value is not False and value != {} for value in beside):
        raise TypeError(f"{variable!r} says it all: nothing else can be given for {variable.name!r} beside it")
