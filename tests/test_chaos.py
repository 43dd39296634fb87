"""
Chaos: chats crash, workers are killed, the bridge, the family and the whole group are stopped and started again, while clients go on.

No call hangs, what fails says whether it was applied, and nothing that was acknowledged is lost. A run can't be had again as it was: its seed decides what
is done, the processes when. DSPEX_EXPLORE scales its length, DSPEX_SEED sets the seed.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import random
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from functools import partial

import anyio
import leaks
import pytest
import worker_programs

from dspex import Bridge, ChildSpec, Contexts, DspexError, Supervisor, Var
from dspex.testing import crash, kill

SECONDS = 3.0 * int(os.environ.get("DSPEX_EXPLORE") or 120) / 120
# What one operation may take before it counts as hanging.
PATIENCE = 20.0
CHATS = ("otp", "beam", "gen")
CLIENTS = ("ada", "joe", "mike", "robert", "jose", "fred")

TURNS = Var("turns", dict[str, int], {})
GREETING = Var("greeting", str, "hello")
PID = Var("pid", int, 0)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90 + 6 * SECONDS)]


# As long as it runs in a worker, a program is looked for there by its name: what that imports is quick to import.
IN_WORKERS = (
    worker_programs.read,
    worker_programs.read_async,
    worker_programs.calls,
    worker_programs.calls_async,
    worker_programs.sleep_on,
)
READING = {"v": "greeting"}


async def at_home(ctx):
    return await ctx.call("read_async", READING)


PROGRAMS = {**{program.__name__: {"requires_bridge": True, "program": program} for program in IN_WORKERS}, "at_home": at_home}
CALLS = (
    ("read", READING),
    ("read_async", READING),
    ("at_home", {}),
    ("calls", {"named": "at_home"}),
    ("calls_async", {"named": "read", "inputs": READING}),
)


class Bomb(Exception):
    """What the group is restarted for."""


class Service:
    """A bridge, a family of chats that are saved, and a bomb that takes the whole group down."""

    def __init__(self, rng):
        self.rng = rng
        self.saved = {}
        self.fuse = anyio.Event()
        bridge = Bridge.child_spec("bridge", workers=2, drain=0.3, kill_after=0.2)
        options = {
            "variables": [TURNS, GREETING, PID],
            "programs": PROGRAMS,
            "load": self.load,
            "save": self.save,
            "idle": 0.2,
            "drain": 0.3,
        }
        chats = Contexts.child_spec("chats", bridge="bridge", **options)
        children = [bridge, chats, ChildSpec("bomb", self.burn)]
        group = Supervisor.child_spec("service", children, strategy="one_for_all", max_restarts=10**6)
        self.tree = Supervisor([group], name="app")

    @property
    def group(self):
        return self.tree.which_child("service").value

    @asynccontextmanager
    async def running(self):
        async with self.tree:
            # One handle for ever, over all restarts.
            self.bridge = self.group.which_child("bridge").value
            self.chats = self.group.which_child("chats").value
            yield

    async def load(self, chat):
        await anyio.sleep(self.rng.random() * 0.002)
        return self.saved.get(chat)

    async def save(self, chat, snapshot):
        await anyio.sleep(self.rng.random() * 0.002)
        self.saved[chat] = snapshot

    async def burn(self):
        self.fuse = anyio.Event()
        await self.fuse.wait()
        raise Bomb

    async def quiet(self):
        """No call has a place in a worker any more, nor waits for one."""
        with anyio.fail_after(PATIENCE):
            while (pool := self.bridge.statistics().pools["default"]).running or pool.waiting:  # noqa: ASYNC110 - nobody tells
                await anyio.sleep(0.01)


class Chaos:
    """What happens to a service."""

    def __init__(self, service, loop):
        self.service = service
        self.shots = {self.crash_one: 50, self.kill_one: 10, self.restart_bridge: 3, self.restart_family: 3, self.blow_up: 2}
        if loop != "trio":
            self.shots[self.cancel_one] = 10

    async def reign(self, seconds):
        until, rng = anyio.current_time() + seconds, self.service.rng
        while anyio.current_time() < until:
            await anyio.sleep(rng.random() * 0.06)
            try:
                await rng.choices([*self.shots], [*self.shots.values()])[0]()
            except DspexError:
                """It is down already, or on its way."""

    async def crash_one(self):
        chats = self.service.chats
        if keys := chats.keys():
            async with chats.open(self.service.rng.choice(keys)) as ctx:
                crash(ctx)

    async def kill_one(self):
        kill(self.service.bridge)

    async def cancel_one(self):
        """As a stranger would. One that has not made its first step is left alone: asyncio would warn."""
        owners = [task for task in asyncio.all_tasks() if task.get_name().startswith("dspex owner")]
        begun = [task for task in owners if inspect.getcoroutinestate(task.get_coro()) == inspect.CORO_SUSPENDED]
        if begun:
            self.service.rng.choice(begun).cancel()

    async def restart_bridge(self):
        await self.service.group.terminate_child("bridge")
        await self.service.group.restart_child("bridge")

    async def restart_family(self):
        await self.service.group.terminate_child("chats")
        await self.service.group.restart_child("chats")

    async def blow_up(self):
        self.service.fuse.set()


class Clients:
    """
    Those who count, and what they know of their counts.

    Each turn of a client has a number of its own. What a chat may have is the last that was acknowledged, or one after it that might have been applied.
    """

    def __init__(self, service):
        self.service = service
        self.rng = service.rng
        self.over = False
        self.ways = {self.count: 20, self.look: 10, self.call: 20, self.watch: 5, self.give_up: 1}
        self.turns = dict.fromkeys(CLIENTS, 0)
        self.may_be = defaultdict(lambda: {0})
        self.under_way = {}
        self.holders = defaultdict(list)
        self.counting = anyio.Event()

    async def go_on(self, client):
        while not self.over:
            try:
                await self.attempt(
                    f"a visit of {client}", partial(self.visit, client, self.rng.choice(CHATS), exclusive=self.rng.random() < 0.1)
                )
            except (DspexError, TimeoutError):
                await anyio.sleep(self.rng.random() * 0.01)

    async def attempt(self, what, function):
        """Now and then only so long as its client can wait."""
        mark = object()
        self.under_way[mark] = (anyio.current_time(), what)
        try:
            with anyio.fail_after(self.rng.choice([None, None, None, 0, 0.001, 0.01, 0.1, 0.5])):
                return await function()
        finally:
            del self.under_way[mark]

    async def visit(self, client, chat, *, exclusive):
        async with self.service.chats.open(chat, exclusive=exclusive) as ctx:
            assert not (exclusive and self.holders[chat]), f"{chat} is held by {self.holders[chat]}"
            assert "alone" not in self.holders[chat]
            self.holders[chat].append("alone" if exclusive else client)
            try:
                for _ in range(self.rng.randrange(1, 5)):
                    await self.rng.choices([*self.ways], [*self.ways.values()])[0](client, chat, ctx)
            finally:
                self.holders[chat].remove("alone" if exclusive else client)

    async def count(self, client, chat, ctx):
        self.turns[client] += 1
        turn, before = self.turns[client], self.may_be[chat, client]
        self.may_be[chat, client] = before | {turn}
        try:
            await self.attempt(f"{client} counts in {chat}", partial(ctx.variables.merge, TURNS, {client: turn}))
        except DspexError as error:
            if error.applied is not None:
                self.may_be[chat, client] = {turn} if error.applied else before

            raise

        self.may_be[chat, client] = {turn}
        self.counting.set()

    async def look(self, client, chat, ctx):
        self.check(client, chat, await self.attempt(f"{client} looks at {chat}", partial(ctx.variables.get, TURNS)))

    def check(self, client, chat, turns):
        found, may_be = turns.get(client, 0), self.may_be[chat, client]
        assert found in may_be, f"{chat} has turn {found} of {client}, and it may be {sorted(may_be)}"

    async def call(self, client, chat, ctx):
        program, inputs = self.rng.choice(CALLS)
        answer = await self.attempt(f"{client} calls {program} of {chat}", partial(ctx.call, program, inputs))
        assert answer == "hello"

    async def give_up(self, client, chat, ctx):
        """Its program doesn't end, and is killed with its worker."""
        with pytest.raises(DspexError):
            await self.attempt(f"{client} gives up in {chat}", partial(ctx.call, "sleep_on", {"v": "pid"}, timeout=0.05))

    async def watch(self, client, chat, ctx):
        with anyio.move_on_after(0.1):
            async with ctx.variables.watch(TURNS, include_initial=True) as changes:
                async for change in changes:
                    self.check(client, chat, change.value)
                    return

    async def find_it_well(self):
        """Every chat answers again, from workers that call one another, and has what was acknowledged."""
        with anyio.fail_after(PATIENCE):
            for chat in CHATS:
                while not await self.finds_well(chat):  # noqa: ASYNC110 - it tries
                    await anyio.sleep(0.05)

    async def finds_well(self, chat):
        try:
            async with self.service.chats.open(chat) as ctx:
                for client in CLIENTS:
                    await self.look(client, chat, ctx)

                return await ctx.call("calls", {"named": "at_home"}) == "hello"
        except (DspexError, TimeoutError):
            return False

    async def watch_out(self):
        """Fails when an operation hangs, with all that runs."""
        while True:
            await anyio.sleep(0.5)
            for since, what in self.under_way.values():
                hanging = anyio.current_time() - since
                assert hanging < PATIENCE, f"{what} takes {hanging:.0f} s\n{self.service.tree.tree()}\n" + "\n".join(leaks.tasks().values())


@pytest.fixture
def rng():
    seed = int(os.environ.get("DSPEX_SEED") or time.time_ns() % 10**9)
    print(f"DSPEX_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(autouse=True)
def quietly():
    """What is thrown at the service is logged by it."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


async def test_no_call_hangs_and_nothing_acknowledged_is_lost_under_chaos(rng, running_loop):
    service = Service(rng)
    clients = Clients(service)
    async with service.running(), anyio.create_task_group() as watching:
        watching.start_soon(clients.watch_out)
        async with anyio.create_task_group() as tasks:
            for client in CLIENTS:
                tasks.start_soon(clients.go_on, client)

            await clients.counting.wait()
            await Chaos(service, running_loop()).reign(SECONDS)
            clients.over = True

        await service.quiet()
        await clients.find_it_well()
        watching.cancel_scope.cancel()

    turns = {chat: next(each.value for each in snapshot.variables if each.name == "turns") for chat, snapshot in service.saved.items()}
    for chat, client in clients.may_be:
        clients.check(client, chat, turns[chat])
