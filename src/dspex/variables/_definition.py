"""What a variable is, apart from its value: name, kind, constraints, and words about it. Made once, shared, never changed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, cast

from dspex._exceptions import DefinitionMismatch, InvalidDefinition, InvalidValue
from dspex.variables._constraints import BadConstraint, compiled
from dspex.variables._copying import Copier
from dspex.variables._misfit import Misfit, UnknownType
from dspex.variables._plain import ANY
from dspex.variables._scalars import Kind
from dspex.variables._types import KNOWN, required_constraint, resolve
from dspex.wire import codec
from dspex.wire.records import Tagged, parts

MAX_NAME: Final = 512

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_TUPLE: type[Any] = tuple
_MAPPING: type[Any] = Mapping


class Definition:
    """
    The definition of a variable.

    Attributes:
        name: the variable's name.
        kind: what its type means.
        constraints: what was asked beyond the type, normalised, in the order given.
        description: what it is for, or None.
        metadata: plain data of the user's own.
        sensitive: its values are masked wherever they could be seen by accident.
        exact: the one type whose instances may be stored as they are, within *low* and *high*; None if `check` must look.
        low: the lowest value that fits, where *exact* is a number with a bound on either side; else None.
        high: the highest. Both are None or neither is. NaN is within no bounds.
        copy: copies a stored value out; None when it is shared.

    """

    __slots__ = ("_tests", "constraints", "copy", "description", "exact", "high", "kind", "low", "metadata", "name", "sensitive")

    name: str
    kind: Kind
    constraints: Mapping[str, Any]
    description: str | None
    metadata: Mapping[str, Any]
    sensitive: bool
    exact: type | None
    low: Any
    high: Any
    copy: Copier | None

    @classmethod
    def make(
        cls,
        name: str,
        type: Any,  # noqa: A002 - the public word for it
        *,
        constraints: Mapping[str, Any] = _NOTHING,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        sensitive: bool = False,
    ) -> Definition:
        """
        Makes a definition from a declared *type* and its *constraints* (those that are None are not meant).

        Raises `InvalidDefinition` for an unknown type or constraint, for one the type has no use for, and for those no value could meet.
        """
        made = cls.__new__(cls)
        made.name = _checked_name(name)
        made.kind = _kind(name, type)
        made.description = _checked_description(name, description)
        made.metadata = _checked_metadata(name, metadata)
        made.sensitive = sensitive
        made._constrain(constraints, required_constraint(type))
        made.copy = made._refuse if made.kind.opaque else made.kind.copy
        return made

    def _constrain(self, given: Mapping[str, Any], required: str | None) -> None:
        if required is not None and given.get(required) is None:
            raise InvalidDefinition(self.name, problem=f"a {required[:-1]!r} variable has no {required!r}", hint=f"Pass {required}=[...].")

        try:
            kept, self._tests = compiled(self.kind, given)
        except BadConstraint as error:
            raise InvalidDefinition(self.name, problem=str(error)) from None

        self.constraints = MappingProxyType(kept)
        self.exact, self.low, self.high = _fast_path(self.kind, kept)

    def _refuse(self, value: Any) -> Any:
        raise DefinitionMismatch(self.name, expected=self.describe(), got="a variable without its class here: attach its Var first")

    def __repr__(self) -> str:
        return f"<Definition {self.name!r}: {self.describe()}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Definition.unpack, (self.pack(),)

    @property
    def opaque(self) -> bool:
        """Whether the type is a label whose class isn't known here: values are kept but can't be read."""
        return self.kind.opaque

    # --- values ------------------------------------------------------------------------------------------------------------------

    def check(self, value: Any) -> Any:
        """The stored form of *value*: of the exact type, within the constraints, copied in. Raises `InvalidValue`."""
        stored = self._taken(self.kind.accepts, value)
        self._test(stored, value)
        return stored

    def begins_empty(self) -> None:
        """Whether a variable that is given no value can begin with None. Raises `InvalidDefinition` where that doesn't fit."""
        try:
            self.check(None)
        except InvalidValue:
            problem = f"it has no initial value: expected {self.kind.expected}"
            raise InvalidDefinition(self.name, problem=problem, hint="Pass it after the type.") from None

    def restore(self, raw: Any) -> Any:
        """The stored form of what the codec decoded. Only classes that the declared type reaches come to life. Raises `InvalidValue`."""
        stored = self._taken(self.kind.restore, raw)
        if not self.opaque:
            self._test(stored, stored)

        return stored

    def lower(self, value: Any) -> Any:
        """What the codec encodes for a stored *value*: the value itself, since the codec is exact."""
        return value

    def size(self, value: Any) -> int:
        """About how many bytes a stored *value* has when encoded; cheap, at worst one walk over its items."""
        return self.kind.size(value)

    def _taken(self, take: Any, value: Any) -> Any:
        try:
            return take(value)
        except Misfit as misfit:
            failed = misfit
        except RecursionError:
            failed = Misfit(self.kind.expected, None, problem="a value nested too deep, or holding itself")

        # A path can hold keys of the value: what is masked doesn't tell them either.
        path = "" if self.sensitive else failed.path
        raise InvalidValue(self.name, expected=failed.expected, got=failed.got(masked=self.sensitive), path=path)

    def _test(self, stored: Any, given: Any) -> None:
        if not self._tests or (stored is None and self.kind is not self.kind.bare):
            return

        try:
            for test in self._tests:
                if not test(stored):
                    break
            else:
                return
        except (TypeError, ArithmeticError):
            # A naive datetime beside an aware one, a signalling NaN: what can't be compared isn't within the bounds.
            pass

        raise InvalidValue(self.name, expected=f"{self.kind.expected}{self._asked()}", got=Misfit("", given).got(masked=self.sensitive))

    # --- comparing and describing ------------------------------------------------------------------------------------------------

    def same_as(self, other: Definition) -> bool:
        """Whether both have one type and the same constraints; what is said about them doesn't matter."""
        if self.kind.label != other.kind.label:
            return False

        if self.opaque or other.opaque:
            return _canonical(self.constraints) == _canonical(other.constraints)

        return self.kind.classes == other.kind.classes and self.constraints == other.constraints

    def match(self, other: Definition) -> None:
        """Raises `DefinitionMismatch` unless *other* declares the same."""
        if self.same_as(other):
            return

        expected, got = self.describe(), other.describe()
        if expected == got:
            got += ", another class of that name (was its definition run twice?)"

        raise DefinitionMismatch(self.name, expected=expected, got=got)

    def as_known(self, declared: Definition) -> Definition:
        """This definition with the type of *declared*, whose class is known; what is said about the variable stays."""
        return Definition.make(
            self.name,
            declared.kind,
            constraints=declared.constraints,
            description=self.description,
            metadata=self.metadata,
            sensitive=self.sensitive or declared.sensitive,
        )

    def describe(self) -> str:
        """The type and what is asked of it: ``"float (min 0.0, max 2.0)"``."""
        return f"{self.kind.label}{self._asked()}"

    def _asked(self) -> str:
        asked = ", ".join(f"{name} {_constraint_text(value)}" for name, value in self.constraints.items())
        return f" ({asked})" if asked else ""

    # --- plain data --------------------------------------------------------------------------------------------------------------

    def pack(self) -> dict[str, Any]:
        """The definition as plain data that the codec encodes; the type as its label."""
        return {
            "name": self.name,
            "type": self.kind.label,
            "constraints": _plain(self.constraints),
            "description": self.description,
            "metadata": ANY.accepts(dict(self.metadata)) if self.metadata else {},
            "sensitive": self.sensitive,
        }

    @staticmethod
    def unpack(data: Any) -> Definition:
        """
        The definition that `pack` made *data* of. A class in its label stays opaque: nothing is imported.

        Raises `InvalidDefinition` when *data* isn't of that form.
        """
        packed = cast(Mapping[str, Any], data if isinstance(data, Mapping) else {})
        name, label, constraints = packed.get("name"), packed.get("type"), packed.get("constraints", {})
        well_formed = isinstance(name, str) and isinstance(label, str) and isinstance(constraints, Mapping)
        if not well_formed or packed.keys() - _PACKED:
            raise InvalidDefinition(str(name), problem=f"{data!r:.200} is no packed definition")

        return Definition.make(
            str(name),
            label,
            constraints=cast(Mapping[str, Any], constraints),
            description=packed.get("description"),
            metadata=packed.get("metadata"),
            sensitive=bool(packed.get("sensitive", False)),
        )


_PACKED: Final = frozenset({"name", "type", "constraints", "description", "metadata", "sensitive"})


def _plain(constraints: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, _TUPLE) else value for name, value in constraints.items()}


def _canonical(constraints: Mapping[str, Any]) -> dict[str, bytes]:
    return {name: codec.encode(value) for name, value in _plain(constraints).items()}


def _constraint_text(value: Any) -> str:
    if isinstance(value, _TUPLE):
        return ", ".join(map(_constraint_text, value))

    tagged = value if isinstance(value, Tagged) else parts(value)
    return repr(value) if tagged is None or tagged.kind != "enum" else f"{tagged.label}.{tagged.data}"


def _fast_path(kind: Kind, constraints: Mapping[str, Any]) -> tuple[type | None, Any, Any]:
    if not constraints:
        return kind.exact, None, None

    if kind.exact in {float, int} and constraints.keys() <= {"min", "max"}:
        return kind.exact, constraints.get("min", -math.inf), constraints.get("max", math.inf)

    return None, None, None


def _kind(name: str, declared: Any) -> Kind:
    try:
        return resolve(declared)
    except UnknownType as error:
        raise InvalidDefinition(name, problem=str(error), hint=f"A type is one of: {KNOWN}.") from None


def _checked_name(name: Any) -> str:
    if isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable():
        return str.__str__(name)

    raise InvalidDefinition(str(name), problem=f"a name is a printable str of 1 to {MAX_NAME} characters, not {name!r:.80}")


def _checked_description(name: str, description: Any) -> str | None:
    if description is None or isinstance(description, str):
        return description

    raise InvalidDefinition(name, problem=f"its description must be a str, not {description!r:.80}")


def _checked_metadata(name: str, metadata: Any) -> Mapping[str, Any]:
    if metadata is None:
        return _NOTHING

    try:
        return MappingProxyType(plain_metadata(metadata))
    except Misfit as misfit:
        where = f"{misfit.path}: " if misfit.path else ""
        raise InvalidDefinition(name, problem=f"its metadata is no {misfit.expected}: {where}{misfit.got()}") from None


def plain_metadata(metadata: Any) -> dict[str, Any]:
    """Metadata as it is kept: a dict of plain data with str keys, copied in. Raises `Misfit`."""
    given: Mapping[Any, Any] = metadata if isinstance(metadata, _MAPPING) else {None: metadata}
    if not all(isinstance(key, str) for key in given):
        raise Misfit("mapping of str to plain data", metadata)

    made: dict[str, Any] = ANY.accepts(dict(given))
    return made
