"""Snapshots as text: readable, exact, and refused with a path when they are anything else."""

from __future__ import annotations

import datetime as dt
import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from dspex import InvalidSnapshot, InvalidValue, Snapshot, Var, VariableNotFound
from dspex.variables import Cell, Definition

HERE = __name__


@dataclass
class Tool:
    name: str
    run: Callable[[], Any]


@dataclass
class Point:
    x: float


def cell(var: Var[Any], value: Any, number: int = 1) -> Cell:
    return Cell(var.definition, f"var_{var.name}_{number}", var.definition.check(value), created_ns=0, updated_ns=1_000_000_000)


def snapshot() -> Snapshot:
    cells = [
        cell(Var("temperature", float, 0.7, min=0.0, max=2.0, description="how bold"), 0.5),
        cell(Var("key", str, "abc", sensitive=True), "hunter2"),
        cell(Var("data", Any, None), {"a": [1, (2, math.nan)], "b": b"\x00"}),
        cell(Var("point", Point, Point(0.0)), Point(1.5)),
    ]
    taken = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
    return Snapshot(session_id="ctx_1_abc", variables=[each.variable() for each in cells], created_at=taken, metadata={"name": "demo"})


def test_the_text_is_made_to_be_read() -> None:
    tree = json.loads(snapshot().to_json())
    assert {key: tree[key] for key in tree if key != "variables"} == {
        "format": "dspex.snapshot",
        "version": 1,
        "session_id": "ctx_1_abc",
        "created_at": "2026-05-01T12:00:00+00:00",
        "metadata": {"name": "demo"},
    }
    assert tree["variables"][0] == {
        "id": "var_temperature_1",
        "name": "temperature",
        "type": "float",
        "value": 0.5,
        "version": 0,
        "constraints": {"min": 0.0, "max": 2.0},
        "description": "how bold",
        "metadata": {},
        "sensitive": False,
        "created_at": "1970-01-01T00:00:00+00:00",
        "updated_at": "1970-01-01T00:00:01+00:00",
    }
    assert tree["variables"][2]["value"] == {"a": [1, {"$tuple": [2, {"$float": "nan"}]}], "b": {"$bytes": "AA=="}}
    assert tree["variables"][3]["value"] == {"$record": [f"{HERE}:Point", {"x": 1.5}]}


def test_it_is_a_collection_of_variables_by_name() -> None:
    taken = snapshot()
    assert len(taken) == 4
    assert [variable.name for variable in taken] == ["temperature", "key", "data", "point"]
    assert taken["key"].value == "hunter2"
    assert repr(taken) == "<Snapshot of 'ctx_1_abc' [variables: 4 | 2026-05-01 12:00:00Z]>"
    with pytest.raises(VariableNotFound, match="Known: data, key, point, temperature"):
        taken["nothing"]


def test_a_class_waits_for_its_declaration() -> None:
    read = Cell.from_variable(Snapshot.from_json(snapshot().to_json())["point"])
    assert read.definition.opaque
    read.attach(Definition.make("point", Point))
    assert read.value == Point(1.5)


def test_text_without_the_class_keeps_everything() -> None:
    text = snapshot().to_json()
    assert Snapshot.from_json(text).to_json() == text
    assert Snapshot.from_json(text.encode()).to_json(indent=None) == json.dumps(json.loads(text), ensure_ascii=False)


def test_a_value_that_no_text_can_hold_is_named() -> None:
    held = cell(Var("tool", Tool, Tool("a", len)), Tool("a", len)).variable()
    with pytest.raises(InvalidValue, match=r"Variable 'tool': expected a value that has a form outside this process, got .*run"):
        Snapshot(session_id="s", variables=[held]).to_json()


def damaged(change: Callable[[Any], Any]) -> str:
    tree = json.loads(snapshot().to_json())
    change(tree)
    return json.dumps(tree)


def change(path: str, value: Any) -> Callable[[Any], Any]:
    def apply(tree: Any) -> None:
        *way, last = path.split("/")
        for step in way:
            tree = tree[int(step)] if isinstance(tree, list) else tree[step]
        tree[last] = value

    return apply


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", ": it is no JSON (Expecting value: line 1 column 1 (char 0))."),
        (None, ": it is no JSON (the JSON object must be str, bytes or bytearray, not NoneType)."),
        (b"\xff\xfe", ": it is no JSON ("),
        ("[" * 100_000, ": it is nested too deep."),
        ("[]", " at $: its 'format' must be 'dspex.snapshot': this was not written by Snapshot.to_json()."),
        ('{"format": "something.else"}', " at $: its 'format' must be 'dspex.snapshot'"),
        ('{"format": "dspex.snapshot", "version": 2}', " at $.version: version 2 is newer than 1, the newest this dspex reads; read it with a newer dspex."),
        ('{"format": "dspex.snapshot", "version": true}', " at $.version: an int from 1 up was expected, not True."),
        ('{"format": "dspex.snapshot", "version": 1, "x": NaN}', ": it is no JSON (NaN is not JSON)."),
        ('{"format": "dspex.snapshot", "version": 1}', " at $.session_id: 'session_id' is missing."),
        (damaged(lambda tree: tree["variables"][2].pop("name")), " at $.variables[2].name: 'name' is missing."),
        (damaged(change("variables/0/version", "1")), " at $.variables[0].version: an int from 0 up was expected, not '1'."),
        (damaged(change("variables/0/version", -1)), " at $.variables[0].version: an int from 0 up was expected, not -1."),
        (damaged(change("variables/0/value", "hot")), " at $.variables[0]: Variable 'temperature': expected a float, got 'hot' (str)."),
        (damaged(change("variables/0/value", 3.0)), " at $.variables[0]: Variable 'temperature': expected a float (min 0.0, max 2.0), got 3.0 (float)."),
        (damaged(change("variables/0/type", "os.system")), " at $.variables[0]: Variable 'temperature': 'os.system' is no type a variable can have."),
        (damaged(change("variables/0/constraints", {"mni": 1})), " at $.variables[0]: Variable 'temperature': there is no constraint 'mni'"),
        (damaged(change("variables/0/metadata", [])), " at $.variables[0].metadata: a JSON object was expected, not []."),
        (damaged(change("variables/0/created_at", "noon")), " at $.variables[0].created_at: a time such as 2026-05-01T12:00:00+00:00 was expected, not 'noon'."),
        (damaged(change("variables/0/updated_at", "2026-05-01T12:00:00")), " at $.variables[0].updated_at: a time such as"),
        (damaged(change("variables/0/more", 1)), " at $.variables[0]: unknown: 'more'."),
        (damaged(change("variables/1/name", "temperature")), " at $.variables[1].name: 'temperature' is the name or the id of a variable before it."),
        (damaged(change("variables/1/id", "var_temperature_1")), " at $.variables[1].id: 'var_temperature_1' is the name or the id of a variable before it."),
        (damaged(change("variables/2/value", [1, {"$nothing": 1}])), " at $.variables[2].value[1]: '$nothing' is no form of a value; there are $float, "),
        (damaged(change("variables/2/value", {"a": {"$canonical": "?"}})), " at $.variables[2].value.a.$canonical: base64 was expected ("),
        (damaged(change("variables/2/value", {"$canonical": "gQ=="})), " at $.variables[2].value.$canonical: 'gQ==' is no canonical ("),
        (damaged(change("variables/2/value", {"$decimal": "one"})), " at $.variables[2].value.$decimal: 'one' is no decimal ("),
        (damaged(change("variables/2/value", {"$dict": [[[1], 2]]})), " at $.variables[2].value.$dict: [[[1], 2]] is no dict (unhashable type: 'list')."),
        (damaged(change("variables/2/value", {"$enum": ["a:B"]})), " at $.variables[2].value.$enum: the label of a class, and its data, were expected."),
        (damaged(change("variables/1/value", {"$bytes": ["hunter2"]})), " at $.variables[1].value: it stands for no value."),
        (damaged(change("variables", {})), " at $.variables: a list was expected, not {}."),
        (damaged(lambda tree: tree["variables"].append(3)), " at $.variables[4]: a JSON object was expected, not 3."),
    ],
)  # fmt: skip
def test_what_is_no_snapshot_is_refused_with_what_and_where(text: Any, problem: str) -> None:
    with pytest.raises(InvalidSnapshot) as caught:
        Snapshot.from_json(text)
    assert str(caught.value).startswith(f"Not a usable snapshot{problem}")


def test_cattrs_is_loaded_with_the_first_text_only() -> None:
    code = "import sys; from dspex.variables import Snapshot; s = Snapshot(session_id='s'); print('cattrs' in sys.modules); s.to_json(); print('cattrs' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": "src"})
    assert ran.stdout.split() == ["False", "True"]


@pytest.mark.parametrize("key", ["session_id", "variables", "created_at", "metadata"])
def test_a_text_without_one_of_its_keys_is_refused(key: str) -> None:
    tree = json.loads(snapshot().to_json())
    del tree[key]
    with pytest.raises(InvalidSnapshot) as caught:
        Snapshot.from_json(json.dumps(tree))

    assert str(caught.value) == f"Not a usable snapshot at $.{key}: {key!r} is missing."


VARIABLE_KEYS = [
    "id",
    "name",
    "type",
    "value",
    "version",
    "constraints",
    "description",
    "metadata",
    "sensitive",
    "created_at",
    "updated_at",
]


@pytest.mark.parametrize("key", VARIABLE_KEYS)
def test_a_variable_without_one_of_its_keys_is_refused(key: str) -> None:
    tree = json.loads(snapshot().to_json())
    assert [*tree["variables"][1]] == VARIABLE_KEYS
    del tree["variables"][1][key]
    with pytest.raises(InvalidSnapshot) as caught:
        Snapshot.from_json(json.dumps(tree))

    assert str(caught.value) == f"Not a usable snapshot at $.variables[1].{key}: {key!r} is missing."
