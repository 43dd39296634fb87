"""
A pool: so many workers kept running, each replaced when it ends, and calls brought to them.

Whoever waits for a worker is told at once when there will be none: the bridge closes, or no worker can be started. In the second case
the pool goes on trying, ever more slowly, and a call made between two tries is told why the last one failed.
"""

from __future__ import annotations

import enum
import logging
import signal
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
from attrs import define, field

from ..._exceptions import BridgeClosed, CallCancelled, CallTimeout, DspexError, RemoteProtocolError, StartFailed, WorkerDied
from .launch import plan_launch
from .options import Pool
from .places import Places
from .port import ProgramShape, WorkerCall
from .restarts import Ending, Restarts
from .statistics import PoolStatistics, WorkerStatistics
from .visit import see_out, visit
from .worker import NotTaken, Worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anyio.abc import TaskGroup

    from .conversation import LoopTalk, ThreadTalk

__all__ = ["Pool", "WorkerPool"]

_logger = logging.getLogger("dspex.worker")

# Seconds after which workers start, unless a call wants one sooner: starting a process takes a third of a millisecond of the loop's
# thread, which whoever has just opened the pool would rather have.
_WARM_UP_DELAY: Final = 0.002
# So many starts in a row, of workers that are known to be able to, may be ended by somebody's signal until callers are told of it.
_CUT_DOWN: Final = 5


class Phase(enum.Enum):
    """Where in its life a pool is."""

    NEW = "not running"
    OPEN = "running"
    DRAINING = "stopping"
    CUTTING = "closing"
    CLOSED = "closed"


@define(eq=False)
class _Seat:
    """Where one of the pool's workers lives, and the next one after it."""

    restarts: Restarts = field(factory=Restarts)
    failing: bool = False
    cut_down: int = 0


@define
class _Progress:
    begun: bool = False


class WorkerPool:
    """
    The running workers of one `Pool`. A bridge makes it, and `Bridge.pool` hands it out.

    Attributes:
        name: what the bridge calls it.
        options: what was asked for.

    """

    def __init__(self, name: str, options: Pool) -> None:
        self.name = name
        self.options = options
        self._launch = plan_launch(name, options)
        self._phase = Phase.NEW
        self._seats = [_Seat() for _ in range(options.workers)]
        self._places = Places(name, options, refuse=self._refuse)
        self._wanted = anyio.Event()
        self._news = anyio.Event()
        self._failure: StartFailed | None = None
        self._tasks: TaskGroup | None = None
        self._started = 0
        self._deaths = 0
        self._last_death = ""
        self._last_words = ""
        self._failed_starts = 0
        self._missing: set[str] = set()

    def __repr__(self) -> str:
        places = self._places
        calls = f"{places.running} running, {places.waiting} waiting"
        return (
            f"<WorkerPool {self.name!r} [{self._phase.value} | workers: {len(places.workers)} of {self.options.workers} | calls: {calls}]>"
        )

    @property
    def ready(self) -> bool:
        """Whether at least one worker has started and has imported the modules of ``imports=``."""
        return self._places.ready

    async def wait_ready(self) -> None:
        """
        Returns once `ready`.

        Raises:
            StartFailed: no worker could be started, or none survived its imports. The pool goes on trying.
            BridgeClosed: the bridge is not running, or closed meanwhile.

        """
        while not self.ready:
            self._refuse()
            self._wanted.set()
            await self._news.wait()

    def statistics(self) -> PoolStatistics:
        """What the pool is doing now and has done since it was made."""
        places = self._places
        return PoolStatistics(
            workers=tuple(WorkerStatistics.of(worker) for worker in places.workers),
            running=places.running,
            waiting=places.waiting,
            calls=places.taken,
            started=self._started + sum(worker.ready_at is not None for worker in places.workers),
            deaths=self._deaths,
            last_death=self._last_death,
            last_words=self._last_words,
        )

    # --- calls ---------------------------------------------------------------------------------------------------------------

    async def prepare(
        self,
        *,
        program_id: str,
        key: str,
        definition: Mapping[str, Any],
        timeout: float | None = None,
    ) -> ProgramShape:
        """
        Builds a program in a worker without running it, and says what it is.

        Raises:
            ProgramFailed: its import or its construction raised; with the worker's traceback.
            InvalidProgram: there is no such program, or it can't be one.
            DspexError: as `call` does.

        """
        told = await self.call(WorkerCall(program_id=program_id, key=key, definition=definition, timeout=timeout, meta={"prepare": True}))
        try:
            return ProgramShape(kind=told["kind"], signature=told["signature"], parameters=told["parameters"], doc=told["doc"] or "")
        except (TypeError, LookupError):
            raise RemoteProtocolError(f"Expected a worker to describe program {program_id!r}, got {told!r:.200}.") from None

    async def call(self, call: WorkerCall) -> Any:
        """
        Runs a program in the least loaded worker and returns its result, decoded as data.

        Cancelled, or out of time, it asks the program to end and returns at once. The program's place is free once it has ended, for which
        it has `kill_after` seconds; then the worker is killed and replaced.

        Raises:
            Overloaded: the queue is full, or there is no free place and the call is not to wait.
            CallTimeout: its ``timeout`` has passed.
            CallCycle: it stands at the end of a chain of too many calls.
            WorkerDied: its worker ended while the program ran.
            ProgramFailed: the program raised.
            InvalidInputs: an input is of a type that can't go to a worker.
            RemoteProtocolError: the program broke its connection.
            StartFailed: no worker could be started.
            BridgeClosed: the bridge is stopping, or did before the call had ended.

        """
        progress = _Progress()
        if call.timeout is None:
            return await self._call(call, progress)

        with anyio.CancelScope(deadline=anyio.current_time() + call.timeout):
            return await self._call(call, progress)

        error: DspexError = CallTimeout(what=f"Program {call.program_id!r}", seconds=call.timeout)
        error.applied = None if progress.begun else False
        raise error

    async def _call(self, call: WorkerCall, progress: _Progress) -> Any:
        again = False
        while True:
            worker = await self._admit(call, again=again)
            progress.begun = True
            try:
                return await visit(worker, call, hand_over=partial(self._see_out, worker, call.program_id))
            except NotTaken:
                again = True
                progress.begun = False
            except (WorkerDied, CallCancelled) as error:
                if self._phase in {Phase.CUTTING, Phase.CLOSED}:
                    raise self._closed(applied=None) from error

                raise
            finally:
                self._leave(worker)

    def _see_out(self, worker: Worker, program_id: str, talk: LoopTalk | ThreadTalk) -> None:
        """The caller is leaving, the program isn't: its end is waited for here."""
        # As long as a worker's process runs, so does the group that runs the workers.
        assert self._tasks is not None
        self._places.keep(worker)
        self._tasks.start_soon(self._wait_for_end, worker, program_id, talk)

    async def _wait_for_end(self, worker: Worker, program_id: str, talk: LoopTalk | ThreadTalk) -> None:
        try:
            await see_out(worker, talk, program_id=program_id, kill_after=self.options.kill_after)
        finally:
            worker.lingering -= 1
            self._leave(worker)

    def _leave(self, worker: Worker) -> None:
        self._places.leave(worker)
        if self._phase is not Phase.OPEN:
            self._tell()

    async def _admit(self, call: WorkerCall, *, again: bool) -> Worker:
        if not again:
            self._refuse(newcomer=True)

        worker = self._places.take_nowait(call)
        if worker is None:
            self._wanted.set()
            worker = await self._places.take(call, first=again)

        return worker

    def _refuse(self, *, newcomer: bool = False) -> None:
        if self._phase is not Phase.OPEN and (newcomer or self._phase is not Phase.DRAINING):
            raise self._closed(applied=False)

        if self._failure is not None and all(seat.failing for seat in self._seats):
            raise copy(self._failure) from self._failure.__cause__

    def _closed(self, *, applied: bool | None) -> DspexError:
        error: DspexError = BridgeClosed(f"of pool {self.name!r}", status=self._phase.value)
        error.applied = applied
        return error

    # --- workers -------------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Takes calls from now on; `run` must follow."""
        self._phase = Phase.OPEN

    async def run(self) -> None:
        """Keeps the workers running until it is cancelled, or `dismiss` has ended them."""
        try:
            with anyio.move_on_after(_WARM_UP_DELAY):
                await self._wanted.wait()

            async with anyio.create_task_group() as self._tasks:
                for seat in self._seats:
                    self._tasks.start_soon(self._keep, seat)
        finally:
            self._phase = Phase.CLOSED
            self._places.send_away(self._closed(applied=False))
            self._tell()

    async def _keep(self, seat: _Seat) -> None:
        while self._phase in {Phase.OPEN, Phase.DRAINING}:
            pause = await self._one_life(seat)
            await anyio.sleep(pause)

    async def _one_life(self, seat: _Seat) -> float:
        """Starts a worker, sees it through to its end, and says how many seconds later the next one is due."""
        worker: Worker | None = None
        try:
            worker = Worker(self._launch, changed=self._tell, could_not_import=self._could_not_import)
            seat.failing = False
            self._places.workers.append(worker)
            ending = await worker.run()
            seat.cut_down = 0
            self._failed_starts = 0
        except StartFailed as error:
            ending = Ending.NEVER_STARTED
            if not self._was_cut_down(seat, worker):
                self._could_not_start(seat, error)
        finally:
            if worker is not None and worker in self._places.workers:
                self._places.workers.remove(worker)

        self._count(worker, ending)
        lived = 0.0 if worker is None or worker.ready_at is None else anyio.current_time() - worker.ready_at
        return seat.restarts.delay_after(ending, lived=lived)

    def _count(self, worker: Worker | None, ending: Ending) -> None:
        self._started += worker is not None and worker.ready_at is not None
        if ending in {Ending.DIED, Ending.NEVER_STARTED} and self._phase in {Phase.OPEN, Phase.DRAINING}:
            self._deaths += 1
            process = None if worker is None else worker.process
            self._last_death = "no process could be started" if process is None else f"worker {process.pid} {process.ended}"
            self._last_words = "" if process is None else process.last_words

    def _could_not_import(self, module: str, trace: str) -> None:
        """A worker goes on without a module of ``imports=``. Of each this is said once, not by each worker that follows."""
        if module not in self._missing:
            self._missing.add(module)
            why = trace.rstrip().rpartition("\n")[2]
            _logger.warning("A worker of pool %r could not import %r of imports= and goes on without it: %s", self.name, module, why)

    def _was_cut_down(self, seat: _Seat, worker: Worker | None) -> bool:
        """Whether somebody killed *worker* as it started. That says nothing against the next one: who waits for a place goes on waiting."""
        if worker is None or worker.problem:
            return False

        # Of other signals after the greeting the modules of imports= are the likely cause.
        code = worker.process.exit_code or 0
        killed = code == -signal.SIGKILL if worker.greeted else code < 0 and self._started > 0
        seat.cut_down += killed
        return killed and seat.cut_down < _CUT_DOWN

    def _could_not_start(self, seat: _Seat, error: StartFailed) -> None:
        seat.failing = True
        self._failure = error
        self._failed_starts += 1
        # Tries follow one another ever more slowly, and are told of more rarely still.
        if self._phase in {Phase.OPEN, Phase.DRAINING} and self._failed_starts.bit_count() == 1:
            _logger.warning("%s (try %d; the pool goes on trying)", error, self._failed_starts)

        if all(seat.failing for seat in self._seats):
            self._places.send_away(error)

        self._tell()

    def _tell(self) -> None:
        """Something has changed: free places are given out, and whoever waits for the pool looks again."""
        self._places.give_out()
        self._news.set()
        self._news = anyio.Event()

    # --- its end -------------------------------------------------------------------------------------------------------------

    def refuse_newcomers(self) -> None:
        """Takes no calls from now on. Those that run or wait go on."""
        if self._phase is Phase.OPEN:
            self._phase = Phase.DRAINING

    async def drain(self) -> None:
        """Returns once every call has ended."""
        while self._places.running or self._places.waiting:
            await self._news.wait()

    async def dismiss(self) -> None:
        """
        Ends what still runs, and then every worker. Calls that were running or waiting fail with `BridgeClosed`.

        It takes no longer than `kill_after` for programs that won't end, and two seconds for workers that won't.

        """
        if self._phase is not Phase.CLOSED:
            self._phase = Phase.CUTTING

        self._places.send_away(self._closed(applied=False))
        for worker in self._places.workers:
            worker.cut()

        with anyio.move_on_after(self.options.kill_after):
            while self._places.running:
                await self._news.wait()

        async with anyio.create_task_group() as tasks:
            for worker in self._places.workers:
                tasks.start_soon(worker.close)
