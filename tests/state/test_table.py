"""The table under both backends: ids, names, the memo, large states, batches."""

from __future__ import annotations

import pytest

from dspex import BatchError, DefinitionMismatch, InvalidSnapshot, InvalidValue, Var, VariableExists, VariableNotFound
from dspex.state import LocalState
from dspex.state._index import MEMO
from dspex.state._shards import SPLIT, Shards
from dspex.variables import Definition

TEMPERATURE = Var("temperature", float, 0.7, min=0.0, max=2.0)


@pytest.fixture
def local():
    backend = LocalState()
    backend.open("s")
    return backend


def defined(backend, *names, type="int", value=1):
    return [backend.define(Definition.make(name, type), value) for name in names]


def test_ids_carry_the_name_and_a_number_that_only_rises(local):
    assert defined(local, "a", "b") == ["var_a_1", "var_b_2"]
    local.delete("b")
    assert defined(local, "b") == ["var_b_3"]


def test_an_id_never_takes_a_name_that_is_there(local):
    defined(local, "var_x_2")
    assert defined(local, "x") == ["var_x_3"]


def test_a_name_that_is_a_live_id_is_refused_and_free_again_after_it(local):
    defined(local, "x")
    with pytest.raises(VariableExists, match="it is the id of a live variable"):
        defined(local, "var_x_1")

    local.delete("x")
    assert defined(local, "var_x_1") == ["var_var_x_1_2"]


@pytest.mark.parametrize("key", ["nobody", "", 7, None, ["x"], {}, 1.5], ids=repr)
def test_whatever_is_no_key_is_not_found(local, key):
    for operation in (local.read, local.info, local.delete):
        with pytest.raises(VariableNotFound):
            operation(key)

    assert not local.exists(key) if key.__hash__ else True


def test_an_error_about_an_unknown_name_tells_some_that_are_known(local):
    defined(local, "alpha", "beta")
    with pytest.raises(VariableNotFound, match=r"No variable 'gamma'\. Known: alpha, beta\."):
        local.get("gamma")


def test_a_var_of_another_type_is_refused_each_time(local):
    local.define(TEMPERATURE.definition, 0.7)
    for _ in range(2):
        with pytest.raises(DefinitionMismatch):
            local.get(Var("temperature", int, 1))

    assert local.get(TEMPERATURE) == 0.7


def test_a_deleted_variable_leaves_no_way_to_its_cell(local):
    local.define(TEMPERATURE.definition, 0.7)
    for key in ("temperature", "var_temperature_1", TEMPERATURE):
        local.get(key)

    local.delete(TEMPERATURE)
    assert local.cells == {}
    with pytest.raises(VariableNotFound):
        local.get(TEMPERATURE)


def test_the_memo_is_bounded_and_stays_the_same_dict(local):
    cells = local.cells
    names = [f"v{number}" for number in range(MEMO + 10)]
    defined(local, *names)
    for name in names:
        local.get(name)

    assert local.cells is cells
    assert len(cells) <= MEMO
    assert local.get(names[0]) == 1


def test_shards_split_once_they_are_many_and_lose_nothing():
    shards = Shards()
    for number in range(3 * SPLIT):
        shards.put(str(number), number)

    assert shards.only is None
    assert len(shards) == 3 * SPLIT
    assert all(shards.get(str(number)) == number for number in range(3 * SPLIT))
    assert shards.pop("5") == 5
    assert "5" not in shards
    assert shards.get("5") is None


def test_order_is_that_of_definition_whatever_was_deleted_between(local):
    defined(local, *(f"v{number}" for number in range(600)))
    for number in range(0, 600, 2):
        local.delete(f"v{number}")

    defined(local, "last")
    assert [one.name for page in local.scan() for one in page] == [*(f"v{number}" for number in range(1, 600, 2)), "last"]
    assert local.ids()[-1] == "var_last_601"


def test_a_scan_goes_on_when_variables_come_and_go(local):
    defined(local, *(f"v{number}" for number in range(700)))
    seen = []
    for page in local.scan():
        seen += [one.name for one in page]
        if local.exists("v699"):
            local.delete("v699")
            local.delete("v300")
            defined(local, "late")

    assert "v300" not in seen
    assert len(set(seen)) == len(seen)
    assert {f"v{number}" for number in range(699)} - set(seen) == {"v300"}


def test_two_keys_of_one_variable_in_a_batch_are_one_write_and_the_last_counts(local):
    local.define(TEMPERATURE.definition, 0.7)
    assert local.set_many({"temperature": 0.1, TEMPERATURE: 0.2}) == {"temperature": 1}
    assert local.read(TEMPERATURE) == (0.2, 1)


def test_a_best_effort_batch_with_keys_of_any_kind_tells_each(local):
    local.define(TEMPERATURE.definition, 0.7)
    with pytest.raises(BatchError) as caught:
        local.set_many({TEMPERATURE: 9.0, "nobody": 1, 7: 2}, atomic=False)

    assert set(caught.value.errors) == {"temperature", "nobody", "7"}
    assert caught.value.applied is False


@pytest.mark.parametrize(
    ("operation", "args"), [("set_many", ([1],)), ("merge", ("table", [1])), ("set", ("table", {}, [1])), ("set", ("table", {}, {1: 2}))]
)
def test_arguments_of_the_wrong_shape_are_refused(local, operation, args):
    local.define(Definition.make("table", "dict[str, int]"), {"a": 1})
    with pytest.raises(InvalidValue):
        getattr(local, operation)(*args)

    assert local.read("table") == ({"a": 1}, 0)


@pytest.mark.parametrize(
    ("type", "value", "operation", "operand"),
    [
        ("str", "a", "add", "b"),
        ("bool", True, "add", 1),
        ("int", 1, "add", True),
        ("int", 1, "add", 0.5),
        ("int", 1, "add", None),
        ("list[int]", [1], "add", [2]),
        ("float | None", None, "add", 1.0),
        ("int", 1, "append", 1),
        ("list[int]", [1], "append", "x"),
        ("list[int]", [1], "merge", {}),
        ("dict[str, int]", {"a": 1}, "merge", {"b": "x"}),
        ("Decimal", "1.5", "add", 1.5),
    ],
)
def test_operands_that_do_not_go_together_are_refused(local, type, value, operation, operand):
    import decimal

    local.define(Definition.make("v", type), decimal.Decimal(value) if type == "Decimal" else value)
    before = local.read("v")
    with pytest.raises(InvalidValue):
        getattr(local, operation)("v", operand)

    assert local.read("v") == before


def test_a_refused_sensitive_value_is_not_told(local):
    local.define(Definition.make("secret", "list[int]", sensitive=True), [1234])
    for refused in (lambda: local.append("secret", "hunter2"), lambda: local.add("secret", 5678), lambda: local.set("secret", "hunter2")):
        with pytest.raises(InvalidValue) as caught:
            refused()

        assert "hunter2" not in str(caught.value)
        assert "1234" not in str(caught.value)


def test_existing_variables_that_clash_are_refused(local):
    defined(local, "a", "b")
    told = [one for page in local.scan() for one in page]
    with pytest.raises(InvalidSnapshot, match="'a' is the name or the id of two variables"):
        LocalState().open("t", existing=[*told, told[0]])


def test_opening_in_slices_tells_how_far_it_is(local):
    defined(local, *(f"v{number}" for number in range(2000)))
    told = [one for page in local.scan() for one in page]
    other = LocalState()
    steps = list(other.open_in_slices("t", existing=told))
    assert steps == sorted(steps)
    assert steps[-1] == 2000
    assert [one for page in other.scan() for one in page] == told


def test_a_plan_that_is_given_up_changes_nothing_but_the_counter(local):
    local.table.plan_define(Definition.make("a", "int"), 1)
    assert not local.exists("a")
    assert defined(local, "a") == ["var_a_2"]
