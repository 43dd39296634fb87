"""Spans and metrics are turned on once at a time, all of them or none, and off without a trace."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider
from telemetry.readings import Reader

from dspex import telemetry
from dspex.telemetry._hooks import CHANNELS
from dspex.telemetry._tracing import TRACING


def listening() -> list[str]:
    return [name for name, channel in CHANNELS.items() if channel.heard]


def test_while_it_is_on_it_listens_to_what_is_rare() -> None:
    """Not to operations: that would take every context off its fastest path."""
    with telemetry.instrument(tracer_provider=NoOpTracerProvider(), meter_provider=NoOpMeterProvider()) as instrumentation:
        assert instrumentation.active
        assert {"BackendSwitched", "SwitchFailed", "ProgramCalled", "WorkerEnded"} <= set(listening())
        assert not {"VariableOperation", "OperationFailed"} & set(listening())
        assert TRACING.tracer is not None

    assert not instrumentation.active
    assert listening() == []
    assert TRACING.tracer is None


def test_it_is_on_once_at_a_time_and_says_by_whom() -> None:
    with telemetry.instrument() as first:
        with pytest.raises(RuntimeError) as raised:
            telemetry.instrument()

        assert first.active

    assert first.by.startswith(__file__)
    assert str(raised.value) == (
        f"dspex is instrumented already, by {first.by}. Call uninstrument() on what instrument() returned there first."
    )
    telemetry.instrument().uninstrument()


def test_one_that_has_ended_ends_no_other() -> None:
    first = telemetry.instrument()
    first.uninstrument()
    with telemetry.instrument() as second:
        first.uninstrument()
        assert second.active
        assert TRACING.tracer is not None


def test_it_says_whether_it_is_on() -> None:
    with telemetry.instrument() as instrumentation:
        assert repr(instrumentation) == f"<Instrumentation by {instrumentation.by} [active]>"

    assert repr(instrumentation) == f"<Instrumentation by {instrumentation.by} [ended]>"


class Broken(NoOpMeterProvider):
    def get_meter(self, *_: Any, **__: Any) -> Any:
        raise OSError("no meter today")


def test_if_half_of_it_fails_none_of_it_is_on() -> None:
    with pytest.raises(OSError, match="no meter today"):
        telemetry.instrument(meter_provider=Broken())

    assert listening() == []
    assert TRACING.tracer is None
    telemetry.instrument().uninstrument()


@pytest.mark.parametrize(
    ("number", "error", "said"),
    [
        (-1, ValueError, "operations_per_call: expected at least 0, got -1"),
        (True, TypeError, "operations_per_call: expected a number of operations, got True"),
        ("8", TypeError, "operations_per_call: expected a number of operations, got '8'"),
    ],
)
def test_a_number_of_operations_is_a_number(number: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error) as raised:
        telemetry.instrument(operations_per_call=number)

    assert str(raised.value) == said
    assert listening() == []


def test_its_version_is_told_as_that_of_what_asks() -> None:
    import dspex

    reader = Reader()
    with telemetry.instrument(meter_provider=reader.provider):
        data = reader.reader.get_metrics_data()

    assert data is not None
    scopes = {(scope.scope.name, scope.scope.version) for resource in data.resource_metrics for scope in resource.scope_metrics}
    assert scopes == {("dspex", dspex.__version__)}
    reader.provider.shutdown()


def python(script: str) -> str:
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], check=False, capture_output=True, text=True, timeout=30, env=paths)
    assert done.stderr == ""
    return done.stdout.strip()


def test_opentelemetry_is_loaded_when_it_is_asked_for_and_its_sdk_by_nobody_here() -> None:
    assert (
        python("""if True:
        import sys, dspex
        from dspex import telemetry, Context, Bridge, Supervisor

        with telemetry.subscribe(print):
            before = [name for name in sys.modules if name.startswith("opentelemetry")]

        with telemetry.instrument():
            print(before, any(name.startswith("opentelemetry.sdk") for name in sys.modules), "opentelemetry.metrics" in sys.modules)
    """)
        == "[] False True"
    )
