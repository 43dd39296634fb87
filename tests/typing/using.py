# pyright: strict
# Every line marked `# error` must be one to mypy and to pyright, both strict, and no other line (test_typing.py).
from __future__ import annotations

from typing import Any, Literal, assert_type

from dspex import Context, Var

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
