"""
A family under many schedules: clients open, hold alone, drop, crash and give up, while contexts are evicted and saves fail.

Never are there two contexts of one key, nor anybody beside who holds it alone; and what was acknowledged is in what `save` was given last.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator

import anyio
import pytest
from anyio.lowlevel import checkpoint

from dspex import CallCycle, Context, ContextClosed, ContextCrashed, Contexts, Overloaded, SaveFailed, Snapshot, Status, Var
from dspex.context._farewell import is_over

from .choosers import Walk
from .explore import BACKENDS, Stage, explore, play

COUNT = Var("count", int, 0)
KEPT = ("a", "b", "c")
DROPPED = "d"


class Life:
    """One run: what the clients did, and what must hold of it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.random = stage.random
        self.kept: dict[str, Snapshot] = {}
        self.healthy = False
        self.seen: dict[str, set[Context]] = {}
        self.inside: Counter[str] = Counter()
        self.alone: set[str] = set()
        self.acknowledged: Counter[str] = Counter()
        self.uncertain: Counter[str] = Counter()
        self.done: Counter[str] = Counter()

    async def load(self, key: str) -> Snapshot | None:
        await checkpoint()
        if not self.healthy and self.random.random() < 0.1:
            raise OSError("no answer")

        return self.kept.get(key)

    async def save(self, key: str, snapshot: Snapshot) -> None:
        await anyio.sleep(self.random.choice((0, 0, 0.3)))
        if not self.healthy and self.random.random() < 0.3:
            raise OSError("disk full")

        self.done["saved"] += 1
        self.kept[key] = snapshot

    def meets(self, key: str, ctx: Context) -> None:
        self.seen.setdefault(key, set()).add(ctx)
        alive = [each for each in self.seen[key] if not is_over(each)]
        self.stage.expect(len(alive) <= 1, f"two contexts of {key!r}: {alive}")
        self.stage.expect(ctx.status is not Status.CLOSED, f"{key!r} was given closed")

    async def client(self, family: Contexts, steps: int) -> None:
        for _ in range(steps):
            key = self.random.choice((*KEPT, DROPPED))
            with anyio.move_on_after(self.random.choice((0.05, 1.0, 20.0))) as scope:
                try:
                    await self.step(family, key)
                except (Overloaded, ContextClosed, ContextCrashed, CallCycle):
                    self.done["refused"] += 1
                except Exception as error:  # a start that failed
                    self.stage.expect("no answer" in str(error) or "restarted" in str(error), f"{type(error).__name__}: {error}")

            self.done["given up"] += scope.cancelled_caught
            await anyio.sleep(self.random.choice((0, 0, 0.5, 2.0)))

    async def step(self, family: Contexts, key: str) -> None:
        if key == DROPPED and self.random.random() < 0.4:
            await family.drop(key)
            self.done["dropped"] += 1
            return

        exclusive = self.random.random() < 0.3
        async with family.open(key, exclusive=exclusive) as ctx:
            self.meets(key, ctx)
            self.stage.expect(key not in self.alone and not (exclusive and self.inside[key]), f"{key!r} isn't held alone")
            self.inside[key] += 1
            if exclusive:
                self.alone.add(key)

            try:
                await self.use(family, key, ctx)
            finally:
                self.inside[key] -= 1
                if exclusive:
                    self.alone.discard(key)

    async def use(self, family: Contexts, key: str, ctx: Context) -> None:
        for _ in range(self.random.randrange(3)):
            await self.add(key, ctx)
            if self.random.random() < 0.15:
                self.done["crashed"] += 1
                ctx.variables.crash(RuntimeError("planted"), "test")
                if self.random.random() < 0.2:
                    await self.crash_for_good(ctx)

            await anyio.sleep(self.random.choice((0, 0.1)))

        if self.random.random() < 0.2:
            async with family.open(self.random.choice(KEPT)) as other:
                await other.variables.get(COUNT, None)

    async def crash_for_good(self, ctx: Context) -> None:
        while not is_over(ctx):
            if ctx.status is Status.RUNNING:
                ctx.variables.crash(RuntimeError("planted"), "test")

            await anyio.sleep(0.001)

        self.done["crashed for good"] += 1

    async def villain(self) -> None:
        """Crashes contexts that nobody holds too, and those that are just being saved."""
        while not self.healthy:
            await anyio.sleep(self.random.choice((0.1, 0.7, 3.0)))
            for key in sorted(self.seen):
                for ctx in self.seen[key]:
                    if ctx.status is Status.RUNNING and self.random.random() < 0.2:
                        self.done["struck"] += 1
                        ctx.variables.crash(RuntimeError("planted"), "test")

    async def add(self, key: str, ctx: Context) -> None:
        try:
            await ctx.variables.add(COUNT, 1)
        except BaseException as error:
            if getattr(error, "applied", None) is not False:
                self.uncertain[key] += 1

            raise

        self.acknowledged[key] += 1

    async def __call__(self) -> None:
        try:
            await self.live()
        finally:
            self.healthy = True

    async def live(self) -> None:
        family = Contexts(variables=[COUNT], load=self.load, save=self.save, idle=1.0, max_contexts=3, drain=2.0)
        async with anyio.create_task_group() as tasks:
            try:
                async with family:
                    for number in range(4):
                        tasks.start_soon(self.client, family, 6, name=f"client {number}")

                    tasks.start_soon(self.villain, name="villain")

                    await anyio.sleep(self.random.choice((5.0, 30.0)))
                    self.healthy = self.random.random() < 0.9
            except SaveFailed as failed:
                self.kept.update(failed.snapshots)

            tasks.cancel_scope.cancel()

        self.check(family)

    def check(self, family: Contexts) -> None:
        expect = self.stage.expect
        told = family.statistics()
        expect(told.holders == told.waiting == told.contexts == told.starting == told.unsaved == 0, f"left at the end: {told}")
        expect(told.lost == 0, f"lost: {told.lost}")
        for key in KEPT:
            found = self.kept[key]["count"].value if key in self.kept else 0
            low, high = self.acknowledged[key], self.acknowledged[key] + self.uncertain[key]
            expect(low <= found <= high, f"{key!r} is {found}, and between {low} and {high} were acknowledged")

        expect(not any(self.inside.values()), "somebody is inside still")
        self.stage.overlapped += self.done["saved"]


TOTAL: Counter[str] = Counter()


async def program(stage: Stage) -> None:
    life = Life(stage)
    await life()
    TOTAL.update(life.done)


@pytest.fixture(autouse=True)
def quietly() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_a_family_under_many_schedules() -> None:
    TOTAL.clear()
    tally = explore(program, range(200))
    assert tally.finding is None, str(tally.finding)
    assert tally.rejected < tally.runs / 10
    # What never happened was not tested.
    assert all(TOTAL[kind] > 20 for kind in ("saved", "refused", "given up", "dropped", "crashed", "crashed for good", "struck")), TOTAL


async def forgetful(stage: Stage) -> None:
    """The same with a family that acknowledges what it doesn't save."""
    life = Life(stage)
    save = life.save

    async def first_only(key: str, snapshot: Snapshot) -> None:
        if key not in life.kept:
            await save(key, snapshot)

    life.save = first_only  # type: ignore[method-assign]
    await life()


def test_a_lost_write_would_be_found() -> None:
    assert any(play(forgetful, backend, seed, Walk(seed))[0].wrong for seed in range(10) for backend in BACKENDS)
