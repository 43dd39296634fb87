"""``dspex top`` as it is typed: what it says where it can't begin, and once in a real terminal."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from repl.terminal import Terminal

import dspex._top
from dspex.__main__ import main

GONE = "\x1b[?1049l"
"""What gives a terminal back the screen it had."""


def test_without_a_path_it_explains(capsys):
    assert main(["top"]) == 2
    told = capsys.readouterr().err
    assert "monitor.serve(" in told
    assert "dspex top /run/app/dspex.sock" in told
    assert "dspex top --demo" in told


def test_a_path_and_the_demo_are_one_too_many(capsys):
    with pytest.raises(SystemExit):
        main(["top", "/run/s", "--demo"])

    assert "not both" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "1e9", "soon"])
def test_an_interval_that_is_none(seconds, capsys):
    with pytest.raises(SystemExit):
        main(["top", "/run/s", "--every", seconds])

    assert "--every" in capsys.readouterr().err


def test_without_textual_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(dspex._top, "find_spec", lambda name: None)
    assert main(["top", "--demo"]) == 1
    assert "pip install 'dspex[top]'" in capsys.readouterr().err


def test_without_a_terminal_it_says_what_else_there_is(capsys):
    assert main(["top", "/run/s"]) == 2
    assert "dspex tree PATH" in capsys.readouterr().err


def demo(folder: Path) -> Terminal:
    return Terminal("-m", "dspex", "top", "--demo", TERM="xterm-256color", TMPDIR=str(folder))


def test_the_demo_in_a_terminal_ends_with_q_and_leaves_nothing(tmp_path):
    terminal = demo(tmp_path)
    try:
        terminal.wait_for("● live")
        assert len(terminal.running()) >= 2  # the view and the service, and by now its workers
        terminal.leave("q")
        assert terminal.process.returncode == 0
        assert GONE in terminal.raw
        assert terminal.running() == set()
        assert list(tmp_path.iterdir()) == []
    finally:
        terminal.close()


def test_a_view_that_is_asked_to_end_gives_the_terminal_back(tmp_path):
    terminal = demo(tmp_path)
    try:
        terminal.wait_for("● live")
        terminal.process.send_signal(signal.SIGTERM)
        terminal.leave("")
        assert terminal.process.returncode == 128 + signal.SIGTERM
        assert GONE in terminal.raw
        assert terminal.running() == set()
        assert list(tmp_path.iterdir()) == []
    finally:
        terminal.close()
