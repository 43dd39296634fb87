"""Every example runs: as a script, the way its first lines say, and inside each event loop."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"

# What each prints, whole.
PRINTS = {
    "local": """\
temperature: 0.77
version: 1
backend: local
""",
    "hybrid": """\
backend: local
because: {because}
backend: bridged
prompt: Explain quantum computing to a child
version: 1
answer: How long is the prompt? (36 letters)
in another process: True
answered: 1
""",
    "bridged_from_start": """\
switched: bridged production
from the start: bridged 0
joined later: bridged 1
""",
    "supervised_app": """\
app  supervisor  running  one_for_one  restarts 0 of 3 in 5 s
{because}Hello, Ada: visit 1
Hello, Joe | another process: True
ticks went on: True
ChildCounts(specs=5, active=5, supervisors=1, workers=4)
all gone: <Supervisor 'app' [closed | children: none | restarts: 0/3 in 5 s]>
""",
    "dspy_module": """\
backend: local
backend: bridged
answer: answer (temperature=0.7): What is OTP?
answer: answer (temperature=0.2): What is OTP?
temperature: 0.2
""",
}

# Services: test_services.py serves them.
NOT_A_SCRIPT = {"fastapi_service", "chat_service", "chat_on_trio", "chaos_service"}

MARKED = [pytest.param(name, marks=pytest.mark.dspy) if name == "dspy_module" else name for name in PRINTS]


def matches(name: str, printed: str) -> bool:
    before, because, after = PRINTS[name].partition("{because}")
    whole = before.format() + after.format()
    if not because:
        return printed == whole

    return printed.startswith(before.format()) and printed.endswith(after.format()) and len(printed) > len(whole)


def test_every_example_is_tested():
    assert {file.stem for file in EXAMPLES.glob("*.py")} == set(PRINTS) | NOT_A_SCRIPT


@pytest.mark.parametrize("name", MARKED)
def test_it_runs_as_a_script(name):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "error"}
    ran = subprocess.run([sys.executable, EXAMPLES / f"{name}.py"], capture_output=True, text=True, env=environment, timeout=50)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert matches(name, ran.stdout), ran.stdout


@pytest.mark.parametrize("name", MARKED)
async def test_it_runs_on_every_loop(name, anyio_backend, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    await importlib.import_module(name).main()
    printed = capsys.readouterr().out
    assert matches(name, printed), printed


class TestTheService:
    @pytest.fixture
    async def client(self, anyio_backend, monkeypatch):
        monkeypatch.syspath_prepend(str(EXAMPLES))
        service = importlib.import_module("fastapi_service")
        async with (
            service.lifespan(service.app),
            httpx.AsyncClient(transport=httpx.ASGITransport(service.app), base_url="http://test") as client,
        ):
            yield client

    async def test_it_answers_from_a_worker(self, client):
        response = await client.get("/texts/otp", params={"limit": 7})
        assert (response.status_code, response.json()) == (200, {"text": "OTP is…", "backend": "bridged"})

    async def test_an_endpoint_that_raises_404_stays_a_404(self, client):
        response = await client.get("/texts/unknown")
        assert (response.status_code, response.json()) == (404, {"detail": "no text 'unknown'"})

    async def test_a_bad_value_is_the_errors_own(self, client):
        with pytest.raises(ValueError, match="limit"):
            await client.get("/texts/otp", params={"limit": 0})
