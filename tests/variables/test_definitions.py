"""Definitions, declarations and cells: identity, words, masks, plain forms, and labels whose class isn't known here."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import math
import pickle
from typing import Any

import attrs
import pytest

from dspex import Change, DefinitionMismatch, InvalidDefinition, InvalidValue, Var, Variable
from dspex.variables import Cell, Definition, same
from dspex.wire import codec

HERE = __name__
TEMPERATURE = Var("temperature", float, 0.7, min=0.0, max=2.0, description="how bold", metadata={"unit": "1", "steps": [1]})
SECRET = Var("key", str, "hunter2", min_length=3, sensitive=True)


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@attrs.define
class Job:
    name: str
    colors: list[Color] = attrs.Factory(list)


@dataclasses.dataclass
class Scaled:
    size: int
    factor: dataclasses.InitVar[int]

    def __post_init__(self, factor: int) -> None:
        self.size *= factor


class Test_a_var:
    def test_is_frozen(self) -> None:
        with pytest.raises(AttributeError, match=r"Var\('temperature': float \(min 0.0, max 2.0\)\) is frozen: declare another Var"):
            TEMPERATURE.name = "t"
        with pytest.raises(AttributeError, match="frozen"):
            del TEMPERATURE.name

    def test_is_itself_only(self) -> None:
        assert TEMPERATURE == TEMPERATURE
        assert Var("a", float, 1.0) != Var("a", float, 1.0)
        assert len({TEMPERATURE, TEMPERATURE, Var("temperature", float, 0.7)}) == 2

    def test_keeps_its_initial_value_to_itself(self) -> None:
        given = [1]
        var = Var("v", list[int], given)
        given.append(2)
        var.initial.append(3)
        assert var.initial == [1]

    def test_tells_what_it_is(self) -> None:
        assert repr(TEMPERATURE) == "Var('temperature': float (min 0.0, max 2.0))"
        assert (TEMPERATURE.name, TEMPERATURE.type, TEMPERATURE.initial, TEMPERATURE.description) == ("temperature", float, 0.7, "how bold")

    def test_travels_with_a_program_that_is_pickled(self) -> None:
        again = pickle.loads(pickle.dumps(TEMPERATURE))
        assert again.definition.same_as(TEMPERATURE.definition)
        assert (again.initial, again.description, dict(again.definition.metadata)) == (0.7, "how bold", {"unit": "1", "steps": [1]})

    def test_does_not_show_a_sensitive_value(self) -> None:
        assert "hunter2" not in repr(SECRET)
        assert SECRET.initial == "hunter2"
        with pytest.raises(InvalidValue) as caught:
            Var("key", str, "x1", min_length=3, sensitive=True)
        assert str(caught.value) == "Variable 'key': expected a str (min_length 3), got ******** (str)."

    @pytest.mark.parametrize("name", ["", "a\nb", "a" * 513, 3, None])
    def test_has_a_printable_name(self, name: Any) -> None:
        with pytest.raises(InvalidDefinition, match="a name is a printable str of 1 to 512 characters"):
            Var(name, float, 1.0)

    @pytest.mark.parametrize("metadata", [3, {1: 2}, {"a": object()}])
    def test_has_plain_metadata(self, metadata: Any) -> None:
        with pytest.raises(InvalidDefinition, match="its metadata is no "):
            Var("v", float, 1.0, metadata=metadata)

    def test_has_a_description_in_words(self) -> None:
        with pytest.raises(InvalidDefinition, match="its description must be a str, not 3"):
            Var("v", float, 1.0, description=3)  # type: ignore[call-overload]


class Test_a_definition:
    @pytest.mark.parametrize("masked", [b"hunter2", {"hunter2": object()}, ["hunter2"], 2])
    def test_that_is_sensitive_masks_every_value_and_path(self, masked: Any) -> None:
        for definition in (
            SECRET.definition,
            Definition.make("v", dict[str, int], sensitive=True),
            Definition.make("v", int, sensitive=True),
        ):
            if isinstance(masked, int) and definition.name == "v":
                continue
            with pytest.raises(InvalidValue) as caught:
                definition.check(masked)
            told = f"{caught.value} {caught.value.facts} {caught.value.__context__}"
            assert "hunter2" not in told
            assert "********" in told

    def test_is_the_same_as_one_of_equal_type_and_constraints(self) -> None:
        same_one = Definition.make("x", float, constraints={"max": 2, "min": 0}, description="other words", sensitive=True)
        assert TEMPERATURE.definition.same_as(same_one)
        TEMPERATURE.definition.match(same_one)

    @pytest.mark.parametrize(
        ("declared", "constraints", "got"),
        [(int, {"min": 0, "max": 2}, "int (min 0, max 2)"), (float, {"min": 0}, "float (min 0.0)"), (float, {}, "float")],
    )
    def test_differs_from_one_of_another_type_or_other_constraints(self, declared: Any, constraints: dict[str, Any], got: str) -> None:
        with pytest.raises(DefinitionMismatch) as caught:
            TEMPERATURE.definition.match(Definition.make("temperature", declared, constraints=constraints))
        assert str(caught.value).startswith(f"Variable 'temperature' is defined as float (min 0.0, max 2.0), and was declared as {got}.")

    def test_differs_from_one_with_another_class_of_the_same_name(self) -> None:
        twin = enum.Enum("Color", {"RED": 1}, module=Color.__module__)
        with pytest.raises(
            DefinitionMismatch, match=r"declared as .*:Color, another class of that name \(was its definition run twice\?\)\."
        ):
            Definition.make("v", Color).match(Definition.make("v", twin))

    def test_survives_its_plain_form(self) -> None:
        packed = codec.decode(codec.encode(TEMPERATURE.definition.pack()))
        again = Definition.unpack(packed)
        assert again.same_as(TEMPERATURE.definition)
        assert again.pack() == TEMPERATURE.definition.pack()
        assert packed == {
            "name": "temperature",
            "type": "float",
            "constraints": {"min": 0.0, "max": 2.0},
            "description": "how bold",
            "metadata": {"unit": "1", "steps": [1]},
            "sensitive": False,
        }

    @pytest.mark.parametrize("data", [None, [], {}, {"name": "a"}, {"name": "a", "type": 3}, {"name": "a", "type": "int", "x": 1}, {"name": 3, "type": "int"},
                                      {"name": "a", "type": "int", "constraints": []}, {"name": "a", "type": "int", "constraints": {"min": "x"}},
                                      {"name": "a", "type": "nothing"}, {"name": "a", "type": "int", "metadata": 3}])  # fmt: skip
    def test_is_not_made_of_foreign_data(self, data: Any) -> None:
        with pytest.raises(InvalidDefinition):
            Definition.unpack(data)


class Test_only_known_classes_come_to_life:
    def restore(self, raw: Any, declared: Any = Job) -> Any:
        return Definition.make("v", declared).restore(raw)

    def test_by_their_label(self) -> None:
        raw = codec.Tagged("record", f"{HERE}:Job", {"name": "a", "colors": [codec.Tagged("enum", f"{HERE}:Color", "RED")]})
        assert same(self.restore(raw), Job("a", [Color.RED]))

    @pytest.mark.parametrize(
        ("raw", "sentence"),
        [
            (codec.Tagged("record", "os:system", {}), f"Variable 'v': expected an instance of {HERE}:Color, {HERE}:Job, got Tagged('record', 'os:system', {{}}) (os:system)."),
            (codec.Tagged("enum", f"{HERE}:Job", "a"), f"Variable 'v': expected an instance of {HERE}:Color, {HERE}:Job, got "),
            (codec.Tagged("record", f"{HERE}:Job", {"name": 3}), "Variable 'v' at .name: expected a str, got 3 (int)."),
            (codec.Tagged("record", f"{HERE}:Job", {"name": "a", "x": 1}), f"Variable 'v': expected the fields of {HERE}:Job (name, colors), got 'x' (str)."),
            (codec.Tagged("record", f"{HERE}:Job", {}), f"Variable 'v': expected fields that {HERE}:Job accepts, got {{}} (dict): TypeError: "),
            (codec.Tagged("record", f"{HERE}:Job", [1]), f"Variable 'v': expected the fields of {HERE}:Job by name, got [1] (list)."),
            (codec.Tagged("record", f"{HERE}:Job", {"name": "a", "colors": [codec.Tagged("enum", f"{HERE}:Color", "GREEN")]}),
             f"Variable 'v' at .colors[0]: expected a member of {HERE}:Color (RED, BLUE), got 'GREEN' (str)."),
        ],
    )  # fmt: skip
    def test_and_anything_else_is_refused(self, raw: Any, sentence: str) -> None:
        with pytest.raises(InvalidValue) as caught:
            self.restore(raw)
        assert str(caught.value).startswith(sentence)

    def test_and_none_in_plain_data(self) -> None:
        with pytest.raises(InvalidValue, match="declare the variable with its class"):
            self.restore([codec.Tagged("enum", f"{HERE}:Color", "RED")], Any)

    def test_and_one_whose_init_asks_for_more_than_fields_is_made_without_it(self) -> None:
        label = f"{HERE}:Scaled"
        assert same(self.restore(codec.Tagged("record", label, {"size": 6}), Scaled), Scaled(2, 3))
        with pytest.raises(InvalidValue, match="ValueError: no 'size'"):
            self.restore(codec.Tagged("record", label, {}), Scaled)

    def test_and_their_own_validators_see_what_came(self) -> None:
        checked = attrs.make_class("Checked", {"n": attrs.field(validator=attrs.validators.gt(0))})
        label = f"{checked.__module__}:Checked"
        with pytest.raises(InvalidValue, match="ValueError: 'n' must be > 0"):
            self.restore(codec.Tagged("record", label, {"n": -1}), checked)


class Test_a_label_without_its_class:
    def cell(self, value: Any = Color.RED, **constraints: Any) -> Cell:
        known = Definition.make("v", Color | None, constraints=constraints, description="d", metadata={"m": 1})
        packed, data = codec.decode(codec.encode(known.pack())), codec.decode(codec.encode(known.check(value)))
        return Cell(Definition.unpack(packed), "var_v_1", Definition.unpack(packed).restore(data), version=4)

    def test_keeps_its_value_and_refuses_to_show_it(self) -> None:
        cell = self.cell()
        assert cell.definition.opaque
        assert cell.exact is None
        assert cell.copy is not None
        with pytest.raises(DefinitionMismatch, match="attach its Var first"):
            cell.copy(cell.value)
        with pytest.raises(InvalidValue, match="whose class isn't known here"):
            cell.definition.check(Color.RED)
        assert cell.variable().value == codec.Tagged("enum", f"{HERE}:Color", "RED")

    def test_comes_to_life_when_its_declaration_attaches(self) -> None:
        cell = self.cell(choices=[Color.RED])
        cell.attach(Definition.make("v", Color | None, constraints={"choices": [Color.RED]}))
        assert (cell.value, cell.version, cell.copy) == (Color.RED, 4, None)
        assert (cell.definition.description, dict(cell.definition.metadata)) == ("d", {"m": 1})
        cell.definition.check(Color.RED)

    def test_is_left_as_it_was_by_another_declaration(self) -> None:
        cell = self.cell()
        for declared, constraints in ((Color, {}), (Color | None, {"choices": [Color.RED]}), (Job | None, {})):
            with pytest.raises(DefinitionMismatch):
                cell.attach(Definition.make("v", declared, constraints=constraints))
        cell.value = codec.Tagged("enum", f"{HERE}:Color", "GREEN")
        with pytest.raises(InvalidValue, match="RED, BLUE"):
            cell.attach(Definition.make("v", Color | None))
        assert cell.definition.opaque


class Test_a_cell:
    def test_tells_all_that_is_known(self) -> None:
        cell = Cell(
            TEMPERATURE.definition,
            "var_temperature_1",
            0.5,
            version=2,
            metadata={"unit": "K"},
            created_ns=1_000_000_000,
            updated_ns=1_500_000_999,
        )
        assert cell.variable() == Variable(
            id="var_temperature_1",
            name="temperature",
            type="float",
            value=0.5,
            version=2,
            constraints={"min": 0.0, "max": 2.0},
            description="how bold",
            metadata={"unit": "K", "steps": [1]},
            created_at=dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC),
            updated_at=dt.datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=dt.UTC),
        )

    def test_is_rebuilt_from_what_it_told(self) -> None:
        cell = Cell(Definition.make("job", Job), "var_job_1", Job("a"), version=3, metadata={"a": 1})
        again = Cell.from_variable(cell.variable())
        assert again.variable() == attrs.evolve(cell.variable())
        assert again.value is not cell.value
        assert (again.metadata, again.version, again.id) == ({"a": 1}, 3, "var_job_1")

    def test_lends_nothing_of_its_metadata(self) -> None:
        cell = Cell(TEMPERATURE.definition, "i", 0.5)
        cell.variable().metadata["steps"].append(2)
        assert cell.variable().metadata["steps"] == [1]

    def test_of_a_foreign_variable_is_checked(self) -> None:
        with pytest.raises(InvalidValue, match="expected a float, got 'x'"):
            Cell.from_variable(Variable(id="i", name="v", type="float", value="x"))
        with pytest.raises(InvalidDefinition):
            Cell.from_variable(Variable(id="i", name="v", type="whatever", value="x"))

    @pytest.mark.parametrize(
        ("var", "exact", "low", "high"),
        [
            (TEMPERATURE, float, 0.0, 2.0),
            (Var("v", float, 0.0), float, None, None),
            (Var("v", float, 0.0, max=1), float, -math.inf, 1.0),
            (Var("v", int, 0, min=-3), int, -3, math.inf),
            (Var("v", str, "a"), str, None, None),
            (Var("v", bytes, b"a"), bytes, None, None),
            (Var("v", Color, Color.RED), Color, None, None),
            (Var("v", str, "a", max_length=3), None, None, None),
            (Var("v", int, 1, min=0, choices=[1]), None, None, None),
            (Var("v", list[int], []), None, None, None),
            (Var("v", Any, None), None, None, None),
            (Var("v", dt.date, dt.date(2026, 1, 1), min=dt.date(2026, 1, 1)), None, None, None),
        ],
    )
    def test_knows_what_may_be_stored_as_it_is(self, var: Var[Any], exact: type | None, low: Any, high: Any) -> None:
        cell = Cell(var.definition, "i", var.initial)
        assert (cell.exact, cell.low, cell.high) == (exact, low, high)


def test_records_tell_what_happened_and_mask_what_is_sensitive() -> None:
    cell = Cell(SECRET.definition, "var_key_1", "hunter2", version=2)
    assert repr(cell.variable()) == "<Variable 'key': str = ******** [var_key_1 | version 2]>"
    assert cell.variable().value == "hunter2"
    assert "hunter2" not in repr(cell)
    assert repr(Change(kind="set", name="t", value=0.5, version=3, skipped=2)) == "<Change set 't' = 0.5 [version 3 | 2 skipped]>"
    assert repr(Change(kind="set", name="t", value=0.5, version=3, sensitive=True)) == "<Change set 't' = ******** [version 3]>"
