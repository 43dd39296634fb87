"""
One connection's protocol, without I/O: bytes in, messages out, and the other way.

The owner of the socket calls `receive` with what it read, `next_event` until that gives None, and writes what `data_to_send` gives,
after each `send` and each round of events. Both ends use it, the host under anyio and a worker's thread with a blocking socket.

A message that doesn't fit one frame goes in chunks. Those of several streams take turns, and of each stream no more is on its way
than its window; the receiver gives credit as it takes the chunks. Messages of one frame need no credit.
"""

from __future__ import annotations

from . import codec, operations
from ._chunks import Chunks, Partials
from ._refusals import Malformed, Unencodable
from ._state import KINDS, LATE
from .framing import MORE, OPTIONAL, FrameBuffer, pack_header
from .limits import Limits
from .messages import PROTOCOL, TYPES, Credit, Hello, Message, Op, OpReply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    from .._exceptions import LocalProtocolError, RemoteProtocolError

NEED_DATA = None
_ENVELOPE = 8  # levels that a message adds around the values it carries
_PEERS = {"host": "worker", "worker": "host"}
# Nearly all that is said in a call: what this end sends of it, and what comes.
_ROWS: dict[str, tuple[type[Op | OpReply], type[Op | OpReply]]] = {"host": (OpReply, Op), "worker": (Op, OpReply)}


class Connection:
    """
    The protocol's state at one end.

    Args:
        role: which end this is, ``"host"`` or ``"worker"``.
        kind: ``"control"``, ``"thread"`` or ``"loop"``, see `dspex.wire._state`.
        limits: what may come in. Their bounds on values hold for what a worker sends; a worker trusts its host.
        resolve: gives the class for a label, see `dspex.wire.codec.decode`.

    """

    __slots__ = (
        "_broken",
        "_called",
        "_chunks",
        "_highest",
        "_inbound",
        "_kind",
        "_limits",
        "_out",
        "_partials",
        "_peer",
        "_resolve",
        "_role",
        "_row_in",
        "_row_out",
        "_rules",
        "_state",
        "_stream_rules",
        "_value_limits",
    )

    def __init__(
        self, role: str, kind: str, *, limits: Optional[Limits] = None, resolve: Optional[Callable[[str, str], Optional[type]]] = None
    ) -> None:
        self._role = role
        self._peer = _PEERS[role]
        self._kind = kind
        self._row_out, self._row_in = _ROWS[role]
        self._state, self._rules, self._stream_rules = KINDS[kind]
        self._limits = limits or Limits()
        self._value_limits = self._limits.deeper(_ENVELOPE)
        self._resolve = resolve
        self._inbound = FrameBuffer(self._limits.frame)
        self._out: list[bytes] = []
        self._chunks = Chunks(self._limits)
        self._partials = Partials(self._limits)
        self._called: set[int] = set()
        self._highest = 0
        self._broken: Optional[RemoteProtocolError] = None

    def __repr__(self) -> str:
        return f"<Connection {self._role} {self._kind} [{self._state} | calls: {len(self._called)} | to read: {len(self._inbound)}]>"

    # --- out -------------------------------------------------------------------------------------------------------------------

    def send(self, stream: int, message: Message) -> None:
        """
        Queues *message*. One that is late (its call has just ended) is dropped.

        Raises:
            LocalProtocolError: this end may not send it now.
            Unencodable: a value in it has no encoded form, or the peer would refuse it. Nothing was queued, the state is the same.

        """
        after = self._judge(stream, self._role, type(message).__name__)
        if after is None:
            raise self._illegal_here(stream, type(message).__name__)

        if after is not LATE:
            payload = self._encode(message)
            self._move(stream, after)
            self._queue(type(message).number, stream, payload)

    def send_row(self, stream: int, row: list[Any]) -> None:
        """Queues an `Op` of one operation or an `OpReply` of one answer, whichever this end sends; in short where it can be. As `send`."""
        payload = codec.encode_row(row) if stream in self._called else None
        if payload is None or len(payload) > self._limits.frame or self._chunks.waiting:
            self.send(stream, self._row_out([row]))
        else:
            self._out.append(pack_header(len(payload), self._row_out.number, 0, stream) + payload)

    def data_to_send(self) -> bytes:
        """All that may be written now; empty if that is nothing."""
        out = self._out
        if self._chunks.waiting:
            self._chunks.take(out)

        if not out:
            return b""

        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    @property
    def blocked(self) -> bool:
        """Whether something waits for the peer's credit. `data_to_send` gives more once that came in."""
        return bool(self._chunks.waiting)

    def _encode(self, message: Message) -> bytes:
        try:
            payload = codec.encode(message.values(), depth=self._value_limits.depth)
            if self._role == "worker":
                codec.check_sendable(payload, message.values(), self._value_limits)
        except Unencodable as error:
            raise _in_words(error, message) from None

        if len(payload) > self._limits.message:
            raise Unencodable("", "data", f"it takes {len(payload):,} bytes, at most {self._limits.message:,} go in a message")

        return payload

    def _queue(self, number: int, stream: int, payload: bytes) -> None:
        if len(payload) > self._limits.frame or stream in self._chunks.waiting:
            self._chunks.put(number, stream, payload)
        else:
            self._out.append(pack_header(len(payload), number, 0, stream) + payload)

    # --- in --------------------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """
        Takes what was read; empty is the end of the stream.

        Raises:
            RemoteProtocolError: the stream ended in the middle of a message.

        """
        if data:
            self._inbound.feed(data)
        elif len(self._inbound) or self._partials:
            raise self._break("truncated", f"The {self._peer} closed the connection in the middle of a message.")

    def receive_event(self, data: bytes) -> Optional[tuple[int, Message]]:
        """`receive`, then `next_event`, in one; in short for an operation, or an answer, that came alone and whole."""
        frame = self._inbound.alone(data)
        if frame is not None and frame[0] == self._row_in.number and frame[1] in self._called and frame[1] not in self._partials:
            try:
                return frame[1], self._decode_row(frame[2])
            except Malformed as error:
                raise self._break(error.code, f"From the {self._peer}: {error}") from error

        self.receive(data)
        return self.next_event()

    @property
    def undigested(self) -> int:
        """Bytes that have not come out as an event."""
        return len(self._inbound)

    def next_event(self) -> Optional[tuple[int, Message]]:
        """
        The next message as (stream, message), None (`NEED_DATA`) when more bytes are needed.

        Raises:
            RemoteProtocolError: the peer sent what it may not. The connection is broken: each later call raises the same.

        """
        if self._broken is not None:
            raise self._broken

        try:
            return self._next_event()
        except Malformed as error:
            raise self._break(error.code, f"From the {self._peer}: {error}") from error

    def _next_event(self) -> Optional[tuple[int, Message]]:
        while (frame := self._inbound.next_frame()) is not None:
            number, flags, stream, payload = frame
            if number == Credit.number:
                self._credited(stream, payload)
                continue

            if flags & MORE or stream in self._partials:
                whole = self._assemble(number, flags, stream, payload)
                if whole is None:
                    continue

                payload = whole

            event = self._event(number, flags, stream, payload)
            if event is not None:
                return event

        return None

    def _event(self, number: int, flags: int, stream: int, payload: bytes) -> Optional[tuple[int, Message]]:
        after = self._expect(number, flags, stream)
        if after is LATE:
            return None

        message = self._decode(TYPES[number], payload)
        self._move(stream, after)
        return stream, message

    def _expect(self, number: int, flags: int, stream: int) -> str:
        """The state after a message of this type, LATE for one to drop."""
        known = TYPES.get(number)
        if known is None:
            # Chunks are kept until they are whole: only where the peer may speak at all, which bounds them.
            if flags & OPTIONAL and (not flags & MORE or self.state(stream) in ("open", "called")):
                return LATE

            raise self._break("unsupported", f"The {self._peer} sent a message of type {number}, which this version doesn't know.")

        after = self._judge(stream, self._peer, known.__name__)
        if after is None:
            raise self._break("illegal", self._illegal(stream, self._peer, known.__name__))

        return after

    def _decode_row(self, payload: bytes) -> Message:
        row = codec.decode_row(payload)
        if row is not None and self._role == "host":
            operations.check([row])

        return self._decode(self._row_in, payload) if row is None else self._row_in([row])

    def _decode(self, known: type[Message], payload: bytes) -> Message:
        limits = self._value_limits if self._role == "host" else None
        values: Any = codec.decode(payload, limits=limits, resolve=self._resolve)
        message = known.from_values(values)
        if known is Op and self._role == "host":
            operations.check(values[0])
        elif type(message) is Hello:
            self._greeted_by(message)

        return message

    def _greeted_by(self, hello: Hello) -> None:
        if hello.protocol != PROTOCOL:
            raise self._break(
                "unsupported",
                f"The {self._peer} (dspex {hello.version or 'of unknown version'}) speaks protocol {hello.protocol}, this end {PROTOCOL}. "
                "Use the same dspex on both ends.",
            )

    # --- chunks and credit -----------------------------------------------------------------------------------------------------

    def _assemble(self, number: int, flags: int, stream: int, payload: bytes) -> Optional[bytes]:
        if stream not in self._partials:
            self._expect(number, flags, stream)

        whole = self._partials.add(number, flags, stream, payload)
        for giver, size in self._partials.grants():
            credit = codec.encode([size])
            self._out.append(pack_header(len(credit), Credit.number, 0, giver) + credit)

        return whole

    def _credited(self, stream: int, payload: bytes) -> None:
        credit = Credit.from_values(codec.decode(payload, limits=self._value_limits))
        self._chunks.credit(stream, credit.size)

    # --- state -----------------------------------------------------------------------------------------------------------------

    def state(self, stream: int = 0) -> str:
        """The state of *stream*, in the words of `dspex.wire._state`; of the connection itself for stream 0."""
        if stream == 0 or self._state in ("broken", "closed"):
            return self._state

        if stream in self._called:
            return "called"

        if stream <= self._highest:
            return "replied"

        return "busy" if self._called and self._kind == "thread" else "idle"

    @property
    def calls(self) -> int:
        """How many calls are open; none on a connection that is closed or broken."""
        return len(self._called)

    def _judge(self, stream: int, sender: str, name: str) -> Optional[str]:
        if stream in self._called:
            return self._stream_rules.get(("called", sender, name))

        rules = self._stream_rules if stream else self._rules
        return rules.get((self.state(stream), sender, name))

    def _move(self, stream: int, after: str) -> None:
        if not stream:
            self._state = after
            if after == "closed":
                self._called.clear()
        elif after == "replied":
            self._called.discard(stream)
        elif stream > self._highest:
            self._highest = stream
            self._called.add(stream)

    def _illegal(self, stream: int, sender: str, name: str) -> str:
        where = f"stream {stream}, which is {self.state(stream)}" if stream else f"a connection that is {self.state()}"
        return f"The {sender} may not send {name} on {where} ({self._kind})."

    def _illegal_here(self, stream: int, name: str) -> LocalProtocolError:
        from .._exceptions import LocalProtocolError

        return LocalProtocolError(self._illegal(stream, self._role, name), code="illegal")

    def _break(self, code: str, problem: str) -> RemoteProtocolError:
        from .._exceptions import RemoteProtocolError

        self._state = "broken"
        self._called.clear()
        self._broken = RemoteProtocolError(problem, code=code)
        return self._broken


def _in_words(error: Unencodable, message: Message) -> Unencodable:
    """The same with the field's name in place of its index."""
    index, _, rest = error.path[1:].partition("]")
    path = message.names[int(index)] + rest if index.isdecimal() else error.path
    return Unencodable(path, error.type_name, error.reason)
