"""What holds for every type and every value: exactness (I5), no aliasing (I13), only known classes (I11), the fast path's truth."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import enum
import json
import math
import zoneinfo
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import attrs
import numpy as np
import numpy.typing as npt
import pydantic
import pytest
from hypothesis import given, settings, strategies as st

from dspex._exceptions import DspexError, InvalidSnapshot, InvalidValue
from dspex.variables import Cell, Definition, Snapshot, Var, copy_value, resolve, same
from dspex.wire import codec


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@attrs.define
class Job:
    name: str
    tags: list[str]
    color: Color = Color.RED
    _hidden: int = 0
    parent: Job | None = None


@attrs.frozen
class Frozen:
    number: int
    pair: tuple[str, ...] = ()


@dataclasses.dataclass
class Point:
    x: float
    labels: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    total: float = dataclasses.field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.total = self.x * 2


@dataclasses.dataclass(slots=True)
class Slotted:
    items: list[Any]


class Model(pydantic.BaseModel):
    number: int
    names: list[str] = []
    alias: str = pydantic.Field(default="", alias="otherName")


def arrays(dtypes: tuple[str, ...] = ("<f8", "<i4", ">f4", "|b1", "<U3")) -> st.SearchStrategy[Any]:
    shapes = st.lists(st.integers(0, 3), min_size=0, max_size=3)
    return st.builds(lambda shape, dtype: np.zeros(shape, dtype), shapes, st.sampled_from(dtypes))


FLOATS = st.floats()
INTS = st.integers() | st.sampled_from([2**63, -(2**63) - 1, 2**64, 10**40])
TEXTS = st.text(st.characters(), max_size=6)  # lone surrogates among them
ZONES = (
    st.none()
    | st.just(dt.UTC)
    | st.just(dt.timezone(dt.timedelta(hours=5, seconds=7), "odd"))
    | st.just(zoneinfo.ZoneInfo("Europe/Berlin"))
)
DATETIMES = st.builds(lambda when, zone, fold: when.replace(tzinfo=zone, fold=fold), st.datetimes(), ZONES, st.integers(0, 1))
TIMES = st.builds(lambda when, zone, fold: when.replace(tzinfo=zone, fold=fold), st.times(), st.none() | st.just(dt.UTC), st.integers(0, 1))
KEYS = TEXTS | st.integers() | st.binary(max_size=3) | st.booleans()
SCALARS = st.none() | st.booleans() | INTS | FLOATS | TEXTS | st.binary(max_size=4) | st.dates() | DATETIMES | st.decimals() | st.uuids()
HASHABLE = st.booleans() | INTS | TEXTS | st.tuples(st.integers(), TEXTS)
PLAIN = st.recursive(
    SCALARS | arrays() | st.complex_numbers() | st.timedeltas(),
    lambda items: (
        st.lists(items, max_size=3)
        | st.dictionaries(KEYS, items, max_size=3)
        | st.tuples(items, items)
        | st.sets(HASHABLE, max_size=3)
        | st.frozensets(HASHABLE, max_size=3)
        | st.dictionaries(st.sampled_from(["$tuple", "$canonical", "$", "a"]), items, max_size=2)
    ),
    max_leaves=8,
)
JOBS = st.recursive(
    st.builds(Job, TEXTS, st.lists(TEXTS, max_size=2), st.sampled_from(Color), st.integers()),
    lambda inner: st.builds(Job, TEXTS, st.lists(TEXTS, max_size=2), st.sampled_from(Color), st.integers(), inner),
    max_leaves=2,
)

DECLARED: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "float": (float, FLOATS),
    "int": (int, INTS),
    "bool": (bool, st.booleans()),
    "str": (str, TEXTS),
    "bytes": (bytes, st.binary(max_size=9)),
    "complex": (complex, st.complex_numbers()),
    "datetime": (dt.datetime, DATETIMES),
    "date": (dt.date, st.dates()),
    "time": (dt.time, TIMES),
    "timedelta": (dt.timedelta, st.timedeltas()),
    "decimal": (Decimal, st.decimals()),
    "uuid": (UUID, st.uuids()),
    "optional": (int | None, st.none() | INTS),
    "union": (float | int | str | list[int], FLOATS | INTS | TEXTS | st.lists(INTS, max_size=3)),
    "literal": (Literal["a", 1, True, None], st.sampled_from(["a", 1, True, None])),
    "list": (list[float], st.lists(FLOATS, max_size=4)),
    "nested": (dict[str, list[dict[int, str]]], st.dictionaries(TEXTS, st.lists(st.dictionaries(INTS, TEXTS, max_size=2), max_size=2), max_size=2)),
    "keys": (dict[bytes, bool], st.dictionaries(st.binary(max_size=3), st.booleans(), max_size=3)),
    "tuple": (tuple[int, list[str]], st.tuples(INTS, st.lists(TEXTS, max_size=2))),
    "tuples": (tuple[float, ...], st.lists(FLOATS, max_size=3).map(tuple)),
    "set": (set[int], st.sets(INTS, max_size=3)),
    "frozenset": (frozenset[str], st.frozensets(TEXTS, max_size=3)),
    "enum": (Color, st.sampled_from(Color)),
    "int enum": (Level, st.sampled_from(Level)),
    "attrs": (Job, JOBS),
    "frozen": (Frozen, st.builds(Frozen, INTS, st.lists(TEXTS, max_size=2).map(tuple))),
    "dataclass": (Point, st.builds(Point, st.floats(allow_nan=False), st.dictionaries(TEXTS, st.lists(INTS, max_size=2), max_size=2))),
    "slots": (Slotted, st.builds(Slotted, st.lists(PLAIN, max_size=2))),
    "pydantic": (Model, st.builds(lambda number, names: Model(number=number, names=names, otherName="x"), st.integers(), st.lists(st.text(max_size=3), max_size=2))),
    "records": (dict[str, Job | Point], st.dictionaries(TEXTS, JOBS | st.builds(Point, st.just(1.0)), max_size=2)),
    "array": (np.ndarray, arrays()),
    "array of float": (npt.NDArray[np.float64], arrays(("<f8",))),
    "tensor": ("tensor", st.lists(st.lists(FLOATS, min_size=2, max_size=2), max_size=3)),
    "embedding": ("embedding", st.lists(FLOATS, max_size=3)),
    "any": (Any, PLAIN),
    "list of any": (list, st.lists(PLAIN, max_size=3)),
}  # fmt: skip

EVERY = pytest.mark.parametrize(
    "declared", [pytest.param(*pair, id=name) for name, pair in {n: ((t, s),) for n, (t, s) in DECLARED.items()}.items()]
)
Declared = tuple[Any, st.SearchStrategy[Any]]
A_SHARE = settings(max_examples=max(10, settings().max_examples // 3))  # of the examples: each of these tests runs once for every type


def defined(declared: Declared) -> Definition:
    return Definition.make("v", declared[0])


@EVERY
@A_SHARE
@given(data=st.data())
def test_a_stored_value_is_the_same_as_what_was_given(declared: Declared, data: st.DataObject) -> None:
    value = data.draw(declared[1])
    assert same(defined(declared).check(value), value)


@EVERY
@A_SHARE
@given(data=st.data())
def test_a_value_survives_the_codec_with_its_exact_type(declared: Declared, data: st.DataObject) -> None:
    definition = defined(declared)
    stored = definition.check(data.draw(declared[1]))
    restored = definition.restore(codec.decode(codec.encode(definition.lower(stored))))
    assert same(restored, stored) or without_fields_set(restored) == without_fields_set(stored)


@EVERY
@A_SHARE
@given(data=st.data())
def test_a_value_survives_a_snapshot_in_json_with_its_exact_type(declared: Declared, data: st.DataObject) -> None:
    definition = defined(declared)
    cell = Cell(definition, "var_v_1", definition.check(data.draw(declared[1])), version=3, metadata={"t": (1, [2])})
    snapshot = Snapshot(session_id="s", variables=(cell.variable(),))
    text = snapshot.to_json()
    text.encode()
    read = Snapshot.from_json(text)
    assert read.to_json() == text
    again = Cell.from_variable(read["v"])
    again.attach(definition)
    assert same(again.value, cell.value) or without_fields_set(again.value) == without_fields_set(cell.value)
    assert attrs.evolve(read["v"], value=0) == attrs.evolve(snapshot["v"], value=0)
    assert same(dict(read["v"].metadata), {"t": (1, [2])})


def without_fields_set(value: Any) -> Any:
    """A model comes back equal; which of its fields were given and which are defaults is not a part of the value."""
    return value if isinstance(value, pydantic.BaseModel) else object()


@EVERY
@A_SHARE
@given(data=st.data())
def test_what_was_given_can_be_changed_without_changing_what_is_stored(declared: Declared, data: st.DataObject) -> None:
    value = data.draw(declared[1])
    definition = defined(declared)
    stored = definition.check(value)
    before = codec.encode(stored)
    scramble(value)
    assert codec.encode(stored) == before


@EVERY
@A_SHARE
@given(data=st.data())
def test_what_was_read_can_be_changed_without_changing_what_is_stored(declared: Declared, data: st.DataObject) -> None:
    definition = defined(declared)
    stored = definition.check(data.draw(declared[1]))
    before = codec.encode(stored)
    for read in (definition.copy or (lambda value: value), copy_value, lambda value: Cell(definition, "i", value).variable().value):
        out = read(stored)
        assert same(out, stored)
        scramble(out)
        assert codec.encode(stored) == before


def scramble(value: Any) -> None:
    """Changes everything in a value that lets itself be changed."""
    if isinstance(value, list):
        for item in value:
            scramble(item)
        value.append("scrambled")
    elif isinstance(value, dict):
        for item in value.values():
            scramble(item)
        value["scrambled"] = 1
    elif isinstance(value, tuple):
        for item in value:
            scramble(item)
    elif isinstance(value, set):
        value.add("scrambled")
    elif isinstance(value, np.ndarray):
        scramble_array(value)
    elif isinstance(value, Job | Point | Slotted | Model):
        for name in [name for name in ("name", "tags", "x", "labels", "items", "names", "parent", "number") if hasattr(value, name)]:
            scramble(getattr(value, name))
            setattr(value, name, None)


def scramble_array(value: Any) -> None:
    try:
        value.setflags(write=True)
    except ValueError:
        return
    value.fill(1)


@EVERY
def test_a_type_and_its_label_mean_the_same(declared: Declared) -> None:
    kind = resolve(declared[0])
    again = resolve(kind.label)
    assert again.label == kind.label
    assert again.opaque == bool(kind.classes)


@EVERY
@A_SHARE
@given(data=st.data())
def test_the_estimate_of_a_size_is_of_the_right_order(declared: Declared, data: st.DataObject) -> None:
    definition = defined(declared)
    stored = definition.check(data.draw(declared[1]))
    encoded = len(codec.encode(stored))
    assert encoded / 4 - 64 <= definition.size(stored) <= 4 * encoded + 128


@given(value=PLAIN)
def test_copies_are_what_deepcopy_would_give(value: Any) -> None:
    assert same(copy_value(value), value)
    assert same(copy_value(value), copy.deepcopy(value))


BOUNDED = [
    Var("v", float, 0.0, min=-1.0, max=1.0).definition,
    Var("v", float, 0.0, min=0).definition,
    Var("v", float, 0.0).definition,
    Var("v", int, 0, max=5).definition,
    Var("v", int, 0, min=-(2**70), max=2**70).definition,
    Var("v", str, "").definition,
    Var("v", str, "a", min_length=1).definition,
    Var("v", bool, True).definition,
    Var("v", Color, Color.RED).definition,
    Var("v", int, 1, choices=[1, 2]).definition,
]


@given(definition=st.sampled_from(BOUNDED), value=SCALARS | st.sampled_from(Color) | st.integers(-2, 7) | st.floats(-2, 2))
def test_the_fast_path_takes_only_what_check_takes_as_it_is(definition: Definition, value: Any) -> None:
    cell = Cell(definition, "var_v_1", None)
    if type(value) is cell.exact and (cell.low is None or cell.low <= value <= cell.high):
        assert definition.check(value) is value


@given(definition=st.sampled_from(BOUNDED[:4]), value=st.integers(-(10**400), 10**400) | FLOATS)
def test_what_check_takes_is_within_the_bounds(definition: Definition, value: Any) -> None:
    try:
        stored = definition.check(value)
    except InvalidValue:
        return
    low, high = definition.constraints.get("min", -math.inf), definition.constraints.get("max", math.inf)
    assert low <= stored <= high or (not definition.constraints and math.isnan(stored))


@EVERY
@A_SHARE
@given(data=st.data())
def test_foreign_data_is_restored_to_a_value_of_the_type_or_refused(declared: Declared, data: st.DataObject) -> None:
    definition = defined(declared)
    tagged = st.builds(
        codec.Tagged, st.sampled_from(["enum", "record"]), st.sampled_from([*definition.kind.classes, "os:system", ""]), PLAIN
    )
    raw = data.draw(PLAIN | tagged | st.lists(tagged, max_size=2) | st.dictionaries(TEXTS, tagged, max_size=2))
    try:
        restored = definition.restore(raw)
    except InvalidValue as error:
        assert error.variable == "v"
        return
    assert same(definition.check(restored), restored)


TEXT = Snapshot(
    session_id="s",
    variables=[
        Cell(Var("job", Job, Job("a", ["b"])).definition, "var_job_1", Job("a", ["b"])).variable(),
        Cell(Var("t", float, 0.5, min=0.0).definition, "var_t_1", 0.5).variable(),
        Cell(Var("any", Any, None).definition, "var_any_1", {"a": (1, {2}, b"3", math.nan)}).variable(),
    ],
).to_json()


@given(data=st.data())
def test_a_damaged_snapshot_is_refused_as_one_or_read(data: st.DataObject) -> None:
    tree = json.loads(TEXT)
    spot: Any = tree
    while isinstance(spot, dict | list) and spot and data.draw(st.integers(0, 3)):
        key = data.draw(st.sampled_from(list(spot) if isinstance(spot, dict) else range(len(spot))))
        damage = data.draw(st.sampled_from(["deeper", "deeper", "replace", "remove"]))
        if damage == "deeper":
            spot = spot[key]
        elif damage == "replace":
            spot[key] = data.draw(
                st.none() | st.integers() | st.text(max_size=3) | st.booleans() | st.just([]) | st.just({}) | st.just({"$tuple": 1})
            )
            break
        else:
            del spot[key]
            break

    try:
        Snapshot.from_json(json.dumps(tree))
    except InvalidSnapshot as error:
        assert str(error).startswith("Not a usable snapshot")
    except DspexError as error:  # pragma: no cover
        pytest.fail(f"another error: {error!r}")
