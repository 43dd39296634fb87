"""
The program for the real thing: clients use a context while it switches, something goes wrong, and what must hold is looked at.

One `SwitchRun` is one scenario; its fields say what is thrown at the switch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from unittest.mock import patch

import anyio
from anyio.lowlevel import checkpoint

from dspex import Context, Var
from dspex._exceptions import BackendSwitchError, CallTimeout, ContextClosed, ContextCrashed, SessionTaken
from dspex.context import Status
from dspex.context._switch import Switch

from .atyield import Suspensions
from .claims import complaints, finished
from .clients import MIXED, Menu, passing, perform, perform_impatiently, script
from .explore import Stage
from .failpoints import Failpoints, Fault, Kind
from .far import Far, FarStore, FlakyStore, NoPool, OpenBridge
from .recorder import Client
from .subject import ContextSubject, cells
from .wholeness import in_store, same, status, stored, watched

KEYS = ("x", "y")
INITIAL = {"x": 1, "y": 2}
X = Var("x", int, 1, min=0, metadata={"unit": "K"}, description="first")
Y = Var("y", int, 2)
PATIENCE = 60.0  # virtual seconds that a switch may go on past its timeout or its caller, and a stop may take: roll back and clean-up
STEADY = frozenset({"store.apply", "store.read", *(f"backend.{name}" for name in ("set", "get", "info", "delete"))})
CLEANING = frozenset({"staging.abort", "store.drop", "backend.close"})
LOST_LEASE = Fault("store.open", Kind.AFTER)
REFUSALS = (BackendSwitchError, CallTimeout, ContextClosed, ContextCrashed, SessionTaken)


@dataclass(frozen=True, slots=True)
class SwitchRun:
    """
    One scenario.

    *source* is the backend before, *store* where it goes: ``"far"`` ones wait in every operation. *private*: the context opens a bridge of its
    own. *give_up*: the first caller is cancelled after some steps; *stop*: the context is stopped after some. *cancel_at*: at that suspension of the owner's switch, *nemesis* strikes: the caller is cancelled, or the context stopped.
    *cramped*: a mailbox for two, bursts of two and a budget of three, so that every bound is reached.
    *steady*: faults strike at any time, and may crash the context; else they strike only in the owner's switch.
    *planted* patches the library, for as long as the run takes.
    """

    source: Literal["local", "far"] = "local"
    store: Literal["memory", "far"] = "memory"
    private: bool = False
    faults: Sequence[Fault] = ()
    steady: bool = False
    clients: int = 3
    impatient: int = 1
    lines: int = 4
    menu: Menu = MIXED
    switchers: int = 1
    timeout: float | None = None
    cancel_at: int | None = None
    nemesis: Literal["cancel", "stop"] = "cancel"
    stop: bool = False
    stop_after: tuple[int, int] = (4, 30)
    give_up: bool = False
    watch: bool = False
    cramped: bool = False
    session: str | None = None
    planted: Callable[[], Any] | None = None
    suspensions: list[int] | None = None

    async def __call__(self, stage: Stage) -> None:
        play = _Play(self, stage)
        _playing[:] = [play]
        await play.run()

    @contextmanager
    def patched(self) -> Iterator[None]:
        """The planted bug, no worker processes, and a look at the owner's switch."""
        with ExitStack() as patches:
            if self.planted is not None:
                patches.enter_context(self.planted())

            if self.cramped:
                patches.enter_context(patch.multiple("dspex.context._entry", BURST=2, BUDGET=3))

            original = Switch.run

            async def counted(switch: Switch, *args: Any, **options: Any) -> Any:
                return await _playing[0].counted(original(switch, *args, **options))

            patches.enter_context(patch.object(Switch, "run", counted))
            patches.enter_context(patch("dspex.bridge.WorkerPool", NoPool))
            patches.enter_context(patch("dspex.bridge._store_of", lambda _: _playing[0].store))
            yield


_playing: list[_Play] = []


@dataclass(slots=True)
class _Play:
    """One run of a scenario."""

    plan: SwitchRun
    stage: Stage
    points: Failpoints = field(init=False)
    store: Any = field(init=False)
    old: Any = field(init=False)
    context: Context = field(init=False)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    struck: anyio.Event = field(default_factory=anyio.Event)
    changes: list[Any] = field(default_factory=list)
    before: list[Any] = field(default_factory=list)
    final: dict[str, tuple[int, Any]] | None = None
    switched_at: list[int] = field(default_factory=list)
    stopping: bool = False

    def __post_init__(self) -> None:
        self.points = Failpoints(*self.plan.faults)
        self.points.armed = False
        self.store = (FarStore if self.plan.store == "far" else FlakyStore)(self.points)
        self.old = Far(self.points) if self.plan.source == "far" else "local"

    async def run(self) -> None:
        self.context = self._made()
        self.stage.recorder.facts = ContextSubject(self.context).facts
        try:
            await self._live()
        except ContextCrashed as crash:
            self._note_crash(crash)

        self._decide_final()
        self._judge()
        if self.final is not None and self.plan.session is not None and not self._littered():
            await self._resume()

    async def counted(self, switching: Any) -> Any:
        watched = Suspensions(switching, at=self.plan.cancel_at, action=self._strike)
        self.points.armed = True
        try:
            return await watched
        finally:
            self.points.armed = self.plan.steady
            if self.plan.suspensions is not None:
                self.plan.suspensions.append(watched.count)

    def _made(self) -> Context:
        return Context(
            variables=[X, Y],
            bridge=None if self.plan.private else OpenBridge(self.store),  # type: ignore[arg-type]
            backend=self.old,
            session_id=self.plan.session,
            mailbox_size=2 if self.plan.cramped else 1024,
        )

    # --- while it lives

    async def _live(self) -> None:
        async with self.context:
            self.before = await self.context.variables.list()
            async with anyio.create_task_group() as watching:
                if self.plan.watch:
                    await watching.start(self._watch, name="watch")

                self.points.armed = self.plan.steady
                await self._load()
                self.points.heal()
                if not self.stopping and self.context.status is Status.RUNNING:
                    await self._unless_crashed(self._afterwards)

                watching.cancel_scope.cancel()

        self.stage.expect(self.context._inside.close_reason is not None, "L5 the block was left, and the context isn't closed")

    async def _unless_crashed(self, look: Callable[[], Any]) -> None:
        """What was taken of a client that has gone may crash the context now; the block tells of it."""
        try:
            await look()
        except ContextCrashed:
            await checkpoint()

    async def _watch(self, *, task_status: Any) -> None:
        async with self.context.variables.watch() as changes:
            task_status.started()
            async for change in changes:
                self.changes.append(change)

    async def _load(self) -> None:
        async with anyio.create_task_group() as beside:
            beside.start_soon(self._heal_late, name="healer")
            beside.start_soon(self._stop_when_struck, name="nemesis")
            async with anyio.create_task_group() as group:
                self._start_clients(group)
                for number in range(1, self.plan.switchers + 1):
                    group.start_soon(self._switch, self.stage.random.randrange(8), name=f"switch {number}")

                if self.plan.stop:
                    group.start_soon(self._stop_after, self.stage.random.randrange(*self.plan.stop_after), name="stop")

                if self.plan.give_up:
                    group.start_soon(self._give_up_after, self.stage.random.randrange(2, 30), name="impatience of switch 1")

            if self.stopping:
                await self.context.wait_closed()

            beside.cancel_scope.cancel()

    def _start_clients(self, group: Any) -> None:
        stage, plan, subject = self.stage, self.plan, ContextSubject(self.context)
        for _ in range(plan.clients):
            client = Client(stage.recorder)
            group.start_soon(perform, stage, subject, script(stage, KEYS, plan.lines, plan.menu), client, name=f"client {client.number}")

        for _ in range(plan.impatient):
            client = Client(stage.recorder)
            lines = script(stage, KEYS, plan.lines, plan.menu)
            patience = [stage.random.randrange(1, 12) for _ in lines]
            group.start_soon(perform_impatiently, stage, subject, lines, patience, client, name=f"impatient client {client.number}")

    async def _heal_late(self) -> None:
        await anyio.sleep(PATIENCE * 10)
        self.points.heal()

    async def _stop_after(self, steps: int) -> None:
        await passing(steps)

        await self._stop()

    async def _give_up_after(self, steps: int) -> None:
        await passing(steps)

        self.stage.recorder.mark("given up")
        self.scope.cancel()

    async def _stop_when_struck(self) -> None:
        await self.struck.wait()
        await self._stop()

    async def _stop(self) -> None:
        self.stopping = True
        self.stage.recorder.mark("stop begins")
        began = anyio.current_time()
        await self.context.stop()
        self.stage.recorder.mark("stopped")
        seconds = anyio.current_time() - began
        self.stage.expect(seconds <= PATIENCE, f"L5 stop took {seconds:.0f} s")

    def _strike(self) -> None:
        self.stage.recorder.mark(self.plan.nemesis, f"at suspension {self.plan.cancel_at}")
        (self.scope.cancel if self.plan.nemesis == "cancel" else self.struck.set)()

    async def _switch(self, steps: int) -> None:
        await passing(steps)

        recorder = self.stage.recorder
        began, begin, outcome = anyio.current_time(), recorder.mark("switch begins"), "switched"
        try:
            with self.scope if not self.switched_at else anyio.CancelScope():
                self.switched_at.append(begin)
                await self.context.ensure_bridged(timeout=self.plan.timeout)
        except REFUSALS as error:
            outcome = f"{type(error).__name__}: {error}"
        finally:
            end = recorder.mark("switch ends", outcome)
            self.stage.overlapped += recorder.between(begin, end) + sum(call < end for call in recorder.open)

        self._judge_switch(outcome, anyio.current_time() - began)

    # --- what must hold

    def _judge_switch(self, outcome: str, seconds: float) -> None:
        """Of the call itself, in the step in which it ended."""
        expect, kind = self.stage.expect, self.context.backend.kind
        if outcome == "switched" and not self.scope.cancel_called:
            expect(kind == "bridged" or self.stopping, f"L7 ensure_bridged returned, and the backend is {kind}")
        elif outcome.startswith(("BackendSwitchError", "CallTimeout", "SessionTaken")):
            expect(kind != "bridged" or self.plan.switchers > 1, f"L7 ensure_bridged raised {outcome}, and the backend is {kind}")

        if self.plan.timeout is not None or self.scope.cancel_called:
            expect(
                seconds <= (self.plan.timeout or 0.0) + PATIENCE,
                f"L5 with a timeout of {self.plan.timeout} s, or cancelled, ensure_bridged took {seconds:.0f} s: {outcome}",
            )

    async def _afterwards(self) -> None:
        """Everything has ended, and nothing fails any more: the context is whole, a retry works, and it is whole again."""
        await self._look()
        try:
            with anyio.fail_after(PATIENCE):
                await self.context.ensure_bridged()
        except REFUSALS as error:
            self.stage.wrong.append(f"L7 a retry of ensure_bridged raised {type(error).__name__}: {error}")

        await perform(self.stage, ContextSubject(self.context), [("set", (key, self.stage.recorder.token())) for key in KEYS])
        self.final = cells(await self._look())
        await anyio.sleep(1)  # the watch gets round to the last ones

    async def _look(self) -> list[Any]:
        variables = await self.context.variables.list()
        littered = self._littered()
        wrong = self.stage.wrong
        wrong += status(self.context, "custom" if self.plan.source == "far" else "local")
        wrong += in_store(self.store.kept, self.context, variables, littered=littered)
        wrong += same(self.before, variables)
        if isinstance(self.old, Far) and "backend.close" not in {fault.point for fault in self.points.fired}:
            self.stage.expect(
                self.old.is_open == (self.context.variables.backend is self.old), f"L7 the old backend's is_open is {self.old.is_open}"
            )

        return variables

    def _littered(self) -> bool:
        """Whether something may lie about: a clean-up failed, or the store gave a lease and the reply was lost."""
        return any(fault.point in CLEANING or fault == LOST_LEASE for fault in self.points.fired)

    def _note_crash(self, crash: ContextCrashed) -> None:
        self.stage.recorder.mark("crashed", str(crash.__cause__))
        self.stage.expect(any(fault.point in STEADY for fault in self.points.fired), f"L7 it crashed: {crash} from {crash.__cause__!r}")

    def _decide_final(self) -> None:
        """Where nobody read it before the end: a session of a given id outlives its context in the store."""
        if self.final is None and self.context.backend.kind == "bridged" and self.plan.session is not None:
            self.final = stored(self.store.kept, self.plan.session)

        if self.final is not None and set(self.final) != set(KEYS):
            self.stage.wrong.append(f"L3 at the end there are {self.final}")
            self.final = None

    def _judge(self) -> None:
        self.stage.wrong += complaints(finished(self.stage.recorder, INITIAL, self.final))
        if self.plan.watch and self.final is not None:
            self.stage.wrong += watched(self.changes, self.final)

        if self.plan.session is None and not self._littered():
            self.stage.expect(not self.store.kept._sessions, f"L7 it has stopped, and the store still has {set(self.store.kept._sessions)}")

    async def _resume(self) -> None:
        """The next context on this session goes on where this one ended."""
        async with Context(bridge=OpenBridge(self.store), session_id=self.plan.session) as again:  # type: ignore[arg-type]
            variables = await again.variables.list()
            self.stage.expect(
                cells(variables) == self.final, f"L8 the next context has {cells(variables)}, and this one ended with {self.final}"
            )
            self.stage.expect(again.resumed, "L8 the next context was not resumed")
            self.stage.wrong += same(self.before, variables)
