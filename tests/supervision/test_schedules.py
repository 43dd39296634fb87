"""
Random programs under random schedules: several tasks start, terminate, restart, delete and crash children at once, give up half way, and the whole is
cut off somewhere. Whatever the order, no child has two lives, none is forgotten, and nothing is left.

Each run is one seed on a controlled loop; ``--explore N`` or DSPEX_EXPLORE=N runs more, and a finding tells how to replay it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from anyio.abc import TaskStatus
from anyio.lowlevel import checkpoint
from sim.conftest import explored as explored, pytest_collection_modifyitems as pytest_collection_modifyitems, seeds as seeds
from sim.explore import Stage, explore

from dspex import (
    Backoff,
    CallCycle,
    ChildExists,
    ChildNotFound,
    ChildRunning,
    ChildSpec,
    DynamicSupervisor,
    Overloaded,
    RestartLimitReached,
    StartFailed,
    Supervisor,
    SupervisorClosed,
)

REFUSALS = (CallCycle, ChildExists, ChildNotFound, ChildRunning, Overloaded, StartFailed, SupervisorClosed)
AT_REST = {"running", "stopped", "parked"}

# What may be told of a child after what. Empty: at first.
FOLLOWS = {
    "": {"starting", "gone", "stopped"},
    "starting": {"running", "stopping", "restarting", "parked", "stopped", "gone"},
    "running": {"stopping", "restarting", "parked", "stopped", "gone"},
    "stopping": {"overdue", "restarting", "stopped", "gone"},
    "overdue": {"restarting", "stopped", "gone"},
    "restarting": {"restarting", "starting", "stopping", "parked", "stopped", "gone"},
    "parked": {"starting", "restarting", "stopped", "gone"},
    "stopped": {"starting", "restarting", "gone"},
    "gone": set(),
}


class Boom(Exception):
    """What a child crashes with."""


class Mine(Exception):
    """What a body raises."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One scenario: a supervisor, and how it is treated."""

    strategy: str = "one_for_one"
    dynamic: bool = False
    nested: bool = False
    auto_shutdown: str = "never"
    operators: int = 3
    operations: int = 6
    max_restarts: int = 10**6
    cut_off: bool = False
    strangers: bool = False

    async def __call__(self, stage: Stage) -> None:
        await _Run(self, stage).run()


@dataclass(slots=True)
class _Kid:
    """One spec over all its lives."""

    run: _Run
    id: str
    told: list[str] = field(default_factory=list)
    alive: int = 0
    cue: anyio.Event = field(default_factory=anyio.Event)
    ending: str = ""

    async def live(self, *, task_status: TaskStatus[Any]) -> None:
        run, chance = self.run, self.run.stage.random
        self.alive += 1
        run.stage.recorder.mark(f"{self.id} begins")
        run.stage.expect(self.alive == 1, f"{self.id} has two lives at once")
        try:
            await run.dawdle()
            if not run.healed and chance.random() < 0.15:
                raise Boom(self.id)

            if not run.healed and chance.random() < 0.05:
                return

            self.cue, self.ending = anyio.Event(), ""
            task_status.started(self)
            await self.cue.wait()
            if self.ending == "crash":
                raise Boom(self.id)
        finally:
            try:
                with anyio.CancelScope(shield=True):
                    await self.unwind()
            finally:
                run.stage.recorder.mark(f"{self.id} ends")
                self.alive -= 1

    async def unwind(self) -> None:
        run, chance = self.run, self.run.stage.random
        with anyio.move_on_after(30):
            if chance.random() < 0.2:
                await run.operate()

        if chance.random() < 0.3:
            await anyio.sleep(chance.choice([0.0, 0.5, 2.0, 8.0]))

    def end(self, how: str) -> None:
        self.ending = how
        self.cue.set()

    def change(self, state: str, error: BaseException | None) -> None:
        self.run.stage.recorder.mark(f"{self.id}: {state}")
        before = self.told[-1] if self.told else ""
        self.run.stage.expect(state in FOLLOWS[before], f"{self.id} was told {state!r} after {before!r}")
        self.told.append(state)

    async def asked(self, final: bool) -> None:
        await self.run.dawdle()
        if self.run.stage.random.random() < 0.8:
            self.end("return")


class _Run:
    def __init__(self, plan: Tree, stage: Stage) -> None:
        self.plan = plan
        self.stage = stage
        self.kids: list[_Kid] = []
        self.healed = False
        self.supervisor: Any = None

    # --- the children

    def spec(self, id: str) -> ChildSpec:
        chance, kid = self.stage.random, _Kid(self, id)
        self.kids.append(kid)
        restart: Any = chance.choice(["permanent", "permanent", "transient", "temporary"])
        parks = not self.plan.dynamic and chance.random() < 0.2
        return ChildSpec(
            id,
            kid.live,
            restart=restart,
            shutdown=chance.choice([0, 1.0, 5.0, "brutal_kill"]),
            backoff=Backoff(initial=0.5, jitter=0.0) if chance.random() < 0.3 else None,
            stop=kid.asked if chance.random() < 0.4 else None,
            significant=self.plan.auto_shutdown != "never" and restart != "permanent" and chance.random() < 0.5,
            on_change=kid.change,
            **({"on_limit": "park", "max_restarts": 1} if parks else {}),
        )

    async def dawdle(self) -> None:
        chance = self.stage.random
        for _ in range(chance.randrange(3)):
            await checkpoint()

        if chance.random() < 0.2:
            await anyio.sleep(chance.choice([0.25, 1.0, 3.0]))

    # --- what is done to them

    async def operate(self) -> None:
        chance = self.stage.random
        listed = [info.id for info in self.supervisor.which_children()] or ["none"]
        id = chance.choice([*listed, "a", "b"])
        work = chance.choice(["start", "terminate", "restart", "delete", "crash", "crash", "return"])
        self.stage.recorder.mark(f"{work} {id}")
        self.stage.overlapped += 1
        try:
            if work == "start":
                await self.supervisor.start_child(self.spec(chance.choice("abcdxyz")))
            elif work in ("crash", "return"):
                self.end(id, work)
            else:
                await getattr(self.supervisor, f"{work}_child")(id)
        except REFUSALS:
            await checkpoint()

        self.stage.expect(not self.plan.dynamic or len(self.supervisor.which_children()) <= 5, "more children than there may be")

    def end(self, id: str, how: str) -> None:
        for kid in self.kids:
            if kid.id == id and kid.alive:
                kid.end(how)

    async def operator(self) -> None:
        for _ in range(self.plan.operations):
            await self.dawdle()
            if self.stage.random.random() < 0.3:
                with anyio.move_on_after(self.stage.random.choice([0.0, 0.1, 1.0])):
                    await self.operate()
            else:
                await self.operate()

    def strike(self) -> None:
        """A stranger cancels one of the tasks that belong to the tree, and have begun."""
        import asyncio

        try:
            tasks = sorted(asyncio.all_tasks(), key=lambda task: task.get_name())
        except RuntimeError:
            return

        begun = [task for task in tasks if task.get_name().startswith("app/") and task._fut_waiter is not None]  # type: ignore[attr-defined]
        if begun:
            victim = self.stage.random.choice(begun)
            self.stage.recorder.mark(f"a stranger cancels {victim.get_name()}")
            victim.cancel()

    # --- one run

    async def run(self) -> None:
        plan = self.plan
        options: dict[str, Any] = {"max_restarts": plan.max_restarts, "name": "app"}
        if plan.dynamic:
            self.supervisor = DynamicSupervisor(max_children=5, **options)
        else:
            children = [self.spec(id) for id in "abcd"]
            self.supervisor = Supervisor(children, strategy=plan.strategy, auto_shutdown=plan.auto_shutdown, **options)  # type: ignore[arg-type]

        seconds = self.stage.random.choice([0.0, 0.5, 2.0, 6.0]) if plan.cut_off else 2000.0
        raises = self.stage.random.random() < 0.3
        with anyio.move_on_after(seconds) as limit:
            await self.tree(raises)

        self.judge(limit.cancelled_caught)

    async def tree(self, raises: bool) -> None:
        try:
            if self.plan.nested:
                outer = Supervisor(
                    [ChildSpec("tree", self.body, shutdown=10_000.0, restart="temporary", significant=True)],
                    auto_shutdown="any_significant",
                )
                async with outer:
                    await anyio.sleep_forever()
            else:
                await self.body()
                if raises:
                    async with Supervisor():
                        raise Mine
        except Mine:
            self.stage.expect(raises, "an error came out that nobody raised")
        except StartFailed:
            pass
        except RestartLimitReached:
            self.stage.expect(self.supervisor.ended_by == "limit", "a limit was reached that wasn't")

    async def body(self) -> None:
        async with self.supervisor, anyio.create_task_group() as group:
            for number in range(self.plan.operators):
                group.start_soon(self.operator, name=f"operator {number}")

            if self.plan.strangers:
                for _ in range(3):
                    await self.dawdle()
                    self.strike()

            await anyio.sleep(30)
            await self.settle()
            group.cancel_scope.cancel()

    async def settle(self) -> None:
        """Nothing goes wrong any more: then everything comes to rest."""
        self.healed = True
        await anyio.sleep(500)
        if self.supervisor.status == "running":
            moving = [f"{info.id} is {info.state}" for info in self.supervisor.which_children() if info.state not in AT_REST]
            self.stage.expect(not moving, f"nothing happens any more, and {', '.join(moving)}")
            for info in self.supervisor.which_children():
                self.stage.expect(info.state != "running" or info.value.alive == 1, f"{info.id} is {info.state} and has no life")

    def judge(self, cut: bool) -> None:
        stage = self.stage
        stage.expect(self.supervisor.status in ("closed", "new"), f"it is over, and {self.supervisor.status}")
        stage.expect(
            self.supervisor.status == "new" or not self.supervisor.which_children(), f"still listed: {self.supervisor.which_children()}"
        )
        stage.expect(cut or self.plan.cut_off or anyio.current_time() < 1500, "it took until it was cut off")
        for kid in self.kids:
            stage.expect(not kid.alive, f"{kid.id} is still there")
            if kid.told:
                stage.expect(Counter(kid.told)["gone"] == 1 and kid.told[-1] == "gone", f"{kid.id} was told {kid.told}")


SCENARIOS = {
    "one for one": Tree(),
    "one for all": Tree("one_for_all"),
    "rest for one": Tree("rest_for_one"),
    "dynamic": Tree(dynamic=True),
    "one for one, cut off": Tree(cut_off=True),
    "one for all, cut off": Tree("one_for_all", cut_off=True),
    "rest for one, cut off": Tree("rest_for_one", cut_off=True),
    "dynamic, cut off": Tree(dynamic=True, cut_off=True),
    "in a child, cut off": Tree("rest_for_one", nested=True, cut_off=True),
    "few restarts": Tree("one_for_all", max_restarts=2),
    "few restarts, one for one": Tree(max_restarts=2),
    "significant ones": Tree("rest_for_one", auto_shutdown="any_significant"),
    "all significant ones": Tree(auto_shutdown="all_significant"),
    "strangers": Tree(strangers=True),
    "strangers, one for all": Tree("one_for_all", strangers=True),
    "strangers, dynamic": Tree(dynamic=True, strangers=True, cut_off=True),
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_whatever_the_schedule(scenario: str, seeds: range) -> None:
    tally = explore(SCENARIOS[scenario], seeds[: max(40, len(seeds) // 3)])
    assert tally.finding is None, f"{scenario}: {tally}\n{tally.finding}"
