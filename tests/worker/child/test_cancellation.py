"""Cancellations and deadlines, all the way into the program."""

from __future__ import annotations

import os
import signal
import time

import pytest
from worker.child.blocking_host import PATIENCE, Over, Store

from dspex.wire import Cancel, Close, Drain, Error, Op, OpReply, Reply

P = "child_programs:"


def cancel(worker, thread, stream, reason="its caller has gone"):
    worker.control.send(0, Cancel(reason, thread.index, stream))


def serving_until_it_ends(thread, serve):
    while True:
        stream, message = thread.next()
        if not isinstance(message, Op):
            return message

        thread.send(stream, OpReply([[op[0], True, serve(op)] for op in message.ops]))


def test_a_sync_program_is_told_at_its_next_use_of_ctx(worker, thread):
    stream = thread.begin(P + "notices_cancel")
    thread.next()
    thread.send(stream, OpReply([[1, True, 0]]))
    cancel(worker, thread, stream, "the test says so")
    assert serving_until_it_ends(thread, lambda _op: 0).value[:2] == [
        "CallCancelled",
        "The call of tested was cancelled: the test says so.",
    ]


def test_one_that_waits_for_an_answer_is_told_at_once(worker, thread):
    stream = thread.begin(P + "notices_cancel")
    assert isinstance(thread.next()[1], Op)
    cancel(worker, thread, stream)
    name, _sentence, applied = thread.outcome().value
    assert name == "CallCancelled"
    assert applied is None


def test_an_answer_that_comes_after_that_is_nobodys(worker, thread):
    stream = thread.begin(P + "waits_for_an_answer")
    thread.next()
    cancel(worker, thread, stream)
    outcome = thread.outcome()
    assert isinstance(outcome, Error)
    assert outcome.code == "CallCancelled"
    assert outcome.facts["reason"] == "its caller has gone"
    thread.send(stream, OpReply([[1, True, "late"]]))
    assert thread.call(P + "reads", {"name": "x"}, serve=Store(x="right")) == "right"


def test_a_program_that_returns_anyway_has_returned(worker, thread):
    stream = thread.begin(P + "catches_cancel_and_returns")
    thread.next()
    cancel(worker, thread, stream)
    assert thread.outcome().value == "returned anyway"


def test_a_cancellation_of_a_call_that_has_ended_touches_no_other(worker, thread):
    thread.call(P + "echo")
    cancel(worker, thread, 1)
    stream = thread.begin(P + "reads", {"name": "x"})
    assert stream == 2
    assert thread.outcome(Store(x=1)).value == 1


def test_a_cancellation_that_overtakes_its_call_is_not_lost(worker, thread):
    thread.call(P + "echo")
    cancel(worker, thread, 2, "overtaken")
    os.kill(worker.process.pid, signal.SIGTERM)
    worker.hear(Drain)  # the control connection has been read that far
    error = thread.failure(P + "Kept")
    assert error.code == "CallCancelled"
    assert error.facts["reason"] == "overtaken"
    assert error.applied is False
    assert thread.call(P + "Kept") == 1


def test_a_call_whose_deadline_has_passed_is_not_begun(thread, loop):
    assert thread.failure(P + "Kept", seconds=0).applied is False
    assert loop.failure(P + "AsyncKept", seconds=0).applied is False
    assert thread.call(P + "Kept") == 1


def test_a_cancellation_on_an_unknown_channel_is_nothing(worker, thread):
    worker.control.send(0, Cancel("", 99, 1))
    assert thread.call(P + "echo", {"value": 1}) == 1


def test_an_async_program_is_cancelled_where_it_awaits(loop):
    stream = loop.begin(P + "waits_forever")
    loop.send(stream, Cancel("the test says so"))
    outcome = loop.outcome()
    assert outcome.code == "CallCancelled"
    assert outcome.facts == {"program": "tested", "reason": "the test says so"}


def test_one_that_was_cancelled_before_it_began_answers_too(loop):
    loop.call(P + "async_total", {"x": 1})
    definition = {"path": P + "waits_forever"}
    from dspex.wire import Call

    loop.connection.send(2, Call([repr(definition), definition], {}, meta={"program": "tested"}))
    loop.connection.send(2, Cancel("quick"))
    loop.flush()
    assert loop.outcome().code == "CallCancelled"


def test_cancelling_while_it_is_imported_answers(loop):
    stream = loop.begin(P + "waits_forever")
    loop.send(stream, Cancel("quick"))
    assert loop.outcome().code == "CallCancelled"


def test_a_cancelled_async_program_can_not_use_ctx_any_more(loop):
    stream = loop.begin(P + "cleans_up")
    loop.send(stream, Cancel())
    assert loop.outcome(Store(x=0)).code == "CallCancelled"


def test_an_async_program_that_swallows_it_has_returned(loop):
    loop.call(P + "ignores_cancel", prepare=True)
    stream = loop.begin(P + "ignores_cancel")
    loop.call(P + "async_total", {"x": 1})
    loop.send(stream, Cancel())
    assert loop.outcome().value == "returned anyway"


def test_a_cancellation_nobody_asked_for_is_the_programs_failure(loop):
    error = loop.failure(P + "cancels_itself")
    assert error.code == "ProgramFailed"
    assert error.facts["type"].endswith("CancelledError")


@pytest.mark.parametrize(("kind", "name"), [("thread", "waits_for_an_answer"), ("loop", "waits_forever")])
def test_a_deadline_ends_what_waits(worker, kind, name):
    channel = worker.open(kind)
    channel.call(P + name, prepare=True)
    began = time.monotonic()
    channel.begin(P + name, seconds=0.05)
    while not isinstance(outcome := channel.next()[1], (Reply, Error)):
        pass

    assert outcome.code == "CallCancelled"
    assert outcome.facts["reason"] == "its deadline has passed"
    assert 0.04 < time.monotonic() - began < PATIENCE


def test_a_busy_sync_program_meets_its_deadline_at_its_next_use_of_ctx(thread):
    thread.begin(P + "reads_forever", seconds=0.05)
    outcome = serving_until_it_ends(thread, lambda _op: 0)
    assert outcome.code == "CallCancelled"
    assert outcome.facts["reason"] == "its deadline has passed"


def test_a_deadline_that_is_not_reached_changes_nothing(thread, loop):
    assert thread.call(P + "reads", {"name": "x"}, serve=Store(x=1), seconds=60) == 1
    assert loop.call(P + "async_reads", {"name": "x"}, serve=Store(x=1), seconds=60) == 1


def test_a_task_left_behind_gets_a_clear_error(loop):
    assert loop.call(P + "leaves_a_task", serve=Store(x=1)) == "left"
    name, sentence = loop.call(P + "task_left_behind")
    assert name == "ContextClosed"
    assert "The call it was lent to has ended" in sentence


def test_a_channel_that_goes_away_cancels_its_program(worker, thread, tmp_path):
    thread.begin(P + "tells_a_file_how_it_ended", {"path": str(tmp_path / "told")})
    thread.next()
    thread.close()
    other = worker.open()
    assert other.call(P + "waits_for_file", {"path": str(tmp_path / "told")}) == "CallCancelled"


def test_the_loops_channel_going_away_cancels_all_its_programs(worker, loop, tmp_path):
    loop.begin(P + "async_tells_a_file_how_it_ended", {"path": str(tmp_path / "told")})
    loop.next()
    loop.close()
    assert worker.open().call(P + "waits_for_file", {"path": str(tmp_path / "told")}) == "CancelledError"
    assert worker.open("loop").call(P + "async_total", {"x": 1}) == 11


@pytest.mark.parametrize("kind", ["thread", "loop"])
def test_garbage_on_a_channel_closes_that_one_only(worker, kind):
    spoiled, fine = worker.open(kind), worker.open()
    spoiled.sock.sendall(b"\xff" * 64)
    assert isinstance(spoiled.next()[1], Close)
    with pytest.raises(Over):
        spoiled.next()

    assert fine.call(P + "echo", {"value": 1}) == 1
