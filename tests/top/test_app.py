"""The view at work: keys, and what is on the screen."""

from __future__ import annotations

import time

import pytest
from textual.events import Key
from top.snapshots import SERVICE, event, node, of_context, of_pool, root, shop, snapshot
from top.views import Looking

from dspex._top._sheet import _harmless

HOSTILE = "\x1b[2J[bold red]boo[/] [@click=app.quit]x[/] ]["


async def test_the_first_snapshot_is_shown():
    async with Looking(snapshot()) as view:
        assert view.sees("shop.py   pid 4242")
        assert view.sees("● lobby")
        assert view.sees("● live")


async def test_the_numbers_of_what_is_selected_are_asked_for_and_shown():
    async with Looking(snapshot()) as view:
        assert view.feed.asked == [None, "/"]
        await view.press(*["down"] * 6)
        assert view.feed.asked[-1] == "shop/lobby"
        await view.show(snapshot(selected=of_context(), after=0.5))
        assert view.sees("BridgedState")
        assert view.sees("visits")


async def test_what_is_asked_is_asked_once():
    async with Looking(snapshot(), snapshot(after=1), snapshot(after=2)) as view:
        assert view.feed.asked == [None, "/"]


async def test_the_selection_and_the_scroll_survive_updates():
    many = [node(f"n{number:03}") for number in range(200)]
    async with Looking(snapshot(root(*many))) as view:
        await view.press("end")
        place = next(number for number, line in enumerate(view.screen()) if "● n199" in line)
        for after in range(1, 6):
            await view.show(snapshot(root(*[node(f"new{number}") for number in range(after)], *many), after=after))

        assert view.model.node.name == "n199"
        assert "● n199" in view.screen()[place]


async def test_scrolling_away_from_the_cursor_is_left_alone():
    many = [node(f"n{number:03}") for number in range(200)]
    async with Looking(snapshot(root(*many))) as view:
        view.app._tree.scroll_to(y=100, animate=False, immediate=True)
        await view.show(snapshot(root(*many), after=1))
        assert view.sees("● n100")
        assert view.model.cursor == 0


async def test_arrows_fold_and_unfold():
    async with Looking(snapshot()) as view:
        await view.press("down", "down", "left")
        assert not view.sees("worker-1")
        await view.press("right")
        assert view.sees("worker-1")
        await view.press("enter")
        assert not view.sees("worker-1")


async def test_a_click_selects_and_a_second_one_folds():
    async with Looking(snapshot()) as view:
        await view.pilot.click(view.app._tree, offset=(8, 3))
        assert view.model.node.name == "bridge"
        await view.pilot.click(view.app._tree, offset=(8, 3))
        await view.pilot.pause()
        assert not view.sees("worker-1")


async def test_a_click_below_the_tree_does_nothing():
    async with Looking(snapshot(root(node("a")))) as view:
        await view.pilot.click(view.app._tree, offset=(8, 10))
        assert view.model.cursor == 0


# --- search ------------------------------------------------------------------------------------------------------------------------


async def test_a_search_filters_as_it_is_typed_and_escape_ends_it():
    async with Looking(snapshot()) as view:
        await view.press("slash")
        await view.type("work")
        assert view.sees("worker-1")
        assert not view.sees("lobby")
        await view.press("escape")
        assert view.sees("lobby")
        assert view.model.node.name == "worker-1"


async def test_enter_keeps_what_was_found_and_n_goes_on():
    async with Looking(snapshot()) as view:
        await view.press("slash")
        await view.type("work")
        await view.press("enter", "n")
        assert view.model.node.name == "worker-2"
        assert view.sees("/work")
        await view.press("N")
        assert view.model.node.name == "worker-1"
        await view.show(snapshot(after=1))
        assert not view.sees("lobby")


async def test_keys_that_are_typed_into_the_search_do_nothing_else():
    async with Looking(snapshot()) as view:
        await view.press("slash")
        await view.type("q s")
        assert view.app.is_running
        assert not view.model.paused
        assert view.model.view.word == "q s"


async def test_what_is_typed_ahead_of_the_screen_goes_into_the_search():
    async with Looking(snapshot()) as view:
        for key in ["slash", *"qust/t", "enter"]:
            view.app.post_message(Key(key, key if len(key) == 1 else None))

        await view.until(lambda: view.model.view.word == "qust/t" and not view.app._search.has_focus)
        assert view.app.is_running


async def test_a_slash_does_not_go_through_the_help():
    async with Looking(snapshot()) as view:
        await view.press("question_mark", "slash")
        assert not view.app._search.has_class("-open")


async def test_a_search_for_nothing_there_says_so():
    async with Looking(snapshot()) as view:
        await view.press("slash")
        await view.type("[bold]")
        assert view.sees("none shown has /[bold]")
        assert view.sees("or ask for that name")
        await view.press("enter")
        await view.until(lambda: view.sees("nothing that is shown has '[bold]' in its name"))
        assert view.sees("There is nothing called '[bold]'")


async def test_next_of_what_is_not_shown_says_so():
    async with Looking(snapshot()) as view:
        await view.press("slash")
        await view.type("xyz")
        await view.press("escape", "n")
        await view.until(lambda: view.sees("nothing that is shown has 'xyz' in its name"))


def crowd(*, after: float = 0.0, operations: int = 0, **others):
    """A family of which the service draws two."""
    drawn = [node(f"app/users/user-{number}", "context", "running", operations=number * operations) for number in (1, 2)]
    family = node("app/users", "family", "running", *drawn, more="… and 1,998 more: 1,998 running")
    return snapshot(root(node("app", "supervisor", "running", family)), after=after, **others)


USER_1999 = of_context("app/users/user-1999", name="user-1999", state="running", facts={"backend": "local"}, note="")


async def test_enter_on_a_search_finds_what_the_service_does_not_draw():
    async with Looking(crowd()) as view:
        view.feed.known["user-1999"] = USER_1999
        await view.press("slash")
        await view.type("user-1999")
        await view.press("enter")
        await view.until(lambda: view.feed.asked[-1] == "app/users/user-1999")
        lines = view.screen()
        left_out = next(number for number, line in enumerate(lines) if "… and 1,998 more" in line)
        assert "● user-1999" in lines[left_out + 1]
        assert view.sees("backend local")
        await view.show(crowd(after=1, selected=USER_1999))
        assert view.sees("BridgedState")
        assert view.sees("● user-1999")


async def test_what_was_found_has_no_state_while_another_is_selected_and_goes_with_its_thing():
    async with Looking(crowd()) as view:
        view.feed.known["ctx_1_a4f2"] = USER_1999
        await view.press("slash")
        await view.type("ctx_1_a4f2")
        await view.press("enter")
        await view.until(lambda: view.model.selected == "app/users/user-1999")
        await view.show(crowd(after=1, selected=USER_1999))
        await view.press("up", "up")
        await view.show(crowd(after=2, selected=of_context("app/users/user-2")))
        assert view.sees("· user-1999")
        await view.press("end")
        assert view.feed.asked[-1] == "app/users/user-1999"
        await view.show(crowd(after=3, selected=USER_1999))
        assert view.sees("● user-1999")
        await view.show(crowd(after=4))
        assert not view.sees("● user-1999")
        assert view.model.selected == "app/users"


async def test_enter_prefers_the_very_name_to_what_only_has_it_in_its_name():
    async with Looking(crowd()) as view:
        view.feed.known["user"] = of_context("app/user", name="user")
        await view.press("slash")
        await view.type("user")
        await view.press("enter")
        await view.until(lambda: view.model.selected == "app/user")


async def test_enter_on_what_is_shown_by_that_name_asks_nobody():
    async with Looking(crowd()) as view:
        await view.press("slash")
        await view.type("user-2")
        await view.press("enter")
        assert view.model.selected == "app/users/user-2"
        assert view.feed.looked_for == []


async def test_what_is_found_in_the_drawn_tree_is_selected_there():
    async with Looking(snapshot()) as view:
        view.feed.known["4301"] = of_pool("shop/bridge/default/worker-1", name="worker-1")
        await view.press("slash")
        await view.type("4301")
        await view.press("enter")
        await view.until(lambda: view.model.selected == "shop/bridge/default/worker-1")
        assert len(view.model.rows) == 12


async def test_a_service_that_can_not_be_asked_is_said():
    async with Looking(snapshot()) as view:
        view.feed.refuse = "too many others wait to be let in"
        await view.press("slash")
        await view.type("user-7")
        await view.press("enter")
        await view.until(lambda: view.sees("too many others wait"))


async def test_the_busiest_of_a_partial_tree_are_said_to_be_of_those_shown():
    async with Looking(crowd(), crowd(after=1, operations=10)) as view:
        assert view.sees("busiest of the 2 shown")
        await view.press("s", "s", "s")
        assert any("busiest of the 2 shown ─╯" in line for line in view.screen())
        await view.show(snapshot(shop(), after=2), snapshot(shop(90, 9000), after=3))
        assert view.sees("busiest ──")
        assert not view.sees("2 shown")


async def test_next_without_a_search_says_what_to_do():
    async with Looking(snapshot()) as view:
        await view.press("n")
        await view.until(lambda: view.sees("/ asks for a word first"))


# --- pause, sort, trouble, events, help --------------------------------------------------------------------------------------------


async def test_space_freezes_says_so_and_catches_up():
    async with Looking(snapshot()) as view:
        await view.press("space")
        await view.show(snapshot(root(node("new")), after=30, events=[event("it happened", after=30)]))
        assert view.sees("❚❚ paused, 30 s behind")
        assert view.sees("lobby")
        assert not view.sees("it happened")
        await view.press("space")
        assert view.sees("● live")
        assert view.sees("new")
        assert view.sees("it happened")


async def test_the_tree_can_be_walked_in_a_pause():
    async with Looking(snapshot()) as view:
        await view.press("space", "down", "down")
        await view.show(snapshot(root(), after=1))
        assert view.model.node.name == "bridge"
        assert view.sees("bridge")


async def test_s_sorts_and_says_how():
    async with Looking(snapshot()) as view:
        await view.press("s", "s")
        assert view.sees("trouble first")
        lines = view.screen()
        assert next(n for n, line in enumerate(lines) if "✖ index" in line) < next(n for n, line in enumerate(lines) if "● lobby" in line)


async def test_t_goes_from_trouble_to_trouble():
    async with Looking(snapshot()) as view:
        await view.press("t")
        assert view.model.node.name == "worker-2"
        await view.press("t")
        assert view.model.node.name == "fetch"
        await view.show(snapshot(root(node("fine")), after=1))
        await view.press("t")
        await view.until(lambda: view.sees("nothing is in trouble"))


async def test_e_shows_more_events_or_fewer():
    events = [event("moved"), event("call returned", kind="ProgramCalled"), event("died", level="error")]
    async with Looking(snapshot(events=events)) as view:
        assert [view.sees(text) for text in ("moved", "call returned", "died")] == [True, False, True]
        await view.press("e")
        assert [view.sees(text) for text in ("moved", "call returned", "died")] == [False, False, True]
        assert view.sees("trouble only")
        await view.press("e")
        assert [view.sees(text) for text in ("moved", "call returned", "died")] == [True, True, True]


async def test_events_follow_the_newest_until_somebody_scrolls_back():
    def told(first: int) -> dict:
        return snapshot(after=first, events=[event(f"event {number:03}", after=number) for number in range(first, first + 50)])

    async with Looking(told(0)) as view:
        assert view.sees("event 049")
        await view.show(told(50))
        assert view.sees("event 099")
        view.app._events.scroll_to(y=3, animate=False, immediate=True)
        await view.show(told(100))
        assert view.sees("event 003")
        view.app._events.scroll_end(animate=False, immediate=True)
        await view.show(told(150))
        assert view.sees("event 199")


async def test_help_lists_every_key_and_any_of_them_closes_it():
    async with Looking(snapshot(), size=(100, 30)) as view:
        await view.press("question_mark")
        for word in ("has a word in its name", "trouble", "sort", "pause", "leave"):
            assert view.sees(word), word

        await view.press("q")
        assert view.app.is_running
        assert view.sees("lobby")


async def test_q_leaves():
    async with Looking(snapshot()) as view:
        await view.press("q")
        assert not view.app.is_running
        assert view.app.return_code == 0


async def test_tab_goes_to_the_numbers_and_they_scroll():
    long = of_context(
        variables=[{"name": f"v{number:03}", "type": "int", "version": 0, "value": "0", "updated_at": ""} for number in range(90)]
    )
    async with Looking(snapshot()) as view:
        await view.press(*["down"] * 6)
        await view.show(snapshot(selected=long, after=1))
        assert not view.sees("v060")
        await view.press("tab", "end")
        await view.until(lambda: view.sees("v089"))
        await view.show(snapshot(selected=long, after=2))
        assert view.sees("v089")
        assert view.model.node.name == "lobby"


# --- the connection ----------------------------------------------------------------------------------------------------------------


async def test_a_lost_connection_is_shown_and_made_again():
    async with Looking(snapshot(events=[event("before")])) as view:
        view.feed.refuse = "nobody listens there"
        view.feed.lose()
        await view.until(lambda: view.sees("not connected"))
        assert view.sees("lobby")  # what was last known
        assert view.sees("the service has hung up")

        view.feed.refuse = ""
        view.feed.hello = {**SERVICE, "pid": 5000}
        view.feed.send(snapshot(after=5, events=[event("before"), event("after", after=5)]))
        await view.until(lambda: view.feed.opened == 2 and view.feed.is_read)
        assert view.sees("● live")
        assert view.sees("pid 5000")
        assert view.sees("attached to shop.py, pid 5000")
        assert sum("before" in line for line in view.screen()) == 1
        assert view.feed.asked[-1] == "/"


async def test_it_is_said_when_it_is_tried_again():
    view = Looking()
    view.feed.refuse = "there is no such socket"
    async with view:
        await view.until(lambda: view.sees("not connected"))
        view.app._again_at = 4.0
        view.app._look_at_clock()
        await view.until(lambda: view.sees("again in 4 s"))


async def test_a_connection_that_is_lost_in_a_pause_is_said_too():
    async with Looking(snapshot()) as view:
        await view.press("space")
        view.feed.refuse = "nobody listens there"
        view.feed.lose()
        await view.until(lambda: view.sees("✖ not connected") and view.sees("the service has hung up"))


async def test_a_service_that_is_not_there_is_said_in_words():
    view = Looking()
    view.feed.refuse = "there is no such socket"
    async with view:
        await view.until(lambda: view.sees("there is no such socket"))
        assert view.sees("/run/shop.sock")
        assert view.sees("not connected")
        assert view.sees("monitor.serve")  # what to do


async def test_something_that_is_no_snapshot_is_a_lost_connection():
    async with Looking(snapshot()) as view:
        view.feed.send({"tree": 7})
        await view.until(lambda: view.sees("no snapshot"))
        assert view.app.is_running


async def test_a_silent_service_is_said_to_be():
    now = 0.0
    async with Looking(snapshot(), clock=lambda: now) as view:
        now = 9.0
        view.app._look_at_clock()
        await view.until(lambda: view.sees("no answer for 9 s"))
        await view.show(snapshot(after=9))
        assert view.sees("● live")


# --- what is hard to show ----------------------------------------------------------------------------------------------------------


async def test_hostile_names_are_shown_and_do_nothing():
    bad = node("x/y", HOSTILE, HOSTILE, name=HOSTILE, note=HOSTILE, more=HOSTILE, **{HOSTILE: HOSTILE})
    tree = root(node("x", "supervisor", "running", bad))
    detail = of_pool("x/y", last_death=HOSTILE, last_words=HOSTILE * 3)
    async with Looking(snapshot(tree, events=[event(HOSTILE, HOSTILE, "error")]), size=(140, 45)) as view:
        await view.press("down", "down")
        await view.show(snapshot(tree, after=1, selected=detail))
        assert view.sees(r"\x1b[2J[bold red]boo[/]")
        assert "\x1b" not in "".join(view.screen())
        await view.press("slash")
        await view.type("[bold")
        await view.press("enter")
        assert view.sees("/[bold")


@pytest.mark.parametrize("size", [(20, 6), (40, 12), (60, 20), (80, 24), (300, 80)])
async def test_any_terminal_is_drawn_on(size):
    async with Looking(snapshot(), size=size) as view:
        await view.press(*["down"] * 6)
        await view.show(snapshot(selected=of_context(), after=1))
        assert any(line.strip() for line in view.screen())


def test_nothing_but_letters_reaches_the_terminal():
    """Whatever a line is made of."""
    assert _harmless("fine — ✖ 日本") == "fine — ✖ 日本"
    assert _harmless("\x1b[2J\u202e\n") == r"\x1b[2J\u202e\n"


async def test_ten_thousand_nodes_stay_usable():
    groups = [node(f"g{group}", "supervisor", "running", *[node(f"g{group}/n{n}") for n in range(99)]) for group in range(100)]
    async with Looking(snapshot(root(*groups))) as view:
        assert len(view.model.rows) == 10_001
        await view.show(snapshot(root(*groups), after=1))
        began = time.process_time()
        await view.press("end", "home", "pagedown", "down", "down")
        await view.show(*[snapshot(root(*groups), after=after) for after in range(2, 6)])
        taken = time.process_time() - began
        await view.press("slash")
        await view.type("g77")
        assert view.model.node.name == "g77"
        assert taken < 4.0  # four updates and five keys: about a second here, of which a half is textual's


async def test_a_smaller_tree_after_a_larger_one_leaves_nothing_behind():
    async with Looking(snapshot(root(*[node(f"n{number}") for number in range(100)]))) as view:
        await view.press("end")
        await view.show(snapshot(shop(), after=1))
        assert view.sees("lobby")
        assert not view.sees("n99")
