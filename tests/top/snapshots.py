"""Snapshots as a service's monitor sends them, and connections over which they come without a service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio

from dspex import MonitorUnreachable

AT = 1_700_000_000.0
SERVICE = {"dspex": "0.4.0", "protocol": 1, "pid": 4242, "python": "3.11.7", "title": "shop.py", "started": AT - 3720}


def node(id: str, kind: str = "task", state: str = "running", /, *children: dict[str, Any], **others: Any) -> dict[str, Any]:
    """One node; its name is the end of its path."""
    name = others.pop("name", id.rpartition("/")[2])
    operations = others.pop("operations", None)
    note, more = others.pop("note", ""), others.pop("more", "")
    counted = {} if operations is None else {"operations": operations}
    plain = {"id": id, "name": name, "kind": kind, "state": state, "facts": others, "note": note}
    return {**plain, "children": list(children), "others": {}, "more": more, **counted}


def root(*children: dict[str, Any]) -> dict[str, Any]:
    """The process."""
    return node("/", "process", "running", *children, name="shop.py")


def worker(id: str, pid: int, served: int, state: str = "ready", **others: Any) -> dict[str, Any]:
    return node(id, "process", state, pid=pid, running=1, served=served, **others)


def shop(served: int = 12, operations: int = 1000) -> dict[str, Any]:
    """A tree with something of everything."""
    pool = node(
        "shop/bridge/default", "pool", "running",
        worker("shop/bridge/default/worker-1", 4301, served),
        worker("shop/bridge/default/worker-2", 4302, 0, "starting", note="worker 4300 died of SIGKILL"),
        ready=1, workers=2, running=1, waiting=0, calls=served,
    )  # fmt: skip
    return root(
        node(
            "shop", "supervisor", "running",
            node("shop/bridge", "bridge", "running", pool, store="MemoryStore"),
            node("shop/lobby", "context", "running", backend="bridged", variables=3, operations=operations),
            node("shop/clock", "context", "running", backend="local", variables=1, operations=operations // 100),
            node("shop/ticker", "task", "running"),
            node(
                "shop/ingest", "supervisor", "running",
                node("shop/ingest/fetch", "task", "restarting", note="ConnectionError: the other end has gone", restarted=3),
                node("shop/ingest/index", "task", "parked", note="ValueError: no such page"),
                strategy="one_for_all", restarts=1, allowed=3, seconds=5.0,
            ),
            strategy="one_for_one", restarts=0, allowed=3, seconds=5.0,
        )
    )  # fmt: skip


def totals(**counts: int) -> dict[str, int]:
    return {
        "contexts": 2, "operations": 1000, "queued": 20, "workers": 2, "workers_ready": 1,
        "running": 1, "waiting": 0, "restarts": 4, "switches": 1, **counts,
    }  # fmt: skip


def snapshot(tree: dict[str, Any] | None = None, *, after: float = 0.0, **others: Any) -> dict[str, Any]:
    """One, *after* so many seconds."""
    counts = totals(**others.pop("totals", {}))
    plain = {"at": AT + after, "uptime": 3720 + after, "tree": shop() if tree is None else tree, "totals": counts}
    return {**plain, "selected": None, "events": [], "dropped": 0, **others}


def event(text: str, path: str = "", level: str = "info", after: float = 0.0, kind: str = "ChildChanged") -> dict[str, Any]:
    return {"at": AT + after, "kind": kind, "path": path, "level": level, "text": text}


def of_context(path: str = "shop/lobby", *, operations: int = 1000, visits: int = 40, **others: Any) -> dict[str, Any]:
    """The numbers of a context that has switched."""
    return {
        "path": path, "kind": "context", "id": "ctx_1_a4f2", "name": "lobby", "status": "running",
        "backend": {
            "kind": "bridged", "type": "BridgedState", "switches": 1, "last_switch": {"seconds": 0.0041, "variables": 3, "bytes": 1840},
            "history": [["LocalState", "2023-11-14T21:11:20+00:00"], ["BridgedState", "2023-11-14T21:11:21+00:00"]],
            "capabilities": {},
        },
        "counts": {
            "operations": operations, "queued": 20, "pending": 2, "mailbox_size": 1024, "calls": 1, "watches": 2, "switches": 1, "lives": 3,
        },
        "interval": {
            "seconds": 0.5, "operations": 620, "queued": 8, "count": 120,
            "mean": 4e-6, "p50": 3.1e-6, "p99": 4.8e-5, "max": 0.0021, "waited_max": 0.00031,
        },
        "variables": [
            {"name": "visits", "type": "int", "version": visits, "value": str(visits), "updated_at": "2023-11-14T22:13:19+00:00"},
            {"name": "greeting", "type": "str", "version": 0, "value": "'Hello'", "updated_at": "2023-11-14T21:11:20+00:00"},
            {"name": "key", "type": "str", "version": 2, "value": "•••", "updated_at": "2023-11-14T21:11:20+00:00"},
        ],
        "more_variables": 0,
        "programs": [{"id": "greet", "where": "worker", "calls": 12}],
        "error": None,
        **others,
    }  # fmt: skip


def of_supervisor(path: str = "shop", *restarts: tuple[float, str, str]) -> dict[str, Any]:
    counts = {"running": 3, "restarting": 1, "parked": 1}
    return {
        "path": path, "kind": "supervisor", "strategy": "one_for_one", "restarts": 1, "allowed": 3, "seconds": 5.0,
        "children": counts, "timeline": [list(restart) for restart in restarts],
    }  # fmt: skip


def of_pool(path: str = "shop/bridge/default", **others: Any) -> dict[str, Any]:
    plain = {"path": path, "kind": "pool", "workers": 2, "ready": 1, "running": 1, "waiting": 4, "calls": 12, "deaths": 1}
    return {**plain, "last_death": "worker 4300 died of SIGKILL", "last_words": "loading the model\nout of memory\n", **others}


def of_worker(path: str = "shop/bridge/default/worker-1", **others: Any) -> dict[str, Any]:
    plain = {"path": path, "kind": "process", "pid": 4301, "state": "ready", "running": 1, "served": 12, "rss": 41_200_000}
    return {**plain, "pool": "default", "bridge": "bridge", "note": "", **others}


class Feed:
    """
    Stands in for a service, as its client sees it: what is sent here comes out of the connection that is open.

    Attributes:
        asked: the paths that were selected, in order.
        opened: how many connections were opened.
        refuse: why the next ones are refused; empty if they aren't.
        known: what is found by name, in the tree or not.
        looked_for: the names that were asked for, in order.
        hello: what the service says of itself.

    """

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.opened = 0
        self.refuse = ""
        self.known: dict[str, dict[str, Any]] = {}
        self.looked_for: list[str] = []
        self.hello = SERVICE
        self._sender, self._receiver = anyio.create_memory_object_stream[Any](1000)

    def send(self, *snapshots: dict[str, Any]) -> None:
        for one in snapshots:
            self._sender.send_nowait(one)

    def lose(self) -> None:
        """Ends the connection, as if the service had."""
        self._sender.send_nowait(None)

    @property
    def is_read(self) -> bool:
        """Whether all that was sent has been read, and whoever reads waits for more."""
        statistics = self._sender.statistics()
        return not statistics.current_buffer_used and bool(statistics.tasks_waiting_receive)

    def close(self) -> None:
        self._sender.close()
        self._receiver.close()

    # --- as a client has it ----------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Feed]:
        if self.refuse:
            raise MonitorUnreachable("/run/shop.sock", problem=self.refuse)

        self.opened += 1
        yield self

    @asynccontextmanager
    async def watch(self, *, every: float, selected: str | None) -> AsyncIterator[Feed]:
        self.asked.append(selected)
        yield self

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> dict[str, Any]:
        sent = await self._receiver.receive()
        if sent is None:
            raise StopAsyncIteration

        return sent

    async def inspect(self, name: str) -> dict[str, Any]:
        self.looked_for.append(name)
        if name not in self.known:
            raise LookupError(f"There is nothing called {name!r}.")

        return self.known[name]

    async def select(self, path: str | None) -> None:
        self.asked.append(path)
