"""
What is told of one pool's workers, as records and in the log: that one is ready, and how it ended.

A worker that leaves because it was asked to is nobody's concern. One that dies, or has to be killed for a program that would not end, is a
warning. Of one that never gets as far its seat tells, which knows how often that was tried, and of one that was lost to a defect in here as well.
"""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ...telemetry._hooks import WORKER_ENDED, WORKER_STARTED
from .restarts import Ending

if TYPE_CHECKING:
    from .worker import Worker

Told: TypeAlias = Literal["drained", "killed", "died", "never started"]

log: logging.Logger = logging.getLogger(__name__)


class Chronicle:
    """
    The workers of one pool, in words.

    Attributes:
        bridge: what their bridge is called.
        pool: what their pool is called.

    """

    def __init__(self, bridge: str, pool: str) -> None:
        self.bridge: str = bridge
        self.pool: str = pool

    def facts(self, worker: Worker | None = None) -> dict[str, Any]:
        """What a line of the log carries beside its words."""
        facts: dict[str, Any] = {"dspex_bridge": self.bridge, "dspex_pool": self.pool}
        return facts if worker is None else {**facts, "dspex_worker_pid": worker.process.pid}

    def ready(self, worker: Worker) -> None:
        """It takes calls."""
        process = worker.process
        if log.isEnabledFor(logging.INFO):
            facts = {**self.facts(worker), "dspex_seconds": process.seconds}
            log.info("Worker %d of pool %r is ready after %.0f ms", process.pid, self.pool, process.seconds * 1e3, extra=facts)

        if WORKER_STARTED.heard:
            from ...telemetry._records import WorkerStarted

            WORKER_STARTED.tell(WorkerStarted(bridge=self.bridge, pool=self.pool, pid=process.pid, seconds=process.seconds))

    def ended(self, worker: Worker, ending: Ending, *, closing: bool) -> None:
        """Nothing is left of it. *closing*: none follows it."""
        told = in_a_word(worker, ending)
        unexpected = told in {"died", "killed"} and not closing and ending is not Ending.BROKEN
        level = logging.WARNING if unexpected else logging.INFO
        if log.isEnabledFor(level):
            self._log(level, worker, told)

        if WORKER_ENDED.heard:
            self._record(worker, told)

    def _log(self, level: int, worker: Worker, told: Told) -> None:
        process = worker.process
        facts = {
            **self.facts(worker),
            "dspex_ending": told,
            "dspex_exit_code": None if process.signal else process.exit_code,
            "dspex_signal": process.signal,
            "dspex_last_words": process.last_words,
            "dspex_seconds": process.seconds,
            "dspex_served": worker.taken,
        }
        how = "was drained" if told == "drained" else process.ended
        calls = "1 call" if worker.taken == 1 else f"{worker.taken} calls"
        log.log(level, "Worker %d of pool %r %s, after %.1f s and %s", process.pid, self.pool, how, process.seconds, calls, extra=facts)

    def _record(self, worker: Worker, told: Told) -> None:
        from ...telemetry._records import WorkerEnded

        process = worker.process
        WORKER_ENDED.tell(
            WorkerEnded(
                bridge=self.bridge,
                pool=self.pool,
                pid=process.pid,
                ending=told,
                exit_code=None if process.signal else process.exit_code,
                signal=process.signal,
                last_words=process.last_words,
                seconds=process.seconds,
                served=worker.taken,
            )
        )


def in_a_word(worker: Worker, ending: Ending) -> Told:
    """How *worker* ended."""
    if worker.cut_short or ending is Ending.KILLED:
        return "killed"

    # Also of one that was to leave, and was killed by somebody else before it could.
    if ending is Ending.RETIRED and worker.process.signal in {None, signal.SIGTERM.name}:
        return "drained"

    return "never started" if worker.ready_at is None else "died"
