"""
What may come in: sizes, and the shape of values from a peer that isn't trusted.

`check` looks at the bytes, before a decoder builds anything from them. Most small values pass by what they don't contain: bytes
that could begin a map, an extension or a large array. All others are walked, header by header.
"""

from __future__ import annotations

from ._refusals import LimitExceeded, Malformed


class Limits:
    """
    Bounds of one connection. Sizes in bytes.

    Attributes:
        frame: the longest payload of a frame.
        message: the longest message, in however many frames.
        window: how much of a message in several frames may be on its way, a stream; at least two frames. Both ends have the same.
        depth: how deep containers nest in a value.
        containers: how many containers a message holds.
        int_bytes: the longest int, and the longest decimal in digits.

    """

    __slots__ = ("containers", "depth", "frame", "int_bytes", "message", "window")

    def __init__(
        self,
        *,
        frame: int = 256 << 10,
        message: int = 256 << 20,
        window: int = 1 << 20,
        depth: int = 64,
        containers: int = 65_536,
        int_bytes: int = 4096,
    ) -> None:
        if window < 2 * frame:
            raise ValueError(f"Expected a window of at least two frames, got {window} bytes for frames of {frame}.")

        self.frame: int = frame
        self.message: int = message
        self.window: int = window
        self.depth: int = depth
        self.containers: int = containers
        self.int_bytes: int = int_bytes

    def pack(self) -> dict[str, int]:
        """The limits as plain data, for a hello."""
        return {name: getattr(self, name) for name in self.__slots__}

    def deeper(self, levels: int) -> Limits:
        """The same for values that are wrapped in *levels* more containers."""
        return Limits(**{**self.pack(), "depth": self.depth + levels})


# --- the codes of extensions, by what their payload is ---------------------------------------------------------------------------

BIGINT, TUPLE, SET, FROZENSET, COMPLEX, SURROGATES = 1, 2, 3, 4, 5, 6
DATETIME, DATE, TIME, TIMEDELTA, DECIMAL, UUID = 7, 8, 9, 10, 11, 12
NDARRAY, SCALAR, ENUM, RECORD = 13, 14, 15, 16

_OF_BYTES = frozenset((BIGINT, COMPLEX, SURROGATES, DECIMAL, UUID))
_OF_ARRAY = frozenset((TUPLE, SET, FROZENSET, DATETIME, DATE, TIME, TIMEDELTA, NDARRAY, SCALAR, ENUM, RECORD))
_OF_DIGITS = frozenset((BIGINT, DECIMAL))

# --- what a first byte says ------------------------------------------------------------------------------------------------------

_ALL = bytes(range(256))
_SMALL_INTS = bytes(range(0x80)) + bytes(range(0xE0, 0x100))
_SMALL_ARRAYS = bytes(range(0x90, 0xA0))
_OPENING = bytes(range(0x80, 0xA0)) + bytes(range(0xC7, 0xCA)) + bytes(range(0xD4, 0xD9)) + bytes(range(0xDC, 0xE0))
_HARMLESS = _ALL.translate(None, _OPENING)

_FIXED = dict.fromkeys(_SMALL_INTS, 1)  # first byte -> size of the whole value
_FIXED.update({0xC0: 1, 0xC2: 1, 0xC3: 1, 0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9})
_FIXED.update({0xA0 | size: 1 + size for size in range(32)})
_SIZES = [_FIXED.get(marker, 0) for marker in range(256)]
_WIDTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}  # bytes and strings -> bytes of their length
_COUNTED = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}  # arrays and maps -> bytes of their count
_FIXEXT = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_EXT_WIDTHS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_KEYS = (
    frozenset(_SMALL_INTS)
    | frozenset(range(0xA0, 0xC0))
    | frozenset((0xC2, 0xC3, 0xCC, 0xCD, 0xCE, 0xCF, 0xD0, 0xD1, 0xD2, 0xD3))
    | frozenset(_WIDTHS)
)
_RUN = 16  # shorter arrays aren't worth looking at as a whole


def check(data: bytes, limits: Limits) -> None:
    """Raises `Malformed` or `LimitExceeded` unless *data* is one value within *limits*; the texts and the payloads of leaves are not read."""
    opening = data.translate(None, _HARMLESS)
    if len(opening) <= limits.depth and not opening.strip(_SMALL_ARRAYS):
        return

    _Walk(data, limits).whole()


class _Walk:
    """One pass over the headers of a value."""

    __slots__ = ("containers", "data", "limits")

    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data = data
        self.limits = limits
        self.containers = limits.containers

    def whole(self) -> None:
        end = len(self.data)
        try:
            at = self._values(1, 0, end, self.limits.depth)
        except IndexError:
            raise _truncated() from None

        if at != end:
            raise Malformed(f"{end - at} bytes follow the value.")

    def _values(self, count: int, at: int, end: int, depth: int) -> int:
        """The end of *count* values that begin at *at* and must end by *end*. Raises IndexError past the end of all data."""
        if count >= _RUN:
            count, at = self._run(count, at)

        # A step past *end* is found below: no value is built from what was seen there.
        data = self.data
        sizes = _SIZES
        for _ in range(count):
            marker = data[at]
            size = sizes[marker]
            at = at + size if size else self._value(marker, at, end, depth)

        return _bounded(at, end)

    def _pairs(self, count: int, at: int, end: int, depth: int) -> int:
        data = self.data
        sizes = _SIZES
        keys = _KEYS
        for _ in range(count):
            marker = data[at]
            if (marker not in keys or marker == 0xCF) and not self._is_key(at):
                raise Malformed(f"Byte {at} begins a key that is no string, int of 64 bits, bool or bytes.")

            size = sizes[marker]
            at = at + size if size else self._value(marker, at, end, depth)
            marker = data[at]
            size = sizes[marker]
            at = at + size if size else self._value(marker, at, end, depth)

        return _bounded(at, end)

    def _run(self, count: int, at: int) -> tuple[int, int]:
        """Steps over the items of a large array when all are small ints, or all alike, in a few operations on the whole."""
        data = self.data
        if at + count > len(data):
            raise _truncated()

        if not data[at : at + count].translate(None, _SMALL_INTS):
            return 0, at + count

        size = _SIZES[data[at]]
        after = at + size * count
        if size and after <= len(data) and data[at:after:size] == data[at : at + 1] * count:
            return 0, after

        return count, at

    def _value(self, marker: int, at: int, end: int, depth: int) -> int:
        """The end of one value that isn't of a fixed size."""
        if marker < 0xA0:
            if not depth or not self.containers:
                raise self._too_many(depth)

            self.containers -= 1
            return (self._pairs if marker < 0x90 else self._values)(marker & 0x0F, at + 1, end, depth - 1)

        if marker in _WIDTHS:
            size, at = self._number(at + 1, _WIDTHS[marker], end)
            return _bounded(at + size, end)

        if marker in _COUNTED:
            count, at = self._number(at + 1, _COUNTED[marker], end)
            return self._counted(count, at, end, depth=depth, keyed=marker >= 0xDE)

        if marker in _FIXEXT:
            return self._extension(at + 1, _FIXEXT[marker], end, depth)

        if marker in _EXT_WIDTHS:
            size, at = self._number(at + 1, _EXT_WIDTHS[marker], end)
            return self._extension(at, size, end, depth)

        raise Malformed(f"Byte {at} is {marker:#x}, which begins no value.")

    def _number(self, at: int, width: int, end: int) -> tuple[int, int]:
        after = _bounded(at + width, end)
        return int.from_bytes(self.data[at:after], "big"), after

    def _counted(self, count: int, at: int, end: int, *, depth: int, keyed: bool) -> int:
        if not depth or not self.containers:
            raise self._too_many(depth)

        self.containers -= 1
        _bounded(at + count * (2 if keyed else 1), end)
        return (self._pairs if keyed else self._values)(count, at, end, depth - 1)

    def _too_many(self, depth: int) -> LimitExceeded:
        if not depth:
            return LimitExceeded(f"The value nests deeper than {self.limits.depth} levels.")

        return LimitExceeded(f"The value has more than {self.limits.containers:,} containers.")

    def _is_key(self, at: int) -> bool:
        """Whether an int of 64 bits that may be unsigned, or a text that MessagePack has no form for, begins at *at*."""
        marker = self.data[at]
        if marker == 0xCF:
            return self.data[at + 1 : at + 2] <= b"\x7f"

        code = at + 1 + (0 if marker in _FIXEXT else _EXT_WIDTHS.get(marker, len(self.data)))
        return self.data[code : code + 1] == _SURROGATES

    def _extension(self, at: int, size: int, end: int, depth: int) -> int:
        """An extension whose code is at *at*, and its payload of *size* bytes after it."""
        start = at + 1
        after = _bounded(start + size, end)
        code = self.data[at]
        if code in _OF_BYTES:
            if code in _OF_DIGITS and size > self.limits.int_bytes:
                raise LimitExceeded(f"An int or decimal of {size:,} bytes, at most {self.limits.int_bytes:,} are allowed.")
        elif code not in _OF_ARRAY:
            raise Malformed(f"An extension of the unknown code {code}.")
        elif self.data[start : start + 1] not in _ARRAYS or self._values(1, start, after, depth) != after:
            raise Malformed(f"The payload of an extension of code {code} is not one array.")

        return after


_SURROGATES = bytes((SURROGATES,))
_ARRAYS = frozenset(bytes((marker,)) for marker in (*_SMALL_ARRAYS, 0xDC, 0xDD))


def _bounded(at: int, end: int) -> int:
    if at > end:
        raise _truncated()

    return at


def _truncated() -> Malformed:
    return Malformed("The data is truncated.")
