"""
A context for each request of a FastAPI service, as a dependency with ``yield``, over one bridge for the whole service.

An endpoint that raises stays what it is: a 404 is a 404. Serve it with ``uvicorn fastapi_service:app`` from this folder.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request

from dspex import Bridge, Context, Var, isolated

LIMIT = Var("limit", int, 40, min=1)


@isolated
def shorten(text: str, limit: int) -> str:
    """What would hold the event loop, or could crash: it runs in a worker."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One bridge, and its warm workers, for as long as the service runs."""
    async with Bridge(workers=1) as bridge:
        app.state.bridge = bridge
        yield


app = FastAPI(lifespan=lifespan)


async def context(request: Request) -> AsyncIterator[Context]:
    """A context of the request's own. What the endpoint raises passes through it unwrapped."""
    async with Context(variables=[LIMIT], bridge=request.app.state.bridge) as ctx:
        yield ctx


Scoped = Annotated[Context, Depends(context)]
TEXTS = {"otp": "OTP is a set of libraries and design principles for programs that keep running."}


@app.get("/texts/{name}")
async def text(name: str, ctx: Scoped, limit: int | None = None) -> dict[str, str]:
    """A text, shortened in a worker."""
    if name not in TEXTS:
        raise HTTPException(404, f"no text {name!r}")

    if limit is not None:
        await ctx.variables.set(LIMIT, limit)

    bound = await ctx.register_program("shorten", shorten)
    return {"text": await bound(text=TEXTS[name], limit=await ctx.variables.get(LIMIT)), "backend": ctx.backend.kind}
