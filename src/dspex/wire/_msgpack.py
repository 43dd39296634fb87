"""
MessagePack in plain Python, for interpreters that have nothing else.

The smallest form of each value is written, so that an equal value has equal bytes whichever codec wrote it. Whatever has no plain
form (an int beyond 64 bits, a tuple, a date) goes through *extend*, which gives the code and the payload of an extension.
"""

from __future__ import annotations

from struct import Struct, unpack_from

from ._refusals import Malformed, Unencodable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    Extend = Callable[[Any, int], "tuple[int, bytes]"]
    Put = Callable[[bytes], None]
    Restore = Callable[[int, Any], Any]
    Write = Callable[[Any, Put, Extend, int], None]
    Read = Callable[[Any, int, int, Restore], "tuple[Any, int]"]

_FLOAT = Struct(">Bd").pack
_U8, _U16, _U32, _U64 = (Struct(">B" + size).pack for size in "BHIQ")
_I8, _I16, _I32, _I64 = (Struct(">B" + size).pack for size in "bhiq")
_FIXEXT = {1: b"\xd4", 2: b"\xd5", 4: b"\xd6", 8: b"\xd7", 16: b"\xd8"}
_SMALL = {number: (number & 0xFF).to_bytes(1, "big") for number in range(-32, 128)}


# --- writing ---------------------------------------------------------------------------------------------------------------------


def pack(value: Any, extend: Extend, depth: int) -> bytes:
    """The encoded form of *value*, whose containers nest at most *depth* levels."""
    parts: list[bytes] = []
    _put(value, parts.append, extend, depth)
    return b"".join(parts)


def _put(value: object, put: Put, extend: Extend, depth: int) -> None:
    _WRITERS.get(type(value), _put_extension)(value, put, extend, depth)


def _put_none(value: None, put: Put, extend: Extend, depth: int) -> None:
    put(b"\xc0")


def _put_bool(value: bool, put: Put, extend: Extend, depth: int) -> None:
    put(b"\xc3" if value else b"\xc2")


def _put_float(value: float, put: Put, extend: Extend, depth: int) -> None:
    put(_FLOAT(0xCB, value))


def _put_int(value: int, put: Put, extend: Extend, depth: int) -> None:
    if -32 <= value < 128:
        put(_SMALL[value])
    elif value >= 0:
        _put_unsigned(value, put, extend, depth)
    else:
        _put_negative(value, put, extend, depth)


def _put_unsigned(value: int, put: Put, extend: Extend, depth: int) -> None:
    if value < 1 << 8:
        put(_U8(0xCC, value))
    elif value < 1 << 16:
        put(_U16(0xCD, value))
    elif value < 1 << 32:
        put(_U32(0xCE, value))
    elif value < 1 << 64:
        put(_U64(0xCF, value))
    else:
        _put_extension(value, put, extend, depth)


def _put_negative(value: int, put: Put, extend: Extend, depth: int) -> None:
    if value >= -(1 << 7):
        put(_I8(0xD0, value))
    elif value >= -(1 << 15):
        put(_I16(0xD1, value))
    elif value >= -(1 << 31):
        put(_I32(0xD2, value))
    elif value >= -(1 << 63):
        put(_I64(0xD3, value))
    else:
        _put_extension(value, put, extend, depth)


def _put_str(value: str, put: Put, extend: Extend, depth: int) -> None:
    try:
        data = value.encode()
    except UnicodeEncodeError:
        _put_extension(value, put, extend, depth)
        return

    size = len(data)
    if size < 32:
        put(_U8_ALONE[0xA0 | size] + data)
    else:
        put(_U8(0xD9, size) if size < 1 << 8 else _wide(0xDA, size))
        put(data)


def _put_bytes(value: bytes, put: Put, extend: Extend, depth: int) -> None:
    size = len(value)
    put(_U8(0xC4, size) if size < 1 << 8 else _wide(0xC5, size))
    put(value)


def _put_list(value: list[Any], put: Put, extend: Extend, depth: int) -> None:
    if not depth:
        raise _too_deep(value)

    put(array_header(len(value)))
    depth -= 1
    for item in value:
        _put(item, put, extend, depth)


def _put_dict(value: dict[Any, Any], put: Put, extend: Extend, depth: int) -> None:
    if not depth:
        raise _too_deep(value)

    put(map_header(len(value)))
    depth -= 1
    for key, item in value.items():
        _put(key, put, extend, depth)
        _put(item, put, extend, depth)


def _put_extension(value: Any, put: Put, extend: Extend, depth: int) -> None:
    code, payload = extend(value, depth)
    put(ext_header(code, len(payload)))
    put(payload)


def _wide(marker: int, size: int) -> bytes:
    """A 16-bit header, or the 32-bit one whose marker follows it."""
    if size < 1 << 16:
        return _U16(marker, size)

    if size < 1 << 32:
        return _U32(marker + 1, size)

    raise Unencodable("", "bytes", f"it takes {size:,} bytes, and the encoded form ends at 4 GiB")


def array_header(count: int) -> bytes:
    """The header of an array of *count* items."""
    return _U8_ALONE[0x90 | count] if count < 16 else _wide(0xDC, count)


def map_header(count: int) -> bytes:
    """The header of a map of *count* pairs."""
    return _U8_ALONE[0x80 | count] if count < 16 else _wide(0xDE, count)


def ext_header(code: int, size: int) -> bytes:
    """The header of an extension whose payload takes *size* bytes."""
    fixed = _FIXEXT.get(size)
    if fixed is None:
        fixed = _U8(0xC7, size) if size < 1 << 8 else _wide(0xC8, size)

    return fixed + _U8_ALONE[code]


def _too_deep(value: object) -> Unencodable:
    return Unencodable("", type(value).__name__, "it nests too deep, or contains itself")


_U8_ALONE = [number.to_bytes(1, "big") for number in range(256)]
_WRITERS: dict[type, Write] = {
    str: _put_str,
    int: _put_int,
    float: _put_float,
    bool: _put_bool,
    type(None): _put_none,
    list: _put_list,
    dict: _put_dict,
    bytes: _put_bytes,
}


# --- reading ---------------------------------------------------------------------------------------------------------------------


def unpack(data: Any, restore: Restore) -> Any:
    """
    The value that *data* (bytes or a memoryview of bytes) is the encoded form of.

    A header that lies reserves nothing: items are read one by one until the bytes end. Raises `Malformed`, and `RecursionError` on
    nesting that the limits would have refused.
    """
    try:
        marker: int = data[0]
        value, end = _READERS[marker](data, 1, marker, restore)
    except IndexError:
        raise Malformed("The data is truncated.") from None

    if end != len(data):
        raise Malformed("The data is truncated." if end > len(data) else f"{len(data) - end} bytes follow the value.")

    return value


def _read(data: Any, at: int, restore: Restore) -> tuple[Any, int]:
    marker: int = data[at]
    return _READERS[marker](data, at + 1, marker, restore)


def _read_small(data: Any, at: int, marker: int, restore: Restore) -> tuple[Any, int]:
    return marker if marker < 0x80 else marker - 0x100, at


def _read_constant(data: Any, at: int, marker: int, restore: Restore) -> tuple[Any, int]:
    return _CONSTANTS[marker], at


def _read_number(data: Any, at: int, marker: int, restore: Restore) -> tuple[Any, int]:
    form, size = _NUMBERS[marker]
    if at + size > len(data):
        raise IndexError(at)

    return unpack_from(form, data, at)[0], at + size


def _size(data: Any, at: int, width: int) -> tuple[int, int]:
    end = at + width
    if end > len(data):
        raise IndexError(end)

    return int.from_bytes(data[at:end], "big"), end


def _slice(data: Any, at: int, size: int) -> Any:
    end = at + size
    if end > len(data):
        raise IndexError(end)

    return data[at:end]


def _read_fixstr(data: Any, at: int, marker: int, restore: Restore) -> tuple[Any, int]:
    size = marker & 0x1F
    return str(_slice(data, at, size), "utf-8"), at + size


def _read_str(data: Any, at: int, marker: int, restore: Restore) -> tuple[Any, int]:
    size, at = _size(data, at, 1 << (marker - 0xD9))
    return str(_slice(data, at, size), "utf-8"), at + size


def _read_bytes(data: Any, at: int, marker: int, restore: Restore) -> tuple[Any, int]:
    size, at = _size(data, at, 1 << (marker - 0xC4))
    return bytes(_slice(data, at, size)), at + size


def _read_fixarray(data: Any, at: int, marker: int, restore: Restore) -> tuple[Any, int]:
    return _items(data, at, marker & 0x0F, restore)


def _read_array(data: Any, at: int, marker: int, restore: Restore) -> tuple[Any, int]:
    count, at = _size(data, at, 2 << (marker - 0xDC))
    return _items(data, at, count, restore)


def _items(data: Any, at: int, count: int, restore: Restore) -> tuple[Any, int]:
    items: list[Any] = []
    readers = _READERS
    for _ in range(count):
        marker: int = data[at]
        value, at = readers[marker](data, at + 1, marker, restore)
        items.append(value)

    return items, at


def _read_fixmap(data: Any, at: int, marker: int, restore: Restore) -> tuple[Any, int]:
    return _pairs(data, at, marker & 0x0F, restore)


def _read_map(data: Any, at: int, marker: int, restore: Restore) -> tuple[Any, int]:
    count, at = _size(data, at, 2 << (marker - 0xDE))
    return _pairs(data, at, count, restore)


def _pairs(data: Any, at: int, count: int, restore: Restore) -> tuple[Any, int]:
    pairs: dict[Any, Any] = {}
    for _ in range(count):
        key, at = _read(data, at, restore)
        pairs[key], at = _read(data, at, restore)

    return pairs, at


def _read_fixext(data: Any, at: int, marker: int, restore: Restore) -> tuple[Any, int]:
    size = 1 << (marker - 0xD4)
    return restore(data[at], _slice(data, at + 1, size)), at + 1 + size


def _read_ext(data: Any, at: int, marker: int, restore: Restore) -> tuple[Any, int]:
    size, at = _size(data, at, 1 << (marker - 0xC7))
    return restore(data[at], _slice(data, at + 1, size)), at + 1 + size


def _read_reserved(data: Any, at: int, marker: int, restore: Restore) -> tuple[Any, int]:
    raise Malformed(f"Byte {at - 1} is {marker:#x}, which begins no value.")


_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {
    0xCA: (">f", 4),
    0xCB: (">d", 8),
    0xCC: (">B", 1),
    0xCD: (">H", 2),
    0xCE: (">I", 4),
    0xCF: (">Q", 8),
    0xD0: (">b", 1),
    0xD1: (">h", 2),
    0xD2: (">i", 4),
    0xD3: (">q", 8),
}
_BY_RANGE: list[tuple[int, Read]] = [  # each reader, and the marker it ends before
    (0x80, _read_small),
    (0x90, _read_fixmap),
    (0xA0, _read_fixarray),
    (0xC0, _read_fixstr),
    (0xC1, _read_constant),
    (0xC2, _read_reserved),
    (0xC4, _read_constant),
    (0xC7, _read_bytes),
    (0xCA, _read_ext),
    (0xD4, _read_number),
    (0xD9, _read_fixext),
    (0xDC, _read_str),
    (0xDE, _read_array),
    (0xE0, _read_map),
    (0x100, _read_small),
]
_READERS: list[Read] = [next(reader for end, reader in _BY_RANGE if marker < end) for marker in range(256)]
