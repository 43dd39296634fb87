"""
A pool: so many workers kept running, each replaced when it ends, and calls brought to them.

Whoever waits for a worker is told at once when there will be none: the bridge closes, or no worker can be started. In the second case
the pool goes on trying, ever more slowly, and a call made between two tries is told why the last one failed.

A pool whose bridge is restarted stays the same object: it holds back the calls that have not begun, for its next workers, and those
that were running are told that their worker has died.
"""

from __future__ import annotations

import enum
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
from attrs import define

from ..._exceptions import BridgeClosed, CallCancelled, CallTimeout, DspexError, RemoteProtocolError, WorkerDied
from ...supervision import current_path
from .chronicle import Chronicle
from .options import Pool
from .places import Places
from .port import ProgramShape, WorkerCall
from .seats import Seats, in_a_line
from .statistics import LIVING, PoolStatistics, WorkerStatistics, status_of
from .visit import see_out, visit
from .worker import NotTaken, Worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anyio.abc import TaskGroup

    from ...supervision import Branch
    from .conversation import LoopTalk, ThreadTalk

__all__ = ["Pool", "WorkerPool"]

# Seconds after which workers start, unless a call wants one sooner: starting a process takes a third of a millisecond of the loop's
# thread, which whoever has just opened the pool would rather have.
_WARM_UP_DELAY: Final = 0.002


class Phase(enum.Enum):
    """Where in its life a pool is."""

    NEW = "not running"
    OPEN = "running"
    RESTARTING = "restarting"
    DRAINING = "stopping"
    CUTTING = "closing"
    PARKED = "parked"
    CLOSED = "closed"


# In these nothing is begun, and what was begun is told that the bridge is closed.
_ENDED: Final = frozenset({Phase.CUTTING, Phase.PARKED, Phase.CLOSED})
_REFUSING: Final = _ENDED | {Phase.NEW}


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

    def __init__(self, name: str, options: Pool, *, bridge: str = "") -> None:
        self.name = name
        self.options = options
        self._bridge = bridge
        self._phase = Phase.NEW
        self._places = Places(name, options, refuse=self._refuse)
        self._seats = Seats(Chronicle(bridge, name), options, self._places, changed=self._tell)
        self._wanted = anyio.Event()
        self._news = anyio.Event()
        self._ended_for: BaseException | None = None
        self._tasks: TaskGroup | None = None

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
        places, seats = self._places, self._seats
        return PoolStatistics(
            workers=tuple(WorkerStatistics.of(worker) for worker in places.workers),
            running=places.running,
            waiting=places.waiting,
            calls=places.taken,
            started=seats.started + sum(worker.ready_at is not None for worker in places.workers),
            deaths=seats.deaths,
            last_death=seats.last_death,
            last_words=seats.last_words,
        )

    def count_workers(self) -> dict[str, int]:
        """How many workers are in each state; those states in which none is are there too. From any thread."""
        counts = dict.fromkeys(LIVING, 0)
        for worker in tuple(self._places.workers):
            state = status_of(worker)
            if state in counts:
                counts[state] += 1

        return counts

    def __branch__(self) -> Branch:
        """How it looks in a supervisor's tree: below it its workers."""
        from ...supervision import Branch

        places, failure = self._places, self._seats.failure
        facts = {
            "ready": sum(worker.serves for worker in places.workers),
            "workers": self.options.workers,
            "running": places.running,
            "waiting": places.waiting,
        }
        note = "" if failure is None else in_a_line(failure)
        return Branch(self.name, "pool", self._phase.value, facts, self._seats.branches(), note)

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
                if call.progress is not None:
                    call.progress.placed(worker.process.pid)

                return await visit(worker, call, hand_over=partial(self._see_out, worker, call.program_id))
            except NotTaken:
                again = True
                progress.begun = False
                if call.progress is not None:
                    call.progress.lost()
            except (WorkerDied, CallCancelled) as error:
                if self._phase in _ENDED:
                    raise self._closed(applied=None) from error

                if isinstance(error, CallCancelled) and self._phase is Phase.RESTARTING:
                    raise _ended_by_restart(worker) from error

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
            self._refuse(newcomer=not call.chain)

        worker = self._places.take_nowait(call)
        if worker is None:
            self._wanted.set()
            worker = await self._places.take(call, first=again)

        return worker

    def _refuse(self, *, newcomer: bool = False) -> None:
        if self._phase in _REFUSING or (newcomer and self._phase is Phase.DRAINING):
            raise self._closed(applied=False)

        failure = self._seats.failure
        if failure is not None and self._phase is not Phase.RESTARTING:
            raise copy(failure) from failure.__cause__

    def _closed(self, *, applied: bool | None) -> DspexError:
        error: DspexError = BridgeClosed(f"of pool {self.name!r}", status=self._phase.value)
        error.applied = applied
        error.__cause__ = self._ended_for
        return error

    # --- its life ------------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Takes calls from now on, and those it has held back; `run` must follow."""
        self._phase = Phase.OPEN
        self._places.held = False
        self._ended_for = None
        self._seats.put_up()
        self._wanted = anyio.Event()
        if self._places.waiting:
            self._wanted.set()

        self._tell()

    async def run(self) -> None:
        """Keeps the workers running until `dismiss` has ended them. However this is left, there is no process any more."""
        with anyio.move_on_after(_WARM_UP_DELAY):
            await self._wanted.wait()

        # From here on only `dismiss` ends it: it knows how.
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as self._tasks:
                await self._seats.keep(self._title())
                self._tasks.cancel_scope.cancel()

        if not self._seats.closing:
            raise RuntimeError(f"The supervisor of pool {self.name!r} ended, and nobody knows why.")

    def _title(self) -> str:
        title = self.name if current_path() or not self._bridge else f"{self._bridge} {self.name}"
        return title.replace("/", "_") or "pool"

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

    def hold(self) -> None:
        """Begins no more calls until it is opened again: they wait. Those that run, and what is called on their behalf, go on."""
        self._phase = Phase.RESTARTING
        self._places.held = True

    async def drain(self) -> None:
        """Returns once every call has ended, except those that are held back."""
        while self._places.running or (self._places.waiting and not self._places.held):
            await self._news.wait()

    async def dismiss(self, *, abrupt: bool = False) -> None:
        """
        Ends what still runs, and lets `run` end, with every worker.

        Calls that were running fail with `BridgeClosed`, and those that waited, unless they are held back. It takes no longer than
        `kill_after` for programs that won't end, and two seconds for workers that won't. *abrupt* has time for neither.

        """
        restarting = self._phase is Phase.RESTARTING
        self._seats.close("its bridge is restarting" if restarting else "its bridge is closing")
        if not restarting:
            self._phase = Phase.CUTTING
            self._places.send_away(self._closed(applied=False))

        if not abrupt:
            await self._cut()

        self._seats.empty(abrupt=abrupt)
        self._wanted.set()

    async def _cut(self) -> None:
        for worker in self._places.workers:
            worker.cut(self._seats.closing)

        with anyio.move_on_after(self.options.kill_after):
            while self._places.running:
                await self._news.wait()

    def close(self, *, parked: bool = False, error: BaseException | None = None) -> None:
        """There are no workers any more, and none will come by themselves: everyone who waits is told. *error* is why, if anything is."""
        self._phase = Phase.PARKED if parked else Phase.CLOSED
        self._places.held = False
        self._ended_for = error
        self._places.send_away(self._closed(applied=False))
        self._tell()


def _ended_by_restart(worker: Worker) -> WorkerDied:
    process = worker.process
    ended = process.ended if process.exit_code is not None else "was asked to end, since its bridge restarts"
    return WorkerDied(pid=process.pid, exit_code=process.exit_code, ended=ended, last_words=process.last_words)
