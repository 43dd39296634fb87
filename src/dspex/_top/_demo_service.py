"""
A made-up busy service, for ``dspex top --demo``: a shop with chats.

It is real but for its visitors: a supervisor, a bridge with two workers, contexts, a family with a chat for each visitor, a ticker, a group that stands and
falls together; and some mischief that kills workers and crashes chats. Nothing is lost by that, which is the point.

It runs in a process of its own, says on stdout when it can be looked at, and stops in order once whoever started it closes its stdin, or has died.
"""

from __future__ import annotations

import logging
import math
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskStatus

from .._exceptions import DspexError
from ..bridge import Bridge
from ..context import Context, whereis
from ..context._family import Contexts
from ..monitor import child_spec as monitor_spec
from ..supervision import Backoff, ChildSpec, Supervisor
from ..testing import crash, kill
from ..variables import Var
from . import _demo_programs as programs

STOCK = Var("stock", dict[str, int], {"apple": 100, "pear": 80, "plum": 120})
MARGIN = Var("margin", float, 1.2, min=1.0, max=3.0)
SOLD = Var("sold", int, 0)
REVENUE = Var("revenue_cents", int, 0)
PAYMENT_KEY = Var("payment_key", str, "4711-0815", sensitive=True)
TICKS = Var("ticks", int, 0)
NOW = Var("now", float, 0.0)
TURNS = Var("turns", int, 0)
MOOD = Var("mood", str, "curious", choices=["curious", "happy", "cross"])

VISITORS = ("ada", "barbara", "edsger", "grace", "joe", "mike", "robert")
ITEMS = {"apple": 30, "pear": 20, "plum": 30, "unicorn": 1}

# --- what it does by itself --------------------------------------------------------------------------------------------------------


async def tick() -> None:
    """Many small writes, now more of them, now fewer."""
    clock = whereis("clock").variables
    while True:
        for _ in range(int(120 + 100 * math.sin(time.time() / 7))):
            await clock.add(TICKS, 1)

        await clock.set(NOW, time.time())
        await anyio.sleep(0.05)


async def fetch(*, task_status: TaskStatus[None]) -> None:
    """Crashes now and then, and its neighbour with it."""
    task_status.started()
    await anyio.sleep(random.uniform(4, 15))
    raise ConnectionError("the supplier has hung up")


async def index() -> None:
    """Does nothing wrong."""
    await anyio.sleep_forever()


async def send_mail(*, task_status: TaskStatus[None]) -> None:
    """Fails until its budget is used up, is parked, and is looked after a while later."""
    task_status.started()
    await anyio.sleep(random.uniform(2, 6))
    raise OSError("no route to the mail server")


def children(socket: Path) -> list[ChildSpec]:
    """All that doesn't need to know the others, in the order of their start."""
    group = [ChildSpec("fetch", fetch, backoff=Backoff(initial=1.0, maximum=4.0)), ChildSpec("index", index)]
    goods: dict[str, Any] = {"variables": [STOCK, MARGIN, SOLD, REVENUE, PAYMENT_KEY], "programs": {"price": programs.price}}
    chats: dict[str, Any] = {"variables": [TURNS, MOOD], "programs": {"answer": programs.answer}, "idle": 20.0}
    return [
        monitor_spec(socket),
        Bridge.child_spec("bridge", workers=2, concurrency=4),
        Context.child_spec("goods", bridge="bridge", **goods),
        Context.child_spec("clock", variables=[TICKS, NOW]),
        Contexts.child_spec("chats", bridge="bridge", **chats),
        ChildSpec("ticker", tick, restart="transient"),
        ChildSpec("mailer", send_mail, backoff=Backoff(initial=0.5), max_restarts=2, max_seconds=60.0, on_limit="park"),
        Supervisor.child_spec("suppliers", group, strategy="one_for_all", max_restarts=1000),
    ]


# --- who comes ---------------------------------------------------------------------------------------------------------------------


async def visit(name: str, chats: Contexts) -> None:
    """Somebody who talks for a while, and goes."""
    async with chats.open(name) as chat:
        for _ in range(random.randint(3, 12)):
            await chat.call("answer", {"text": f"hello from {name}"})
            await chat.variables.set(MOOD, random.choice(("curious", "happy", "cross")))
            await anyio.sleep(random.uniform(0.1, 0.6))

    await anyio.sleep(random.uniform(1, 20))


async def buy(goods: Context) -> None:
    """Somebody who buys something, if its price is known."""
    item = random.choices([*ITEMS], [*ITEMS.values()])[0]
    cost = await goods.call("price", {"item": item})
    await goods.variables.add(SOLD, 1)
    await goods.variables.add(REVENUE, cost)
    await anyio.sleep(random.expovariate(8))


async def again_and_again(come: Callable[[], Awaitable[None]]) -> None:
    """What died under somebody is begun anew, as the client of a service would."""
    while True:
        try:
            await come()
        except DspexError:
            await anyio.sleep(0.2)


async def crowd(chats: Contexts) -> None:
    """All who come."""
    async with anyio.create_task_group() as tasks:
        for name in VISITORS:
            tasks.start_soon(again_and_again, partial(visit, name, chats))

        for _ in range(3):
            tasks.start_soon(again_and_again, partial(buy, whereis("goods")))


async def mischief(shop: Supervisor, bridge: Bridge, chats: Contexts) -> None:
    """Now a worker is killed, now a chat crashes, and now somebody looks after what is parked."""
    for turn in count(1):
        await anyio.sleep(random.uniform(2, 4))
        if turn % 3 == 0:
            kill(bridge)

        if turn % 12 == 0 and shop.which_child("mailer").state == "parked":
            await shop.restart_child("mailer")

        if up := chats.keys():
            await crash_one(chats, random.choice(up))


async def crash_one(chats: Contexts, name: str) -> None:
    """If it is still there."""
    try:
        async with chats.open(name) as chat:
            crash(chat)
    except DspexError:
        """Something else was quicker."""


# --- its life ----------------------------------------------------------------------------------------------------------------------


async def run(socket: Path) -> None:
    """Opens, says so, and stops when nobody needs it any more."""
    async with Supervisor(children(socket), name="shop", max_restarts=1000) as shop:
        bridge, chats = shop.which_child("bridge").value, shop.which_child("chats").value
        await shop.start_child(ChildSpec("crowd", partial(crowd, chats), shutdown="brutal_kill"))
        await shop.start_child(ChildSpec("mischief", partial(mischief, shop, bridge, chats)))
        print("ready", flush=True)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_signalled, tasks.cancel_scope)
            await until_left()
            tasks.cancel_scope.cancel()


async def until_left() -> None:
    """Until the other end of stdin is closed: the system does it for a process that was killed."""
    while True:
        await anyio.wait_readable(sys.stdin.fileno())
        if not os.read(sys.stdin.fileno(), 4096):
            return


async def until_signalled(scope: anyio.CancelScope) -> None:
    """Or somebody asks it to stop."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()


def main(socket: Path) -> None:
    """Runs it with its socket at this path, in a folder that is its own and is removed at the end."""
    logging.basicConfig(level=logging.CRITICAL)
    sys.argv[0] = "shop"
    try:
        anyio.run(run, socket)
    finally:
        shutil.rmtree(socket.parent, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
