"""
The program for a context that lives on: its owner crashes, is stopped with its group or cut off, and somebody starts it again, under load.

One `RestartRun` is one scenario. The supervisor's part is played as a supervisor plays it, only that every step of it is the chooser's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from unittest.mock import patch

import anyio

from dspex import Context, Var
from dspex._exceptions import BackendSwitchError, ContextClosed, ContextCrashed
from dspex.abc import Capabilities
from dspex.context import Status

from .atyield import Suspensions
from .claims import complaints, finished
from .clients import MIXED, Menu, passing, perform, perform_impatiently, script
from .explore import Stage
from .failpoints import Failpoints, Fault
from .far import Far, FarStore, FlakyStore, NoPool, OpenBridge
from .recorder import Client, Op, Outcome
from .subject import ContextSubject, cells

KEYS = ("x", "y")
INITIAL = {"x": 1, "y": 2}
VARIABLES = [Var("x", int, 1), Var("y", int, 2)]
PATIENCE = 300.0  # virtual seconds in which everything has ended


class AtomicFar(Far):
    """A far backend each of whose operations has happened or hasn't, wherever it is cut."""

    capabilities: Capabilities = Capabilities(atomic_updates=True)

    async def set_many(self, updates: Mapping[str, Any], metadata: Any = None, atomic: bool = True) -> dict[str, int]:
        return dict(await self._do("set_many", updates, metadata, atomic))

    async def add(self, key: Any, n: Any) -> Any:
        return await self._do("add", key, n)

    async def update(self, key: Any, function: Any, metadata: Any = None) -> Any:
        return await self._do("update", key, function, metadata)


@dataclass(frozen=True, slots=True)
class RestartRun:
    """
    One scenario.

    *source*: the backend, in this process or far away; *faults* strike in it at any time, and crash the owner. *stops* and *cuts*: how often the
    driver stops the child to start it again, or cuts it off. *cut_at*: at that suspension of a start, the one of number *start*, it is cut
    off. *switch*: a client moves the state meanwhile. *fresh*: each life begins a state of its own, whose `init` overwrites what was defined.
    """

    source: Literal["local", "far"] = "far"
    store: Literal["memory", "far"] = "memory"
    private: bool = False
    faults: Sequence[Fault] = ()
    stops: int = 0
    cuts: int = 0
    cut_at: int | None = None
    start: int = 2
    switch: bool = False
    fresh: bool = False
    clients: int = 3
    impatient: int = 1
    lines: int = 5
    menu: Menu = MIXED
    cramped: bool = False
    planted: Callable[[], Any] | None = None
    suspensions: list[int] | None = None

    async def __call__(self, stage: Stage) -> None:
        play = _Play(self, stage)
        _playing[:] = [play]
        await play.run()

    @contextmanager
    def patched(self) -> Iterator[None]:
        """The planted bug, and no worker processes."""
        with ExitStack() as patches:
            if self.planted is not None:
                patches.enter_context(self.planted())

            if self.cramped:
                patches.enter_context(patch.multiple("dspex.context._entry", BURST=2, BUDGET=3))

            patches.enter_context(patch("dspex.bridge.WorkerPool", NoPool))
            patches.enter_context(patch("dspex.bridge._store_of", lambda _: _playing[0].store))
            yield


_playing: list[_Play] = []


@dataclass(slots=True)
class _Play:
    plan: RestartRun
    stage: Stage
    points: Failpoints = field(init=False)
    store: Any = field(init=False)
    spec: Any = field(init=False)
    context: Context = field(init=False)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    up: anyio.Event = field(default_factory=anyio.Event)
    starts: int = 0
    over: bool = False

    def __post_init__(self) -> None:
        plan = self.plan
        self.points = Failpoints(*plan.faults)
        self.points.armed = False
        self.store = (FarStore if plan.store == "far" else FlakyStore)(self.points)
        self.spec = Context.child_spec(
            "subject",
            variables=VARIABLES,
            backend=AtomicFar(self.points) if plan.source == "far" else "local",
            bridge=None if plan.private else OpenBridge(self.store),  # type: ignore[arg-type]
            mailbox_size=2 if plan.cramped else 1024,
            on_restart="fresh" if plan.fresh else "keep",
            init=self._init if plan.fresh else None,
        )
        self.context = self.spec.start.__self__._context

    async def run(self) -> None:
        self.stage.recorder.facts = ContextSubject(self.context).facts if not self.plan.fresh else dict
        final: dict[str, tuple[int, Any]] | None = None
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(self._supervise, name="supervisor")
                await self.up.wait()
                self.points.armed = True
                await self._load()
                self.points.heal()
                final = cells(await self.context.variables.list())
                await self._end()

        self.stage.expect(self.context.status is Status.CLOSED, f"L7 it was stopped, and is {self.context.status}")
        self.stage.expect(not self.context.variables.mailbox.ledger, "L5 something is left in the ledger")
        self.stage.expect(not self.store.kept._sessions, f"L7 the store still has {set(self.store.kept._sessions)}")
        self._judge(final)

    async def _init(self, context: Context) -> None:
        token = self.stage.recorder.token()
        await context.variables.set("x", token)
        await context.variables.set("y", token)

    # --- the supervisor

    async def _supervise(self) -> None:
        while not self.over:
            self.starts += 1
            with anyio.CancelScope() as self.scope:
                try:
                    await self._one_life()
                except Exception as error:  # whatever it is, it starts again
                    self.stage.recorder.mark("crashed", f"{type(error).__name__}: {error}")

            if not self.over:
                self.spec.on_change("restarting", None)
                await passing(self.stage.random.randrange(6))

        following = self.spec.on_change("gone", None)
        if following is not None:
            await following

    async def _one_life(self) -> None:
        watched = Suspensions(
            self.spec.start(task_status=self), at=self.plan.cut_at if self.starts == self.plan.start else None, action=self._cut
        )
        try:
            await watched
        finally:
            if self.plan.suspensions is not None and self.starts == self.plan.start:
                self.plan.suspensions.append(watched.count)

    def started(self, value: Any) -> None:
        self.stage.recorder.mark("up", str(self.starts))
        self.stage.expect(value is self.context, "L7 another handle came up")
        self.up.set()

    def _cut(self) -> None:
        self.stage.recorder.mark("cut")
        self.spec.on_change("stopping", None)
        self.scope.cancel()

    async def _meddle(self) -> None:
        """Stops and cuts, at any time."""
        for act in [self._stop_for_now] * self.plan.stops + [self._cut] * self.plan.cuts:
            await passing(self.stage.random.randrange(1, 25))
            act()

    def _stop_for_now(self) -> None:
        self.stage.recorder.mark("stopped for now")
        self.spec.stop(False)

    async def _end(self) -> None:
        self.over = True
        self.spec.stop(True)
        await self.context.wait_closed()

    # --- the load

    async def _load(self) -> None:
        stage, plan, subject = self.stage, self.plan, ContextSubject(self.context)
        begin = stage.recorder.mark("load")
        async with anyio.create_task_group() as group:
            group.start_soon(self._meddle, name="meddler")
            if plan.switch:
                group.start_soon(self._switch, name="switch")

            for _ in range(plan.clients):
                client = Client(stage.recorder)
                lines = script(stage, KEYS, plan.lines, plan.menu)
                group.start_soon(perform, stage, subject, lines, client, name=f"client {client.number}")

            for _ in range(plan.impatient):
                client = Client(stage.recorder)
                lines = script(stage, KEYS, plan.lines, plan.menu)
                patience = [stage.random.randrange(1, 12) for _ in lines]
                group.start_soon(perform_impatiently, stage, subject, lines, patience, client, name=f"impatient client {client.number}")

        ends = [mark.at for mark in stage.recorder.marks if mark.name in ("crashed", "cut", "stopped for now") and mark.at > begin]
        stage.overlapped += sum(op.call < at < op.ret for op in stage.recorder.ops for at in ends)

    async def _switch(self) -> None:
        await passing(self.stage.random.randrange(12))
        for _ in range(3):
            try:
                await self.context.ensure_bridged()
                return
            except (BackendSwitchError, ContextClosed, ContextCrashed):
                await passing(5)

    # --- what must hold

    def _judge(self, final: Any) -> None:
        recorder = self.stage.recorder
        if not self.plan.fresh:
            self.stage.wrong += complaints(finished(recorder, INITIAL, final))
            return

        self.stage.expect(not recorder.open, "L5 some never ended")
        recorder.close()
        self.stage.wrong += [f"a state was seen before it was furnished: {op}" for op in recorder.ops if _saw_unfurnished(op)]


def _saw_unfurnished(op: Op) -> bool:
    if not op.reads or op.outcome is not Outcome.OK or not isinstance(op.result, (dict, tuple, int)):
        return False

    if op.name == "get":
        return bool(op.result == INITIAL[op.args[0]])

    if op.name == "info":
        return bool(op.result[0] == 0)

    return any((value if op.name == "get_many" else value[1]) == INITIAL[key] for key, value in op.result.items())
