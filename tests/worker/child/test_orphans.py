"""No worker, nor anything it started, outlives its host by more than a second, whatever it is doing when the host is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from worker.child.blocking_host import PATIENCE, Worker, gone_within
from worker.child.conftest import INTERPRETERS

import dspex

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has lifelines and PDEATHSIG")

P = "child_programs:"
TESTS = Path(__file__).parent.parent.parent
SOURCE = Path(next(iter(dspex.__path__))).parent

WORKS = [
    "starts_a_child",
    "starts_a_child_and_is_busy",
    "starts_a_child_and_holds_the_interpreter",
    "starts_two_generations",
    "forks_and_stays",
]


class Doomed:
    """A host process, and the processes of its worker."""

    def __init__(self, python: str, **options: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "worker.child.doomed_host", json.dumps({"python": python, **options})],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(SOURCE)])},
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.pids: list[int] = json.loads(self.process.stdout.readline())

    def kill(self) -> list[int]:
        """Kill the host alone. The processes still there a second later."""
        self.process.kill()
        self.process.wait(PATIENCE)
        return gone_within(self.pids, 1.0)

    def close(self) -> None:
        with_leaks = self.process.pid
        assert self.process.stdout is not None
        self.process.stdout.close()
        try:
            os.killpg(with_leaks, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            self.process.wait(PATIENCE)


@pytest.fixture
def doom() -> Iterator[object]:
    hosts: list[Doomed] = []

    def start(python: str = sys.executable, **options: object) -> Doomed:
        hosts.append(Doomed(python, **options))
        return hosts[-1]

    yield start
    for host in hosts:
        host.close()


@pytest.mark.parametrize("python", INTERPRETERS)
@pytest.mark.parametrize("program", [None, *WORKS])
def test_nothing_outlives_a_killed_host(doom, python, program):
    host = doom(python, program=program)
    assert len(host.pids) > (program is not None)
    assert host.kill() == []


@pytest.mark.parametrize("program", [None, *WORKS])
def test_nothing_outlives_a_killed_host_that_has_threads(doom, program):
    assert doom(program=program, threads=True).kill() == []


@pytest.mark.parametrize("program", [None, "starts_a_child", "starts_a_child_and_is_busy"])
def test_nothing_outlives_a_killed_host_whose_fork_keeps_the_descriptors(doom, program):
    assert doom(program=program, leak=True).kill() == []


@pytest.mark.parametrize("program", [None, "starts_a_child_and_is_busy", "starts_a_child_and_holds_the_interpreter"])
def test_without_a_lifeline_the_worker_itself_goes(doom, program):
    host = doom(program=program, lifeline=False)
    host.pids, others = host.pids[:1], host.pids[1:]
    assert host.kill() == []
    for pid in others:
        gone_within([pid], 0)


def test_closing_the_lifeline_kills_the_whole_group(worker):
    pids = worker.open().call(P + "starts_two_generations")
    os.close(worker._lifeline)
    worker._lifeline = os.open(os.devnull, os.O_RDONLY)
    assert worker.wait() == -signal.SIGKILL
    assert gone_within(pids, 1.0) == []


def test_the_end_of_the_control_connection_kills_the_whole_group(worker):
    pids = worker.open().call(P + "starts_two_generations")
    worker.control.sock.close()
    assert worker.wait() == -signal.SIGKILL
    assert gone_within(pids, 1.0) == []
    os.close(worker._lifeline)
    worker.process.stdout.close()
    for line in worker.channels:
        line.close()


def test_a_worker_outlives_the_thread_that_started_it(start):
    started: list[Worker] = []
    starter = threading.Thread(target=lambda: started.append(start()))
    starter.start()
    starter.join()
    assert started[0].open().call(P + "echo", {"value": "alive"}) == "alive"


def test_a_worker_that_is_not_a_group_leader_becomes_one():
    code = "import os, sys; sys.path.insert(0, sys.argv[1]); import orphans; print(os.getpgrp() == os.getpid()); orphans.lead_group(); print(os.getpgrp() == os.getpid())"
    folder = SOURCE / "dspex" / "worker" / "child"
    told = subprocess.run([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, check=True).stdout.decode().split()
    assert told == ["False", "True"]
