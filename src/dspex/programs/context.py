"""
The context as a program in this process sees it: `ProgramContext` where the program awaits, `SyncProgramContext` where it blocks.

A worker has the same two with the same methods, so that a program doesn't know where it runs. Every operation goes through the
context's one entry.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar, Unpack, overload

from anyio import from_thread
from anyio.lowlevel import EventLoopToken, current_token

from dspex._exceptions import CallCancelled, ContextClosed, VariableNotFound
from dspex.variables import Constraints, Definition, Quantity, Var

from .chain import current_chain, on_behalf_of

if TYPE_CHECKING:
    from dspex.supervision._beside import Others
    from dspex.variables import Variable

    from .home import Home

T = TypeVar("T")
D = TypeVar("D")
K = TypeVar("K")
V = TypeVar("V")
N = TypeVar("N", bound=Quantity)

# In the classes below `list` is a method.
ListOf: TypeAlias = list[T]

_ABSENT: Final[Any] = object()


GONE: Final = "its caller has gone, or its deadline has passed"
_LENT: Final = "The call it was lent to has ended. Do what needs ctx before the program returns, and wait for your threads."


class Life:
    """
    The call that a context was made for, and whether it still goes on. Made by the task that calls; written on the loop's thread, read by
    the program's.
    """

    __slots__ = ("chain", "context_id", "end", "program_id")

    def __init__(self, program_id: str, context_id: str = "") -> None:
        self.program_id: str = program_id
        self.context_id: str = context_id
        self.chain: tuple[str, ...] = current_chain()
        self.end: Literal["returned", "abandoned"] | None = None

    def check(self) -> None:
        """Raise `CallCancelled` once its caller has gone, `ContextClosed` once it has returned."""
        if self.end == "abandoned":
            raise CallCancelled(self.program_id, reason=GONE)

        if self.end == "returned":
            raise ContextClosed(self.context_id, status=f"closed to {self.program_id!r}", hint=_LENT)


class ProgramContext:
    """
    The variables, for a program that awaits. *v* is a `Var`, a name or an id everywhere.

    It is the program's for as long as its call runs; after that every operation raises `ContextClosed`.
    """

    __slots__ = ("_home", "_life")

    def __init__(self, home: Home, life: Life) -> None:
        self._home = home
        self._life = life

    @property
    def id(self) -> str:
        """The context's id."""
        return self._home.id

    def __repr__(self) -> str:
        return f"<ProgramContext of {self._home.id!r} in {self._life.program_id!r}>"

    async def _ask(self, name: str, *args: Any) -> Any:
        self._life.check()
        return await self._home.operate(name, *args)

    @overload
    async def get(self, v: Var[T]) -> T: ...
    @overload
    async def get(self, v: Var[T], default: D) -> T | D: ...
    @overload
    async def get(self, v: str, default: Any = ...) -> Any: ...
    async def get(self, v: Var[Any] | str, default: Any = _ABSENT) -> Any:
        """The value of *v*, or *default* where there is none. Raises `VariableNotFound` without a default."""
        try:
            return await self._ask("get", v)
        except VariableNotFound:
            if default is _ABSENT:
                raise

            return default

    @overload
    async def set(self, v: Var[T], value: T, *, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None) -> int: ...
    @overload
    async def set(self, v: str, value: Any, *, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None) -> int: ...
    async def set(
        self, v: Var[Any] | str, value: Any, *, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None
    ) -> int:
        """Set *v* and give its new version. Raises `InvalidValue`, `VersionConflict`, `VariableNotFound`."""
        version: int = await self._ask("set", v, value, metadata, expected_version)
        return version

    @overload
    async def update(self, v: Var[T], function: Callable[[T], T], *, metadata: Mapping[str, Any] | None = None) -> T: ...
    @overload
    async def update(self, v: str, function: Callable[[Any], Any], *, metadata: Mapping[str, Any] | None = None) -> Any: ...
    async def update(self, v: Var[Any] | str, function: Callable[[Any], Any], *, metadata: Mapping[str, Any] | None = None) -> Any:
        """Set *v* to ``function(value)``, atomically, and give the new value. *function* is plain and short; it may be called again."""
        return await self._ask("update", v, function, metadata)

    @overload
    async def add(self, v: Var[N], n: N) -> N: ...
    @overload
    async def add(self, v: str, n: Any) -> Any: ...
    async def add(self, v: Any, n: Any) -> Any:
        """Add *n* to *v*, atomically, and give the new value."""
        return await self._ask("add", v, n)

    @overload
    async def append(self, v: Var[ListOf[T]], item: T) -> int: ...
    @overload
    async def append(self, v: str, item: Any) -> int: ...
    async def append(self, v: Any, item: Any) -> int:
        """Append *item* to the list *v*, atomically, and give the new version."""
        version: int = await self._ask("append", v, item)
        return version

    @overload
    async def merge(self, v: Var[dict[K, V]], mapping: Mapping[K, V]) -> int: ...
    @overload
    async def merge(self, v: str, mapping: Mapping[Any, Any]) -> int: ...
    async def merge(self, v: Any, mapping: Mapping[Any, Any]) -> int:
        """Merge *mapping* into the dict *v*, atomically, and give the new version."""
        version: int = await self._ask("merge", v, mapping)
        return version

    async def get_many(self, vs: Iterable[Var[Any] | str]) -> dict[str, Any]:
        """The values of all of *vs* at one moment; missing ones are left out."""
        found: dict[str, Any] = await self._ask("get_many", _several(vs))
        return found

    async def set_many(
        self, values: Mapping[Any, Any], *, metadata: Mapping[str, Any] | None = None, atomic: bool = True
    ) -> dict[str, int]:
        """Set many variables in one step, all or nothing; ``atomic=False`` sets what it can, then raises `BatchError`."""
        versions: dict[str, int] = await self._ask("set_many", dict(values), metadata, atomic)
        return versions

    async def define(
        self,
        v: Var[Any] | str,
        type: Any = "any",  # noqa: A002  # the seed's word
        initial: Any = _ABSENT,
        **constraints: Unpack[Constraints],
    ) -> str:
        """Define a variable, from a `Var` or from a name, a type and constraints, and give its id. Raises `VariableExists`."""
        return str(await self._ask("define", *_defined(v, type, initial, constraints)))

    async def delete(self, v: Var[Any] | str) -> None:
        """Delete *v*."""
        await self._ask("delete", v)

    async def exists(self, v: Var[Any] | str) -> bool:
        """Whether there is a variable *v*."""
        there: bool = await self._ask("exists", v)
        return there

    async def info(self, v: Var[Any] | str) -> Variable:
        """All that is known of *v*."""
        variable: Variable = await self._ask("info", v)
        return variable

    async def list(self) -> list[Variable]:
        """All variables, in the order they were defined."""
        variables: list[Variable] = await self._ask("list")
        return variables

    async def call(self, program_id: str, inputs: Mapping[str, Any] | None = None, *, timeout: float | None = None) -> Any:
        """
        Call another program of this context and give its result.

        It is a call on behalf of this one: it gets a place at once, ends when this one does, and has no more time.

        Args:
            program_id: as it was registered.
            inputs: by name.
            timeout: seconds until `CallTimeout`.

        Raises:
            ProgramNotFound: there is no such program.
            CallCycle: calls are nested too deep, most likely in a circle.
            DspexError: what else `Bound.call` raises.

        """
        self._life.check()
        with on_behalf_of(self._life.chain):
            return await self._home.program(program_id).call(inputs, timeout=timeout)


class SyncProgramContext:
    """
    The same for a program that blocks, in a thread of this process: each method waits for the loop to answer.

    What it calls runs in *others*, beside the task that waits for the program.
    """

    __slots__ = ("_context", "_life", "_others", "_token")

    def __init__(self, home: Home, life: Life, others: Others) -> None:
        self._context = ProgramContext(home, life)
        self._others = others
        self._life = life
        self._token: EventLoopToken = current_token()

    @property
    def id(self) -> str:
        """The context's id."""
        return self._context.id

    def __repr__(self) -> str:
        return repr(self._context)

    def _wait(self, operation: Callable[..., Any], *args: Any) -> Any:
        return self._on_loop(from_thread.run, operation, *args)

    def _on_loop(self, run: Callable[..., Any], function: Callable[..., Any], *args: Any) -> Any:
        self._life.check()
        try:
            return run(function, *args, token=self._token)
        except BaseException:
            self._life.check()  # the caller went away meanwhile, or its loop did: say that, not how it shows here
            raise

    @overload
    def get(self, v: Var[T]) -> T: ...
    @overload
    def get(self, v: Var[T], default: D) -> T | D: ...
    @overload
    def get(self, v: str, default: Any = ...) -> Any: ...
    def get(self, v: Var[Any] | str, default: Any = _ABSENT) -> Any:
        """The value of *v*, or *default* where there is none. Raises `VariableNotFound` without a default."""
        return self._wait(self._context.get, v, default)

    @overload
    def set(self, v: Var[T], value: T, *, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None) -> int: ...
    @overload
    def set(self, v: str, value: Any, *, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None) -> int: ...
    def set(self, v: Var[Any] | str, value: Any, *, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None) -> int:
        """Set *v* and give its new version. Raises `InvalidValue`, `VersionConflict`, `VariableNotFound`."""
        version: int = self._wait(self._context._ask, "set", v, value, metadata, expected_version)
        return version

    @overload
    def update(self, v: Var[T], function: Callable[[T], T], *, metadata: Mapping[str, Any] | None = None) -> T: ...
    @overload
    def update(self, v: str, function: Callable[[Any], Any], *, metadata: Mapping[str, Any] | None = None) -> Any: ...
    def update(self, v: Var[Any] | str, function: Callable[[Any], Any], *, metadata: Mapping[str, Any] | None = None) -> Any:
        """Set *v* to ``function(value)``, atomically, and give the new value. *function* is plain and short; it may be called again."""
        return self._wait(self._context._ask, "update", v, function, metadata)

    @overload
    def add(self, v: Var[N], n: N) -> N: ...
    @overload
    def add(self, v: str, n: Any) -> Any: ...
    def add(self, v: Any, n: Any) -> Any:
        """Add *n* to *v*, atomically, and give the new value."""
        return self._wait(self._context.add, v, n)

    @overload
    def append(self, v: Var[ListOf[T]], item: T) -> int: ...
    @overload
    def append(self, v: str, item: Any) -> int: ...
    def append(self, v: Any, item: Any) -> int:
        """Append *item* to the list *v*, atomically, and give the new version."""
        version: int = self._wait(self._context.append, v, item)
        return version

    @overload
    def merge(self, v: Var[dict[K, V]], mapping: Mapping[K, V]) -> int: ...
    @overload
    def merge(self, v: str, mapping: Mapping[Any, Any]) -> int: ...
    def merge(self, v: Any, mapping: Mapping[Any, Any]) -> int:
        """Merge *mapping* into the dict *v*, atomically, and give the new version."""
        version: int = self._wait(self._context.merge, v, mapping)
        return version

    def get_many(self, vs: Iterable[Var[Any] | str]) -> dict[str, Any]:
        """The values of all of *vs* at one moment; missing ones are left out."""
        found: dict[str, Any] = self._wait(self._context.get_many, vs)
        return found

    def set_many(self, values: Mapping[Any, Any], *, metadata: Mapping[str, Any] | None = None, atomic: bool = True) -> dict[str, int]:
        """Set many variables in one step, all or nothing; ``atomic=False`` sets what it can, then raises `BatchError`."""
        versions: dict[str, int] = self._wait(self._context._ask, "set_many", dict(values), metadata, atomic)
        return versions

    def define(
        self,
        v: Var[Any] | str,
        type: Any = "any",  # noqa: A002  # the seed's word
        initial: Any = _ABSENT,
        **constraints: Unpack[Constraints],
    ) -> str:
        """Define a variable, from a `Var` or from a name, a type and constraints, and give its id. Raises `VariableExists`."""
        return str(self._wait(self._context._ask, "define", *_defined(v, type, initial, constraints)))

    def delete(self, v: Var[Any] | str) -> None:
        """Delete *v*."""
        self._wait(self._context.delete, v)

    def exists(self, v: Var[Any] | str) -> bool:
        """Whether there is a variable *v*."""
        there: bool = self._wait(self._context.exists, v)
        return there

    def info(self, v: Var[Any] | str) -> Variable:
        """All that is known of *v*."""
        variable: Variable = self._wait(self._context.info, v)
        return variable

    def list(self) -> list[Variable]:
        """All variables, in the order they were defined."""
        variables: list[Variable] = self._wait(self._context.list)
        return variables

    def call(self, program_id: str, inputs: Mapping[str, Any] | None = None, *, timeout: float | None = None) -> Any:
        """
        Call another program of this context and give its result.

        It is a call on behalf of this one: it gets a place at once, ends when this one does, and has no more time.

        Args:
            program_id: as it was registered.
            inputs: by name.
            timeout: seconds until `CallTimeout`.

        Raises:
            ProgramNotFound: there is no such program.
            CallCycle: calls are nested too deep, most likely in a circle.
            DspexError: what else `Bound.call` raises.

        """
        answer: Future[Any] = Future()
        self._on_loop(from_thread.run_sync, self._begin, answer, partial(self._context.call, program_id, inputs, timeout=timeout))
        try:
            return answer.result()
        except BaseException:
            self._life.check()
            raise

    def _begin(self, answer: Future[Any], call: Callable[[], Awaitable[Any]]) -> None:
        self._others.start_soon(self._answer, answer, call, name=f"dspex call by {self._life.program_id}")

    async def _answer(self, answer: Future[Any], call: Callable[[], Awaitable[Any]]) -> None:
        try:
            answer.set_result(await call())
        except Exception as error:  # noqa: BLE001 - raised in the thread that waits
            answer.set_exception(error)
        except BaseException:
            answer.set_exception(CallCancelled(self._life.program_id, reason=GONE))
            raise


def _several(vs: Iterable[Var[Any] | str]) -> list[Var[Any] | str]:
    if isinstance(vs, str):
        raise TypeError(f"expected several variables, got the str {vs!r}. Use [{vs!r}].")

    return [*vs]


def _defined(v: Var[Any] | str, type: Any, initial: Any, constraints: Constraints) -> tuple[Definition, Any]:  # noqa: A002
    if isinstance(v, Var):
        return v.definition, v.initial

    definition = Definition.make(v, type, constraints=constraints)
    if initial is _ABSENT:
        definition.begins_empty()

    return definition, None if initial is _ABSENT else initial
