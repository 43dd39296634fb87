"""Programs for the toy: a switch under load, with a fault or a cancellation, and what must hold after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from .atyield import Suspensions
from .claims import complaints, finished
from .clients import MIXED, Menu, perform, script
from .explore import Stage
from .failpoints import Failpoints, Fault, Injected
from .fakes import ToyContext
from .recorder import Client

KEYS = ("x", "y")
INITIAL = {"x": 1, "y": 2}


@dataclass(frozen=True, slots=True)
class ToyRun:
    """Clients x a switch; *faults* are injected, and the switch is cancelled at its suspension number *cancel_at*."""

    bug: str = ""
    faults: Sequence[Fault] = ()
    cancel_at: int | None = None
    clients: int = 3
    lines: int = 4
    menu: Menu = MIXED
    suspensions: list[int] | None = None

    async def __call__(self, stage: Stage) -> None:
        points = Failpoints(*self.faults)
        toy = ToyContext(INITIAL, bug=self.bug, points=points)
        stage.recorder.facts = toy.facts
        scripts = [script(stage, KEYS, self.lines, self.menu) for _ in range(self.clients)]
        async with anyio.create_task_group() as group:
            for lines in scripts:
                client = Client(stage.recorder)
                group.start_soon(perform, stage, toy, lines, client, name=f"client {client.number}")

            group.start_soon(self._switch, stage, toy, name="switch")

        points.heal()
        await self._check(stage, toy)

    async def _switch(self, stage: Stage, toy: ToyContext) -> None:
        begin = stage.recorder.mark("switch begins")
        with anyio.CancelScope() as scope:
            watched = Suspensions(toy.switch(), at=self.cancel_at, action=scope.cancel)
            try:
                await watched
            except Injected as error:
                stage.recorder.mark("switch failed", str(error))

        if self.suspensions is not None:
            self.suspensions.append(watched.count)

        end = stage.recorder.mark("switch ended", "cancelled" if scope.cancelled_caught else "")
        stage.overlapped = stage.recorder.between(begin, end) + len(stage.recorder.open)

    async def _check(self, stage: Stage, toy: ToyContext) -> None:
        _check_wholeness(stage, toy)
        with anyio.fail_after(1):
            await toy.switch()  # a retry works

        _check_wholeness(stage, toy)
        stage.expect(toy.phase == "bridged", f"L7 after a retry the phase is {toy.phase}")
        final: dict[str, Any] = toy.backend.cells
        stage.expect(set(final) == set(KEYS), f"L3 keys at the end: {sorted(final)}")
        if set(final) == set(KEYS):
            stage.wrong += complaints(finished(stage.recorder, INITIAL, final))


def _check_wholeness(stage: Stage, toy: ToyContext) -> None:
    """Wholly before or wholly after: L7."""
    stage.expect(toy.phase == toy.backend.kind, f"L7 phase {toy.phase}, and {toy.backend.kind} serves")
    open_ones = [backend for backend in toy.backends if backend.is_open and backend not in toy.leaks]
    stage.expect(open_ones == [toy.backend], f"L7 open backends: {[backend.kind for backend in open_ones]}")
