"""Who listens to what is done in one context: those who listen to all of them, and those who listen to this one alone."""

from __future__ import annotations

from _thread import get_ident
from itertools import islice
from threading import Lock, Thread
from time import sleep
from typing import TYPE_CHECKING, Any

from ..telemetry._hooks import OPERATION_FAILED, VARIABLE_OPERATION
from ..telemetry._live import CONTEXTS
from ._service import NO_CELLS, Service

if TYPE_CHECKING:
    from ..telemetry import Record
    from ..telemetry._hooks import Channel
    from ..variables import Cell
    from ._probe import Probe, Sink
    from ._watch import Hub

# So many contexts are told at once when the first listener comes or the last one goes; when one comes a thread tells the others, with pauses.
AT_ONCE = 200
PAUSE = 0.001

_observing = Lock()


class Observed(Service):
    """The service of a context, as others may observe it."""

    __slots__ = ()
    cells: dict[Any, Cell]
    eye: Probe | Hub | None
    probe: Probe | None
    sinks: tuple[Sink, ...]
    untold: tuple[tuple[Channel, Record], ...]

    def is_observed(self) -> bool:
        """Whether somebody listens to what is done here."""
        return bool(self.sinks or VARIABLE_OPERATION.heard or OPERATION_FAILED.heard)

    def look(self) -> None:
        """Puts in place who looks on: a probe, the watches or nobody. Only on the context's own thread."""
        if self.is_observed():
            self._open_eye()
            return

        self.probe = None
        self.eye = self.hub
        self.cells = self.known
        if self.is_observed():
            # Somebody came in another thread, in this very step.
            self._open_eye()

    def _open_eye(self) -> None:
        from ._probe import Probe as Observer

        # The one there is may be in the middle of an operation.
        probe = self.probe or Observer(self)
        self.probe = self.eye = probe
        self.cells = NO_CELLS

    def observe(self, sink: Sink) -> None:
        """
        Has *sink* called with each `VariableOperation` and `OperationFailed` of this context alone.

        From another thread than the context's it takes effect at once as well.
        """
        with _observing:
            self.sinks = (*self.sinks, sink)

        self.attend()

    def unobserve(self, sink: Sink) -> None:
        """No longer. Idempotent. From another thread the context is back on its fastest path after its next operation."""
        with _observing:
            self.sinks = tuple(other for other in self.sinks if other != sink)

        self.attend()

    def attend(self) -> None:
        """Those who listen have changed."""
        if get_ident() == self.thread:
            self.look()
        elif self.is_observed():
            # Showing no cells is right at any time; which cells to show only the context's own thread can tell.
            self._open_eye()

    def tell_operation(self, channel: Channel, record: Record) -> None:
        """Hands the record of an operation to those who listen to all contexts, and to this one."""
        channel.tell(record)
        told: Any = record
        for sink in self.sinks:
            sink(told)

    def tell_after_turn(self, channel: Channel, record: Record) -> None:
        """Hands *record* over when what the owner is serving is answered, and the gate is open again."""
        self.untold = (*self.untold, (channel, record))

    def tell_untold(self) -> None:
        """Tells it."""
        untold, self.untold = self.untold, ()
        for channel, record in untold:
            if channel is VARIABLE_OPERATION or channel is OPERATION_FAILED:
                self.tell_operation(channel, record)
            else:
                channel.tell(record)


# --- who listens to all contexts ---------------------------------------------------------------------------------------------------


class _Everybody:
    """Whether all contexts are observed, and how they are told."""

    observed = False

    def follow(self) -> None:
        """Somebody has come to listen to one kind of record, or the last one has gone."""
        # Whoever comes here last sees what there is at last, however many threads come and go.
        with _observing:
            observed = bool(VARIABLE_OPERATION.heard or OPERATION_FAILED.heard)
            if observed is self.observed:
                return

            self.observed = observed

        living = iter(CONTEXTS)
        for inside in islice(living, AT_ONCE):
            inside.variables.attend()

        # When the last one goes the others find out by themselves, with their next operation.
        if observed and next(living, None) is not None:
            Thread(target=self._tell_others, name="dspex observers", daemon=True).start()

    def _tell_others(self) -> None:
        living = iter(CONTEXTS)
        while portion := tuple(islice(living, AT_ONCE)):
            for inside in portion:
                inside.variables.attend()

            # Else the loop would wait for the interpreter.
            sleep(PAUSE)


_everybody = _Everybody()
for _channel in (VARIABLE_OPERATION, OPERATION_FAILED):
    _channel.follow(_everybody.follow)
