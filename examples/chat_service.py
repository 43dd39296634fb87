"""
A context for each chat of a FastAPI service: a family of contexts over one bridge, both opened in the lifespan.

Each chat's state is at hand like a dict, shared with the worker process that answers, and kept in a file while nobody chats: it is loaded when its context starts
and saved before it is evicted, and when the service is asked to stop (SIGTERM) after the requests in flight are through.

Serve it with ``uvicorn chat_service:app`` from this folder. ``CHATS`` names the folder for the files.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import anyio
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from dspex import Bridge, ContextCrashed, Contexts, Overloaded, Snapshot, StartFailed, SyncProgramContext, Var, WorkerDied, isolated

FOLDER = anyio.Path(os.environ.get("CHATS", "chats"))

# Of each client the number of its last turn. Laying the same turn over it twice changes nothing, so a client may repeat what it got no answer to.
TURNS = Var("turns", dict[str, int], {})
STYLE = Var("style", str, "plain", choices=["plain", "loud"])


@isolated
def answer(text: str, ctx: SyncProgramContext) -> str:
    """What would hold the event loop, or could crash. It reads the chat's state from its own process."""
    said = f"You said {text!r}."
    return said.upper() if ctx.get(STYLE) == "loud" else said


async def load(chat: str) -> Snapshot | None:
    """What the last context of this chat was saved with."""
    file = FOLDER / f"{quote(chat, safe='')}.json"
    return Snapshot.from_json(await file.read_text()) if await file.exists() else None


async def save(chat: str, snapshot: Snapshot) -> None:
    """All or nothing: a half-written file never has the name that is looked for."""
    file = FOLDER / f"{quote(chat, safe='')}.json"
    await file.parent.mkdir(exist_ok=True)
    half = file.with_suffix(".part")
    await half.write_text(snapshot.to_json())
    await half.replace(file)


OPTIONS: dict[str, Any] = {"variables": [TURNS, STYLE], "programs": {"answer": answer}, "load": load, "save": save, "idle": 60.0}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One bridge and one family, for as long as the service runs. Left in the other order: chats are saved first."""
    async with Bridge(workers=1) as bridge, Contexts(bridge=bridge, **OPTIONS) as chats:
        app.state.bridge = bridge
        app.state.chats = chats
        yield


app = FastAPI(lifespan=lifespan)


class Turn(BaseModel):
    """One turn of one client. Turns of a client are numbered from 1."""

    client: str
    turn: int = Field(ge=1)
    text: str = ""


@app.post("/chats/{chat}/turns")
async def take_turn(chat: str, turn: Turn, request: Request) -> dict[str, object]:
    """Counts the turn, then has it answered in a worker."""
    async with request.app.state.chats.open(chat) as ctx:
        await ctx.variables.merge(TURNS, {turn.client: turn.turn})
        said = await ctx.call("answer", {"text": turn.text})
        return {"answer": said, "turn": turn.turn, "backend": ctx.backend.kind}


@app.get("/chats/{chat}")
async def show(chat: str, request: Request) -> dict[str, object]:
    """The chat as it stands."""
    async with request.app.state.chats.open(chat) as ctx:
        return {"turns": await ctx.variables.get(TURNS), "style": await ctx.variables.get(STYLE)}


@app.put("/chats/{chat}/style/{style}")
async def restyle(chat: str, style: str, request: Request) -> dict[str, object]:
    """Sets a typed variable: what doesn't fit it is the client's mistake."""
    async with request.app.state.chats.open(chat) as ctx:
        try:
            return {"version": await ctx.variables.set(STYLE, style)}
        except ValueError as error:
            raise HTTPException(422, str(error)) from None


@app.get("/health")
async def health(request: Request) -> JSONResponse:
    """Whether a worker is ready, and how many chats are at hand."""
    bridge, chats = request.app.state.bridge, request.app.state.chats
    told = {"ready": bridge.ready, "chats": chats.statistics().contexts, "bridge": bridge.status}
    return JSONResponse(told, status_code=200 if bridge.ready else 503)


async def try_again(request: Request, error: Exception) -> JSONResponse:
    """Something died under this request and is being replaced. The client may ask again at once."""
    return JSONResponse({"detail": str(error)}, status_code=503, headers={"Retry-After": "0"})


for kind in (WorkerDied, ContextCrashed, StartFailed, Overloaded):
    app.add_exception_handler(kind, try_again)
