"""The command line, as a newcomer meets it: in a terminal, in a pipe, with and without what is optional."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dspex import __version__
from dspex.__main__ import main

ROOT = Path(__file__).parent.parent
CHAPTERS = [
    "1. A context, in this process",
    "2. A program joins that must not run here",
    "3. The program runs in a worker, on the same variables",
    "4. The same calls as before",
    "5. A worker is killed in the middle of a call",
    "6. A DSPy module",
    "All of it",
]

# Stands in for an interpreter in which these packages aren't installed.
WITHOUT = """
import importlib.util, runpy, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in {missing!r} else found(name, package)
sys.modules.update(dict.fromkeys({missing!r}))
sys.argv = ["dspex", *{arguments!r}]
runpy.run_module("dspex", run_name="__main__")
"""


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "error", "COLUMNS": "140", **more}


def dspex(*arguments: str, missing: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = ["-c", WITHOUT.format(missing=missing, arguments=arguments)] if missing else ["-m", "dspex", *arguments]
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment(), cwd=ROOT, timeout=50, stdin=subprocess.DEVNULL
    )


def in_a_terminal(*arguments: str) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "dspex", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(TERM="xterm-256color"), cwd=ROOT) as running:
        os.close(theirs)
        shown = b""
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # Linux says so when the last one at the other end has gone
                break
            if not chunk:
                break
            shown += chunk

    os.close(ours)
    return running.returncode, shown.decode()


def check_story(shown: str, *, dspy: bool) -> None:
    places = [shown.index(chapter) for chapter in CHAPTERS]
    assert places == sorted(places)
    here, there = re.search(r"This is process (\d+); the program ran in process (\d+)\.", shown).groups()
    assert here != there
    assert "LocalState -> BridgedState" in shown
    assert "was killed by SIGKILL" in shown
    assert "Traceback" not in shown
    assert ("at the temperature of the context, 0.9" in shown) == dspy
    assert ("pip install 'dspex[dspy]'" in shown) != dspy


@pytest.mark.dspy
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_demo_tells_its_story(backend):
    ran = dspex("demo", "--backend", backend)
    assert (ran.returncode, ran.stderr) == (0, "")
    check_story(ran.stdout, dspy=True)
    assert "\x1b" not in ran.stdout


@pytest.mark.dspy
def test_the_demo_in_a_terminal_has_colours():
    code, shown = in_a_terminal("demo")
    assert code == 0
    assert "\x1b[" in shown
    check_story(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r\n", "\n"), dspy=True)


def test_the_demo_without_rich_and_dspy():
    ran = dspex("demo", missing=("rich", "dspy"))
    assert (ran.returncode, ran.stderr) == (0, "")
    check_story(ran.stdout, dspy=False)


def test_the_demo_on_a_loop_that_isnt_installed_says_what_to_install():
    ran = dspex("demo", "--backend", "trio", missing=("trio",))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (
        "The demo on trio needs the package 'trio', which this interpreter can't import. Install it there with: pip install 'dspex[trio]'\n"
    )


def test_without_a_command_it_prints_help():
    ran = dspex()
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "usage: dspex" in ran.stdout
    told = re.findall(r"^    (\w+) +\S", ran.stdout, re.MULTILINE)
    assert told == ["demo", "repl", "top", "tree", "inspect", "bench"]


def test_the_bench_is_offered_only_where_it_is(tmp_path):
    assert "bench" in dspex().stdout

    shutil.copytree(ROOT / "src" / "dspex", tmp_path / "site" / "python" / "dspex", ignore=shutil.ignore_patterns("__pycache__"))
    installed = {**environment(), "PYTHONPATH": str(tmp_path / "site" / "python")}
    ran = subprocess.run([sys.executable, "-m", "dspex"], check=True, capture_output=True, text=True, env=installed, cwd=tmp_path)
    assert "demo" in ran.stdout
    assert "bench" not in ran.stdout


def test_it_knows_its_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])

    assert end.value.code == 0
    assert capsys.readouterr().out == f"dspex {__version__}\n"


def test_an_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit) as end:
        main(["demos"])

    assert end.value.code == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("dspex: error: argument command: invalid choice: 'demos' (choose from ")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_bench_runs(tmp_path):
    """A smoke run of every theme: it measures, it judges nothing here."""
    results = tmp_path / "results.json"
    command = [sys.executable, "-m", "bench", "--quick", "--output", str(results)]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=ROOT, timeout=280, stdin=subprocess.DEVNULL)
    assert ran.returncode == 0, ran.stderr
    assert "get of a scalar, local" in ran.stdout

    rows = json.loads(results.read_text())["rows"]
    assert len(rows) >= 20
    assert {row["verdict"] for row in rows} <= {"ok", "over", "-"}
    assert all(row["lowest"] <= row["value"] <= row["highest"] for row in rows)
