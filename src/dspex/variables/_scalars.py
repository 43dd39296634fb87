"""Kinds of values that can't change: numbers, texts, moments. A value of the exact type is stored as it is."""

from __future__ import annotations

import datetime as dt
import decimal
import sys
import uuid
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from dspex.variables._copying import Copier
from dspex.variables._misfit import Misfit


class Kind:
    """
    What a declared type means: which values it takes, how they are stored, copied and brought back.

    Attributes:
        label: the canonical text of the type, such as ``"list[float]"`` or ``"app.models:Color"``.
        expected: the type in a sentence, such as ``"a float"``.
        family: which constraints make sense of it (see `_constraints`).
        exact: the one type whose every instance is a stored value already; None if more must be looked at.
        opaque: it has a label but no class: values are kept, not understood.
        classes: every class reachable from the type, by label: the only ones a foreign record can become.

    """

    family: str = "other"
    opaque: bool = False
    exact: type | None = None
    classes: Mapping[str, type] = MappingProxyType({})

    def __init__(self, label: str, expected: str) -> None:
        self.label = label
        self.expected = expected

    def __repr__(self) -> str:
        return f"<Kind {self.label}>"

    @property
    def copy(self) -> Copier | None:
        """Copies a stored value out; None when it can't change and is shared."""
        return None

    @property
    def bare(self) -> Kind:
        """The kind without its ``| None``, which is what constraints are about."""
        return self

    def accepts(self, value: Any) -> Any:
        """The stored form of *value*: checked, normalised and copied in. Raises `Misfit`."""
        raise NotImplementedError

    def restore(self, raw: Any) -> Any:
        """
        The stored form of what the codec decoded, its tagged records turned into instances; where the kind is opaque, just that.

        Raises `Misfit`.
        """
        if self.opaque:
            return raw

        if self.classes:
            from dspex.variables._revival import revive  # _revival knows kinds

            raw = revive(raw, self.classes)

        return self.accepts(raw)

    def size(self, value: Any) -> int:
        """About how many bytes a stored value has when encoded; cheap."""
        return 16


class Scalar(Kind):
    """A kind with one exact, immutable type and a conversion for what may be normalised to it."""

    def __init__(self, exact: type, expected: str, family: str, convert: Callable[[Any], Any]) -> None:
        super().__init__(exact.__name__, expected)
        self.exact = exact
        self.family = family
        self._convert = convert

    def accepts(self, value: Any) -> Any:
        if type(value) is self.exact:
            return value

        try:
            made = self._convert(unwrapped(value))
        except (OverflowError, ValueError) as error:
            raise Misfit(self.expected, value, problem=str(error)) from None

        if made is None:
            raise Misfit(self.expected, value)

        return made

    def size(self, value: Any) -> int:
        return len(value) * (4 if self.exact is str else 1) + 5 if self.exact in _SIZED else 16


_SIZED: Final = (str, bytes)


def unwrapped(value: Any) -> Any:
    """A numpy scalar as the Python number it stands for, anything else as it is. numpy isn't imported for it."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.generic):
        return value

    return value.item()


def plain_int(value: Any) -> bool:
    """Whether *value* is an int and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def _float(value: Any) -> float | None:
    if isinstance(value, float):
        return float.__float__(value)

    return float(int.__int__(value)) if plain_int(value) else None


def _int(value: Any) -> int | None:
    return int.__int__(value) if plain_int(value) else None


def _bool(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _str(value: Any) -> str | None:
    return str.__str__(value) if isinstance(value, str) else None


def _bytes(value: Any) -> bytes | None:
    return bytes.__getitem__(value, slice(None)) if isinstance(value, bytes) else None


def _complex(value: Any) -> complex | None:
    if isinstance(value, complex):
        return complex(value.real, value.imag)

    number = _float(value)
    return None if number is None else complex(number)


def _datetime(value: Any) -> dt.datetime | None:
    if not isinstance(value, dt.datetime):
        return None

    day = dt.date(value.year, value.month, value.day)
    return dt.datetime.combine(day, dt.datetime.timetz(value))


def _date(value: Any) -> dt.date | None:
    if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
        return None

    return dt.date(value.year, value.month, value.day)


def _time(value: Any) -> dt.time | None:
    if not isinstance(value, dt.time):
        return None

    return dt.time(value.hour, value.minute, value.second, value.microsecond, value.tzinfo, fold=value.fold)


def _timedelta(value: Any) -> dt.timedelta | None:
    if not isinstance(value, dt.timedelta):
        return None

    return dt.timedelta(value.days, value.seconds, value.microseconds)


def _decimal(value: Any) -> decimal.Decimal | None:
    return decimal.Decimal(value) if isinstance(value, decimal.Decimal) or plain_int(value) else None


def _uuid(value: Any) -> uuid.UUID | None:
    return uuid.UUID(int=value.int) if isinstance(value, uuid.UUID) else None


SCALARS: Final[dict[type, Scalar]] = {
    exact: Scalar(exact, expected, family, convert)
    for exact, expected, family, convert in (
        (float, "a float", "number", _float),
        (int, "an int", "number", _int),
        (bool, "a bool", "bool", _bool),
        (str, "a str", "text", _str),
        (bytes, "bytes", "bytes", _bytes),
        (complex, "a complex", "complex", _complex),
        (dt.datetime, "a datetime", "moment", _datetime),
        (dt.date, "a date", "moment", _date),
        (dt.time, "a time", "moment", _time),
        (dt.timedelta, "a timedelta", "moment", _timedelta),
        (decimal.Decimal, "a Decimal", "number", _decimal),
        (uuid.UUID, "a UUID", "uuid", _uuid),
    )
}


class Nothing(Kind):
    """``None``, as a type."""

    exact = type(None)

    def accepts(self, value: Any) -> Any:
        if value is not None:
            raise Misfit(self.expected, value)

        return None


NOTHING: Final = Nothing("None", "None")
