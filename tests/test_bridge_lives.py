"""A bridge as a child of a supervisor: one handle over all its lives, and what is told to whom between them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import anyio
import pytest
import trio
from anyio.lowlevel import checkpoint
from worker_desk import PROGRAMS, Desk, call, gone

from dspex import Context, Var, isolated
from dspex._exceptions import BridgeClosed, CallTimeout, RestartLimitReached, StartFailed, WorkerDied
from dspex.bridge import Bridge
from dspex.supervision import Backoff, ChildSpec, Supervisor
from dspex.worker.host.seats import Seats

COUNT = Var("count", int, 0)
HOUR = Backoff(initial=3600.0, maximum=3600.0)


class Mine(Exception):
    pass


class Gate:
    """A child that is ready when it may be: in a group, those after it wait."""

    def __init__(self) -> None:
        self.open = anyio.Event()
        self.open.set()

    async def stand(self, *, task_status):
        await self.open.wait()
        task_status.started()
        await anyio.sleep_forever()


class Fuse:
    """A child that crashes when it is told to."""

    def __init__(self) -> None:
        self.blow = anyio.Event()

    async def burn(self):
        self.blow = anyio.Event()
        await self.blow.wait()
        raise Mine


class Group:
    """A gate, a bridge and a fuse, of which all are restarted when the fuse blows; the bridge not before the gate is open."""

    def __init__(self, **options):
        self.gate, self.fuse = Gate(), Fuse()
        spec = Bridge.child_spec("bridge", **options)
        children = [ChildSpec("gate", self.gate.stand), spec, ChildSpec("fuse", self.fuse.burn)]
        self.supervisor = Supervisor(children, strategy="one_for_all", name="app", max_restarts=100)

    async def __aenter__(self):
        await self.supervisor.__aenter__()
        self.bridge = self.supervisor.which_child("bridge").value
        return self

    async def __aexit__(self, *error):
        return await self.supervisor.__aexit__(*error)

    async def go_down(self):
        """Returns when the bridge is down, and stays so until the gate is opened."""
        self.gate.open = anyio.Event()
        self.fuse.blow.set()
        await status_of(self.bridge, "restarting")

    def come_back(self):
        self.gate.open.set()


async def status_of(bridge, status):
    with anyio.fail_after(20):
        while bridge.status != status:
            await checkpoint()


async def until(condition):
    with anyio.fail_after(20):
        while not condition():
            await checkpoint()


async def collect(results, awaitable):
    try:
        results.append(await awaitable)
    except Exception as error:
        results.append(error)


@pytest.fixture
def crash(monkeypatch):
    """Crashes the bridge that runs: what keeps its workers raises."""
    keep, set_off = Seats.keep, [anyio.Event()]

    async def fragile(self, name):
        set_off.append(anyio.Event())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(blow_up, set_off[-1])
            await keep(self, name)
            tasks.cancel_scope.cancel()

    async def blow_up(told):
        await told.wait()
        raise Mine

    monkeypatch.setattr(Seats, "keep", fragile)
    return lambda: set_off[-1].set()


# --- one handle for ever -----------------------------------------------------------------------------------------------------------


async def test_the_value_of_each_start_is_the_one_handle(crash):
    spec = Bridge.child_spec("bridge")
    async with Supervisor([spec], name="app") as supervisor:
        bridge = supervisor.which_child("bridge").value
        assert (bridge.name, bridge.status, bridge.statistics().starts) == ("bridge", "running", 1)
        await bridge.wait_ready()
        crash()
        await status_of(bridge, "restarting")
        assert repr(bridge) == "<Bridge 'bridge' [restarting | store: MemoryStore | pools: default]>"
        assert not bridge.ready
        await bridge.wait_ready()
        assert supervisor.which_child("bridge").value is bridge
        assert (bridge.status, bridge.statistics().starts) == ("running", 2)

    assert bridge.status == "closed"
    async with Supervisor([spec], name="app") as supervisor:
        assert supervisor.which_child("bridge").value is bridge
        assert await bridge.pool().call(call("echo", value=1)) == 1


async def test_nobody_but_its_supervisor_opens_it():
    async with Supervisor([Bridge.child_spec("bridge")]) as supervisor:
        bridge = supervisor.which_child("bridge").value
        for opening in (bridge.start, bridge.serve, bridge.__aenter__):
            with pytest.raises(RuntimeError, match="is opened by its supervisor alone"):
                await opening()


async def test_wrong_options_are_refused_when_the_spec_is_made():
    with pytest.raises(TypeError, match=r"unknown option 'wrokers'\. Did you mean 'workers'"):
        Bridge.child_spec("bridge", wrokers=2)

    with pytest.raises(ValueError, match="shutdown"):
        Bridge.child_spec("bridge", shutdown=-1.0)


async def test_its_time_to_end_is_what_its_calls_and_its_workers_may_take():
    spec = Bridge.child_spec("bridge", drain=20.0, kill_after=2.0)
    assert spec.shutdown == 20.0 + 2.0 + 3.0
    async with Supervisor([Bridge.child_spec("bridge", shutdown=10.0)]) as supervisor:
        assert supervisor.which_child("bridge").value.drain == 6.0


async def test_one_that_is_stopped_by_its_user_is_started_again_if_it_is_permanent():
    for restart, status in (("permanent", "running"), ("transient", "closed")):
        async with Supervisor([Bridge.child_spec("bridge", restart=restart)]) as supervisor:
            bridge = supervisor.which_child("bridge").value
            await bridge.stop()
            await status_of(bridge, status)
            if status == "running":
                assert await bridge.pool().call(call("echo", value=1)) == 1
                assert bridge.statistics().starts == 2


async def test_one_that_is_stopped_by_its_user_holds_calls_back_until_it_is_started_again():
    results = []
    async with Supervisor([Bridge.child_spec("bridge", backoff=HOUR)]) as supervisor, anyio.create_task_group() as tasks:
        bridge = supervisor.which_child("bridge").value
        await bridge.stop()
        await status_of(bridge, "restarting")
        await waiting_for(bridge, results, tasks)
        assert results == []
        await supervisor.terminate_child("bridge")


# --- while it restarts -------------------------------------------------------------------------------------------------------------


@isolated
def counted(ctx, by):
    return ctx.add("count", by)


async def test_variables_go_on_while_a_bridge_restarts_and_a_call_made_meanwhile_is_served_after():
    results = []
    async with Group() as group, Context(bridge=group.bridge, variables=[COUNT]) as ctx:
        bound = await ctx.register_program("counted", counted)
        assert await bound(by=1) == 1
        await group.go_down()
        assert await ctx.variables.add(COUNT, 10) == 11
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect, results, bound(by=100))
            await until(lambda: group.bridge.statistics().pools["default"].waiting)
            await ctx.variables.set(COUNT, 20)
            assert results == []
            group.come_back()

        assert results == [120]
        assert await ctx.variables.get(COUNT) == 120
        assert ctx.status == "running"


async def test_a_bridge_is_new_to_a_context_that_switches_while_it_restarts():
    async with Group() as group, Context(bridge=group.bridge, variables=[COUNT]) as ctx:
        await group.go_down()
        await ctx.ensure_bridged()
        assert await ctx.variables.add(COUNT, 1) == 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ctx.register_program, "counted", counted)
            await until(lambda: group.bridge.statistics().pools["default"].waiting)
            group.come_back()

        assert await ctx.call("counted", {"by": 1}) == 2


async def test_a_call_that_runs_has_time_to_end_and_may_call_others_meanwhile():
    desk = Desk(x=1)
    desk.held.add("x")
    results, nested, late = [], [], []
    async with Group(concurrency=1) as group:
        pool = group.bridge.pool()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect, results, pool.call(call("meet", port=desk, v="x")))
            await desk.asked("x")
            pid = pool.statistics().workers[0].pid
            await group.go_down()
            tasks.start_soon(collect, late, pool.call(call("pid")))
            await until(lambda: pool.statistics().waiting)
            await collect(nested, pool.call(call("pid", chain=("meet",))))
            assert (results, nested, late) == ([], [pid], [])
            assert not pool.ready
            desk.answer(1)
            await until(lambda: results)
            assert results == [pid]
            group.come_back()
            await until(lambda: late)

        assert late != [pid]
        assert isinstance(late[0], int)


@pytest.mark.parametrize("program", ["meet", "meet_async", "never_end", "never_end_async"])
async def test_a_call_that_does_not_end_in_time_is_told_that_its_worker_has_died(program):
    desk = Desk()
    desk.held.add("x")
    results = []
    async with Group(drain=0.05, kill_after=0.2) as group, anyio.create_task_group() as tasks:
        pool = group.bridge.pool()
        tasks.start_soon(collect, results, pool.call(call(program, port=desk, v="x")))
        await desk.asked("x", unless=results)
        pid = pool.statistics().workers[0].pid
        await group.go_down()
        group.come_back()
        await until(lambda: results)
        assert isinstance(results[0], WorkerDied)
        assert (results[0].pid, results[0].applied) == (pid, None)
        assert await pool.call(call("pid")) != pid
        assert gone(pid)


async def test_calls_that_waited_for_a_place_before_it_went_down_are_served_after():
    desk = Desk(x=1)
    desk.held.add("x")
    results = []
    async with Group(concurrency=1, drain=0.05, kill_after=0.1) as group:
        pool = group.bridge.pool()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect, results, pool.call(call("meet", port=desk, v="x")))
            await desk.asked("x")
            for number in range(3):
                tasks.start_soon(collect, results, pool.call(call("echo", value=number)))
                await until(lambda number=number: pool.statistics().waiting == number + 1)

            await group.go_down()
            group.come_back()

        assert isinstance(results[0], WorkerDied)
        assert results[1:] == [0, 1, 2]


async def test_who_waits_for_a_bridge_waits_no_longer_than_its_deadline():
    async with Group() as group, Context(bridge=group.bridge, variables=[COUNT]) as ctx:
        bound = await ctx.register_program("counted", counted)
        await group.go_down()
        with pytest.raises(CallTimeout) as caught:
            await bound.call({"by": 1}, timeout=0.05)

        assert caught.value.applied is False
        with anyio.move_on_after(0.05) as scope:
            await bound(by=1)

        assert scope.cancelled_caught
        with anyio.move_on_after(0.05) as scope:
            await group.bridge.wait_ready()

        assert scope.cancelled_caught
        assert group.bridge.statistics().pools["default"].waiting == 0
        group.come_back()
        assert await bound(by=1) == 1


async def test_its_workers_are_gone_before_it_comes_back():
    desk = Desk()
    async with Group(drain=0.05, kill_after=0.1) as group, anyio.create_task_group() as tasks:
        pool = group.bridge.pool()
        tasks.start_soon(collect, [], pool.call(call("with_grandchild", port=desk, v="grandchild")))
        await desk.asked("grandchild")
        pid = pool.statistics().workers[0].pid
        await group.go_down()
        await until(lambda: group.supervisor.which_child("bridge").state == "restarting")
        assert gone(pid)
        await until(lambda: gone(desk.values["grandchild"]))
        group.come_back()


async def test_while_it_restarts_nobody_is_told_what_was_wrong_with_its_workers_before(tmp_path):
    python = tmp_path / "python"
    results = []
    async with Group(python=python, path=[PROGRAMS]) as group:
        pool = group.bridge.pool()
        with pytest.raises(StartFailed):
            await pool.call(call("nothing"))

        await group.go_down()
        async with anyio.create_task_group() as tasks:
            await waiting_for(group.bridge, results, tasks)
            assert results == []
            python.symlink_to(sys.executable)
            group.come_back()

        assert results == [None, None]


# --- a crash -----------------------------------------------------------------------------------------------------------------------


async def test_a_crash_ends_what_runs_at_once_and_keeps_what_waits(crash):
    desk = Desk()
    desk.held.add("x")
    results = []
    async with Supervisor([Bridge.child_spec("bridge", concurrency=1)]) as supervisor:
        bridge = supervisor.which_child("bridge").value
        pool = bridge.pool()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect, results, pool.call(call("never_end", port=desk, v="x")))
            await desk.asked("x")
            tasks.start_soon(collect, results, pool.call(call("echo", value="kept")))
            await until(lambda: pool.statistics().waiting)
            # One that would not leave if it were asked to.
            os.kill(pool.statistics().workers[0].pid, signal.SIGSTOP)
            began = time.perf_counter()
            crash()

        # It had thirty seconds, and its worker two, had it been asked to stop.
        assert time.perf_counter() - began < 1.0
        assert isinstance(results[0], WorkerDied)
        assert results[0].applied is None
        assert results[1] == "kept"
        assert isinstance(supervisor.which_child("bridge").error, Mine)
        assert bridge.pool() is pool


async def test_a_native_cancel_of_its_task_is_a_crash():
    if trio.lowlevel.in_trio_run():
        pytest.skip("trio has no native cancel")

    for name in ("app/bridge", "app/bridge/default"):
        async with Supervisor([Bridge.child_spec("bridge")], name="app") as supervisor:
            bridge = supervisor.which_child("bridge").value
            await bridge.wait_ready()
            pid = await bridge.pool().call(call("pid"))
            next(task for task in asyncio.all_tasks() if task.get_name() == name).cancel()
            await until(lambda bridge=bridge: bridge.statistics().starts == 2)
            assert gone(pid)
            assert await bridge.pool().call(call("pid")) != pid
            assert supervisor.which_child("bridge").error is not None


async def test_variables_of_a_context_outlive_a_crash_of_its_bridge(crash):
    async with Supervisor([Bridge.child_spec("bridge")]) as supervisor:
        bridge = supervisor.which_child("bridge").value
        async with Context(bridge=bridge, variables=[COUNT]) as ctx:
            bound = await ctx.register_program("counted", counted)
            for expected in (1, 3, 5):
                assert await bound(by=1) == expected
                crash()
                await status_of(bridge, "restarting")
                assert await ctx.variables.add(COUNT, 1) == expected + 1


async def test_a_storm_of_crashes_restarts_and_kills_loses_no_call_without_a_word(crash):
    desk = Desk(x=1)
    ended = []

    async def one(number):
        await collect(ended, pool.call(call("read" if number % 2 else "read_async", port=desk, v="x")))

    async def storm(group):
        for number in range(9):
            await pool.wait_ready()
            if number % 3 == 0:
                crash()
            elif number % 3 == 1:
                group.fuse.blow.set()
            else:
                os.kill(pool.statistics().workers[0].pid, signal.SIGKILL)

            await checkpoint()

    # No restart waits for anything, and there are more of them than anybody would allow.
    async with Group(workers=2, concurrency=4, max_restarts=100) as group:
        pool = group.bridge.pool()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(storm, group)
            for number in range(120):
                tasks.start_soon(one, number)

        assert len(ended) == 120
        assert {type(result) for result in ended} <= {int, WorkerDied}
        assert await pool.call(call("echo", value="still here")) == "still here"
        statistics = pool.statistics()
        assert (statistics.running, statistics.waiting) == (0, 0)


# --- gone for good -----------------------------------------------------------------------------------------------------------------


async def waiting_for(bridge, results, tasks):
    """One who waits for a place and one who waits until it is ready, while *bridge* is down."""
    tasks.start_soon(collect, results, bridge.pool().call(call("nothing")))
    tasks.start_soon(collect, results, bridge.wait_ready())
    await until(lambda: bridge.statistics().pools["default"].waiting)
    await checkpoint()


async def one_runs_and_one_waits(pool, results, tasks):
    """Of a pool with one place."""
    desk = Desk()
    desk.held.add("x")
    tasks.start_soon(collect, results, pool.call(call("never_end", port=desk, v="x")))
    await desk.asked("x")
    tasks.start_soon(collect, results, pool.call(call("nothing")))
    await until(lambda: pool.statistics().waiting)


async def test_one_that_is_parked_tells_everyone_and_comes_back_when_it_is_restarted(crash):
    results = []
    spec = Bridge.child_spec("bridge", concurrency=1, max_restarts=1, max_seconds=3600.0, on_limit="park")
    async with Supervisor([spec]) as supervisor, anyio.create_task_group() as tasks:
        bridge = supervisor.which_child("bridge").value
        pool = bridge.pool()
        await pool.wait_ready()
        crash()
        await until(lambda: bridge.statistics().starts == 2)
        await one_runs_and_one_waits(pool, results, tasks)
        crash()
        await until(lambda: len(results) == 2)
        assert bridge.status == "parked"
        assert [type(result) for result in results] == [WorkerDied, BridgeClosed]
        assert [result.applied for result in results] == [None, False]
        assert isinstance(results[1].__cause__, Mine)
        with pytest.raises(BridgeClosed, match=r"^The bridge 'bridge' is parked") as caught:
            bridge.pool()

        assert isinstance(caught.value.__cause__, Mine)
        with pytest.raises(BridgeClosed, match=r"^The bridge of pool 'default' is parked"):
            await pool.call(call("nothing"))

        await supervisor.restart_child("bridge")
        assert bridge.status == "running"
        assert await bridge.pool().call(call("echo", value=1)) == 1


async def test_one_that_waits_to_be_restarted_and_is_stopped_instead_tells_everyone(crash):
    results = []
    async with Supervisor([Bridge.child_spec("bridge", backoff=HOUR)]) as supervisor, anyio.create_task_group() as tasks:
        bridge = supervisor.which_child("bridge").value
        await bridge.wait_ready()
        crash()
        await status_of(bridge, "restarting")
        await waiting_for(bridge, results, tasks)
        await supervisor.terminate_child("bridge")
        await until(lambda: len(results) == 2)
        assert [type(result) for result in results] == [BridgeClosed, BridgeClosed]
        assert bridge.status == "closed"


async def test_one_that_is_never_restarted_tells_everyone(crash):
    results = []
    async with Supervisor([Bridge.child_spec("bridge", restart="temporary")]) as supervisor, anyio.create_task_group() as tasks:
        bridge = supervisor.which_child("bridge").value
        pool = bridge.pool()
        await pool.wait_ready()
        crash()
        await status_of(bridge, "restarting")
        tasks.start_soon(collect, results, pool.call(call("nothing")))
        await until(lambda: results)
        assert isinstance(results[0], BridgeClosed)
        assert bridge.status == "closed"


async def test_one_whose_supervisor_gives_up_tells_everyone_before_it_stops_the_others(crash):
    told, stopped = anyio.Event(), []

    async def stop_when_told(final):
        with anyio.fail_after(20):
            await told.wait()

        stopped.extend(map(type, results))

    async def other():
        await told.wait()

    results = []
    children = [Bridge.child_spec("bridge", concurrency=1, max_restarts=0), ChildSpec("other", other, stop=stop_when_told, shutdown=60.0)]
    async with anyio.create_task_group() as tasks:
        with pytest.raises(RestartLimitReached):
            async with Supervisor(children) as supervisor:
                bridge = supervisor.which_child("bridge").value
                await one_runs_and_one_waits(bridge.pool(), results, tasks)
                crash()
                tasks.start_soon(tell, lambda: len(results) == 2, told)
                await anyio.sleep_forever()

    assert bridge.status == "closed"
    assert stopped == [WorkerDied, BridgeClosed]
    assert isinstance(results[1].__cause__, Mine)
    with pytest.raises(BridgeClosed, match="is closed") as caught:
        bridge.pool()

    assert isinstance(caught.value.__cause__, Mine)


async def tell(condition, told):
    await until(condition)
    told.set()


async def test_one_that_stops_for_good_refuses_newcomers_and_drains():
    desk = Desk(x=1)
    desk.held.add("x")
    results = []
    async with Supervisor([Bridge.child_spec("bridge")]) as supervisor, anyio.create_task_group() as tasks:
        bridge = supervisor.which_child("bridge").value
        tasks.start_soon(collect, results, bridge.pool().call(call("meet", port=desk, v="x")))
        await desk.asked("x")
        tasks.start_soon(supervisor.terminate_child, "bridge")
        await status_of(bridge, "stopping")
        with pytest.raises(BridgeClosed):
            await bridge.pool().call(call("nothing"))

        desk.answer(1)
        await status_of(bridge, "closed")
        assert isinstance(results[0], int)


async def test_one_that_is_killed_leaves_no_process_and_is_never_overdue(caplog):
    desk = Desk()
    desk.held.add("x")
    results = []
    async with Supervisor([Bridge.child_spec("bridge", shutdown="brutal_kill")]) as supervisor, anyio.create_task_group() as tasks:
        bridge = supervisor.which_child("bridge").value
        tasks.start_soon(collect, results, bridge.pool().call(call("never_end", port=desk, v="x")))
        await desk.asked("x")
        pid = bridge.statistics().pools["default"].workers[0].pid
        await supervisor.terminate_child("bridge")
        assert gone(pid)
        await until(lambda: results)
        assert isinstance(results[0], (BridgeClosed, WorkerDied))
        assert results[0].applied is None

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# --- its workers, as children of a supervisor -------------------------------------------------------------------------------------


def task_names():
    return {task.name for task in anyio.get_running_tasks()}


async def test_tasks_are_named_by_their_paths():
    async with Supervisor([Bridge.child_spec("bridge", workers=2)], name="app") as supervisor:
        await supervisor.which_child("bridge").value.wait_ready()
        assert {"app/bridge", "app/bridge/default", "app/bridge/default/worker-1", "app/bridge/default/worker-2"} <= task_names()

    async with Bridge(name="mine") as bridge:
        await bridge.wait_ready()
        assert "mine default/worker-1" in task_names()


async def test_the_tree_shows_pools_and_workers(crash):
    async with Supervisor([Bridge.child_spec("bridge", workers=2)], name="app") as supervisor:
        bridge = supervisor.which_child("bridge").value
        pool = bridge.pool()
        assert {below.state for path, below in supervisor.tree() if "worker-" in path} == {"starting"}
        await until_all_are_ready(pool)
        pid = await pool.call(call("pid"))
        tree = supervisor.tree()
        assert tree.find("app/bridge").kind == "bridge"
        assert tree.find("app/bridge").state == "running"
        default = tree.find("app/bridge/default")
        assert (default.kind, default.state) == ("pool", "running")
        assert default.facts == {"ready": 2, "workers": 2, "running": 0, "waiting": 0}
        worker = next(worker for worker in default.children if worker.facts["pid"] == pid)
        assert (worker.kind, worker.state, worker.facts) == ("process", "ready", {"pid": pid, "running": 0, "served": 1})

        os.kill(pid, signal.SIGKILL)
        await until(lambda: pool.statistics().deaths)
        noted = supervisor.tree().find(f"app/bridge/default/{worker.name}")
        assert noted.note == f"after worker {pid} was killed by SIGKILL (signal 9)"
        crash()
        await status_of(bridge, "restarting")
        assert bridge.__branch__().state == "restarting"
        assert "restarting" in repr(pool)


async def until_all_are_ready(pool):
    with anyio.fail_after(20):
        while sum(worker.status == "ready" for worker in pool.statistics().workers) < pool.options.workers:
            await pool._news.wait()


async def test_the_tree_shows_why_a_pool_has_no_workers():
    async with Supervisor([Bridge.child_spec("bridge", python="/nowhere")], name="app") as supervisor:
        pool = supervisor.which_child("bridge").value.pool()
        await until(lambda: pool.statistics().deaths)
        pool_branch, worker = supervisor.tree().find("app/bridge/default"), supervisor.tree().find("app/bridge/default/worker-1")
        assert pool_branch.note == worker.note
        assert pool_branch.note.startswith("A worker of pool 'default' failed to start: there is no Python interpreter at '/nowhere'.")
        assert worker.state == "restarting"


# --- I10: no orphans ---------------------------------------------------------------------------------------------------------------

HOST = """
    import sys
    sys.path[:0] = {path!r}
    import anyio
    from worker_desk import call
    from dspex.bridge import Bridge
    from dspex.supervision import Supervisor

    async def main():
        async with Supervisor([Bridge.child_spec("bridge", workers=2)]) as supervisor:
            pool = supervisor.which_child("bridge").value.pool()
            await pool.call(call("nothing"))
            while len(pool.statistics().workers) < 2:
                await anyio.sleep(0)
            print(*(worker.pid for worker in pool.statistics().workers), flush=True)
            await anyio.sleep_forever()

    anyio.run(main, backend={backend!r})
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_i10_no_worker_of_a_supervised_bridge_outlives_a_host_that_is_killed(backend):
    here = Path(__file__).parent
    script = textwrap.dedent(HOST).format(path=[str(here), str(here.parent / "src")], backend=backend)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as host:
        assert host.stdout is not None
        pids = [int(pid) for pid in host.stdout.readline().split()]
        host.kill()

    killed = time.perf_counter()
    assert len(pids) == 2
    while not all(map(gone, pids)):
        assert time.perf_counter() - killed < 1.0, "a worker outlived its host by a second"
