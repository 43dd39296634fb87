"""What both kinds of `ProgramContext` make of their arguments and of the answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional

from ...wire import Tagged

BUILTINS = (bool, bytes, dict, float, int, list, str)


class Missing:
    """The type of `MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()
"""No default was given."""


class Variable(NamedTuple):
    """A variable as it was when asked for: the fields of `dspex.Variable`, for interpreters without dspex."""

    id: str
    name: str
    type: str
    value: Any
    version: int
    constraints: Optional[Mapping[str, Any]] = None
    description: Optional[str] = None
    metadata: Optional[Mapping[str, Any]] = None
    sensitive: bool = False
    created_at: Optional[datetime] = None
    updated_at: Optional[datetime] = None

    def __repr__(self) -> str:
        value = "********" if self.sensitive else repr(self.value)
        return f"<Variable {self.name!r}: {self.type} = {value} [{self.id} | version {self.version}]>"


def key_of(identifier: Any) -> str:
    """A name or an id as it is; of a `Var`, the real one or anything like it, its name."""
    name = identifier if isinstance(identifier, str) else getattr(identifier, "name", None)
    if not isinstance(name, str):
        raise TypeError(f"expected a Var, a name or an id of a variable, got {identifier!r}")

    return name


def keys_of(identifiers: Iterable[Any]) -> List[str]:
    """The same for many. A single str is a mistake, not its letters."""
    if isinstance(identifiers, str):
        raise TypeError(f"expected several variables, got the str {identifiers!r}. Use [{identifiers!r}].")

    return [key_of(identifier) for identifier in identifiers]


def updates_of(mapping: Mapping[Any, Any]) -> Dict[str, Any]:
    """The values to set, by name or id."""
    return {key_of(identifier): value for identifier, value in mapping.items()}


def variable_of(told: Any) -> Any:
    """The record in the host's answer; dspex's own where the host sent that and dspex can be imported here."""
    fields = told.data if isinstance(told, Tagged) else told
    if not isinstance(fields, dict):
        return told

    return Variable(**{name: fields[name] for name in Variable._fields if name in fields})


def definition_of(declared: Any, type: Any, constraints: Mapping[str, Any]) -> Dict[str, Any]:  # noqa: A002
    """The definition to send: of a `Var` its own, else a name and a type, one of the seed's names or a plain builtin."""
    definition = getattr(declared, "definition", None)
    if definition is not None:
        packed: Dict[str, Any] = definition.pack()
        return packed

    label = type.__name__ if type in BUILTINS else type
    if not isinstance(label, str):
        raise TypeError(f"the type of {declared!r} must be a name such as 'float' or 'list[float]', or a builtin class, got {type!r}")

    return {
        "name": key_of(declared),
        "type": label,
        "constraints": dict(constraints),
        "description": None,
        "metadata": {},
        "sensitive": False,
    }


def errand_of(program_id: Any, inputs: Optional[Mapping[str, Any]], timeout: Any) -> List[Any]:
    """The arguments of a call of another program. Raises what the host would: `TypeError`, `ValueError`, `InvalidInputs`."""
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, (int, float))):
        raise TypeError(f"timeout: expected a number of seconds of at least 0 or None, got {timeout!r}")

    if timeout is not None and not timeout >= 0:
        raise ValueError(f"timeout: expected a number of seconds of at least 0 or None, got {timeout!r}")

    given: Any = inputs
    if inputs is not None and not isinstance(given, Mapping):
        from .failures import home

        raise home().InvalidInputs(program_id, problem=f"expected a mapping of names to inputs, got {type(given).__name__}")

    name = str.__str__(program_id) if isinstance(program_id, str) else program_id
    return [name, None if inputs is None else dict(inputs), None if timeout is None else float(timeout)]


def is_named(error: BaseException, *names: str) -> bool:
    """Whether *error* is one of *names*, of whichever copy of dspex it comes."""
    return type(error).__name__ in names
