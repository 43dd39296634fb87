"""The live tree: drawn in plain text, in colours and as a chart, and told as JSON."""

from __future__ import annotations

import io
import json
import math
import re
from types import SimpleNamespace

import pytest
from hypothesis import given, strategies as st
from rich.console import Console

from dspex.supervision._drawing import LONGEST_WORD, SHOWN, width
from dspex.supervision._facts import ChildInfo, ChildState
from dspex.supervision._tree import Branch, Tree, branch

BUDGET = {"restarts": 0, "allowed": 3, "seconds": 5.0}
WORKER = Branch("worker-1", "process", "ready", {"pid": 4242})
APP = Tree(
    Branch(
        "app",
        "supervisor",
        "running",
        {"strategy": "one_for_one", "restarts": 1, "allowed": 3, "seconds": 0.5},
        (
            Branch("llm", "bridge", "running", {}, (Branch("default", "pool", "", {"ready": 1, "workers": 2}, (WORKER,)),)),
            Branch("chat", "context", "running", {"backend": "bridged", **BUDGET}),
            Branch("ticker", "task", "parked", BUDGET, note="ValueError: boom"),
        ),
    )
)


def coloured(tree: Tree, *, columns: int = 100) -> str:
    console = Console(record=True, file=io.StringIO(), width=columns, force_terminal=True, color_system="standard")
    console.print(tree)
    return console.export_text(styles=True)


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


# --- plain text ------------------------------------------------------------------------------------------------------------------


def test_a_tree_is_one_line_a_branch():
    assert str(APP) == (
        "app  supervisor  running  one_for_one  restarts 1 of 3 in 0.5 s\n"
        "├── llm     bridge   running\n"
        "│   └── default  pool  1 of 2 workers\n"
        "│       └── worker-1  process  ready  pid 4242\n"
        "├── chat    context  running  bridged  restarts 0 of 3 in 5 s\n"
        "└── ticker  task     parked   restarts 0 of 3 in 5 s  ValueError: boom"
    )


def test_what_stands_below_the_last_child_has_no_line_beside_it():
    tree = Tree(Branch("a", children=(Branch("b", children=(Branch("c"), Branch("d"))),)))
    assert str(tree) == "a  task\n└── b  task\n    ├── c  task\n    └── d  task"


def test_columns_count_what_a_terminal_counts():
    tree = Tree(Branch("a", children=(Branch("日本"), Branch("abcd"), Branch("é"), Branch("e\u0301"))))
    lines = str(tree).splitlines()[1:]
    assert [width(line) for line in lines] == [14, 14, 14, 14]
    assert lines == ["├── 日本  task", "├── abcd  task", "├── é     task", "└── e\u0301     task"]


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({"pid": 4242, "backend": "local"}, "pid 4242  local"),
        ({"exclusive": True, "held": False, "key": None}, "exclusive"),
        ({"open_files": 3, "load": 0.25, "limit": math.inf}, "open files 3  load 0.25  limit inf"),
        ({"restarts": 2}, "restarts 2"),
        ({"restarts": 2, "allowed": 3}, "restarts 2 of 3"),
        ({"allowed": 3, "restarts": 2, "seconds": 5.0}, "allowed 3  restarts 2 of 3 in 5 s"),
        ({"restarted": 2}, "restarted 2×"),
        ({"ready": 0, "workers": 0}, "0 of 0 workers"),
        ({"ready": 1, "workers": None}, "ready 1"),
        ({"note": "two\nlines"}, "note two\\nlines"),
    ],
)
def test_facts_are_told_in_words(facts, shown):
    assert str(Tree(Branch("a", facts=facts))) == f"a  task  {shown}"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", "''"),
        ("two\nlines\r\n", "two\\nlines\\r\\n"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\u202eright to left", "\\u202eright to left"),
        ("no\u200bwidth", "no\\u200bwidth"),
        ("half \ud800", "half \\ud800"),
        ("[bold]markup[/]", "[bold]markup[/]"),
        ("n" * 48, "n" * 48),
        ("n" * 49, "n" * 47 + "…"),
    ],
)
def test_a_name_is_made_safe_to_show(name, shown):
    tree = Tree(Branch(name))
    assert str(tree) == f"{shown}  task"
    assert without_colours(coloured(tree)) == f"{shown}  task\n"
    assert tree.to_dict()["name"] == name


# --- many children ---------------------------------------------------------------------------------------------------------------


def crowd(count: int, **states: list[int]) -> Branch:
    odd = {number: state for state, numbers in states.items() for number in numbers}
    return Branch(
        "users", "dynamic supervisor", "running", children=[Branch(f"u{n}", "context", odd.get(n, "running")) for n in range(count)]
    )


def test_forty_children_are_all_drawn():
    assert len(str(Tree(crowd(SHOWN))).splitlines()) == 41
    assert "more" not in str(Tree(crowd(SHOWN)))


def test_of_more_children_the_rest_are_counted():
    lines = str(Tree(crowd(SHOWN + 1))).splitlines()
    assert lines[-2:] == ["├── u39  context  running", "└── … and 1 more: 1 running"]
    assert len(lines) == 42


def test_children_in_trouble_come_first_and_keep_their_order():
    lines = str(Tree(crowd(100_000, parked=[99_999, 700], restarting=[5], stopped=[50_000]))).splitlines()
    assert [line.split()[1] for line in lines[1:6]] == ["u700", "u99999", "u5", "u0", "u1"]
    assert lines[-1] == "└── … and 99,960 more: 99,959 running, 1 stopped"


def test_trouble_far_below_brings_a_child_to_the_front():
    deep = Branch(
        "group", "supervisor", "running", children=[Branch("mid", "supervisor", "running", children=[Branch("x", state="overdue")])]
    )
    tree = Tree(Branch("app", "supervisor", "running", children=[*crowd(50).children, deep]))
    assert str(tree).splitlines()[1:4] == [
        "├── group  supervisor  running",
        "│   └── mid  supervisor  running",
        "│       └── x  task  overdue",
    ]


def test_ipython_shows_the_tree_at_its_prompt():
    shown: list[str] = []
    printer = SimpleNamespace(text=shown.append)
    APP._repr_pretty_(printer, cycle=False)
    assert shown == [str(APP)]


def test_when_all_are_in_trouble_those_left_out_are_counted_by_state():
    tree = Tree(crowd(45, parked=list(range(45)), starting=[44]))
    assert str(tree).splitlines()[-1] == "└── … and 5 more: 4 parked, 1 starting"


def test_every_drawing_leaves_out_the_same_and_json_nothing():
    tree = Tree(crowd(60))
    assert "… and 20 more: 20 running" in without_colours(coloured(tree))
    assert "… and 20 more#58; 20 running" in tree.to_mermaid()
    assert len(json.loads(tree.to_json())["children"]) == 60


# --- rich ------------------------------------------------------------------------------------------------------------------------


def test_rich_draws_the_same_words():
    assert without_colours(coloured(APP)) == (
        "app  supervisor  running  one_for_one  restarts 1 of 3 in 0.5 s\n"
        "├── llm  bridge  running\n"
        "│   └── default  pool  1 of 2 workers\n"
        "│       └── worker-1  process  ready  pid 4242\n"
        "├── chat  context  running  bridged  restarts 0 of 3 in 5 s\n"
        "└── ticker  task  parked  restarts 0 of 3 in 5 s  ValueError: boom\n"
    )


@pytest.mark.parametrize(
    ("state", "code"), [("running", "32"), ("restarting", "33"), ("parked", "1;31"), ("overdue", "1;31"), ("stopped", "2"), ("new", "2")]
)
def test_a_state_has_its_colour(state, code):
    assert f"\x1b[{code}m{state}\x1b[0m" in coloured(Tree(Branch("a", state=state)))


def test_every_state_of_a_child_has_a_look():
    from dspex.supervision._drawing import LOOKS

    assert [state for state in ChildState if str(state) not in LOOKS] == []


def test_a_narrow_terminal_wraps_and_loses_no_word():
    drawn = without_colours(coloured(APP, columns=30))
    assert max(map(len, drawn.splitlines())) <= 30
    assert set(re.sub(r"[│├└─]", " ", drawn).split()) == set(re.sub(r"[│├└─]", " ", str(APP)).split())


# --- Mermaid ---------------------------------------------------------------------------------------------------------------------

LABEL = r'"(?P<label>(?:[^"#<>&`;:\\]|#\d+;|<br/>)+)"'
LINE = re.compile(rf"    (?:b(?P<parent>\d+) --> )?b(?P<box>\d+)\[{LABEL}\](?::::(?P<look>[a-z]+))?")
COLOUR = re.compile(r"    classDef (?P<look>[a-z]+) fill:#[0-9a-f]{3},stroke:#[0-9a-f]{3},color:#000")


def read_chart(text: str) -> list[tuple[str | None, str]]:
    """The boxes of a flowchart as (number of the parent, first line of the label), after checking that it is one."""
    first, *lines = text.splitlines()
    assert first == "flowchart TD"
    colours = {found["look"] for line in lines if (found := COLOUR.fullmatch(line))}
    boxes = []
    for line in lines:
        if COLOUR.fullmatch(line):
            continue

        found = LINE.fullmatch(line)
        assert found, line
        assert int(found["box"]) == len(boxes)
        assert (found["parent"] is None) == (not boxes)
        assert found["parent"] is None or int(found["parent"]) < len(boxes)
        assert found["look"] is None or found["look"] in colours
        boxes.append((found["parent"], re.sub(r"#(\d+);", lambda code: chr(int(code[1])), found["label"].split("<br/>")[0])))

    return boxes


def test_a_chart_has_a_box_for_each_branch_and_an_arrow_to_each_child():
    assert APP.to_mermaid() == (
        "flowchart TD\n"
        '    b0["app<br/>supervisor  running<br/>one_for_one  restarts 1 of 3 in 0.5 s"]:::well\n'
        '    b0 --> b1["llm<br/>bridge  running"]:::well\n'
        '    b1 --> b2["default<br/>pool<br/>1 of 2 workers"]\n'
        '    b2 --> b3["worker-1<br/>process  ready<br/>pid 4242"]:::well\n'
        '    b0 --> b4["chat<br/>context  running<br/>bridged  restarts 0 of 3 in 5 s"]:::well\n'
        '    b0 --> b5["ticker<br/>task  parked<br/>restarts 0 of 3 in 5 s<br/>ValueError#58; boom"]:::bad\n'
        "    classDef well fill:#dfd,stroke:#383,color:#000\n"
        "    classDef busy fill:#ffd,stroke:#a80,color:#000\n"
        "    classDef bad fill:#fdd,stroke:#c33,color:#000\n"
        "    classDef over fill:#eee,stroke:#999,color:#000\n"
    )
    assert [parent for parent, _ in read_chart(APP.to_mermaid())] == [None, "0", "1", "2", "0", "0"]


def test_what_means_something_in_a_chart_is_written_by_number():
    tree = Tree(Branch('end"]; b0 --> x<script>&`#35;` \\n :::bad'))
    assert read_chart(tree.to_mermaid()) == [(None, 'end"]; b0 --> x<script>&`#35;` \\n :::bad')]


# --- as data ---------------------------------------------------------------------------------------------------------------------


def test_json_has_the_same_facts():
    assert json.loads(APP.to_json()) == APP.to_dict()
    assert APP.to_dict()["children"][2] == {
        "name": "ticker",
        "kind": "task",
        "state": "parked",
        "facts": {"restarts": 0, "allowed": 3, "seconds": 5.0},
        "note": "ValueError: boom",
        "children": [],
        "others": {},
    }


def test_what_json_has_no_number_for_is_text():
    tree = Tree(Branch("a", facts={"limit": math.inf, "least": -math.inf, "load": math.nan}))
    assert tree.to_dict()["facts"] == {"limit": "inf", "least": "-inf", "load": "nan"}
    assert json.loads(tree.to_json(indent=None)) == tree.to_dict()


def test_a_repr_is_short():
    assert repr(APP) == "<Tree 'app' [3 running, 1 ready, 1 parked]>"
    assert repr(Tree(crowd(100_000, parked=[1]))) == "<Tree 'users' [100,000 running, 1 parked]>"
    assert repr(Tree(Branch("a"))) == "<Tree 'a' []>"


def test_a_branch_is_found_by_its_path():
    assert APP.find("app/llm/default/worker-1") is WORKER
    assert APP.find("app") is APP.root
    assert APP.find("llm") is None
    assert [path for path, _ in APP] == ["app", "app/llm", "app/llm/default", "app/llm/default/worker-1", "app/chat", "app/ticker"]


def test_a_branch_does_not_change_with_what_it_was_made_of():
    facts, children = {"pid": 1}, [WORKER]
    made = Branch("a", facts=facts, children=children)
    facts["pid"] = 2
    children.clear()
    assert made == Branch("a", facts={"pid": 1}, children=(WORKER,))


NAMES = st.text(st.characters(), max_size=2 * LONGEST_WORD)
FACTS = st.dictionaries(NAMES, st.none() | st.booleans() | st.integers() | st.floats() | NAMES, max_size=3)
BRANCHES = st.recursive(
    st.builds(Branch, NAMES, NAMES, NAMES, FACTS, note=NAMES, others=st.dictionaries(NAMES, st.integers(1, 9), max_size=2)),
    lambda below: st.builds(Branch, NAMES, NAMES, NAMES, FACTS, st.lists(below, max_size=4), NAMES),
    max_leaves=12,
)


@given(BRANCHES)
def test_no_name_however_odd_breaks_a_drawing(root):
    tree = Tree(root)
    count = sum(1 + bool(below.others) for _, below in tree)  # on those that are left out there is a line, too
    lines = str(tree).split("\n")
    assert len(lines) == count
    assert all(line.isprintable() and line.encode() for line in lines)
    assert repr(tree).isprintable()
    # What rich wraps it may cut in two where a wide letter has no room: wide enough, it wraps nothing.
    drawn = without_colours(coloured(tree, columns=10_000)).splitlines()
    assert len(drawn) == count
    assert len(read_chart(tree.to_mermaid())) == count


@given(BRANCHES)
def test_json_keeps_every_name_as_it_is(root):
    tree = Tree(root)
    text = tree.to_json()
    assert text.isascii()
    told = json.loads(text)
    assert told == tree.to_dict()
    assert told["name"] == root.name
    assert [child["name"] for child in told["children"]] == [child.name for child in root.children]


# --- a supervisor's child --------------------------------------------------------------------------------------------------------


class Chat:
    """A context-like value that knows how it is."""

    def __init__(self, state: str = "switching", **facts) -> None:
        self.own = Branch("ctx_1", "context", state, {"backend": "local", **facts})

    def __branch__(self) -> Branch:
        return self.own


class Unwell:
    def __branch__(self) -> Branch:
        raise RuntimeError("no picture\ntoday")


class Confused:
    def __branch__(self) -> str:
        return "a branch"


def info(state: ChildState = ChildState.RUNNING, **facts) -> ChildInfo:
    return ChildInfo("chat", state, **{"restarts": 1, "allowed": 3, "seconds": 5.0, "own_budget": True, **facts})


def line(info: ChildInfo, **last) -> str:
    return str(Tree(branch(info, **last)))


def test_a_child_that_shows_nothing_of_itself_is_a_task():
    assert line(info()) == "chat  task  running  restarts 1 of 3 in 5 s"
    assert line(info(value=object(), kind="supervisor")) == "chat  supervisor  running  restarts 1 of 3 in 5 s"


def test_a_child_draws_itself_under_the_id_it_has_here():
    assert line(info(value=Chat())) == "chat  context  switching  local  restarts 1 of 3 in 5 s"
    assert line(info(value=Chat(""))) == "chat  context  running  local  restarts 1 of 3 in 5 s"


@pytest.mark.parametrize("state", [state for state in ChildState if state is not ChildState.RUNNING])
def test_its_supervisor_knows_better_when_it_is_not_running(state):
    assert line(info(state, value=Chat("running"))) == f"chat  context  {state}  local  restarts 1 of 3 in 5 s"


def test_a_child_without_a_value_is_drawn_by_its_last_one():
    assert line(info(ChildState.PARKED), last=Chat("closed")) == "chat  context  parked  local  restarts 1 of 3 in 5 s"
    assert line(info(value=Chat("running")), last=Unwell()) == "chat  context  running  local  restarts 1 of 3 in 5 s"


def test_the_class_draws_and_not_what_an_instance_happens_to_hold():
    value = Chat
    assert line(info(value=value)) == "chat  task  running  restarts 1 of 3 in 5 s"


def test_a_supervisor_shows_the_budget_of_its_children_and_apart_from_it_how_often_it_was_restarted():
    group = Chat("running", restarts=2, allowed=9, seconds=60.0)
    assert line(info(value=group, lives=2)) == "chat  context  running  local  restarts 2 of 9 in 60 s  restarted 1×"
    assert line(info(value=group, lives=1)) == "chat  context  running  local  restarts 2 of 9 in 60 s"


def test_a_child_shows_a_budget_only_if_it_is_its_own_and_always_how_often_it_was_restarted():
    assert line(info(value=Chat("running"), own_budget=False)) == "chat  context  running  local"
    assert line(info(value=Chat("running"), own_budget=False, lives=3)) == "chat  context  running  local  restarted 2×"
    assert line(info(value=Chat("running"), lives=3)) == "chat  context  running  local  restarts 1 of 3 in 5 s  restarted 2×"


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("even this fails")


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError("boom"), "ValueError: boom"),
        (ValueError(), "ValueError"),
        (ValueError("\n first\n second"), "ValueError: first second"),
        (ExceptionGroup("both", [ValueError(), KeyError()]), "ExceptionGroup: both (2 sub-exceptions)"),
        (Mute(), "Mute"),
    ],
)
def test_the_last_error_is_told_in_one_line(error, shown):
    assert branch(info(ChildState.PARKED, error=error)).note == shown
    assert branch(info(error=error)).note == f"after {shown}"


def test_a_child_that_fails_to_draw_itself_spoils_no_tree():
    assert line(info(value=Unwell())) == "chat  task  running  restarts 1 of 3 in 5 s  __branch__ failed: RuntimeError: no picture today"
    assert line(info(value=Confused())) == "chat  task  running  restarts 1 of 3 in 5 s  __branch__ gave str, not Branch"
