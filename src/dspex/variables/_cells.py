"""
`Cell`: a variable in a table, as the hot path sees it.

The rule of a fast write, the same for every scalar::

    if type(value) is cell.exact and (cell.low is None or cell.low <= value <= cell.high):
        ...  # store it as it is
    else:
        value = cell.definition.check(value)

and of a fast read: ``cell.value if cell.copy is None else cell.copy(cell.value)``. NaN compares false with any bound, so it goes to
`check`, which refuses it; where there is no bound it is an ordinary float. What has any other constraint has no *exact*.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from dspex.variables._copying import Copier, copy_value
from dspex.variables._definition import Definition, plain_metadata
from dspex.variables._records import Variable, moment, nanoseconds

now_ns: Final[Callable[[], int]] = time.time_ns


class Cell:
    """
    One variable of one table.

    Attributes:
        id, name, definition: what it is.
        value: in stored form, of the exact type; never handed out without *copy*.
        version: 0 when defined, one more with each write.
        metadata: what writes have merged in, over the definition's; None while nothing has.
        created_ns, updated_ns: nanoseconds since the epoch.
        exact, low, high, copy: from the definition, see the module.
        packed: the definition's encoded bytes, kept by whoever encodes it; None until then.

    """

    __slots__ = (
        "copy",
        "created_ns",
        "definition",
        "exact",
        "high",
        "id",
        "low",
        "metadata",
        "name",
        "packed",
        "updated_ns",
        "value",
        "version",
    )

    definition: Definition
    exact: type | None
    low: Any
    high: Any
    copy: Copier | None

    def __init__(
        self,
        definition: Definition,
        id: str,  # noqa: A002 - the public word for it
        value: Any,
        *,
        version: int = 0,
        metadata: dict[str, Any] | None = None,
        created_ns: int | None = None,
        updated_ns: int | None = None,
    ) -> None:
        self.id: str = id
        self.name: str = definition.name
        self.value: Any = value
        self.version: int = version
        self.metadata: dict[str, Any] | None = metadata
        self.created_ns: int = now_ns() if created_ns is None else created_ns
        self.updated_ns: int = self.created_ns if updated_ns is None else updated_ns
        self.packed: bytes | None = None
        self._define(definition)

    def _define(self, definition: Definition) -> None:
        self.definition = definition
        self.exact = definition.exact
        self.low = definition.low
        self.high = definition.high
        self.copy = definition.copy

    def __repr__(self) -> str:
        return f"<Cell {self.name!r}: {self.definition.describe()} [{self.id} | version {self.version}]>"

    def variable(self) -> Variable:
        """All that is known of it now; the value copied out."""
        known = self.definition
        copy = copy_value if known.opaque else self.copy
        merged = {**known.metadata, **self.metadata} if self.metadata else known.metadata
        created = moment(self.created_ns)
        return Variable(
            id=self.id,
            name=self.name,
            type=known.kind.label,
            value=self.value if copy is None else copy(self.value),
            version=self.version,
            constraints=known.constraints,
            description=known.description,
            metadata=copy_value(dict(merged)) if merged else merged,
            sensitive=known.sensitive,
            created_at=created,
            updated_at=created if self.updated_ns == self.created_ns else moment(self.updated_ns),
            definition=known,
        )

    @staticmethod
    def from_variable(variable: Variable) -> Cell:
        """The cell of a variable told elsewhere, with its id, version, metadata and times. `InvalidValue` if its value doesn't fit."""
        known = variable.definition
        value = known.restore(variable.value) if known.opaque else known.check(variable.value)
        return Cell(
            known,
            variable.id,
            value,
            version=variable.version,
            metadata=_own(known.metadata, variable.metadata),
            created_ns=nanoseconds(variable.created_at),
            updated_ns=nanoseconds(variable.updated_at),
        )

    def attach(self, definition: Definition) -> None:
        """
        A declaration meets the variable: it must be the same, and where the variable was opaque it brings the class.

        Raises `DefinitionMismatch`, or `InvalidValue` if the kept value isn't one of that class; then nothing has changed.
        """
        self.definition.match(definition)
        if not self.definition.opaque or definition.opaque:
            return

        self.value = definition.restore(self.value)
        self._define(self.definition.as_known(definition))


def _own(defined: Mapping[str, Any], merged: Mapping[str, Any]) -> dict[str, Any] | None:
    own = {key: value for key, value in plain_metadata(merged).items() if key not in defined or defined[key] != value}
    return own or None
