"""The view of a real service, through a real socket: one in this process, and the demo's in one of its own."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest
from top.views import Looking

from dspex import Bridge, Context, Contexts, Supervisor, SyncProgramContext, Var, isolated, monitor, whereis
from dspex._top import _demo
from dspex._top._app import Top
from dspex._top._demo import DemoFailed, demo_service
from dspex.testing import crash

VISITS = Var("visits", int, 0)
KEY = Var("key", str, "hunter2", sensitive=True)


@isolated
def greet(name: str, ctx: SyncProgramContext) -> str:
    ctx.add("visits", 1)
    return f"hello {name}"


class Attached(Looking):
    """A view that is attached to a socket."""

    def __init__(self, socket: Path, size: tuple[int, int] = (120, 40)) -> None:
        super().__init__(size=size)
        self.feed.refuse = "nobody asks it"
        self.app = Top(partial(monitor.connect, socket), where=str(socket), every=0.1)

    async def select(self, path: str) -> None:
        self.model.select(path)
        self.app._tree.show_cursor()
        await self.until(lambda: self.model.detail is not None and self.model.detail["path"] == path)


@asynccontextmanager
async def app():
    children = [
        Bridge.child_spec("bridge", workers=1),
        Context.child_spec("lobby", variables=[VISITS, KEY], programs={"greet": greet}, bridge="bridge"),
        Context.child_spec("clock", variables=[VISITS]),
    ]
    async with Supervisor(children, name="app") as supervisor:
        yield supervisor


async def test_a_service_is_seen_as_it_is(tmp_path):
    socket = tmp_path / "s"
    async with app() as supervisor, monitor.serve(socket), Attached(socket) as view:
        lobby = whereis("lobby")
        await view.until(lambda: view.sees("● lobby") and view.sees("● worker-1"))
        assert view.sees(f"pid {os.getpid()}")

        await view.select("app/lobby")
        await lobby.call("greet", {"name": "ada"})
        await view.until(lambda: view.sees("visits") and view.sees("1 calls"))
        assert view.sees("BridgedState")
        assert view.sees("switch")
        assert not view.sees("hunter2")

        for _ in range(20):
            await lobby.variables.add(VISITS, 1)

        await view.until(lambda: any("v21" in line for line in view.screen()))
        await view.until(lambda: view.model.remembered.of("app/lobby").ring("p99").last is None)
        assert any(view.model.remembered.of("app/lobby").ring("p99").samples)

        crash(lobby)
        await view.until(lambda: view.sees("crashed on purpose"))
        await view.select("app")
        await view.until(lambda: view.sees("restarts 1 in the last"))

        await view.select("app/bridge/default/worker-1")
        pid = view.model.detail["pid"]
        os.kill(pid, signal.SIGKILL)
        await view.until(lambda: view.sees("SIGKILL"))
        await view.select("app/bridge/default")
        await view.until(lambda: view.sees("deaths 1"))
        assert supervisor.which_child("bridge").state == "running"


async def test_one_of_two_thousand_is_found_by_name_and_what_is_not_there_is_said(tmp_path):
    socket = tmp_path / "s"
    spec = Contexts.child_spec("users", variables=[VISITS])
    async with Supervisor([spec], name="app") as supervisor, monitor.serve(socket), AsyncExitStack() as held:
        users = supervisor.which_child("users").value
        for number in range(2000):
            await held.enter_async_context(users.open(f"user-{number}"))

        async with Attached(socket) as view:
            await view.until(lambda: view.model.is_partial)
            await view.press("slash")
            await view.type("user-1999")
            await view.press("enter")
            await view.until(lambda: view.model.detail is not None and view.model.detail["path"] == "app/users/user-1999")
            assert view.model.node.found
            assert view.sees("visits")

            await view.press("slash")
            await view.type("user-2000")
            await view.press("enter")
            await view.until(lambda: view.sees("There is nothing called 'user-2000'"))


async def test_the_service_is_gone_and_comes_back(tmp_path):
    socket = tmp_path / "s"
    async with app():
        async with monitor.serve(socket):
            view = Attached(socket)
            await view.__aenter__()
            await view.until(lambda: view.sees("● lobby"))

        try:
            await view.until(lambda: view.sees("not connected"))
            async with monitor.serve(socket):
                await view.until(lambda: view.sees("● live"))
        finally:
            await view.__aexit__(None, None, None)


async def test_nobody_who_looks_costs_the_service_its_life(tmp_path):
    socket = tmp_path / "s"
    async with app(), monitor.serve(socket) as server:
        for _ in range(3):
            async with Attached(socket) as view:
                await view.until(lambda: view.sees("● lobby"))

        with anyio.fail_after(10):
            while server.clients:  # noqa: ASYNC110 - it has no event for that
                await anyio.sleep(0.01)

        assert whereis("lobby").status == "running"


# --- the demo's ----------------------------------------------------------------------------------------------------------------------


async def test_the_demo_is_a_busy_service():
    with demo_service() as socket:
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        async with Attached(socket) as view:
            await view.until(lambda: view.sees("shop") and view.sees("worker-2"))
            await view.until(lambda: view.model.shown.totals["operations"] > 500)
            await view.select("shop/goods")
            await view.until(lambda: view.sees("payment_key"))
            assert not view.sees("4711")
            await view.until(lambda: any(event.kind == "ProgramCalled" for event in view.model.happened._calls))

    assert not socket.parent.exists()


def test_the_demo_goes_when_the_view_is_killed():
    """A process like the view starts it and is killed: nothing is left, neither a process nor a file."""
    code = (
        "import sys, time; from dspex._top._demo import demo_service\n"
        "with demo_service() as socket:\n"
        "    print(socket, flush=True)\n"
        "    time.sleep(60)\n"
    )
    source = str(Path(_demo.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": source}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as view:
        socket = Path(view.stdout.readline().strip())
        service = next(iter(_pids_with(str(socket))))
        view.kill()

    _wait_until(lambda: not Path("/proc", str(service)).exists() and not socket.parent.exists())
    assert not _pids_with(str(socket))


def test_the_demo_that_can_not_start_says_why(monkeypatch):
    monkeypatch.setattr(_demo, "__package__", "dspex.no_such_room")
    with pytest.raises(DemoFailed, match="No module named"), demo_service():
        pass  # pragma: no cover


def _pids_with(text: str) -> set[int]:
    found = set()
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and text.encode() in Path("/proc", entry, "cmdline").read_bytes():
                found.add(int(entry))
        except OSError:
            continue

    return found


def _wait_until(so, seconds: float = 20.0) -> None:
    import time

    deadline = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.02)
