"""
The chat service once more, with Starlette on trio: not a line of what is dspex differs.

Run it with ``python examples/chat_on_trio.py 8000``: Hypercorn (``pip install hypercorn``) serves it. SIGTERM lets the requests in flight end, then saves the chats.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import trio
from chat_service import OPTIONS, TURNS
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dspex import Bridge, ContextCrashed, Contexts, WorkerDied


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """One bridge and one family."""
    async with Bridge(workers=1) as bridge, Contexts(bridge=bridge, **OPTIONS) as chats:
        app.state.bridge = bridge
        app.state.chats = chats
        yield


async def take_turn(request: Request) -> Response:
    """Counts the turn, then has it answered in a worker."""
    turn = await request.json()
    async with request.app.state.chats.open(request.path_params["chat"]) as ctx:
        await ctx.variables.merge(TURNS, {turn["client"]: turn["turn"]})
        said = await ctx.call("answer", {"text": turn.get("text", "")})
        return JSONResponse({"answer": said, "turn": turn["turn"], "backend": ctx.backend.kind})


async def show(request: Request) -> Response:
    """The chat as it stands."""
    async with request.app.state.chats.open(request.path_params["chat"]) as ctx:
        return JSONResponse({"turns": await ctx.variables.get(TURNS), "loop": "trio" if trio.lowlevel.in_trio_run() else "asyncio"})


async def health(request: Request) -> Response:
    """Whether a worker is ready."""
    ready = request.app.state.bridge.ready
    return JSONResponse({"ready": ready, "chats": request.app.state.chats.statistics().contexts}, status_code=200 if ready else 503)


async def try_again(request: Request, error: Exception) -> Response:
    """Something died under this request and is being replaced."""
    return JSONResponse({"detail": str(error)}, status_code=503, headers={"Retry-After": "0"})


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/chats/{chat}/turns", take_turn, methods=["POST"]),
        Route("/chats/{chat}", show),
        Route("/health", health),
    ],
    exception_handlers={WorkerDied: try_again, ContextCrashed: try_again},
)


async def main(port: int) -> None:
    """Serves until SIGTERM or SIGINT."""
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:

        async def asked() -> None:
            await anext(aiter(signals))

        served: Any = app
        await serve(served, config, shutdown_trigger=asked, mode="asgi")


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]), backend="trio")
