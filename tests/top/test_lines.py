"""What is drawn, as lines of plain text with looks."""

from __future__ import annotations

import pytest
from top.snapshots import (
    AT,
    SERVICE,
    event,
    node,
    of_context,
    of_pool,
    of_supervisor,
    of_worker,
    root,
    snapshot,
    worker,
)

from dspex._top._browsing import Row, View, rows
from dspex._top._counting import Rates
from dspex._top._detail_lines import bars_over_time, detail_lines
from dspex._top._event_lines import event_line
from dspex._top._header_lines import Connection, header_lines
from dspex._top._lines import LOOKS, width_of
from dspex._top._looked_at import LookedAt
from dspex._top._model import Model
from dspex._top._snapshot import Event, Node, Service, Snapshot
from dspex._top._tree_lines import tree_line, widest

HOSTILE = "\x1b[31m[bold]\u202eevil[/bold]\r\n\x07"


def plain(line) -> str:
    return "".join(text for text, _ in line)


def model_of(*snapshots) -> Model:
    model = Model()
    model.service = Service.of(SERVICE)
    for each in snapshots:
        model.take(Snapshot.of(each))

    return model


def head(model: Model, columns: int = 100, **connection) -> tuple[str, str]:
    first, second = header_lines(model, Connection("/run/shop.sock", 0.5, **connection), columns)
    return plain(first), plain(second)


def looked_at(detail, model: Model | None = None, **others) -> LookedAt:
    model = model or model_of(snapshot(selected=detail))
    found = next(node for node in model.shown.tree.walk() if node.id == detail["path"])
    return LookedAt(found, detail, AT, model.remembered.of(found.id), **others)


def drawn(looked: LookedAt, columns: int = 60) -> str:
    return "\n".join(plain(line).rstrip() for line in detail_lines(looked, columns))


# --- the head ----------------------------------------------------------------------------------------------------------------------


def test_the_head_says_who_it_is_and_sums_up():
    model = model_of(snapshot(), snapshot(after=0.5, totals={"operations": 2000, "waiting": 3}))
    first, second = head(model, 120)
    assert first.startswith("shop.py   pid 4242   up 1 h 2 min   dspex 0.4.0, Python 3.11.7 ")
    assert first.endswith("● live")
    assert second.startswith("contexts 2   operations 2k/s   workers 1 of 2   restarts 4   running 1   waiting 3   switches 1")


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 100, 200])
def test_the_head_fits_whatever_there_is_room_for(columns):
    model = model_of(snapshot(), snapshot(after=0.5))
    for line in header_lines(model, Connection("/run/shop.sock", 0.5), columns):
        assert width_of(line) <= columns
        assert plain(line).strip()


def test_a_lost_connection_is_said_with_when_it_is_tried_again():
    assert head(model_of(snapshot()), lost="nobody listens", again_in=3.2)[0].endswith("✖ not connected, again in 3 s")
    assert head(model_of(snapshot()), lost="nobody listens", again_in=0.1)[0].endswith("✖ not connected, trying again")


def test_a_service_that_is_silent_is_said_to_be():
    assert head(model_of(snapshot()), silent=3.9)[0].endswith("● live")
    assert head(model_of(snapshot()), silent=7)[0].endswith("◐ no answer for 7 s")


def test_a_pause_is_said_with_how_far_behind():
    model = model_of(snapshot())
    model.pause()
    model.take(Snapshot.of(snapshot(after=12)))
    assert head(model)[0].endswith("❚❚ paused, 12 s behind")


def test_before_anything_has_come():
    first, second = head(Model())
    assert first.startswith("/run/shop.sock")
    assert first.endswith("○ connecting")
    assert second == ""


# --- the tree ----------------------------------------------------------------------------------------------------------------------


def tree_lines(tree, columns: int, **view) -> list[str]:
    rates = Rates()
    found = rows(Node.of(tree), View(**view), rates)
    return [plain(tree_line(row, View(**view), rates, columns, widest(found))).rstrip() for row in found]


TREE = root(node("app", "supervisor", "running", worker("app/w", 7, 3), node("app/x", "task", "parked", note="ValueError: no")))


def test_columns_are_dropped_where_there_is_no_room():
    assert tree_lines(TREE, 24) == ["▾ ● shop.py", "  ▾ ● app", "      ● w", "      ✖ x"]
    assert tree_lines(TREE, 30) == [
        "▾ ● shop.py         running",
        "  ▾ ● app           running",
        "      ● w           ready",
        "      ✖ x           parked",
    ]
    assert tree_lines(TREE, 60)[2] == "      ● w   ready                process  pid 7  running 1"
    assert tree_lines(TREE, 60)[3] == "      ✖ x   parked               task  ValueError: no"


@pytest.mark.parametrize("columns", range(4, 90, 3))
def test_no_line_is_too_long(columns):
    deep = node("d", "supervisor", "running", name="x" * 60)
    for depth in range(12):
        deep = node(f"d{depth}", "supervisor", "restarting", deep, name=f"日本語 {depth}", more="… and 3 more", note="long " * 30)

    assert all(width_of(((line, ""),)) <= columns for line in tree_lines(root(deep), columns))


def test_a_state_shows_without_colours_too():
    states = ("running", "starting", "parked", "stopped", "odd", "")
    tree = root(*(node(f"n{number}", "task", state) for number, state in enumerate(states)))
    assert [line.split()[0] for line in tree_lines(tree, 40)[1:]] == ["●", "◐", "✖", "○", "·", "·"]


def test_what_is_wrong_is_red_only_while_it_is():
    view, rates = View(), Rates()
    for state, look in (("restarting", "error"), ("running", "dim")):
        found = Node.of(node("n", "task", state, note="after ValueError: no"))
        line = tree_line(Row(found, 1, False), view, rates, 80, 20)
        assert ("  after ValueError: no", look) in line


def test_the_word_that_is_searched_for_stands_out():
    line = tree_line(Row(Node.of(node("lobby")), 0, False), View(word="OBB"), Rates(), 40, 40)
    assert [piece for piece in line if piece[1] in ("name", "found")] == [("l", "name"), ("obb", "found"), ("y", "name")]


@pytest.mark.parametrize("columns", [30, 60, 100])
def test_hostile_names_are_harmless(columns):
    tree = root(node("x", HOSTILE, HOSTILE, name=HOSTILE, note=HOSTILE, more=HOSTILE, **{HOSTILE: HOSTILE}))
    assert all(line.isprintable() for line in tree_lines(tree, columns))


# --- the selected ------------------------------------------------------------------------------------------------------------------


def test_a_context():
    model = model_of(snapshot(selected=of_context(visits=37)), snapshot(selected=of_context(), after=0.5))
    shown = drawn(looked_at(of_context(), model, changed={"visits": 3}), 70)
    assert shown.splitlines()[:2] == ["● running  context  BridgedState", "id ctx_1_a4f2  lives 3"]
    assert "operations     1.24k/s" in shown
    assert "p99              48 µs" in shown
    assert "timed 120  slowest 2.1 ms  waited at most 310 µs  room 1,024" in shown
    assert "visits    v40  +3  int  40" in shown
    assert "key        v2      str  •••" in shown
    assert "greet  in a worker  12 calls" in shown
    assert "21:11:21  BridgedState  3 variables, 1.84 kB, 4.1 ms" in shown


def test_a_context_with_more_than_is_shown():
    assert "… and 1,900 more" in drawn(looked_at(of_context(more_variables=1900)))
    assert "isn't asked" in drawn(looked_at(of_context(more_variables=None, variables=[])), 80)


def test_a_context_that_crashed_says_of_what():
    assert "ValueError: the table is gone" in drawn(looked_at(of_context(error="ValueError: the table is gone")))


def test_a_context_whose_owner_is_in_an_operation():
    assert "BridgedState  in 'get'" in drawn(looked_at(of_context(doing="get")))
    assert "in '" not in drawn(looked_at(of_context(doing=None)))


def test_changed_variables_stand_out():
    lines = detail_lines(looked_at(of_context(), changed={"visits": 3}), 60)
    assert next(look for line in lines for text, look in line if text.startswith("visits")) == "changed"
    assert next(look for line in lines for text, look in line if text.startswith("greeting")) == "name"


def test_a_supervisor_has_a_timeline():
    restarts = [(AT - 200, "shop/ingest/fetch", "restarting: ConnectionError"), (AT - 10, "shop/ingest/fetch", "parked: ConnectionError")]
    shown = drawn(looked_at(of_supervisor("shop", *restarts)))
    assert "● running  supervisor  one for one" in shown
    assert "restarts 1 of 3 in 5 s" in shown
    assert "3  running\n1  restarting\n1  parked" in shown
    assert "restarts 2 in the last 5 min" in shown
    assert shown.index("22:13:10  10 s ago        ingest/fetch  parked") < shown.index("22:10:00  3 min 20 s ago  ingest/fetch  re")


def test_the_timeline_has_a_bar_where_something_was():
    assert bars_over_time([95, 96, 55], 100, 10, 100) == "     ▄   ▇"
    assert bars_over_time([], 100, 4, 100) == "    "
    assert bars_over_time([-5], 100, 4, 100) == "    "
    assert bars_over_time([101], 100, 4, 100) == "   ▇"  # told after the snapshot was begun


def test_a_pool_has_last_words():
    shown = drawn(looked_at(of_pool()))
    assert "pool  1 of 2 workers ready" in shown
    assert "calls 12  deaths 1" in shown
    assert "worker 4300 died of SIGKILL\nloading the model\nout of memory" in shown


def test_a_worker():
    shown = drawn(looked_at(of_worker(note="WorkerDied: SIGKILL")))
    assert "pid 4301  pool default  bridge bridge" in shown
    assert "memory         41.2 MB" in shown
    assert "WorkerDied: SIGKILL" in shown


def test_the_root_says_where_to_look():
    model = model_of(snapshot(), snapshot(after=1))
    shown = drawn(LookedAt(model.shown.tree, {"path": "/"}, AT, model.whole, totals=model.shown.totals, rates=model.rates))
    assert "contexts 2  operations 1,000" in shown
    assert "in trouble 3" in shown
    assert "index     parked      ValueError: no such page" in shown


def test_what_no_more_is_known_of_shows_what_the_tree_has():
    model = model_of(snapshot())
    found = next(node for node in model.shown.tree.walk() if node.name == "fetch")
    shown = drawn(LookedAt(found, None, AT, events=[Event(AT, found.id, "ChildChanged", "error", "fetch is gone")]))
    assert shown.splitlines()[:2] == ["◐ restarting  task", "ConnectionError: the other end has gone"]
    assert "restarted 3" in shown
    assert "22:13:20 ✖ fetch is gone" in shown


DETAILS = [of_context(), of_supervisor("shop", (AT - 5, "shop/x", "y")), of_pool(), of_worker()]


@pytest.mark.parametrize("detail", DETAILS, ids=lambda detail: detail["kind"])
@pytest.mark.parametrize("columns", [12, 30, 44, 80])
def test_all_that_is_drawn_fits_and_has_a_look_of_its_own(detail, columns):
    for line in detail_lines(looked_at(detail), columns):
        assert width_of(line) <= columns
        assert {look for _, look in line} <= {"", *LOOKS}


def hostile(value):
    """The same with every text in it replaced, but for what its drawing goes by."""
    if isinstance(value, dict):
        return {
            name: one if name in ("path", "name", "id", "kind") and isinstance(one, str) else hostile(one) for name, one in value.items()
        }

    return [hostile(one) for one in value] if isinstance(value, list) else HOSTILE if isinstance(value, str) else value


@pytest.mark.parametrize("detail", DETAILS, ids=lambda detail: detail["kind"])
def test_hostile_numbers_are_harmless(detail):
    for line in detail_lines(looked_at(hostile(detail)), 60):
        assert plain(line).isprintable()


# --- events ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "mark"), [("info", "·"), ("warning", "▲"), ("error", "✖"), ("odd", "·")])
def test_an_event_has_its_level_as_a_mark(level, mark):
    assert plain(event_line(Event.of(event("it happened", level=level)), 80)) == f"22:13:20 {mark} it happened"


def test_a_hostile_event_is_harmless():
    line = event_line(Event.of(event(HOSTILE * 100, HOSTILE)), 60)
    assert plain(line).isprintable()
    assert width_of(line) <= 60
