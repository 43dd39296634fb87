"""
The services of ``examples/`` as their users meet them: a real server, real clients, and SIGTERM at the end.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.slow

SERVED_BY = {
    "chat_service": [sys.executable, "-m", "uvicorn", "chat_service:app", "--log-level", "warning", "--port"],
    "chat_on_trio": [sys.executable, "chat_on_trio.py"],
    "chaos_service": [sys.executable, "-m", "uvicorn", "chaos_service:app", "--log-level", "warning", "--port"],
}
# Uvicorn ends itself by the signal once it has shut down in order; Hypercorn returns.
ENDS_WITH = {"chat_service": -signal.SIGTERM, "chat_on_trio": 0, "chaos_service": -signal.SIGTERM}


class Service:
    """One server process, and a client of it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.url = f"http://127.0.0.1:{free_port()}"
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "CHATS": str(folder)}
        command = [*SERVED_BY[name], self.url.rpartition(":")[2]]
        self.process = subprocess.Popen(command, cwd=EXAMPLES, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.http = httpx.Client(base_url=self.url, timeout=20)

    def wait_ready(self) -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                answer = self.http.get("/health")
            except httpx.TransportError:
                answer = None

            if answer is not None and answer.status_code == 200:
                return answer.json()

            # Another process has its own clock.
            time.sleep(0.02)

        self.process.kill()
        pytest.fail(f"not ready:\n{self.process.communicate()[0]}")

    def take_turn(self, chat: str, client: str, turn: int) -> dict[str, Any]:
        answer = self.http.post(f"/chats/{chat}/turns", json={"client": client, "turn": turn, "text": "hi"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def end(self) -> str:
        """By SIGTERM, in order. What it had printed."""
        self.process.send_signal(signal.SIGTERM)
        printed, _ = self.process.communicate(timeout=30)
        assert self.process.returncode == ENDS_WITH[self.name], printed
        return printed


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def serving(name: str, folder: Path) -> Iterator[Service]:
    service = Service(name, folder)
    try:
        service.wait_ready()
        yield service
        service.end()
    finally:
        service.http.close()
        if service.process.poll() is None:
            service.process.kill()
            service.process.communicate()


def saved(folder: Path) -> dict[str, dict[str, int]]:
    told = {file.stem: json.loads(file.read_text())["variables"] for file in folder.glob("*.json")}
    return {chat: next(variable["value"] for variable in variables if variable["name"] == "turns") for chat, variables in told.items()}


@pytest.mark.parametrize("name", ["chat_service", "chat_on_trio"])
def test_what_was_counted_before_sigterm_is_there_after_the_next_start(name, tmp_path):
    with serving(name, tmp_path) as service:
        for turn in (1, 2):
            assert service.take_turn("otp", "ada", turn) == {"answer": "You said 'hi'.", "turn": turn, "backend": "bridged"}

        service.take_turn("beam", "joe", 1)
        assert service.http.get("/health").json()["chats"] == 2

    assert saved(tmp_path) == {"otp": {"ada": 2}, "beam": {"joe": 1}}
    with serving(name, tmp_path) as service:
        assert service.http.get("/chats/otp").json()["turns"] == {"ada": 2}


def test_starlette_runs_on_trio_there(tmp_path):
    with serving("chat_on_trio", tmp_path) as service:
        assert service.http.get("/chats/otp").json() == {"turns": {}, "loop": "trio"}


def test_a_value_that_doesnt_fit_is_the_clients_mistake(tmp_path):
    with serving("chat_service", tmp_path) as service:
        refused = service.http.put("/chats/otp/style/rude")
        assert refused.status_code == 422
        assert refused.json() == {"detail": "Variable 'style': expected a str (choices 'plain', 'loud'), got 'rude' (str)."}
        assert service.http.put("/chats/otp/style/loud").json() == {"version": 1}
        assert service.take_turn("otp", "ada", 1)["answer"] == "YOU SAID 'HI'."


@pytest.mark.timeout(120)
def test_while_chats_crash_and_workers_are_killed_clients_lose_no_count(tmp_path):
    with serving("chaos_service", tmp_path) as service:
        counting = subprocess.run(
            [sys.executable, "chaos_service.py", service.url],
            cwd=EXAMPLES,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert counting.returncode == 0, counting.stdout + counting.stderr
        assert "counted 300, the service has 300" in counting.stdout
        assert "crashed 0 chats" not in counting.stdout

    counts = saved(tmp_path)
    assert sum(sum(of_one.values()) for of_one in counts.values()) == 300


# --- looked at from outside ------------------------------------------------------------------------------------------------------


def looked_at(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line, as a script uses it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "error"}
    return subprocess.run([sys.executable, "-m", "dspex", *arguments], capture_output=True, text=True, env=environment, timeout=30)


def states(node: dict[str, Any]) -> dict[str, str]:
    """Of all that is in a tree, by path."""
    found = {node["id"]: node["state"]}
    for child in node["children"]:
        found |= states(child)

    return found


@contextmanager
def reading() -> Iterator[str]:
    """The monitored service, up and at work; ended by SIGTERM. Gives the path of its socket."""
    with tempfile.TemporaryDirectory(prefix="dspex-") as folder:
        path = f"{folder}/monitor.sock"
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "error"}
        command = [sys.executable, "monitored_service.py", path]
        with subprocess.Popen(command, cwd=EXAMPLES, env=environment, stderr=subprocess.PIPE, text=True) as process:
            try:
                wait_until(lambda: states_of(path).get("app/sources/index") == "running")
                yield path
                process.terminate()
                _, told = process.communicate(timeout=30)
                assert process.returncode == 0, told
                assert "app: SIGTERM, stopping" in told
                assert not os.path.exists(path)
            finally:
                process.kill()


def states_of(path: str) -> dict[str, str]:
    told = looked_at("tree", path, "--json")
    return states(json.loads(told.stdout)["tree"]) if told.returncode == 0 else {}


def wait_until(true: Any) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_service_is_looked_at_from_outside():
    with reading() as path:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600

        tree = looked_at("tree", path)
        assert (tree.returncode, tree.stderr) == (0, "")
        assert tree.stdout.startswith("monitored_service.py  process  running  pid ")
        lines = [line.lstrip("└├│─ ") for line in tree.stdout.splitlines()]
        assert [line.split()[:2] for line in lines[1:]] == [
            ["app", "supervisor"],
            ["bridge", "bridge"],
            ["default", "pool"],
            ["worker-1", "process"],
            ["worker-2", "process"],
            ["library", "context"],
            ["reader", "task"],
            ["sources", "supervisor"],
            ["fetch", "task"],
            ["index", "task"],
        ]

        told = json.loads(looked_at("inspect", path, "library", "--json").stdout)
        assert (told["path"], told["status"], told["backend"]["kind"]) == ("app/library", "running", "bridged")
        variables = {variable["name"]: variable for variable in told["variables"]}
        assert variables["pages"]["version"] >= 1
        assert variables["password"]["value"] == "********"

        drawn = looked_at("inspect", path, "app/library")
        assert "swordfish" not in drawn.stdout + json.dumps(told)
        assert drawn.stdout.startswith("app/library  context  running\n")

        unknown = looked_at("inspect", path, "nobody")
        assert (unknown.returncode, unknown.stdout) == (1, "")
        assert "There is nothing called 'nobody'" in unknown.stderr
