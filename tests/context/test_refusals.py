"""What a context says to a call that can't be: whole sentences, as their readers meet them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from context.homes import HOMES

from dspex import (
    Context,
    ContextClosed,
    ContextCrashed,
    InvalidDefinition,
    InvalidValue,
    Var,
    VariableExists,
    VariableNotFound,
)
from dspex.state import LocalState

X = Var("x", float, 1.0, max=2.0)
TEMPERATURE = Var("temperature", float, 0.7)

Make = Callable[..., Context]


@pytest.fixture(params=["local", "bridged"])
def make(request: pytest.FixtureRequest) -> Make:
    return HOMES[request.param]


async def test_a_value_is_told_as_it_was_given(make: Make) -> None:
    async with make(variables=[X]) as ctx:
        with pytest.raises(InvalidValue) as caught:
            await ctx.variables.set(X, 3)

    assert str(caught.value) == "Variable 'x': expected a float (max 2.0), got 3 (int)."


@pytest.mark.parametrize(("given", "told"), [("0", "'0' (str)"), (True, "True (bool)"), (0.0, "0.0 (float)")])
async def test_an_expected_version_is_an_int(make: Make, given: Any, told: str) -> None:
    async with make(variables=[X]) as ctx:
        with pytest.raises(InvalidValue) as caught:
            await ctx.variables.set(X, 1.5, expected_version=given)

        assert await ctx.variables.get(X) == 1.0

    assert str(caught.value) == f"Variable 'x': expected an int as expected_version, got {told}."


@pytest.mark.parametrize("define", ["define", "register_variable"])
async def test_a_definition_without_an_initial_value_says_so(make: Make, define: str) -> None:
    async with make() as ctx:
        defining = getattr(ctx if define == "register_variable" else ctx.variables, define)
        with pytest.raises(InvalidDefinition) as caught:
            await defining("n", int)

        await defining("maybe", int | None)
        assert await ctx.variables.get("maybe") is None

    assert str(caught.value) == "Variable 'n': it has no initial value: expected an int. Pass it after the type."


async def test_a_taken_name_may_be_kept_and_a_live_id_may_not(make: Make) -> None:
    async with make(variables=[X]) as ctx:
        with pytest.raises(VariableExists) as taken:
            await ctx.variables.define(X)

        with pytest.raises(VariableExists) as live:
            await ctx.variables.define("var_x_1", int, 1)

    assert str(taken.value) == ("Can't define 'x': a variable of this name exists. Use ensure() or exist_ok=True to keep the existing one.")
    assert str(live.value) == "Can't define 'var_x_1': it is the id of a live variable. Choose another name."


OPERATIONS: dict[str, Callable[[Context], Any]] = {
    "set": lambda ctx: ctx.variables.set("nothing", 1),
    "update": lambda ctx: ctx.variables.update("nothing", lambda value: value),
    "add": lambda ctx: ctx.variables.add("nothing", 1),
    "append": lambda ctx: ctx.variables.append("nothing", 1),
    "delete": lambda ctx: ctx.variables.delete("nothing"),
    "info": lambda ctx: ctx.variables.info("nothing"),
}


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_only_get_advises_a_default(make: Make, operation: str) -> None:
    async with make(variables=[X]) as ctx:
        with pytest.raises(VariableNotFound) as caught:
            await OPERATIONS[operation](ctx)

        with pytest.raises(VariableNotFound) as got:
            await ctx.variables.get("nothing")

    assert str(caught.value) == "No variable 'nothing'. Known: x. Define it with variables.define()."
    assert str(got.value) == "No variable 'nothing'. Known: x. Define it with variables.define(), or pass a default to get()."


@pytest.mark.parametrize("typed", ["temprature", "temperatur", "Temperature"])
async def test_a_name_that_is_nearly_one_is_told(make: Make, typed: str) -> None:
    async with make(variables=[X, TEMPERATURE]) as ctx:
        with pytest.raises(VariableNotFound) as caught:
            await ctx.variables.set(typed, 1)

    assert str(caught.value) == (
        f"No variable {typed!r}. Did you mean 'temperature'? Known: temperature, x. Define it with variables.define()."
    )
    assert caught.value.close == "temperature"


async def test_an_async_function_is_no_update(make: Make) -> None:
    async def halved(value: float) -> float:
        return value / 2

    async with make(variables=[X]) as ctx:
        with pytest.raises(TypeError) as caught:
            await ctx.variables.update(X, halved)  # type: ignore[arg-type]

        assert await ctx.variables.get(X) == 1.0

    assert str(caught.value) == (
        "update: expected a plain function, got test_an_async_function_is_no_update.<locals>.halved, which is async: it is called in the "
        "owner's turn, where nothing may wait. Await what you need before, and update with a function that only computes."
    )


async def test_a_default_may_be_named(make: Make) -> None:
    async with make(variables=[X]) as ctx:
        assert await ctx.variables.get("nothing", default=None) is None
        assert await ctx.variables.get(X, default=5.0) == 1.0


# --- options ---------------------------------------------------------------------------------------------------------------------

PAIRS = "programs: expected a mapping of ids to programs, or pairs of them, got"
OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"init": 3}, TypeError, "init: expected a function of the context or None, got 3"),
    ({"programs": [1]}, TypeError, f"{PAIRS} 1 in it"),
    ({"programs": 3}, TypeError, f"{PAIRS} 3"),
    ({"programs": "ab"}, TypeError, f"{PAIRS} 'ab'"),
    ({"variables": X}, TypeError, "variables: expected a list of Vars, got Var('x': float (max 2.0))"),
    ({"variables": ["x"]}, TypeError, "variables: expected a list of Vars, got 'x' in it"),
    ({"variables": "x"}, TypeError, "variables: expected a list of Vars, got 'x'"),
    ({"max_container": -1}, ValueError, "max_container: expected an int of at least 1, got -1"),
    ({"max_container": 1.5}, ValueError, "max_container: expected an int of at least 1, got 1.5"),
    ({"mailbox_size": 0}, ValueError, "mailbox_size: expected an int of at least 1, got 0"),
]


@pytest.mark.parametrize(("options", "kind", "sentence"), OPTIONS)
def test_an_option_that_cant_be_is_refused_at_once(options: dict[str, Any], kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind) as caught:
        Context(**options)

    assert str(caught.value) == sentence


async def test_iterators_are_options_too(anyio_backend: Any) -> None:
    async def program() -> int:
        return 1

    async with Context(variables=iter([X]), programs=iter([("p", program)])) as ctx:
        assert await ctx.variables.get(X) == 1.0
        assert await ctx.call("p") == 1


SECONDS = "timeout: expected a number of seconds of at least 0 or None, got"


@pytest.mark.parametrize(("timeout", "kind"), [("s", TypeError), (True, TypeError), (-1, ValueError), (math.nan, ValueError)])
async def test_a_timeout_is_a_number_of_seconds(make: Make, timeout: Any, kind: type[Exception]) -> None:
    async def program() -> int:
        return 1

    async with make(programs={"p": program}) as ctx:
        for call in (lambda: ctx.call("p", timeout=timeout), lambda: ctx.ensure_bridged(timeout=timeout)):
            with pytest.raises(kind) as caught:
                await call()

            assert str(caught.value) == f"{SECONDS} {timeout!r}"


# --- the end ---------------------------------------------------------------------------------------------------------------------


async def test_a_closed_context_says_so_before_it_looks_for_a_program(anyio_backend: Any) -> None:
    async with Context(session_id="mine") as ctx:
        pass

    with pytest.raises(ContextClosed) as caught:
        await ctx.call("nothing")

    assert str(caught.value) == "Context 'mine' is closed."


class Breaking(LocalState):
    def add(self, key: Any, n: Any) -> Any:
        raise ZeroDivisionError("the disk is\nfull.")


async def test_a_crash_tells_its_cause(anyio_backend: Any) -> None:
    with pytest.raises(ContextCrashed):
        async with Context(backend=Breaking, session_id="mine", variables=[X]) as ctx:
            with pytest.raises(ContextCrashed) as caught:
                await ctx.variables.add(X, 1)

            assert str(caught.value) == "Context 'mine' crashed while serving 'add': ZeroDivisionError: the disk is full."
            raise caught.value
