"""Which values a type takes, what it stores, and what it says of the others."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypedDict

import attrs
import numpy as np
import numpy.typing as npt
import pydantic
import pytest

from dspex import InvalidDefinition, InvalidValue, Var
from dspex.variables import Definition, resolve, same

HERE = __name__


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Weight(enum.IntEnum):
    LIGHT = 1


class Name(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Count(int):
    def __int__(self) -> int:
        return 99


class Pair(NamedTuple):
    left: int
    right: int


class Movie(TypedDict):
    title: str


@attrs.define
class Job:
    name: str
    tags: list[str] = attrs.Factory(list)
    weight: float = attrs.field(default=1.0, validator=attrs.validators.ge(0))


@attrs.define
class BigJob(Job):
    pass


@dataclasses.dataclass(frozen=True)
class Frozen:
    number: int
    names: tuple[str, ...] = ()


@dataclasses.dataclass
class Node:
    name: str
    children: list[Node] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Held:
    run: Callable[[Any], Any]


class Model(pydantic.BaseModel):
    number: int = pydantic.Field(ge=0)
    names: list[str] = []


UserId = NewType("UserId", int)


def check(declared: Any, value: Any) -> Any:
    return Definition.make("v", declared).check(value)


def refusal(declared: Any, value: Any) -> str:
    with pytest.raises(InvalidValue) as caught:
        check(declared, value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("declared", "value", "stored"),
    [
        (float, 1, 1.0),
        (float, np.float64(0.5), 0.5),
        (float, np.float32(0.5), 0.5),
        (float, np.int64(3), 3.0),
        (float, Weight.LIGHT, 1.0),
        (int, np.int64(3), 3),
        (int, np.uint8(3), 3),
        (int, Count(7), 7),
        (int, Weight.LIGHT, 1),
        (bool, np.bool_(True), True),
        (str, Name("a"), "a"),
        (str, np.str_("a"), "a"),
        (bytes, type("B", (bytes,), {})(b"a"), b"a"),
        (complex, 1.5, 1.5 + 0j),
        (Decimal, 3, Decimal(3)),
        (dt.datetime, type("D", (dt.datetime,), {})(2026, 1, 2, fold=1), dt.datetime(2026, 1, 2, fold=1)),
        (dt.date, type("D", (dt.date,), {})(2026, 1, 2), dt.date(2026, 1, 2)),
        (list[float], [1, 2.5, np.float64(3)], [1.0, 2.5, 3.0]),
        (list[int], type("L", (list,), {})([1]), [1]),
        (dict[str, float], collections.OrderedDict(b=1, a=2), {"b": 1.0, "a": 2.0}),
        (dict[str, Any], collections.defaultdict(list, {Name("a"): 1}), {"a": 1}),
        (Any, [np.float64(1), Name("a"), Weight.__members__ and Count(3), {"k": np.int8(1)}], [1.0, "a", 3, {"k": 1}]),
        (Any, collections.deque and (1, [2]), (1, [2])),
        (float | int, 1, 1),
        (int | float, 1.0, 1.0),
        (float | str, 1, 1.0),
        (list[float] | list[int], [1, 2], [1, 2]),
        (list[float] | None, [1], [1.0]),
        (Optional[Literal["a"]], None, None),  # noqa: UP045
        (Literal["a", 1], Name("a"), "a"),
        (Literal[Color.RED], Color.RED, Color.RED),
        (Annotated[int, "a note"], 1, 1),
        (UserId, 1, 1),
        (None, None, None),
        (tuple[()], (), ()),
        ("integer", 1, 1),
        ("boolean", True, True),
        ("string", "a", "a"),
        ("module", "ChainOfThought", "ChainOfThought"),
        ("embedding", [1, 2], [1.0, 2.0]),
        ("tensor", [[1, 2], [3, 4]], [[1.0, 2.0], [3.0, 4.0]]),
        ("tensor", [], []),
        ("any", {"a": [None]}, {"a": [None]}),
        ("dict[str, list[int | None]]", {"a": [None, 1]}, {"a": [None, 1]}),
    ],
)
def test_a_value_is_stored_as_the_exact_type(declared: Any, value: Any, stored: Any) -> None:
    assert same(check(declared, value), stored)


@pytest.mark.parametrize(
    ("declared", "value", "sentence"),
    [
        (float, True, "Variable 'v': expected a float, got True (bool)."),
        (float, "1", "Variable 'v': expected a float, got '1' (str)."),
        (float, None, "Variable 'v': expected a float, got None."),
        (float, Decimal(1), "Variable 'v': expected a float, got Decimal('1') (decimal.Decimal)."),
        (int, True, "Variable 'v': expected an int, got True (bool)."),
        (int, 1.0, "Variable 'v': expected an int, got 1.0 (float)."),
        (bool, 1, "Variable 'v': expected a bool, got 1 (int)."),
        (str, b"a", "Variable 'v': expected a str, got b'a' (bytes)."),
        (bytes, bytearray(b"a"), "Variable 'v': expected bytes, got bytearray(b'a') (bytearray)."),
        (dt.date, dt.datetime(2026, 1, 2), "Variable 'v': expected a date, got datetime.datetime(2026, 1, 2, 0, 0) (datetime.datetime)."),
        (Decimal, 0.1, "Variable 'v': expected a Decimal, got 0.1 (float)."),
        (list[float], (1.0,), "Variable 'v': expected a list[float], got (1.0,) (tuple)."),
        (list[float], [1.0, "2"], "Variable 'v' at [1]: expected a float, got '2' (str)."),
        (dict[str, list[int]], {"a": [1, None]}, "Variable 'v' at ['a'][1]: expected an int, got None."),
        (dict[str, int], {1: 1}, "Variable 'v' at .keys(): expected a str, got 1 (int)."),
        (tuple[int, str], (1,), "Variable 'v': expected a tuple[int, str], got (1,) (tuple)."),
        (tuple[int, str], (1, 2), "Variable 'v' at [1]: expected a str, got 2 (int)."),
        (set[list[int]], {1}, "Variable 'v' at [0]: expected a list[int], got 1 (int)."),
        (int | None, "a", "Variable 'v': expected an int or None, got 'a' (str)."),
        (int | str, 1.5, "Variable 'v': expected an int or a str, got 1.5 (float)."),
        (Literal["a", 1], "b", "Variable 'v': expected one of 'a', 1, got 'b' (str)."),
        (Literal[1], True, "Variable 'v': expected one of 1, got True (bool)."),
        (Color, "RED", f"Variable 'v': expected a member of {HERE}:Color, got 'RED' (str)."),
        (Job, Job(1), "Variable 'v' at .name: expected a str, got 1 (int)."),
        (Job, {"name": "a"}, f"Variable 'v': expected a Job ({HERE}:Job), got {{'name': 'a'}} (dict)."),
        ("tensor", [[1.0], [1.0, 2.0]], "Variable 'v': expected a tensor (nested lists of floats, all of one length at each level), got [[1.0], [1.0, 2.0]] (list): its rows differ in length."),
        ("tensor", [[1.0], 2.0], "Variable 'v': expected a tensor (nested lists of floats, all of one length at each level), got [[1.0], 2.0] (list): its rows differ in length."),
        (Any, [Color.RED], f"Variable 'v' at [0]: expected plain data (None, bool, int, float, str, bytes, list, dict, tuple, set, a date, Decimal, UUID or numpy array), got <Color.RED: 1> ({HERE}.Color): declare the variable with its class to store instances."),
        (Any, {"a": {(1, 2): 3}}, "Variable 'v' at ['a'].keys(): expected a str, int, bool or bytes, got (1, 2) (tuple)."),
        (Any, Pair(1, 2), f"Variable 'v': expected plain data (None, bool, int, float, str, bytes, list, dict, tuple, set, a date, Decimal, UUID or numpy array), got Pair(left=1, right=2) ({HERE}.Pair): declare the variable with its class to store instances."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_what_was_expected_what_came_and_where(declared: Any, value: Any, sentence: str) -> None:
    assert refusal(declared, value) == sentence


def test_an_int_too_large_for_a_float_is_refused() -> None:
    assert refusal(float, 10**400).endswith("(int): int too large to convert to float.")


def test_an_instance_of_a_subclass_is_refused() -> None:
    assert refusal(Job, BigJob("a")).endswith(f"({HERE}.BigJob): a subclass would come back as something else.")


def test_data_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert "nested deeper than 64 levels, or holding itself" in refusal(Any, loop)
    node = Node("a")
    node.children.append(node)
    assert refusal(Node, node).endswith("got None: a value nested too deep, or holding itself.")


def test_plain_data_may_be_64_levels_deep() -> None:
    deep: Any = 1
    for _ in range(64):
        deep = [deep]
    assert check(Any, deep) == deep
    assert "nested deeper" in refusal(Any, [deep])


def test_a_value_whose_repr_fails_can_still_be_refused() -> None:
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError

    assert "expected a float, got " in refusal(float, Mute())


def test_a_long_value_is_shown_short() -> None:
    assert len(refusal(float, "a" * 10_000)) < 200


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        (object, "object is no type a variable can have"),
        (lambda: 1, "is no type a variable can have"),
        (42, "42 is no type a variable can have"),
        (Pair, "Pair is no type a variable can have"),
        (Movie, "Movie is no type a variable can have"),
        ("floaty", "'floaty' is no type a variable can have"),
        ("list[", "'list[' is no type a variable can have"),
        ("list[int]]", "'list[int]]' is no type a variable can have"),
        ("list[os.system]", "'list[os.system]' is no type a variable can have"),
        ("list[" * 100, "is no type a variable can have"),
        ("int | " * 2000, "a type's label of 12000 characters is no type"),
        ("", "'' is no type a variable can have"),
        (dict[float, int], "dict keys must be str, int, bool or bytes, not float"),
        (dict[Color, int], f"dict keys must be str, int, bool or bytes, not {HERE}:Color"),
        (list[object], "object is no type a variable can have"),
        (collections.OrderedDict, "OrderedDict is no type a variable can have"),
    ],
)
def test_a_type_that_no_variable_can_have_is_refused_with_those_it_can(declared: Any, problem: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        Definition.make("v", declared)
    assert problem in str(caught.value)
    assert "A type is one of: float, int, str" in str(caught.value)


def test_the_label_of_a_class_is_no_type_for_a_var() -> None:
    with pytest.raises(
        InvalidDefinition, match=r"Variable 'v': app\.models:Color is the label of a class\. Declare the class itself as its type\."
    ):
        Var("v", "app.models:Color", 1)


class Test_records:
    def test_fields_are_checked_and_normalised(self) -> None:
        assert same(check(Job, Job("a", ["b"], 2)), Job("a", ["b"], 2.0))

    def test_a_frozen_one_that_can_not_change_is_shared(self) -> None:
        value = Frozen(1, ("a",))
        definition = Definition.make("v", Frozen)
        assert definition.check(value) is value
        assert definition.copy is None

    def test_one_that_contains_its_own_kind_is_copied_all_the_way(self) -> None:
        value = Node("a", [Node("b", [Node("c")])])
        stored = check(Node, value)
        value.children[0].children[0].name = "changed"
        assert stored == Node("a", [Node("b", [Node("c")])])

    def test_attributes_beyond_the_fields_are_kept(self) -> None:
        value = Node("a")
        value.extra = [1]  # type: ignore[attr-defined]
        stored = check(Node, value)
        assert stored.extra == [1]
        assert stored.extra is not value.extra  # type: ignore[attr-defined]

    def test_a_field_may_hold_what_no_worker_can_have(self) -> None:
        assert check(Held, Held(len)).run is len

    def test_a_field_that_can_not_be_copied_is_refused(self) -> None:
        import threading

        told = refusal(Held, Held(threading.Lock()))
        assert told.startswith("Variable 'v' at .run: expected anything, got <unlocked _thread.lock")
        assert told.endswith(": it can't be copied: cannot pickle '_thread.lock' object.")

    def test_a_model_is_copied_with_what_was_set_on_it(self) -> None:
        value = Model(number=1)
        stored = check(Model, value)
        value.names.append("x")
        assert stored == Model(number=1)
        assert stored.model_fields_set == {"number"}


class Test_arrays:
    def test_one_is_copied_in_and_can_not_be_written(self) -> None:
        given = np.arange(6.0).reshape(2, 3)
        stored = check(np.ndarray, given)
        given[0, 0] = 9
        assert stored[0, 0] == 0
        with pytest.raises(ValueError, match="read-only"):
            stored[0, 0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            stored.setflags(write=True)

    def test_what_was_read_is_taken_back_without_a_copy(self) -> None:
        stored = check(np.ndarray, np.arange(6.0))
        assert check(np.ndarray, stored) is stored

    def test_a_part_of_what_was_read_does_not_hold_the_whole(self) -> None:
        stored = check(np.ndarray, np.arange(1000.0))
        assert len(check(np.ndarray, stored[:2]).base) == 16

    def test_fortran_order_is_kept(self) -> None:
        stored = check(np.ndarray, np.asfortranarray(np.arange(6.0).reshape(2, 3)))
        assert stored.flags.f_contiguous
        assert stored.tolist() == [[0, 1, 2], [3, 4, 5]]

    def test_a_narrower_type_is_widened_and_a_wider_one_refused(self) -> None:
        assert check(npt.NDArray[np.float64], np.arange(3, dtype="f4")).dtype == np.float64
        assert refusal(npt.NDArray[np.float32], np.zeros(1)).endswith(": its dtype float64 doesn't fit into float32 without loss.")
        assert refusal(npt.NDArray[np.float64], np.zeros(1, bool)).endswith(": its dtype bool doesn't fit into float64 without loss.")

    @pytest.mark.parametrize("dtype", [object, [("a", "f8")]])
    def test_items_without_an_encoded_form_are_refused(self, dtype: Any) -> None:
        assert "has no encoded form: use numbers, texts, bytes or times" in refusal(np.ndarray, np.zeros(2, dtype))

    def test_a_list_and_a_masked_array_are_no_arrays(self) -> None:
        assert refusal(np.ndarray, [1.0]).startswith("Variable 'v': expected a numpy array, got [1.0] (list)")
        refusal(np.ndarray, np.ma.masked_array([1.0], [True]))


def test_variables_are_imported_without_what_they_may_never_need() -> None:
    code = "import sys, dspex.variables; print(*[m for m in ('numpy', 'pydantic', 'cattrs', 'anyio', 'asyncio', 'sqlite3') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": "src"})
    assert ran.stdout.split() == []


def test_nothing_is_imported_for_the_text_of_a_type() -> None:
    before = set(sys.modules)
    assert resolve("list[antigravity:Thing] | None").opaque
    assert set(sys.modules) == before
