"""Our prompt without a terminal: a script in, results out."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from terminal import ORDINARY

from dspex.__main__ import main

SCRIPT = """
await ctx.variables.define("count", int, 20)
await ctx.variables.add("count", 22)
for word in ("several", "lines"):
    print(word)

1 / 0
supervisor.tree()
"""


def piped(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dspex", "repl", *arguments]
    return subprocess.run(command, input=script, capture_output=True, text=True, env={**os.environ, **ORDINARY}, timeout=50)


@pytest.mark.parametrize("loop", ["", "--uvloop", "--trio"])
def test_a_script_in_a_pipe_gets_its_results_and_errors_and_nothing_else(loop: str) -> None:
    ran = piped(SCRIPT, *filter(None, [loop]))
    assert ran.returncode == 0
    *told, tree = ran.stdout.splitlines()
    assert told == ["'var_count_1'", "42", "several", "lines"]
    assert tree.startswith("repl  supervisor  running")
    assert ran.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert ran.stderr.count("File ") == 1


def test_a_context_that_is_inspected_is_drawn_once() -> None:
    ran = piped("from dspex import monitor\nawait monitor.inspect_context(ctx)\nawait monitor.describe_context(ctx)\n")
    title, described = "DSPex Context Inspection", "<ContextReport of 'scratch' [running | local | variables: 0]>"
    assert [line for line in ran.stdout.splitlines() if line in (title, described)] == [title, described, title]


def test_a_script_that_exits_decides_the_code() -> None:
    assert piped("exit(3)\nprint('not reached')\n").returncode == 3
    refused = piped("exit('enough')\n")
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", "enough\n")


def test_a_loop_that_another_task_ended_ends_the_prompt() -> None:
    ran = piped(
        "import asyncio\nasync def ends(): raise SystemExit\n\ntask = asyncio.create_task(ends())\nawait anyio.sleep(60)\nprint('on')\n"
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "The event loop has ended.\n" in ran.stderr


def test_two_loops_at_once_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["repl", "--trio", "--uvloop"])

    assert "--uvloop: not allowed with argument --trio" in capsys.readouterr().err


def test_the_prompt_is_among_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "repl" in capsys.readouterr().out


def test_a_loop_that_isnt_installed_is_said_with_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dspex._repl.find_spec", lambda name: None)
    assert main(["repl", "--trio"]) == 1
    told = "The prompt on trio needs the package 'trio', which this interpreter can't import. Install it there with: pip install 'dspex[trio]'\n"
    assert capsys.readouterr().err == told
