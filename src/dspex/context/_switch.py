"""
The switch: a context's whole state moves from the backend it has to a bridged one.

It runs in the owner's turn, as one request among the others: what was accepted before it sees the old backend, what was accepted after
it the new one, and nothing runs in between. Until the commit the old backend is whole and authoritative, whatever fails. The commit is
a plain step. What comes after it, the clean-up of the old, can fail without undoing anything.

The table is the whole of it: a step and how it went give the next step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import Enum
from time import perf_counter, time
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from .._exceptions import BackendSwitchError
from ..state import Move
from ._status import SwitchReport

if TYPE_CHECKING:
    from ..abc import StateBackend, SyncStateBackend
    from ..bridge import Bridge
    from ._mailbox import Request

Progress = Callable[[int, int | None], None]

# Seconds that each step from the commit on may take, shielded. What a roll back leaves after that is left to the store's own clean-up.
SETTLE = 5.0

log = logging.getLogger(__name__)


class Step(Enum):
    """Where a switch is. The values are what errors call it."""

    OPEN = "open"
    STAGE = "stage"
    VERIFY = "verify"
    COMMIT = "commit"
    CLEAN_UP = "clean up"
    ROLL_BACK = "roll back"
    SWITCHED = "switched"
    KEPT = "kept"


# (step, whether it succeeded) -> the next. Before the commit every failure leads back, after it none does.
NEXT: dict[tuple[Step, bool], Step] = {
    (Step.OPEN, True): Step.STAGE,
    (Step.OPEN, False): Step.ROLL_BACK,
    (Step.STAGE, True): Step.VERIFY,
    (Step.STAGE, False): Step.ROLL_BACK,
    (Step.VERIFY, True): Step.COMMIT,
    (Step.VERIFY, False): Step.ROLL_BACK,
    (Step.COMMIT, True): Step.CLEAN_UP,
    (Step.COMMIT, False): Step.ROLL_BACK,
    (Step.CLEAN_UP, True): Step.SWITCHED,
    (Step.CLEAN_UP, False): Step.SWITCHED,
    (Step.ROLL_BACK, True): Step.KEPT,
    (Step.ROLL_BACK, False): Step.KEPT,
}
FINAL = frozenset({Step.SWITCHED, Step.KEPT})
# Until here its caller, when it goes or runs out of time, turns the switch back.
REVOCABLE = frozenset({Step.OPEN, Step.STAGE, Step.VERIFY})


class Ground(Protocol):
    """What the switch needs of its context."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str | None: ...

    @property
    def ttl(self) -> float | None: ...

    @property
    def serving(self) -> StateBackend | SyncStateBackend: ...

    async def open_bridge(self) -> Bridge: ...

    async def close_private_bridge(self) -> None: ...

    def install_switched(self, backend: Any, report: SwitchReport) -> None: ...

    # Whether an attempt could not clean up after itself; the next one does it first.
    left_garbage: bool


class Switch:
    """
    One attempt.

    Attributes:
        old: the backend that it began with.
        step: where it is, or how it ended.
        failed_at: the step that failed, if one did before the commit, and
        error: of what.
        done: each step that it has made: what it is called, its end in Unix time, its seconds, whether it succeeded.

    """

    def __init__(self, ground: Ground, on_progress: Progress | None) -> None:
        self._ground = ground
        self._on_progress = on_progress
        self.old: Any = ground.serving
        self._move: Move | None = None
        self._began = perf_counter()
        self.step = Step.OPEN
        self.failed_at = Step.OPEN
        self.error: BaseException | None = None
        self.done: list[tuple[str, float, float, bool]] = []

    async def run(self, request: Request) -> None:
        """
        Switches, or leaves everything as it was. While the scope it puts into *request* is there, cancelling that turns it back.

        Raises:
            BackendSwitchError: a step before the commit failed; from its cause.

        """
        try:
            with anyio.CancelScope() as request.scope:
                while self.step in REVOCABLE:
                    await self._do()
        except BaseException:
            # The owner itself is being cancelled.
            self._fail(Revoked())
            await self._settle()
            raise
        finally:
            request.scope = None

        if self.step in REVOCABLE:
            self._fail(Revoked())

        await self._settle()
        if self.error is not None and not isinstance(self.error, Revoked):
            raise self._told(self.error)

    async def _settle(self) -> None:
        """The steps that nobody may interrupt: each shielded, each with a deadline."""
        while self.step not in FINAL:
            with anyio.move_on_after(SETTLE, shield=True) as scope:
                await self._do()

            if scope.cancelled_caught:
                self._fail(TimeoutError(f"it did not end within {SETTLE:g} s"))

    async def _do(self) -> None:
        step, began, ok = self.step, perf_counter(), False
        try:
            await ACTIONS[step](self)
            ok = True
        except Exception as error:  # noqa: BLE001 - whatever fails, the table says what follows
            self._fail(error)
        else:
            self.step = NEXT[step, True]
        finally:
            self.done.append((step.value, time(), perf_counter() - began, ok))

    def _fail(self, error: BaseException) -> None:
        if self.step in (Step.CLEAN_UP, Step.ROLL_BACK):
            facts = {"dspex_context": self._ground.id, "dspex_step": self.step.value}
            told = "context %r: the step %r of its switch failed: %r"
            log.warning(told, self._ground.id, self.step.value, error, exc_info=error, extra=facts)
            self._ground.left_garbage = self.step is Step.ROLL_BACK
        else:
            self.failed_at, self.error = self.step, error

        self.step = NEXT[self.step, False]

    def _told(self, error: BaseException) -> BackendSwitchError:
        if isinstance(error, BackendSwitchError):
            return error

        told = BackendSwitchError(self._ground.id, step=self.failed_at.value, problem=f"{type(error).__name__}: {error}")
        told.__cause__ = error
        return told

    # --- the steps ---------------------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        bridge = await self._ground.open_bridge()
        ground = self._ground
        self._move = Move(bridge.store, ground.id, ttl=ground.ttl, holder=ground.id, context=ground.name or "", garbage=ground.left_garbage)
        await self._move.open()
        ground.left_garbage = False

    async def _stage(self) -> None:
        assert self._move is not None
        await self._move.stage(self.old, self._on_progress)

    async def _verify(self) -> None:
        assert self._move is not None
        await self._move.verify()

    async def _commit(self) -> None:
        move = self._move
        assert move is not None
        backend = move.commit_nowait() if move.nowait else await move.commit()
        self._ground.install_switched(backend, SwitchReport(perf_counter() - self._began, move.variables, move.bytes))

    async def _clean_up(self) -> None:
        closing = self.old.close(drop=True)
        if closing is not None:
            await closing

    async def _roll_back(self) -> None:
        try:
            if self._move is not None:
                await self._move.abort()
        finally:
            await self._ground.close_private_bridge()


class Revoked(Exception):
    """Internal: whoever asked for the switch has gone, or the owner is stopping."""


ACTIONS: dict[Step, Callable[[Switch], Any]] = {
    Step.OPEN: Switch._open,
    Step.STAGE: Switch._stage,
    Step.VERIFY: Switch._verify,
    Step.COMMIT: Switch._commit,
    Step.CLEAN_UP: Switch._clean_up,
    Step.ROLL_BACK: Switch._roll_back,
}
