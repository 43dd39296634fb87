"""What may not come breaks its connection, with one error that says what it was, and nothing else."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from hypothesis import given, strategies as st
from wire.exchange import SMALL, called, events, raw
from wire.samples import plain_values

from dspex._exceptions import LocalProtocolError, RemoteProtocolError
from dspex.wire import Call, Close, Connection, Credit, Error, Hello, Limits, Log, Op, OpReply, Reply, encode
from dspex.wire.framing import HEADER_SIZE, MORE, OPTIONAL
from dspex.wire.operations import OPERATIONS

OP = encode([[[1, "get", "x"]]])

GARBAGE: dict[str, tuple[bytes, str, str]] = {
    "a frame longer than allowed": (
        struct.pack(">IBBI", 300_000, Op.number, 0, 1),
        "limit",
        "From the worker: A frame announces 300,000 bytes, at most 262,144 are allowed.",
    ),
    "flags unknown": (
        raw(Op.number, OP, flags=0x80),
        "malformed",
        "From the worker: A frame has flags 0x80, which this version doesn't know.",
    ),
    "a type unknown": (raw(99, OP), "unsupported", "The worker sent a message of type 99, which this version doesn't know."),
    "bytes that are no value": (raw(Op.number, b"\x92\x80\xc1"), "malformed", "From the worker: Byte 2 is 0xc1, which begins no value."),
    "a value too deep": (raw(Op.number, b"\x91" * 100), "limit", "From the worker: The value nests deeper than 72 levels."),
    "no list of fields": (raw(Op.number, encode(5)), "malformed", "From the worker: Op: expected a list of fields, got int."),
    "a field missing": (raw(Op.number, encode([])), "malformed", "From the worker: Op: the field ops is missing."),
    "a field of another type": (raw(Op.number, encode(["ops"])), "malformed", "From the worker: Op.ops: expected list, got str."),
    "an operation that is none": (
        raw(Op.number, encode([[["get", 1]]])),
        "malformed",
        "From the worker: Expected an operation as [id, name, *arguments], got ['get', 1].",
    ),
    "an operation nobody may ask for": (
        raw(Op.number, encode([[[1, "open", "other session"]]])),
        "malformed",
        f"From the worker: There is no operation 'open' for a program. There are: {', '.join(OPERATIONS)}.",
    ),
    "a key that is no text": (
        raw(Op.number, encode([[[1, "get", 5]]])),
        "malformed",
        "From the worker: The operation get: expected key as str, got int.",
    ),
    "too many arguments": (
        raw(Op.number, encode([[[1, "get", "x", 1]]])),
        "malformed",
        "From the worker: The operation get takes 1 to 1 arguments (key), got 2.",
    ),
    "credit for what was never sent": (
        raw(Credit.number, encode([5])),
        "malformed",
        "From the worker: A credit of 5 bytes for stream 1, more than was sent.",
    ),
    "credit that is no number": (raw(Credit.number, encode(["5"])), "malformed", "From the worker: Credit.size: expected int, got str."),
    "an empty chunk": (
        raw(Op.number, b"", flags=MORE),
        "malformed",
        "From the worker: A chunk of 0 bytes on stream 1: empty, or beyond its credit.",
    ),
    "a chunk of another type": (
        raw(Op.number, OP, flags=MORE) + raw(Log.number, OP),
        "malformed",
        f"From the worker: A frame of type 9 on stream 1 in the middle of a message of type {Op.number}.",
    ),
    "a chunk for a call that isn't": (
        raw(Op.number, OP, flags=MORE, stream=9),
        "illegal",
        "The worker may not send Op on stream 9, which is idle (loop).",
    ),
    "an optional type in chunks where nothing may be said": (
        raw(99, OP, flags=MORE | OPTIONAL, stream=9),
        "unsupported",
        "The worker sent a message of type 99, which this version doesn't know.",
    ),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_breaks_the_connection_with_one_error(in_use: str, kind: str) -> None:
    data, code, sentence = GARBAGE[kind]
    host, worker = Connection("host", "loop"), Connection("worker", "loop")
    called(host, worker)
    host.receive(data)
    with pytest.raises(RemoteProtocolError) as refused:
        events(host)

    assert (refused.value.code, str(refused.value)) == (code, sentence)
    assert host.state() == host.state(1) == "broken"
    with pytest.raises(LocalProtocolError):
        host.send(1, OpReply([]))

    host.send(0, Close(code, sentence))
    worker.receive(host.data_to_send())
    assert events(worker) == [(0, Close(code, sentence))]


def test_a_message_that_grows_longer_than_allowed_breaks_the_connection() -> None:
    limits = Limits(frame=64, window=256, message=100)
    host, worker = Connection("host", "loop", limits=limits), Connection("worker", "loop", limits=limits)
    called(host, worker)
    host.receive(raw(Op.number, b"x" * 64, flags=MORE))
    assert events(host) == []
    host.receive(raw(Op.number, b"x" * 64, flags=MORE))
    with pytest.raises(RemoteProtocolError, match="A message of more than 100 bytes"):
        events(host)


def test_whoever_ignores_the_credit_is_refused() -> None:
    limits = Limits(frame=64, window=128, message=150)
    host, worker = Connection("host", "loop", limits=limits), Connection("worker", "loop", limits=limits)
    called(host, worker, 3)
    for stream in (1, 2, 3):
        host.receive(raw(Op.number, b"x" * 60, flags=MORE, stream=stream))

    assert events(host) == []
    host.receive(raw(Op.number, b"x" * 64, flags=MORE, stream=3))
    assert events(host) == []
    host.receive(raw(Op.number, b"x" * 10, flags=MORE, stream=3))
    with pytest.raises(RemoteProtocolError, match="A chunk of 10 bytes on stream 3: empty, or beyond its credit"):
        events(host)


def test_an_unknown_type_that_is_optional_is_skipped(thread_pair: tuple[Connection, Connection]) -> None:
    host, worker = thread_pair
    called(host, worker)
    host.receive(raw(99, b"\xc1", flags=OPTIONAL) + raw(99, b"ab", flags=OPTIONAL | MORE) + raw(99, b"c", flags=OPTIONAL))
    worker.send(1, Reply(1))
    host.receive(worker.data_to_send())
    assert events(host) == [(1, Reply(1))]


def test_a_longer_list_of_a_newer_peer_is_read_as_far_as_it_is_known(thread_pair: tuple[Connection, Connection]) -> None:
    host, worker = thread_pair
    called(host, worker)
    host.receive(raw(Reply.number, encode([1, {}, "new", 5])))
    assert events(host) == [(1, Reply(1))]


def test_fields_an_older_peer_leaves_out_take_their_defaults() -> None:
    assert Call.from_values([["key", None], {}]) == Call(["key", None], {})
    assert Error.from_values(["WorkerDied"]) == Error("WorkerDied", {}, "", None)
    assert Hello.from_values([1, "1.0", None]) == Hello(1, "1.0")
    assert Log.from_values([30]).values() == [30, "", "", {}]


@pytest.mark.parametrize("kept", [1, HEADER_SIZE, HEADER_SIZE + 3])
def test_an_end_in_the_middle_of_a_message_is_told(thread_pair: tuple[Connection, Connection], kept: int) -> None:
    host, worker = thread_pair
    called(host, worker)
    worker.send(1, Reply("cut"))
    host.receive(worker.data_to_send()[:kept])
    assert events(host) == []
    with pytest.raises(RemoteProtocolError) as refused:
        host.receive(b"")

    assert (refused.value.code, str(refused.value)) == ("truncated", "The worker closed the connection in the middle of a message.")


def test_an_end_in_the_middle_of_a_chunked_message_is_told() -> None:
    host, worker = Connection("host", "thread", limits=SMALL), Connection("worker", "thread", limits=SMALL)
    called(host, worker)
    worker.send(1, Reply(b"x" * 200))
    host.receive(worker.data_to_send()[: 64 + HEADER_SIZE])
    assert events(host) == []
    with pytest.raises(RemoteProtocolError, match="in the middle of a message"):
        host.receive(b"")


@given(st.binary(max_size=300), st.sampled_from(["control", "thread", "loop"]), st.sampled_from(["host", "worker"]))
def test_random_bytes_give_events_or_one_error(data: bytes, kind: str, role: str) -> None:
    end = Connection(role, kind, limits=SMALL)
    end.receive(data)
    try:
        events(end)
    except RemoteProtocolError:
        assert end.state() == "broken"


@given(plain_values, st.integers(0, 1 << 32), st.booleans())
def test_mutated_frames_give_events_or_one_error(value: Any, seed: int, keep_header: bool) -> None:
    host, worker = Connection("host", "loop", limits=SMALL), Connection("worker", "loop", limits=SMALL)
    called(host, worker, 2)
    worker.send(1, Op([[1, "set", "x", value]]))
    worker.send(2, Reply(value))
    data, chance = bytearray(worker.data_to_send()), random.Random(seed)
    for _ in range(chance.randint(1, 5)):
        data[chance.randrange(HEADER_SIZE if keep_header else 0, len(data))] = chance.randrange(256)

    host.receive(bytes(data))
    try:
        events(host)
    except RemoteProtocolError as error:
        assert error.code in {"malformed", "limit", "unsupported", "illegal"}
        assert host.state() == "broken"
