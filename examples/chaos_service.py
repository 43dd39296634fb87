"""
The chat service, with a child in its tree that crashes chats and kills workers all the time. Its clients go on counting, and no count is lost.

The same endpoints as ``chat_service``; the bridge, the chats and the chaos are children of one supervisor. Serve it with ``uvicorn chaos_service:app``; run
``python chaos_service.py http://127.0.0.1:8000`` beside it for clients that count: it prints what they counted and what the service has.
"""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import httpx
from chat_service import OPTIONS, app
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from dspex import Bridge, ChildSpec, Contexts, DspexError, Supervisor
from dspex.testing import crash, kill


async def chaos(app: FastAPI) -> None:
    """Twenty times a second a chat crashes, and now and then a worker is killed."""
    tree: Supervisor = app.state.tree
    bridge: Bridge = tree.which_child("bridge").value
    chats: Contexts = tree.which_child("chats").value
    while True:
        await anyio.sleep(0.05)
        if random.random() < 0.05:
            app.state.killed += kill(bridge) is not None

        if keys := list(chats.keys()):
            try:
                async with chats.open(random.choice(keys)) as ctx:
                    crash(ctx)
                    app.state.crashed += 1
            except DspexError:
                """It is down already."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The tree. Its limits are made for chaos: each chat may crash as often as it likes, and so may each worker."""
    children = [
        Bridge.child_spec("bridge", workers=2),
        Contexts.child_spec("chats", bridge="bridge", **OPTIONS),
        ChildSpec("chaos", partial(chaos, app)),
    ]
    tree = Supervisor(children, name="service", max_restarts=1000)
    app.state.tree, app.state.killed, app.state.crashed = tree, 0, 0
    async with tree:
        app.state.bridge = tree.which_child("bridge").value
        app.state.chats = tree.which_child("chats").value
        yield


app.router.lifespan_context = lifespan


async def show_tree() -> PlainTextResponse:
    """The live tree, and what the chaos has done."""
    return PlainTextResponse(f"{app.state.tree.tree()}\ncrashed {app.state.crashed} chats, killed {app.state.killed} workers\n")


app.add_api_route("/tree", show_tree, response_class=PlainTextResponse)


# --- the clients -----------------------------------------------------------------------------------------------------------------


async def until_good(http: httpx.AsyncClient, method: str, path: str, body: dict[str, object] | None = None) -> Any:
    """Asks, and asks again what something died under."""
    while True:
        answer = await http.request(method, path, json=body)
        if answer.status_code == 200:
            return answer.json()

        await anyio.sleep(0.005)


async def count(http: httpx.AsyncClient, chat: str, client: str, turns: int) -> None:
    """Takes *turns* turns. What got no good answer is asked again: the service says that this is fine."""
    for turn in range(1, turns + 1):
        await until_good(http, "POST", f"/chats/{chat}/turns", {"client": client, "turn": turn, "text": "hi"})


async def main(url: str, *, chats: int = 3, clients: int = 4, turns: int = 25) -> bool:
    """All clients at once, then a look at what the service has. Whether all of it is there."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        async with anyio.create_task_group() as tasks:
            for chat in range(chats):
                for client in range(clients):
                    tasks.start_soon(count, http, f"chat-{chat}", f"client-{client}", turns)

        found = [(await until_good(http, "GET", f"/chats/chat-{chat}"))["turns"] for chat in range(chats)]
        print((await http.get("/tree")).text)

    counted = sum(sum(of_one.values()) for of_one in found)
    print(f"counted {chats * clients * turns}, the service has {counted}")
    return counted == chats * clients * turns


if __name__ == "__main__":
    sys.exit(not anyio.run(main, sys.argv[1]))
