"""
The metrics: what is read when a reader collects, and what is recorded as it happens.

Nothing is done for them per operation: how many there were is read from integers that are there anyway, and how long they took is timed of a sample,
and only while somebody collects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics

from ..._version import __version__
from .._hooks import Subscription, subscribe
from .._records import BackendSwitched, OperationFailed, ProgramCalled, SwitchFailed, VariableOperation, WorkerEnded
from . import _names
from ._few import Few
from ._outlet import Outlet, outlet_of
from ._reading import Reading
from ._sampling import Sampling

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram, Meter, MeterProvider

    from ._names import Metric

Attributes = dict[str, str]


class Meters:
    """All instruments, telling from `install` to `remove`."""

    __slots__ = ("_instruments", "_outlet", "_provider", "_sampling", "_subscription")

    def __init__(self, provider: MeterProvider | None) -> None:
        self._provider = provider
        self._instruments: Instruments | None = None
        self._outlet: Outlet | None = None
        self._sampling: Sampling | None = None
        self._subscription: Subscription | None = None

    def install(self) -> None:
        """Makes the instruments, and listens."""
        provider = self._provider if self._provider is not None else metrics.get_meter_provider()
        meter = provider.get_meter(_names.SCOPE, __version__)
        instruments = Instruments(meter)
        self._outlet = outlet_of(provider, meter)
        # What an instrument of somebody's own raises hurts no operation: it is logged once, as of any hook.
        self._sampling = Sampling(Subscription(instruments.operation, (), None).run)
        self._outlet.reading = Reading(instruments.pools, self._sampling)
        self._subscription = subscribe(instruments.happened, only=tuple(instruments.recorded))

    def remove(self) -> None:
        """Listens no longer, and tells nothing to whoever collects."""
        if self._outlet is not None:
            self._outlet.reading = None

        if self._sampling is not None:
            self._sampling.end()

        if self._subscription is not None:
            self._subscription.unsubscribe()


class Instruments:
    """
    Those that are recorded into when something happens.

    Attributes:
        pools: the names of pools that are told apart.
        recorded: the records that they are recorded from, and how.

    """

    def __init__(self, meter: Meter) -> None:
        self.pools: Few = Few()
        self._programs = Few()
        self._errors = Few()
        self._switches = _counter(meter, _names.SWITCHES)
        self._switch_duration = _histogram(meter, _names.SWITCH_DURATION)
        self._program_duration = _histogram(meter, _names.PROGRAM_DURATION)
        self._program_queue_duration = _histogram(meter, _names.PROGRAM_QUEUE_DURATION)
        self._worker_endings = _counter(meter, _names.WORKER_ENDINGS)
        self._operation_duration = _histogram(meter, _names.OPERATION_DURATION)
        self._mailbox_wait = _histogram(meter, _names.MAILBOX_WAIT)
        self.recorded: dict[type, Callable[[Any], None]] = {
            BackendSwitched: self._switched,
            SwitchFailed: self._not_switched,
            ProgramCalled: self._called,
            WorkerEnded: self._worker_ended,
        }

    def happened(self, record: Any) -> None:
        """Records what is told in *record*."""
        self.recorded[type(record)](record)

    def operation(self, record: VariableOperation | OperationFailed) -> None:
        """Records one operation of the sample."""
        about = {_names.OPERATION: record.operation, _names.BACKEND: record.backend}
        if not record.direct:
            self._mailbox_wait.record(record.waited, about)

        error = record.error if isinstance(record, OperationFailed) else None
        route = "direct" if record.direct else "queued"
        self._operation_duration.record(record.seconds, {**about, _names.ROUTE: route, **self._error(error)})

    def _switched(self, record: BackendSwitched) -> None:
        self._switch(record.seconds, {_names.SWITCH_OUTCOME: "switched"})

    def _not_switched(self, record: SwitchFailed) -> None:
        self._switch(record.seconds, {_names.SWITCH_OUTCOME: "rolled back", **self._error(record.error)})

    def _switch(self, seconds: float, about: Attributes) -> None:
        self._switches.add(1, about)
        self._switch_duration.record(seconds, about)

    def _called(self, record: ProgramCalled) -> None:
        about = {
            _names.PROGRAM: self._programs.name(record.program_id),
            _names.PROGRAM_WHERE: record.where,
            _names.PROGRAM_OUTCOME: record.outcome,
            **self._error(record.error),
        }
        self._program_queue_duration.record(record.queued, about)
        self._program_duration.record(record.seconds, about)

    def _worker_ended(self, record: WorkerEnded) -> None:
        self._worker_endings.add(1, {_names.WORKER_ENDING: record.ending, _names.POOL: self.pools.name(record.pool)})

    def _error(self, error: BaseException | None) -> Attributes:
        return {} if error is None else {_names.ERROR_TYPE: self._errors.name(_names.error_type(error))}


def _counter(meter: Meter, metric: Metric) -> Counter:
    return meter.create_counter(metric.name, metric.unit, metric.description)


def _histogram(meter: Meter, metric: Metric) -> Histogram:
    return meter.create_histogram(metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=metric.boundaries)
