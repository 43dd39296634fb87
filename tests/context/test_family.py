"""`Contexts`: one context a key, whoever asks and however many at once; none that is held is stopped, and nothing acknowledged is lost."""

from __future__ import annotations

import gc
import itertools
import logging
import math
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from dspex import (
    Bridge,
    CallCycle,
    CallTimeout,
    Context,
    ContextClosed,
    ContextCrashed,
    Contexts,
    Overloaded,
    SaveFailed,
    Snapshot,
    StartFailed,
    Status,
    Supervisor,
    Var,
    WrongThread,
    isolated,
)
from dspex.context._farewell import AT_ONCE
from dspex.context._upkeep import SAVING

COUNT = Var("count", int, 0)
Run = Callable[[Callable[[], Awaitable[Any]]], Any]


class Shelf:
    """Where a service keeps its states: a dict behind `load` and `save`, which may be slow, and may fail."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.kept: dict[str, Snapshot] = {}
        self.loaded: list[str] = []
        self.saved: list[str] = []
        self.seconds = seconds
        self.failing: Exception | None = None
        self.at_once = 0
        self.most_at_once = 0

    async def load(self, key: str) -> Snapshot | None:
        self.loaded.append(key)
        await anyio.sleep(self.seconds)
        return self.kept.get(key)

    async def save(self, key: str, snapshot: Snapshot) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await anyio.sleep(self.seconds)
            if self.failing is not None:
                raise self.failing
        finally:
            self.at_once -= 1

        self.saved.append(key)
        self.kept[key] = snapshot

    def counts(self) -> dict[str, int]:
        return {key: snapshot["count"].value for key, snapshot in self.kept.items()}

    def family(self, **options: Any) -> Contexts:
        return Contexts(**{"variables": [COUNT], "load": self.load, "save": self.save, "name": "chats", **options})


async def add(family: Contexts, key: str, number: int = 1) -> int:
    async with family.open(key) as ctx:
        return await ctx.variables.add(COUNT, number)


@asynccontextmanager
async def held(family: Contexts, *keys: str) -> AsyncIterator[Callable[[], None]]:
    """Each key held by a task of its own, until told."""
    up, enough = [anyio.Event() for _ in keys], anyio.Event()

    async def hold(key: str, event: anyio.Event) -> None:
        async with family.open(key):
            event.set()
            await enough.wait()

    async with anyio.create_task_group() as tasks:
        for key, event in zip(keys, up, strict=True):
            tasks.start_soon(hold, key, event)
            await event.wait()

        try:
            yield enough.set
        finally:
            enough.set()


def crash(ctx: Context) -> None:
    ctx.variables.crash(RuntimeError("planted"), "test")


# --- getting or starting ---------------------------------------------------------------------------------------------------------


async def test_the_first_who_opens_a_key_starts_it_and_the_others_join() -> None:
    async with Contexts(variables=[COUNT]) as family:
        async with family.open("a") as first, family.open("a") as second:
            assert first is second
            assert await first.variables.add(COUNT, 1) == 1

        assert first.status is Status.RUNNING
        async with family.open("a") as third:
            assert third is first

        async with family.open("b") as other:
            assert other is not first

    assert {first.status, other.status} == {Status.CLOSED}


@pytest.mark.parametrize("exclusive", [False, True])
async def test_however_many_open_a_new_key_at_once_there_is_one_context_and_one_load(exclusive: bool) -> None:
    shelf = Shelf()
    inits: list[str] = []
    async with shelf.family(init=lambda ctx: inits.append(ctx.id)) as family:

        async def use(key: str) -> None:
            async with family.open(key, exclusive=exclusive) as ctx:
                await ctx.variables.update(COUNT, lambda n: n + 1)

        async with anyio.create_task_group() as tasks:
            for number in range(300):
                tasks.start_soon(use, "abc"[number % 3])

        assert sorted(shelf.loaded) == ["a", "b", "c"]
        assert len(inits) == 3
        assert sorted(family.keys()) == ["a", "b", "c"]

    assert shelf.counts() == {"a": 100, "b": 100, "c": 100}


@pytest.mark.parametrize("awaited", [True, False])
async def test_load_gives_the_state_variables_are_ensured_on_top_and_init_comes_last(awaited: bool) -> None:
    async with Context(variables=[COUNT]) as origin:
        await origin.variables.set(COUNT, 41)
        snapshot = await origin.export_state()

    seen: list[dict[str, Any]] = []

    async def init(ctx: Context) -> None:
        seen.append(await ctx.variables.get_many(["count", "name"]))
        await ctx.variables.add(COUNT, 1)

    async def load(key: str) -> Snapshot | None:
        await checkpoint()
        return snapshot if key == "known" else None

    def load_now(key: str) -> Snapshot | None:
        return snapshot if key == "known" else None

    async with Contexts(variables=[COUNT, Var("name", str, "nobody")], load=load if awaited else load_now, init=init) as family:
        async with family.open("known") as ctx:
            assert await ctx.variables.get(COUNT) == 42
            assert (await ctx.variables.info(COUNT)).version == snapshot["count"].version + 1

        async with family.open("unknown") as ctx:
            assert await ctx.variables.get(COUNT) == 1

    assert seen == [{"count": 41, "name": "nobody"}, {"count": 0, "name": "nobody"}]


async def fails(*_: Any) -> Any:
    await checkpoint()
    raise LookupError("no such user")


async def gives_text(key: str) -> Any:
    return "{}"


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"load": fails}, LookupError),
        ({"load": gives_text}, TypeError),
        ({"init": fails}, LookupError),
    ],
    ids=["load", "load gives something else", "init"],
)
async def test_a_start_that_fails_is_told_to_all_who_waited_and_the_next_one_tries_again(options: Any, cause: Any) -> None:
    options = dict(options)
    attempts: list[str] = []
    healthy = False
    for name in ("load", "init"):
        if name in options:
            function = options[name]

            async def wrapped(given: Any, function: Any = function) -> Any:
                attempts.append("attempt")
                return None if healthy else await function(given)

            options[name] = wrapped

    told: list[StartFailed] = []
    async with Contexts(variables=[COUNT], name="chats", **options) as family:

        async def use() -> None:
            with pytest.raises(StartFailed) as caught:
                async with family.open("a"):
                    raise AssertionError("not reached")

            told.append(caught.value)

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(use)

        assert attempts == ["attempt"]
        assert {type(error.__cause__) for error in told} == {cause}
        assert len({id(error) for error in told}) == 5
        assert str(told[0]).startswith("The context 'a' of family 'chats' failed to start: ")
        assert (len(family), family.keys(), family.statistics().starting) == (0, (), 0)
        assert isinstance(family.last_error, cause)
        healthy = True
        assert await add(family, "a") == 1


async def test_a_waiter_that_is_cancelled_does_not_cancel_the_start_of_others() -> None:
    shelf = Shelf()
    gate = anyio.Event()

    async def load(key: str) -> None:
        shelf.loaded.append(key)
        await gate.wait()

    async with shelf.family(load=load) as family:
        first = anyio.CancelScope()
        got: list[Context] = []

        async def impatient() -> None:
            with first:
                async with family.open("a"):
                    raise AssertionError("not reached")

        async def patient() -> None:
            async with family.open("a") as ctx:
                got.append(ctx)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(impatient)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(patient)
            await anyio.wait_all_tasks_blocked()
            first.cancel()
            await anyio.wait_all_tasks_blocked()
            gate.set()

        assert shelf.loaded == ["a"]
        assert len(got) == 1


async def test_a_start_that_nobody_waits_for_any_more_is_turned_back() -> None:
    turned: list[str] = []
    hangs = True

    async def load(key: str) -> None:
        if hangs:
            try:
                await anyio.sleep_forever()
            finally:
                turned.append(key)

    async with Contexts(variables=[COUNT], load=load) as family:
        with anyio.move_on_after(0.01) as scope:
            async with family.open("a"):
                raise AssertionError("not reached")

        assert scope.cancelled_caught
        hangs = False
        assert await add(family, "a") == 1
        assert turned == ["a"]


@pytest.mark.parametrize("key", [1, None, b"a", ("a",)])
async def test_a_key_is_a_str(key: Any) -> None:
    async with Contexts() as family:
        with pytest.raises(TypeError) as caught:
            family.open(key)

        assert str(caught.value) == f"key: expected a str, got {key!r}. Turn it into one: str(key)."
        with pytest.raises(TypeError):
            await family.drop(key)

        with pytest.raises(ValueError, match=r"key: expected a str that isn't empty"):
            family.open("")

        assert key not in family


@pytest.mark.parametrize("key", ["a/b", "ünï/cødé \n", "x" * 5000, "%2F"])
async def test_any_text_is_a_key(key: str) -> None:
    shelf = Shelf()
    async with shelf.family() as family:
        await add(family, key)
        await add(family, key.replace("/", "%2F"))
        assert await add(family, key) == 2 + ("/" not in key)

    assert shelf.counts()[key] == 2 + ("/" not in key)


async def test_a_family_that_does_not_run_refuses_in_words() -> None:
    family = Contexts(name="chats")
    with pytest.raises(ContextClosed) as caught:
        async with family.open("a"):
            raise AssertionError("not reached")

    assert str(caught.value) == (
        "Context 'a' is not there. Its family 'chats' isn't running: enter it with 'async with', or 'await family.start()'."
    )
    async with family:
        pass

    with pytest.raises(ContextClosed) as caught:
        await family.drop("a")

    assert str(caught.value) == "Context 'a' is closed. Its family 'chats' is closed."


@pytest.mark.parametrize("steps", range(10))
def test_one_that_is_cancelled_as_it_is_entered_keeps_nobody_waiting(run_virtually: Run, steps: int) -> None:
    async def enter(family: Contexts) -> None:
        async with family:
            await anyio.sleep_forever()

    async def main() -> None:
        family = Contexts()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(enter, family)
            for _ in range(steps):
                await checkpoint()

            tasks.cancel_scope.cancel()

        assert family.status in ("new", "closed")

    run_virtually(main)


async def test_a_family_may_be_entered_again() -> None:
    shelf = Shelf()
    family = shelf.family()
    for number in range(1, 4):
        async with family:
            assert await add(family, "a") == number
            with pytest.raises(RuntimeError, match="running already"):
                await family.__aenter__()

    assert shelf.counts() == {"a": 3}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"idle": "1"}, TypeError, "idle: expected a number of seconds, got '1'"),
        ({"idle": -1}, ValueError, "idle: expected 0 seconds or more, got -1"),
        ({"idle": math.nan}, ValueError, "idle: expected 0 seconds or more, got nan"),
        ({"drain": True}, TypeError, "drain: expected a number of seconds, got True"),
        ({"max_contexts": 0}, ValueError, "max_contexts: expected an int of at least 1, got 0"),
        ({"load": "db"}, TypeError, "load: expected a function or None, got 'db'"),
        ({"save": {}}, TypeError, "save: expected a function or None, got {}"),
        ({"variables": "abc"}, TypeError, "variables: expected a list of Vars, got 'abc'"),
        ({"variables": [1]}, TypeError, "variables: expected a list of Vars, got 1 in it"),
        ({"init": 5}, TypeError, "init: expected a function of the context or None, got 5"),
        ({"name": "a/b"}, ValueError, "name: expected a str that isn't empty and has no '/', which divides paths, got 'a/b'"),
    ],
)
def test_options_are_checked_when_the_family_is_made(options: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        Contexts(**options)

    assert str(caught.value) == words


async def test_what_is_given_as_an_iterator_serves_every_context() -> None:
    async with Contexts(variables=iter([COUNT]), programs=iter([("double", lambda n: n * 2)])) as family:
        for key in "ab":
            async with family.open(key) as ctx:
                assert await ctx.variables.get(COUNT) == 0
                assert await ctx.call("double", {"n": 4}) == 8


# --- exclusively -----------------------------------------------------------------------------------------------------------------


async def test_who_opens_exclusively_is_alone_and_all_others_wait_in_their_order() -> None:
    order: list[str] = []
    inside = 0
    async with Contexts() as family:

        async def use(label: str, exclusive: bool) -> None:
            nonlocal inside
            async with family.open("a", exclusive=exclusive):
                inside += 1
                order.append(label)
                for _ in range(10):
                    assert inside == 1 or not exclusive
                    await checkpoint()

                inside -= 1

        async with anyio.create_task_group() as tasks:
            for number in range(6):
                tasks.start_soon(use, f"{number}", number % 2 == 0)
                await anyio.wait_all_tasks_blocked()

    assert order == ["0", "1", "2", "3", "4", "5"]


async def test_a_waiter_for_a_held_key_that_is_cancelled_lets_the_next_one_through() -> None:
    async with Contexts() as family:
        got = anyio.Event()

        async def join() -> None:
            async with family.open("a"):
                got.set()

        async with anyio.create_task_group() as tasks, family.open("a"):
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as waiting:

                    async def alone() -> None:
                        async with Contexts.open(family, "a", exclusive=True):
                            raise AssertionError("not reached")

                    other = anyio.CancelScope()

                    async def cut() -> None:
                        with other:
                            await _elsewhere(alone)

                    waiting.start_soon(cut)
                    await anyio.wait_all_tasks_blocked()
                    tasks.start_soon(_elsewhere, join)
                    await anyio.wait_all_tasks_blocked()
                    assert not got.is_set()
                    other.cancel()

            assert not scope.cancelled_caught
            await got.wait()


async def _elsewhere(function: Callable[[], Awaitable[None]]) -> None:
    """Runs *function* as code that holds nothing."""
    from dspex.context import _household

    token = _household._holding.set(())
    try:
        await function()
    finally:
        _household._holding.reset(token)


async def test_who_would_wait_for_itself_is_told() -> None:
    async with Contexts(name="chats") as family, family.open("a"):
        for asked, words in ((family.open("a", exclusive=True).__aenter__(), "open exclusively 'a'"), (family.drop("a"), "drop 'a'")):
            with pytest.raises(CallCycle) as caught:
                await asked

            assert str(caught.value) == (f"Who holds 'a' would wait for itself. Leave the block first. The chain: 'a' -> {words}.")

        with pytest.raises(CallCycle, match="Who holds a key of family 'chats' can't wait for its end"):
            await family.stop()

        async with family.open("b", exclusive=True), family.open("b"):
            pass

        await family.drop("b")


async def test_who_holds_it_alone_may_join_itself_while_others_wait() -> None:
    async with Contexts() as family:
        order: list[str] = []

        async def other() -> None:
            async with family.open("a"):
                order.append("other")

        async with anyio.create_task_group() as tasks, family.open("a", exclusive=True) as outer:
            tasks.start_soon(_elsewhere, other)
            await anyio.wait_all_tasks_blocked()
            async with family.open("a") as inner:
                assert inner is outer
                order.append("inner")

            await anyio.wait_all_tasks_blocked()
            order.append("outer")

        assert order == ["inner", "outer", "other"]


async def test_another_task_may_leave_the_block_than_entered_it() -> None:
    """As the dependency of a web framework does, whose two halves may run in different tasks."""
    async with Contexts() as family:
        opening = family.open("a", exclusive=True)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(opening.__aenter__)

        assert family.statistics().held == 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(opening.__aexit__, None, None, None)

        assert family.statistics().held == 0
        async with family.open("a", exclusive=True):
            pass


async def test_two_who_wait_for_each_other_are_found_out_and_one_is_told() -> None:
    told: list[CallCycle] = []
    async with Contexts() as family:

        async def both(first: str, second: str, met: anyio.Event, meet: anyio.Event) -> None:
            async with family.open(first, exclusive=True):
                met.set()
                await meet.wait()
                try:
                    async with family.open(second, exclusive=True):
                        pass
                except CallCycle as cycle:
                    told.append(cycle)

        here, there = anyio.Event(), anyio.Event()
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(both, "a", "b", here, there)
                tasks.start_soon(both, "b", "a", there, here)

    assert len(told) == 1
    assert set(told[0].chain) == {"'a'", "'b'"}


@pytest.mark.parametrize("where", ["load", "init", "save"])
async def test_what_makes_or_saves_a_context_cannot_wait_for_it(where: str) -> None:
    told: list[str] = []
    family: Contexts
    saved = anyio.Event()

    async def misled(*_: Any) -> None:
        with pytest.raises(CallCycle) as caught:
            async with family.open("a"):
                raise AssertionError("not reached")

        told.append(str(caught.value))
        async with family.open("another"):
            pass

        saved.set()

    async def only_a(*given: Any) -> None:
        if not told:
            await misled()

    options: dict[str, Any] = {where: only_a}
    with anyio.fail_after(10):
        async with Contexts(variables=[COUNT], idle=0.001, **options) as family:
            await add(family, "a")
            if where == "save":
                await saved.wait()

    assert told == ["What loads, furnishes or saves 'a' can't wait for it. The chain: 'a' -> open 'a'."]


async def test_a_program_cannot_drop_the_context_it_runs_in() -> None:
    async with Contexts() as family:

        async def program() -> None:
            await family.drop("a")

        async with family.open("a") as ctx:
            bound = await ctx.register_program("p", program)

        with pytest.raises(Exception, match="would wait for itself"):
            await bound()


# --- eviction --------------------------------------------------------------------------------------------------------------------


def test_what_nobody_holds_is_saved_and_stopped_after_its_time_and_loaded_again(run_virtually: Run) -> None:
    async def main() -> None:
        shelf = Shelf()
        async with shelf.family(idle=60.0) as family:
            await add(family, "a", 5)
            await anyio.sleep(59.9)
            assert "a" in family
            await anyio.sleep(0.2)
            assert (family.keys(), shelf.counts()) == ((), {"a": 5})
            async with family.open("a") as ctx:
                assert await ctx.variables.get(COUNT) == 5
                assert (await ctx.variables.info(COUNT)).version == shelf.kept["a"]["count"].version

        assert shelf.loaded == ["a", "a"]

    run_virtually(main)


def test_what_is_held_or_has_a_program_running_stays(run_virtually: Run) -> None:
    async def main() -> None:
        async with Contexts(idle=1.0) as family:
            enough = anyio.Event()

            async def program() -> None:
                await enough.wait()

            async with anyio.create_task_group() as tasks:
                async with family.open("called") as ctx:
                    bound = await ctx.register_program("p", program)

                tasks.start_soon(bound)
                async with family.open("held"):
                    await anyio.sleep(1000)
                    assert family.keys() == ("called", "held")

                enough.set()

            await anyio.sleep(3)
            assert family.keys() == ()

    run_virtually(main)


def test_idle_forever_is_never_evicted(run_virtually: Run) -> None:
    async def main() -> None:
        async with Contexts(idle=math.inf) as family:
            async with family.open("a"):
                pass

            await anyio.sleep(80_000)
            assert family.keys() == ("a",)

    run_virtually(main)


async def test_past_the_bound_the_least_recently_used_makes_room_and_is_saved() -> None:
    shelf = Shelf()
    async with shelf.family(max_contexts=3) as family:
        for key in "abcabxc":
            await add(family, key)
            assert len(family) <= 3

        assert shelf.saved == ["c", "a"]
        assert set(family.keys()) == {"b", "x", "c"}

    assert shelf.counts() == {"a": 2, "b": 2, "c": 2, "x": 1}


async def test_with_all_held_a_newcomer_is_refused_at_once() -> None:
    async with Contexts(max_contexts=2, name="chats") as family, family.open("a"), family.open("b") as b:
        with anyio.fail_after(1), pytest.raises(Overloaded) as caught:
            async with family.open("c"):
                raise AssertionError("not reached")

        assert str(caught.value) == ("The family 'chats' is full: its bound of 2 is reached. Try again later, or raise the bound.")
        async with family.open("b") as again:
            assert again is b

        assert family.keys() == ("a", "b")


async def test_many_newcomers_at_once_never_make_more_than_the_bound() -> None:
    shelf = Shelf()
    most = 0
    async with shelf.family(max_contexts=8) as family:

        async def use(key: str) -> None:
            nonlocal most
            try:
                await add(family, key)
            except Overloaded:
                await checkpoint()
                await use(key)

            most = max(most, len(family))

        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(use, str(number % 40))

        assert most <= 8

    assert shelf.counts() == {str(number): 5 for number in range(40)}


async def test_evictions_save_so_many_at_once() -> None:
    shelf = Shelf(seconds=0.001)
    many = 2 * AT_ONCE
    async with shelf.family(max_contexts=many, load=None) as family:
        for number in range(many):
            await add(family, str(number))

        async with anyio.create_task_group() as tasks:
            for number in range(many):
                tasks.start_soon(add, family, f"new {number}")

        assert len(shelf.saved) == many
        assert 1 < shelf.most_at_once <= AT_ONCE


async def test_what_nothing_has_happened_in_is_not_saved() -> None:
    shelf = Shelf()
    async with shelf.family(max_contexts=1, init=lambda ctx: None) as family:
        for key in "abc":
            async with family.open(key):
                pass

        await add(family, "d")
        async with family.open("a"):
            pass

    assert shelf.saved == ["d"]


def test_who_opens_it_while_it_is_being_saved_waits_and_gets_what_was_saved(run_virtually: Run) -> None:
    async def main() -> None:
        shelf = Shelf(seconds=5.0)
        async with shelf.family(idle=10.0) as family:
            await add(family, "a")
            await anyio.sleep(12)
            assert shelf.at_once == 1
            began = anyio.current_time()
            assert await add(family, "a") == 2
            assert anyio.current_time() - began == pytest.approx(8.0, abs=0.01)  # three to save, five to load
            assert shelf.loaded == ["a", "a"]

    run_virtually(main)


@pytest.mark.parametrize("failing", [None, OSError("disk full")])
def test_a_write_while_it_is_being_saved_is_not_acknowledged_unless_it_stays(run_virtually: Run, failing: Exception | None) -> None:
    """A snapshot has every write that was acknowledged, also by who kept the handle."""

    async def main() -> None:
        shelf = Shelf(seconds=5.0)
        shelf.failing = failing
        async with shelf.family(idle=10.0) as family:
            async with family.open("a") as ctx:
                await ctx.variables.add(COUNT, 1)

            await anyio.sleep(12)
            assert shelf.at_once == 1
            if failing is None:
                with pytest.raises(ContextClosed) as caught:
                    await ctx.variables.add(COUNT, 1)

                assert caught.value.applied is False
                assert shelf.counts() == {"a": 1}
            else:
                assert await ctx.variables.add(COUNT, 1) == 2
                assert shelf.at_once == 0
                shelf.failing = None
                assert await add(family, "a") == 3

        assert shelf.counts() == {"a": 1 if failing is None else 3}

    run_virtually(main)


def test_one_that_cannot_be_saved_stays_usable_is_reported_and_tried_again_ever_later(
    run_virtually: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        shelf = Shelf()
        shelf.failing = OSError("disk full")
        tried: list[float] = []

        async def save(key: str, snapshot: Snapshot) -> None:
            tried.append(anyio.current_time())
            await shelf.save(key, snapshot)

        async with shelf.family(idle=10.0, save=save) as family:
            async with family.open("a") as ctx:
                await ctx.variables.set(COUNT, 1)

            await anyio.sleep(10 + 1 + 2 + 4 + 1)
            assert [round(later - earlier) for earlier, later in itertools.pairwise(tried)] == [1, 2, 4]
            assert family.statistics().failed_saves == 4
            assert family.last_error is shelf.failing
            assert ctx.status is Status.RUNNING
            assert await ctx.variables.add(COUNT, 1) == 2
            shelf.failing = None
            await anyio.sleep(8)
            assert family.keys() == ()

        assert shelf.counts() == {"a": 2}

    with caplog.at_level(logging.ERROR):
        run_virtually(main)

    assert caplog.messages[0] == "family 'chats': context 'a' can't be saved (1 in a row). It stays. OSError: disk full"


async def test_one_that_cannot_be_saved_makes_no_room_and_the_newcomer_is_told_why() -> None:
    shelf = Shelf()
    async with shelf.family(max_contexts=1) as family:
        await add(family, "a")
        shelf.failing = OSError("disk full")
        with pytest.raises(Overloaded) as caught:
            await add(family, "b")

        assert caught.value.__cause__ is shelf.failing
        assert family.keys() == ("a",)
        assert await add(family, "a") == 2
        shelf.failing = None

    assert shelf.counts() == {"a": 2}


async def test_one_poisoned_key_does_not_keep_others_from_making_room() -> None:
    shelf = Shelf()

    async def save(key: str, snapshot: Snapshot) -> None:
        if key == "poison" and len(shelf.saved) < 5:
            raise ValueError("can't be written")

        await shelf.save(key, snapshot)

    async with shelf.family(max_contexts=2, save=save) as family:
        for key in ("poison", "a", "b", "c", "d", "e", "f"):
            await add(family, key)

        assert "poison" in family

    assert set(shelf.counts()) == {"poison", "a", "b", "c", "d", "e", "f"}


# --- dropping --------------------------------------------------------------------------------------------------------------------


async def test_drop_stops_it_and_forgets_what_it_holds() -> None:
    shelf = Shelf()
    async with shelf.family() as family:
        async with family.open("a") as ctx:
            await ctx.variables.set(COUNT, 7)

        await family.drop("a")
        assert (ctx.status, "a" in family, shelf.saved) == (Status.CLOSED, False, [])
        await family.drop("a")
        await family.drop("never there")
        assert await add(family, "a") == 1


async def test_drop_waits_for_holders_and_who_comes_after_it_gets_a_new_one() -> None:
    async with Contexts(variables=[COUNT]) as family:
        dropped = anyio.Event()
        later: list[int] = []

        async def drop() -> None:
            await family.drop("a")
            dropped.set()

        async def join() -> None:
            later.append(await add(family, "a"))

        async with anyio.create_task_group() as tasks, held(family, "a") as let_go:
            assert await add(family, "a") == 1
            tasks.start_soon(drop)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(join)
            await anyio.wait_all_tasks_blocked()
            assert not dropped.is_set()
            let_go()

        assert later == [1]


async def test_who_waits_to_drop_and_is_cancelled_has_dropped_nothing() -> None:
    async with Contexts(variables=[COUNT]) as family, held(family, "a"):
        assert await add(family, "a") == 1
        with anyio.move_on_after(0.01):
            await family.drop("a")

        assert await add(family, "a") == 2


# --- crashes ---------------------------------------------------------------------------------------------------------------------


async def test_one_that_crashes_comes_back_with_its_state_and_holders_keep_their_handle() -> None:
    async with Contexts(variables=[COUNT]) as family:
        async with family.open("a") as ctx:
            await ctx.variables.set(COUNT, 5)
            crash(ctx)
            assert await ctx.variables.add(COUNT, 1) == 6
            async with family.open("a") as again:
                assert again is ctx

        told = family.statistics()
        assert (told.crashes, told.contexts, told.starts) == (1, 1, 1)
        assert "planted" in str(family.last_error)


def test_one_that_crashes_while_it_is_being_saved_comes_back_with_its_state(run_virtually: Run) -> None:
    async def main() -> None:
        shelf = Shelf(seconds=5.0)
        async with shelf.family(idle=10.0, load=None) as family:
            async with family.open("a") as ctx:
                await ctx.variables.set(COUNT, 5)

            await anyio.sleep(12)
            assert shelf.at_once == 1
            crash(ctx)
            async with family.open("a") as again:
                assert again is ctx
                assert await again.variables.add(COUNT, 1) == 6

            assert family.statistics().lost == 0

        assert shelf.counts() == {"a": 6}

    run_virtually(main)


async def crash_for_good(ctx: Context) -> None:
    while ctx.status is not Status.CLOSED and ctx.status is not Status.CRASHED and ctx.status is not Status.PARKED:
        if ctx.status is Status.RUNNING:
            crash(ctx)

        await checkpoint()


async def test_one_that_crashes_for_good_takes_no_other_along_and_the_next_one_has_what_it_held() -> None:
    shelf = Shelf()
    async with shelf.family() as family, family.open("b") as other:
        await other.variables.set(COUNT, 1)
        async with family.open("a") as ctx:
            await ctx.variables.set(COUNT, 5)
            await crash_for_good(ctx)
            with pytest.raises(ContextCrashed):
                await ctx.variables.get(COUNT)

            async with family.open("a") as again:
                assert again is not ctx
                assert await again.variables.add(COUNT, 1) == 6

        assert await other.variables.add(COUNT, 1) == 2
        assert family.statistics().lost == 0

    assert shelf.counts() == {"a": 6, "b": 2}


@asynccontextmanager
async def one_crashed_that_cannot_be_saved(shelf: Shelf) -> AsyncIterator[Contexts]:
    """A family whose "a" crashed for good, with a count of 5, while there is no room on *shelf*."""
    async with shelf.family() as family:
        async with family.open("a") as ctx:
            await ctx.variables.set(COUNT, 5)
            shelf.failing = OSError("disk full")
            await crash_for_good(ctx)

        await anyio.sleep(0.5)
        yield family


def test_what_a_crashed_one_held_is_kept_until_it_can_be_saved(run_virtually: Run) -> None:
    async def main() -> None:
        shelf = Shelf()
        async with one_crashed_that_cannot_be_saved(shelf) as family:
            assert (family.statistics().unsaved, family.keys()) == (1, ())
            shelf.failing = None
            await anyio.sleep(1)
            assert (family.statistics().unsaved, shelf.counts()) == (0, {"a": 5})
            assert await add(family, "a") == 6

    run_virtually(main)


def test_what_a_crashed_one_held_is_what_the_next_one_begins_with_while_it_cannot_be_saved(run_virtually: Run) -> None:
    async def main() -> None:
        shelf = Shelf()
        async with one_crashed_that_cannot_be_saved(shelf) as family:
            assert await add(family, "a") == 6
            shelf.failing = None

        assert shelf.counts() == {"a": 6}
        assert shelf.loaded == ["a"]

    run_virtually(main)


async def test_what_can_not_be_read_of_a_crashed_one_is_counted_and_told(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("the backend is broken")

        def close(self, *, drop: bool = False) -> None: ...

    shelf = Shelf()
    async with shelf.family() as family:
        assert await add(family, "b") == 1
        async with family.open("a") as ctx:
            await ctx.variables.set(COUNT, 5)
            backend: Any = Broken()
            backend.capabilities = ctx.backend.capabilities
            ctx.variables.backend = backend
            await crash_for_good(ctx)

        while family.statistics().lost == 0:
            await checkpoint()

        assert any("of context 'a' is lost: RuntimeError: the backend is broken" in message for message in caplog.messages)
        assert await add(family, "a") == 1
        assert await add(family, "b") == 2


async def test_one_that_its_holder_stops_is_started_anew_by_the_next() -> None:
    async with Contexts(variables=[COUNT]) as family:
        async with family.open("a") as ctx:
            await ctx.stop()
            assert ctx.status is Status.CLOSED

        assert await add(family, "a") == 1
        assert family.keys() == ("a",)


# --- the end ---------------------------------------------------------------------------------------------------------------------


async def test_leaving_saves_all_so_many_at_once() -> None:
    shelf = Shelf(seconds=0.001)
    async with shelf.family() as family:
        async with anyio.create_task_group() as tasks:
            for number in range(3 * AT_ONCE):
                tasks.start_soon(add, family, str(number))

        shelf.most_at_once = 0

    assert len(shelf.saved) == 3 * AT_ONCE
    assert 1 < shelf.most_at_once <= AT_ONCE
    assert family.status == "closed"


def test_leaving_refuses_newcomers_and_gives_holders_time(run_virtually: Run) -> None:
    async def main() -> None:
        shelf = Shelf()
        told: list[str] = []
        family = shelf.family(drain=10.0)

        async def hold(seconds: float) -> None:
            async with family.open("a") as ctx:
                await anyio.sleep(seconds)
                async with family.open("a"):
                    await ctx.variables.add(COUNT, 1)

        async def refused(exclusive: bool) -> None:
            try:
                async with family.open("a", exclusive=exclusive):
                    raise AssertionError("not reached")
            except ContextClosed as error:
                told.append(f"{anyio.current_time() - began:g}: {error}")

        async with anyio.create_task_group() as tasks:
            async with family:
                began = anyio.current_time()
                tasks.start_soon(hold, 4.0)
                await anyio.sleep(1)
                tasks.start_soon(refused, True)
                await anyio.sleep(1)

                async def late() -> None:
                    await anyio.sleep(1)
                    await refused(False)

                tasks.start_soon(late)

            assert anyio.current_time() - began == pytest.approx(4.0, abs=0.01)

        words = "Context 'a' is closed. Its family 'chats' is stopping."
        assert told == [f"2: {words}", f"3: {words}"]
        assert shelf.counts() == {"a": 1}

    run_virtually(main)


def test_holders_that_take_longer_find_it_closed_and_what_was_acknowledged_is_saved(run_virtually: Run) -> None:
    async def main() -> None:
        shelf = Shelf()
        acknowledged = 0
        family = shelf.family(drain=3.0)

        async def keep_adding() -> None:
            nonlocal acknowledged
            async with family.open("a") as ctx:
                with pytest.raises(ContextClosed):
                    while True:
                        acknowledged = await ctx.variables.add(COUNT, 1)
                        await anyio.sleep(0.1)

        async with anyio.create_task_group() as tasks, family:
            tasks.start_soon(keep_adding)
            await anyio.sleep(1)

        assert acknowledged > 30
        assert shelf.counts() == {"a": acknowledged}

    run_virtually(main)


def test_a_program_that_runs_has_the_drain_to_end(run_virtually: Run) -> None:
    async def main() -> None:
        shelf = Shelf()
        ended: list[str] = []

        async def program(ctx: Any, seconds: float) -> None:
            await anyio.sleep(seconds)
            await ctx.add("count", 1)
            ended.append("by itself")

        async with anyio.create_task_group() as tasks, shelf.family(drain=5.0) as family:
            for key, seconds in (("short", 2.0), ("long", 50.0)):
                async with family.open(key) as ctx:
                    bound = await ctx.register_program("p", program)

                async def call(bound: Any = bound, seconds: float = seconds) -> None:
                    try:
                        await bound(seconds=seconds)
                    except ContextClosed:
                        ended.append("told")

                tasks.start_soon(call)

            await checkpoint()

        assert ended == ["by itself", "told"]
        assert shelf.counts()["short"] == 1

    run_virtually(main)


def test_what_cannot_be_saved_at_the_end_is_tried_once_more(run_virtually: Run) -> None:
    async def main() -> None:
        shelf = Shelf()
        async with shelf.family() as family:
            await add(family, "a")
            await add(family, "b")

            async def recover() -> None:
                await anyio.sleep(0.5)
                shelf.failing = None

            shelf.failing = OSError("disk full")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(recover)
                await family.stop()

        assert shelf.counts() == {"a": 1, "b": 1}

    run_virtually(main)


def test_what_still_cannot_be_saved_leaves_the_block_in_an_error(run_virtually: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> SaveFailed:
        shelf = Shelf()

        async def save(key: str, snapshot: Snapshot) -> None:
            if key != "fine":
                raise OSError(f"no room for {key}")

            await shelf.save(key, snapshot)

        with pytest.raises(SaveFailed) as caught:
            async with shelf.family(save=save) as family:
                for number, key in enumerate(("a", "fine", "b")):
                    await add(family, key, number + 1)

        assert shelf.counts() == {"fine": 2}
        assert family.last_error is caught.value
        return caught.value

    error = run_virtually(main)
    assert {key: snapshot["count"].value for key, snapshot in error.snapshots.items()} == {"a": 1, "b": 3}
    assert {key: str(each) for key, each in error.errors.items()} == {"a": "no room for a", "b": "no room for b"}
    assert str(error) == (
        "2 contexts of family 'chats' could not be saved: 'a', 'b'. What they held is in this error's 'snapshots', by key. "
        "The first: OSError: no room for a"
    )
    assert error.__cause__ is error.errors["a"]
    assert str(error) in caplog.messages
    assert error.applied is None


def test_a_save_that_hangs_at_the_end_is_given_up_and_what_it_was_to_save_told(run_virtually: Run) -> None:
    async def main() -> None:
        async def save(key: str, snapshot: Snapshot) -> None:
            if key == "hangs":
                await anyio.sleep_forever()

        began = anyio.current_time()
        with pytest.raises(SaveFailed) as caught:
            async with Contexts(variables=[COUNT], save=save) as family:
                await add(family, "hangs")
                await add(family, "fine")

        assert anyio.current_time() - began < 2 * SAVING + 10  # twice
        assert isinstance(caught.value.errors["hangs"], CallTimeout)
        assert caught.value.snapshots["hangs"]["count"].value == 1
        assert list(caught.value.errors) == ["hangs"]

    run_virtually(main)


def test_when_nothing_can_be_saved_for_as_long_as_one_save_has_the_rest_is_given_up(run_virtually: Run) -> None:
    async def main() -> None:
        async def save(key: str, snapshot: Snapshot) -> None:
            await anyio.sleep_forever()

        with pytest.raises(SaveFailed) as caught:
            async with Contexts(variables=[COUNT], save=save) as family:
                for number in range(3 * AT_ONCE):
                    await add(family, str(number))

                began = anyio.current_time()

        assert anyio.current_time() - began < 2 * SAVING + 10  # twice, and not so many times
        assert len(caught.value.snapshots) == 3 * AT_ONCE

    run_virtually(main)


def test_however_many_there_are_they_are_saved_as_long_as_it_goes_on(run_virtually: Run) -> None:
    async def main() -> None:
        shelf = Shelf(seconds=SAVING / 2)
        async with shelf.family(load=None) as family:
            for number in range(5 * AT_ONCE):
                await add(family, str(number))

        assert len(shelf.kept) == 5 * AT_ONCE

    run_virtually(main)


async def test_i12_an_exception_of_the_body_comes_out_as_itself_and_all_is_saved() -> None:
    shelf = Shelf()
    error = LookupError("mine")
    with pytest.raises(LookupError) as caught:
        async with shelf.family() as family:
            await add(family, "a")
            raise error

    assert caught.value is error
    assert shelf.counts() == {"a": 1}


def test_i12_it_does_also_when_something_cannot_be_saved(run_virtually: Run) -> None:
    async def main() -> None:
        shelf = Shelf()
        error = LookupError("mine")
        with pytest.raises(LookupError) as caught:
            async with shelf.family() as family:
                await add(family, "a")
                shelf.failing = OSError("disk full")
                raise error

        assert caught.value is error
        assert isinstance(family.last_error, SaveFailed)
        assert family.last_error.snapshots["a"]["count"].value == 1

    run_virtually(main)


async def test_a_cancelled_body_leaves_all_saved_and_its_holders_untold_for() -> None:
    shelf = Shelf(seconds=0.001)
    family = shelf.family(drain=1000.0)
    added = anyio.Event()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks, family:

            async def hold() -> None:
                async with family.open("a") as ctx:
                    await ctx.variables.add(COUNT, 1)
                    added.set()
                    await anyio.sleep_forever()

            tasks.start_soon(hold)
            await add(family, "b")
            await added.wait()
            assert (family.statistics().held, family.statistics().contexts) == (1, 2)
            tasks.cancel_scope.cancel()
            await anyio.sleep_forever()

    assert shelf.counts() == {"a": 1, "b": 1}


def test_a_cancellation_while_holders_have_their_time_cuts_it_short_and_all_is_saved(run_virtually: Run) -> None:
    async def main() -> None:
        shelf = Shelf(seconds=1.0)
        family = shelf.family(drain=1000.0)
        async with anyio.create_task_group() as tasks:
            with anyio.move_on_after(10) as scope:
                async with family:
                    entered = anyio.Event()

                    async def hold() -> None:
                        async with family.open("a") as ctx:
                            await ctx.variables.add(COUNT, 1)
                            entered.set()
                            with pytest.raises(ContextClosed):
                                while True:
                                    await ctx.variables.get(COUNT)
                                    await anyio.sleep(1)

                    tasks.start_soon(hold)
                    await entered.wait()

            assert scope.cancelled_caught
            assert anyio.current_time() == pytest.approx(11, abs=0.1)
            assert (family.status, shelf.counts()) == ("closed", {"a": 1})

    run_virtually(main)


async def test_start_and_stop_from_any_task() -> None:
    shelf = Shelf()
    family = await shelf.family().start()
    assert family.status == "running"
    await add(family, "a")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(family.stop)
        tasks.start_soon(family.stop)

    await family.stop()
    assert (family.status, shelf.counts()) == ("closed", {"a": 1})


def test_stop_tells_what_could_not_be_saved(run_virtually: Run) -> None:
    async def main() -> None:
        shelf = Shelf()
        family = await shelf.family().start()
        await add(family, "a")
        shelf.failing = OSError("disk full")
        with pytest.raises(SaveFailed):
            await family.stop()

    run_virtually(main)


async def test_stop_in_the_block_leaves_the_body_alone() -> None:
    async with Contexts() as family:
        async with family.open("a"):
            pass

        await family.stop()
        await family.stop()
        await checkpoint()
        assert (family.status, len(family)) == ("closed", 0)


async def test_stop_of_one_that_was_never_started_is_fine() -> None:
    await Contexts().stop()


def test_a_start_under_way_at_the_end_is_turned_back(run_virtually: Run) -> None:
    async def main() -> None:
        async def load(key: str) -> None:
            await anyio.sleep_forever()

        told: list[str] = []

        async def use(family: Contexts) -> None:
            try:
                async with family.open("a"):
                    raise AssertionError("not reached")
            except ContextClosed:
                told.append("closed")

        async with anyio.create_task_group() as tasks, Contexts(load=load) as family:
            tasks.start_soon(use, family)
            await anyio.sleep(1)

        assert told == ["closed"]
        assert anyio.current_time() < 10

    run_virtually(main)


# --- under a supervisor ----------------------------------------------------------------------------------------------------------


async def test_under_a_supervisor_the_value_is_the_family_one_object_for_all_lives() -> None:
    shelf = Shelf()
    spec = Contexts.child_spec("chats", variables=[COUNT], load=shelf.load, save=shelf.save)
    async with Supervisor([spec], name="app") as supervisor:
        family = supervisor.which_child("chats").value
        assert isinstance(family, Contexts)
        assert await add(family, "a") == 1
        drawn = str(supervisor.tree())
        assert "chats" in drawn
        assert "a" in [child.name for child in supervisor.tree().root.children[0].children]
        await supervisor.terminate_child("chats")
        assert shelf.counts() == {"a": 1}
        assert (await supervisor.restart_child("chats")).value is family
        assert await add(family, "a") == 2

    assert shelf.counts() == {"a": 2}


async def test_task_names_tell_the_key_and_where_it_is() -> None:
    names: list[str | None] = []

    async def init(ctx: Context) -> None:
        names.append(anyio.get_current_task().name)

    async with Supervisor([Contexts.child_spec("chats", init=init)], name="app") as supervisor:
        family = supervisor.which_child("chats").value
        async with family.open("user/7"):
            pass

    async with Contexts(name="alone", init=init) as family, family.open("a"):
        pass

    assert names == ["app/chats/user%2F7", "alone/a"]


async def test_what_it_loads_and_starts_with_is_not_in_the_context_of_who_came_first() -> None:
    from contextvars import ContextVar

    asking: ContextVar[str] = ContextVar("asking", default="nobody")
    seen: list[str] = []

    def look(*_: Any) -> None:
        seen.append(asking.get())

    async with Contexts(load=look, save=look, init=look, max_contexts=1, variables=[COUNT]) as family:
        asking.set("me")
        await add(family, "a")
        await add(family, "b")

    assert set(seen) == {"nobody"}


# --- bridges ---------------------------------------------------------------------------------------------------------------------


@isolated
def where(ctx: Any) -> int:
    import os

    ctx.add("count", 1)
    return os.getpid()


async def test_without_a_bridge_all_contexts_share_a_private_one_that_the_first_opens() -> None:
    shelf = Shelf()
    async with shelf.family() as family:
        await add(family, "local")
        assert family._house is not None
        assert family._house._bridge is None
        pids = set()
        bridge: Any = None
        for key in "ab":
            async with family.open(key) as ctx:
                bound = await ctx.register_program("where", where)
                pids.add(await bound())
                assert ctx.backend.kind == "bridged"
                bridge = family._house._bridge

        assert len(pids) == 1
        await family.drop("b")
        async with family.open("a") as ctx:
            assert await ctx.call("where") in pids
            assert bridge.status == "running"

    assert bridge.status == "closed"
    assert shelf.counts() == {"local": 1, "a": 2}


async def test_a_bridge_that_was_given_is_left_open() -> None:
    async with Bridge() as bridge:
        async with Contexts(bridge=bridge, variables=[COUNT]) as family, family.open("a") as ctx:
            await ctx.ensure_bridged()

        assert bridge.status == "running"


async def test_a_bridge_may_be_a_sibling() -> None:
    async with Supervisor([Bridge.child_spec("bridge"), Contexts.child_spec("chats", bridge="bridge", variables=[COUNT])]) as supervisor:
        family = supervisor.which_child("chats").value
        async with family.open("a") as ctx:
            await ctx.ensure_bridged()
            assert ctx.backend.kind == "bridged"
            assert await ctx.variables.add(COUNT, 1) == 1


# --- what it tells ---------------------------------------------------------------------------------------------------------------


async def test_it_tells_what_it_does() -> None:
    async with Contexts(variables=[COUNT], max_contexts=5, name="chats") as family:
        assert repr(family) == "<Contexts 'chats' [running | contexts: 0 of 5, 0 held | waiting: 0]>"
        async with family.open("a"), family.open("a"), family.open("b"):
            assert repr(family) == "<Contexts 'chats' [running | contexts: 2 of 5, 2 held | waiting: 0]>"
            told = family.statistics()
            assert (told.contexts, told.held, told.holders, told.starts) == (2, 2, 3, 2)
            assert (len(family), "a" in family, "x" in family, bool(family)) == (2, True, False, True)

        drawn = family.__branch__()
        assert (drawn.name, drawn.kind, drawn.state) == ("chats", "contexts", "running")
        assert dict(drawn.facts) == {"contexts": 2, "held": 0, "failed saves": 0}
        assert [(child.name, child.kind, child.state) for child in drawn.children] == [
            ("a", "context", "running"),
            ("b", "context", "running"),
        ]

    assert repr(family) == "<Contexts 'chats' [closed | contexts: 0 of 5, 0 held | waiting: 0]>"
    assert repr(Contexts(name="x")) == "<Contexts 'x' [new | contexts: 0 of 10000, 0 held | waiting: 0]>"


async def test_from_another_thread_it_says_so() -> None:
    async with Contexts(name="chats") as family:
        told: list[BaseException] = []

        def elsewhere() -> None:
            async def use() -> None:
                async with family.open("a"):
                    raise AssertionError("not reached")

            try:
                anyio.run(use)
            except BaseException as error:
                told.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await anyio.to_thread.run_sync(thread.join)
        assert isinstance(told[0], WrongThread)
        assert str(told[0]).startswith("Family 'chats' was used from another thread or event loop than the one it runs in. ")


def test_thousands_of_keys_come_and_go_with_one_task_that_looks_at_the_time(run_virtually: Run) -> None:
    async def main() -> None:
        import leaks

        shelf = Shelf()
        async with shelf.family(idle=100.0) as family:
            before = len(leaks.tasks())
            async with family.open("one"):
                each = len(leaks.tasks()) - before

            for number in range(1999):
                await add(family, str(number))

            assert len(family) == 2000
            assert len(leaks.tasks()) - before == 2000 * each
            await anyio.sleep(101)
            assert len(family) == 0
            assert len(leaks.tasks()) == before

        assert len(shelf.kept) == 1999

    run_virtually(main)


async def test_nothing_is_kept_of_a_key_that_is_gone() -> None:
    async with Contexts(variables=[COUNT], max_contexts=1) as family:
        for number in range(50):
            await add(family, str(number))

        gc.collect()
        assert family._house is not None
        assert len(family._house.tenancy.tenants) == 1
        alive = [each for each in gc.get_objects() if isinstance(each, Context) and each.status is Status.RUNNING]
        assert len(alive) == 1
