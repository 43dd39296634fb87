"""Programs in a worker: brought there by path, by value or by factory, told about, called, and how they fail."""

from __future__ import annotations

import sys

import cloudpickle
import pytest
from worker.child.conftest import INTERPRETERS

P = "child_programs:"


def by_value(function, python=sys.version_info[:2]):
    return {"pickle": cloudpickle.dumps(function), "python": list(python)}


# --- bringing them there -------------------------------------------------------------------------------------------------------------


def test_a_path_may_go_through_classes(thread):
    assert thread.call(P + "Outer.Inner.deep") == "deep"


def test_a_class_is_made_once_and_its_instance_called(thread):
    assert [thread.call(P + "Kept") for _ in range(3)] == [1, 2, 3]


def test_a_class_is_made_once_for_all_channels(worker):
    assert [worker.open().call(P + "Kept") for _ in range(3)] == [1, 2, 3]


def test_a_program_travels_by_value(thread):
    factor = 3
    assert thread.call(by_value(lambda x: x * factor), {"x": 14}) == 42


def test_a_value_of_another_python_says_to_move_it_to_a_module(thread):
    error = thread.failure(by_value(len, (3, 8)))
    assert error.code == "InvalidProgram"
    here = ".".join(map(str, sys.version_info[:2]))
    assert error.sentence == (
        f"Program 'tested': it travels by value from Python 3.8, and this worker runs {here}. "
        "Move it to a module that the worker can import, and register it by its path."
    )


def test_a_value_where_cloudpickle_is_missing_says_how_to_install_it(start):
    error = start(warm=False).open().failure(by_value(lambda: None))
    assert error.code == "InvalidProgram"
    assert "has no cloudpickle to load it with" in error.sentence
    assert "-m pip install cloudpickle" in error.sentence


def test_a_factory_is_a_module_of_the_workers_own(thread):
    error = thread.failure({"factory": "modules.no_such_factory:build", "args": {}})
    assert error.code == "ProgramFailed"
    assert error.facts["type"] == "builtins.ModuleNotFoundError"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("nonsense", "'nonsense' is no import path. Write it as \"package.module:function\"."),
        ("child_programs:ecko", "has no attribute 'ecko'. Did you mean 'echo'?"),
        ("child_programs:not_callable", "child_programs:not_callable is 'int', which can't be called. Name a function or a class."),
        ("__main__:main", "__main__ isn't run again in a worker. Move it to a module of its own."),
    ],
)
def test_a_path_that_leads_nowhere_says_what_to_do(thread, path, problem):
    error = thread.failure(path)
    assert error.code == "InvalidProgram"
    assert problem in error.sentence


def test_a_module_that_fails_on_import_gives_the_workers_traceback(thread):
    error = thread.failure("broken_on_import:program", prepare=True)
    assert error.code == "ProgramFailed"
    assert error.facts["type"] == "builtins.RuntimeError"
    assert "broken_on_import.py" in error.facts["traceback"]
    assert "_bootstrap" not in error.facts["traceback"]


def test_a_build_that_failed_is_tried_again(start, tmp_path, monkeypatch):
    monkeypatch.setenv("BROKEN_ONCE", str(tmp_path / "marker"))
    thread = start().open()
    assert thread.failure("broken_once:works").facts["message"] == "not yet"
    assert thread.call("broken_once:works") == "works"


def test_an_unknown_key_without_a_definition_asks_for_it(thread):
    assert thread.failure(None).code == "ProgramNotFound"


def test_many_channels_that_want_the_same_program_build_it_once(worker):
    channels = [worker.open() for _ in range(4)]
    for channel in channels:
        channel.begin(P + "Kept")

    assert sorted(channel.outcome().value for channel in channels) == [1, 2, 3, 4]


# --- telling about them --------------------------------------------------------------------------------------------------------------


def test_prepare_tells_kind_signature_parameters_and_doc(thread):
    told = thread.call(P + "shaped", prepare=True)
    assert told["kind"] == "sync"
    assert told["signature"] == "(first, /, text: str, limit: int = 10, *rest, strict: bool = False, **more) -> str"
    assert told["doc"] == "What it does."
    assert [(p["name"], p["kind"], p["required"]) for p in told["parameters"]] == [
        ("first", "positional", True),
        ("text", "any", True),
        ("limit", "any", False),
        ("rest", "arguments", False),
        ("ctx", "keyword", True),
        ("strict", "keyword", False),
        ("more", "keywords", False),
    ]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("echo", "sync"),
        ("async_total", "async"),
        ("counting", "generator"),
        ("async_counting", "async generator"),
        ("AsyncKept", "async"),
        ("Kept", "sync"),
    ],
)
def test_prepare_tells_the_four_kinds_apart(thread, name, kind):
    assert thread.call(P + name, prepare=True)["kind"] == kind


def test_prepare_works_on_the_loops_channel_too(loop):
    assert loop.call(P + "async_total", prepare=True)["signature"] == "(x, y=10)"


def test_prepare_runs_nothing(thread):
    thread.call(P + "Kept", prepare=True)
    assert thread.call(P + "Kept") == 1


# --- calling them --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("python", INTERPRETERS)
def test_sync_programs_run_on_threads_and_async_ones_on_the_loop(start, python):
    worker = start(python)
    assert worker.open().call(P + "total", {"x": 1}) == 11
    assert worker.open("loop").call(P + "async_total", {"x": 1, "y": 2}) == 3


def test_the_reply_tells_the_seconds_it_took(thread):
    thread.begin(P + "echo")
    assert 0 <= thread.outcome().meta["seconds"] < 10


def test_many_async_programs_run_at_once(loop):
    waiting = loop.begin(P + "waits_forever")
    assert loop.call(P + "async_total", {"x": 1}) == 11
    assert loop.connection.state(waiting) == "called"


def test_large_values_travel_both_ways(thread, loop):
    large = {"blob": bytes(3_000_000), "rows": list(range(200_000))}
    assert thread.call(P + "echo", {"value": large}) == large
    assert loop.call(P + "async_total", {"x": large["blob"], "y": b"!"}) == large["blob"] + b"!"


def test_enum_members_and_records_of_the_host_are_those_of_the_worker(thread):
    import importlib.util

    from worker.child.blocking_host import IMPORTABLE

    spec = importlib.util.spec_from_file_location("child_enums", IMPORTABLE / "child_enums.py")
    classes = importlib.util.module_from_spec(spec)
    sys.modules["child_enums"] = classes
    try:
        spec.loader.exec_module(classes)
        assert thread.call(P + "kind_of", {"value": classes.Color.BLUE}) == ["child_enums", "Color", "<Color.BLUE: 2>"]
        assert thread.call(P + "kind_of", {"value": classes.Point(1.0, 2.0)}) == ["child_enums", "Point", "Point(x=1.0, y=2.0)"]
    finally:
        del sys.modules["child_enums"]


def test_a_label_that_does_not_import_stays_tagged(thread):
    from dspex.wire import Tagged

    tagged = Tagged("enum", "nowhere.to_be_found:Color", "RED")
    assert thread.call(P + "kind_of", {"value": tagged})[1] == "Tagged"
    assert thread.call(P + "echo", {"value": tagged}) == tagged


def test_nothing_that_one_call_sets_is_seen_by_the_next(thread):
    assert [thread.call(P + "leaks_a_context_variable") for _ in range(2)] == ["clean", "clean"]


@pytest.mark.parametrize(("name", "article"), [("counting", "a generator"), ("async_counting", "an async generator")])
def test_a_streaming_program_is_refused(worker, name, article):
    for kind in ("thread", "loop"):
        error = worker.open(kind).failure(P + name, {"n": 3})
        assert error.code == "InvalidProgram"
        assert error.sentence == f"Program 'tested': it is {article} function. Streaming programs need bound.stream."


def test_a_program_on_the_wrong_kind_of_channel_is_refused(thread, loop):
    assert (
        thread.failure(P + "async_total", {"x": 1}).sentence
        == "Program 'tested': it is a coroutine function and runs on the loop's channel."
    )
    assert loop.failure(P + "total", {"x": 1}).sentence == "Program 'tested': it is a plain function and runs on a thread's channel."


@pytest.mark.parametrize(("kind", "name"), [("thread", "total"), ("loop", "async_total")])
def test_inputs_that_do_not_fit_are_no_failure_of_the_program(worker, kind, name):
    error = worker.open(kind).failure(P + name, {"z": 1})
    assert error.code == "InvalidInputs"
    assert "unexpected keyword argument 'z'" in error.sentence


def test_ctx_is_not_for_callers_to_give(thread):
    assert thread.failure(P + "reads", {"name": "x", "ctx": 1}).code == "InvalidInputs"


# --- how they fail -------------------------------------------------------------------------------------------------------------------


def test_an_exception_is_told_with_type_message_bases_and_traceback(thread):
    error = thread.failure(P + "raises")
    assert error.code == "ProgramFailed"
    assert error.applied is None
    assert error.facts["program"] == "tested"
    assert error.facts["type"] == "builtins.LookupError"
    assert error.facts["message"] == "none of it"
    assert error.facts["types"] == ["builtins.LookupError", "builtins.Exception", "builtins.BaseException"]
    assert "ValueError: not today" in error.facts["traceback"]
    assert "direct cause" in error.facts["traceback"]
    assert "worker/child/slot.py" not in error.facts["traceback"]


@pytest.mark.parametrize(
    ("kind", "name", "type_name"),
    [
        ("thread", "exits", "builtins.SystemExit"),
        ("thread", "interrupts", "builtins.KeyboardInterrupt"),
        ("thread", "aborts", "child_programs.Aborted"),
        ("thread", "recursive", "builtins.RecursionError"),
        ("thread", "raises_unspeakable", "child_programs.Unspeakable"),
        ("loop", "async_exits", "builtins.SystemExit"),
    ],
)
def test_whatever_a_program_raises_fails_its_call_and_not_the_worker(worker, kind, name, type_name):
    channel = worker.open(kind)
    assert channel.failure(P + name).facts["type"] == type_name
    assert channel.call(P + "async_total", {"x": 1}) == 11 if kind == "loop" else channel.call(P + "echo", {"value": 1}) == 1


def test_an_exit_in_a_programs_task_does_not_end_the_loop(loop):
    assert loop.call(P + "async_exits_in_a_task") == "from a task"
    assert loop.call(P + "async_total", {"x": 1}) == 11


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("returns_unencodable", "at result['rows'][1]['handle']: got object (this type has no encoded form"),
        ("returns_too_deep", "characters left out"),
        ("returns_itself", "it nests too deep, or contains itself"),
        ("returns_odd_keys", "key"),
    ],
)
def test_a_result_that_can_not_be_encoded_is_told_with_its_path(thread, name, where):
    error = thread.failure(P + name)
    assert error.code == "ProgramFailed"
    assert error.facts["type"] == "dspex._exceptions.InvalidValue"
    assert error.facts["message"].startswith("its result can't leave the worker: at result")
    assert where in error.facts["message"]
    assert thread.call(P + "echo", {"value": 1}) == 1
