"""A state backend under test, whichever kind it is, and the operations it is compared with the model by."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dspex._exceptions import BatchError, InvalidValue, VariableExists, VariableNotFound, VersionConflict
from dspex.abc import StateBackend, SyncStateBackend
from dspex.state import backend_from
from dspex.testing._conformance import Rules, each, expect_equal, settled
from dspex.testing._model import Model
from dspex.variables import Definition

if TYPE_CHECKING:
    from dspex.variables import Variable

Make = Callable[[], "SyncStateBackend | StateBackend | Awaitable[SyncStateBackend | StateBackend]"]

RATIO = Definition.make("ratio", "float", constraints={"min": 0.0, "max": 1000.0})
COUNT = Definition.make("count", "int")
TITLE = Definition.make("title", "str", constraints={"max_length": 40})
NOTES = Definition.make("notes", "list[int]")
TABLE = Definition.make("table", "dict[str, int]")
FIRST: tuple[tuple[Definition, Any], ...] = ((RATIO, 0.5), (COUNT, 1), (TITLE, "first"), (NOTES, [1]), (TABLE, {"a": 1}))


def _all(value: Any, container: type[Any], item: type[Any]) -> bool:
    return type(value) is container and all(type(one) is item for one in iter(value))


FITS: dict[str, Callable[[Any], bool]] = {
    "ratio": lambda value: type(value) is float and 0 <= value <= 1000,
    "count": lambda value: type(value) is int,
    "title": lambda value: type(value) is str and len(value) <= 40,
    "notes": lambda value: _all(value, list, int),
    "table": lambda value: _all(value, dict, str) and _all(list(value.values()), list, int),
}


class Case:
    """One backend under test, and how to get more of its kind."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._opened: list[Subject] = []

    async def fresh(self, existing: Sequence[Variable] | None = None, *, filled: bool = True) -> Subject:
        """A new open backend, with five variables unless told otherwise."""
        spec = backend_from(await settled(self._make()))
        subject = Subject(spec.make())
        await subject("open", f"kit-{len(self._opened)}", existing=existing)
        self._opened.append(subject)
        if filled and existing is None:
            for definition, value in FIRST:
                await subject("define", definition, value)

        return subject

    async def close(self) -> Exception | None:
        """Close all; the first error there was."""
        failed: Exception | None = None
        for subject in self._opened:
            try:
                await subject("close", drop=True)
            except Exception as error:  # noqa: BLE001 - the others are to be closed all the same
                failed = failed or error

        return failed


class Subject:
    """A backend whose operations are awaited, whichever kind it is."""

    def __init__(self, backend: SyncStateBackend | StateBackend) -> None:
        self.backend = backend
        self.atomic = backend.capabilities.atomic_updates
        self.waits = isinstance(backend, StateBackend)

    async def __call__(self, operation: str, *args: Any, **options: Any) -> Any:
        return await settled(getattr(self.backend, operation)(*args, **options))

    async def variables(self) -> list[Variable]:
        return [variable async for page in each(self.backend.scan()) for variable in page]

    async def seen(self) -> list[tuple[str, Any, int, dict[str, Any]]]:
        """What a `Model` of it would show."""
        return [(one.name, one.value, one.version, dict(one.metadata)) for one in await self.variables()]

    async def expect_seen(self, model: Model, after: str) -> None:
        expect_equal(await self.seen(), model.seen(), f"after {after} its content")


def modelled() -> Model:
    """The model of a fresh filled backend."""
    model = Model()
    for definition, value in FIRST:
        model.define(definition.name, value, FITS[definition.name])

    return model


rule: Rules[Case] = Rules()


# --- operations against the model ------------------------------------------------------------------------------------------------


def written(subject: Subject, operation: str, args: Sequence[Any]) -> Coroutine[Any, Any, Any]:
    if operation == "define":
        return subject("define", Definition.make(args[0], "int"), args[1])

    return subject(operation, *args)


async def outcome_of(subject: Subject, operation: str, args: Sequence[Any]) -> tuple[str, Any]:
    """As `Model.apply` tells it; an id is told as None."""

    async def attempt() -> Any:
        answer = await written(subject, operation, args)
        return None if operation == "define" else answer

    try:
        return "done", await attempt()
    except REFUSALS as refusal:
        return "refused", type(refusal)


REFUSALS = (BatchError, InvalidValue, VariableExists, VariableNotFound, VersionConflict)


def one_more(value: Any) -> Any:
    """A function for updates."""
    return value + 1


def any_operation(chance: random.Random, model: Model) -> tuple[str, tuple[Any, ...]]:
    name = chance.choice(["ratio", "count", "title", "notes", "table", "extra"])
    values: Mapping[str, Any] = {
        "ratio": 1.0 * chance.randint(-100, 1000),
        "title": "x" * chance.randint(0, 50),
        "notes": [chance.randint(0, 9)],
        "table": {"k": 1},
    }
    value = values.get(name, chance.randint(0, 99))
    version = model.variables[name].version if name in model.variables else 0
    operations: list[tuple[str, tuple[Any, ...]]] = [
        ("get", (name,)),
        ("read", (name,)),
        ("exists", (name,)),
        ("set", (name, value)),
        ("set", (name, value, {"n": chance.randint(0, 9)})),
        ("set", (name, value, None, version + chance.choice([0, 0, 1]))),
        ("set_many", ({"count": chance.randint(0, 99), name: value},)),
        ("set_many", ({"count": chance.randint(0, 99), name: value, "nobody": 1}, None, False)),
        ("get_many", ([name, "count", "nobody"],)),
        ("delete", ("extra",)),
        ("define", ("extra", chance.randint(0, 99))),
        ("add", ("count", chance.randint(-5, 5))),
        ("append", ("notes", chance.randint(0, 9))),
        ("merge", ("table", {chance.choice("abc"): chance.randint(0, 9)})),
        ("update", ("count", one_more)),
    ]
    return chance.choice(operations)
