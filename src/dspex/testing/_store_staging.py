"""The rules of staging areas."""

from __future__ import annotations

from functools import partial
from typing import Any

from dspex._exceptions import FenceLost, SessionNotFound
from dspex.abc import PAGE, Put, Record
from dspex.testing._conformance import Rules, expect, expect_equal, refused
from dspex.testing._store_case import StoreCase, content, expect_content

staged: Rules[StoreCase] = Rules()
STAGED = [Record("x", 7, b"head", b"data"), Record("y", 0, b"", b"")]


@staged("what is staged is unseen until the commit")
async def _unseen(case: StoreCase) -> None:
    store, lease = await case.opened("a")
    before = (await store.changes("s", 0)).revision
    staging = await store.stage(lease)
    await staging.put(STAGED)
    await expect_content(store, [Record("a", 0, b"h", b"0")], "staging")
    expect_equal(await store.read("s", ["x"]), {}, "what read() finds of it")
    expect_equal((await store.changes("s", 0)).revision, before, "the revision")


@staged("a session whose first records are only staged doesn't exist")
async def _unborn(case: StoreCase) -> None:
    store, lease = await case.opened()
    await (await store.stage(lease)).put(STAGED)
    expect_equal(await content(store), [], "what a scan finds of it")
    await store.release(lease)
    await refused(lambda: store.open("s", "resume", holder="kit"), SessionNotFound, what="resuming it")
    again = await store.open("s", "create", holder="other")
    expect_equal(await _held(await store.stage(again)), [], "what the next staging area holds")


@staged("a staging area gives back what was put, and a page may be put again")
async def _gives_back(case: StoreCase) -> None:
    store, lease = await case.opened()
    staging = await store.stage(lease)
    many = [Record(f"id{number}", number, b"h", b"%d" % number) for number in range(PAGE)]
    for page in (many, STAGED, many):
        await staging.put(page)

    expect_equal(await _held(staging), many + STAGED, "what it gave back")


@staged("a commit replaces the content at once, with the versions that were put")
async def _commits(case: StoreCase) -> None:
    store, lease = await case.opened("a")
    staging = await store.stage(lease)
    await staging.put(STAGED)
    before = (await store.changes("s", 0)).revision
    revision = await staging.commit(b"digest")
    expect(revision > before, f"the revision went from {before} to {revision}")
    await expect_content(store, STAGED, "the commit")
    expect_equal((await store.apply(lease, None, [Put("x", b"next", 7)])).versions, (8,), "the version of the next put")
    await expect_content(store, [Record("x", 8, b"head", b"next"), STAGED[1]], "the next put")
    told = await store.changes("s", before)
    expect(not told.complete or set(told.versions) == {"a", "x", "y"}, f"changes() since before told {told}")


@staged("the same commit again gives the first answer and changes nothing")
async def _commits_again(case: StoreCase) -> None:
    store, lease = await case.opened()
    staging = await store.stage(lease)
    await staging.put(STAGED)
    revision = await staging.commit(b"digest")
    await store.apply(lease, None, [Put("x", b"next", 7)])
    expect_equal(await staging.commit(b"digest"), revision, "the second answer")
    await staging.abort()
    await expect_content(store, [Record("x", 8, b"head", b"next"), STAGED[1]], "the second commit, and an abort")


@staged("an aborted staging area leaves nothing")
async def _aborts(case: StoreCase) -> None:
    store, lease = await case.opened("a")
    staging = await store.stage(lease)
    await staging.put(STAGED)
    await staging.abort()
    await staging.abort()
    await refused(lambda: staging.commit(b"digest"), FenceLost, what="commit() after abort()")
    await expect_content(store, [Record("a", 0, b"h", b"0")], "the abort")
    expect_equal(await _held(await store.stage(lease)), [], "what the next staging area holds")


@staged("a new staging area ends the former one")
async def _supersedes(case: StoreCase) -> None:
    store, lease = await case.opened("a")
    former = await store.stage(lease)
    await former.put(STAGED)
    staging = await store.stage(lease)
    expect_equal(await _held(staging), [], "what the new one holds")
    calls: tuple[Any, ...] = (partial(former.put, STAGED), partial(former.commit, b"digest"))
    for call in calls:
        await refused(call, FenceLost, what=f"{call.func.__name__}() of the former one")

    await former.abort()
    await staging.put(STAGED[:1])
    await staging.commit(b"other")
    await expect_content(store, STAGED[:1], "the commit of the new one")


async def _held(staging: Any) -> list[Record]:
    return [Record(*record) async for page in staging.scan() for record in page]
