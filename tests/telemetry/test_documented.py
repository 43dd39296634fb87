"""docs/telemetry.md says what the code declares, and the code tells what it declares: nothing else, and nothing less."""

from __future__ import annotations

import ast
import functools
import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from opentelemetry.sdk.metrics.export import Histogram, Metric, Sum
from opentelemetry.sdk.trace import ReadableSpan
from telemetry import everything, tables
from telemetry.everything import Listening
from telemetry.tables import DOCUMENT, TABLES, code, documented

import dspex
from dspex.telemetry import Record
from dspex.telemetry._hooks import CHANNELS
from dspex.telemetry._otel._names import ATTRIBUTES, EVENTS, METRICS, SPANS

BLOCKS = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
SOURCES = Path(dspex.__file__).parent
TYPES = {"string": str, "int": int, "double": float, "boolean": bool}


# --- the document and what is declared ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", TABLES)
def test_a_table_says_what_is_declared(head: str) -> None:
    """`PYTHONPATH=src:tests python tests/telemetry/tables.py` writes the rows."""
    assert documented(head) == TABLES[head]()


def test_what_is_declared_is_declared_once_and_with_attributes_that_are() -> None:
    for declared in (ATTRIBUTES, EVENTS, METRICS, SPANS):
        names = [each.name for each in declared]
        assert len(names) == len(set(names))

    used = {name for each in (*EVENTS, *METRICS, *SPANS) for name in each.attributes}
    assert used == {attribute.name for attribute in ATTRIBUTES}
    assert {name for span in SPANS for name in span.events} == {event.name for event in EVENTS}


def test_no_attribute_of_a_metric_is_an_id_of_a_context_or_a_process() -> None:
    told = {name for metric in METRICS for name in metric.attributes}
    assert not {name for name in told if re.search(r"context|session|pid|path|message|variable", name)}


@pytest.mark.parametrize("block", BLOCKS, ids=[f"block {number}" for number, _ in enumerate(BLOCKS, 1)])
def test_a_block_of_code_is_python_and_its_imports_work(block: str) -> None:
    tree = compile(block, DOCUMENT.name, "exec", ast.PyCF_ONLY_AST)
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert imports
    exec(compile(ast.Module(imports, []), DOCUMENT.name, "exec"), {})


# --- and what a run tells in which everything happens ------------------------------------------------------------------------------


class Told:
    """What one run told."""

    def __init__(self, listening: Listening, log: list[logging.LogRecord]) -> None:
        self.records: list[Record] = listening.records
        self.spans: list[ReadableSpan] = [span for span in listening.spans if _scope_of(span) == "dspex"]
        self.metrics: dict[str, list[Metric]] = listening.metrics
        self.log: list[logging.LogRecord] = log


def _scope_of(span: ReadableSpan) -> str:
    return span.instrumentation_scope.name if span.instrumentation_scope is not None else ""


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.entries: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.entries.append(record)


@pytest.fixture(params=["asyncio", "trio"])
def told(request: pytest.FixtureRequest) -> Told:
    return run(request.param)


@functools.cache
def run(backend: str) -> Told:
    """Once, in whatever order the tests come."""
    kept, logger = Kept(), logging.getLogger("dspex")
    level = logger.level
    logger.addHandler(kept)
    logger.setLevel(logging.DEBUG)
    try:
        with everything.listen() as listening:
            anyio.run(everything.happen, listening, backend=backend)
            return Told(listening, kept.entries)
    finally:
        logger.setLevel(level)
        logger.removeHandler(kept)


def test_every_kind_of_record_is_told(told: Told) -> None:
    assert {type(record).__name__ for record in told.records} == set(CHANNELS)


def test_no_record_of_that_run_tells_a_sensitive_value(told: Told) -> None:
    for record in told.records:
        everything_told = f"{record!r} {getattr(record, 'error', None)}"
        assert "hunter2" not in everything_told and "swordfish" not in everything_told


def test_every_span_that_is_told_is_declared_and_every_one_declared_is_told(told: Told) -> None:
    assert {span.name for span in told.spans} == {span.name for span in SPANS}


@pytest.mark.parametrize("declared", SPANS, ids=lambda span: span.name)
def test_a_span_has_the_attributes_and_events_that_are_declared(told: Told, declared: Any) -> None:
    found = [span for span in told.spans if span.name == declared.name]
    assert declared.kind in {span.kind.name.lower() for span in found}
    assert _names_in(span.attributes for span in found) == set(declared.attributes)
    assert {event.name for span in found for event in span.events} == set(declared.events)


def _names_in(attributes: Any) -> set[str]:
    return {name for each in attributes for name in each or {}}


@pytest.mark.parametrize("declared", EVENTS, ids=lambda event: event.name)
def test_an_event_has_the_attributes_that_are_declared(told: Told, declared: Any) -> None:
    found = [event for span in told.spans for event in span.events if event.name == declared.name]
    assert _names_in(event.attributes for event in found) == set(declared.attributes)


def test_every_metric_that_is_told_is_declared_and_every_one_declared_is_told(told: Told) -> None:
    assert set(told.metrics) == {metric.name for metric in METRICS}


@pytest.mark.parametrize("declared", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_what_is_declared(told: Told, declared: Any) -> None:
    metrics = told.metrics[declared.name]
    points = [point for metric in metrics for point in metric.data.data_points]
    assert {(metric.unit, metric.description) for metric in metrics} == {(declared.unit, declared.description)}
    assert {_kind_of(metric) for metric in metrics} == {declared.kind}
    assert _names_in(point.attributes for point in points) == set(declared.attributes)
    if declared.kind == "histogram":
        assert {point.explicit_bounds for point in points} == {declared.boundaries}  # type: ignore[union-attr]


def _kind_of(metric: Metric) -> str:
    if isinstance(metric.data, Histogram):
        return "histogram"

    assert isinstance(metric.data, Sum)
    return "counter" if metric.data.is_monotonic else "up-down counter"


def test_attributes_have_the_types_that_are_declared(told: Told) -> None:
    found: dict[str, set[type]] = defaultdict(set)
    holders: list[Any] = [*told.spans, *(event for span in told.spans for event in span.events)]
    holders += [point for metrics in told.metrics.values() for metric in metrics for point in metric.data.data_points]
    for holder in holders:
        for name, value in (holder.attributes or {}).items():
            found[name].add(type(value))

    assert found == {attribute.name: {TYPES[attribute.type]} for attribute in ATTRIBUTES}


def test_no_attribute_and_no_event_tells_a_sensitive_value(told: Told) -> None:
    everything_told = " ".join(span.to_json() for span in told.spans)
    assert "hunter2" not in everything_told and "swordfish" not in everything_told


def test_a_failed_call_is_told_alike_in_the_worker_and_here_and_without_a_traceback(told: Told) -> None:
    found = [event.attributes for span in told.spans for event in span.events if event.name == "exception"]
    types = [dict(attributes or {})["exception.type"] for attributes in found]
    assert types == ["dspex.VariableNotFound", "dspex.VariableNotFound", "dspex.WorkerDied"]
    assert not [attributes for attributes in found if "Traceback" in repr(attributes)]
    assert not [span.status.description for span in told.spans if "Traceback" in str(span.status.description)]


def test_every_fact_of_a_log_line_is_documented_and_every_one_documented_is_in_some_line() -> None:
    rows = documented("| attribute | what it is |")
    keys = {key for file in sorted(SOURCES.rglob("*.py")) for key in _keys_of_dicts(file)}
    assert [row.split("`")[1] for row in rows] == sorted(key for key in keys if re.fullmatch(r"dspex_\w+", key))


def _keys_of_dicts(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Dict):
            yield from (key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str))


def test_the_facts_of_that_run_are_those(told: Told) -> None:
    ours = {row.split("`")[1] for row in documented("| attribute | what it is |")}
    fields = {f"dspex_{name}" for kind in tables.KINDS for name in attrs.fields_dict(kind)}
    for entry in told.log:
        others = (
            fields if entry.name == "dspex.monitor" else {"worker_pid", "program_id"} if entry.name.startswith("dspex.worker") else set()
        )
        assert everything.facts_of(entry) <= ours | others, entry.getMessage()


def test_no_line_of_the_log_of_that_run_tells_a_sensitive_value(told: Told) -> None:
    lines = " ".join(f"{entry.getMessage()} {vars(entry)} {entry.exc_text}" for entry in told.log)
    assert "hunter2" not in lines and "swordfish" not in lines


def test_code_is_marked_as_such() -> None:
    assert code(["a", "b"]) == "`a`, `b`"
    assert tables.row("a", "b") == "| a | b |"
