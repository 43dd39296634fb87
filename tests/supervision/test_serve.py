"""`serve`: a tree in a real process, until a signal; stopped in order, with exit code 0 and nothing left."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import anyio
import pytest
from supervision import alone
from supervision.cast import Cast, settled

from dspex import RestartLimitReached, StartFailed, serve


@pytest.fixture(params=["asyncio", "uvloop", "trio"])
def play(request: pytest.FixtureRequest) -> Callable[..., alone.Story]:
    return lambda scene, *signals: alone.tell(scene, request.param, *signals)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_stops_the_tree_in_order_and_the_process_exits_with_zero(play: Callable[..., alone.Story], name: str) -> None:
    story = play("serve", name)

    assert story.events == [
        *("a up", "b up", "c up", "d up", "last up", "ready"),
        *("last down", "d down", "c down", "b down", "a down"),
        "the end",
    ]
    assert story.code == 0
    assert story.last_words == ""


def test_a_signal_while_it_starts_stops_what_has_started(play: Callable[..., alone.Story]) -> None:
    story = play("serve_signalled_while_starting", "SIGTERM")

    assert story.events == ["a up", "ready", "slow gives up", "a down", "the end"]
    assert (story.code, story.last_words) == (0, "")


@pytest.mark.parametrize("scene", ["serve_the_patient", "serve_the_patient_below"])
def test_a_second_signal_cuts_the_graces_short(play: Callable[..., alone.Story], scene: str) -> None:
    story = play(scene, "SIGTERM", "SIGINT")

    assert story.events[:6] == ["a up", "b up", "last up", "ready", "last down", "ready for another"]
    assert sorted(story.events[6:-1]) == ["a down", "b down"]
    assert story.events[-1] == "the end"
    assert (story.code, story.last_words) == (0, "")


def test_no_worker_process_is_left_of_a_bridge_that_was_served(play: Callable[..., alone.Story]) -> None:
    story = play("serve_workers", "SIGTERM")

    [worker] = [int(event.split()[1]) for event in story.events if event.startswith("worker")]
    assert story.events == ["knock up", f"worker {worker}", "ready", "knock down", "the end"]
    assert (story.code, story.last_words) == (0, "")
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_it_ends_by_itself_with_its_supervisor(play: Callable[..., alone.Story]) -> None:
    story = play("serve_until_done")

    assert story.events == ["a up", "b up", "b returns", "a down", "the end"]
    assert (story.code, story.last_words) == (0, "")


def test_past_its_limit_it_raises_and_the_process_fails(play: Callable[..., alone.Story]) -> None:
    story = play("serve_and_crash")

    assert story.events == ["a up", "b up", "a down"]
    assert story.code == 1
    assert "OSError: no disk" in story.last_words
    assert story.last_words.splitlines()[-1].endswith(
        "RestartLimitReached: Supervisor 'app' gave up: child 'b' was to be restarted again, and 0 in 5 s are allowed. "
        "It ended last with OSError: no disk."
    )


def test_a_start_that_fails_raises_and_the_process_fails(play: Callable[..., alone.Story]) -> None:
    story = play("serve_what_does_not_start")

    assert story.events == ["a up", "a down"]
    assert story.code == 1
    assert story.last_words.splitlines()[-1].endswith("StartFailed: The child 'app/b' failed to start: OSError: no disk")


@pytest.fixture(params=["python's", "ignored"])
def interrupts(request: pytest.FixtureRequest) -> Iterator[None]:
    """A process in the background of a shell without job control begins with SIGINT ignored."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler if request.param == "python's" else signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, usual)


@pytest.mark.usefixtures("interrupts")
async def test_afterwards_signals_do_again_what_they_did_before(cast: Cast) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    async with anyio.create_task_group() as group:
        group.start_soon(serve, [cast("a")])
        await settled()
        assert signal.getsignal(signal.SIGTERM) != before[0] or signal.getsignal(signal.SIGINT) != before[1]
        group.cancel_scope.cancel()

    assert cast.events == ["a up", "a down"]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


async def test_a_real_signal_in_this_process_stops_it(cast: Cast) -> None:
    async with anyio.create_task_group() as group:

        async def kill() -> None:
            await settled()
            assert cast.events == ["a up", "b up"]
            signal.raise_signal(signal.SIGTERM)

        group.start_soon(kill)
        await serve([cast("a"), cast("b")])

    assert cast.events == ["a up", "b up", "b down", "a down"]


async def test_its_errors_are_the_supervisors_bare(cast: Cast) -> None:
    with pytest.raises(StartFailed):
        await serve([cast("a", starts=[OSError()])])

    async with anyio.create_task_group() as group:

        async def crash() -> None:
            await settled()
            await cast.crash("b")

        group.start_soon(crash)
        with pytest.raises(RestartLimitReached):
            await serve([cast("b")], max_restarts=0)
