"""What operations cost on a context: measured on variables of its own, and nothing is left."""

from __future__ import annotations

import datetime as dt
import io
import json

import anyio
import pytest
from context.fragile import COUNT, Fragile, Gone, Slow
from rich.console import Console

from dspex import Context, ContextClosed, ContextCrashed, NameNotFound, monitor, telemetry
from dspex.monitor import BenchmarkReport, OperationCost

REPORT = BenchmarkReport(
    at=dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC),
    id="ctx_1",
    name="chat",
    backend="LocalState",
    kind="local",
    wrapped=1e-7,
    operations=(
        OperationCost(operation="get", seconds=1.8e-7, ratio=1.8, queued=False),
        OperationCost(operation="set_many of 10", seconds=0.0123456, ratio=123_456.0, queued=True),
    ),
)

TEXT = """\
DSPex Operation Costs
=====================
Context: 'chat' (ctx_1)
Backend: LocalState
A dict, wrapped: 0.10 µs

Operations:
  operation               time   to a dict  how
  get                  0.18 µs        1.8×  direct
  set_many of 10  12,345.60 µs  123,456.0×  queued"""

OPERATIONS = [
    "get",
    "get of a dict",
    "set",
    "update",
    "add",
    "merge",
    "info",
    "get_many of 10",
    "set_many of 10",
    "define and delete",
]


def test_a_report_is_plain_text_and_rich_shows_the_same_words():
    console = Console(record=True, file=io.StringIO(), width=100)
    console.print(REPORT)
    drawn = "\n".join(line.rstrip() for line in console.export_text().splitlines())
    assert str(REPORT) == drawn == TEXT


def test_as_dict_is_plain_data():
    assert json.loads(json.dumps(REPORT.as_dict())) == {
        "at": "2024-05-01T12:00:00+00:00",
        "id": "ctx_1",
        "name": "chat",
        "backend": "LocalState",
        "kind": "local",
        "wrapped": 1e-7,
        "operations": [
            {"operation": "get", "seconds": 1.8e-7, "ratio": 1.8, "queued": False},
            {"operation": "set_many of 10", "seconds": 0.0123456, "ratio": 123_456.0, "queued": True},
        ],
    }


def test_it_tells_what_it_is():
    assert repr(REPORT) == "<BenchmarkReport of 'chat' [local | get 0.18 µs, set_many of 10 12,345.60 µs]>"


@pytest.mark.parametrize(("backend", "queued"), [("local", False), ("bridged", False), (Slow, True)])
async def test_each_operation_is_measured_and_nothing_is_left(backend, queued):
    async with Context(name="chat", backend=backend, variables=[COUNT]) as ctx:
        report = await monitor.benchmark_operations("chat", seconds=0)
        left = [variable.name for variable in await ctx.variables.list()]

    assert left == ["count"]
    assert [each.operation for each in report.operations] == OPERATIONS
    assert [each.queued for each in report.operations] == [queued] * len(OPERATIONS)
    assert all(each.seconds > 0 and each.ratio > 0 for each in report.operations)
    assert (report.id, report.name, report.kind) == (ctx.id, "chat", ctx.backend.kind)


@pytest.mark.parametrize("backend", ["local", Slow])
async def test_no_operation_of_its_own_fails(backend):
    failed = []
    async with Context(backend=backend, variables=[COUNT]) as ctx:
        with telemetry.subscribe(failed.append, only=telemetry.OperationFailed):
            await monitor.benchmark_operations(ctx, seconds=0)

    assert failed == []


async def test_others_run_meanwhile():
    turns = 0

    async def others():
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with Context() as ctx, anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        await monitor.benchmark_operations(ctx, seconds=0)
        tasks.cancel_scope.cancel()

    assert turns >= 2 * len(OPERATIONS)


async def test_cancelled_it_leaves_nothing():
    async with Context(backend=Slow, variables=[COUNT]) as ctx:
        with anyio.CancelScope() as scope:
            async with monitor.trace(ctx) as operations, anyio.create_task_group() as tasks:
                tasks.start_soon(monitor.benchmark_operations, ctx)
                async for record in operations:
                    if record.operation == "update":
                        scope.cancel()

        assert scope.cancelled_caught
        assert [variable.name for variable in await ctx.variables.list()] == ["count"]


async def test_what_fails_in_it_comes_out():
    class Tired(Fragile):
        def add(self, key, n):
            raise Gone("tired")

    with pytest.raises(ContextCrashed) as crashed:
        async with Context(backend=Tired) as ctx:
            await monitor.benchmark_operations(ctx, seconds=0)

    assert "tired" in str(crashed.value)
    with pytest.raises(ContextCrashed):
        await monitor.benchmark_operations(ctx)


async def test_what_cannot_be_measured():
    with pytest.raises(NameNotFound):
        await monitor.benchmark_operations("nobody")

    with pytest.raises(ContextClosed):
        await monitor.benchmark_operations(Context())

    with pytest.raises(ValueError, match="seconds: expected a number of seconds, got -1"):
        await monitor.benchmark_operations(Context(), seconds=-1)
