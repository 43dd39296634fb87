"""Spans that were exported, looked up by name and by parentage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dspex import telemetry


class Exported:
    """A provider that keeps what it is told, and what it was told."""

    def __init__(self, **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False, **options)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("app")

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def below(self, parent: ReadableSpan) -> list[str]:
        """The names of its children, in the order they began."""
        found = [span for span in self.spans if span.parent is not None and span.parent.span_id == parent.context.span_id]
        return [span.name for span in sorted(found, key=lambda span: span.start_time)]


@contextmanager
def exported(*, operations_per_call: int = 128, **options: Any) -> Iterator[Exported]:
    """Traces as long as the block runs."""
    found = Exported(**options)
    with telemetry.instrument(tracer_provider=found.provider, operations_per_call=operations_per_call):
        yield found

    found.provider.shutdown()


def ids(span: ReadableSpan) -> list[str]:
    """As programs in workers tell theirs."""
    return [f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"]
