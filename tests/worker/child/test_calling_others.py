"""What a program in a worker asks when it calls another one of its context."""

from __future__ import annotations

import pytest
from worker.child.conftest import INTERPRETERS

from dspex._exceptions import CallTimeout, ProgramFailed, ProgramNotFound
from dspex.wire import Op, OpReply

P = "child_programs:"
BOTH = pytest.mark.parametrize(("kind", "prefix"), [("thread", P), ("loop", P + "async_")], ids=["sync", "async"])


@pytest.mark.parametrize("python", INTERPRETERS)
@BOTH
def test_a_call_is_an_operation_with_the_inputs_and_the_timeout(start, python, kind, prefix):
    asked = []

    def serve(name, args):
        asked.append((name, args))
        return {"n": 2}

    channel = start(python).open(kind)
    assert channel.call(prefix + "calls", {"program": "other", "inputs": {"n": 1}, "timeout": 2.5}, serve=serve) == {"n": 2}
    assert channel.call(prefix + "calls", {"program": "other"}, serve=serve) == {"n": 2}
    assert asked == [("call", ["other", {"n": 1}, 2.5]), ("call", ["other", None, None])]


@BOTH
@pytest.mark.parametrize("error", [ProgramNotFound("other"), CallTimeout(what="Program 'other'", seconds=2.0)], ids=type)
def test_what_the_host_answers_is_raised_as_that(worker, kind, prefix, error):
    def serve(_name, _args):
        raise error

    told = worker.open(kind).failure(prefix + "calls", {"program": "other"}, serve=serve)
    assert (told.code, told.facts["type"]) == ("ProgramFailed", f"dspex._exceptions.{type(error).__name__}")


@BOTH
def test_the_failure_of_the_other_one_comes_through_as_it_is(worker, kind, prefix):
    def serve(_name, _args):
        raise ProgramFailed("other", type="builtins.ValueError", message="no", traceback="where", types=["builtins.ValueError"])

    told = worker.open(kind).failure(prefix + "calls", {"program": "other"}, serve=serve)
    assert (told.facts["program"], told.facts["traceback"]) == ("other", "where")


@BOTH
@pytest.mark.parametrize(
    ("inputs", "name"),
    [
        ({"program": "other", "timeout": -1}, "ValueError"),
        ({"program": "other", "timeout": True}, "TypeError"),
        ({"program": 3}, "TypeError"),
    ],
)
def test_what_the_host_would_not_take_is_not_sent(worker, kind, prefix, inputs, name):
    told = worker.open(kind).failure(prefix + "calls", inputs, serve=lambda *_: pytest.fail("it was sent"))
    assert told.facts["type"] == f"builtins.{name}"


def test_a_thread_that_waits_for_a_program_keeps_no_other_from_the_variables(thread):
    thread.begin(P + "calls_in_a_thread_and_reads")
    stream, calling = thread.next()
    _, reading = thread.next()
    assert (calling.ops[0][1], reading.ops[0][1]) == ("call", "get")
    thread.send(stream, OpReply([[reading.ops[0][0], True, "read"]]))
    thread.send(stream, OpReply([[calling.ops[0][0], True, "called"]]))
    assert thread.outcome().value in (["read", "called"], ["called", "read"])


def test_answers_in_one_message_find_each_its_thread(thread):
    thread.begin(P + "calls_in_a_thread_and_reads")
    stream, calling = thread.next()
    _, reading = thread.next()
    thread.send(stream, OpReply([[reading.ops[0][0], True, "read"], [calling.ops[0][0], True, "called"]]))
    assert sorted(thread.outcome().value) == ["called", "read"]


def test_a_call_that_nobody_waits_for_any_more_is_given_up(loop):
    loop.begin(P + "gives_up_a_call")
    asked = []
    while True:
        stream, message = loop.next()
        if not isinstance(message, Op):
            break

        asked += [op[:2] for op in message.ops]
        loop.send(stream, OpReply([[op[0], True, "x"] for op in message.ops if op[1] == "get"]))

    assert message.value == "x"
    names = [name for _number, name in asked]
    assert names.count("cancel") == names.count("call") >= 1
