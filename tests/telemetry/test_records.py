"""What a record is: frozen, in known units, about what happened and not about values."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import time
from typing import Any

import anyio
import attrs
import pytest
from context.homes import HOMES, OwnAsync
from sim.failpoints import Failpoints, Fault, Kind
from sim.far import FlakyStore
from telemetry.tables import KINDS, told_of_fields

from dspex import BackendSwitchError, Bridge, Context, InvalidValue, Var, VariableExists, VariableNotFound, VersionConflict, telemetry
from dspex.telemetry import BackendSwitched, ContextChanged, OperationFailed, Record, SwitchFailed, SwitchStep, VariableOperation

COUNT = Var("count", int, 0)
SECRET = Var("secret", str, "hunter2", sensitive=True, max_length=12)
SECRETS = Var("secrets", list[str], ["hunter2"], sensitive=True)
KEPT = ("hunter2", "swordfish")

TOLD = [*KINDS, SwitchStep]


# --- the classes -------------------------------------------------------------------------------------------------------------------


def sample(kind: type) -> Any:
    made: dict[str, Any] = {"float": 0.5, "int": 1, "str": "x", "bool": True}
    required = [field for field in attrs.fields(kind) if field.default is attrs.NOTHING]
    return kind(**{field.name: made.get(str(field.type)) for field in required})


@pytest.mark.parametrize("kind", TOLD)
def test_it_is_frozen(kind: type) -> None:
    record = sample(kind)
    for field in attrs.fields(kind):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(record, field.name, 0)

    with pytest.raises((AttributeError, attrs.exceptions.FrozenInstanceError)):
        record.another = 0


@pytest.mark.parametrize("kind", KINDS)
def test_its_fields_are_given_by_name(kind: type) -> None:
    with pytest.raises(TypeError):
        kind("x")


@pytest.mark.parametrize("kind", TOLD)
def test_each_field_says_what_it_is_and_durations_are_seconds(kind: type) -> None:
    told = told_of_fields(kind)
    assert all(told.values()), "a field without a docstring"
    for name in told:
        if attrs.fields_dict(kind)[name].type == "float":
            assert name == "seconds" or "econds" in told[name], f"{kind.__name__}.{name} doesn't say its unit"


def test_it_says_when() -> None:
    before = time.time()
    assert before <= sample(ContextChanged).at <= time.time()


@pytest.mark.parametrize("kind", TOLD)
def test_no_field_is_for_a_value_of_a_variable(kind: type) -> None:
    assert not {"value", "values", "inputs", "result", "args"} & {field.name for field in attrs.fields(kind)}


# --- what operations tell ----------------------------------------------------------------------------------------------------------


async def test_each_operation_says_which_variables_and_the_version_it_made() -> None:
    told: list[Any] = []
    async with Context(variables=[COUNT, SECRET], name="shop") as ctx:
        with telemetry.subscribe(told.append, only=[VariableOperation, OperationFailed]):
            await ctx.variables.set(COUNT, 5)
            await ctx.variables.get(COUNT)
            await ctx.variables.set_many({COUNT: 6, SECRET: "swordfish"})
            with pytest.raises(VariableNotFound):
                await ctx.variables.get("nothing")

        await ctx.variables.get(COUNT)

    assert [(type(record).__name__, record.operation, record.variables) for record in told] == [
        ("VariableOperation", "set", ("count",)),
        ("VariableOperation", "get", ("count",)),
        ("VariableOperation", "set_many", ("count", "secret")),
        ("OperationFailed", "get", ("nothing",)),
    ]
    assert {(record.context_id, record.context_name, record.backend, record.direct) for record in told} == {(ctx.id, "shop", "local", True)}
    assert told[0].version == 1
    assert isinstance(told[3].error, VariableNotFound)


async def test_one_that_was_queued_says_how_long_it_waited() -> None:
    told: list[Any] = []
    async with Context(variables=[COUNT], backend=OwnAsync) as ctx:
        with telemetry.subscribe(told.append, only=VariableOperation):
            began = time.perf_counter()
            await ctx.variables.get(COUNT)
            elapsed = time.perf_counter() - began

    (record,) = told
    assert not record.direct
    assert 0 < record.waited + record.seconds <= elapsed
    assert record.waited > 0


async def test_a_switch_says_its_steps_in_order_and_how_long_each_took() -> None:
    told: list[Any] = []
    async with Context(variables=[COUNT]) as ctx:
        with telemetry.subscribe(told.append, only=BackendSwitched):
            before, began = time.time(), time.perf_counter()
            await ctx.ensure_bridged()
            elapsed = time.perf_counter() - began

    (record,) = told
    assert (record.source, record.target, record.variables) == ("LocalState", "BridgedState", 1)
    assert [step.name for step in record.steps] == ["open", "stage", "verify", "commit", "clean up"]
    assert all(step.ok for step in record.steps)
    ended = [step.at for step in record.steps]
    assert ended == sorted(ended)
    assert before <= ended[0] and ended[-1] <= record.at
    assert 0 < record.seconds <= elapsed
    assert sum(step.seconds for step in record.steps) <= elapsed


async def test_a_switch_that_failed_says_where_and_why() -> None:
    told: list[Any] = []
    store = FlakyStore(Failpoints(Fault("staging.put", Kind.BEFORE)))
    async with Context(variables=[COUNT], bridge=Bridge(store=store)) as ctx:
        with telemetry.subscribe(told.append, only=SwitchFailed), pytest.raises(BackendSwitchError) as raised:
            await ctx.ensure_bridged()

    (record,) = told
    assert (record.source, record.step) == ("LocalState", "stage")
    assert record.error is raised.value.__cause__
    assert [(step.name, step.ok) for step in record.steps] == [("open", True), ("stage", False), ("roll back", True)]


async def test_a_context_says_that_it_opened_and_that_it_closed() -> None:
    told: list[Any] = []
    with telemetry.subscribe(told.append, only=ContextChanged):
        async with Context(name="shop") as ctx:
            assert [(record.status, record.context_name) for record in told] == [("running", "shop")]

    assert [(record.status, record.context_id, record.error) for record in told] == [("running", ctx.id, None), ("closed", ctx.id, None)]


async def test_a_hook_may_use_what_it_is_told_of_at_once() -> None:
    """It is called when the operation is over: nothing of it is held any more."""
    gates: list[int] = []
    async with Context(variables=[COUNT]) as ctx:
        with telemetry.subscribe(lambda _: gates.append(ctx.variables.gate), only=VariableOperation):  # type: ignore[attr-defined]
            await ctx.variables.get(COUNT)
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(ctx.variables.get, COUNT)

    assert len(gates) == 4
    assert all(gate > 0 for gate in gates)


# --- what is never told ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("home", HOMES)
async def test_a_sensitive_value_is_in_no_record(home: str) -> None:
    told: list[Record] = []
    with telemetry.subscribe(told.append):
        async with HOMES[home](variables=[COUNT, SECRET, SECRETS]) as ctx:
            variables = ctx.variables
            await variables.set(SECRET, "swordfish", metadata={"by": "me"})
            await variables.set_many({SECRET: "hunter2", SECRETS: ["swordfish"]})
            await variables.update(SECRET, lambda _: "swordfish")
            await variables.append(SECRETS, "hunter2")
            for refused in (
                lambda: variables.set(SECRET, "hunter2" * 10),
                lambda: variables.set(SECRET, ["swordfish"]),
                lambda: variables.set(SECRET, "hunter2", expected_version=99),
                lambda: variables.set_many({COUNT: 1, SECRET: "swordfish" * 10}),
                lambda: variables.update(SECRET, lambda old: old * 10),
                lambda: variables.append(SECRETS, {"hunter2"}),
                lambda: variables.define("secret", str, "swordfish", sensitive=True),
            ):
                with pytest.raises((InvalidValue, VersionConflict, VariableExists)):
                    await refused()

            await variables.delete(SECRET)

    assert {"VariableOperation", "OperationFailed", "ContextChanged"} <= {type(record).__name__ for record in told}
    for record in told:
        error = getattr(record, "error", None)
        everything = f"{record!r} {error!r} {error}"
        assert not re.search("|".join(KEPT), everything), f"{type(record).__name__} tells: {everything}"


def test_a_context_that_was_up_before_anybody_ever_listened_tells_too() -> None:
    """In a process of its own: here somebody has listened before."""
    script = textwrap.dedent("""
        import anyio
        from dspex import Context, telemetry

        async def main():
            async with Context(name="early") as ctx:
                with telemetry.subscribe(lambda record: print(record.context_name, record.operation), only=telemetry.VariableOperation):
                    await ctx.variables.define("count", int, 0)

                await ctx.variables.get("count")

        anyio.run(main)
    """)
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=30, env=paths)
    assert done.stdout == "early define\n"
