"""`dspex tree` and `dspex inspect` against a real service in another process, as scripts and people use them."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from monitor.lookers import at, folder, paths

from dspex.__main__ import main
from dspex.monitor._service import sheet as drawn_sheet

SERVICE = Path(__file__).with_name("watched_service.py")
ROOT = SERVICE.parent.parent.parent


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def service(request):
    with folder() as made:
        path = f"{made}/monitor.sock"
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        command = [sys.executable, str(SERVICE), path, request.param]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            assert process.stdout.readline() == "up\n"
            yield path
            process.stdin.close()
            assert process.wait(20) == 0

        assert os.listdir(made) == []


@pytest.fixture
def nobody():
    with folder() as made:
        yield f"{made}/monitor.sock"


def dspex(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "dspex", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=50, **options)


def on_a_terminal(*arguments):
    """What the command prints where a person looks."""
    main_end, its_end = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TERM": "xterm-256color", "COLUMNS": "200"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen([sys.executable, "-m", "dspex", *arguments], stdout=its_end, stderr=its_end, env=environment):
        os.close(its_end)
        said = b""
        try:
            while chunk := os.read(main_end, 65536):
                said += chunk
        except OSError:  # how a terminal ends
            pass

    os.close(main_end)
    return said.decode()


def test_the_tree_as_text(service):
    run = dspex("tree", service)
    assert (run.returncode, run.stderr) == (0, "")
    lines = run.stdout.splitlines()
    assert re.fullmatch(
        r"watched_service\.py  process  running  pid \d+  contexts 3  operations \d+ .*workers 1  workers ready 1.*", lines[0]
    )
    drawn = [re.sub(r"  +", "  ", line) for line in lines[1:]]
    assert drawn[0] == "├── app  supervisor  running  one_for_one  restarts 0 of 3 in 5 s"
    assert drawn[1] == "│  ├── chat  context  running  local  variables 2"
    assert any(re.search(r"worker-1  process  ready  pid \d+", line) for line in drawn)
    assert any(line.endswith(r"parked  restarts 0 of 0 in 5 s  ValueError: it \x1b[31mfell") for line in drawn)
    assert drawn[-1].startswith("└── alone  context  running  local")


def test_the_tree_as_json(service):
    run = dspex("tree", service, "--json")
    assert (run.returncode, run.stderr) == (0, "")
    told = json.loads(run.stdout)
    assert told["service"]["protocol"] == 1
    assert told["totals"]["contexts"] == 3
    assert "app/users/a%2Fb" in paths(told["tree"])
    assert at(told["tree"], "app/broken")["state"] == "parked"


def test_a_context_as_text(service):
    run = dspex("inspect", service, "chat")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("app/chat  context  running\n\n")
    assert re.search(r"^  x +float +0 +0\.5 +no +20\S+$", run.stdout, re.MULTILINE)
    assert re.search(r"^  secret +str +0 +\*{8} +yes +20\S+$", run.stdout, re.MULTILINE)
    assert "hunter2" not in run.stdout


@pytest.mark.parametrize(
    ("name", "path", "kind"),
    [
        ("alone", "alone", "context"),
        ("users/a%2Fb", "app/users/a%2Fb", "context"),
        ("app", "app", "supervisor"),
        ("users", "app/users", "contexts"),
        ("bridge", "app/bridge", "bridge"),
        ("bridge/default", "app/bridge/default", "pool"),
        ("worker-1", "app/bridge/default/worker-1", "process"),
        ("broken", "app/broken", "task"),
        ("monitor", "app/monitor", "monitor"),
        ("/", "/", "process"),
    ],
)
def test_each_thing_as_json(service, name, path, kind, capsys):
    assert main(["inspect", service, name, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["path"], told["kind"]) == (path, kind)
    if kind == "process" and path != "/":
        assert main(["inspect", service, str(told["pid"])]) == 0
        assert capsys.readouterr().out.startswith(f"{path}  process  ready\n")


def test_in_colours_where_a_person_looks(service):
    tree = on_a_terminal("tree", service)
    assert "\x1b[32mrunning\x1b[0m" in tree
    assert "\x1b[1;31mparked\x1b[0m" in tree
    assert r"it \x1b[31mfell" in tree
    sheet = on_a_terminal("inspect", service, "chat")
    assert "\x1b[1mapp/chat\x1b[0m  \x1b[36mcontext\x1b[0m  \x1b[32mrunning\x1b[0m" in sheet
    plain = re.sub(r"\x1b\[[0-9;]*m", "", sheet)
    assert [line.split() for line in plain.splitlines() if line.strip()] == [
        line.split() for line in dspex("inspect", service, "chat").stdout.splitlines() if line.strip()
    ]


@pytest.mark.parametrize("command", [["tree"], ["inspect", "x"]])
def test_what_fails_is_one_line_and_1(nobody, command):
    run = dspex(command[0], nobody, *command[1:])
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == f"The monitor at {nobody!r} can't be reached: there is no such socket.\n"


def test_what_there_is_not(service):
    run = dspex("inspect", service, "no\x1b[31mbody")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith(r"There is nothing called 'no\x1b[31mbody': it is no path")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["tree"], ["inspect", "x.sock"], ["tree", "a", "b"], ["top", "x", "--demo"], ["top", "x", "--every", "0"]]
)
def test_wrong_use_is_2(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)

    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("usage: dspex ")


def test_whoever_reads_may_leave(service):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody_reads:
        command = [sys.executable, "-m", "dspex", "tree", service]
        run = subprocess.run(command, stdout=nobody_reads, stderr=subprocess.PIPE, text=True, env=environment)

    assert (run.returncode, run.stderr) == (1, "")


def test_what_is_measured_is_shown_with_its_unit():
    sheet = drawn_sheet.of(
        {"path": "a", "rss": 3 * 2**19, "seconds": 5.0, "last_switch": {"seconds": 0.25, "bytes": 3}, "served": 7, "exact": {"rss": None}}
    )
    assert dict(sheet.facts) == {
        "rss": "1.5 MiB",
        "seconds": "5 s",
        "last switch seconds": "0.25 s",
        "last switch bytes": "3",
        "served": "7",
    }
