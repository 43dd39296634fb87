"""
The places of a pool: who has one, who waits for one, and who is told that there will be none.

Each worker has as many as the pool's `concurrency`. They go to whoever has waited longest, in the worker with the fewest calls;
rather not in one that a cancelled program won't leave, which may be the end of that worker. A call on behalf of a running one is never made
to wait for a place, which might be held by the very call it is made for: it gets one more.

While the pool restarts all others wait, so that the calls that run can end, and are first once there are workers again.
"""

from __future__ import annotations

from collections import deque
from copy import copy
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define, field

from ..._exceptions import CallCycle, Overloaded
from .worker import Standing, Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..._exceptions import DspexError
    from .options import Pool
    from .port import WorkerCall

# A call made on behalf of a running call gets a place of its own, so there has to be an end to them.
MAX_CHAIN: Final = 16


@define(eq=False)
class _Turn:
    extra: bool
    came: anyio.Event = field(factory=anyio.Event)
    worker: Worker | None = None
    error: DspexError | None = None


class Places:
    """
    The places in the workers of one pool.

    Attributes:
        workers: the workers that exist, kept by the pool.
        running: calls that hold a place.
        taken: places given out, ever.
        held: whether none is given out, but to calls on behalf of running ones.

    """

    def __init__(self, name: str, options: Pool, *, refuse: Callable[[], None]) -> None:
        self.workers: list[Worker] = []
        self.running: int = 0
        self.taken: int = 0
        self.held: bool = False
        self._name = name
        self._options = options
        self._refuse = refuse
        self._waiting: deque[_Turn] = deque()

    @property
    def waiting(self) -> int:
        """Calls that wait for a place."""
        return len(self._waiting)

    @property
    def ready(self) -> bool:
        """Whether there is a worker that takes calls and begins with them at once."""
        return not self.held and any(worker.serves for worker in self.workers)

    def take_nowait(self, call: WorkerCall) -> Worker | None:
        """
        A place for *call* in this step, if there is one and nobody has waited for it. `leave` must follow.

        Raises:
            CallCycle: the call stands at the end of too long a chain.

        """
        extra = bool(call.chain)
        if extra and len(call.chain) >= MAX_CHAIN:
            raise CallCycle(chain=call.chain, problem=f"Programs call one another more than {MAX_CHAIN} deep.")

        if not extra and (self._waiting or self.held):
            return None

        worker = self._least_loaded(extra=extra)
        if worker is not None:
            self._enter(worker)

        return worker

    async def take(self, call: WorkerCall, *, first: bool = False) -> Worker:
        """
        Waits for a place; *first* of all, if a place it had turned out to be in a worker that was gone.

        Raises:
            Overloaded: too many wait, or *call* is not to wait.

        """
        if not call.chain and not first:
            self._check_room(call)

        while True:
            self._refuse()
            worker = await self._wait(_Turn(bool(call.chain)), first=first or bool(call.chain))
            if worker.standing in {Standing.READY, Standing.RETIRING}:  # it may be retiring after this very call
                return worker

            # It ended in the moment between being given and being taken.
            self.leave(worker)
            first = True

    async def _wait(self, turn: _Turn, *, first: bool) -> Worker:
        (self._waiting.appendleft if first else self._waiting.append)(turn)
        try:
            await turn.came.wait()
        except BaseException:
            self._withdraw(turn)
            raise

        if turn.worker is None:
            assert turn.error is not None
            raise turn.error

        return turn.worker

    def _withdraw(self, turn: _Turn) -> None:
        if turn.worker is not None:
            self.leave(turn.worker)
        elif turn.error is None:
            self._waiting.remove(turn)

    def _check_room(self, call: WorkerCall) -> None:
        # A place whose worker is still starting is a place: to wait for that is not to wait for another call.
        places = self._options.workers * self._options.concurrency
        beyond = self.running + len(self._waiting) - places
        if beyond >= 0 and not call.wait:
            raise Overloaded(what=f"Pool {self._name!r}", limit=places)

        if beyond >= 0 and beyond >= self._options.queue:
            raise Overloaded(what=f"The queue of pool {self._name!r}", limit=self._options.queue)

    def _enter(self, worker: Worker) -> None:
        self.running += 1
        self.taken += 1
        worker.enter()
        if self._options.max_calls is not None and worker.taken >= self._options.max_calls:
            worker.retire()

    def keep(self, worker: Worker) -> None:
        """A place goes on being held by a program whose caller leaves. `leave` must follow for both."""
        self.running += 1
        worker.running += 1
        worker.lingering += 1

    def leave(self, worker: Worker) -> None:
        """Gives a place back, to whoever has waited longest."""
        self.running -= 1
        worker.leave()
        if self._options.max_rss is not None and worker.process.resident_bytes() > self._options.max_rss:
            worker.retire()

        self.give_out()

    def give_out(self) -> None:
        """Gives the places that are free to those who wait."""
        while (turn := self._next()) is not None:
            worker = self._least_loaded(extra=turn.extra)
            if worker is None:
                return

            self._waiting.remove(turn)
            turn.worker = worker
            self._enter(worker)
            turn.came.set()

    def _next(self) -> _Turn | None:
        if self.held:
            return next((turn for turn in self._waiting if turn.extra), None)

        return self._waiting[0] if self._waiting else None

    def send_away(self, error: DspexError) -> None:
        """Tells everyone who waits that there will be no place."""
        while self._waiting:
            turn = self._waiting.popleft()
            turn.error = copy(error)
            turn.error.__cause__ = error.__cause__
            turn.came.set()

    def _least_loaded(self, *, extra: bool) -> Worker | None:
        best: Worker | None = None
        for worker in self.workers:
            if worker.standing is Standing.READY and (extra or worker.running < self._options.concurrency):
                best = worker if best is None or worker.load < best.load else best

        return best if best is not None or not extra else self._retiring()

    def _retiring(self) -> Worker | None:
        # It may be retiring after the very call that another one is to be made for, and the next worker comes only after it.
        return next((worker for worker in self.workers if worker.standing is Standing.RETIRING and worker.running), None)
