"""The short way of one operation and its answer: the same bytes, the same refusals, and the same order as the long one."""

from __future__ import annotations

import pytest

from dspex._exceptions import RemoteProtocolError
from dspex.wire import Call, Connection, Log, Op, OpReply, Unencodable, codec
from dspex.wire.framing import FrameBuffer, pack_header


def called(kind="thread"):
    host, worker = Connection("host", kind), Connection("worker", kind)
    host.send(1, Call(["key", None], {}))
    worker.receive(host.data_to_send())
    worker.next_event()
    return host, worker


@pytest.mark.parametrize(
    "row",
    [
        [1, "get", "x"],
        [2, "set", "x", 0.5, None, None],
        [3, "set", "x", [1, {"a": 2}]],
        [4, "set", "x", 1 << 70],
        [5, "set", "x", "\udc80"],
        [6, "set", "x", b"b"],
    ],
    ids=["scalars", "none", "containers", "large int", "surrogate", "bytes"],
)
def test_a_row_is_the_message_of_one(in_use, row):
    (_, short), (host, long) = called(), called()
    short.send_row(1, row)
    long.send(1, Op([row]))
    sent = short.data_to_send()
    assert sent == long.data_to_send()
    assert host.receive_event(sent) == (1, Op([row]))
    assert host.undigested == 0


def test_an_answer_is_received_as_it_was_sent(in_use):
    host, worker = called()
    host.send_row(1, [7, True, 0.5])
    assert worker.receive_event(host.data_to_send()) == (1, OpReply([[7, True, 0.5]]))


def test_values_keep_their_types(in_use):
    host, worker = called()
    for value in (True, 1, 1.0, -0.0, None, "1", (1,), 2**64):
        host.send_row(1, [7, True, value])
        (found,) = worker.receive_event(host.data_to_send())[1].results
        assert (type(found[2]), repr(found[2])) == (type(value), repr(value))


def test_what_comes_in_pieces_or_together_takes_the_long_way(in_use):
    host, worker = called()
    worker.send_row(1, [1, "get", "x"])
    worker.send_row(1, [2, "get", "y"])
    worker.send(0, Log(30, "", "said"))
    data = worker.data_to_send()
    assert host.receive_event(data[:7]) is None
    assert host.undigested == 7
    assert host.receive_event(data[7:]) == (1, Op([[1, "get", "x"]]))
    assert host.undigested
    assert host.next_event() == (1, Op([[2, "get", "y"]]))
    assert host.next_event() == (0, Log(30, "", "said"))
    assert not host.undigested


@pytest.mark.parametrize("row", [[1, "drop_database"], [1, "get", 5], ["1", "get", "x"], [1, "get"], []], ids=repr)
def test_an_operation_that_is_none_is_refused_as_ever(in_use, row):
    host, _ = called()
    payload = codec.encode([[row]])
    with pytest.raises(RemoteProtocolError) as caught:
        host.receive_event(pack_header(len(payload), Op.number, 0, 1) + payload)

    with pytest.raises(RemoteProtocolError) as again:
        host.next_event()

    assert again.value is caught.value
    assert host.state() == "broken"


def test_after_a_fault_nothing_comes_out_by_the_short_way_either(in_use):
    host, worker = called()
    worker.send_row(1, [1, "get", "x"])
    good = worker.data_to_send()
    with pytest.raises(RemoteProtocolError):
        host.receive_event(pack_header(1, 77, 0, 1) + b"\xc0")

    with pytest.raises(RemoteProtocolError):
        host.receive_event(good)


def test_on_a_stream_that_was_not_called_it_is_illegal(in_use):
    host, _ = called()
    payload = codec.encode([[[1, "get", "x"]]])
    with pytest.raises(RemoteProtocolError):
        host.receive_event(pack_header(len(payload), Op.number, 0, 5) + payload)


def test_what_has_no_encoded_form_is_refused_and_nothing_is_queued(in_use):
    _, worker = called()
    with pytest.raises(Unencodable) as caught:
        worker.send_row(1, [1, "set", "x", object()])

    assert caught.value.path == "ops[0][3]"
    assert worker.data_to_send() == b""


def test_a_row_larger_than_a_frame_goes_in_chunks(in_use):
    host, worker = called()
    text = "x" * 600_000
    worker.send_row(1, [1, "set", "x", text])
    worker.send_row(1, [2, "get", "x"])
    found, event = [], host.receive_event(worker.data_to_send())
    while event is not None:
        found.append(event[1].ops[0][:2])
        event = host.next_event()

    assert found == [[1, "set"], [2, "get"]]


@pytest.mark.parametrize(
    "data", [b"", bytes(9), pack_header(4, 5, 0, 1) + b"abc", pack_header(2, 5, 0, 1) + b"abc", pack_header(3, 5, 1, 1) + b"abc"]
)
def test_only_one_whole_frame_without_flags_is_alone(data):
    assert FrameBuffer(100).alone(data) is None


def test_a_frame_is_not_alone_behind_what_is_there_or_beyond_the_limit():
    buffer = FrameBuffer(3)
    frame = pack_header(3, 5, 0, 1) + b"abc"
    assert buffer.alone(frame) == (5, 1, b"abc")
    assert FrameBuffer(2).alone(frame) is None
    buffer.feed(b"\0")
    assert buffer.alone(frame) is None
