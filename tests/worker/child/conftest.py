"""Workers for the tests: started when asked for, ended whatever happens."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from worker.child.blocking_host import Calls, Worker

OTHERS = ["3.9.18", "3.13.0"]


def _interpreter(version: str) -> str:
    return str(Path("~/.pyenv/versions").expanduser() / version / "bin" / "python")


INTERPRETERS = [
    pytest.param(sys.executable, id="this python"),
    *(
        pytest.param(
            _interpreter(v), id=f"python {v}", marks=pytest.mark.skipif(not os.path.exists(_interpreter(v)), reason=f"no Python {v}")
        )
        for v in OTHERS
    ),
]


@pytest.fixture
def start() -> Iterator[Callable[..., Worker]]:
    """Starts workers; takes what `Worker` takes."""
    started: list[Worker] = []

    def starter(*args: object, **options: object) -> Worker:
        started.append(Worker(*args, **options))  # type: ignore[arg-type]
        return started[-1]

    yield starter
    for worker in started:
        if worker.control.sock.fileno() >= 0:
            worker.close()


@pytest.fixture
def worker(start: Callable[..., Worker]) -> Worker:
    """A worker of this interpreter."""
    return start()


@pytest.fixture
def thread(worker: Worker) -> Calls:
    """A thread channel of `worker`."""
    return worker.open("thread")


@pytest.fixture
def loop(worker: Worker) -> Calls:
    """The loop channel of `worker`."""
    return worker.open("loop")
