"""Every example runs: as a script, the way its first lines say, and inside each event loop."""

from __future__ import annotations

import gzip
import importlib
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"

# What differs from run to run: in braces below.
DIFFERS = {
    "because": r"(?s:.+)",
    "id": r"ctx_[0-9a-z_]+",
    "ms": r"\d[\d.,e-]* ms",
    "n": r"\d+",
    "pid": r"\d+",
    "s": r"\d+\.\d s",
    "span": r"[0-9a-f]{16}",
    "stack": r"(?:  \S.*:\d+ in \S+\n)*",
    "switch": r"(?:INFO Context|WARNING Slow context) backend switch",
    "time": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC",
    "way": r"  /\S+",
}

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
    "watching": """\
{switch}: context 'chat' ({id}), from LocalState to BridgedState, duration {ms}, 3 variables, {n} bytes
steps: open, stage, verify, commit, clean up
WARNING Slow variable operation: context 'chat' ({id}), operation update of 'temperature', duration {ms}
ERROR Context error: context 'chat' ({id}), operation set of 'temperature', error InvalidValue: Variable 'temperature': \
expected a float (min 0.0, max 2.0), got 9.0 (float).
refused
How warm is it? At 0.35, and for the 1. time.
get temperature, {ms}
add asked -> version 1, {ms}
DSPex Context Inspection
========================
ID: {id}
Name: chat
Status: running
Backend: BridgedState
Type: bridged
Requires Bridge: yes
Switches: 1
Last Switch: {ms}, 3 variables, {n} bytes

Capabilities:
  - atomic_updates: yes
  - streaming: no
  - persistent: no
  - distributed: yes

History:
  - LocalState at {time}
  - BridgedState at {time}

Counts:
  operations {n}, queued {n}, pending 0 of 1,024, calls 0, watches 0, lives 1

Variables: 3
  name         type   version  updated                      value
  temperature  float        1  {time}  0.35
  asked        int          1  {time}  1
  api_key      str          0  {time}  ********

Programs: 1
  id   where   pool     calls
  ask  worker  default      1
********
""",
    "hooks": """\
library switched from LocalState to BridgedState, variables: 1
app/fetch is restarting: ConnectionError
app/fetch is in life 2
app/fetch is parked: ConnectionError
letters: 5
a worker of pool 'default' died by SIGKILL; its last words: 'reading 5000 letters at once'
app/bridge/default/worker-1 is restarting: WorkerDied
app/bridge/default/worker-1 is in life 2
letters: 10
""",
    "stuck": """\
WARNING The owner of context 'counter' ({id}) has been in 'set' for {ms}. It is at
{stack}{way}stuck.py:{n} in Distant.set
{way}stuck.py:{n} in Distant.travel
{stack}INFO The owner of context 'counter' ({id}) is out of 'set', after {ms}
WARNING The event loop of thread 'MainThread' has been held for {ms}. It is at
{stack}{way}stuck.py:{n} in main
{way}stuck.py:{n} in reindex
INFO The event loop of thread 'MainThread' runs again, after {ms}
""",
    "tracing": """\
You asked: What is OTP?
dspex.switches                1 {{switch}}
dspex.switch.duration         1 s
dspex.program.queue.duration  1 s
dspex.program.duration        1 s
dspex.operations              {n} {{operation}}
dspex.mailbox.depth           0 {{request}}
dspex.contexts                1 {{context}}
dspex.workers                 1 {{worker}}
dspex.restarts                {n} {{restart}}
dspex.switch    {span} below {span} {ms}
dspex.run       {span} below {span} {ms}
think           {span} below {span} {ms}
dspex.operation {span} below {span} {ms}
dspex.operation {span} below {span} {ms}
dspex.call      {span} below {span} {ms}
request         {span} below nothing          {ms}
""",
}

# What the log has to say of it, on stderr: nobody has set up logging.
LOGS = {"supervised_app": "Worker {pid} of pool 'default' was killed by SIGKILL (signal 9), after {s} and {n} calls\n"}

# Services: test_services.py serves them.
NOT_A_SCRIPT = {"fastapi_service", "chat_service", "chat_on_trio", "chaos_service", "monitored_service"}

MARKED = [pytest.param(name, marks=pytest.mark.dspy) if name == "dspy_module" else name for name in PRINTS]


def matches(told: str, printed: str) -> bool:
    parts = re.split(r"(?<!\{)\{(\w+)\}", told)
    pattern = "".join(DIFFERS[part] if number % 2 else re.escape(part.format()) for number, part in enumerate(parts))
    return re.fullmatch(pattern, printed) is not None


@contextmanager
def nobody_has_set_up_logging() -> Iterator[None]:
    """As where a script begins. What is set up in the block is gone after it."""
    root, ours = logging.getLogger(), logging.getLogger("dspex.monitor")
    of_dspex = logging.getLogger("dspex")
    handlers, level, own, muted = root.handlers, root.level, ours.level, of_dspex.handlers
    root.handlers, of_dspex.handlers = [], []
    try:
        yield
    finally:
        root.handlers, of_dspex.handlers = handlers, muted
        root.setLevel(level)
        ours.setLevel(own)


def test_every_example_is_tested():
    assert {file.stem for file in EXAMPLES.glob("*.py")} == set(PRINTS) | NOT_A_SCRIPT


@pytest.mark.parametrize("name", MARKED)
def test_it_runs_as_a_script(name):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "error"}
    ran = subprocess.run([sys.executable, EXAMPLES / f"{name}.py"], capture_output=True, text=True, env=environment, timeout=50)
    assert ran.returncode == 0, ran.stderr
    assert matches(LOGS.get(name, ""), ran.stderr), ran.stderr
    assert matches(PRINTS[name], ran.stdout), ran.stdout


@pytest.mark.parametrize("name", MARKED)
async def test_it_runs_on_every_loop(name, anyio_backend, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(threading.main_thread(), "name", "MainThread")
    with nobody_has_set_up_logging():
        await importlib.import_module(name).main()

    printed = capsys.readouterr().out
    assert matches(PRINTS[name], printed), printed


class TestTracing:
    @pytest.fixture
    def collector(self) -> Iterator[Collector]:
        with Collector() as collector:
            threading.Thread(target=collector.serve_forever, name="collector").start()
            yield collector
            collector.shutdown()

    def test_the_console_shows_what_is_below_what(self):
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        environment.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
        ran = subprocess.run([sys.executable, EXAMPLES / "tracing.py"], capture_output=True, text=True, env=environment, timeout=50)
        lines = re.findall(r"^(\S+) +([0-9a-f]{16}) below (\S+)", ran.stdout, re.MULTILINE)
        names = {span: name for name, span, _ in lines}
        assert sorted((name, names.get(parent)) for name, _, parent in lines) == sorted(TRACE)

    @pytest.mark.parametrize("given", ["argument", "environment"])
    def test_given_an_endpoint_it_all_arrives_there(self, collector, given):
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "error"}
        arguments = [collector.endpoint] if given == "argument" else []
        if given == "environment":
            environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.endpoint

        command = [sys.executable, EXAMPLES / "tracing.py", *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=50)
        assert (ran.returncode, ran.stderr, ran.stdout) == (0, "", "You asked: What is OTP?\n")

        spans = collector.spans
        names = {span.span_id: span.name for span in spans}
        assert sorted((span.name, names.get(span.parent_span_id)) for span in spans) == sorted(TRACE)
        assert len({span.trace_id for span in spans}) == 1
        assert all(span.start_time_unix_nano < span.end_time_unix_nano for span in spans)
        assert {"answers"} == collector.services

        assert {"dspex.switches", "dspex.switch.duration", "dspex.program.duration", "dspex.operations", "dspex.workers"} <= set(
            collector.metrics
        )
        (calls,) = collector.metrics["dspex.program.duration"].histogram.data_points
        assert calls.count == 1
        assert {attribute.key: attribute.value.string_value for attribute in calls.attributes} == {
            "dspex.program.id": "answer",
            "dspex.program.where": "worker",
            "dspex.program.outcome": "returned",
        }

    async def test_an_endpoint_that_isnt_there_hurts_nobody(self, anyio_backend, monkeypatch, capsys):
        monkeypatch.syspath_prepend(str(EXAMPLES))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        with nobody_has_set_up_logging(), anyio.fail_after(20):
            await importlib.import_module("tracing").main("http://127.0.0.1:9")

        assert capsys.readouterr().out == "You asked: What is OTP?\n"


# Each span of the example, and what it is below.
TRACE = [
    ("request", None),
    ("dspex.switch", "request"),
    ("dspex.call", "request"),
    ("dspex.run", "dspex.call"),
    ("think", "dspex.run"),
    ("dspex.operation", "dspex.run"),
    ("dspex.operation", "dspex.run"),
]


class Collector(ThreadingHTTPServer):
    """What listens at an OTLP endpoint, and keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.traces: list[ExportTraceServiceRequest] = []
        self.measured: list[ExportMetricsServiceRequest] = []

    @property
    def spans(self):
        return [span for sent in self.traces for of_one in sent.resource_spans for scope in of_one.scope_spans for span in scope.spans]

    @property
    def metrics(self):
        scopes = [scope for sent in self.measured for of_one in sent.resource_metrics for scope in of_one.scope_metrics]
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    @property
    def services(self):
        resources = [of_one.resource for sent in self.traces for of_one in sent.resource_spans]
        resources += [of_one.resource for sent in self.measured for of_one in sent.resource_metrics]
        return {named.value.string_value for one in resources for named in one.attributes if named.key == "service.name"}


class Receiver(BaseHTTPRequestHandler):
    """One request of an exporter."""

    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)

        kind, kept = {
            "/v1/traces": (ExportTraceServiceRequest, self.server.traces),
            "/v1/metrics": (ExportMetricsServiceRequest, self.server.measured),
        }[self.path]
        kept.append(kind.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nobody looks."""


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
