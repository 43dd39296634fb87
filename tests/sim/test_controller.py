"""The scheduler under test: if a release of anyio, trio or Python changes what it leans on, this fails first, and loudly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from .atyield import Suspensions
from .choosers import Fifo, Guided, Pct, Walk, portfolio, shrink
from .explore import BACKENDS, play, replay
from .failpoints import SLOW, Failpoints, Fault, Injected, Kind
from .loops import SimDeadlock, SimLivelock, run
from .toy import ToyRun

pytestmark = pytest.mark.parametrize("backend", BACKENDS)


def two_tasks():
    order = []

    async def step(name):
        await checkpoint()
        order.append(name)

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(step, "a", name="a")
            group.start_soon(step, "b", name="b")

        return "".join(order)

    return main


def many_steps(tasks=3, steps=4):
    done = []

    async def work(number):
        for _ in range(steps):
            await checkpoint()
            done.append(number)

    async def main():
        async with anyio.create_task_group() as group:
            for number in range(tasks):
                group.start_soon(work, number, name=f"worker {number}")

        return tuple(done)

    return main


def test_both_orders_of_two_tasks_are_reachable(backend):
    assert {run(two_tasks(), backend, Walk(seed)).value for seed in range(20)} == {"ab", "ba"}
    assert {run(two_tasks(), backend, Pct(seed, 2, 4)).value for seed in range(20)} == {"ab", "ba"}


def test_the_same_seed_gives_the_same_trace(backend):
    for seed in range(20):
        first, again = (run(many_steps(), backend, portfolio(seed, 12)) for _ in range(2))
        assert (first.value, first.trace.ranks) == (again.value, again.trace.ranks)


def test_a_walk_reaches_many_interleavings(backend):
    assert len({run(many_steps(), backend, Walk(seed)).value for seed in range(100)}) > 80


def test_a_recorded_trace_replays(backend):
    for seed in range(20):
        ran = run(many_steps(), backend, portfolio(seed, 12))
        assert run(many_steps(), backend, Guided(ran.trace.ranks)).value == ran.value


def test_first_come_first_served_takes_turns(backend):
    value = run(many_steps(tasks=2), backend, Fifo()).value
    assert value in {(0, 1) * 4, (1, 0) * 4}


def test_no_preemption_lets_a_task_run_through(backend):
    value = run(many_steps(tasks=2), backend, Guided(())).value
    assert value == (0,) * 4 + (1,) * 4


def test_priorities_starve_a_task_as_a_walk_never_does(backend):
    def starved(chooser):
        value = run(many_steps(tasks=2, steps=20), backend, chooser).value
        return value[:20] == (0,) * 20

    assert not any(starved(Walk(seed)) for seed in range(40))
    assert sum(starved(Pct(seed, 1, 40)) for seed in range(40)) > 8


def test_time_passes_only_when_nothing_else_can_happen(backend):
    async def main():
        began = anyio.current_time()
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 1000)
            group.start_soon(anyio.sleep, 500)

        return anyio.current_time() - began

    assert run(main, backend, Walk(1)).value == pytest.approx(1000, abs=1e-3)


def test_a_deadlock_ends_at_the_horizon(backend):
    async def main():
        await anyio.Event().wait()

    assert isinstance(run(main, backend).error, TimeoutError)


def test_a_deadlock_behind_a_shield_ends_too_and_the_next_run_is_well(backend):
    async def main():
        with anyio.CancelScope(shield=True):
            await anyio.Event().wait()

    for _ in range(2):
        assert isinstance(run(main, backend).error, (TimeoutError, SimDeadlock))

    assert run(two_tasks(), backend).value == "ab"


def test_a_livelock_ends_by_its_budget_of_steps(backend):
    async def main():
        while True:
            await checkpoint()

    ran = run(main, backend, Walk(1), budget=500)
    assert isinstance(ran.error, SimLivelock)


def test_a_cancellation_that_has_to_be_delivered_again_and_again_starves_nobody(backend):
    async def shielded():
        with anyio.CancelScope(shield=True):
            await anyio.sleep(5)
            for _ in range(20):
                await checkpoint()

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(shielded)
            await checkpoint()
            group.cancel_scope.cancel()

        return "done"

    for seed in range(10):
        assert run(main, backend, Walk(seed)).value == "done"


def test_errors_come_out_as_themselves(backend):
    async def main():
        await checkpoint()
        raise ValueError("mine")

    assert repr(run(main, backend, Walk(1)).error) == "ValueError('mine')"


TRACE = """
import sys
from sim.explore import play
from sim.choosers import portfolio
from sim.toy import ToyRun
for seed in range(6):
    stage, ran = play(ToyRun(cancel_at=3), sys.argv[1], seed, portfolio(seed, 40))
    print(ran.trace.ranks, str(stage.recorder))
"""


def test_the_trace_does_not_depend_on_addresses_or_hashes(backend):
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests), str(tests.parent / "src")])
    told = {
        subprocess.run(
            [sys.executable, "-c", TRACE, backend],
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": path},
            check=True,
            capture_output=True,
        ).stdout
        for seed in (0, 3)
    }
    assert len(told) == 1


def test_suspensions_are_counted_and_each_can_be_cancelled(backend):
    async def three():
        for _ in range(3):
            await checkpoint()

        return "through"

    async def main():
        clean = Suspensions(three())
        assert await clean == "through"
        ended = []
        for at in range(1, clean.count + 1):
            with anyio.CancelScope() as scope:
                watched = Suspensions(three(), at=at, action=scope.cancel)
                await watched

            ended.append((scope.cancelled_caught, watched.count))

        return clean.count, ended

    count, ended = run(main, backend).value
    assert count >= 3
    assert all(caught for caught, _ in ended)
    assert len({reached for _, reached in ended}) >= 3


def test_a_failpoint_fails_in_each_of_its_ways(backend):
    applied = []

    async def call():
        applied.append(1)
        return 1

    async def main():
        told = []
        for kind in (Kind.BEFORE, Kind.AFTER, Kind.WRONG, Kind.SLOW, Kind.HANG):
            points, began = Failpoints(Fault("here", kind, nth=2)), anyio.current_time()
            assert await points.around("here", call) == 1
            async with anyio.create_task_group() as group:
                group.start_soon(heal_later, points)
                try:
                    told.append((kind, await points.around("here", call, lambda n: n + 41), round(anyio.current_time() - began)))
                except Injected as error:
                    told.append((kind, str(error), round(anyio.current_time() - began)))

                group.cancel_scope.cancel()

        return told

    async def heal_later(points):
        await anyio.sleep(100)
        points.heal()

    assert run(main, backend).value == [
        (Kind.BEFORE, "before here", 0),
        (Kind.AFTER, "after here", 0),
        (Kind.WRONG, 42, 0),
        (Kind.SLOW, 1, SLOW),
        (Kind.HANG, "here hung until it was healed", 100),
    ]
    assert len(applied) == 5 + 3  # each first time, and the second but for "before" and "hang"


def test_shrinking_keeps_only_the_choices_that_the_failure_needs(backend):
    del backend
    needed = {3, 17}

    def fails(choices):
        return all(at < len(choices) and choices[at] for at in needed)

    assert shrink([1] * 40, fails) == [1 if at in needed else 0 for at in range(18)]


def test_a_run_is_told_by_its_seed_its_choices_and_its_preemptions(backend):
    program = ToyRun(bug="version reset")
    seed = next(seed for seed in range(50) if play(program, backend, seed, Walk(seed))[0].wrong)
    _, ran = play(program, backend, seed, Walk(seed))
    found = replay(program, backend, seed, ran.trace.ranks)
    assert found.wrong
    text = str(found)
    assert f"replay(program, '{backend}', {seed}, " in text
    assert "client 1" in text
