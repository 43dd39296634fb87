"""What is told about variables: `Variable`, `Change`. Frozen, and masked where the variable is sensitive."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

import attrs

from dspex.variables._definition import Definition
from dspex.variables._misfit import MASK

ChangeKind = Literal["defined", "set", "deleted", "reset"]

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@attrs.frozen(kw_only=True, repr=False)
class Variable:
    """
    All that is known of a variable at one moment.

    Attributes:
        id: its id, ``var_<name>_<n>``.
        name: its name.
        type: the label of its type, such as ``"float"`` or ``"app.models:Color"``.
        value: its value; a copy of your own.
        version: 0 when defined, one more with each write.
        constraints: what is asked of its values beyond the type.
        description: what it is for.
        metadata: that of its definition, and over it what writes have merged in.
        sensitive: its value is masked in reprs.
        created_at: when it was defined, UTC.
        updated_at: when it was written last, UTC.

    """

    id: str
    name: str
    type: str
    value: Any
    version: int = 0
    constraints: Mapping[str, Any] = _NOTHING
    description: str | None = None
    metadata: Mapping[str, Any] = _NOTHING
    sensitive: bool = False
    created_at: dt.datetime = attrs.field(factory=lambda: dt.datetime.now(dt.UTC))
    updated_at: dt.datetime = attrs.field(factory=lambda: dt.datetime.now(dt.UTC))
    _definition: Definition | None = attrs.field(default=None, eq=False, alias="definition")

    @property
    def definition(self) -> Definition:
        """Its definition: the one it was made with, else one made from its label, opaque where that names a class."""
        if self._definition is not None:
            return self._definition

        return Definition.make(
            self.name,
            self.type,
            constraints=self.constraints,
            description=self.description,
            metadata=self.metadata,
            sensitive=self.sensitive,
        )

    def __repr__(self) -> str:
        value = MASK if self.sensitive else repr(self.value)
        return f"<Variable {self.name!r}: {self.type} = {value} [{self.id} | version {self.version}]>"


@attrs.frozen(kw_only=True, repr=False)
class Change:
    """
    One change of a variable, as a watch tells it.

    Attributes:
        kind: ``"defined"``, ``"set"``, ``"deleted"`` or ``"reset"``.
        name: the variable's name.
        value: its value after the change; None when it was deleted.
        version: its version after the change.
        metadata: what was given with the write.
        skipped: how many changes of this variable before this one were not handed over.
        sensitive: the value is masked in the repr.

    """

    kind: ChangeKind
    name: str
    value: Any
    version: int
    metadata: Mapping[str, Any] = _NOTHING
    skipped: int = 0
    sensitive: bool = False

    def __repr__(self) -> str:
        value = MASK if self.sensitive else repr(self.value)
        skipped = f" | {self.skipped} skipped" if self.skipped else ""
        return f"<Change {self.kind} {self.name!r} = {value} [version {self.version}{skipped}]>"


def moment(ns: int) -> dt.datetime:
    """A time in nanoseconds since the epoch as an aware UTC datetime, in whole microseconds."""
    return _EPOCH + dt.timedelta(microseconds=ns // 1000)


def nanoseconds(when: dt.datetime) -> int:
    """The nanoseconds since the epoch of an aware datetime."""
    return (when - _EPOCH) // dt.timedelta(microseconds=1) * 1000
