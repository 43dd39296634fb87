"""
The seats of a pool: in each lives one worker at a time, and after it the next.

They are children of a supervisor of ours, which starts a worker again however it ended, and never gives up. How long a seat stays empty is
told by its own record of how its workers ended (see `restarts`). A defect in here costs the worker it happened to, and is counted as its death.
"""

from __future__ import annotations

import logging
import math
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import anyio

from ..._exceptions import StartFailed, in_short
from ...supervision import ChildSpec, DynamicSupervisor, unwrapped
from ...telemetry._live import RESTARTS
from .launch import plan_launch
from .restarts import Ending, Restarts
from .statistics import WorkerStatistics
from .worker import Worker

if TYPE_CHECKING:
    from ...supervision import Branch
    from .chronicle import Chronicle
    from .options import Pool
    from .places import Places

_logger = logging.getLogger(__name__)

# So many starts in a row, of workers that are known to be able to, may be ended by somebody's signal until callers are told of it.
_CUT_DOWN: Final = 5


class Seat:
    """
    One seat. To its supervisor it is a child's start, its stop and its backoff.

    Attributes:
        failing: whether the last try to start a worker in it failed.

    """

    def __init__(self, seats: Seats) -> None:
        self.failing: bool = False
        self._seats = seats
        self._restarts = Restarts()
        self._worker: Worker | None = None
        self._cut_down = 0
        self._pause = 0.0
        self._last = ""

    async def live(self) -> None:
        """
        Starts a worker and sees it through to its end.

        Raises:
            WorkerDied: it ended without being asked to.
            StartFailed: it never got ready.

        """
        seats = self._seats
        if seats.closing:
            # Nobody would have any use for it.
            await seats.emptied.wait()
            return

        ending = Ending.BROKEN
        try:
            ending = await self._one_life()
        except StartFailed as error:
            ending = Ending.CUT_DOWN if self._was_cut_down() else Ending.NEVER_STARTED
            if ending is Ending.NEVER_STARTED or self._cut_down >= _CUT_DOWN:
                self._could_not_start(error)

            if not seats.closing:
                raise
        except Exception as error:
            facts = seats.chronicle.facts(self._worker)
            _logger.error("A worker of pool %r is replaced: what runs it failed", seats.pool, exc_info=error, extra=facts)
            self._could_not_start(seats.broken(error))
            raise
        finally:
            died = self._bury(ending)

        if died is not None:
            raise died

    async def _one_life(self) -> Ending:
        seats = self._seats
        worker = self._worker = seats.hire()
        self.failing = False
        ending = await worker.run()
        self._cut_down = 0
        seats.failed_starts = 0
        return ending

    def _bury(self, ending: Ending) -> Exception | None:
        """Counts the end of its worker, and says what there is to raise of it."""
        worker, self._worker = self._worker, None
        ready_at = None if worker is None else worker.ready_at
        if worker is not None and ending is Ending.DIED:
            self._last = f"after worker {worker.process.pid} {worker.process.ended}"

        # Of somebody else's doing callers may be told too, but that may be over any time.
        told = self.failing and ending is not Ending.CUT_DOWN
        self._pause = self._restarts.delay_after(ending, lived=0.0 if ready_at is None else anyio.current_time() - ready_at, told=told)
        self._seats.bury(worker, ending)
        return worker.process.obituary() if worker is not None and ending is Ending.DIED and not self._seats.closing else None

    def delay(self, strikes: int, /) -> float:
        """Seconds before the next worker; its supervisor's own count is of no account here."""
        return self._pause

    async def close(self, final: bool, /) -> None:
        """Asks its worker to leave, or ends it where there is no time for that."""
        if self._worker is not None and self._seats.abrupt:
            self._worker.kill(reason=self._seats.closing)
        elif self._worker is not None:
            await self._worker.close()

    def _was_cut_down(self) -> bool:
        """Whether somebody killed its worker as it started. That says nothing against the next one: who waits for a place goes on waiting."""
        worker = self._worker
        if worker is None or worker.problem:
            return False

        # Of other signals after the greeting the modules of imports= are the likely cause.
        code = worker.process.exit_code or 0
        killed = code == -signal.SIGKILL if worker.greeted else code < 0 and self._seats.started > 0
        self._cut_down += killed
        return killed

    def branch(self, name: str) -> Branch:
        """How its worker looks in a supervisor's tree."""
        from ...supervision import Branch

        if self._worker is None:
            to_come = "restarting" if self._last else "starting"
            return Branch(name, "process", "" if self._seats.closing else to_come, note=self._last)

        known = WorkerStatistics.of(self._worker)
        return Branch(name, "process", known.status, {"pid": known.pid, "running": known.running, "served": known.served}, note=self._last)

    def _could_not_start(self, error: StartFailed) -> None:
        self._last = in_a_line(error)
        if self._worker is None or self._worker.ready_at is None:
            self.failing = True
            self._seats.could_not_start(error)


class Seats:
    """
    All seats of one pool.

    Attributes:
        chronicle: what tells of the workers.
        pool: what the pool is called.
        started: workers that got ready and have ended since.
        deaths: workers that ended without being asked to, or before they were ready.
        last_death: how the last of these ended, in words.
        last_words: the end of what that one wrote.
        failed_starts: starts that have failed since the last worker that was able to.
        closing: why the workers are to end, in words; empty while they are to be kept.
        abrupt: whether they are ended without being asked to leave.
        emptied: set when their supervisor is to end them.

    """

    def __init__(self, chronicle: Chronicle, options: Pool, places: Places, *, changed: Callable[[], None]) -> None:
        self.chronicle: Chronicle = chronicle
        self.pool: str = chronicle.pool
        self.started: int = 0
        self.deaths: int = 0
        self.last_death: str = ""
        self.last_words: str = ""
        self._options = options
        self._places = places
        self._changed = changed
        self._launch = plan_launch(chronicle.pool, options)
        self._missing: set[str] = set()
        self.put_up()

    def put_up(self) -> None:
        """New seats, for the next time that the workers are kept running."""
        self.failed_starts: int = 0
        self.closing: str = ""
        self.abrupt: bool = False
        self.emptied: anyio.Event = anyio.Event()
        self._seats = [Seat(self) for _ in range(self._options.workers)]
        self._failure: StartFailed | None = None

    @property
    def failure(self) -> StartFailed | None:
        """Why no worker can be started; None if one can, or may be able to."""
        return self._failure if all(seat.failing for seat in self._seats) else None

    async def keep(self, name: str) -> None:
        """
        Keeps a worker in each seat until they are to be empty. However this is left, there are no processes any more.

        *name* is that of their supervisor.
        """
        if self.emptied.is_set():
            return

        supervisor = DynamicSupervisor(name=name, max_restarts=sys.maxsize, max_seconds=1.0)
        supervisor.tells_of_crashes = False
        supervisor.is_part = True
        async with supervisor:
            try:
                for seat_name, seat in self._named():
                    spec = ChildSpec(seat_name, seat.live, shutdown=math.inf, backoff=seat, stop=seat.close)
                    await supervisor.start_child(spec)

                await self.emptied.wait()
            except BaseException:
                self.close(self.closing or "its pool has failed")
                self.empty(abrupt=True)
                raise

    def _named(self) -> Iterator[tuple[str, Seat]]:
        return ((f"worker-{number}", seat) for number, seat in enumerate(self._seats, 1))

    def branches(self) -> tuple[Branch, ...]:
        """How they look in a supervisor's tree."""
        return tuple(seat.branch(name) for name, seat in self._named())

    def close(self, why: str) -> None:
        """From now on a worker that ends is not replaced."""
        self.closing = why

    def empty(self, *, abrupt: bool = False) -> None:
        """Lets all workers leave, or without asking ends them."""
        self.abrupt = self.abrupt or abrupt
        self.emptied.set()

    # --- what a seat tells -------------------------------------------------------------------------------------------------------

    def hire(self) -> Worker:
        """
        A new worker, which the pool may give calls once it is ready.

        Raises:
            StartFailed: no process could be started.

        """
        worker = Worker(self._launch, self.chronicle, changed=self._changed, could_not_import=self._could_not_import)
        self._places.workers.append(worker)
        return worker

    def bury(self, worker: Worker | None, ending: Ending) -> None:
        """Counts the end of *worker*; None if there never was a process."""
        if worker is not None:
            self._places.workers.remove(worker)
            self.started += worker.ready_at is not None

        if ending not in {Ending.RETIRED, Ending.KILLED} and not self.closing:
            self.deaths += 1
            process = None if worker is None else worker.process
            self.last_death = "no process could be started" if process is None else f"worker {process.pid} {process.ended}"
            self.last_words = "" if process is None else process.last_words

        RESTARTS.workers += ending is not Ending.RETIRED and not self.closing
        if worker is not None:
            self.chronicle.ended(worker, ending, closing=bool(self.closing))

    def broken(self, error: Exception) -> StartFailed:
        """What callers are told when what runs a worker has failed."""
        cause = unwrapped(error)
        failed = StartFailed(self._launch.name, problem=in_short(cause))
        failed.__cause__ = cause
        return failed

    def could_not_start(self, error: StartFailed) -> None:
        """Callers are told, if no seat has, or soon will have, a worker."""
        self._failure = error
        self.failed_starts += 1
        # Tries follow one another ever more slowly, and are told of more rarely still.
        if not self.closing and self.failed_starts.bit_count() == 1:
            facts = {**self.chronicle.facts(), "dspex_try": self.failed_starts}
            _logger.warning("%s (try %d; the pool goes on trying)", error, self.failed_starts, extra=facts)

        if self.failure is not None and not self.closing:
            self._places.send_away(error)

        self._changed()

    def _could_not_import(self, module: str, trace: str) -> None:
        """A worker goes on without a module of ``imports=``. Of each this is said once, not by each worker that follows."""
        if module not in self._missing:
            self._missing.add(module)
            why = trace.rstrip().rpartition("\n")[2]
            told = "A worker of pool %r could not import %r of imports= and goes on without it: %s"
            _logger.warning(told, self.pool, module, why, extra={**self.chronicle.facts(), "dspex_module": module})


def in_a_line(error: StartFailed) -> str:
    """What it says, as far as a line goes."""
    return str(error).partition("\n")[0]
