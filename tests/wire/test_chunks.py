"""Long messages go in chunks: in turns, under credit, whole and in order."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from wire.exchange import SMALL, called, events, frames, pump, raw

from dspex.wire import Connection, Credit, Limits, Op, OpReply, Reply, Unencodable, decode
from dspex.wire.framing import MORE


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 1500)), max_size=8),
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 1500)), max_size=8),
    st.integers(0, 1 << 32),
)
def test_long_messages_of_many_streams_arrive_whole_and_in_order(to_worker: Any, to_host: Any, seed: int) -> None:
    ends = {"host": Connection("host", "loop", limits=SMALL), "worker": Connection("worker", "loop", limits=SMALL)}
    called(ends["host"], ends["worker"], 4)
    for at, (stream, size) in enumerate(to_worker):
        ends["host"].send(stream, OpReply([[at, True, "h" * size]]))

    for at, (stream, size) in enumerate(to_host):
        ends["worker"].send(stream, Op([[at, "append", "x", "w" * size]]))

    came = pump(ends, random.Random(seed))
    for role, sent, letter in (("worker", to_worker, "h"), ("host", to_host, "w")):
        for stream in range(1, 5):
            expected = [(at, letter * size) for at, (on, size) in enumerate(sent) if on == stream]
            got = [(item[0], item[-1]) for on, message in came[role] if on == stream for item in message.values()[0]]
            assert got == expected

    for end in ends.values():
        assert not end.blocked
        assert (end._chunks._credit, end._partials._owed, end._partials._held) == ({}, {}, 0)


def test_no_more_than_the_window_is_on_its_way() -> None:
    host, worker = Connection("host", "thread", limits=SMALL), Connection("worker", "thread", limits=SMALL)
    called(host, worker)
    worker.send(1, Reply(b"x" * 3000))
    outstanding = 0
    replied: list[Any] = []
    while not replied:
        data = worker.data_to_send()
        outstanding += sum(len(payload) for _, _, _, payload in frames(data))
        assert outstanding <= SMALL.window
        assert data, "the sender has no credit though all it sent was taken"
        host.receive(data)
        replied = events(host)
        grants = host.data_to_send()
        outstanding -= sum(_granted(payload) for number, _, _, payload in frames(grants) if number == Credit.number)
        worker.receive(grants)
        assert events(worker) == []

    assert replied == [(1, Reply(b"x" * 3000))]
    assert outstanding == 0


def _granted(payload: bytes) -> int:
    return int(decode(payload)[0])


def test_a_small_message_of_another_stream_overtakes_a_long_one() -> None:
    host, worker = Connection("host", "loop", limits=SMALL), Connection("worker", "loop", limits=SMALL)
    called(host, worker, 2)
    worker.send(1, Reply(b"x" * 3000))
    worker.data_to_send()
    assert worker.blocked
    worker.send(2, Reply("quick"))
    assert [stream for _, _, stream, _ in frames(worker.data_to_send())] == [2]


def test_long_messages_take_turns() -> None:
    host, worker = Connection("host", "loop", limits=SMALL), Connection("worker", "loop", limits=SMALL)
    called(host, worker, 3)
    for stream in (1, 2, 3):
        worker.send(stream, Reply(b"x" * 500))

    sent = frames(worker.data_to_send())
    assert [stream for _, _, stream, _ in sent] == [1, 2, 3] * 4
    assert all(flags & MORE for _, flags, _, _ in sent)


CROWDED = Limits(frame=64, window=128, message=300)


def test_past_the_size_of_a_message_only_the_oldest_gets_credit() -> None:
    host, worker = Connection("host", "loop", limits=CROWDED), Connection("worker", "loop", limits=CROWDED)
    called(host, worker, 5)
    for stream in range(1, 6):
        worker.send(stream, Reply(b"x" * 250))

    crowded = 0
    while data := worker.data_to_send():
        for number, flags, stream, payload in frames(data):
            host.receive(raw(number, payload, stream=stream, flags=flags))
            events(host)
            grants = host.data_to_send()
            worker.receive(grants)
            assert events(worker) == []
            arriving = [known for _, _, known, _ in frames(grants) if known in host._partials]
            assert host._partials._held <= CROWDED.message + 5 * CROWDED.window
            if host._partials._held > CROWDED.message:
                crowded += 1
                assert arriving in ([], [next(iter(host._partials._partial))])

    assert crowded
    assert host.calls == 0


def test_the_streams_that_stood_still_go_on_once_the_oldest_is_whole() -> None:
    ends = {"host": Connection("host", "loop", limits=CROWDED), "worker": Connection("worker", "loop", limits=CROWDED)}
    called(ends["host"], ends["worker"], 6)
    for stream in range(1, 7):
        ends["worker"].send(stream, Reply(b"x" * 250))

    came = pump(ends, random.Random(2))
    assert sorted(stream for stream, _ in came["host"]) == [1, 2, 3, 4, 5, 6]
    assert ends["host"]._partials._held == 0


def test_a_message_longer_than_allowed_is_not_sent() -> None:
    host, worker = Connection("host", "thread", limits=SMALL), Connection("worker", "thread", limits=SMALL)
    called(host, worker)
    with pytest.raises(Unencodable, match="it takes 5,005 bytes, at most 4,096 go in a message"):
        worker.send(1, Reply(b"x" * 5000))

    assert worker.state(1) == "called"


def test_a_late_answer_in_chunks_is_taken_and_dropped() -> None:
    host, worker = Connection("host", "loop", limits=SMALL), Connection("worker", "loop", limits=SMALL)
    called(host, worker)
    worker.send(1, Op([[1, "get", "x"]]))
    host.receive(worker.data_to_send())
    events(host)
    host.send(1, OpReply([[1, True, b"x" * 2000]]))
    worker.send(1, Reply("done without it"))
    came = pump({"host": host, "worker": worker}, random.Random(3))
    assert came == {"host": [(1, Reply("done without it"))], "worker": []}
    assert not host.blocked
