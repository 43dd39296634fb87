# pyright: strict
# Every line marked `# error` must be one to mypy and to pyright, both strict, and no other line (test_typing.py).
from __future__ import annotations

from typing import Any, Literal, assert_type

from dspex import Bound, Context, ProgramContext, Var

TEMPERATURE = Var("temperature", float, 0.7, min=0.0, max=2.0)
TAGS = Var("tags", list[str], [])
MODE: Var[Literal["fast", "careful"]] = Var("mode", Literal["fast", "careful"], "fast")
LIMIT: Var[int | None] = Var("limit", int | None, None)


async def reading(ctx: Context) -> None:
    assert_type(await ctx.variables.get(TEMPERATURE), float)
    assert_type(await ctx.variables.get(TAGS), list[str])
    assert_type(await ctx.variables.get(LIMIT), int | None)
    assert_type(await ctx.variables.get("temperature"), Any)
    wrong: str = await ctx.variables.get(TEMPERATURE)  # error
    print(wrong)


async def writing(ctx: Context) -> None:
    assert_type(await ctx.variables.set(TEMPERATURE, 0.5), int)
    await ctx.variables.set(TEMPERATURE, 1)
    await ctx.variables.set("temperature", 0.5, metadata={"by": "me"}, expected_version=3)
    await ctx.variables.set(MODE, "careful")
    await ctx.variables.set(LIMIT, None)
    await ctx.variables.set(TEMPERATURE, "hot")  # error
    await ctx.variables.set(TAGS, [1])  # error
    await ctx.variables.set(MODE, "slow")  # error
    await ctx.variables.set(LIMIT, "3")  # error


async def updating(ctx: Context) -> None:
    assert_type(await ctx.variables.update(TEMPERATURE, lambda value: value / 2), float)
    await ctx.variables.update(TEMPERATURE, lambda value: str(value))  # error


COUNT = Var("count", int, 0)
FACTS = Var("facts", dict[str, int], {})


async def getting(ctx: Context) -> None:
    assert_type(await ctx.variables.get(TEMPERATURE, None), float | None)
    assert_type(await ctx.variables.get(TEMPERATURE, default=None), float | None)
    assert_type(await ctx.variables.get("temperature", default=1), Any)


async def adding(ctx: Context) -> None:
    assert_type(await ctx.variables.add(TEMPERATURE, 0.5), float)
    assert_type(await ctx.variables.add(COUNT, 1), int)
    assert_type(await ctx.variables.add("count", 1), Any)
    await ctx.variables.add(COUNT, "1")  # error
    await ctx.variables.add(TAGS, ["a"])  # error
    await ctx.variables.add(MODE, "fast")  # error


async def growing(ctx: Context) -> None:
    assert_type(await ctx.variables.append(TAGS, "a"), int)
    assert_type(await ctx.variables.append("tags", 1), int)
    assert_type(await ctx.variables.merge(FACTS, {"a": 1}), int)
    assert_type(await ctx.variables.merge("facts", {1: "a"}), int)
    await ctx.variables.append(TAGS, 1)  # error
    await ctx.variables.append(COUNT, 1)  # error
    await ctx.variables.merge(FACTS, {"a": "b"})  # error
    await ctx.variables.merge(TAGS, {"a": 1})  # error


async def defining(ctx: Context) -> None:
    assert_type(await ctx.variables.define(TEMPERATURE), str)
    await ctx.variables.define("t", float, 0.7, min=0.0, max=2.0, description="how bold", exist_ok=True)
    await ctx.variables.define("s", str, "a", min_length=1, max_length=9, pattern="[a-z]", choices=["a"])
    await ctx.variables.define("v", list[float], [1.0], dimensions=1)
    await ctx.variables.define("t", float, 0.7, mni=0.0)  # error
    await ctx.variables.define("t", float, 0.7, min="low")  # error
    await ctx.variables.define("s", str, "a", min_length="1")  # error


async def program(ctx: ProgramContext) -> None:
    assert_type(await ctx.get(TEMPERATURE), float)
    assert_type(await ctx.get(TEMPERATURE, None), float | None)
    assert_type(await ctx.add(COUNT, 1), int)
    assert_type(await ctx.append(TAGS, "a"), int)
    assert_type(await ctx.merge(FACTS, {"a": 1}), int)
    await ctx.set(TEMPERATURE, "hot")  # error
    await ctx.add(COUNT, "1")  # error
    await ctx.add(TAGS, ["a"])  # error
    await ctx.append(TAGS, 1)  # error
    await ctx.merge(FACTS, {"a": "b"})  # error
    await ctx.define("t", float, 0.7, mni=0.0)  # error
    assert_type(await ctx.call("other", {"n": 1}, timeout=0.5), Any)
    await ctx.call("other", n=1)  # error


async def calling(bound: Bound) -> None:
    await bound(text="a")
    await bound(4)  # error
