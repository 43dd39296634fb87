"""Watches: conflated, bounded, in order, never in a writer's way; on every backend alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from context.homes import HOMES

from dspex import BatchError, Bridge, Change, Context, ContextClosed, ContextCrashed, ContextExpired, Var
from dspex.state import LocalState

COUNT = Var("count", int, 0)
NAME = Var("name", str, "")
NOTES = Var("notes", list[str], [])

Make = Callable[..., Context]


@pytest.fixture(params=HOMES)
def make(request: pytest.FixtureRequest) -> Make:
    return HOMES[request.param]


async def taken(changes: Any, count: int) -> list[Change]:
    """The next *count* changes. They are due: a watch that waits for more is an error."""
    found = []
    with anyio.fail_after(5):
        for _ in range(count):
            found.append(await anext(changes))

    return found


async def nothing_more(changes: Any) -> None:
    with anyio.move_on_after(0.01) as scope:
        pytest.fail(f"nothing had changed, and the watch told {await anext(changes)!r}")

    assert scope.cancelled_caught


async def test_a_watch_tells_each_change_with_value_version_and_metadata(make: Make) -> None:
    async with make(variables=[COUNT]) as ctx, ctx.variables.watch(COUNT) as changes:
        await ctx.variables.set(COUNT, 1, metadata={"by": "me"})
        (change,) = await taken(changes, 1)
        assert (change.kind, change.name, change.value, change.version, dict(change.metadata), change.skipped) == (
            "set", "count", 1, 1, {"by": "me"}, 0,
        )  # fmt: skip
        await nothing_more(changes)


async def test_every_way_of_writing_is_told(make: Make) -> None:
    async with make(variables=[COUNT, NOTES]) as ctx, ctx.variables.watch() as changes:
        id = (await ctx.variables.info(COUNT)).id
        for write, told in [
            (lambda: ctx.variables.set("count", 1), ("set", "count", 1)),
            (lambda: ctx.variables.set(id, 2), ("set", "count", 2)),
            (lambda: ctx.variables.set(COUNT, 3, expected_version=2), ("set", "count", 3)),
            (lambda: ctx.variables.update(COUNT, lambda n: n + 1), ("set", "count", 4)),
            (lambda: ctx.variables.add(COUNT, 1), ("set", "count", 5)),
            (lambda: ctx.variables.append(NOTES, "a"), ("set", "notes", ["a"])),
            (lambda: ctx.variables.define("facts", dict[str, int], {}), ("defined", "facts", {})),
            (lambda: ctx.variables.merge("facts", {"x": 1}), ("set", "facts", {"x": 1})),
            (lambda: ctx.variables.set_many({id: 6}), ("set", "count", 6)),
            (lambda: ctx.variables.delete("facts"), ("deleted", "facts", None)),
        ]:
            await write()
            (change,) = await taken(changes, 1)
            assert (change.kind, change.name, change.value) == told

        await nothing_more(changes)


async def test_a_write_that_was_refused_is_no_change(make: Make) -> None:
    async with make(variables=[COUNT]) as ctx, ctx.variables.watch() as changes:
        for refused in (
            lambda: ctx.variables.set(COUNT, "x"),  # type: ignore[call-overload]
            lambda: ctx.variables.set(COUNT, 1, expected_version=9),
            lambda: ctx.variables.set_many({COUNT: 1, "nobody": 2}),
            lambda: ctx.variables.update(COUNT, lambda n: n // 0),
            lambda: ctx.variables.delete("nobody"),
            lambda: ctx.variables.define(COUNT),
        ):
            with pytest.raises(Exception):  # noqa: B017 - each has its own, told elsewhere
                await refused()

        await nothing_more(changes)


async def test_what_a_best_effort_batch_could_set_is_told(make: Make) -> None:
    async with make(variables=[COUNT, NAME]) as ctx, ctx.variables.watch() as changes:
        id = (await ctx.variables.info(COUNT)).id
        with pytest.raises(BatchError):
            await ctx.variables.set_many({id: 1, "nobody": 2, NAME: 5}, atomic=False)

        assert [(change.name, change.value) for change in await taken(changes, 1)] == [("count", 1)]
        await nothing_more(changes)


async def test_a_slow_reader_gets_the_latest_and_how_many_it_missed(make: Make) -> None:
    async with make(variables=[COUNT, NAME]) as ctx, ctx.variables.watch() as changes:
        for number in range(1, 101):
            await ctx.variables.set(COUNT, number)

        await ctx.variables.set(NAME, "n")
        assert [(change.name, change.value, change.version, change.skipped) for change in await taken(changes, 2)] == [
            ("count", 100, 100, 99),
            ("name", "n", 1, 0),
        ]
        await ctx.variables.set(COUNT, 0)
        assert [(change.version, change.skipped) for change in await taken(changes, 1)] == [(101, 0)]
        await nothing_more(changes)


async def test_handed_over_and_skipped_add_up_to_every_write(make: Make) -> None:
    async with make(variables=[COUNT]) as ctx:
        seen: list[Change] = []
        ready = anyio.Event()

        async def watch() -> None:
            async with ctx.variables.watch(COUNT) as changes:
                ready.set()
                async for change in changes:
                    seen.append(change)
                    await checkpoint()

        async def write() -> None:
            for _ in range(50):
                await ctx.variables.add(COUNT, 1)
                await checkpoint()

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            await ready.wait()
            async with anyio.create_task_group() as writers:
                for _ in range(4):
                    writers.start_soon(write)

            await ctx.stop()

    versions = [change.version for change in seen]
    assert versions == sorted(set(versions)) and versions[-1] == 200
    assert all(change.value == change.version for change in seen)
    assert sum(change.skipped + 1 for change in seen) == 200


async def test_names_are_told_in_the_order_they_first_changed(make: Make) -> None:
    async with make() as ctx:
        for number in range(10):
            await ctx.variables.define(f"v{number}", int, 0)

        async with ctx.variables.watch() as changes:
            for number in (7, 3, 9, 7, 3):
                await ctx.variables.add(f"v{number}", 1)

            assert [(change.name, change.skipped) for change in await taken(changes, 3)] == [("v7", 1), ("v3", 1), ("v9", 0)]


async def test_a_reader_that_never_reads_costs_one_entry_a_variable_and_delays_nobody() -> None:
    async with Context(variables=[COUNT]) as ctx, ctx.variables.watch() as changes:
        for number in range(5000):
            await ctx.variables.set(COUNT, number)
            await ctx.variables.define(f"v{number % 3}", int, number, exist_ok=True)

        assert len(changes._marks) == 4
        assert ctx.statistics().queued == 0


async def test_include_initial_tells_what_is_there_first_and_each_once(make: Make) -> None:
    async with make(variables=[COUNT, NAME, NOTES]) as ctx:
        await ctx.variables.set(NAME, "n")
        async with ctx.variables.watch(include_initial=True) as changes:
            assert [(change.name, change.value, change.version, change.skipped) for change in await taken(changes, 3)] == [
                ("count", 0, 0, 0),
                ("name", "n", 1, 0),
                ("notes", [], 0, 0),
            ]
            await nothing_more(changes)
            await ctx.variables.add(COUNT, 1)
            assert [(change.name, change.skipped) for change in await taken(changes, 1)] == [("count", 0)]

        async with ctx.variables.watch(NAME, include_initial=True) as changes:
            assert [change.name for change in await taken(changes, 1)] == ["name"]
            await nothing_more(changes)


async def test_some_are_watched_by_var_by_name_and_by_id(make: Make) -> None:
    async with make() as ctx:
        ids = [await ctx.variables.define(f"v{number}", int, 0) for number in range(4)]
        async with ctx.variables.watch(Var("v0", int, 0), "v1", ids[2]) as changes:
            for number in range(4):
                await ctx.variables.add(ids[number], 1)
                await ctx.variables.add(f"v{number}", 1)

            assert [(change.name, change.version, change.skipped) for change in await taken(changes, 3)] == [
                ("v0", 2, 1),
                ("v1", 2, 1),
                ("v2", 2, 1),
            ]
            await nothing_more(changes)


async def test_a_name_that_is_not_there_yet_may_be_watched(make: Make) -> None:
    async with make() as ctx, ctx.variables.watch("later") as changes:
        await ctx.variables.define("other", int, 0)
        await ctx.variables.define("later", int, 5)
        assert [(change.kind, change.value, change.version) for change in await taken(changes, 1)] == [("defined", 5, 0)]
        await ctx.variables.set("later", 6)
        assert [(change.kind, change.value) for change in await taken(changes, 1)] == [("set", 6)]


async def test_defined_and_set_before_it_was_seen_is_still_new(make: Make) -> None:
    async with make() as ctx, ctx.variables.watch() as changes:
        await ctx.variables.define("x", int, 0)
        await ctx.variables.set("x", 1)
        assert [(change.kind, change.value, change.version, change.skipped) for change in await taken(changes, 1)] == [("defined", 1, 1, 1)]


async def test_deleted_and_defined_again_is_another_variable(make: Make) -> None:
    async with make(variables=[COUNT]) as ctx, ctx.variables.watch(COUNT) as changes:
        await ctx.variables.set(COUNT, 5)
        await taken(changes, 1)
        await ctx.variables.delete(COUNT)
        assert [(change.kind, change.value, change.version) for change in await taken(changes, 1)] == [("deleted", None, 1)]
        await ctx.variables.define("count", str, "text")
        assert [(change.kind, change.value, change.version) for change in await taken(changes, 1)] == [("defined", "text", 0)]
        await ctx.variables.delete("count")
        await ctx.variables.define("count", str, "again")
        assert [(change.kind, change.value, change.version, change.skipped) for change in await taken(changes, 1)] == [
            ("defined", "again", 0, 0),
        ]
        await nothing_more(changes)


async def test_each_deletion_is_told_once(make: Make) -> None:
    async with make(variables=[COUNT]) as ctx, anyio.create_task_group() as group:
        seen: list[tuple[str, int]] = []
        ready = anyio.Event()

        async def watch() -> None:
            async with ctx.variables.watch(COUNT) as changes:
                ready.set()
                async for change in changes:
                    seen.append((change.kind, change.version))

        group.start_soon(watch)
        await ready.wait()
        for _ in range(20):
            await ctx.variables.set(COUNT, 1)
            await ctx.variables.delete(COUNT)
            await ctx.variables.define(COUNT)
            await checkpoint()

        await ctx.variables.delete(COUNT)
        await ctx.stop()

    assert seen[-1][0] == "deleted"
    assert all(one[0] != "deleted" or other[0] != "deleted" for one, other in pairwise(seen))


async def test_a_value_that_a_watch_tells_is_the_readers_own(make: Make) -> None:
    async with make(variables=[NOTES]) as ctx, ctx.variables.watch() as first, ctx.variables.watch() as second:
        await ctx.variables.append(NOTES, "a")
        (change,) = await taken(first, 1)
        change.value.append("b")
        assert (await taken(second, 1))[0].value == ["a"]
        assert await ctx.variables.get(NOTES) == ["a"]


async def test_two_watches_have_each_their_own_pace(make: Make) -> None:
    async with make(variables=[COUNT]) as ctx, ctx.variables.watch() as first, ctx.variables.watch() as second:
        assert ctx.statistics().watches == 2
        for number in range(1, 4):
            await ctx.variables.set(COUNT, number)
            assert (await taken(first, 1))[0].skipped == 0

        assert (await taken(second, 1))[0].skipped == 2

    assert ctx.statistics().watches == 0


async def test_a_stop_hands_over_what_is_held_and_ends_the_watch(make: Make) -> None:
    async with make(variables=[COUNT, NAME]) as ctx:
        async with ctx.variables.watch() as changes:
            await ctx.variables.set(COUNT, 3)
            await ctx.stop()
            told = [change async for change in changes]
            assert [(change.name, change.value) for change in told] in ([("count", 3)], [])
            with pytest.raises(StopAsyncIteration):
                await anext(changes)

        with pytest.raises(ContextClosed):
            async with ctx.variables.watch():
                pass


async def test_a_reader_that_waits_is_told_of_the_stop(make: Make) -> None:
    async with make(variables=[COUNT]) as ctx, anyio.create_task_group() as group:
        ended: list[str] = []
        ready = anyio.Event()

        async def watch(*variables: Any) -> None:
            async with ctx.variables.watch(*variables) as changes:
                ready.set()
                async for _ in changes:
                    pass

            ended.append("ended")

        group.start_soon(watch)
        group.start_soon(watch, COUNT)
        await ready.wait()
        with anyio.fail_after(5):
            await ctx.stop()

    assert ended == ["ended", "ended"]


class Breakable(LocalState):
    """Fails in `add`."""

    def add(self, key: Any, n: Any) -> Any:
        raise OSError("the disk has gone")


async def test_a_crash_raises_in_the_reader() -> None:
    with pytest.raises(ContextCrashed):
        async with Context(backend=Breakable, variables=[COUNT]) as ctx, anyio.create_task_group() as group:

            async def watch() -> None:
                with pytest.raises(ContextCrashed) as caught:
                    async with ctx.variables.watch() as changes:
                        await anext(changes)

                assert isinstance(caught.value.__cause__, OSError)

            group.start_soon(watch)
            while not ctx.statistics().watches:
                await checkpoint()

            with anyio.CancelScope(shield=True), pytest.raises(ContextCrashed):
                await ctx.variables.add(COUNT, 1)


def test_an_expiry_raises_in_the_reader_and_a_watch_alone_is_no_use(run_virtually: Any) -> None:
    async def main() -> None:
        async with Context(ttl=8.0, variables=[COUNT]) as ctx, ctx.variables.watch(COUNT) as changes:
            began = anyio.current_time()
            with pytest.raises(ContextExpired):
                await anext(changes)

            assert 8.0 <= anyio.current_time() - began <= 10.0

    run_virtually(main)


async def test_a_reader_that_is_cancelled_loses_nothing(make: Make) -> None:
    async with make(variables=[COUNT]) as ctx, ctx.variables.watch() as changes:
        for number in range(1, 30):
            with anyio.CancelScope() as scope:
                if number % 2:
                    await ctx.variables.set(COUNT, number)

                scope.cancel()
                await anext(changes)

        told = []
        with anyio.move_on_after(0.01):
            async for change in changes:
                told.append(change)

        if told:
            assert told[-1].value == 29
        assert changes._seen["count"][1] == (await ctx.variables.info(COUNT)).version


async def test_it_may_be_abandoned_inside_an_async_generator(make: Make, running_loop: Any) -> None:
    async def stream(ctx: Context) -> AsyncIterator[str]:
        async with ctx.variables.watch(COUNT, include_initial=True) as changes:
            async for change in changes:
                yield f"data: {change.value}\n\n"

    async with make(variables=[COUNT]) as ctx:
        first = stream(ctx)
        assert await anext(first) == "data: 0\n\n"

        async with anyio.create_task_group() as group:

            async def close_elsewhere() -> None:
                await first.aclose()  # type: ignore[attr-defined]

            group.start_soon(close_elsewhere)

        assert ctx.statistics().watches == 0

        with anyio.move_on_after(0.01):
            async for _ in (second := stream(ctx)):
                pass

        await second.aclose()  # type: ignore[attr-defined]
        assert ctx.statistics().watches == 0
        assert await ctx.variables.get(COUNT) == 0


async def test_iterated_outside_its_block_it_says_so() -> None:
    async with Context(variables=[COUNT]) as ctx:
        with pytest.raises(RuntimeError, match="inside its 'async with' block"):
            await anext(ctx.variables.watch(COUNT))

        async with ctx.variables.watch(COUNT) as changes:
            pass

        with pytest.raises(RuntimeError, match="inside its 'async with' block"):
            with anyio.fail_after(1):
                await anext(changes)


async def test_i5_to_a_watcher_the_switch_is_no_change() -> None:
    async with Context(variables=[COUNT, NOTES], bridge=Bridge()) as ctx, ctx.variables.watch() as changes:
        await ctx.variables.set(COUNT, 1)
        await taken(changes, 1)
        await ctx.ensure_bridged()
        await nothing_more(changes)
        await ctx.variables.set(COUNT, 2)
        await ctx.variables.append(NOTES, "a")
        assert [(change.name, change.version, change.skipped) for change in await taken(changes, 2)] == [("count", 2, 0), ("notes", 1, 0)]
