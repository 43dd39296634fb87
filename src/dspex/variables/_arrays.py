"""
Kinds of tensors, as nested lists, and of numpy arrays, where numpy is installed. numpy is never imported before somebody declares or passes an array.

A stored array can't be changed, by anybody: its memory is a `bytes` object, which numpy refuses to make writeable. So it is shared,
on reading and when it comes back in, and never copied again.
"""

from __future__ import annotations

import sys
from typing import Any, Final, Literal

from dspex.variables._copying import MAX_DEPTH, Copier, copy_value
from dspex.variables._misfit import Misfit, UnknownType
from dspex.variables._scalars import SCALARS, Kind

_LIST: type[Any] = list
ENCODABLE: Final = "biufcSUmM"


def is_array(value: Any) -> bool:
    """Whether *value* is a numpy array; False while nothing has imported numpy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def is_numpy_scalar(value: Any) -> bool:
    """Whether *value* is a numpy scalar with an encoded form; scalars can't be changed."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.generic) and value.dtype.kind in ENCODABLE


def frozen_array(value: Any) -> Any:
    """An array of the same type, shape and items whose memory can't be written."""
    import numpy as np

    owner = value.base
    if type(value) is np.ndarray and type(owner) is bytes and value.nbytes == len(owner) and value.flags.forc:
        return value

    order: Literal["C", "F"] = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    return np.ndarray(value.shape, value.dtype, buffer=value.tobytes(order), order=order)


class ArrayKind(Kind):
    """``numpy.ndarray``, of any dtype or of one. A number of a narrower type is widened, never narrowed."""

    family = "array"

    def __init__(self, dtype: Any = None) -> None:
        label = "numpy.ndarray" if dtype is None else f"numpy.ndarray[{dtype_text(dtype)}]"
        super().__init__(label, "a numpy array" if dtype is None else f"a numpy array of {dtype_text(dtype)}")
        self.dtype = dtype

    def accepts(self, value: Any) -> Any:
        import numpy as np

        if type(value) not in {np.ndarray, np.memmap}:
            raise Misfit(self.expected, value)

        if value.dtype.kind not in ENCODABLE:
            raise Misfit(self.expected, value, problem=f"its dtype {value.dtype} has no encoded form: use numbers, texts, bytes or times")

        return frozen_array(self._widened(value))

    def _widened(self, value: Any) -> Any:
        if self.dtype is None or value.dtype == self.dtype:
            return value

        import numpy as np

        mixed = (value.dtype.kind == "b") != (self.dtype.kind == "b")
        if mixed or not np.can_cast(value.dtype, self.dtype, "safe"):
            raise Misfit(self.expected, value, problem=f"its dtype {value.dtype} doesn't fit into {self.dtype} without loss")

        return value.astype(self.dtype)

    def size(self, value: Any) -> int:
        return int(value.nbytes) + 32


class TensorKind(Kind):
    """``"tensor"``: lists of floats nested to any depth, rectangular."""

    family = "tensor"

    @property
    def copy(self) -> Copier | None:
        return copy_value

    def accepts(self, value: Any) -> Any:
        if not isinstance(value, _LIST):
            raise Misfit(self.expected, value)

        made = self._level(value, 1)
        self.shape(made)
        return made

    def _level(self, value: Any, depth: int) -> Any:
        if not isinstance(value, _LIST):
            return SCALARS[float].accepts(value)

        if depth > MAX_DEPTH:
            raise Misfit(self.expected, value, problem=f"nested deeper than {MAX_DEPTH} levels")

        items: list[Any] = value
        if {float}.issuperset(map(type, items)):
            return list(items)

        return [self._level(item, depth + 1) for item in items]

    def shape(self, value: Any) -> tuple[int, ...]:
        """The lengths of the levels, outermost first. Raises `Misfit` if one level has two lengths."""
        if type(value) is not _LIST:
            return ()

        items: list[Any] = value
        inner = {self.shape(item) for item in items} if list in set(map(type, items)) else {()}
        if len(inner) != 1:
            raise Misfit(self.expected, items, problem="its rows differ in length")

        return (len(items), *inner.pop())

    def size(self, value: Any) -> int:
        nested = len(value) > 0 and type(value[0]) is list
        return (sum(map(self.size, value)) if nested else 9 * len(value)) + 5


def dtype_text(dtype: Any) -> str:
    """A dtype as a label: its name where that says all, its array-protocol text where byte order matters."""
    return str(dtype.name) if dtype.isnative and dtype.kind in "biufc" else str(dtype.str)


def array_of(text: str) -> Kind:
    """The kind for the text between the brackets of an array's label."""
    try:
        import numpy as np

        return ArrayKind(np.dtype(text.strip("'")))
    except (ImportError, TypeError) as error:
        msg = f"numpy.ndarray[{text}] is no array type here ({error})"
        raise UnknownType(msg) from None


ANY_ARRAY: Final = ArrayKind()
TENSOR: Final = TensorKind("tensor", "a tensor (nested lists of floats, all of one length at each level)")
