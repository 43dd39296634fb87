"""What may be asked of a pool, and how that starts its workers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dspex.worker.host import Pool
from dspex.worker.host.launch import BOOT, plan_launch
from dspex.worker.host.process import ended_in_words


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"workers": 0}, ValueError, "workers: expected at least 1, got 0."),
        ({"workers": "2"}, TypeError, "workers: expected an int, got '2'."),
        ({"concurrency": True}, TypeError, "concurrency: expected an int, got True."),
        ({"queue": -1}, ValueError, "queue: expected at least 0, got -1."),
        ({"kill_after": -1.0}, ValueError, "kill_after: expected seconds, 0 or more, got -1.0."),
        ({"kill_after": float("nan")}, ValueError, "kill_after: expected seconds, 0 or more, got nan."),
        ({"max_calls": 0}, ValueError, "max_calls: expected at least 1, got 0."),
        ({"imports": "numpy"}, TypeError, "Expected a sequence of texts, got one: 'numpy'. Put it in a list."),
        ({"python": 3}, TypeError, "python: expected the path of an interpreter, or its name on PATH, got 3."),
        ({"cwd": 3}, TypeError, "cwd: expected the path of a directory, got 3."),
        ({"env": {"A": 1}}, TypeError, "env: expected names and values of type str, got 'A': 1."),
    ],
)
def test_an_option_out_of_its_range_is_refused_in_words(options, error, words):
    with pytest.raises(error) as caught:
        Pool(**options)

    assert str(caught.value) == words


def test_a_worker_of_this_interpreter_skips_site_and_gets_the_host_s_path_and_directory():
    launch = plan_launch("default", Pool(path=[Path("/first")], imports=["json"]))
    assert launch.command(3, 4) == [sys.executable, "-I", "-S", BOOT, "3", "4"]
    assert Path(BOOT).is_file()
    assert launch.config["path"] == ["/first", *(entry or os.getcwd() for entry in sys.path)]
    assert (launch.config["cwd"], launch.config["imports"]) == (os.getcwd(), ["json"])
    assert launch.environment is None


def test_a_worker_of_another_interpreter_gets_what_the_pool_names_and_nothing_else():
    launch = plan_launch("ocr", Pool(python="/opt/python3.9", path=["/there"], env={"A": "1"}))
    assert launch.command(3, 4) == ["/opt/python3.9", "-I", BOOT, "3", "4"]
    assert launch.config == {"path": ["/there"], "imports": []}
    assert launch.environment == {**os.environ, "A": "1"}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exited with code 0"),
        (3, "exited with code 3"),
        (-11, "was killed by SIGSEGV (signal 11)"),
        (-64, "was killed by SIGRTMAX (signal 64)"),
        (-63, "was killed by an unnamed signal (signal 63)"),
        (None, "ended in a way nobody saw"),
    ],
)
def test_an_exit_code_in_words(code, words):
    assert ended_in_words(code) == words
