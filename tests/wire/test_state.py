"""Who may say what, when: every pair of state and message, on both ends."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from dspex._exceptions import LocalProtocolError, RemoteProtocolError
from dspex.wire import (
    Call,
    Cancel,
    Changed,
    Channel,
    Close,
    Connection,
    Drain,
    Error,
    Hello,
    Log,
    Message,
    Op,
    OpReply,
    Reply,
    _state,
)
from dspex.wire._state import KINDS, LATE

MESSAGES: list[Message] = [
    Hello(),
    Call(["key", None], {}),
    Reply(1),
    Error("DspexError"),
    Op([[1, "ids"]]),
    OpReply([[1, True, []]]),
    Changed([]),
    Cancel(),
    Log(30),
    Drain(),
    Close(),
    Channel("thread", 0),
]
HOST, WORKER = "host", "worker"
ENDS = {HOST: WORKER, WORKER: HOST}
CALL = Call(["key", None], {})

# How each state is reached: (who sends, stream, message), ... The state is then asked for on the last column's stream.
REACHED: dict[tuple[str, str], tuple[list[tuple[str, int, Message]], int]] = {
    ("control", "new"): ([], 0),
    ("control", "greeted"): ([(HOST, 0, Hello())], 0),
    ("control", "open"): ([(HOST, 0, Hello()), (WORKER, 0, Hello())], 0),
    ("control", "draining"): ([(HOST, 0, Hello()), (WORKER, 0, Hello()), (HOST, 0, Drain())], 0),
    ("control", "closed"): ([(HOST, 0, Close())], 0),
    ("thread", "open"): ([], 0),
    ("thread", "closed"): ([(HOST, 0, Close())], 0),
    ("thread", "idle"): ([], 1),
    ("thread", "called"): ([(HOST, 1, CALL)], 1),
    ("thread", "busy"): ([(HOST, 1, CALL)], 2),
    ("thread", "replied"): ([(HOST, 1, CALL), (WORKER, 1, Reply(1))], 1),
    ("loop", "open"): ([], 0),
    ("loop", "closed"): ([(WORKER, 0, Close())], 0),
    ("loop", "idle"): ([(HOST, 1, CALL)], 2),
    ("loop", "called"): ([(HOST, 1, CALL), (HOST, 2, CALL)], 1),
    ("loop", "replied"): ([(HOST, 1, CALL), (WORKER, 1, Error("DspexError"))], 1),
}


def _at(kind: str, state: str) -> tuple[dict[str, Connection], int]:
    """Both ends of a connection brought to *state*, and the stream that is in it."""
    pair = {role: Connection(role, kind) for role in ENDS}
    steps, stream = REACHED[kind, state]
    for sender, on, message in steps:
        _cross(pair, sender, on, message)

    assert [end.state(stream) for end in pair.values()] == [state, state]
    return pair, stream


def _cross(pair: dict[str, Connection], sender: str, stream: int, message: Message) -> Any:
    pair[sender].send(stream, message)
    receiver = pair[ENDS[sender]]
    receiver.receive(pair[sender].data_to_send())
    return receiver.next_event()


def _after(kind: str, state: str, stream: int, sender: str, message: Message) -> str | None:
    _, own, streams = KINDS[kind]
    return (streams if stream else own).get((state, sender, type(message).__name__))


PAIRS = [(kind, state, sender, message) for (kind, state), sender, message in product(REACHED, ENDS, MESSAGES)]


def _name(value: object) -> str:
    return type(value).__name__ if isinstance(value, Message) else str(value)


@pytest.mark.parametrize(("kind", "state", "sender", "message"), PAIRS, ids=_name)
def test_a_message_crosses_where_the_table_has_it_and_nowhere_else(kind: str, state: str, sender: str, message: Message) -> None:
    pair, stream = _at(kind, state)
    after = _after(kind, state, stream, sender, message)
    if after is None:
        _check_refused_here(pair[sender], stream, message)
        _check_refused_there(kind, state, sender, message)
    elif after == LATE:
        assert _cross(pair, sender, stream, message) is None
        assert [end.state(stream) for end in pair.values()] == [state, state]
    else:
        assert _cross(pair, sender, stream, message) == (stream, message)
        assert [end.state(stream) for end in pair.values()] == [after, after]


def _check_refused_here(end: Connection, stream: int, message: Message) -> None:
    before = end.state(stream), end.state()
    with pytest.raises(LocalProtocolError) as refused:
        end.send(stream, message)

    assert type(message).__name__ in str(refused.value)
    assert end.state(stream) in str(refused.value)
    assert (end.state(stream), end.state()) == before
    assert end.data_to_send() == b""


def _check_refused_there(kind: str, state: str, sender: str, message: Message) -> None:
    pair, stream = _at(kind, state)
    receiver = pair[ENDS[sender]]
    receiver.receive(_frame(stream, message))
    with pytest.raises(RemoteProtocolError) as refused:
        receiver.next_event()

    assert refused.value.code == "illegal"
    assert receiver.state() == "broken"
    with pytest.raises(RemoteProtocolError) as again:
        receiver.next_event()

    assert again.value is refused.value
    _check_all_that_is_left_is_closing(receiver)


def _check_all_that_is_left_is_closing(end: Connection) -> None:
    with pytest.raises(LocalProtocolError):
        end.send(0, Log(30))

    end.send(0, Close("illegal", "no"))
    assert end.data_to_send()
    assert end.state() == "closed"


def _frame(stream: int, message: Message) -> bytes:
    from dspex.wire import encode
    from dspex.wire.framing import pack_header

    payload = encode(message.values())
    return pack_header(len(payload), message.number, 0, stream) + payload


def test_every_state_and_message_of_the_table_was_tried() -> None:
    names = {type(message).__name__ for message in MESSAGES}
    for kind, (start, own, streams) in KINDS.items():
        rules = {**own, **streams}
        states = {start} | {rule[0] for rule in rules} | set(rules.values()) - {LATE}
        assert states - {"broken"} <= {state for known, state in REACHED if known == kind}
        assert {rule[2] for rule in rules} <= names


def test_the_sentence_says_who_what_and_where() -> None:
    with pytest.raises(LocalProtocolError) as refused:
        Connection("worker", "thread").send(7, Reply(1))

    assert str(refused.value) == "The worker may not send Reply on stream 7, which is idle (thread)."
    with pytest.raises(LocalProtocolError) as refused:
        Connection("host", "control").send(0, Drain())

    assert str(refused.value) == "The host may not send Drain on a connection that is new (control)."


def test_a_thread_serves_call_after_call_and_a_stream_is_never_used_twice() -> None:
    pair, _ = _at("thread", "replied")
    with pytest.raises(LocalProtocolError, match="may not send Call on stream 1, which is replied"):
        pair[HOST].send(1, CALL)

    assert _cross(pair, HOST, 2, CALL) == (2, CALL)
    assert pair[HOST].calls == pair[WORKER].calls == 1


def test_a_loop_channel_carries_many_calls() -> None:
    pair, _ = _at("loop", "open")
    for stream in range(1, 101):
        _cross(pair, HOST, stream, CALL)

    assert pair[WORKER].calls == 100
    for stream in range(100, 0, -1):
        _cross(pair, WORKER, stream, Reply(stream))

    assert pair[HOST].calls == pair[WORKER].calls == 0
    assert pair[HOST].state(50) == "replied"


def test_a_hello_of_another_protocol_is_refused_with_both_versions() -> None:
    host = Connection("host", "control")
    host.send(0, Hello())
    host.receive(_frame(0, Hello(2, "9.1")))
    with pytest.raises(RemoteProtocolError) as refused:
        host.next_event()

    assert refused.value.code == "unsupported"
    assert str(refused.value) == "The worker (dspex 9.1) speaks protocol 2, this end 1. Use the same dspex on both ends."


def test_late_is_no_state() -> None:
    assert LATE not in {rule[0] for _, own, streams in _state.KINDS.values() for rule in (*own, *streams)}
