"""How long the operations of one context take, while somebody looks at it: the one context is observed, and no other pays for it."""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import Any, Final

from ...context import Context
from ...telemetry import OperationFailed, VariableOperation

# Of more operations in one interval the last ones tell the percentiles.
_SAMPLES: Final = 4096


class Timing:
    """
    The operations of *context* from one look to the next, for one who looks.

    `close` ends it.
    """

    def __init__(self, context: Context) -> None:
        self.context: Context = context
        self._samples: deque[float] = deque(maxlen=_SAMPLES)
        self._begin(0, 0)
        self._operations, self._queued = self._counts()
        self._since = perf_counter()
        context.variables.observe(self._take)

    def close(self) -> None:
        """Observes it no longer."""
        self.context.variables.unobserve(self._take)

    def look(self) -> dict[str, Any]:
        """What there was since the last look; times in seconds."""
        now = perf_counter()
        operations, queued = self._counts()
        samples = sorted(self._samples)
        told = {
            "seconds": now - self._since,
            "operations": operations - self._operations,
            "queued": queued - self._queued,
            "count": self._count,
            "failed": self._failed,
            "mean": self._sum / self._count if self._count else None,
            "p50": _quantile(samples, 0.5),
            "p99": _quantile(samples, 0.99),
            "max": self._max if self._count else None,
            "waited_max": self._waited_max if self._count else None,
        }
        self._begin(operations, queued)
        self._since = now
        return told

    def _begin(self, operations: int, queued: int) -> None:
        self._operations, self._queued = operations, queued
        self._samples.clear()
        self._count = self._failed = 0
        self._sum = self._max = self._waited_max = 0.0

    def _counts(self) -> tuple[int, int]:
        return self.context.variables.operations, self.context.variables.queued

    def _take(self, record: VariableOperation | OperationFailed) -> None:
        self._count += 1
        self._failed += isinstance(record, OperationFailed)
        self._sum += record.seconds
        self._max = max(self._max, record.seconds)
        self._waited_max = max(self._waited_max, record.waited)
        self._samples.append(record.seconds)


def _quantile(ordered: list[float], part: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else None
