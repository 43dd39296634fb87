"""A program where there is OpenTelemetry's API, and no SDK."""

import sys

sys.modules["opentelemetry.sdk"] = None

from opentelemetry import propagate, trace  # noqa: E402


def work():
    with trace.get_tracer("their.library").start_as_current_span("nobody sees it"):
        carrier = {}
        propagate.inject(carrier)
        return carrier["traceparent"].split("-")[1:3]
