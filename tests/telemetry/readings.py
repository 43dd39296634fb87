"""What a reader is told, in plain terms, for tests to compare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, Metric, MetricsData

from dspex import telemetry

Attributes = frozenset[tuple[str, Any]]


def attributes(**values: Any) -> Attributes:
    """Of one point: ``attributes(dspex_route="direct")``."""
    return frozenset((name.replace("_", "."), value) for name, value in values.items())


def metrics_of(data: MetricsData | None) -> Iterator[Metric]:
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            assert scope.scope.name == "dspex"
            yield from scope.metrics


class Reader:
    """A provider with a reader in memory. Counters and histograms are told as what has come on top since it was made."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def collect(self) -> dict[str, Metric]:
        """All there is to read, as the SDK has it."""
        return {metric.name: metric for metric in metrics_of(self.reader.get_metrics_data())}

    def points(self, name: str) -> dict[Attributes, Any]:
        """The points of one metric: numbers, and of a histogram how many were recorded."""
        metric = self.collect().get(name)
        return {} if metric is None else {_about(point): _number(point) for point in metric.data.data_points}

    def point(self, name: str, **about: Any) -> Any:
        """One of them, 0 if there is none."""
        return self.points(name).get(attributes(**about), 0)


def _about(point: Any) -> Attributes:
    return frozenset(dict(point.attributes or {}).items())


def _number(point: Any) -> Any:
    return point.count if isinstance(point, HistogramDataPoint) else point.value


@contextmanager
def read() -> Iterator[Reader]:
    """What happens in the block can be read."""
    reader = Reader()
    with telemetry.instrument(meter_provider=reader.provider):
        yield reader

    reader.provider.shutdown()
