"""A service to look at: ``python watched_service.py PATH BACKEND``. It says "up" when it is, and ends with its stdin."""

from __future__ import annotations

import sys

import anyio

from dspex import Bridge, ChildSpec, Context, Contexts, Supervisor, Var, monitor

X = Var("x", float, 0.5)
SECRET = Var("secret", str, "hunter2", sensitive=True)


async def falls() -> None:
    raise ValueError("it \x1b[31mfell")


async def main(path: str) -> None:
    children = [
        Context.child_spec("chat", variables=[X, SECRET]),
        Bridge.child_spec("bridge"),
        Contexts.child_spec("users", variables=[X]),
        ChildSpec("broken", falls, max_restarts=0, on_limit="park"),
        monitor.child_spec(path),
    ]
    async with Supervisor(children, name="app") as app, Context(name="alone"):
        await app.which_child("bridge").value.wait_ready()
        async with app.which_child("users").value.open("a/b"):
            print("up", flush=True)
            await anyio.to_thread.run_sync(sys.stdin.read)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], backend=sys.argv[2])
