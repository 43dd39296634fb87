"""The loops every async test runs on, virtual time, and the check that a test leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any, TypeVar

import hypothesis
import leaks
import pytest
import virtual_time

T = TypeVar("T")

LOOPS = [
    pytest.param(("asyncio", {}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="asyncio+uvloop"),
    pytest.param(("trio", {}), id="trio"),
]

SCRATCH = tempfile.mkdtemp(prefix="dspex-tests-")
os.environ["DSPY_CACHEDIR"] = SCRATCH  # dspy opens a cache on disk when it is imported: not in the home of whoever runs the tests

hypothesis.settings.register_profile("default", deadline=None, max_examples=50)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", metavar="SEED", default=None, help="run the tests in a random order: a number, or 'new' for a new one")


def pytest_configure(config: pytest.Config) -> None:
    # libuv makes a pipe for signals once a process, with the first loop: made here, no test seems to have left it open.
    import uvloop

    uvloop.new_event_loop().close()
    if config.option.shuffle == "new":
        config.option.shuffle = str(random.SystemRandom().randrange(2**32))


def pytest_unconfigure() -> None:
    import shutil

    shutil.rmtree(SCRATCH, ignore_errors=True)


def pytest_report_header(config: pytest.Config) -> str | None:
    return f"shuffled: --shuffle={config.option.shuffle}" if config.option.shuffle else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.shuffle:
        random.Random(config.option.shuffle).shuffle(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Lend the main thread the test's name: the stacks that are printed when a test hangs tell threads by name, and not the test."""
    main = threading.main_thread()
    main.name, usual = item.nodeid, main.name
    try:
        return (yield)
    finally:
        main.name = usual


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
    """Refuse an async fixture that leaves its loop to chance; see `anyio_backend`."""
    if (iscoroutinefunction(fixturedef.func) or isasyncgenfunction(fixturedef.func)) and "anyio_backend" not in fixturedef.argnames:
        pytest.fail(f"the async fixture {fixturedef.argname!r} must name anyio_backend as an argument", pytrace=False)

    return (yield)


@pytest.fixture(scope="session", params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """
    The loop a test runs on. An async fixture must name this one as an argument.

    One that doesn't is kept across the parameters when it outlives a test, and its loop with it: every later test would run on
    that loop, whatever its name says. `pytest_fixture_setup` above refuses it.
    """
    return request.param


@pytest.fixture
async def no_task_left(anyio_backend: Any) -> AsyncIterator[None]:
    """No task on the loop after an async test and its fixtures, and nothing that is said to live."""
    async with leaks.leaving_no_task():
        yield


@pytest.fixture(autouse=True)
def nobody_lives_yet() -> None:
    """What a test without a loop of its own has left behind, as those that give up a loop in the middle do, is said to live no longer."""
    leaks.forget_former_lives()


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """No child process, no open file, and for an async test no task after it. First of all fixtures, so it looks when others are gone."""
    if "anyio_backend" in request.fixturenames:
        request.getfixturevalue("no_task_left")

    yield from leaks.check_nothing_is_left(SCRATCH)


@pytest.fixture(params=["asyncio", "trio"])
def run_virtually(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[T]]], T]:
    """
    Runs an async function in virtual time; for plain test functions.

    ``run_virtually(main)`` returns what *main* does. Sleeping an hour in it takes no time, and hanging fails.
    """

    def run(main: Callable[[], Awaitable[T]]) -> T:
        return virtual_time.run(request.param, main)

    return run


@pytest.fixture
def running_loop() -> Callable[[], str]:
    """Tells the running library, and for asyncio the module of the loop: ``"asyncio"``, ``"uvloop"`` or ``"trio"``."""
    import trio

    def told() -> str:
        if trio.lowlevel.in_trio_run():
            return "trio"

        return type(asyncio.get_running_loop()).__module__.partition(".")[0]

    return told
