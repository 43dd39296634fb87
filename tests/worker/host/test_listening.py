"""Listening to a socket: what comes is handed to a plain function, and whoever listens is always woken."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import anyio
import pytest
from worker_programs import __name__ as programs

from dspex import Context, Var
from dspex.worker.host.listening import CHOICE, PROMPT, Ear, Patience


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


async def test_each_thing_that_comes_is_taken_until_one_is_given_back(anyio_backend, ends):
    ours, theirs = ends
    taken = []

    def take():
        data = ours.recv(1)
        taken.append(data)
        return data if data == b"!" else None

    ear = Ear(ours)
    theirs.send(b"ab!c")
    with anyio.fail_after(5):
        assert await ear.listen(take) == b"!"

    assert taken == [b"a", b"b", b"!"]
    assert ours.recv(9) == b"c"


async def test_what_the_function_raises_is_raised_where_it_is_listened(anyio_backend, ends):
    ours, theirs = ends

    def fail():
        ours.recv(1)
        raise LookupError("no such thing")

    theirs.send(b"x")
    with anyio.fail_after(5), pytest.raises(LookupError, match="no such thing"):
        await Ear(ours).listen(fail)


async def test_closing_wakes_whoever_listens(anyio_backend, ends):
    ours, _ = ends
    ear = Ear(ours)

    async def listen():
        with pytest.raises(anyio.ClosedResourceError):
            await ear.listen(lambda: ours.recv(1) and None)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            await anyio.wait_all_tasks_blocked()
            ear.close()
            ours.close()


async def test_one_that_was_cancelled_may_listen_again(anyio_backend, ends):
    ours, theirs = ends
    ear = Ear(ours)
    with anyio.move_on_after(0):
        await ear.listen(lambda: ours.recv(1))

    theirs.send(b"x")
    with anyio.fail_after(5):
        assert await ear.listen(lambda: ours.recv(1)) == b"x"


def test_an_answer_too_large_for_the_socket_leaves_also_where_nobody_told_anyio_which_loop_it_is_on():
    big = Var("big", bytes, bytes(3_000_000))

    async def main():
        async with Context(variables=[big]) as ctx:
            read = await ctx.register_program("read", f"{programs}:read")
            return len(await read(v="big"))

    assert asyncio.run(asyncio.wait_for(main(), 30)) == 3_000_000


def spent(patience: Patience, times: int, *, gap: float, now: list[float]) -> None:
    for _ in range(times):
        now[0] += gap
        patience.came()
        patience.served()


@pytest.mark.parametrize(("asleep", "awake", "stays"), [(80e-6, 30e-6, True), (10e-6, 40e-6, False)])
def test_it_stays_awake_where_that_was_measured_to_be_quicker(monkeypatch, asleep, awake, stays):
    now = [1.0]
    monkeypatch.setattr("dspex.worker.host.listening.perf_counter", lambda: now[0])
    patience = Patience()
    for _ in range(8 * CHOICE):
        spent(patience, 1, gap=awake if patience.lasts() else asleep, now=now)

    assert patience.lasts() is stays


def test_it_sleeps_again_once_nobody_asks_promptly(monkeypatch):
    now = [1.0]
    monkeypatch.setattr("dspex.worker.host.listening.perf_counter", lambda: now[0])
    patience = Patience()
    for _ in range(8 * CHOICE):
        spent(patience, 1, gap=20e-6 if patience.lasts() else 80e-6, now=now)

    now[0] += 2.5 * PROMPT
    assert not patience.lasts()
    patience.came()
    patience.served()
    assert not patience.lasts()
