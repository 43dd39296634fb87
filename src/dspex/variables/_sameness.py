"""Whether two values are the same: equal, and of the same Python types all the way down (I5)."""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections.abc import Callable
from typing import Any, Final

from dspex.variables._copying import Layout
from dspex.variables._misfit import class_of
from dspex.wire.records import Tagged, is_record


def same(left: Any, right: Any) -> bool:
    """Whether both are equal and of the same types, items and keys and their order in a dict included. NaN is the same as NaN."""
    cls = class_of(left)
    if cls is not type(right):
        return False

    compare = _COMPARE.get(cls)
    if compare is not None:
        return compare(left, right)

    if left is right:
        return True

    if hasattr(left, "tobytes") and hasattr(left, "dtype"):
        return bool(left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes())

    if is_record(cls):
        return same(Layout(cls).held(left), Layout(cls).held(right))

    return bool(left == right)


def _floats(left: float, right: float) -> bool:
    return (math.isnan(left) and math.isnan(right)) or (left == right and math.copysign(1, left) == math.copysign(1, right))


def _sequences(left: Any, right: Any) -> bool:
    return len(left) == len(right) and all(map(same, left, right))


def _dicts(left: dict[Any, Any], right: dict[Any, Any]) -> bool:
    return _sequences(list(left), list(right)) and _sequences(list(left.values()), list(right.values()))


def _sets(left: Any, right: Any) -> bool:
    return len(left) == len(right) and {(type(item), item) for item in left} == {(type(item), item) for item in right}


def _moments(left: Any, right: Any) -> bool:
    return bool(left.isoformat() == right.isoformat() and left.fold == right.fold and str(left.tzinfo) == str(right.tzinfo))


_COMPARE: Final[dict[type, Callable[[Any, Any], bool]]] = {
    float: _floats,
    complex: lambda left, right: _floats(left.real, right.real) and _floats(left.imag, right.imag),
    list: _sequences,
    tuple: _sequences,
    dict: _dicts,
    decimal.Decimal: lambda left, right: left.as_tuple() == right.as_tuple(),
    set: _sets,
    Tagged: lambda left, right: left.kind == right.kind and left.label == right.label and same(left.data, right.data),
    frozenset: _sets,
    dt.datetime: _moments,
    dt.time: _moments,
}
