"""What is registered under a program's id: where it runs and why, how it is called, and what a worker needs to have it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Protocol, Self, TypeAlias, cast

from attrs import evolve, field, frozen

from dspex._exceptions import InvalidProgram

from . import definition as definitions
from ._restoring import restorer
from ._walk import dspy_class
from .definition import Definition
from .inspector import CALLABLE_KEY, reasons
from .isolating import isolation_of
from .prediction import answered
from .secrets import refuse_keyed_models
from .signature import Shape, shape_of

Where: TypeAlias = Literal["host", "worker"]

DEFAULT_POOL: Final = "default"

DSPY_FACTORY: Final = "modules.dspy_runner:build"
"""What makes a DSPy program in a worker, from a declaration as plain data."""


@frozen
class Declaration:
    """
    A program that was declared as data.

    Attributes:
        definition: what a worker makes it from.
        reasons: why it runs in a worker, in words.
        describe: one line for people.
        convert: from what the worker answers, plain data, to what the caller gets.

    """

    definition: Definition
    reasons: tuple[str, ...]
    describe: str
    convert: Callable[[Any], Any] | None = None


class Declared(Protocol):
    """An object that says itself how it becomes a program, as the DSPy modules do."""

    def __dspex_program__(self, program_id: str, /) -> Declaration: ...


@frozen(eq=False)
class ProgramSpec:
    """
    A program under an id. Made without I/O: a worker sees it first when it is bound.

    Attributes:
        id: the program's id in its context.
        where: ``"host"`` (this process) or ``"worker"``.
        reasons: why it needs the bridge, in words; empty for a host program.
        pool: the pool whose workers run it.
        idempotent: whether a call whose worker died may be made again, once.
        shape: how it is called; None until a worker has told.
        definition: what a worker needs; None for a host program and for one that is only described.
        key: the digest of *definition*.
        source: what was given, as given.
        run: what a host program calls.
        convert: what is made of a worker's answer.
        metadata: what a mapping says beside.

    """

    id: str
    where: Where
    source: object = field(repr=False)
    reasons: tuple[str, ...] = ()
    pool: str = DEFAULT_POOL
    idempotent: bool = False
    shape: Shape | None = None
    definition: Definition | None = field(default=None, repr=False)
    key: str | None = None
    run: Callable[..., Any] | None = field(default=None, repr=False)
    convert: Callable[[Any], Any] | None = field(default=None, repr=False)
    metadata: Mapping[str, Any] = field(factory=dict[str, Any], repr=False)
    description: str = ""

    @classmethod
    def make(cls, program_id: str, program: object, *, pool: str = DEFAULT_POOL, idempotent: bool = False) -> Self:
        """
        Look at *program* and say where it runs.

        *program* is a function, a class (made once, without arguments, and then called), an object with `__call__`, an import path
        ``"module:qualname"``, a DSPy module, a declaration of `dspex.modules`, or a mapping as the seed has it, whose ``"program"``
        may be any of these. Raises `InvalidProgram`.
        """
        _check_id(program_id)
        held, metadata = _opened(program)
        common: dict[str, Any] = {"source": program, "idempotent": idempotent, "metadata": metadata, "description": _described(held)}
        if held is None:
            why = reasons(program)
            return cls(program_id, "worker" if why else "host", reasons=why, pool=pool, **common)

        declared = _declared(program_id, held)
        if declared is not None:
            return cls(program_id, "worker", pool=pool, **common)._with_declaration(declared)

        why, pool = _why(program, held, pool)
        spec = cls(program_id, "worker" if why else "host", reasons=why, pool=pool, **common)
        return spec._for_worker(held) if why else spec._for_host(held)

    def _with_declaration(self, declared: Declaration) -> Self:
        key = definitions.key_of(declared.definition)
        return evolve(
            self, definition=declared.definition, key=key, reasons=declared.reasons, convert=declared.convert, description=declared.describe
        )

    def _for_worker(self, program: Any) -> Self:
        definition = (
            definitions.by_path(self.id, program) if isinstance(program, str) else definitions.of(self.id, _callable(self.id, program))
        )
        return evolve(self, definition=definition, key=definitions.key_of(definition), convert=restorer(program))

    def _for_host(self, program: Any) -> Self:
        run = _instance(self.id, _callable(self.id, program))
        return evolve(self, run=run, shape=shape_of(self.id, run))

    @property
    def requires_bridge(self) -> bool:
        """Whether registering it makes the context switch."""
        return bool(self.reasons)

    @property
    def is_callable(self) -> bool:
        """Whether there is anything to call: a mapping may merely describe a program."""
        return self.run is not None or self.definition is not None

    def shaped(self, shape: Shape) -> Self:
        """The same program, with the shape that a worker told."""
        return evolve(self, shape=shape)

    def same_as(self, other: ProgramSpec) -> bool:
        """Whether registering *other* under this id changes nothing: the same code, in the same place, under the same terms."""
        return self._terms() == other._terms() and (
            self.source is other.source or (self.key is not None and self.key == other.key) or _equal(self.source, other.source)
        )

    def _terms(self) -> tuple[Any, ...]:
        return self.id, self.where, self.pool, self.idempotent, dict(self.metadata)

    def describe(self) -> str:
        """One line for errors and trees: ``"function app:summarize in a worker of the pool 'default'"``."""
        place = f"in a worker of the pool {self.pool!r}" if self.where == "worker" else "in this process"
        return f"{self.description} {place}" if self.is_callable else f"{self.description}, described only"


def _check_id(program_id: object) -> None:
    if not isinstance(program_id, str) or not program_id:
        raise InvalidProgram(str(program_id), problem=f"expected an id that is a non-empty str, got {program_id!r}")


def _opened(program: object) -> tuple[object, Mapping[str, Any]]:
    """What is called, and what a mapping says beside it."""
    if not isinstance(program, Mapping):
        return program, {}

    described = dict(cast("Mapping[str, Any]", program))
    return described.pop(CALLABLE_KEY, None), described


def _declared(program_id: str, held: object) -> Declaration | None:
    if hasattr(type(held), "__dspex_program__"):
        return cast("Declared", held).__dspex_program__(program_id)

    if dspy_class(held) is None:
        return None

    refuse_keyed_models(program_id, held)
    args = {"kind": "Module", "program": definitions.of(program_id, held)}
    return Declaration(definitions.by_factory(DSPY_FACTORY, args), reasons(held), _described(held), answered)


def _why(program: object, held: object, pool: str) -> tuple[tuple[str, ...], str]:
    why = reasons(program)
    mark = isolation_of(held)
    if mark is not None and mark.pool is not None and pool == DEFAULT_POOL:
        pool = mark.pool

    if not why and pool != DEFAULT_POOL:
        why = (f"it is registered for the pool {pool!r}",)

    return why, pool


def _callable(program_id: str, program: Any) -> Callable[..., Any]:
    if inspect.isclass(program) and not any("__call__" in base.__dict__ for base in program.__mro__):
        raise InvalidProgram(
            program_id, problem=f"the class {program.__qualname__} has no __call__", hint="Give it one, or give a function."
        )

    if not callable(program):
        hint = "Expected a function, an object with __call__, an import path 'module:name', a DSPy module or a mapping."
        raise InvalidProgram(program_id, problem=f"got {type(program).__name__}, which can't be called", hint=hint)

    checked: Callable[..., Any] = program
    return checked


def _instance(program_id: str, program: Callable[..., Any]) -> Callable[..., Any]:
    if not inspect.isclass(program):
        return program

    try:
        return cast("Callable[..., Any]", program())
    except Exception as error:  # its own constructor's, whatever it is
        problem = f"{program.__qualname__}() raised {type(error).__name__}: {error}"
        raise InvalidProgram(
            program_id, problem=problem, hint="A class is made once, without arguments: give an instance instead."
        ) from error


def _described(program: object) -> str:
    if isinstance(program, str):
        return program

    if program is None:
        return "a mapping"

    name = getattr(program, "__qualname__", None)
    kind = "class" if inspect.isclass(program) else "function" if inspect.isroutine(program) else "object"
    return f"{kind} {program.__module__}:{name}" if name else f"an object of {type(program).__module__}:{type(program).__qualname__}"


def _equal(one: object, other: object) -> bool:
    return isinstance(one, Mapping) and isinstance(other, Mapping) and one == other
