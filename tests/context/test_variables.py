"""The variables of a context: one specification, on every backend alike."""

from __future__ import annotations

import datetime as dt
import enum
import logging
import math
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from context.homes import HOMES

from dspex import (
    BatchError,
    Context,
    ContextClosed,
    DefinitionMismatch,
    InvalidDefinition,
    InvalidValue,
    Status,
    Var,
    VariableExists,
    VariableNotFound,
    VersionConflict,
)

TEMPERATURE = Var("temperature", float, 0.7, min=0.0, max=2.0)
COUNT = Var("count", int, 0)
NOTES = Var("notes", list[str], [])
FACTS = Var("facts", dict[str, int], {})
ROWS = Var("rows", list[list[int]], [[1], [2]])
KEY = Var("key", str, "sk-123", sensitive=True, min_length=3)


class Color(enum.Enum):
    RED = 1
    BLUE = 2


COLOR = Var("color", Color, Color.RED)

Make = Callable[..., Context]


@pytest.fixture(params=HOMES)
def make(request: pytest.FixtureRequest) -> Make:
    return HOMES[request.param]


# --- defining ------------------------------------------------------------------------------------------------------------------


async def test_define_takes_a_var_or_a_name_with_a_type_and_gives_the_id(make: Make) -> None:
    async with make() as ctx:
        first = await ctx.variables.define(TEMPERATURE)
        second = await ctx.variables.define("top_k", int, 3, min=1, description="how many", metadata={"by": "me"})
        assert (first, second) == ("var_temperature_1", "var_top_k_2")
        assert await ctx.variables.get(second) == 3
        info = await ctx.variables.info("top_k")
        assert (info.id, info.name, info.type, info.version, info.description) == (second, "top_k", "int", 0, "how many")
        assert (dict(info.constraints), dict(info.metadata), info.sensitive) == ({"min": 1}, {"by": "me"}, False)


async def test_the_seeds_type_names_mean_the_same_types(make: Make) -> None:
    async with make() as ctx:
        for name, initial in [("float", 1.0), ("integer", 1), ("string", "a"), ("boolean", True)]:
            await ctx.variables.define(f"v_{name}", name, initial)

        await ctx.variables.define("tone", "choice", "dry", choices=["dry", "warm"])
        assert [variable.type for variable in await ctx.variables.list()][:4] == ["float", "int", "str", "bool"]
        with pytest.raises(InvalidValue):
            await ctx.variables.set("tone", "loud")

        with pytest.raises(InvalidValue):
            await ctx.variables.set("v_integer", True)

        assert await ctx.variables.set("v_float", 2) == 1
        assert type(await ctx.variables.get("v_float")) is float


async def test_a_name_that_exists_is_refused_and_the_value_stays(make: Make) -> None:
    async with make(variables=[COUNT]) as ctx:
        await ctx.variables.set(COUNT, 3)
        with pytest.raises(VariableExists, match="'count'"):
            await ctx.variables.define(COUNT)

        with pytest.raises(VariableExists):
            await ctx.variables.define("count", str, "x")

        assert await ctx.variables.get(COUNT) == 3


async def test_exist_ok_keeps_the_value_and_gives_the_id_of_an_equal_one(make: Make) -> None:
    async with make(variables=[TEMPERATURE]) as ctx:
        await ctx.variables.set(TEMPERATURE, 1.5)
        id = await ctx.variables.define(Var("temperature", float, 0.1, min=0.0, max=2.0), exist_ok=True)
        assert id == (await ctx.variables.info(TEMPERATURE)).id
        assert await ctx.variables.get(TEMPERATURE) == 1.5


@pytest.mark.parametrize("other", [Var("temperature", int, 0, min=0, max=2), Var("temperature", float, 0.0, min=0.0, max=3.0)])
async def test_exist_ok_and_ensure_refuse_another_type_or_other_constraints(make: Make, other: Var[Any]) -> None:
    async with make(variables=[TEMPERATURE]) as ctx:
        with pytest.raises(DefinitionMismatch, match="'temperature'"):
            await ctx.variables.define(other, exist_ok=True)

        with pytest.raises(DefinitionMismatch):
            await ctx.variables.ensure(COUNT, other)

        assert await ctx.variables.exists(COUNT)
        assert (await ctx.variables.info("temperature")).type == "float"


async def test_a_live_id_is_no_name_for_another_variable_also_with_exist_ok(make: Make) -> None:
    async with make() as ctx:
        id = await ctx.variables.define(COUNT)
        with pytest.raises(VariableExists, match="the id of a live variable"):
            await ctx.variables.define(id, int, 0)

        with pytest.raises(VariableExists, match="the id of a live variable"):
            await ctx.variables.define(id, int, 0, exist_ok=True)

        await ctx.variables.delete(COUNT)
        assert await ctx.variables.define(id, str, "now free") != id
        assert await ctx.variables.get(id) == "now free"


async def test_many_who_ensure_the_same_at_once_make_one(make: Make) -> None:
    async with make() as ctx:
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(ctx.variables.ensure, COUNT, TEMPERATURE)

        assert [variable.name for variable in await ctx.variables.list()] == ["count", "temperature"]


async def test_what_cannot_be_defined_is_refused_in_words(make: Make) -> None:
    async with make() as ctx:
        with pytest.raises(InvalidDefinition, match=r"unknown|no type"):
            await ctx.variables.define("x", "flaot", 1.0)

        with pytest.raises(InvalidDefinition):
            await ctx.variables.define("x")

        with pytest.raises(InvalidDefinition, match="minimum"):
            await ctx.variables.define("x", float, 1.0, minimum=0.0)

        with pytest.raises(InvalidDefinition):
            await ctx.variables.define("x", float, 1.0, min=2.0, max=1.0)

        with pytest.raises(InvalidDefinition):
            await ctx.variables.define("x", float, 1.0, min_length=1)

        with pytest.raises(InvalidValue):
            await ctx.variables.define("x", float, 3.0, max=1.0)

        assert await ctx.variables.list() == []


async def test_a_var_is_the_whole_definition_and_nothing_can_be_said_beside_it(make: Make) -> None:
    async with make() as ctx:
        for beside in ({"type": str}, {"initial": 5}, {"min": 1}, {"description": "x"}, {"sensitive": True}, {"metadata": {"a": 1}}):
            with pytest.raises(TypeError, match="'count'"):
                await ctx.variables.define(COUNT, **beside)

        assert not await ctx.variables.exists(COUNT)


# --- one at a time -------------------------------------------------------------------------------------------------------------


async def test_a_variable_answers_to_its_var_its_name_and_its_id(make: Make) -> None:
    async with make(variables=[COUNT]) as ctx:
        id = (await ctx.variables.info("count")).id
        for version, key in enumerate((COUNT, "count", id), 1):
            assert await ctx.variables.set(key, version) == version
            assert [await ctx.variables.get(other) for other in (COUNT, "count", id)] == [version] * 3
            assert await ctx.variables.exists(key)
            assert (await ctx.variables.info(key)).version == version


async def test_set_checks_type_and_constraints_and_changes_nothing_when_it_refuses(make: Make) -> None:
    async with make(variables=[TEMPERATURE, COUNT]) as ctx:
        before = await ctx.variables.list()
        for value in ("hot", None, True, 2.5, -0.1, math.nan, math.inf, [0.5], 10**400):
            with pytest.raises(InvalidValue, match="'temperature'"):
                await ctx.variables.set("temperature", value)

        for value in (1.0, True, "1", None):
            with pytest.raises(InvalidValue, match="'count'"):
                await ctx.variables.set("count", value)

        assert await ctx.variables.list() == before
        assert ctx.status is Status.RUNNING


async def test_nan_is_a_float_where_nothing_is_asked_of_it(make: Make) -> None:
    async with make() as ctx:
        await ctx.variables.define("loose", float, 0.0)
        await ctx.variables.define("low", float, 0.0, max=1.0)
        await ctx.variables.set("loose", math.nan)
        assert math.isnan(await ctx.variables.get("loose"))
        with pytest.raises(InvalidValue):
            await ctx.variables.set("low", math.nan)


async def test_expected_version_writes_only_from_that_version(make: Make) -> None:
    async with make(variables=[COUNT]) as ctx:
        assert await ctx.variables.set(COUNT, 1, expected_version=0) == 1
        with pytest.raises(VersionConflict) as caught:
            await ctx.variables.set(COUNT, 2, expected_version=0)

        assert (caught.value.expected, caught.value.actual) == (0, 1)
        assert await ctx.variables.get(COUNT) == 1


async def test_metadata_merges_and_the_definitions_stays_below(make: Make) -> None:
    async with make() as ctx:
        await ctx.variables.define("x", float, 0.0, metadata={"unit": "K", "by": "definition"})
        await ctx.variables.set("x", 1.0, metadata={"by": "one"})
        await ctx.variables.set("x", 2.0)
        await ctx.variables.set("x", 3.0, metadata={"run": 3})
        await ctx.variables.update("x", lambda x: x + 1, metadata={"run": 4})
        assert dict((await ctx.variables.info("x")).metadata) == {"unit": "K", "by": "one", "run": 4}
        with pytest.raises(InvalidValue):
            await ctx.variables.set("x", 5.0, metadata={"f": print})

        assert await ctx.variables.get("x") == 4.0


async def test_times_are_aware_utc_and_only_a_write_moves_the_second(make: Make) -> None:
    async with make(variables=[COUNT]) as ctx:
        made = await ctx.variables.info(COUNT)
        assert made.created_at.tzinfo is dt.UTC and made.updated_at == made.created_at
        await ctx.variables.get(COUNT)
        assert await ctx.variables.info(COUNT) == made
        await ctx.variables.set(COUNT, 1)
        written = await ctx.variables.info(COUNT)
        assert written.created_at == made.created_at and written.updated_at >= made.updated_at
        assert abs((dt.datetime.now(dt.UTC) - written.updated_at).total_seconds()) < 60


async def test_update_is_atomic_and_what_its_function_raises_changes_nothing(make: Make) -> None:
    async with make(variables=[COUNT, ROWS]) as ctx:
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(ctx.variables.update, COUNT, lambda n: n + 1)

        assert await ctx.variables.get(COUNT) == 20

        def spoil(rows: Any) -> Any:
            rows[0].append(99)
            raise LookupError("no")

        with pytest.raises(LookupError, match="no"):
            await ctx.variables.update(ROWS, spoil)

        with pytest.raises(InvalidValue):
            await ctx.variables.update(COUNT, lambda n: f"{n}")  # type: ignore[arg-type,return-value]

        assert await ctx.variables.get(ROWS) == [[1], [2]]
        assert (await ctx.variables.info(COUNT)).version == 20
        assert ctx.status is Status.RUNNING


async def test_add_append_and_merge_are_atomic_as_data(make: Make) -> None:
    async with make(variables=[COUNT, TEMPERATURE, NOTES, FACTS]) as ctx:
        assert await ctx.variables.add(COUNT, 5) == 5
        assert await ctx.variables.add(TEMPERATURE, 0.5) == 1.2
        assert await ctx.variables.append(NOTES, "a") == 1
        assert await ctx.variables.append(NOTES, "b") == 2
        assert await ctx.variables.merge(FACTS, {"x": 1}) == 1
        assert await ctx.variables.merge(FACTS, {"x": 2, "y": 3}) == 2
        assert await ctx.variables.get_many([NOTES, FACTS]) == {"notes": ["a", "b"], "facts": {"x": 2, "y": 3}}
        for refused in (
            lambda: ctx.variables.add(TEMPERATURE, 5.0),
            lambda: ctx.variables.add(NOTES, 1),  # type: ignore[arg-type]
            lambda: ctx.variables.add(COUNT, "1"),  # type: ignore[arg-type]
            lambda: ctx.variables.append(NOTES, 1),
            lambda: ctx.variables.append(COUNT, 1),
            lambda: ctx.variables.merge(FACTS, {"x": "1"}),
            lambda: ctx.variables.merge(NOTES, {"x": 1}),
            lambda: ctx.variables.merge(FACTS, [("x", 1)]),  # type: ignore[arg-type]
        ):
            with pytest.raises(InvalidValue):
                await refused()

        assert [variable.version for variable in await ctx.variables.list()] == [1, 1, 2, 2]
        assert ctx.status is Status.RUNNING


async def test_delete_frees_the_name_and_never_gives_the_id_again(make: Make) -> None:
    async with make(variables=[COUNT]) as ctx:
        await ctx.variables.set(COUNT, 3)
        first = (await ctx.variables.info(COUNT)).id
        await ctx.variables.delete(first)
        assert not await ctx.variables.exists(COUNT)
        assert not await ctx.variables.exists(first)
        second = await ctx.variables.define("count", str, "other")
        assert second != first
        assert (await ctx.variables.info("count")).version == 0
        with pytest.raises(DefinitionMismatch):
            await ctx.variables.get(COUNT)

        with pytest.raises(VariableNotFound):
            await ctx.variables.get(first)


async def test_unknown_identifiers_are_told_with_what_there_is(make: Make) -> None:
    async with make(variables=[COUNT]) as ctx:
        missing = Var("nobody", int, 0)
        for key in ("nobody", "var_nobody_9", missing):
            for operation in (
                ctx.variables.get(key),
                ctx.variables.set(key, 1),
                ctx.variables.update(key, lambda n: n),
                ctx.variables.add(key, 1),
                ctx.variables.append(key, 1),
                ctx.variables.merge(key, {}),
                ctx.variables.delete(key),
                ctx.variables.info(key),
                ctx.variables.set_many({key: 1}),
                ctx.variables.set(key, [0] * 5000),  # type: ignore[call-overload]
            ):
                with pytest.raises(VariableNotFound, match="nobody"):
                    await operation

            assert await ctx.variables.get(key, "default") == "default"
            assert await ctx.variables.exists(key) is False

        assert await ctx.variables.get_many(["nobody", COUNT]) == {"count": 0}


async def test_identifiers_of_other_types_are_type_errors_that_touch_nothing(make: Make) -> None:
    async with make(variables=[COUNT]) as ctx:
        for key in (5, None, 1.5, b"count", ["count"], {"count": 1}, ("count",), object()):
            anything: Any = key
            for operation in (
                lambda key=anything: ctx.variables.get(key),
                lambda key=anything: ctx.variables.get(key, "default"),
                lambda key=anything: ctx.variables.set(key, 1),
                lambda key=anything: ctx.variables.set(key, [0] * 5000),
                lambda key=anything: ctx.variables.update(key, lambda n: n),
                lambda key=anything: ctx.variables.add(key, 1),
                lambda key=anything: ctx.variables.append(key, 1),
                lambda key=anything: ctx.variables.merge(key, {}),
                lambda key=anything: ctx.variables.exists(key),
                lambda key=anything: ctx.variables.delete(key),
                lambda key=anything: ctx.variables.info(key),
                lambda key=anything: ctx.variables.get_many([key]),
            ):
                with pytest.raises(TypeError, match="a Var, a name or an id, not by"):
                    await operation()

            with pytest.raises(TypeError, match="a Var, a name or an id, not by"):
                ctx.variables.watch(anything)

        with pytest.raises(TypeError, match="a Var, a name or an id, not by int"):
            await ctx.variables.set_many({5: 1})

        assert await ctx.variables.get(COUNT) == 0
        assert ctx.status is Status.RUNNING


async def test_a_str_where_several_are_expected_is_a_type_error(make: Make) -> None:
    async with make(variables=[COUNT]) as ctx:
        with pytest.raises(TypeError, match="several"):
            await ctx.variables.get_many("count")

        with pytest.raises((TypeError, InvalidValue)):
            await ctx.variables.set_many([("count", 1)])  # type: ignore[arg-type]

        assert ctx.status is Status.RUNNING


async def test_before_the_start_and_after_the_end_every_operation_says_so(make: Make) -> None:
    ctx = make(variables=[COUNT])

    async def all_closed() -> None:
        for operation in (
            ctx.variables.get(COUNT),
            ctx.variables.get(COUNT, None),
            ctx.variables.set(COUNT, 1),
            ctx.variables.set("big", [0] * 5000),
            ctx.variables.append("big", [0] * 5000),
            ctx.variables.update(COUNT, lambda n: n),
            ctx.variables.get_many([COUNT]),
            ctx.variables.set_many({COUNT: 1}),
            ctx.variables.define("x", int, 1),
            ctx.variables.ensure(COUNT),
            ctx.variables.exists(COUNT),
            ctx.variables.delete(COUNT),
            ctx.variables.info(COUNT),
            ctx.variables.list(),
        ):
            with pytest.raises(ContextClosed):
                await operation

        with pytest.raises(ContextClosed):
            async with ctx.variables.watch(COUNT):
                pass

    await all_closed()
    async with ctx:
        pass

    await all_closed()


# --- many ----------------------------------------------------------------------------------------------------------------------


async def test_get_many_goes_by_what_was_given(make: Make) -> None:
    async with make(variables=[COUNT, NOTES]) as ctx:
        id = (await ctx.variables.info(COUNT)).id
        assert await ctx.variables.get_many([NOTES, id, "count", "nobody"]) == {"notes": [], id: 0, "count": 0}
        assert await ctx.variables.get_many([]) == {}


async def test_an_atomic_batch_sets_all_or_none(make: Make) -> None:
    async with make(variables=[COUNT, TEMPERATURE, NOTES]) as ctx:
        versions = await ctx.variables.set_many({COUNT: 1, "temperature": 1.0, NOTES: ["a"]}, metadata={"run": 1})
        assert versions == {"count": 1, "temperature": 1, "notes": 1}
        assert dict((await ctx.variables.info(NOTES)).metadata) == {"run": 1}
        for bad in ({COUNT: 2, "temperature": 9.0}, {COUNT: 2, "nobody": 1}, {COUNT: 2, NOTES: [1]}):
            with pytest.raises((InvalidValue, VariableNotFound)):
                await ctx.variables.set_many(bad)

        assert [variable.version for variable in await ctx.variables.list()] == [1, 1, 1]
        assert await ctx.variables.set_many({}) == {}


async def test_a_best_effort_batch_sets_what_it_can_and_tells_the_rest(make: Make) -> None:
    async with make(variables=[COUNT, TEMPERATURE, NOTES]) as ctx:
        with pytest.raises(BatchError) as caught:
            await ctx.variables.set_many({COUNT: 2, "temperature": 9.0, "nobody": 1, NOTES: ["a"]}, atomic=False)

        assert caught.value.versions == {"count": 1, "notes": 1}
        assert {name: type(error) for name, error in caught.value.errors.items()} == {
            "temperature": InvalidValue,
            "nobody": VariableNotFound,
        }
        assert caught.value.applied is True
        assert await ctx.variables.get_many([COUNT, TEMPERATURE, NOTES]) == {"count": 2, "temperature": 0.7, "notes": ["a"]}
        assert await ctx.variables.set_many({COUNT: 3}, atomic=False) == {"count": 2}


async def test_list_is_in_the_order_of_definition_through_deletions(make: Make) -> None:
    async with make() as ctx:
        for number in range(700):
            await ctx.variables.define(f"v{number}", int, number)

        for number in range(0, 700, 3):
            await ctx.variables.delete(f"v{number}")

        await ctx.variables.define("v0", int, -1)
        names = [variable.name for variable in await ctx.variables.list()]
        assert names == [f"v{number}" for number in range(700) if number % 3] + ["v0"]
        with pytest.raises(AttributeError):
            (await ctx.variables.list())[0].value = 5  # type: ignore[misc]


# --- I13 -----------------------------------------------------------------------------------------------------------------------


async def test_i13_containers_are_copied_in_and_out(make: Make) -> None:
    initial = [[1], [2]]
    async with make(variables=[Var("rows", list[list[int]], initial), FACTS]) as ctx:
        initial[0].append(99)
        await ctx.variables.define("loose", Any, initial)
        initial[0].append(100)
        assert await ctx.variables.get("rows") == [[1], [2]]
        assert await ctx.variables.get("loose") == [[1, 99], [2]]

        given = [[5]]
        await ctx.variables.set("rows", given)
        given[0].append(6)
        given.append([7])
        assert await ctx.variables.get("rows") == [[5]]

        for read in (
            await ctx.variables.get("rows"),
            (await ctx.variables.get_many(["rows"]))["rows"],
            (await ctx.variables.info("rows")).value,
            (await ctx.variables.list())[0].value,
        ):
            read[0].append(0)
            read.clear()

        assert await ctx.variables.get("rows") == [[5]]

        kept: list[Any] = []

        def keep(rows: Any) -> Any:
            kept.append(rows)
            return [*rows, [8]]

        made = await ctx.variables.update("rows", keep)
        made[0].append(1)
        kept[0][0].append(1)
        item = [9]
        await ctx.variables.append("rows", item)
        item.append(10)
        assert await ctx.variables.get("rows") == [[5], [8], [9]]

        laid = {"x": 1}
        await ctx.variables.merge(FACTS, laid)
        laid["x"] = 2
        notes = {"tags": ["a"]}
        await ctx.variables.set(COUNT.name if await ctx.variables.exists(COUNT) else FACTS, {"x": 1}, metadata=notes)
        notes["tags"].append("b")
        info = await ctx.variables.info(FACTS)
        assert info.metadata["tags"] == ["a"]
        assert await ctx.variables.get(FACTS) == {"x": 1}


async def test_i13_what_a_record_tells_of_metadata_cannot_change_it(make: Make) -> None:
    async with make() as ctx:
        await ctx.variables.define("x", float, 0.0, metadata={"tags": ["a"]})
        await ctx.variables.set("x", 1.0, metadata={"more": ["b"]})
        for told in (await ctx.variables.info("x"), (await ctx.variables.list())[0]):
            for key in ("tags", "more"):
                told.metadata[key].append("z")

        assert dict((await ctx.variables.info("x")).metadata) == {"tags": ["a"], "more": ["b"]}


# --- bounds --------------------------------------------------------------------------------------------------------------------

LARGE: dict[str, tuple[Any, Any]] = {
    "many items": (list[int], [1 << 40] * 20_000),
    "few large items": (list[str], ["x" * 50_000] * 4),
    "nested": (list[list[int]], [[1 << 40] * 20_000]),
    "a dict": (dict[str, int], {f"key number {number}": 1 << 40 for number in range(10_000)}),
    "in a dict": (dict[str, list[int]], {"a": [1 << 40] * 20_000}),
    "anything": (Any, {"a": {"b": [1 << 40] * 20_000}}),
}
LIMIT = 150_000


@pytest.mark.parametrize("shape", LARGE)
async def test_a_container_past_max_container_is_refused_however_it_comes(make: Make, shape: str) -> None:
    declared, value = LARGE[shape]
    async with make(max_container=LIMIT) as ctx:
        empty = type(value)()
        await ctx.variables.define("big", declared, empty)
        for attempt in (
            lambda: ctx.variables.set("big", value),
            lambda: ctx.variables.set_many({"big": value}),
            lambda: ctx.variables.update("big", lambda _: value),
            lambda: ctx.variables.define("other", declared, value),
        ):
            with pytest.raises(InvalidValue, match=r"max_container"):
                await attempt()

        assert await ctx.variables.get("big") == empty
        assert [variable.name for variable in await ctx.variables.list()] == ["big"]


@pytest.mark.parametrize("home", ["local", "bridged", "awaited"])
async def test_a_container_cannot_grow_past_max_container_bit_by_bit(home: str) -> None:
    async with HOMES[home](max_container=LIMIT) as ctx:
        await ctx.variables.define("big", list[list[int]], [])
        with pytest.raises(InvalidValue, match=r"max_container"):
            for _ in range(40):
                await ctx.variables.append("big", [1 << 40] * 2000)

        assert len(await ctx.variables.get("big")) < 20


async def test_bytes_and_text_of_any_size_are_no_containers(make: Make) -> None:
    async with make(max_container=LIMIT) as ctx:
        await ctx.variables.define("blob", bytes, b"")
        await ctx.variables.define("text", str, "")
        await ctx.variables.set("blob", bytes(4 * LIMIT))
        await ctx.variables.set("text", "x" * 4 * LIMIT)
        assert len(await ctx.variables.get("blob")) == 4 * LIMIT


async def test_a_large_container_is_taken_and_the_log_says_once_that_it_can_hold_the_loop(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "dspex")
    async with make() as ctx:
        await ctx.variables.define("big", list[int], [])
        for _ in range(3):
            await ctx.variables.set("big", [1 << 40] * 60_000)

        assert len(await ctx.variables.get("big")) == 60_000

    told = [record for record in caplog.records if "hold the event loop" in record.message]
    assert len(told) == 1 and "'big'" in told[0].message


# --- sensitive -----------------------------------------------------------------------------------------------------------------


async def test_sensitive_values_are_masked_in_errors_and_reprs(make: Make) -> None:
    async with make(variables=[KEY]) as ctx:
        await ctx.variables.set(KEY, "sk-secret-value")
        with pytest.raises(InvalidValue) as caught:
            await ctx.variables.set(KEY, "zq")

        assert "zq" not in str(caught.value)
        with pytest.raises(BatchError) as batch:
            await ctx.variables.set_many({KEY: "zq"}, atomic=False)

        assert "zq" not in str(batch.value)
        for told in (await ctx.variables.info(KEY), await ctx.variables.list(), ctx, ctx.variables, await ctx.export_state()):
            assert "sk-secret" not in repr(told)

        async with ctx.variables.watch(KEY, include_initial=True) as changes:
            assert "sk-secret" not in repr(await anext(changes))

        assert await ctx.variables.get(KEY) == "sk-secret-value"


# --- types of the caller's own -------------------------------------------------------------------------------------------------


async def test_an_enum_comes_back_as_itself(make: Make) -> None:
    async with make(variables=[COLOR]) as ctx:
        await ctx.variables.set(COLOR, Color.BLUE)
        assert await ctx.variables.get(COLOR) is Color.BLUE
        with pytest.raises(InvalidValue):
            await ctx.variables.set(COLOR, 2)  # type: ignore[call-overload]


async def test_the_seeds_names_are_the_same_operations(make: Make) -> None:
    async with make() as ctx:
        id = await ctx.register_variable("temperature", "float", 0.7, min=0.0)
        assert await ctx.get_variable(id) == 0.7
        assert await ctx.get_variable("nobody", None) is None
        with pytest.raises(VariableNotFound):
            await ctx.get_variable("nobody")

        assert await ctx.set_variable("temperature", 1, {"by": "me"}) == 1
        assert await ctx.get_variables(["temperature", "nobody"]) == {"temperature": 1.0}
        assert await ctx.update_variables({"temperature": 0.5}) == {"temperature": 2}
        assert [variable.name for variable in await ctx.list_variables()] == ["temperature"]
        await ctx.delete_variable("temperature")
        assert await ctx.list_variables() == []
