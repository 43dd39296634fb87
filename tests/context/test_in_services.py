"""Where contexts live: in the dependency of a web framework, behind a real server, and on trio. At prompts: see tests/repl."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
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
