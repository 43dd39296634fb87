"""
What the observable instruments of one provider call.

OpenTelemetry can't take a callback back, and of two instruments of one name it knows the first one only. So each provider gets them once, and they
ask a place that is filled while something is told there, and empty before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from opentelemetry import metrics

from . import _names

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation

    from ._names import Metric
    from ._reading import Reading

OBSERVED: Final = (_names.OPERATIONS, _names.MAILBOX_DEPTH, _names.CONTEXTS, _names.WORKERS, _names.RESTARTS)
"""The metrics that are read when a reader collects."""


class Outlet:
    """
    The place that one provider's instruments ask.

    Attributes:
        reading: what they are told from; None while there is nothing to tell there.

    """

    __slots__ = ("__weakref__", "reading")

    def __init__(self) -> None:
        self.reading: Reading | None = None

    def make(self, meter: Meter) -> None:
        """Makes the instruments."""
        for metric in OBSERVED:
            counter = metric.kind == "counter"
            create = meter.create_observable_counter if counter else meter.create_observable_up_down_counter
            create(metric.name, [self._asked(metric)], metric.unit, metric.description)

    def _asked(self, metric: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_options: CallbackOptions) -> Iterable[Observation]:
            reading = self.reading
            return () if reading is None else reading.take(metric)

        return observe


_outlets: WeakKeyDictionary[MeterProvider, Outlet] = WeakKeyDictionary()
_of_global: Outlet | None = None


def outlet_of(provider: MeterProvider, meter: Meter) -> Outlet:
    """The one of *provider*, whose meter is *meter*."""
    global _of_global
    outlet = _outlets.get(provider)
    everybodys = provider is metrics.get_meter_provider()
    if outlet is None and everybodys:
        # Made before the global provider was set: what its stand-in made then, it has handed over.
        outlet = _of_global

    if outlet is None:
        outlet = Outlet()
        outlet.make(meter)

    _outlets[provider] = outlet
    if everybodys:
        _of_global = outlet

    return outlet
