"""What a worker records of a call is bounded, whatever the program makes of it. End to end it is tested in tests/telemetry."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import pytest
from opentelemetry import context as otel, trace

from dspex.wire import Error, codec
from dspex.worker.child import otel as child_otel
from dspex.worker.child.tracing import MAX_BYTES, MAX_EVENTS, MAX_SPANS, Trace, plain, traced

META = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-03", "tracestate": "vendor=1"}


@pytest.fixture
def call() -> Trace:
    found = traced(META)
    assert found is not None
    return found


def sent(call: Trace) -> tuple[list[Any], int]:
    meta = call.told()
    return [codec.decode(row) for row in codec.decode(meta["spans"])], meta["unsent"]


def test_its_own_span_is_below_the_hosts(call):
    before = time.time_ns()
    ((own,), unsent) = sent(call)
    assert (own["trace"], own["parent"], own["name"], own["status"], unsent) == ("a" * 32, "b" * 16, "dspex.run", [0, ""], 0)
    assert own["start"] <= before
    assert own["start"] <= own["end"] <= time.time_ns()
    assert len(own["span"]) == 16


def test_it_ends_once(call):
    ((first,), _) = sent(call)
    call.fail(Error("CallCancelled", {}, "gone"))
    ((second,), _) = sent(call)
    assert (first["end"], second["status"], second["attributes"]) == (second["end"], [2, "gone"], {"error.type": "dspex.CallCancelled"})


def test_a_traceparent_that_is_none_is_no_trace():
    assert traced({"traceparent": "garbage"}) is None


def test_the_last_spans_are_left_out_when_they_are_too_many_or_too_large(call):
    for _ in range(MAX_SPANS + 3):
        call.take({"name": "x"})

    rows, unsent = sent(call)
    assert (len(rows), unsent) == (1 + MAX_SPANS, 3)
    large = traced(META)
    for _ in range(40):
        large.take({"attributes": {str(n): "x" * 1000 for n in range(10)}})

    rows, unsent = sent(large)
    assert len(rows) + unsent == 41
    assert MAX_BYTES * 0.9 < len(large.told()["spans"]) < MAX_BYTES * 1.1


def test_a_span_that_ends_after_its_call_is_lost(call):
    call.told()
    call.take({"name": "late"})
    assert len(sent(call)[0]) == 1


def test_what_is_said_of_its_own_span_is_bounded(call):
    for number in range(1000):
        call.event("e" * 5000, None, {str(n): "x" * 5000 for n in range(100)} if number < 20 else {})

    ((own,), _) = sent(call)
    assert (own["events"], own["attributes"]) == ([], {})  # it was too much, and the span itself is told
    few = traced(META)
    for _ in range(1000):
        few.event("e", 5, {})

    ((own,), _) = sent(few)
    assert own["events"] == [["e", 5, {}]] * MAX_EVENTS


def test_attributes_are_plain():
    class Text(str):
        __slots__ = ()

    odd = {"a": Text("x" * 2000), "b": object(), "c": [1, "a", None], 3: 4, "d": 1 << 70, "e": True, "f": (1.5,), "g": {"h": 1}}
    found = plain(odd)
    assert found == {"a": "x" * 1024, "c": [1, "a"], "e": True, "f": [1.5]}
    assert type(found["a"]) is str
    assert plain(None) == {}
    assert len(plain({str(n): n for n in range(100)})) == 32


# --- where the program knows OpenTelemetry -----------------------------------------------------------------------------------------


class Begun:
    """As much of a span as a collector looks at when it begins."""

    def __init__(self, number: int, trace_id: int = int("a" * 32, 16)) -> None:
        self.context = trace.SpanContext(trace_id, number, is_remote=False)

    def get_span_context(self) -> trace.SpanContext:
        return self.context


@pytest.fixture
def inside(call: Trace) -> Iterator[Trace]:
    token = otel.attach(otel.get_current())
    child_otel.enter(call)
    yield call
    otel.detach(token)


def test_the_current_span_is_the_workers_until_the_program_opens_another(inside):
    assert inside.here() == f"00-{'a' * 32}-{inside.span_id}-03"
    assert trace.get_current_span().get_span_context().trace_state.to_header() == "vendor=1"
    below = trace.SpanContext(int("a" * 32, 16), 0xABC, is_remote=False)
    elsewhere = trace.SpanContext(1, 2, is_remote=False)
    with trace.use_span(trace.NonRecordingSpan(below)):
        assert inside.here() == f"00-{'a' * 32}-{0xABC:016x}-03"

    with trace.use_span(trace.NonRecordingSpan(elsewhere)):
        assert inside.here() == f"00-{'a' * 32}-{inside.span_id}-03"


def test_what_a_program_does_with_the_current_span_ends_up_on_it(inside):
    span = trace.get_current_span()
    span.set_status(trace.Status(trace.StatusCode.ERROR, "half of it"))
    span.record_exception(ValueError("odd"))
    span.update_name("mine")
    span.add_link(span.get_span_context())
    span.end()
    ((own,), _) = sent(inside)
    assert (own["name"], own["status"]) == ("dspex.run", [2, "half of it"])
    assert own["events"][0][2] == {"exception.type": "ValueError", "exception.message": "odd"}
    assert not span.is_recording()


def test_spans_that_never_end_are_forgotten_with_their_call(inside, monkeypatch):
    monkeypatch.setattr(child_otel, "MAX_OPEN", 3)
    collector = child_otel._Collector()
    for number in range(1, 6):
        collector.on_start(Begun(number))

    collector.on_start(Begun(9, trace_id=1))
    assert set(collector._owners) == {1, 2, 3}
    inside.told()
    other = traced(META)
    child_otel.enter(other)
    collector.on_start(Begun(7))
    assert collector._owners == {7: other}


def test_a_span_that_never_ends_keeps_nothing_of_its_call():
    collector = child_otel._Collector()
    call = traced(META)
    around = copy_context()
    around.run(child_otel.enter, call)
    around.run(collector.on_start, Begun(1))
    assert set(collector._owners) == {1}
    del call, around
    gc.collect()
    assert not collector._owners
