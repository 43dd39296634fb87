"""What is shown and chosen, without a terminal: rows, order, search, selection, pause."""

from __future__ import annotations

from top.snapshots import AT, event, node, of_context, of_pool, root, shop, snapshot, worker

from dspex._top._browsing import Order
from dspex._top._counting import KEPT, Ring
from dspex._top._happened import KEPT as EVENTS, Shown
from dspex._top._model import Model
from dspex._top._snapshot import Node, Snapshot


def looking_at(*snapshots) -> Model:
    model = Model()
    for each in snapshots or (snapshot(),):
        model.take(Snapshot.of(each))

    return model


def names(model: Model) -> list[str]:
    return [row.more or row.node.name for row in model.rows]


def named(model: Model, name: str) -> str:
    assert model.shown is not None
    return next(node.id for node in model.shown.tree.walk() if node.name == name)


def children(*states: str, **others) -> dict:
    return root(*(node(f"{name}", "task", state, **others) for name, state in zip("dacb", states, strict=False)))


# --- rows and folding --------------------------------------------------------------------------------------------------------------


def test_the_tree_is_shown_whole_at_first():
    assert names(looking_at()) == [
        "shop.py", "shop", "bridge", "default", "worker-1", "worker-2", "lobby", "clock", "ticker", "ingest", "fetch", "index",
    ]  # fmt: skip


def test_what_is_folded_stays_folded_over_updates():
    model = looking_at()
    model.select(named(model, "bridge"))
    model.fold()
    model.take(Snapshot.of(snapshot(after=1)))
    assert "default" not in names(model)
    assert model.node.name == "bridge"
    assert model.row.folded


def test_right_unfolds_and_then_goes_in():
    model = looking_at()
    model.select(named(model, "bridge"))
    model.fold()
    model.unfold()
    assert "default" in names(model)
    model.unfold()
    assert model.node.name == "default"


def test_left_on_what_has_nothing_below_goes_up():
    model = looking_at()
    model.select(named(model, "worker-2"))
    model.fold()
    assert model.node.name == "default"


def test_enter_does_one_or_the_other():
    model = looking_at()
    model.select(named(model, "ingest"))
    model.toggle()
    assert "fetch" not in names(model)
    model.toggle()
    assert "fetch" in names(model)


def test_what_the_service_left_out_is_a_line_of_its_own():
    model = looking_at(snapshot(root(node("app", "supervisor", "running", node("app/a"), more="… and 1,204 more: 1,204 running"))))
    assert names(model) == ["shop.py", "app", "a", "… and 1,204 more: 1,204 running"]
    model.move(10)
    assert model.row.more
    assert model.selected == "app"  # the numbers are those of what it is below
    model.take(Snapshot.of(snapshot(root(node("app", "supervisor", "running", node("app/a"), more="… and 3 more: 3 running")), after=1)))
    assert model.row.more == "… and 3 more: 3 running"


# --- selection ---------------------------------------------------------------------------------------------------------------------


def test_the_selection_is_of_a_node_and_not_of_a_line():
    model = looking_at(snapshot(children("running", "running")))
    model.select("a")
    model.take(Snapshot.of(snapshot(root(node("new"), *children("running", "running")["children"]), after=1)))
    assert model.node.name == "a"
    assert model.cursor == 3


def test_when_it_goes_the_nearest_above_is_selected_and_when_it_comes_back_it_is_again():
    model = looking_at()
    model.select(named(model, "worker-1"))
    without = root(node("shop", "supervisor", "running", node("shop/lobby", "context")))
    model.take(Snapshot.of(snapshot(without, after=1)))
    assert model.node.name == "shop"
    model.take(Snapshot.of(snapshot(after=2)))
    assert model.node.name == "worker-1"


def test_moving_stops_at_both_ends():
    model = looking_at()
    model.move(-5)
    assert model.cursor == 0
    model.move(500)
    assert model.node.name == "index"


def test_nothing_moves_before_the_first_snapshot():
    model = Model()
    model.move(1)
    model.fold()
    model.unfold()
    model.toggle()
    model.sort()
    model.search("x")
    model.show_all()
    model.pause()
    assert model.find_next() is False
    assert model.find_trouble() is False
    assert model.selected is None
    assert model.detail is None


# --- order -------------------------------------------------------------------------------------------------------------------------


def test_orders_go_round():
    model = looking_at()
    assert [model.sort() for _ in Order] == [Order.NAME, Order.STATE, Order.ACTIVITY, Order.TREE]


def test_by_name():
    model = looking_at(snapshot(children(*["running"] * 4)))
    model.sort()
    assert names(model) == ["shop.py", "a", "b", "c", "d"]


def test_trouble_first_and_what_has_trouble_below_it_as_well():
    tree = root(
        node("calm"), node("busy", "task", "restarting"), node("above", "supervisor", "running", node("above/bad", "task", "parked"))
    )
    model = looking_at(snapshot(tree))
    model.sort()
    model.sort()
    assert names(model) == ["shop.py", "above", "bad", "busy", "calm"]


def test_busiest_first_with_all_that_is_below():
    def tree(served: int, operations: int) -> dict:
        slow = node("slow", "context", "running", operations=operations)
        return root(slow, node("pools", "bridge", "running", worker("pools/w", 1, served)))

    model = looking_at(snapshot(tree(0, 0)), snapshot(tree(100, 10), after=1))
    model.view = type(model.view)(order=Order.ACTIVITY)
    model.take(Snapshot.of(snapshot(tree(200, 20), after=2)))
    assert names(model) == ["shop.py", "pools", "w", "slow"]
    assert model.rates.of("pools/w") == 100


def test_the_line_on_those_left_out_stays_last_in_any_order():
    model = looking_at(snapshot(root(node("app", "supervisor", "running", node("app/z"), node("app/a"), more="… and 5 more"))))
    for _ in Order:
        assert names(model)[-1] == "… and 5 more"
        model.sort()


# --- searching ---------------------------------------------------------------------------------------------------------------------


def test_a_search_leaves_what_has_the_word_and_what_is_above():
    model = looking_at()
    model.search("WORKER")
    assert names(model) == ["shop.py", "shop", "bridge", "default", "worker-1", "worker-2"]
    assert model.node.name == "worker-1"


def test_a_search_finds_what_is_folded_away():
    model = looking_at()
    model.select(named(model, "shop"))
    model.fold()
    model.search("fetch")
    assert model.node.name == "fetch"
    model.show_all()
    assert model.node.name == "fetch"
    assert "lobby" in names(model)


def test_next_and_previous_go_round():
    model = looking_at()
    model.search("worker")
    assert model.find_next()
    assert model.node.name == "worker-2"
    assert model.find_next()
    assert model.node.name == "worker-1"
    assert model.find_next(-1)
    assert model.node.name == "worker-2"


def test_after_a_search_the_word_still_serves():
    model = looking_at()
    model.search("worker")
    model.show_all()
    model.move_to(0)
    assert model.find_next()
    assert model.node.name == "worker-1"


def test_a_search_that_finds_nothing_leaves_the_root_and_says_so():
    model = looking_at()
    model.search("no such thing")
    assert names(model) == ["shop.py"]
    assert model.find_next() is False
    model.search("")
    assert "lobby" in names(model)


def test_a_search_goes_on_over_updates():
    model = looking_at()
    model.search("worker")
    model.take(Snapshot.of(snapshot(root(worker("worker-7", 1, 0)), after=1)))
    assert names(model) == ["shop.py", "worker-7"]


def test_what_was_found_stands_last_below_the_nearest_that_is_drawn_in_any_order():
    app = node("app", "supervisor", "running", node("app/z"), node("app/a"), more="… and 5 more")
    model = looking_at(snapshot(root(node("first"), app, node("last"))))
    model.show_found(Node.found_as({"path": "app/hidden/0", "kind": "context", "name": "0", "state": "running"}))
    assert names(model) == ["shop.py", "first", "app", "z", "a", "… and 5 more", "0", "last"]
    for _ in Order:
        assert names(model)[names(model).index("… and 5 more") + 1] == "0"
        assert model.node.id == "app/hidden/0"
        model.sort()

    model.show_found(Node.found_as({"path": "nowhere", "kind": "context", "name": "nowhere"}))
    assert names(model)[-1] == "nowhere"
    assert "0" not in names(model)  # only the last one found


def test_what_was_found_is_drawn_once_when_the_service_draws_it_too():
    model = looking_at(snapshot(root(node("a"))))
    model.show_found(Node.found_as({"path": "b", "kind": "task", "name": "b"}))
    model.take(Snapshot.of(snapshot(root(node("a"), node("b")), after=1, selected={"path": "b", "kind": "task", "name": "b"})))
    assert names(model) == ["shop.py", "a", "b"]
    assert model.node.id == "b"


def test_what_was_found_is_not_taken_for_gone_by_an_answer_of_before():
    model = looking_at(snapshot(root(node("a")), selected={"path": "a", "kind": "task"}))
    model.show_found(Node.found_as({"path": "b", "kind": "task", "name": "b"}))
    model.take(Snapshot.of(snapshot(root(node("a")), after=1)))
    assert model.selected == "b"
    model.take(Snapshot.of(snapshot(root(node("a")), after=2)))
    assert model.selected == "/"


def test_the_next_in_trouble_unfolds_what_hides_it():
    model = looking_at()
    model.select(named(model, "ingest"))
    model.fold()
    assert model.find_trouble()
    assert model.node.name == "fetch"  # it restarts, and says why
    assert model.find_trouble()
    assert model.node.name == "index"
    assert model.find_trouble()
    assert model.node.name == "worker-2"


# --- rates and what was measured ---------------------------------------------------------------------------------------------------


def test_rates_are_differences_over_time():
    model = looking_at(snapshot(shop(operations=1000)), snapshot(shop(operations=1500), after=2))
    assert model.rates.of("shop/lobby") == 250
    assert model.rates.of("shop/ticker") is None


def test_a_count_that_began_again_is_not_negative():
    model = looking_at(snapshot(shop(served=500)), snapshot(shop(served=4), after=2))
    assert model.rates.of("shop/bridge/default/worker-1") == 2


def test_two_looks_at_the_same_moment_keep_the_rate():
    model = looking_at(snapshot(shop(operations=0)), snapshot(shop(operations=100), after=1), snapshot(shop(operations=100), after=1))
    assert model.rates.of("shop/lobby") == 100


def test_the_whole_is_measured_too():
    model = looking_at(snapshot(), snapshot(after=0.5, totals={"operations": 2000}))
    assert model.whole.ring("rate").samples == (2000.0,)


def test_of_a_context_its_own_interval_is_kept():
    model = looking_at(snapshot(selected=of_context()))
    measured = model.remembered.of("shop/lobby")
    assert measured.ring("rate").last == 1240
    assert measured.ring("p50").last == 3.1e-6
    assert measured.ring("pending").last == 2


def test_a_look_that_is_too_short_tells_no_rate():
    model = looking_at(snapshot(selected=of_context(interval={**of_context()["interval"], "seconds": 0.0})))
    assert model.remembered.of("shop/lobby").ring("rate").last is None


def test_of_a_pool_its_calls_are_counted():
    model = looking_at(snapshot(selected=of_pool(calls=10)), snapshot(selected=of_pool(calls=40), after=2))
    assert model.remembered.of("shop/bridge/default").ring("rate").last == 15
    assert model.remembered.of("shop/bridge/default").ring("waiting").last == 4


def test_a_ring_forgets_the_oldest_and_knows_how_many():
    ring = Ring()
    for number in range(KEPT + 10):
        ring.take(number)

    assert len(ring) == KEPT
    assert ring.before == 10
    assert ring.last == KEPT + 9


def test_variables_that_changed_since_the_last_look():
    model = looking_at(snapshot(selected=of_context(visits=40)))
    assert model.changed == {}
    model.take(Snapshot.of(snapshot(selected=of_context(visits=43), after=0.5)))
    assert model.changed == {"visits": 3}


def test_what_changed_while_another_was_selected_is_no_news():
    model = looking_at(snapshot(selected=of_context(visits=40)), snapshot(selected=of_pool(), after=1))
    model.take(Snapshot.of(snapshot(selected=of_context(visits=90), after=2)))
    assert model.changed == {}


def test_while_another_was_selected_there_is_a_gap():
    looks = [of_context(), of_context(), of_pool(), of_context()]
    model = looking_at(*(snapshot(selected=detail, after=number) for number, detail in enumerate(looks)))
    assert model.remembered.of("shop/lobby").ring("rate").samples == (1240, 1240, None, 1240)


def test_another_context_of_the_same_name_is_another():
    model = looking_at(snapshot(selected=of_context(visits=40)), snapshot(selected=of_context(visits=1, id="ctx_9"), after=1))
    assert model.changed == {}


def test_the_numbers_of_what_was_looked_at_before_are_there_at_once():
    model = looking_at(snapshot(selected=of_context()), snapshot(selected=of_pool(), after=1))
    model.select("shop/lobby")
    assert model.detail["name"] == "lobby"


# --- events ------------------------------------------------------------------------------------------------------------------------


def texts(model: Model) -> list[str]:
    return [each.text for each in model.happened.seen()]


def test_events_gather_and_what_is_told_twice_is_kept_once():
    first, second = event("one", after=1), event("two", after=2)
    model = looking_at(snapshot(events=[first]), snapshot(events=[first, second], after=1))
    assert texts(model) == ["one", "two"]


def test_calls_that_went_well_are_shown_on_request_only_and_drive_nothing_out():
    calls = [event(f"call {number}", kind="ProgramCalled", after=number) for number in range(5000)]
    model = looking_at(
        snapshot(events=[event("switched", after=-1), *calls, event("failed", "", "warning", kind="ProgramCalled", after=9)])
    )
    assert texts(model) == ["switched", "failed"]
    model.happened.shown = Shown.TROUBLE
    assert texts(model) == ["failed"]
    model.happened.shown = Shown.ALL
    assert texts(model)[0] == "switched"
    assert texts(model)[-1] == "call 4999"


def test_events_are_bounded():
    model = looking_at(snapshot(events=[event(str(number), after=number) for number in range(EVENTS + 50)], dropped=7))
    assert len(texts(model)) == EVENTS
    assert model.happened.dropped == 7


def test_events_of_a_node_are_those_of_what_is_below_it_too():
    events = [event("a", "shop/ingest"), event("b", "shop/ingest/fetch"), event("c", "shop/ingest-2"), event("d")]
    model = looking_at(snapshot(events=events))
    assert [each.text for each in model.happened.about("shop/ingest")] == ["a", "b"]


# --- pause -------------------------------------------------------------------------------------------------------------------------


def test_a_pause_keeps_the_screen_and_loses_nothing():
    model = looking_at(snapshot(shop(operations=0)))
    model.pause()
    model.take(Snapshot.of(snapshot(shop(operations=100), after=1, events=[event("one", after=1)], totals={"operations": 1100})))
    model.take(Snapshot.of(snapshot(shop(operations=300), after=2, events=[event("two", after=2)], totals={"operations": 1300})))
    assert model.shown.at == AT
    assert texts(model) == []
    assert model.behind == 2

    model.pause()
    assert model.shown.at == AT + 2
    assert texts(model) == ["one", "two"]
    assert model.whole.ring("rate").samples == (100.0, 200.0)
    assert model.behind == 0


def test_one_can_look_around_in_a_pause():
    model = looking_at()
    model.pause()
    model.take(Snapshot.of(snapshot(root(), after=1)))
    model.select(named(model, "lobby"))
    assert model.node.name == "lobby"


def test_a_pause_before_the_first_snapshot_shows_that_one():
    model = Model()
    model.pause()
    model.take(Snapshot.of(snapshot()))
    assert model.shown is not None
