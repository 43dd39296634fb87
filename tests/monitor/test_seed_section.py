"""
The seed's section "Monitoring and Debugging", line by line: ``DSPex.Context.Monitor``.

``attach_handlers`` is `monitor.attach`, ``handle_event`` what it writes, ``inspect_context`` has its name.
"""

from __future__ import annotations

import io
import logging
import re

import anyio
import pytest

from dspex import Context, InvalidValue, Var, monitor
from dspex.telemetry import BackendSwitched, OperationFailed, VariableOperation

SWITCHED = BackendSwitched(context_id="ctx_1", source="LocalState", target="BridgedState", seconds=0.0123, variables=20, bytes=1234)


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.DEBUG, logger="dspex.monitor")
    with monitor.attach():
        yield lambda: [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "dspex.monitor"]


def tell(record):
    """What the library does where something has happened."""
    from dspex.telemetry._hooks import CHANNELS

    CHANNELS[type(record).__name__].tell(record)


class TestAttachHandlers:
    async def test_backend_switch_is_logged_with_context_from_to_and_duration(self, log):
        async with Context(variables=[Var("a", int, 1)]) as ctx:
            await ctx.ensure_bridged()
            ms = ctx.backend.last_switch.seconds * 1000

        ((level, message),) = log()
        assert level == ("WARNING" if ms > 50 else "INFO")
        told = re.fullmatch(
            r"(?:Slow c|C)ontext backend switch: context (\S+), from (\w+) to (\w+), duration ([\d.,]+) ms, 1 variable, \d+ bytes", message
        )
        assert told.groups()[:3] == (ctx.id, "LocalState", "BridgedState")
        assert float(told[4].replace(",", "")) == pytest.approx(ms, rel=0.01, abs=0.5)

    def test_the_words_of_a_switch(self, log):
        tell(SWITCHED)
        assert log() == [
            ("INFO", "Context backend switch: context ctx_1, from LocalState to BridgedState, duration 12.3 ms, 20 variables, 1,234 bytes")
        ]

    @pytest.mark.parametrize(("seconds", "warned"), [(0.1001, True), (0.1, False), (0.0001, False)])
    def test_a_variable_operation_over_100_ms_is_warned_of(self, log, seconds, warned):
        tell(VariableOperation(context_id="ctx_1", backend="custom", operation="get", variables=("x",), seconds=seconds))
        words = ("WARNING", "Slow variable operation: context ctx_1, operation get of 'x', duration 100 ms")
        assert log() == ([words] if warned else [])

    async def test_an_error_is_logged_with_context_operation_and_error(self, log):
        async with Context(variables=[Var("a", int, 1)]) as ctx:
            with pytest.raises(InvalidValue):
                await ctx.set_variable("a", "one")

        assert log() == [
            (
                "ERROR",
                f"Context error: context {ctx.id}, operation set of 'a', error InvalidValue: Variable 'a': expected an int, got 'one' (str).",
            )
        ]

    def test_an_error_has_those_words(self, log):
        tell(OperationFailed(context_id="ctx_1", backend="local", operation="list", variables=(), error=OSError("gone"), seconds=0.1))
        assert log() == [("ERROR", "Context error: context ctx_1, operation list, error OSError: gone")]


class TestInspectContext:
    async def test_prints_what_the_seed_prints(self, capsys):
        async with Context() as ctx:
            await monitor.inspect_context(ctx)
            began = ctx.backend.history[0][1]

        assert capsys.readouterr().out.startswith(
            "DSPex Context Inspection\n"
            "========================\n"
            f"ID: {ctx.id}\n"
            "Status: running\n"
            "Backend: LocalState\n"
            "Type: local\n"
            "Requires Bridge: no\n"
            "Switches: 0\n"
            "\n"
            "Capabilities:\n"
            "  - atomic_updates: yes\n"
            "  - streaming: no\n"
            "  - persistent: no\n"
            "  - distributed: no\n"
            "\n"
            "History:\n"
            f"  - LocalState at {began:%Y-%m-%d %H:%M:%S}.{began.microsecond // 1000:03} UTC\n"
        )

    async def test_history_has_each_backend_with_its_time(self):
        async with Context(name="chat") as ctx:
            await ctx.ensure_bridged()
            drawn = io.StringIO()
            await monitor.inspect_context("chat", file=drawn)

        assert "Type: bridged\nRequires Bridge: yes\nSwitches: 1\n" in drawn.getvalue()
        assert re.findall(r"^  - (\w+) at ", drawn.getvalue(), re.MULTILINE) == ["LocalState", "BridgedState"]

    async def test_nobody_is_kept_waiting_by_a_context_that_hangs(self):
        from context.fragile import Slow

        backend = Slow()
        async with Context(backend=backend) as ctx, anyio.create_task_group() as tasks:
            backend.hold()
            tasks.start_soon(ctx.variables.exists, "x")
            await anyio.wait_all_tasks_blocked()
            report = await monitor.inspect_context(ctx, file=io.StringIO(), timeout=0.01)
            backend.go_on()

        assert report.note == "not within 0.01 s: they have to be asked of its owner, which is in 'exists'"
