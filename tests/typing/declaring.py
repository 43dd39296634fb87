# pyright: strict
# Every line marked `# error` must be one to mypy and to pyright, both strict, and no other line (test_typing.py).
from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass
from typing import Any, Literal, Optional, assert_type

import attrs
import numpy as np
import numpy.typing as npt

from dspex import Var

Mode = Literal["fast", "careful"]


class Color(enum.Enum):
    RED = 1


@attrs.frozen
class Job:
    name: str


@dataclass
class Point:
    x: float


assert_type(Var("t", float, 0.7, min=0.0, max=2.0), Var[float])
assert_type(Var("t", float, 1), Var[float])
assert_type(Var("n", int, 1, min=0, description="how many", metadata={"unit": "1"}), Var[int])
assert_type(Var("s", str, "a", min_length=1, max_length=9, pattern="[a-z]+", sensitive=True), Var[str])
assert_type(Var("s", str, "a", choices=["a", "b"]), Var[str])
assert_type(Var("b", bool, True), Var[bool])
assert_type(Var("d", dt.datetime, dt.datetime.now(dt.UTC)), Var[dt.datetime])
assert_type(Var("tags", list[str], []), Var[list[str]])
assert_type(Var("table", dict[str, list[int]], {}), Var[dict[str, list[int]]])
assert_type(Var("pair", tuple[int, str], (1, "a")), Var[tuple[int, str]])
assert_type(Var("color", Color, Color.RED), Var[Color])
assert_type(Var("job", Job, Job("a")), Var[Job])
assert_type(Var("point", Point, Point(1.0)), Var[Point])
assert_type(Var("vector", list[float], [1.0], dimensions=1), Var[list[float]])
ARRAY: Var[npt.NDArray[np.float64]] = Var("array", npt.NDArray[np.float64], np.zeros(3), dimensions=(3,))

# A type checker widens T until type and initial value both fit: `Var("t", float, "x")` is of float | str to it. It is InvalidValue where
# it is made, which is when the module is imported.

# No type checker can tell what a special form or a name stands for: the declaration says it, or it is Any.
MODE: Var[Mode] = Var("mode", Literal["fast", "careful"], "fast")
LIMIT: Var[int | None] = Var("limit", int | None, None)
DATA: Var[Any] = Var("data", Any, {"a": [1]})
assert_type(Var("t", "float", 0.7, min=0.0), Var[Any])
assert_type(Var("limit", Optional[int], None), Var[Any])  # noqa: UP045
assert_type(MODE.initial, Mode)
assert_type(LIMIT.initial, int | None)

Var("t", float, 0.7, mni=0.0)  # error
Var("t", float, 0.7, min="low")  # error
Var("t", float, 0.7, 0.0)  # error
Var("s", str, "a", min_length="1")  # error
Var("s", str, "a", pattern=1)  # error
Var("s", str, "a", choices=5)  # error
Var("t", float)  # error
