"""A host small enough to read: blocking sockets, one worker, operations answered from a dict. It drives the child through the real protocol."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dspex
from dspex._exceptions import ContextClosed, VariableNotFound, VersionConflict
from dspex.wire import Call, Channel, Close, Connection, Error, Hello, Op, OpReply, Reply, error_to_wire

BOOT = Path(next(iter(dspex.__path__))) / "worker" / "child" / "boot.py"
IMPORTABLE = Path(__file__).parent / "importable"
PATIENCE = 20.0
"""Seconds after which a worker that says nothing is taken for hung."""

Serve = Callable[[str, list[Any]], Any]


class Over(Exception):
    """The worker closed the connection."""


class Line:
    """One connection with the worker."""

    def __init__(self, sock: socket.socket, kind: str) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self.connection = Connection("host", kind)

    def send(self, stream: int, message: Any) -> None:
        self.connection.send(stream, message)
        self.flush()

    def flush(self) -> None:
        data = self.connection.data_to_send()
        if data:
            self.sock.sendall(data)

    def next(self) -> tuple[int, Any]:
        while (event := self.connection.next_event()) is None:
            self.flush()
            data = self.sock.recv(65_536)
            if not data:
                raise Over

            self.connection.receive(data)

        self.flush()
        return event

    def close(self) -> None:
        self.sock.close()


class Calls(Line):
    """A channel, with numbers for its calls."""

    def __init__(self, sock: socket.socket, kind: str, index: int) -> None:
        super().__init__(sock, kind)
        self.index = index
        self.streams = 0

    def begin(self, program: Any, inputs: Mapping[str, Any] | None = None, *, seconds: float | None = None, **meta: Any) -> int:
        """Send a Call of *program*: an import path, or a whole definition. Its stream."""
        definition = {"path": program} if isinstance(program, str) else program
        self.streams += 1
        deadline = None if seconds is None else int(seconds * 1e6)
        meta = {"program": "tested", "context": "ctx_1", **meta}
        self.send(self.streams, Call([repr(definition), definition], dict(inputs or {}), deadline_us=deadline, meta=meta))
        return self.streams

    def outcome(self, serve: Serve | None = None) -> Reply | Error:
        """Serve operations until a call ends; how it did."""
        while True:
            stream, message = self.next()
            if isinstance(message, (Reply, Error)):
                return message

            assert isinstance(message, Op), message
            self.send(stream, OpReply([answer(op, serve or nobody) for op in message.ops]))

    def call(self, program: Any, inputs: Mapping[str, Any] | None = None, *, serve: Serve | None = None, **options: Any) -> Any:
        """A whole call: its value. An Error fails the test."""
        self.begin(program, inputs, **options)
        outcome = self.outcome(serve)
        assert isinstance(outcome, Reply), outcome.sentence
        return outcome.value

    def failure(self, program: Any, inputs: Mapping[str, Any] | None = None, *, serve: Serve | None = None, **options: Any) -> Error:
        """A whole call that must fail: its Error."""
        self.begin(program, inputs, **options)
        outcome = self.outcome(serve)
        assert isinstance(outcome, Error), outcome
        return outcome


def answer(op: list[Any], serve: Serve) -> list[Any]:
    try:
        return [op[0], True, serve(op[1], op[2:])]
    except Exception as error:
        return [op[0], False, error_to_wire(error)]


def nobody(name: str, args: list[Any]) -> Any:
    raise ContextClosed("", status="not there")


class Store:
    """Variables enough for the tests: name -> (value, version)."""

    def __init__(self, **values: Any) -> None:
        self.values: dict[str, tuple[Any, int]] = {name: (value, 0) for name, value in values.items()}
        self.asked: list[str] = []

    def __call__(self, name: str, args: list[Any]) -> Any:
        self.asked.append(name)
        return getattr(self, f"do_{name}")(*args)

    def _at(self, key: str) -> tuple[Any, int]:
        if key not in self.values:
            raise VariableNotFound(key, context="ctx_1")

        return self.values[key]

    def do_get(self, key: str) -> Any:
        return self._at(key)[0]

    def do_read(self, key: str) -> Any:
        return list(self._at(key))

    def do_set(self, key: str, value: Any, metadata: Any = None, expected: int | None = None) -> int:
        version = self._at(key)[1]
        if expected not in (None, version):
            raise VersionConflict(key, expected=expected, actual=version)

        self.values[key] = (value, version + 1)
        return version + 1

    def do_add(self, key: str, n: Any) -> Any:
        self.do_set(key, self._at(key)[0] + n)
        return self._at(key)[0]

    def do_append(self, key: str, item: Any) -> int:
        return self.do_set(key, [*self._at(key)[0], item])

    def do_merge(self, key: str, mapping: Any) -> int:
        return self.do_set(key, {**self._at(key)[0], **mapping})

    def do_get_many(self, keys: list[str]) -> Any:
        return {key: self.values[key][0] for key in keys if key in self.values}

    def do_set_many(self, updates: Any, metadata: Any = None, atomic: bool = True) -> Any:
        return {key: self.do_set(key, value) for key, value in updates.items()}

    def do_define(self, definition: Any, value: Any) -> str:
        self.values[definition["name"]] = (value, 0)
        return f"var_{definition['name']}_1"

    def do_delete(self, key: str) -> None:
        del self.values[key]

    def do_exists(self, key: str) -> bool:
        return key in self.values

    def do_info(self, key: str) -> Any:
        value, version = self._at(key)
        return {"id": f"var_{key}_1", "name": key, "type": "float", "value": value, "version": version, "constraints": {}}

    def do_list(self) -> Any:
        return [self.do_info(key) for key in self.values]


class Worker:
    """A worker process that was greeted."""

    def __init__(self, python: str = sys.executable, *, lifeline: bool = True, greet: bool = True, **config: Any) -> None:
        self.config = {"path": [str(IMPORTABLE)], **config}
        ours, theirs = socket.socketpair()
        reading, self._lifeline = os.pipe()
        inherited = [theirs.fileno(), *([reading] if lifeline else [])]
        self.started = time.monotonic_ns()
        self.process = subprocess.Popen(
            [python, "-I", "-S", str(BOOT), *map(str, inherited)],
            pass_fds=inherited,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        theirs.close()
        os.close(reading)
        self.control = Line(ours, "control")
        self.heard: deque[Any] = deque()
        self.channels: list[Calls] = []
        if greet:
            self.hello = self.greet()

    def greet(self) -> Any:
        self.control.send(0, Hello(version="test", config=self.config))
        return self.control.next()[1]

    def open(self, kind: str = "thread") -> Calls:
        """A new channel."""
        ours, theirs = socket.socketpair()
        index = len(self.channels) + 1
        self.control.connection.send(0, Channel(kind, index))
        socket.send_fds(self.control.sock, [self.control.connection.data_to_send()], [theirs.fileno()])
        theirs.close()
        self.channels.append(Calls(ours, kind, index))
        return self.channels[-1]

    def hear(self, kind: type) -> Any:
        """The next message of *kind* on the control connection."""
        while True:
            message = self.control.next()[1]
            if isinstance(message, kind):
                return message

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(PATIENCE)

    def close(self) -> str:
        """End it and everything in its group; what it wrote."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)

        output, _ = self.process.communicate()
        for line in (self.control, *self.channels):
            line.close()

        os.close(self._lifeline)
        return output.decode()

    def leave(self) -> tuple[int, str]:
        """Close politely: its exit code, and what it wrote."""
        self.control.send(0, Close("bye", "the test is over"))
        code = self.wait()
        return code, self.close()


def gone_within(pids: list[int], seconds: float) -> list[int]:
    """Wait for processes that need not be our children. Those still there after *seconds*, which are then killed."""
    until = time.monotonic() + seconds
    left = []
    for pid in pids:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue

        with os.fdopen(fd, closefd=True):
            if not select.select([fd], [], [], max(0.0, until - time.monotonic()))[0]:
                left.append(pid)
                os.kill(pid, signal.SIGKILL)

    return left
