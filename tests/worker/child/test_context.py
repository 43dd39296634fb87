"""`ctx` in a worker: what a program may ask, who else may ask with it, and for how long."""

from __future__ import annotations

import pytest
from worker.child.blocking_host import Store
from worker.child.conftest import INTERPRETERS

from dspex._exceptions import VersionConflict
from dspex.wire import Op, OpReply

P = "child_programs:"
USED = {
    "id": "ctx_1",
    "set": 1,
    "update": 8.0,
    "add": 9.5,
    "append": 1,
    "merge": 1,
    "get_many": {"x": 9.5, "rows": [1, 3]},
    "set_many": {"x": 4},
    "define": "var_fresh_1",
    "delete": None,
    "exists": [True, False],
    "info": ["x", 0, None],
    "list": ["x", "rows", "table"],
}


def store():
    return Store(x=1.0, rows=[1], table={"a": 1})


@pytest.mark.parametrize("python", INTERPRETERS)
@pytest.mark.parametrize(("kind", "name"), [("thread", "uses_all"), ("loop", "async_uses_all")])
def test_blocking_and_awaited_contexts_do_the_same(start, python, kind, name):
    variables = store()
    assert start(python).open(kind).call(P + name, serve=variables) == USED
    assert variables.values["table"][0] == {"a": 1, "b": 2}


def test_an_instance_with_an_async_call_gets_ctx_too(loop):
    assert loop.call(P + "AsyncKept", serve=store()) == 1.0


def test_operations_of_one_tick_travel_in_one_frame(loop):
    stream = loop.begin(P + "reads_many_at_once", {"names": ["a", "b", "c"]})
    message = loop.next()[1]
    assert [op[1:] for op in message.ops] == [["get", "a"], ["get", "b"], ["get", "c"]]
    loop.send(stream, OpReply([[op[0], True, op[2].upper()] for op in reversed(message.ops)]))
    assert loop.outcome().value == ["A", "B", "C"]


def test_an_update_that_meets_another_write_runs_again(thread):
    class Contended(Store):
        conflicts = 2

        def do_set(self, key, value, metadata=None, expected=None):
            if expected is not None and self.conflicts:
                self.conflicts -= 1
                super().do_set(key, 10.0)

            return super().do_set(key, value, metadata, expected)

    variables = Contended(x=1.0)
    thread.begin(P + "updates", {"name": "x"})
    assert thread.outcome(variables).value == 20.0
    assert variables.asked.count("read") == 3


def test_an_error_is_dspexs_own_class_where_dspex_is_imported(start):
    import sys

    from worker.child.blocking_host import IMPORTABLE

    thread = start(path=[str(IMPORTABLE), *sys.path]).open()
    assert thread.call(P + "catches_missing", serve=store()).startswith("No variable 'nope' in context 'ctx_1'.")


@pytest.mark.parametrize("python", INTERPRETERS)
def test_an_error_is_the_builtin_one_would_catch_where_it_is_not(start, python):
    thread = start(python).open()
    assert thread.call(P + "catches_missing_as_key_error", serve=store()) == ["VariableNotFound", "a default"]


def test_an_error_of_ctx_that_leaves_the_program_is_its_failure(thread):
    error = thread.failure(P + "reads", {"name": "nope"}, serve=store())
    assert error.code == "ProgramFailed"
    assert error.facts["type"] == "dspex._exceptions.VariableNotFound"
    assert "builtins.KeyError" in error.facts["types"]
    assert "_dspex_child" not in error.sentence


def test_a_value_that_can_not_leave_is_refused_with_its_path_and_nothing_is_sent(thread):
    variables = store()
    error = thread.failure(P + "sets_unencodable", serve=variables)
    assert error.facts["type"] == "dspex._exceptions.InvalidValue"
    assert error.facts["message"].startswith("Variable 'x' at ['rows'][1]: expected a value that can leave the worker, got object (")
    assert variables.asked == []


def test_of_several_operations_only_the_one_that_can_not_leave_fails(loop):
    refused, version = loop.call(P + "async_sets_two", serve=store())
    assert "expected a value that can leave the worker" in refused
    assert version == "1"


def test_arguments_the_host_would_hang_up_on_are_type_errors(thread):
    error = thread.failure(P + "adds_oddly", serve=store())
    assert error.facts["type"] == "builtins.TypeError"
    assert error.facts["message"] == "The operation add: expected n as int or float, got str."
    assert thread.call(P + "echo", {"value": 1}) == 1


def test_a_large_value_is_set_and_read(thread, loop):
    large = bytes(2_000_000)
    assert thread.call(P + "sets", {"value": large}, serve=store()) == 1
    assert loop.call(P + "async_reads", {"name": "x"}, serve=Store(x=large)) == large


def test_threads_of_a_program_share_its_ctx(thread):
    variables = Store(**{f"v{n}": n for n in range(5)})
    names = list(variables.values)
    assert thread.call(P + "uses_threads", {"names": names}, serve=variables) == {name: n for n, name in enumerate(names)}


def test_a_thread_left_behind_gets_a_clear_error(thread):
    assert thread.call(P + "leaves_a_thread", serve=store()) == "left"
    name, sentence = thread.call(P + "left_behind")
    assert name == "ContextClosed"
    assert sentence == (
        "Context 'ctx_1' is closed to 'tested'. The call it was lent to has ended. "
        "Do what needs ctx before the program returns, and wait for your threads."
    )


def test_a_thread_that_waits_for_an_answer_when_the_program_returns_is_told(thread):
    stream = thread.begin(P + "leaves_a_waiting_thread")
    op = thread.next()[1]
    assert isinstance(op, Op)
    assert thread.outcome().value == "left"
    thread.send(stream, OpReply([[op.ops[0][0], True, "too late"]]))
    assert thread.call(P + "left_behind")[0] == "ContextClosed"


def test_an_async_ctx_is_for_the_loops_thread(loop):
    assert loop.call(P + "uses_ctx_off_the_loop", serve=store()) == "WrongThread"


def test_a_fork_of_the_worker_gets_an_error_and_harms_nobody(thread):
    assert thread.call(P + "forks", serve=store()) == ["CallCancelled", 1.0]
    assert thread.call(P + "echo", {"value": 1}) == 1


def test_a_fork_of_the_worker_can_be_terminated(thread):
    assert thread.call(P + "terminates_a_fork") == 15


@pytest.mark.parametrize(("kind", "name"), [("thread", "current_context"), ("loop", "async_current_context")])
def test_code_that_is_not_handed_ctx_can_find_the_running_call(worker, kind, name):
    assert worker.open(kind).call(P + name) == "ctx_1"


def test_calls_at_once_find_each_their_own(loop):
    first = loop.begin(P + "async_current_context_later", context="ctx_a")
    second = loop.begin(P + "async_current_context_later", context="ctx_b")
    ops = {stream: message.ops[0][0] for stream, message in (loop.next(), loop.next())}
    for stream in (second, first):
        loop.send(stream, OpReply([[ops[stream], True, None]]))

    found = dict(loop.next() for _ in range(2))
    assert {stream: reply.value for stream, reply in found.items()} == {first: "ctx_a", second: "ctx_b"}


def test_conflicts_are_told_as_such(thread):
    def conflicting(name, args):
        raise VersionConflict("x", expected=1, actual=2)

    error = thread.failure(P + "sets", {"value": 1}, serve=conflicting)
    assert error.facts["type"] == "dspex._exceptions.VersionConflict"
