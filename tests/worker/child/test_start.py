"""How a worker starts: the greeting, where it settles, what it loads, and how it ends when asked to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from worker.child.blocking_host import BOOT, IMPORTABLE, Over, Worker
from worker.child.conftest import INTERPRETERS

from dspex.wire import Close, Drain, Hello, Log

HEAVY = ("asyncio", "ctypes", "enum", "inspect", "msgpack", "msgspec", "re", "socket", "threading", "traceback", "typing")


@pytest.mark.parametrize("python", INTERPRETERS)
def test_the_answer_to_the_hello_says_who_the_worker_is(start, python):
    worker = start(python)
    assert isinstance(worker.hello, Hello)
    assert worker.hello.config["pid"] == worker.process.pid
    assert worker.hello.config["implementation"] == "cpython"
    assert worker.hello.config["ready_ns"] > worker.started
    assert ".".join(map(str, worker.hello.python)) == worker.hello.config["python"]


@pytest.mark.parametrize("python", INTERPRETERS)
def test_a_worker_needs_nothing_of_ours_installed(start, python):
    worker = start(python, warm=False)
    assert worker.open().call("child_programs:echo", {"value": [1, "two", b"3"]}) == [1, "two", b"3"]
    assert worker.hear(Log).text == "imported"
    assert worker.hear(Log).facts["codec"] == "pure"


def test_what_is_loaded_before_the_answer_is_light():
    code = f"import sys; sys.argv[1:] = ['9']; sys.path.insert(0, {str(BOOT.parent)!r}); import boot; boot.adopt(); "
    code += "import _dspex_child.worker.child.control; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE, check=True).stdout.decode().split()
    assert not set(HEAVY) & set(loaded)


def test_the_hosts_path_comes_first_and_each_entry_once(worker):
    found = worker.open().call("child_programs:where_am_i")
    assert found["path"][0] == str(IMPORTABLE)
    assert len(set(found["path"])) == len(found["path"])


def test_the_worker_settles_in_the_directory_it_is_given(start, tmp_path):
    found = start(cwd=str(tmp_path)).open().call("child_programs:where_am_i")
    assert found["cwd"] == str(tmp_path)


def test_a_directory_that_does_not_exist_is_told_instead_of_a_hello(start, tmp_path):
    worker = start(greet=False, cwd=str(tmp_path / "nowhere"))
    answer = worker.greet()
    assert isinstance(answer, Close)
    assert answer.code == "start_failed"
    assert "nowhere" in answer.reason
    assert "No such file or directory" in answer.reason
    assert worker.wait() == 70


def test_another_protocol_is_told_as_unsupported(start):
    worker = start(greet=False)
    worker.control.send(0, Hello(99))
    answer = worker.control.next()[1]
    assert answer.code == "unsupported"
    assert "protocol 99" in answer.reason
    assert worker.wait() == 70


def test_garbage_on_the_control_connection_ends_the_worker(worker):
    worker.control.sock.sendall(b"\xff" * 64)
    with pytest.raises(Over):
        worker.hear(Hello)

    assert worker.wait() == 70


def test_the_modules_of_imports_are_loaded_before_the_first_call(start):
    worker = start(imports=["child_enums", "broken_on_import", "no_such_module"])
    told = worker.hear(Log)
    assert told.text == "imported"
    assert sorted(told.facts["failed"]) == ["broken_on_import", "no_such_module"]
    assert "RuntimeError: this module is broken" in told.facts["failed"]["broken_on_import"]


def test_a_faster_codec_is_taken_where_there_is_one(worker):
    assert worker.hear(Log).text == "imported"
    assert worker.hear(Log).facts["codec"] == "msgspec"


def test_the_real_dspex_in_a_worker_is_another_one(start):
    worker = start(path=[str(IMPORTABLE), *sys.path])
    thread = worker.open()
    assert thread.call("child_programs:where_am_i")["dspex"] == []
    assert thread.call("dspex._exceptions:ProgramNotFound.__subclasses__") == []
    assert "dspex" in thread.call("child_programs:where_am_i")["dspex"]


def test_the_main_module_is_the_workers_own(worker):
    assert worker.open().call("child_programs:where_am_i")["main"] == str(BOOT)


def test_a_worker_leads_its_own_process_group(worker):
    assert worker.open().call("child_programs:where_am_i")["pgid"] == worker.process.pid


def test_close_ends_it_with_code_0_and_runs_what_was_registered_for_exit(start, tmp_path):
    worker = start(path=[str(tmp_path), str(IMPORTABLE)])
    Path(tmp_path / "registers.py").write_text("import atexit\ndef program():\n    atexit.register(print, 'left in order')\n")
    worker.open().call("registers:program")
    assert worker.leave() == (0, "left in order\n")


def test_close_does_not_wait_for_a_running_program(worker):
    worker.open().begin("child_programs:busy")
    assert worker.leave()[0] == 0


def test_sigint_is_ignored(worker):
    os.kill(worker.process.pid, signal.SIGINT)
    assert worker.open().call("child_programs:echo", {"value": 1}) == 1


def test_sigterm_asks_the_host_to_drain_and_the_worker_goes_on(worker):
    thread = worker.open()
    os.kill(worker.process.pid, signal.SIGTERM)
    assert worker.hear(Drain) == Drain()
    assert thread.call("child_programs:echo", {"value": 1}) == 1
    assert worker.leave()[0] == 0


def test_a_second_sigterm_ends_it(worker):
    os.kill(worker.process.pid, signal.SIGTERM)
    worker.hear(Drain)
    os.kill(worker.process.pid, signal.SIGTERM)
    assert worker.wait() == 143


def test_what_a_program_starts_has_the_default_signals_and_none_of_our_descriptors(worker):
    thread = worker.open()
    worker.open("loop")
    assert thread.call("child_programs:signal_dispositions_of_a_child") == ["True", "True"]
    assert thread.call("child_programs:open_descriptors_of_a_child") == []


def test_last_words_are_not_lost_with_a_killed_worker(worker):
    worker.open().begin("child_programs:prints_and_dies")
    assert worker.wait() == -signal.SIGKILL
    assert worker.close() == "to stdout\nto stderr\n"


def test_a_channel_that_the_host_closes_leaves_the_others_alone(worker):
    first, second = worker.open(), worker.open()
    first.close()
    assert second.call("child_programs:echo", {"value": 2}) == 2
    assert Worker.leave(worker)[0] == 0
