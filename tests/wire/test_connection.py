"""Frames in any pieces, long messages in chunks under credit, and what garbage does to a connection."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from wire.samples import plain_values, same

from dspex._exceptions import LocalProtocolError, RemoteProtocolError
from dspex.wire import Call, Close, Connection, Credit, Error, Hello, Limits, Log, Op, OpReply, Reply, Unencodable, encode
from dspex.wire.framing import HEADER_SIZE, MORE, OPTIONAL, FrameBuffer, pack_header
from dspex.wire.operations import OPERATIONS

SMALL = Limits(frame=64, window=256, message=4096)


def _frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    buffer = FrameBuffer(1 << 30)
    buffer.feed(data)
    found = []
    while frame := buffer.next_frame():
        found.append(frame)

    assert len(buffer) == 0
    return found


def _raw(number: int, payload: bytes, *, stream: int = 1, flags: int = 0) -> bytes:
    return pack_header(len(payload), number, flags, stream) + payload


def _called(host: Connection, worker: Connection, streams: int = 1) -> None:
    for stream in range(1, streams + 1):
        host.send(stream, Call(["key", None], {}))
        worker.receive(host.data_to_send())
        assert worker.next_event() is not None


def _events(end: Connection) -> list[Any]:
    found = []
    while (event := end.next_event()) is not None:
        found.append(event)

    return found


# --- small messages --------------------------------------------------------------------------------------------------------------


def test_a_call_its_operations_and_its_reply(in_use: str, thread_pair: tuple[Connection, Connection]) -> None:
    host, worker = thread_pair
    call = Call(["key", {"path": "app:f"}], {"x": (1, 2)}, deadline_us=5, chain=["a"], meta={"m": 1})
    host.send(1, call)
    worker.receive(host.data_to_send())
    assert _events(worker) == [(1, call)]
    worker.send(1, Op([[1, "get", "t"], [2, "set", "t", {1}]]))
    host.receive(worker.data_to_send())
    assert _events(host) == [(1, Op([[1, "get", "t"], [2, "set", "t", {1}]]))]
    host.send(1, OpReply([[1, True, 0.7], [2, False, ["InvalidValue", {}, "No.", False]]]))
    worker.receive(host.data_to_send())
    assert _events(worker) == [(1, OpReply([[1, True, 0.7], [2, False, ["InvalidValue", {}, "No.", False]]]))]
    worker.send(1, Reply({"n": None}, {"ms": 1}))
    host.receive(worker.data_to_send())
    assert _events(host) == [(1, Reply({"n": None}, {"ms": 1}))]
    assert repr(host) == "<Connection host thread [open | calls: 0 | to read: 0]>"


def test_nothing_to_send_is_no_bytes(thread_pair: tuple[Connection, Connection]) -> None:
    host, _ = thread_pair
    assert host.data_to_send() == b""
    assert host.next_event() is None
    host.receive(b"")


@given(st.lists(plain_values, max_size=5), st.integers(0, 1 << 32))
def test_messages_arrive_whole_however_the_bytes_are_cut(sent: list[Any], seed: int) -> None:
    host, worker = Connection("host", "loop"), Connection("worker", "loop")
    _called(host, worker, len(sent))
    for stream, value in enumerate(sent, 1):
        worker.send(stream, Reply(value))

    data, chance, events = worker.data_to_send(), random.Random(seed), []
    while data:
        size = chance.randint(1, 40)
        host.receive(data[:size])
        events += _events(host)
        data = data[size:]

    assert [stream for stream, _ in events] == list(range(1, len(sent) + 1))
    assert all(same(message.value, value) for (_, message), value in zip(events, sent, strict=True))


def test_a_value_that_cannot_cross_queues_nothing_and_names_the_field(in_use: str, thread_pair: tuple[Connection, Connection]) -> None:
    host, worker = thread_pair
    _called(host, worker)
    with pytest.raises(Unencodable) as refused:
        worker.send(1, Reply({"rows": [1, object()]}))

    assert refused.value.path == "value['rows'][1]"
    assert worker.data_to_send() == b""
    assert worker.state(1) == "called"
    worker.send(1, Reply("again"))
    host.receive(worker.data_to_send())
    assert _events(host) == [(1, Reply("again"))]


@pytest.mark.parametrize(
    ("value", "path", "why"),
    [
        ([{1.5: 1}], "value[0]", "begins a key that is no string"),
        ({"a": ({None: 1},)}, "value['a'][0]", "begins a key that is no string"),
        ([[]] * 70_000, "", "more than 65,536 containers"),
    ],
)
def test_what_the_host_would_refuse_a_worker_does_not_send(in_use: str, value: Any, path: str, why: str) -> None:
    host, worker = Connection("host", "thread"), Connection("worker", "thread")
    _called(host, worker)
    with pytest.raises(Unencodable, match=why) as refused:
        worker.send(1, Reply(value))

    assert refused.value.path == (path or "value")
    assert worker.state(1) == "called"


def test_the_host_may_send_what_a_worker_may_not(in_use: str, thread_pair: tuple[Connection, Connection]) -> None:
    host, worker = thread_pair
    host.send(1, Call(["key", None], {"x": {1.5: (1, 2), None: 1}}))
    worker.receive(host.data_to_send())
    assert _events(worker)[0][1].inputs == {"x": {1.5: (1, 2), None: 1}}


def test_values_nest_as_deep_in_a_message_as_on_their_own(in_use: str, thread_pair: tuple[Connection, Connection]) -> None:
    host, worker = thread_pair
    value: Any = []
    for _ in range(63):
        value = [value]

    encode(value)
    _called(host, worker)
    worker.send(1, Op([[1, "set", "x", value]]))
    host.receive(worker.data_to_send())
    host.send(1, OpReply([[1, True, value]]))
    worker.receive(host.data_to_send())
    assert _events(host)[0][1].ops[0][3] == _events(worker)[0][1].results[0][2] == value


# --- chunks and credit -----------------------------------------------------------------------------------------------------------


def _pump(ends: dict[str, Connection], chance: random.Random) -> dict[str, list[Any]]:
    """Carries bytes both ways, in random pieces and turns, until nothing moves any more. Gives what came out at each end."""
    events: dict[str, list[Any]] = {"host": [], "worker": []}
    on_the_way = {"host": bytearray(), "worker": bytearray()}
    still = 0
    while still < 2:
        sender, receiver = chance.sample(["host", "worker"], 2)
        for role, end in ends.items():
            on_the_way[role] += end.data_to_send()

        piece = bytes(on_the_way[sender][: chance.randint(1, 300)])
        del on_the_way[sender][: len(piece)]
        if piece:
            ends[receiver].receive(piece)
            events[receiver] += _events(ends[receiver])

        still = 0 if any(on_the_way.values()) or piece else still + 1

    return events


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 1500)), max_size=8),
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 1500)), max_size=8),
    st.integers(0, 1 << 32),
)
def test_long_messages_of_many_streams_arrive_whole_and_in_order(to_worker: Any, to_host: Any, seed: int) -> None:
    ends = {"host": Connection("host", "loop", limits=SMALL), "worker": Connection("worker", "loop", limits=SMALL)}
    _called(ends["host"], ends["worker"], 4)
    for at, (stream, size) in enumerate(to_worker):
        ends["host"].send(stream, OpReply([[at, True, "h" * size]]))

    for at, (stream, size) in enumerate(to_host):
        ends["worker"].send(stream, Op([[at, "append", "x", "w" * size]]))

    events = _pump(ends, random.Random(seed))
    for role, sent, letter in (("worker", to_worker, "h"), ("host", to_host, "w")):
        for stream in range(1, 5):
            expected = [(at, letter * size) for at, (on, size) in enumerate(sent) if on == stream]
            got = [(item[0], item[-1]) for on, message in events[role] if on == stream for item in message.values()[0]]
            assert got == expected

    for end in ends.values():
        assert not end.blocked
        assert (end._chunks._credit, end._partials._owed, end._partials._held) == ({}, {}, 0)


def test_no_more_than_the_window_is_on_its_way() -> None:
    host, worker = Connection("host", "thread", limits=SMALL), Connection("worker", "thread", limits=SMALL)
    _called(host, worker)
    worker.send(1, Reply(b"x" * 3000))
    outstanding = 0
    replied: list[Any] = []
    while not replied:
        data = worker.data_to_send()
        outstanding += sum(len(payload) for _, _, _, payload in _frames(data))
        assert outstanding <= SMALL.window
        assert data, "the sender has no credit though all it sent was taken"
        host.receive(data)
        replied = _events(host)
        grants = host.data_to_send()
        outstanding -= sum(_granted(payload) for number, _, _, payload in _frames(grants) if number == Credit.number)
        worker.receive(grants)
        assert _events(worker) == []

    assert replied == [(1, Reply(b"x" * 3000))]
    assert outstanding == 0


def _granted(payload: bytes) -> int:
    from dspex.wire import decode

    return int(decode(payload)[0])


def test_a_small_message_of_another_stream_overtakes_a_long_one() -> None:
    host, worker = Connection("host", "loop", limits=SMALL), Connection("worker", "loop", limits=SMALL)
    _called(host, worker, 2)
    worker.send(1, Reply(b"x" * 3000))
    worker.data_to_send()
    assert worker.blocked
    worker.send(2, Reply("quick"))
    assert [stream for _, _, stream, _ in _frames(worker.data_to_send())] == [2]


def test_long_messages_take_turns() -> None:
    host, worker = Connection("host", "loop", limits=SMALL), Connection("worker", "loop", limits=SMALL)
    _called(host, worker, 3)
    for stream in (1, 2, 3):
        worker.send(stream, Reply(b"x" * 500))

    frames = _frames(worker.data_to_send())
    assert [stream for _, _, stream, _ in frames] == [1, 2, 3] * 4
    assert all(flags & MORE for _, flags, _, _ in frames)


CROWDED = Limits(frame=64, window=128, message=300)


def test_past_the_size_of_a_message_only_the_oldest_gets_credit() -> None:
    host, worker = Connection("host", "loop", limits=CROWDED), Connection("worker", "loop", limits=CROWDED)
    _called(host, worker, 5)
    for stream in range(1, 6):
        worker.send(stream, Reply(b"x" * 250))

    crowded = 0
    while data := worker.data_to_send():
        for number, flags, stream, payload in _frames(data):
            host.receive(_raw(number, payload, stream=stream, flags=flags))
            _events(host)
            grants = host.data_to_send()
            worker.receive(grants)
            assert _events(worker) == []
            arriving = [known for _, _, known, _ in _frames(grants) if known in host._partials]
            assert host._partials._held <= CROWDED.message + 5 * CROWDED.window
            if host._partials._held > CROWDED.message:
                crowded += 1
                assert arriving in ([], [next(iter(host._partials._partial))])

    assert crowded
    assert host.calls == 0


def test_the_streams_that_stood_still_go_on_once_the_oldest_is_whole() -> None:
    ends = {"host": Connection("host", "loop", limits=CROWDED), "worker": Connection("worker", "loop", limits=CROWDED)}
    _called(ends["host"], ends["worker"], 6)
    for stream in range(1, 7):
        ends["worker"].send(stream, Reply(b"x" * 250))

    events = _pump(ends, random.Random(2))
    assert sorted(stream for stream, _ in events["host"]) == [1, 2, 3, 4, 5, 6]
    assert ends["host"]._partials._held == 0


def test_a_message_longer_than_allowed_is_not_sent() -> None:
    host, worker = Connection("host", "thread", limits=SMALL), Connection("worker", "thread", limits=SMALL)
    _called(host, worker)
    with pytest.raises(Unencodable, match="it takes 5,005 bytes, at most 4,096 go in a message"):
        worker.send(1, Reply(b"x" * 5000))

    assert worker.state(1) == "called"


def test_a_late_answer_in_chunks_is_taken_and_dropped() -> None:
    host, worker = Connection("host", "loop", limits=SMALL), Connection("worker", "loop", limits=SMALL)
    _called(host, worker)
    worker.send(1, Op([[1, "get", "x"]]))
    host.receive(worker.data_to_send())
    _events(host)
    host.send(1, OpReply([[1, True, b"x" * 2000]]))
    worker.send(1, Reply("done without it"))
    events = _pump({"host": host, "worker": worker}, random.Random(3))
    assert events == {"host": [(1, Reply("done without it"))], "worker": []}
    assert not host.blocked


# --- garbage ---------------------------------------------------------------------------------------------------------------------

OP = encode([[[1, "get", "x"]]])

GARBAGE: dict[str, tuple[bytes, str, str]] = {
    "a frame longer than allowed": (
        struct.pack(">IBBI", 300_000, Op.number, 0, 1),
        "limit",
        "From the worker: A frame announces 300,000 bytes, at most 262,144 are allowed.",
    ),
    "flags unknown": (
        _raw(Op.number, OP, flags=0x80),
        "malformed",
        "From the worker: A frame has flags 0x80, which this version doesn't know.",
    ),
    "a type unknown": (_raw(99, OP), "unsupported", "The worker sent a message of type 99, which this version doesn't know."),
    "bytes that are no value": (_raw(Op.number, b"\x92\x80\xc1"), "malformed", "From the worker: Byte 2 is 0xc1, which begins no value."),
    "a value too deep": (_raw(Op.number, b"\x91" * 100), "limit", "From the worker: The value nests deeper than 72 levels."),
    "no list of fields": (_raw(Op.number, encode(5)), "malformed", "From the worker: Op: expected a list of fields, got int."),
    "a field missing": (_raw(Op.number, encode([])), "malformed", "From the worker: Op: the field ops is missing."),
    "a field of another type": (_raw(Op.number, encode(["ops"])), "malformed", "From the worker: Op.ops: expected list, got str."),
    "an operation that is none": (
        _raw(Op.number, encode([[["get", 1]]])),
        "malformed",
        "From the worker: Expected an operation as [id, name, *arguments], got ['get', 1].",
    ),
    "an operation nobody may ask for": (
        _raw(Op.number, encode([[[1, "open", "other session"]]])),
        "malformed",
        f"From the worker: There is no operation 'open' for a program. There are: {', '.join(OPERATIONS)}.",
    ),
    "a key that is no text": (
        _raw(Op.number, encode([[[1, "get", 5]]])),
        "malformed",
        "From the worker: The operation get: expected key as str, got int.",
    ),
    "too many arguments": (
        _raw(Op.number, encode([[[1, "get", "x", 1]]])),
        "malformed",
        "From the worker: The operation get takes 1 to 1 arguments (key), got 2.",
    ),
    "credit for what was never sent": (
        _raw(Credit.number, encode([5])),
        "malformed",
        "From the worker: A credit of 5 bytes for stream 1, more than was sent.",
    ),
    "credit that is no number": (_raw(Credit.number, encode(["5"])), "malformed", "From the worker: Credit.size: expected int, got str."),
    "an empty chunk": (
        _raw(Op.number, b"", flags=MORE),
        "malformed",
        "From the worker: A chunk of 0 bytes on stream 1: empty, or beyond its credit.",
    ),
    "a chunk of another type": (
        _raw(Op.number, OP, flags=MORE) + _raw(Log.number, OP),
        "malformed",
        f"From the worker: A frame of type 9 on stream 1 in the middle of a message of type {Op.number}.",
    ),
    "a chunk for a call that isn't": (
        _raw(Op.number, OP, flags=MORE, stream=9),
        "illegal",
        "The worker may not send Op on stream 9, which is idle (loop).",
    ),
    "an optional type in chunks where nothing may be said": (
        _raw(99, OP, flags=MORE | OPTIONAL, stream=9),
        "unsupported",
        "The worker sent a message of type 99, which this version doesn't know.",
    ),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_breaks_the_connection_with_one_error(in_use: str, kind: str) -> None:
    data, code, sentence = GARBAGE[kind]
    host, worker = Connection("host", "loop"), Connection("worker", "loop")
    _called(host, worker)
    host.receive(data)
    with pytest.raises(RemoteProtocolError) as refused:
        _events(host)

    assert (refused.value.code, str(refused.value)) == (code, sentence)
    assert host.state() == host.state(1) == "broken"
    with pytest.raises(LocalProtocolError):
        host.send(1, OpReply([]))

    host.send(0, Close(code, sentence))
    worker.receive(host.data_to_send())
    assert _events(worker) == [(0, Close(code, sentence))]


def test_a_message_that_grows_longer_than_allowed_breaks_the_connection() -> None:
    limits = Limits(frame=64, window=256, message=100)
    host, worker = Connection("host", "loop", limits=limits), Connection("worker", "loop", limits=limits)
    _called(host, worker)
    host.receive(_raw(Op.number, b"x" * 64, flags=MORE))
    assert _events(host) == []
    host.receive(_raw(Op.number, b"x" * 64, flags=MORE))
    with pytest.raises(RemoteProtocolError, match="A message of more than 100 bytes"):
        _events(host)


def test_whoever_ignores_the_credit_is_refused() -> None:
    limits = Limits(frame=64, window=128, message=150)
    host, worker = Connection("host", "loop", limits=limits), Connection("worker", "loop", limits=limits)
    _called(host, worker, 3)
    for stream in (1, 2, 3):
        host.receive(_raw(Op.number, b"x" * 60, flags=MORE, stream=stream))

    assert _events(host) == []
    host.receive(_raw(Op.number, b"x" * 64, flags=MORE, stream=3))
    assert _events(host) == []
    host.receive(_raw(Op.number, b"x" * 10, flags=MORE, stream=3))
    with pytest.raises(RemoteProtocolError, match="A chunk of 10 bytes on stream 3: empty, or beyond its credit"):
        _events(host)


def test_an_unknown_type_that_is_optional_is_skipped(thread_pair: tuple[Connection, Connection]) -> None:
    host, worker = thread_pair
    _called(host, worker)
    host.receive(_raw(99, b"\xc1", flags=OPTIONAL) + _raw(99, b"ab", flags=OPTIONAL | MORE) + _raw(99, b"c", flags=OPTIONAL))
    worker.send(1, Reply(1))
    host.receive(worker.data_to_send())
    assert _events(host) == [(1, Reply(1))]


def test_a_longer_list_of_a_newer_peer_is_read_as_far_as_it_is_known(thread_pair: tuple[Connection, Connection]) -> None:
    host, worker = thread_pair
    _called(host, worker)
    host.receive(_raw(Reply.number, encode([1, {}, "new", 5])))
    assert _events(host) == [(1, Reply(1))]


def test_fields_an_older_peer_leaves_out_take_their_defaults() -> None:
    assert Call.from_values([["key", None], {}]) == Call(["key", None], {})
    assert Error.from_values(["WorkerDied"]) == Error("WorkerDied", {}, "", None)
    assert Hello.from_values([1, "1.0", None]) == Hello(1, "1.0")
    assert Log.from_values([30]).values() == [30, "", "", {}]


@pytest.mark.parametrize("kept", [1, HEADER_SIZE, HEADER_SIZE + 3])
def test_an_end_in_the_middle_of_a_message_is_told(thread_pair: tuple[Connection, Connection], kept: int) -> None:
    host, worker = thread_pair
    _called(host, worker)
    worker.send(1, Reply("cut"))
    host.receive(worker.data_to_send()[:kept])
    assert _events(host) == []
    with pytest.raises(RemoteProtocolError) as refused:
        host.receive(b"")

    assert (refused.value.code, str(refused.value)) == ("truncated", "The worker closed the connection in the middle of a message.")


def test_an_end_in_the_middle_of_a_chunked_message_is_told() -> None:
    host, worker = Connection("host", "thread", limits=SMALL), Connection("worker", "thread", limits=SMALL)
    _called(host, worker)
    worker.send(1, Reply(b"x" * 200))
    host.receive(worker.data_to_send()[: 64 + HEADER_SIZE])
    assert _events(host) == []
    with pytest.raises(RemoteProtocolError, match="in the middle of a message"):
        host.receive(b"")


@given(st.binary(max_size=300), st.sampled_from(["control", "thread", "loop"]), st.sampled_from(["host", "worker"]))
def test_random_bytes_give_events_or_one_error(data: bytes, kind: str, role: str) -> None:
    end = Connection(role, kind, limits=SMALL)
    end.receive(data)
    try:
        _events(end)
    except RemoteProtocolError:
        assert end.state() == "broken"


@given(plain_values, st.integers(0, 1 << 32), st.booleans())
def test_mutated_frames_give_events_or_one_error(value: Any, seed: int, keep_header: bool) -> None:
    host, worker = Connection("host", "loop", limits=SMALL), Connection("worker", "loop", limits=SMALL)
    _called(host, worker, 2)
    worker.send(1, Op([[1, "set", "x", value]]))
    worker.send(2, Reply(value))
    data, chance = bytearray(worker.data_to_send()), random.Random(seed)
    for _ in range(chance.randint(1, 5)):
        data[chance.randrange(HEADER_SIZE if keep_header else 0, len(data))] = chance.randrange(256)

    host.receive(bytes(data))
    try:
        _events(host)
    except RemoteProtocolError as error:
        assert error.code in {"malformed", "limit", "unsupported", "illegal"}
        assert host.state() == "broken"
