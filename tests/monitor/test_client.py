"""The other end of a monitor's socket: what it tells, and in which words that it can't be reached."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from monitor.lookers import folder, stale, written

import dspex
from dspex import Context, DspexError, MonitorUnreachable, Var, monitor
from dspex.monitor._service import client as _client

X = Var("x", float, 0.5)


@pytest.fixture
def path():
    with folder() as made:
        yield f"{made}/monitor.sock"


@asynccontextmanager
async def imposter(path, says):
    """Something that listens and says *says*, or hangs up where that is None."""

    async def answer(client):
        with client:
            if says is not None:
                client.sendall(says)
                await anyio.wait_readable(client)

    async def listen(listener, group):
        while True:
            await anyio.wait_readable(listener)
            group.start_soon(answer, listener.accept()[0])

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        async with anyio.create_task_group() as group:
            group.start_soon(listen, listener, group)
            yield
            group.cancel_scope.cancel()


async def why(path):
    with pytest.raises(MonitorUnreachable) as refused:
        async with monitor.connect(path):
            pass

    assert str(refused.value) == f"The monitor at {path!r} can't be reached: {refused.value.problem}."
    return refused.value.problem


async def test_what_a_service_tells(anyio_backend, path):
    async with monitor.serve(path), Context(name="ctx", variables=[X]) as ctx, monitor.connect(path) as service:
        assert service.hello["pid"] == os.getpid()
        told = await service.tree()
        assert sorted(told) == ["at", "totals", "tree", "uptime"]
        assert (await service.inspect("ctx"))["id"] == ctx.id
        async with service.watch(every=0.1, selected=ctx.id) as snapshots:
            async for snapshot in snapshots:
                assert sorted(snapshot) == ["at", "dropped", "events", "selected", "totals", "tree", "uptime"]
                assert snapshot["selected"]["name"] == "ctx"
                break


async def test_it_says_who_it_looks_at(anyio_backend, path):
    async with monitor.serve(path), monitor.connect(path) as service:
        assert repr(service) == f"<MonitoredService {service.hello['title']!r} at {path!r} [process {os.getpid()}]>"


async def test_it_takes_paths_of_every_kind(anyio_backend, path):
    async with monitor.serve(Path(path)), monitor.connect(Path(path)) as service:
        assert service.path == path


async def test_nothing_is_called_so(anyio_backend, path):
    async with monitor.serve(path), monitor.connect(path) as service:
        with pytest.raises(LookupError, match="There is nothing called 'nobody'"):
            await service.inspect("nobody")


async def test_an_interval_that_cannot_be(anyio_backend, path):
    async with monitor.serve(path), monitor.connect(path) as service:
        with pytest.raises(ValueError, match=r"every: expected 0.1 to 3600 seconds, got 0."):
            service.watch(every=0)


async def test_one_service_may_be_looked_at_by_several_tasks(anyio_backend, path):
    async with monitor.serve(path), Context(name="ctx"), monitor.connect(path) as service, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(service.tree)
            group.start_soon(service.inspect, "ctx")


async def test_a_selection_comes_from_any_task(anyio_backend, path):
    async with (
        monitor.serve(path),
        Context(name="ctx"),
        monitor.connect(path) as service,
        service.watch(every=3600) as snapshots,
        anyio.create_task_group() as group,
    ):
        await anext(snapshots)
        group.start_soon(snapshots.select, "ctx")
        with anyio.fail_after(5):
            assert (await anext(snapshots))["selected"]["name"] == "ctx"


# --- it can't be reached -----------------------------------------------------------------------------------------------------------


async def test_there_is_no_such_socket(anyio_backend, path):
    assert await why(path) == "there is no such socket"
    assert await why(f"{path}.d/monitor.sock") == "there is no such socket"


async def test_nobody_listens_any_more(anyio_backend, path):
    stale(path)
    assert await why(path) == "nobody listens there: the service has ended, or was killed"


async def test_it_is_no_socket(anyio_backend, path):
    written(path, "")
    assert await why(path) == "that is no socket"
    assert await why(os.path.dirname(path)) == "that is no socket"
    assert await why("") == "that is no path of a socket"


async def test_it_is_too_long_for_one(anyio_backend, path):
    assert await why(path + "x" * 200) == "AF_UNIX path too long"


STRANGER = """
import os, sys, anyio
from dspex import MonitorUnreachable, monitor
async def main():
    connection = monitor.connect(sys.argv[1])
    os.setgid(65534); os.setuid(65534)
    try:
        async with connection:
            pass
    except MonitorUnreachable as error:
        print(error.problem)
anyio.run(main)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize(
    ("mode", "problem"),
    [(0o600, "it belongs to another user"), (0o666, "This service may be looked at by user 0 and root only")],
)
async def test_it_is_another_users(anyio_backend, path, mode, problem):
    async with monitor.serve(path):
        os.chmod(path, mode)
        command = [sys.executable, "-c", STRANGER, path]
        environment = {**os.environ, "PYTHONPATH": str(Path(dspex.__file__).parents[1])}
        run = await anyio.to_thread.run_sync(
            lambda: subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        )
        assert run.stdout == f"{problem}\n"


@pytest.mark.parametrize("says", [b"SSH-2.0-OpenSSH_9.6\r\n", b"{}\n", b"[1]\n", b"1\n", b"\xff\n", b"[" * 5000 + b"\n"])
async def test_something_else_answers(anyio_backend, path, says):
    async with imposter(path, says):
        assert await why(path) == "what answers there is no monitor of dspex"


async def test_it_speaks_another_protocol(anyio_backend, path):
    async with imposter(path, b'{"dspex": "9.0", "protocol": 2}\n'):
        assert await why(path) == "it speaks protocol 2 (dspex 9.0), and this is protocol 1: use the dspex that the service has"


async def test_it_hangs_up_without_a_word(anyio_backend, path):
    async with imposter(path, None):
        assert await why(path) == "it hung up without a word"


async def test_it_says_nothing(anyio_backend, path, monkeypatch):
    monkeypatch.setattr(_client, "_PATIENCE", 0.05)
    async with imposter(path, b""):
        assert await why(path) == "it said nothing for 0.05 seconds"


async def test_its_line_is_full(anyio_backend, path, monkeypatch):
    monkeypatch.setattr(_client, "_PATIENCE", 0.05)
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(path)
        busy.listen(0)
        waiting.connect(path)
        assert await why(path) == "too many others wait to be let in"


async def test_the_service_has_gone_meanwhile(anyio_backend, path):
    server = monitor.serve(path)
    await server.__aenter__()
    async with monitor.connect(path) as service, service.watch(every=0.1) as snapshots:
        await server.__aexit__(None, None, None)
        assert len([snapshot async for snapshot in snapshots]) <= 1
        with pytest.raises(MonitorUnreachable, match="it has hung up"):
            for _ in range(2):
                await snapshots.select("ctx")

        with pytest.raises(MonitorUnreachable, match="there is no such socket"):
            await service.tree()


async def test_the_service_hangs_up_before_it_has_answered(anyio_backend, path):
    async with monitor.serve(path), monitor.connect(path) as service:
        pass

    async with imposter(path, b'{"dspex": "1", "protocol": 1}\n'):
        with pytest.raises(MonitorUnreachable, match="it hung up before it had answered"):
            await service.tree()


async def test_the_service_never_answers(anyio_backend, path, monkeypatch):
    monkeypatch.setattr(_client, "_PATIENCE_FOR_ANSWER", 0.05)

    async def never(self, older):
        await anyio.sleep_forever()

    monkeypatch.setattr("dspex.monitor._service.snapshots.Snapshots.latest", never)
    async with monitor.serve(path), monitor.connect(path) as service:
        with pytest.raises(MonitorUnreachable, match=r"it hasn't answered for 0.05 seconds"):
            await service.tree()


def test_the_error_is_a_connection_error_and_survives_a_process():
    error = pickle.loads(pickle.dumps(MonitorUnreachable("/x.sock", problem="there is no such socket")))
    assert isinstance(error, DspexError)
    assert isinstance(error, ConnectionError)
    assert (str(error), error.path) == ("The monitor at '/x.sock' can't be reached: there is no such socket.", "/x.sock")
