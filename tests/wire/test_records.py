"""Enum members and records cross as what they are made of, and are brought back by whoever has their class."""

from __future__ import annotations

import copy
import enum
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from typing import Any, ClassVar

import attrs
import pydantic
import pytest

from dspex.wire import Limits, Malformed, Tagged, Unencodable, decode, encode, records


class Color(enum.Enum):
    RED = 1
    CRIMSON = 1  # noqa: PIE796 - an alias


class Level(enum.IntEnum):
    LOW = 1


class Word(str, enum.Enum):  # noqa: UP042 - as those of older code are
    HELLO = "hello"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass
class Plain:
    x: int
    start: InitVar[int] = 0
    kind: ClassVar[str] = "plain"
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Frozen:
    x: Any = None


@attrs.frozen
class Attrs:
    _hidden: int
    nested: Any = attrs.field(default=None, converter=lambda value: value)

    def __attrs_post_init__(self) -> None:
        assert self._hidden < 100, "ran __init__ again"


class Model(pydantic.BaseModel):
    size: int = pydantic.Field(alias="Size")
    color: Color = Color.RED


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    size: int


CLASSES = {records.label(cls): cls for cls in (Color, Level, Word, Rights, Plain, Frozen, Attrs, Model, Open)}

INSTANCES: list[Any] = [
    Color.RED,
    Color.CRIMSON,
    Level.LOW,
    Word.HELLO,
    Rights.WRITE,
    Plain(1, tags=["a"]),
    Frozen((1, {2})),
    Attrs(5, Frozen(Color.RED)),
    Model(Size=3),
    Open(size=1, other="kept"),
]


def _resolve(label: str, kind: str) -> type | None:
    return CLASSES.get(label)


@pytest.mark.parametrize("instance", INSTANCES, ids=lambda instance: type(instance).__name__)
def test_an_instance_comes_back_where_its_class_is_known(in_use: str, instance: Any) -> None:
    back = decode(encode([instance]), resolve=_resolve)[0]
    assert type(back) is type(instance)
    assert back == instance


@pytest.mark.parametrize("instance", INSTANCES, ids=lambda instance: type(instance).__name__)
def test_an_instance_stays_tagged_where_no_class_is_given(in_use: str, instance: Any) -> None:
    tagged = decode(encode(instance), limits=Limits())
    assert type(tagged) is Tagged
    assert tagged.label == f"{__name__}:{type(instance).__qualname__}"
    assert encode(tagged) == encode(instance)
    assert encode(decode(encode(tagged))) == encode(instance)


def test_what_a_record_is_made_of() -> None:
    assert records.parts(Plain(1)) == Tagged("record", f"{__name__}:Plain", {"x": 1, "tags": []})
    assert records.parts(Attrs(1)) == Tagged("record", f"{__name__}:Attrs", {"_hidden": 1, "nested": None})
    assert records.parts(Open(size=1, other=2)) == Tagged("record", f"{__name__}:Open", {"size": 1, "other": 2})
    assert records.parts(Color.CRIMSON) == Tagged("enum", f"{__name__}:Color", "RED")
    assert records.parts(object()) is None


def test_a_record_is_built_without_its_init(in_use: str) -> None:
    back = records.build(Tagged("record", "", {"_hidden": 100}), Attrs)
    assert back._hidden == 100


def test_flags_without_a_name_of_their_own_are_refused(in_use: str) -> None:
    with pytest.raises(Unencodable, match="Rights"):
        encode(Rights.READ | Rights.WRITE)


def test_a_field_that_cannot_cross_is_named(in_use: str) -> None:
    with pytest.raises(Unencodable) as refused:
        encode({"a": Frozen(x=[object()])})

    assert refused.value.path == "['a'].x[0]"


@pytest.mark.parametrize(
    ("tagged", "cls", "sentence"),
    [
        (Tagged("enum", "app:Color", "GREEN"), Color, f"{__name__}:Color has no member 'GREEN'. It has: RED, CRIMSON."),
        (Tagged("record", "app:P", {"z": 1}), Plain, f"{__name__}:Plain has no field 'z'. It has: x, tags."),
        (Tagged("record", "app:P", {}), Color, f"Expected a class of the kind record for app:P, got {__name__}:Color."),
        (Tagged("enum", "app:Color", "RED"), Plain, f"Expected a class of the kind enum for app:Color, got {__name__}:Plain."),
        (Tagged("record", "app:P", {}), int, "Expected a class of the kind record for app:P, got builtins:int."),
    ],
)
def test_a_class_that_does_not_fit_is_refused(tagged: Tagged, cls: type, sentence: str) -> None:
    with pytest.raises(ValueError) as refused:
        records.build(tagged, cls)

    assert str(refused.value) == sentence


def test_a_value_whose_class_no_longer_fits_stays_tagged(in_use: str) -> None:
    tagged = Tagged("record", "app:P", {"gone": 1})
    assert decode(encode(tagged), resolve=lambda label, kind: Plain) == tagged


class Unbuildable(pydantic.BaseModel):
    size: int

    def model_post_init(self, context: Any) -> None:
        raise RuntimeError("not today")


def test_what_a_class_of_the_user_raises_is_told() -> None:
    with pytest.raises(ValueError, match="Unbuildable could not be built: not today"):
        records.build(Tagged("record", "", {"size": 1}), Unbuildable)


def test_classes_are_told_apart() -> None:
    assert [records.is_enum(cls) for cls in (Color, Level, Plain, int)] == [True, True, False, False]
    assert [records.is_record(cls) for cls in (Plain, Frozen, Attrs, Model, Color, int)] == [True, True, True, True, False, False]


class Derived(Plain):
    """A plain class derived from a record isn't the record."""


def test_a_class_derived_from_a_record_is_refused(in_use: str) -> None:
    with pytest.raises(Unencodable, match="Derived"):
        encode(Derived(1))


@pytest.mark.parametrize("zone", ["Mars/Olympus", "UTC"])
def test_a_zone_this_interpreter_does_not_know_leaves_the_time_tagged(in_use: str, zone: str) -> None:
    data = encode(Tagged("datetime", zone, [2026, 1, 1, 0, 0, 0, 0, 0]))
    back = decode(data, limits=Limits())
    assert isinstance(back, datetime) == (zone == "UTC")
    assert encode(back) == data
    assert encode(decode(encode(Tagged("time", zone, [1, 0, 0, 0, 1])))) == encode(Tagged("time", zone, [1, 0, 0, 0, 1]))


@pytest.mark.parametrize("zone", ["../../etc/passwd", "/etc/passwd", "a\0b", "", "x" * 300])
def test_a_zone_that_is_no_key_is_malformed(in_use: str, zone: str) -> None:
    with pytest.raises(Malformed):
        decode(encode(Tagged("datetime", zone, [2026, 1, 1, 0, 0, 0, 0, 0])))


def test_a_tagged_value_that_is_used_as_what_it_was_says_why_it_is_not() -> None:
    tagged = Tagged("record", "app:Point", {"x": 1})
    with pytest.raises(AttributeError, match=r"^No attribute 'x': this is what a app:Point is made of, and its class isn't known here\."):
        tagged.x  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(tagged, "__array_interface__")
    assert copy.deepcopy(tagged) == tagged
