"""A program that exports by itself."""

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("own")


def work():
    with tracer.start_as_current_span("own"):
        pass

    (span,) = exporter.get_finished_spans()
    return [f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}"]
