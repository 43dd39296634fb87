"""The tests run on the loops their names say, and what watches over them sees what it should."""

from __future__ import annotations

import os
import subprocess
import sys

import anyio
import leaks
import pytest

EXPECTED = {"asyncio": "asyncio", "asyncio+uvloop": "uvloop", "trio": "trio"}


async def test_the_loop_is_the_one_in_the_name(request, anyio_backend, running_loop):
    assert running_loop() == EXPECTED[request.node.callspec.id]


@pytest.fixture
async def loop_of_a_fixture(anyio_backend, running_loop):
    return running_loop()


async def test_an_async_fixture_runs_on_the_loop_of_its_test(loop_of_a_fixture, anyio_backend, running_loop):
    assert loop_of_a_fixture == running_loop()


@pytest.fixture
async def loop_left_to_chance():
    raise AssertionError("never reached")


def test_an_async_fixture_that_names_no_backend_is_refused(request):
    with pytest.raises(pytest.fail.Exception, match="'loop_left_to_chance' must name anyio_backend"):
        request.getfixturevalue("loop_left_to_chance")


async def test_a_task_left_running_is_seen(anyio_backend):
    async with anyio.create_task_group() as group:
        with pytest.raises(AssertionError, match="left 1 tasks running"):
            async with leaks.leaving_no_task():
                group.start_soon(anyio.sleep_forever)

        group.cancel_scope.cancel()


@pytest.fixture
async def group(anyio_backend):
    async with anyio.create_task_group() as group:
        yield group
        group.cancel_scope.cancel()


async def test_a_task_that_a_fixture_ends_is_no_leak(group):
    group.start_soon(anyio.sleep_forever)
    await anyio.lowlevel.checkpoint()


def test_a_child_process_left_running_is_seen():
    looking = leaks.check_nothing_is_left("/nowhere")
    next(looking)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        with pytest.raises(AssertionError, match=f"left child processes: .*{child.pid}"):
            next(looking)
        child.kill()


def test_an_open_file_is_seen():
    looking = leaks.check_nothing_is_left("/nowhere")
    next(looking)
    reading, writing = os.pipe()
    with pytest.raises(AssertionError, match="left open files"):
        next(looking)

    os.close(reading)
    os.close(writing)


def test_virtual_time_passes_at_once(run_virtually):
    async def a_day() -> float:
        start = anyio.current_time()
        await anyio.sleep(86400)
        return anyio.current_time() - start

    assert run_virtually(a_day) == pytest.approx(86400)


def test_a_hang_in_virtual_time_fails(run_virtually):
    with pytest.raises(TimeoutError):
        run_virtually(_never)


async def _never() -> None:
    await anyio.Event().wait()
