"""Where contexts live: in the dependency of a web framework, behind a real server, on trio, and at the prompt of the asyncio REPL."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import fastapi
import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from dspex import Context, Status, Var

SOURCE = Path(__file__).parents[2] / "src"
COUNT = Var("count", int, 0)


def fastapi_app(seen: list[Context]) -> fastapi.FastAPI:
    app = fastapi.FastAPI()

    async def context() -> AsyncIterator[Context]:
        async with Context(variables=[COUNT]) as ctx:
            seen.append(ctx)
            yield ctx

    Given = Annotated[Context, fastapi.Depends(context)]

    async def item(number: int, ctx: Given) -> dict[str, int]:
        if number == 404:
            raise fastapi.HTTPException(404, "no such item")

        if number == 500:
            raise LookupError("a bug")

        return {"count": await ctx.variables.add(COUNT, number)}

    async def bridged(number: int, ctx: Given) -> dict[str, int]:
        await ctx.ensure_bridged()
        if number == 404:
            raise fastapi.HTTPException(404, "no such item")

        return {"count": await ctx.variables.add(COUNT, number)}

    item.__annotations__["ctx"] = bridged.__annotations__["ctx"] = Given
    app.get("/items/{number}")(item)
    app.get("/bridged/{number}")(bridged)
    return app


async def asked(client: httpx.AsyncClient) -> None:
    for path in ("/items", "/bridged"):
        fine = await client.get(f"{path}/3")
        assert (fine.status_code, fine.json()) == (200, {"count": 3})
        missing = await client.get(f"{path}/404")
        assert (missing.status_code, missing.json()) == (404, {"detail": "no such item"})


async def test_an_endpoint_that_raises_a_404_over_a_yield_dependency_stays_a_404() -> None:
    seen: list[Context] = []
    transport = httpx.ASGITransport(app=fastapi_app(seen))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await asked(client)
        with pytest.raises(LookupError, match="a bug"):
            await client.get("/items/500")

    assert len(seen) == 5
    assert {ctx.status for ctx in seen} == {Status.CLOSED}


class Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """The test's process keeps its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def served(app: Any, loop: Any) -> Iterator[int]:
    """*app* behind a real uvicorn in a thread, on a free port."""
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = Server(uvicorn.Config(app, loop=loop, log_level="critical", lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_behind_a_real_server_too(loop: Any) -> None:
    seen: list[Context] = []
    with served(fastapi_app(seen), loop) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client:
        for path in ("/items", "/bridged"):
            fine = client.get(f"{path}/3")
            assert (fine.status_code, fine.json()) == (200, {"count": 3})
            missing = client.get(f"{path}/404")
            assert (missing.status_code, missing.json()) == (404, {"detail": "no such item"})

        assert client.get("/items/500").status_code == 500

    assert len(seen) == 5
    assert {ctx.status for ctx in seen} == {Status.CLOSED}


async def changes_of_count(request: Request) -> StreamingResponse:
    async def body() -> AsyncIterator[str]:
        async with Context(variables=[COUNT]) as ctx, ctx.variables.watch(COUNT, include_initial=True) as changes:
            request.app.state.seen.append(ctx)
            async for change in changes:
                yield f"{change.value}\n"
                if change.value == 3:
                    return

                await ctx.variables.add(COUNT, 1)

    return StreamingResponse(body())


async def one_count(request: Request) -> PlainTextResponse:
    async with Context(variables=[COUNT]) as ctx:
        return PlainTextResponse(str(await ctx.variables.add(COUNT, 1)))


def starlette_app(seen: list[Context]) -> Starlette:
    app = Starlette(routes=[Route("/count", one_count), Route("/changes", changes_of_count)])
    app.state.seen = seen
    return app


async def test_starlette_serves_contexts_and_streams_their_changes_on_every_loop() -> None:
    seen: list[Context] = []
    transport = httpx.ASGITransport(app=starlette_app(seen))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/count")).text == "1"
        assert (await client.get("/changes")).text.split() == ["0", "1", "2", "3"]

    assert [ctx.status for ctx in seen] == [Status.CLOSED]


async def forever(request: Request) -> StreamingResponse:
    async def body() -> AsyncIterator[str]:
        async with request.app.state.ctx.variables.watch(COUNT, include_initial=True) as changes:
            async for change in changes:
                yield f"{change.value}\n"

    return StreamingResponse(body())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_client_that_leaves_a_stream_leaves_no_watch(loop: Any) -> None:
    async def start(request: Request) -> PlainTextResponse:
        app.state.ctx = await Context.start(variables=[COUNT])
        return PlainTextResponse("up")

    async def look(request: Request) -> PlainTextResponse:
        await app.state.ctx.variables.add(COUNT, 1)
        return PlainTextResponse(str(app.state.ctx.statistics().watches))

    async def stop(request: Request) -> PlainTextResponse:
        await app.state.ctx.stop()
        return PlainTextResponse(str(app.state.ctx.status))

    app = Starlette(routes=[Route("/start", start), Route("/forever", forever), Route("/look", look), Route("/stop", stop)])
    with served(app, loop) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client:
        client.get("/start")
        with client.stream("GET", "/forever") as response:
            lines = response.iter_lines()
            assert next(lines) == "0"
            assert client.get("/look").text == "1"

        until = time.monotonic() + 20
        while client.get("/look").text != "0":
            assert time.monotonic() < until

        assert client.get("/stop").text == "closed"


# --- the REPL ------------------------------------------------------------------------------------------------------------------

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\r")


class Repl:
    """``python -m asyncio`` behind a pseudo-terminal."""

    def __init__(self) -> None:
        self._ours, theirs = pty.openpty()
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), "TERM": "dumb", "PYTHON_BASIC_REPL": "1", "PYTHONWARNINGS": "default"}
        self.process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-m", "asyncio"],
            stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.said = ""
        self._until(">>> import asyncio\n>>> ")

    def _read(self, until: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            return False

        try:
            data = os.read(self._ours, 65536)
        except OSError:  # the other end is closed
            return False

        self.said += ESCAPES.sub("", data.decode(errors="replace"))
        return bool(data)

    def _until(self, text: str, since: int = 0) -> str:
        until = time.monotonic() + 30
        while text not in self.said[since:]:
            assert self._read(until), f"waited for {text!r}; it said:\n{self.said}"

        return self.said[since:]

    def ask(self, line: str) -> str:
        """Types *line* and tells what came until the next prompt."""
        since = len(self.said)
        os.write(self._ours, f"{line}\n".encode())
        return self._until("\n>>> ", since)

    def define(self, *lines: str) -> None:
        """Types a compound statement."""
        since = len(self.said)
        for line in lines:
            os.write(self._ours, f"{line}\n".encode())
            self._until("... ", since)
            since = len(self.said)

        os.write(self._ours, b"\n")
        self._until(">>> ", since)

    def leave(self) -> str:
        """Types end of file and tells all that came after it."""
        since = len(self.said)
        os.write(self._ours, b"\x04")
        until = time.monotonic() + 30
        while self._read(until):
            pass

        self.process.wait(30)
        return self.said[since:]

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)

        os.close(self._ours)


@pytest.fixture
def repl() -> Iterator[Repl]:
    opened = Repl()
    yield opened
    opened.close()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def used(repl: Repl) -> int:
    """Starts a context at the prompt and uses it, in a worker too. Gives the worker's pid."""
    repl.ask("import os, dspex")
    repl.ask("ctx = await dspex.Context.start(variables=[dspex.Var('count', int, 0)])")
    assert "5" in repl.ask("await ctx.variables.add('count', 5)").splitlines()[1]
    if sys.version_info[:3] == (3, 13, 0):
        # The asyncio prompt of 3.13.0, without its line editor, takes each line for a whole statement.
        repl.ask("double = dspex.isolated(lambda n, ctx: [os.getpid(), ctx.add('count', n)])")
    else:
        repl.define("@dspex.isolated", "def double(n, ctx):", "    ctx.add('count', n)", "    return [os.getpid(), ctx.get('count')]")

    repl.ask("bound = await ctx.register_program('double', double)")
    answer = re.search(r"\[(\d+), (\d+)\]", repl.ask("await bound(n=2)"))
    assert answer is not None, repl.said
    assert int(answer[2]) == 7
    assert "'bridged'" in repl.ask("ctx.backend.kind")
    assert int(answer[1]) != repl.process.pid and alive(int(answer[1]))
    return int(answer[1])


NOISE = re.compile(r"Traceback|Warning|Error|was destroyed|never awaited|Exception ignored", re.IGNORECASE)


def test_in_the_repl_a_context_starts_runs_a_function_of_the_prompt_in_a_worker_and_stops(repl: Repl) -> None:
    worker = used(repl)
    repl.ask("await ctx.stop()")
    assert "closed" in repl.ask("str(ctx.status)")
    assert not alive(worker)
    left = repl.leave()
    assert not NOISE.search(left), left
    assert not NOISE.search(repl.said), repl.said
    assert repl.process.returncode == 0


def test_leaving_the_repl_without_stopping_leaves_no_process_and_says_nothing(repl: Repl) -> None:
    worker = used(repl)
    left = repl.leave()
    assert not NOISE.search(left), left
    until = time.monotonic() + 5
    while alive(worker):
        assert time.monotonic() < until, f"worker {worker} outlived its REPL"
        os.sched_yield()

    assert repl.process.returncode == 0
