"""Messages between two ends, however the bytes are cut."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, strategies as st
from wire.exchange import called, events
from wire.samples import plain_values, same

from dspex.wire import Call, Connection, Op, OpReply, Reply, Unencodable, encode


def test_a_call_its_operations_and_its_reply(in_use: str, thread_pair: tuple[Connection, Connection]) -> None:
    host, worker = thread_pair
    call = Call(["key", {"path": "app:f"}], {"x": (1, 2)}, deadline_us=5, chain=["a"], meta={"m": 1})
    host.send(1, call)
    worker.receive(host.data_to_send())
    assert events(worker) == [(1, call)]
    worker.send(1, Op([[1, "get", "t"], [2, "set", "t", {1}]]))
    host.receive(worker.data_to_send())
    assert events(host) == [(1, Op([[1, "get", "t"], [2, "set", "t", {1}]]))]
    host.send(1, OpReply([[1, True, 0.7], [2, False, ["InvalidValue", {}, "No.", False]]]))
    worker.receive(host.data_to_send())
    assert events(worker) == [(1, OpReply([[1, True, 0.7], [2, False, ["InvalidValue", {}, "No.", False]]]))]
    worker.send(1, Reply({"n": None}, {"ms": 1}))
    host.receive(worker.data_to_send())
    assert events(host) == [(1, Reply({"n": None}, {"ms": 1}))]
    assert repr(host) == "<Connection host thread [open | calls: 0 | to read: 0]>"


def test_nothing_to_send_is_no_bytes(thread_pair: tuple[Connection, Connection]) -> None:
    host, _ = thread_pair
    assert host.data_to_send() == b""
    assert host.next_event() is None
    host.receive(b"")


@given(st.lists(plain_values, max_size=5), st.integers(0, 1 << 32))
def test_messages_arrive_whole_however_the_bytes_are_cut(sent: list[Any], seed: int) -> None:
    host, worker = Connection("host", "loop"), Connection("worker", "loop")
    called(host, worker, len(sent))
    for stream, value in enumerate(sent, 1):
        worker.send(stream, Reply(value))

    data, chance, came = worker.data_to_send(), random.Random(seed), []
    while data:
        size = chance.randint(1, 40)
        host.receive(data[:size])
        came += events(host)
        data = data[size:]

    assert [stream for stream, _ in came] == list(range(1, len(sent) + 1))
    assert all(same(message.value, value) for (_, message), value in zip(came, sent, strict=True))


def test_a_value_that_cannot_cross_queues_nothing_and_names_the_field(in_use: str, thread_pair: tuple[Connection, Connection]) -> None:
    host, worker = thread_pair
    called(host, worker)
    with pytest.raises(Unencodable) as refused:
        worker.send(1, Reply({"rows": [1, object()]}))

    assert refused.value.path == "value['rows'][1]"
    assert worker.data_to_send() == b""
    assert worker.state(1) == "called"
    worker.send(1, Reply("again"))
    host.receive(worker.data_to_send())
    assert events(host) == [(1, Reply("again"))]


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
    called(host, worker)
    with pytest.raises(Unencodable, match=why) as refused:
        worker.send(1, Reply(value))

    assert refused.value.path == (path or "value")
    assert worker.state(1) == "called"


def test_the_host_may_send_what_a_worker_may_not(in_use: str, thread_pair: tuple[Connection, Connection]) -> None:
    host, worker = thread_pair
    host.send(1, Call(["key", None], {"x": {1.5: (1, 2), None: 1}}))
    worker.receive(host.data_to_send())
    assert events(worker)[0][1].inputs == {"x": {1.5: (1, 2), None: 1}}


def test_values_nest_as_deep_in_a_message_as_on_their_own(in_use: str, thread_pair: tuple[Connection, Connection]) -> None:
    host, worker = thread_pair
    value: Any = []
    for _ in range(63):
        value = [value]

    encode(value)
    called(host, worker)
    worker.send(1, Op([[1, "set", "x", value]]))
    host.receive(worker.data_to_send())
    host.send(1, OpReply([[1, True, value]]))
    worker.receive(host.data_to_send())
    assert events(host)[0][1].ops[0][3] == events(worker)[0][1].results[0][2] == value
