"""
The seed's own tests, ``test/dspex/context_test.exs``, under their own names.

One class a ``describe``, one function a ``test``. Where the original trusted that errors work, these make them happen.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

import dspex
from dspex import BackendInitError, BackendSwitchError, BridgedState, Context, LocalState
from dspex.abc import SyncStateBackend


@pytest.fixture
async def ctx(anyio_backend):
    async with Context() as context:
        yield context


class TestContextInitialization:
    async def test_starts_with_local_backend_by_default(self):
        async with Context() as ctx:
            info = ctx.backend
            assert info.type is LocalState
            assert info.kind == "local"
            assert info.requires_bridge is False
            assert info.switches == 0

    async def test_can_start_with_bridged_backend(self):
        async with Context(backend="bridged") as ctx:
            info = ctx.backend
            assert info.type is BridgedState
            assert info.kind == "bridged"
            assert info.requires_bridge is True

    async def test_supports_named_contexts(self):
        ctx = await Context.start(name="test_context")

        # Can use name
        assert dspex.whereis("test_context") is ctx
        assert dspex.whereis("test_context").backend.type is LocalState

        # Cleanup
        await dspex.whereis("test_context").stop()
        with pytest.raises(dspex.NameNotFound):
            dspex.whereis("test_context")


class TestAutomaticBackendSwitching:
    async def test_switches_to_bridged_when_ensure_bridged_called(self, ctx):
        # Add some variables first
        await ctx.register_variable("test", "string", "value")

        # Ensure bridged
        assert await ctx.ensure_bridged() is None

        # Check switched
        info = ctx.backend
        assert info.type is BridgedState
        assert info.switches == 1

        # Variables preserved
        assert await ctx.get_variable("test") == "value"

    async def test_ensure_bridged_is_idempotent(self, ctx):
        # Switch once
        await ctx.ensure_bridged()
        info1 = ctx.backend

        # Switch again
        await ctx.ensure_bridged()
        info2 = ctx.backend

        # Same state
        assert info1.switches == 1
        assert info2.switches == 1
        assert info1.history == info2.history

    async def test_switches_when_python_program_registered(self, ctx):
        # Register Python program
        program_spec = {
            "type": "dspy",
            "adapter": "PythonAdapter",
            "requires_python": True,
        }

        bound = await ctx.register_program("python_prog", program_spec)

        # Should have switched
        info = ctx.backend
        assert info.type is BridgedState
        assert info.switches == 1
        assert len(bound.info.reasons) == 3

    async def test_doesnt_switch_for_pure_elixir_programs(self, ctx):
        # Register Elixir program
        program_spec = {
            "type": "elixir",
            "adapter": "ElixirAdapter",
        }

        bound = await ctx.register_program("elixir_prog", program_spec)

        # Should still be local
        info = ctx.backend
        assert info.type is LocalState
        assert info.switches == 0
        assert list(bound.info.reasons) == []


class TestVariableOperations:
    async def test_delegates_to_backend(self, ctx):
        # Register variable
        var_id = await ctx.register_variable("delegated", "integer", 42)
        assert var_id.startswith("var_")

        # Get
        assert await ctx.get_variable("delegated") == 42

        # Set
        assert await ctx.set_variable("delegated", 100) == 1
        assert await ctx.get_variable("delegated") == 100

        # List
        variables = await ctx.list_variables()
        assert len(variables) == 1
        assert variables[0].name == "delegated"

    async def test_batch_operations(self, ctx):
        # Register multiple
        for i in range(1, 6):
            await ctx.register_variable(f"var_{i}", "integer", i)

        # Batch get
        identifiers = [f"var_{i}" for i in range(1, 6)]
        values = await ctx.get_variables(identifiers)
        assert len(values) == 5

        # Batch update
        updates = {f"var_{i}": i * 10 for i in range(1, 6)}
        assert await ctx.update_variables(updates) == dict.fromkeys(identifiers, 1)

        # Verify
        assert await ctx.get_variable("var_3") == 30


class TestBackendSwitchPerformance:
    @pytest.fixture
    async def ctx(self, anyio_backend):
        async with Context() as context:
            # Add some state
            for i in range(1, 21):
                await context.register_variable(f"perf_{i}", "float", i * 1.1)

            yield context

    async def test_completes_within_target_time(self, ctx):
        # Measure switch time
        started = time.perf_counter()
        await ctx.ensure_bridged()
        seconds = time.perf_counter() - started

        # Should be under 50ms
        assert seconds < 0.050

        # Check last_switch_ms in metadata
        info = ctx.backend
        assert len(info.history) == 2
        assert info.last_switch.seconds <= seconds
        assert info.last_switch.variables == 20

        # All variables should be preserved
        variables = await ctx.list_variables()
        assert len(variables) == 20
        assert [variable.value for variable in variables] == [i * 1.1 for i in range(1, 21)]


class BadBackend(LocalState):
    """A backend that never opens."""

    def open(self, *args: Any, **kwargs: Any) -> None:
        raise OSError("always_fails")


def passed_on(name: str) -> Any:
    """A method that does what the local state within does."""
    return lambda self, *args, **options: getattr(self.within, name)(*args, **options)


class FailingExport(SyncStateBackend):
    """A backend whose state can't be taken out."""

    capabilities = LocalState.capabilities
    requires_bridge = False
    open, close, define, get, set, set_many, delete, info = map(
        passed_on, ("open", "close", "define", "get", "set", "set_many", "delete", "info")
    )

    def __init__(self) -> None:
        self.within = LocalState()

    def scan(self) -> Any:
        raise OSError("export failed")


class TestErrorHandling:
    async def test_handles_backend_init_failure(self):
        # Use an invalid backend
        with pytest.raises(BackendInitError, match="always_fails") as failure:
            await Context.start(backend=BadBackend)

        assert isinstance(failure.value.__cause__, OSError)

    async def test_handles_switch_failure_gracefully(self):
        async with Context(backend=FailingExport) as ctx:
            await ctx.register_variable("survivor", "string", "still here")

            with pytest.raises(BackendSwitchError) as failure:
                await ctx.ensure_bridged()

            assert "export failed" in str(failure.value)

            # The context should remain functional even if switch fails
            assert ctx.backend.switches == 0
            assert await ctx.get_variable("survivor") == "still here"
            await ctx.register_variable("another", "string", "goes on")
            assert await ctx.get_variable("another") == "goes on"


class TestUsageExamples:
    """The seed's ``DSPex.Examples.ContextUsage``; ``examples/`` has each of them as a script."""

    async def test_pure_elixir_workflow(self, ctx):
        # Fast local operations
        await ctx.register_variable("temperature", "float", 0.7)
        await ctx.register_variable("max_tokens", "integer", 256)

        # Run pure Elixir logic
        temp = await ctx.get_variable("temperature")
        new_temp = min(temp * 1.1, 2.0)
        await ctx.set_variable("temperature", new_temp)
        assert await ctx.get_variable("temperature") == pytest.approx(0.77)

        # Still using fast local backend
        assert ctx.backend.kind == "local"

    @pytest.mark.dspy
    async def test_hybrid_workflow(self, ctx):
        # Start with Elixir operations
        await ctx.register_variable("prompt", "string", "Explain quantum computing")

        # Add DSPy module - triggers switch
        lm = dspex.LM("scripted", factory="dspex.testing.scripted_lm:make")
        cot = await dspex.ChainOfThought("question -> answer", lm=lm).attach(ctx)

        # Now using bridged backend
        assert ctx.backend.kind == "bridged"

        # Variables still accessible
        prompt = await ctx.get_variable("prompt")
        assert prompt == "Explain quantum computing"

        # Python can now access the same variables
        result = await cot(question=prompt)
        assert result.answer.endswith("Explain quantum computing")

    async def test_preemptive_bridging(self, ctx):
        # If you know Python will be needed, switch early
        await ctx.ensure_bridged()

        # Now all operations use consistent backend
        await ctx.register_variable("config", "string", "production")
        assert await ctx.get_variable("config") == "production"
        assert ctx.backend.kind == "bridged"
