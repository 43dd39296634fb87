"""What the tests of programs run, in this process and in workers: light to import, and the same both ways."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import os
import threading
import uuid
from typing import Any

import attrs

from dspex import Var


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@attrs.define
class Point:
    x: int
    tags: list[str]


COLOR = Var("color", Color, Color.RED)
COLORS = Var("colors", list[Color], [])
PALETTE = Var("palette", dict[str, Color], {})
POINT = Var("point", Point, Point(1, ["a"]))
COUNT = Var("count", int, 0)
TEMPERATURE = Var("temperature", float, 0.7, min=0.0, max=2.0)
NOTES = Var("notes", list[str], [])
FACTS = Var("facts", dict[str, int], {})

VALUES: dict[str, tuple[Any, Any, Any]] = {
    "float": (float, 0.5, -0.0),
    "int": (int, 1, -(10**40)),
    "bool": (bool, True, False),
    "str": (str, "a", "naïve \U0001f600"),
    "bytes": (bytes, b"", bytes(range(256))),
    "maybe": (str | None, None, "there"),
    "list": (list[int], [1], [2**70, -1]),
    "dict": (dict[str, list[float]], {}, {"b": [1.0], "a": []}),
    "tuple": (tuple[int, str], (1, "a"), (2, "b")),
    "set": (set[str], set(), {"b", "a"}),
    "any": (Any, None, {"a": [1, 2.0, None, True, b"y"]}),
    "datetime": (dt.datetime, dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, tzinfo=dt.UTC)),
    "timedelta": (dt.timedelta, dt.timedelta(0), dt.timedelta(days=-1, microseconds=1)),
    "decimal": (decimal.Decimal, decimal.Decimal(0), decimal.Decimal("-1.10")),
    "uuid": (uuid.UUID, uuid.UUID(int=1), uuid.UUID(int=7)),
    "color": (Color, Color.RED, Color.BLUE),
    "point": (Point, Point(0, []), Point(5, ["b"])),
    "colors": (list[Color], [], [Color.BLUE, Color.RED]),
}


def swap(ctx: Any, name: str, value: Any) -> Any:
    """Gives what was there, and puts *value* in its place."""
    before = ctx.get(name)
    ctx.set(name, value)
    return before


async def swap_async(ctx: Any, name: str, value: Any) -> Any:
    before = await ctx.get(name)
    await ctx.set(name, value)
    return before


def tour(ctx: Any) -> dict[str, Any]:
    """Everything a program can do with its context."""
    told: dict[str, Any] = {"id": ctx.id}
    told["define"] = ctx.define("made", int, 5, min=0)
    told["exists"] = (ctx.exists("made"), ctx.exists("nobody"))
    told["get"] = (ctx.get("made"), ctx.get("nobody", "default"), ctx.get(told["define"]))
    told["set"] = (ctx.set("made", 6, metadata={"by": "tour"}), ctx.set("made", 7, expected_version=1))
    told["update"] = ctx.update("made", lambda n: n * 2)
    told["add"] = ctx.add("made", 1)
    told["append"] = ctx.append(NOTES, "a")
    told["merge"] = ctx.merge(FACTS, {"x": 1})
    told["many"] = ctx.set_many({"made": 1, NOTES: ["b"]})
    told["got"] = ctx.get_many(["made", NOTES, "nobody"])
    info = ctx.info("made")
    told["info"] = (info.id, info.name, info.type, info.value, info.version, dict(info.constraints), dict(info.metadata))
    told["list"] = [variable.name for variable in ctx.list()]
    ctx.delete("made")
    told["left"] = ctx.exists("made")
    return told


async def tour_async(ctx: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"id": ctx.id}
    told["define"] = await ctx.define("made", int, 5, min=0)
    told["exists"] = (await ctx.exists("made"), await ctx.exists("nobody"))
    told["get"] = (await ctx.get("made"), await ctx.get("nobody", "default"), await ctx.get(told["define"]))
    told["set"] = (await ctx.set("made", 6, metadata={"by": "tour"}), await ctx.set("made", 7, expected_version=1))
    told["update"] = await ctx.update("made", lambda n: n * 2)
    told["add"] = await ctx.add("made", 1)
    told["append"] = await ctx.append(NOTES, "a")
    told["merge"] = await ctx.merge(FACTS, {"x": 1})
    told["many"] = await ctx.set_many({"made": 1, NOTES: ["b"]})
    told["got"] = await ctx.get_many(["made", NOTES, "nobody"])
    info = await ctx.info("made")
    told["info"] = (info.id, info.name, info.type, info.value, info.version, dict(info.constraints), dict(info.metadata))
    told["list"] = [variable.name for variable in await ctx.list()]
    await ctx.delete("made")
    told["left"] = await ctx.exists("made")
    return told


def errors(ctx: Any) -> dict[str, str]:
    """The name of what each refusal raises."""
    told = {}
    for name, operation in {
        "unknown": lambda: ctx.get("nobody"),
        "invalid": lambda: ctx.set(TEMPERATURE, 5.0),
        "type": lambda: ctx.set(COUNT, "x"),
        "conflict": lambda: ctx.set(COUNT, 1, expected_version=9),
        "taken": lambda: ctx.define("count", int, 0),
        "batch": lambda: ctx.set_many({COUNT: 1, "nobody": 1}, atomic=False),
        "atomic": lambda: ctx.set_many({COUNT: 9, "nobody": 1}),
        "append": lambda: ctx.append(NOTES, 5),
        "add": lambda: ctx.add(NOTES, 5),
    }.items():
        try:
            operation()
        except Exception as error:
            told[name] = type(error).__name__

    return told


def paint(ctx: Any, color: Color) -> Color:
    """All ways to write members of an enum."""
    ctx.set("color", color)
    ctx.append("colors", color)
    ctx.merge("palette", {"main": color})
    ctx.set_many({"color": color})
    ctx.update("color", lambda held: held)
    return ctx.get("color")


def place(point: Point) -> Point:
    return Point(point.x + 1, [*point.tags, "moved"])


def read(ctx: Any, name: str) -> Any:
    return ctx.get(name)


def add_often(ctx: Any, times: int) -> int:
    for _ in range(times):
        ctx.add(COUNT, 1)

    return os.getpid()


def meet_and_hold(ctx: Any) -> None:
    """Says that it runs by setting `count`, and then never ends."""
    ctx.set(COUNT, os.getpid())
    threading.Event().wait()


def until_told(ctx: Any) -> str:
    """Says that it runs, then waits for `notes` to be written, using its context all the while."""
    ctx.set(COUNT, 1)
    while not ctx.get(NOTES):
        pass

    ctx.append(NOTES, "seen")
    return "ended by itself"


def die() -> None:
    os._exit(3)


def square(n: int) -> int:
    return n * n


def huge(ctx: Any, size: int) -> int:
    return int(ctx.set("notes", ["x" * 100] * size))


class NotThere:
    """Importing is fine, making one is not."""

    def __init__(self) -> None:
        raise LookupError("no model file")

    def __call__(self) -> None: ...
