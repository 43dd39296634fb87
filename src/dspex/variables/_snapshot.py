"""`Snapshot`: the variables of a session at one moment, to and from JSON."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, cast

import attrs

from dspex._exceptions import InvalidSnapshot, VariableNotFound
from dspex.variables._records import Variable

FORMAT: Final = "dspex.snapshot"
FORMAT_VERSION: Final = 1


@attrs.frozen(kw_only=True, repr=False)
class Snapshot:
    """
    All variables of a session, in the order of their definition, with everything that must survive.

    ``Snapshot.from_json(snapshot.to_json())`` keeps every value and its exact Python type. In the text a class is a label: a variable
    of a class that this process's code hasn't attached yet keeps its value, and can be read once its `Var` is there.

    Attributes:
        session_id: the session it was taken of.
        variables: the variables, in order.
        created_at: when it was taken, UTC.
        metadata: plain data about the session.
        format: the version of the form; 1.

    """

    session_id: str
    variables: tuple[Variable, ...] = attrs.field(default=(), converter=tuple)
    created_at: dt.datetime = attrs.field(factory=lambda: dt.datetime.now(dt.UTC))
    metadata: Mapping[str, Any] = MappingProxyType({})
    format: int = FORMAT_VERSION

    def __len__(self) -> int:
        return len(self.variables)

    def __iter__(self) -> Iterator[Variable]:
        return iter(self.variables)

    def __getitem__(self, name: str) -> Variable:
        """The variable of that name. Raises `VariableNotFound`."""
        for variable in self.variables:
            if variable.name == name:
                return variable

        raise VariableNotFound(name, known=(variable.name for variable in self.variables))

    def __repr__(self) -> str:
        return f"<Snapshot of {self.session_id!r} [variables: {len(self.variables)} | {self.created_at:%Y-%m-%d %H:%M:%S}Z]>"

    def to_json(self, *, indent: int | None = 2) -> str:
        """
        The snapshot as JSON text, in a form made to be read (values of sensitive variables included: the text is the owner's).

        Raises `InvalidValue` for a value that has no form outside this process, such as a record holding a function.
        """
        from dspex.variables import _converter  # cattrs is loaded with the first snapshot that becomes JSON

        return json.dumps({"format": FORMAT, **_converter.unstructured(self)}, indent=indent, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Snapshot:
        """
        The snapshot that `to_json` made *text* of.

        Raises `InvalidSnapshot`, which says where, for text that is malformed, foreign or of a newer version.
        """
        from dspex.variables import _converter  # cattrs is loaded with the first snapshot that becomes JSON

        return _converter.structured(_envelope(_parsed(text)))


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise InvalidSnapshot(problem="it is nested too deep") from None
    except (ValueError, TypeError) as error:
        raise InvalidSnapshot(problem=f"it is no JSON ({error})") from None


def _no_constant(name: str) -> Any:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


def _envelope(data: Any) -> dict[str, Any]:
    held = cast(dict[str, Any], data if isinstance(data, dict) else {})
    if held.get("format") != FORMAT:
        raise InvalidSnapshot(problem=f"its 'format' must be {FORMAT!r}: this was not written by Snapshot.to_json()", path="$")

    version = held.get("version")
    if type(version) is not int or version < 1:
        raise InvalidSnapshot(problem=f"an int from 1 up was expected, not {version!r:.80}", path="$.version")

    if version > FORMAT_VERSION:
        problem = f"version {version} is newer than {FORMAT_VERSION}, the newest this dspex reads; read it with a newer dspex"
        raise InvalidSnapshot(problem=problem, path="$.version")

    return {key: value for key, value in held.items() if key != "format"}
