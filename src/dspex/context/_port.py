"""
Where the door delivers what a worker asks: the same entry as everyone else's.

What comes is data. A value for a typed variable is restored by the type that the variable was declared with; no class is looked up by a
name that a worker wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import fields

from .._exceptions import DspexError, VariableNotFound
from ..variables import Definition, Misfit, Variable
from ..worker.host.port import Answer, GateClosed
from ._behalf import furnishing
from ._mailbox import Request
from ._status import SERVING, Status

if TYPE_CHECKING:
    from ._variables import Variables

_ALIVE = SERVING | {Status.STOPPING}
_SCALARS = frozenset({str, int, float, bool, bytes, type(None)})
_TOLD = tuple(field.name for field in fields(Variable) if not field.name.startswith("_"))


class ContextPort:
    """
    The operations of one context, for its workers. Everything here is a plain step on the loop's thread.

    A port belongs to one life of the context's owner. Once that is over it is shut: what a worker still asks for it is refused.
    """

    __slots__ = ("_entry", "_furnishes", "context_id")

    def __init__(self, entry: Variables) -> None:
        self._entry: Any = entry
        self._furnishes = furnishing.get()
        self.context_id: str = entry.context_id

    def shut(self, error: DspexError) -> None:
        """Refuses everything from here on, with *error*."""
        self._entry = _Over(error)

    def operate_nowait(self, name: str, args: Sequence[Any]) -> Any:
        """
        Serves one operation in this step.

        Raises:
            GateClosed: it would have to queue.
            DspexError: it was refused.

        """
        entry = self._entry
        if name == "list" or (entry.gate <= 0 and not entry.reopen()):
            raise GateClosed

        entry.gate -= 1
        if name == "get":
            # What most ask for, in short, as `Variables.get` has it.
            cell = entry.cells.get(args[0])
            if cell is not None and cell.copy is None:
                return cell.value

        result = entry.deliver(name, args if name not in _PREPARED else _ready(entry, name, args))
        return told(result) if name == "info" else result

    def post(self, name: str, args: Sequence[Any], answer: Answer) -> None:
        """Queues one operation, in order. *answer* is called once, possibly right away."""
        ahead = self._furnishes is not None and self._entry.mailbox.ahead is self._furnishes
        if self._entry.status not in _ALIVE and not ahead:
            answer(None, self._entry.refusal())
            return

        request = Request("run", (self._serve, name, tuple(args)), callback=answer)
        request.of_call = True
        self._entry.accept(request, ahead=ahead)

    async def _serve(self, request: Request, name: str, args: tuple[Any, ...]) -> Any:
        """In the owner's turn."""
        entry: Variables = self._entry
        if name == "list":
            return await entry.walk(request, told)

        if entry.synchronous:
            result = entry.deliver(name, args if name not in _PREPARED else _ready(entry, name, args))
        else:
            result = await entry.deliver_async(name, args if name not in _PREPARED else await _prepared(entry, name, args))

        return told(result) if name == "info" else result


class _Over:
    """What a port that is shut has in the place of the entry: nothing gets in."""

    gate = 0
    status = Status.CRASHED

    def __init__(self, error: DspexError) -> None:
        self._error = error
        self.mailbox = self
        self.ahead = None

    def reopen(self) -> bool:
        return False

    def refusal(self) -> DspexError:
        return self._error


def told(variable: Variable) -> dict[str, Any]:
    """A variable's facts as plain data."""
    facts = {name: getattr(variable, name) for name in _TOLD}
    facts["constraints"] = dict(variable.constraints)
    facts["metadata"] = dict(variable.metadata)
    return facts


# --- arguments -------------------------------------------------------------------------------------------------------------------

DefinitionOf = Callable[[Any], Definition]


def _restored(definition_of: DefinitionOf, key: str, value: Any) -> Any:
    # A scalar is what it is, and the backend checks it. Anything else may hold instances of classes that only the declared type knows.
    return value if type(value) in _SCALARS else definition_of(key).restore(value)


def _set(definition_of: DefinitionOf, key: str, value: Any, metadata: Any = None, expected_version: int | None = None) -> tuple[Any, ...]:
    return key, _restored(definition_of, key, value), metadata, expected_version


def _set_many(definition_of: DefinitionOf, updates: Mapping[str, Any], metadata: Any = None, atomic: bool | None = None) -> tuple[Any, ...]:
    if atomic is not False:
        return {key: _restored(definition_of, key, value) for key, value in updates.items()}, metadata, True

    return {key: _if_it_fits(_restored, definition_of, key, value) for key, value in updates.items()}, metadata, False


def _append(definition_of: DefinitionOf, key: str, item: Any) -> tuple[Any, ...]:
    return (key, item) if type(item) in _SCALARS else (key, _if_it_fits(_part, definition_of, key, [item])[0])


def _merge(definition_of: DefinitionOf, key: str, mapping: Any) -> tuple[Any, ...]:
    return key, _if_it_fits(_part, definition_of, key, mapping)


def _part(definition_of: DefinitionOf, key: str, part: Any) -> Any:
    # The constraints are for the whole, which the backend makes and checks.
    return definition_of(key).kind.restore(part)


def _if_it_fits(restored: Callable[[DefinitionOf, str, Any], Any], definition_of: DefinitionOf, key: str, value: Any) -> Any:
    try:
        return restored(definition_of, key, value)
    except (DspexError, Misfit):
        # The backend refuses it as it is, in its own words, and in its place among others.
        return value


def _define(definition_of: DefinitionOf, definition: Mapping[str, Any], value: Any) -> tuple[Any, ...]:
    made = Definition.unpack(definition)
    return made, made.restore(value)


_PREPARED: dict[str, Callable[..., tuple[Any, ...]]] = {
    "set": _set,
    "set_many": _set_many,
    "append": _append,
    "merge": _merge,
    "define": _define,
}


def _ready(entry: Variables, name: str, args: Sequence[Any], definition_of: DefinitionOf | None = None) -> tuple[Any, ...]:
    try:
        return _PREPARED[name](definition_of or entry.definition_of, *args)
    except DspexError as error:
        if entry.probe is not None:
            entry.probe.failed(name, args if name != "define" else [args[0].get("name")], error)

        raise


async def _prepared(entry: Variables, name: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same where a definition can only be had by awaiting the backend."""
    written: Mapping[Any, Any] = {} if name == "define" else args[0] if name == "set_many" else {args[0]: args[1]}
    backend: Any = entry.backend
    known: dict[Any, Definition] = {}
    for key, value in written.items():
        if type(value) not in _SCALARS and await backend.exists(key):
            known[key] = (await backend.info(key)).definition

    def definition_of(key: Any) -> Definition:
        if key in known:
            return known[key]

        raise VariableNotFound(str(key))

    return _ready(entry, name, args, definition_of)
