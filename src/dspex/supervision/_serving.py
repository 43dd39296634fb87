"""
`serve`: a tree that runs until the process is asked to end.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Generator, Iterable
from contextlib import contextmanager
from typing import Unpack

import anyio

from .._exceptions import StartFailed
from ._spec import ChildSpec
from ._supervisor import Supervisor, SupervisorOptions

log = logging.getLogger(__name__)


async def serve(children: Iterable[ChildSpec], **options: Unpack[SupervisorOptions]) -> None:
    """
    Runs *children* under a `Supervisor` until SIGTERM or SIGINT, then stops them in order.

    A second signal cuts short the time that they have for it. It also returns when the supervisor ends by itself. *options* are the
    supervisor's. To be called in the main thread, as whatever receives signals.

    Raises:
        StartFailed: a child failed to start. From its own exception.
        RestartLimitReached: the supervisor gave up.

    """
    with _as_before(), anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        served = _Served(children, **options)
        served.signals = signals
        try:
            async with served:
                await served.wait()
        except StartFailed:
            if served.ended_by != "stop":
                raise


@contextmanager
def _as_before() -> Generator[None, None, None]:
    """Afterwards SIGINT does what it did before the block: asyncio gives Python's own answer to it back, whatever there was."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is not before and before is not None:
            signal.signal(signal.SIGINT, before)


class _Served(Supervisor):
    """A supervisor that a signal stops, also while it is starting."""

    signals: AsyncIterator[signal.Signals]

    async def _start_children(self) -> None:
        assert self._group is not None
        self._group.start_soon(self._heed_signals, name=f"{self.path} (signals)")
        await super()._start_children()

    async def _heed_signals(self) -> None:
        async for received in self.signals:
            follows = "cutting short" if self._is_ending else "stopping"
            facts = {"dspex_supervisor": self.path, "dspex_signal": received.name}
            log.info("%s: %s, %s", self.path, received.name, follows, extra=facts)
            if self._is_ending:
                self._hurry()
            else:
                self._end_from_within("stop")
