"""
Frames: a header of ten bytes, then the payload.

``length u32, type u8, flags u8, stream u32``, big endian; *length* is that of the payload. A message that doesn't fit one frame goes
in several of its type and stream, all but the last flagged MORE.
"""

from __future__ import annotations

from struct import Struct

from ._refusals import LimitExceeded, Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Final, Optional, Union

MORE = 1
OPTIONAL = 2
_KNOWN_FLAGS = MORE | OPTIONAL

HEADER = Struct(">IBBI")
HEADER_SIZE = HEADER.size
pack_header: Final[Callable[[int, int, int, int], bytes]] = HEADER.pack


class FrameBuffer:
    """Bytes as they come, frames as they are whole."""

    __slots__ = ("_at", "_data", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data: Union[bytes, bytearray] = b""
        self._at = 0

    def __len__(self) -> int:
        return len(self._data) - self._at

    def feed(self, data: bytes) -> None:
        """Takes what came, in pieces of any size."""
        if self._at == len(self._data):
            self._data = data
            self._at = 0
        else:
            if type(self._data) is not bytearray:
                self._data = bytearray(self._data)

            # A bytearray gives up its front without moving the rest.
            del self._data[: self._at]
            self._at = 0
            self._data += data

    def alone(self, data: bytes) -> Optional[tuple[int, int, bytes]]:
        """(type, stream, payload) of *data* where it is one whole frame without flags, and nothing else is here. It needn't be fed then."""
        length = len(data) - HEADER_SIZE
        if length < 0 or self._at != len(self._data):
            return None

        announced, number, flags, stream = HEADER.unpack_from(data)
        if flags or announced != length or length > self._limit:
            return None

        return number, stream, data[HEADER_SIZE:]

    def next_frame(self) -> Optional[tuple[int, int, int, bytes]]:
        """The next whole frame as (type, flags, stream, payload), None when more bytes are needed."""
        data, at = self._data, self._at
        start = at + HEADER_SIZE
        if start > len(data):
            return None

        length, number, flags, stream = HEADER.unpack_from(data, at)
        if length > self._limit:
            raise LimitExceeded(f"A frame announces {length:,} bytes, at most {self._limit:,} are allowed.")

        if flags & ~_KNOWN_FLAGS:
            raise Malformed(f"A frame has flags {flags:#x}, which this version doesn't know.")

        end = start + length
        if end > len(data):
            return None

        self._at = end
        return number, flags, stream, bytes(data[start:end])
