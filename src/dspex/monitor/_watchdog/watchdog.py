"""
The watchdog: a thread that looks for what doesn't end, and tells where it is.

What has ended is in records. This is for what hasn't: an owner that is stuck in one operation, and an event loop that somebody holds.
"""

from __future__ import annotations

import logging
import threading
from time import monotonic, process_time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from ...telemetry import ChildChanged, ContextChanged, subscribe
from .._bounds import check_seconds
from .._loops import Loop
from .heartbeat import Heartbeat
from .owners import Owners

if TYPE_CHECKING:
    from ...telemetry import Subscription

PACE: Final = 0.02
"""Seconds between two portions of owners, where there are more than one: 100,000 are looked at in 4 seconds, for a hundredth of a processor."""

PATIENCE: Final = 1.0
"""Seconds that `stop` waits for the thread, which has nothing to do then but to end, unless a hook or a log handler holds it."""


class Watchdog:
    """
    Reports owners that are stuck and event loops that are held, while it is started: at WARNING with the stack of what they are doing, and as an
    `OwnerStuck` or a `LoopHeld` for those who listen, who are called on its own thread. Each is told once, and its end at INFO.

    ::

        with monitor.Watchdog(owner=1.0, loop=0.25):
            ...

    It looks at the owners of all contexts, at the loop that it was started on, at those that contexts live on, and at each that a context or a
    supervisor's child changes its state on from then on. A synchronous backend works on the loop's own thread: one that doesn't return holds the loop.

    It looks four times within a bound, from a thread of its own, and adds nothing to any operation. A process that was stopped as a whole isn't
    held.

    Args:
        owner: seconds that an owner may be in one operation, a switch among them. None: don't look.
        loop: seconds that an event loop may not come round. None: don't look.
        logger: where to; ``"dspex.monitor"`` unless told.

    Raises:
        TypeError, ValueError: a bound that can't be.

    """

    def __init__(self, *, owner: float | None = 1.0, loop: float | None = 0.25, logger: logging.Logger | None = None) -> None:
        check_seconds("owner", owner, least=0.001)
        check_seconds("loop", loop, least=0.001)
        if owner is None and loop is None:
            raise ValueError("owner, loop: expected at least one bound, got None for both. There is nothing to look for.")

        self.owner: float | None = owner
        self.loop: float | None = loop
        self._log = logger or logging.getLogger("dspex.monitor")
        self._pulses: dict[Any, Heartbeat] = {}
        self._subscription: Subscription | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed = False

    def __repr__(self) -> str:
        bounds = " | ".join(
            f"{name}: {'off' if value is None else f'{value:g} s'}" for name, value in (("owner", self.owner), ("loop", self.loop))
        )
        return f"<Watchdog [{'watching' if self.active else 'off'} | {bounds}]>"

    @property
    def active(self) -> bool:
        """Whether it looks."""
        return self._thread is not None

    def start(self) -> None:
        """Begins to look. Idempotent."""
        if self._thread is not None:
            return

        self._stopped = threading.Event()
        self._subscription = subscribe(self._meet, only=(ContextChanged, ChildChanged))
        self._meet()
        for loop in Loop.known():
            self._adopt(loop)

        self._thread = threading.Thread(target=self._work, args=(self._stopped,), name="dspex watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Looks no longer, and waits for its thread to end. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is None:
            return

        if self._subscription is not None:
            self._subscription.unsubscribe()

        self._stopped.set()
        self._pulses.clear()
        if thread is not threading.current_thread():
            thread.join(PATIENCE)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    def _meet(self, record: object = None) -> None:
        """Looks after the loop that runs this, from now on."""
        if self.loop is not None:
            self._adopt(Loop.here())

    def _adopt(self, loop: Loop | None) -> None:
        if loop is not None and self.loop is not None and loop.native not in self._pulses:
            self._pulses[loop.native] = Heartbeat(loop, self.loop, self._log)

    # --- its thread --------------------------------------------------------------------------------------------------------------

    def _work(self, stopped: threading.Event) -> None:
        owners = None if self.owner is None else Owners(self.owner, self._log)
        usual = min(bound for bound in (self.owner, self.loop, 4.0) if bound is not None) / 4
        pause = usual
        while not self._rest(stopped, pause, owners):
            pause = usual if self._look(owners) else min(usual, PACE)

        if owners is not None:
            owners.close()

    def _look(self, owners: Owners | None) -> bool:
        """Whether it has seen all there is to see."""
        now = monotonic()
        try:
            self._take_pulses(now)
            return owners is None or owners.look(now)
        except Exception:  # noqa: BLE001 - what is looked at goes on meanwhile, on threads of its own: one failed look is no reason to stop
            if not self._failed:
                self._failed = True
                facts = {"dspex_thread": threading.current_thread().name}
                self._log.exception("The watchdog could not look; of its further failures nothing is said", extra=facts)

            return True

    def _rest(self, stopped: threading.Event, pause: float, owners: Owners | None) -> bool:
        """
        Waits; whether it is over.

        Whoever holds the interpreter makes this thread late, and uses the processor. If nothing of this process has run, then nobody is to
        blame for what is beyond another pause: it was stopped, or the machine had no time for it.
        """
        began, used = monotonic(), process_time()
        over = stopped.wait(pause)
        late = monotonic() - began - pause
        if late > pause and process_time() - used < late / 2:
            for pulse in tuple(self._pulses.values()):
                pulse.forgive(late - pause)

            if owners is not None:
                owners.forgive(late - pause)

        return over

    def _take_pulses(self, now: float) -> None:
        for pulse in tuple(self._pulses.values()):
            pulse.look(now)
            if pulse.over:
                self._pulses.pop(pulse.loop.native, None)


def watchdog(*, owner: float | None = 1.0, loop: float | None = 0.25) -> Watchdog:
    """A `Watchdog` for a block: ``with monitor.watchdog(): ...``. It begins to look when the block is entered."""
    return Watchdog(owner=owner, loop=loop)
