"""Messages of several frames: how they are cut and sent under credit, and how they are put together again."""

from __future__ import annotations

from ._refusals import LimitExceeded, Malformed
from .framing import MORE, pack_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Optional

    from .limits import Limits


class Chunks:
    """
    What waits to be sent, a queue for each stream.

    What is sent behind a message in chunks on the same stream waits with it, so that a stream keeps its order.
    """

    __slots__ = ("_credit", "_limits", "waiting")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._credit: dict[int, int] = {}
        self.waiting: dict[int, list[_Outgoing]] = {}

    def put(self, number: int, stream: int, payload: bytes) -> None:
        """Queues a whole message."""
        self.waiting.setdefault(stream, []).append(_Outgoing(number, payload))

    def take(self, out: list[bytes]) -> None:
        """Moves the frames that credit allows to *out*, one of each stream in turn."""
        moving = list(self.waiting)
        while moving:
            moving = [stream for stream in moving if self._take_one(stream, out)]

    def _take_one(self, stream: int, out: list[bytes]) -> bool:
        """Moves one frame; False when the stream has none, or no credit for it."""
        queue = self.waiting[stream]
        first = queue[0]
        piece = first.data[first.at : first.at + self._limits.frame]
        if len(first.data) > self._limits.frame:
            credit = self._credit.get(stream, self._limits.window) - len(piece)
            if credit < 0:
                return False

            self._credit[stream] = credit

        first.at += len(piece)
        more = first.at < len(first.data)
        out.append(pack_header(len(piece), first.number, MORE if more else 0, stream))
        out.append(bytes(piece))
        if not more:
            del queue[0]

        if not queue:
            del self.waiting[stream]

        return bool(queue)

    def credit(self, stream: int, size: int) -> None:
        """Takes a grant. All that is sent is granted in the end, then nothing is kept of the stream."""
        window = self._limits.window
        credit = self._credit.pop(stream, window) + size
        if size < 1 or credit > window:
            raise Malformed(f"A credit of {size:,} bytes for stream {stream}, more than was sent.")

        if credit < window:
            self._credit[stream] = credit


class _Outgoing:
    __slots__ = ("at", "data", "number")

    def __init__(self, number: int, payload: bytes) -> None:
        self.number = number
        self.data = memoryview(payload)
        self.at = 0


class Partials:
    """
    What has come of messages in chunks, in the order they began.

    Together they may grow to the size of one message. Past that only the oldest gets credit, the others stand still: bounded, and
    since the oldest can always end, without a deadlock.
    """

    __slots__ = ("_held", "_limits", "_owed", "_partial")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._partial: dict[int, _Incoming] = {}
        self._owed: dict[int, int] = {}  # stream -> bytes taken for which no credit was given yet
        self._held = 0

    def __contains__(self, stream: int) -> bool:
        return stream in self._partial

    def __len__(self) -> int:
        return len(self._partial)

    def add(self, number: int, flags: int, stream: int, payload: bytes) -> Optional[bytes]:
        """Takes a chunk; gives the whole message with its last one."""
        partial = self._partial.get(stream)
        if partial is None:
            partial = self._partial[stream] = _Incoming(number)
        elif partial.number != number:
            raise Malformed(f"A frame of type {number} on stream {stream} in the middle of a message of type {partial.number}.")

        self._account(stream, partial, len(payload))
        partial.parts.append(payload)
        if flags & MORE:
            return None

        del self._partial[stream]
        self._held -= partial.size
        return b"".join(partial.parts)

    def _account(self, stream: int, partial: _Incoming, size: int) -> None:
        owed = self._owed.get(stream, 0) + size
        if not size or owed > self._limits.window:
            raise Malformed(f"A chunk of {size:,} bytes on stream {stream}: empty, or beyond its credit.")

        partial.size += size
        if partial.size > self._limits.message:
            raise LimitExceeded(f"A message of more than {self._limits.message:,} bytes.")

        self._held += size
        self._owed[stream] = owed

    def grants(self) -> Iterator[tuple[int, int]]:
        """The credit to give now, as (stream, bytes), in pieces worth a frame of their own."""
        oldest = next(iter(self._partial), None)
        full = self._held > self._limits.message
        for stream, owed in list(self._owed.items()):
            arriving = stream in self._partial
            if arriving and (owed * 2 < self._limits.window or (full and stream != oldest)):
                continue

            del self._owed[stream]
            yield stream, owed


class _Incoming:
    __slots__ = ("number", "parts", "size")

    def __init__(self, number: int) -> None:
        self.number = number
        self.parts: list[bytes] = []
        self.size = 0
