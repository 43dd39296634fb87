"""
The services of ``examples/`` as their users meet them: a real server, real clients, and SIGTERM at the end.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
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
