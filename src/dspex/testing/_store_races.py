"""The rules of session stores under load: concurrent batches, and operations cut at their awaits."""

# ruff: noqa: A001 - an id is called id; chance here is seeded, and no secret
from __future__ import annotations

from functools import partial

import anyio
from anyio.lowlevel import checkpoint

from dspex._exceptions import SessionNotFound, VersionConflict
from dspex.abc import ABSENT, Applied, Delete, Lease, Put, Record, SessionStore
from dspex.testing._conformance import CutOutcome, Rules, cut, every_cut, expect, expect_equal
from dspex.testing._store_case import StoreCase, content, expect_content
from dspex.testing._store_staging import STAGED

under_load: Rules[StoreCase] = Rules()


@under_load("of concurrent writers that compare versions none loses a write")
async def _concurrent(case: StoreCase) -> None:
    store, lease = await case.opened("a")
    revisions: list[int] = []

    async def write(number: int) -> None:
        for step in range(4):
            revisions.append(await _count_up(store, lease, f"{number}.{step}"))  # noqa: PERF401 - others run between

    async with anyio.create_task_group() as writers:
        for number in range(4):
            writers.start_soon(write, number)

    await expect_content(store, [Record("a", 16, b"h", b"16")], "16 increments")
    expect(len(set(revisions)) == len(revisions), f"two batches answered one revision: {sorted(revisions)}")


async def _count_up(store: SessionStore, lease: Lease, op_id: str) -> int:
    while True:
        record = (await store.read("s", ["a"]))["a"]
        await checkpoint()
        try:
            applied = await store.apply(lease, op_id, [Put("a", b"%d" % (int(record.data) + 1), record.version)])
        except VersionConflict:
            continue

        return applied.revision


@under_load("a batch is never read in halves")
async def _whole(case: StoreCase) -> None:
    store, lease = await case.opened("a", "b", "c")
    torn: list[set[bytes]] = []

    async def write(start: int) -> None:
        for number in range(start, start + 6):
            await store.apply(lease, None, [Put(id, b"%d" % number) for id in "abc"])

    async def look() -> None:
        for _ in range(8):
            found = {record.data for record in (await store.read("s", ["a", "b", "c"])).values()}
            if len(found) > 1:
                torn.append(found)

            await checkpoint()

    async with anyio.create_task_group() as tasks:
        for start in (100, 200):
            tasks.start_soon(write, start)
            tasks.start_soon(look)

    expect(not torn, f"a reader saw {torn[:1]} together")


@under_load("a batch cut at any await is written whole or not, and once however often it is retried")
async def _cuts(case: StoreCase) -> None:
    await every_cut(partial(_cut_batch, case))


async def _cut_batch(case: StoreCase, at: int) -> CutOutcome:
    store, lease = await case.opened("a", "b")
    before = await content(store)
    ops: list[Put | Delete] = [Put("a", b"1", 0), Delete("b", 0), Put("c", b"1", ABSENT)]
    after = [Record("a", 1, b"h", b"1"), Record("c", 0, b"", b"1")]
    outcome = await cut(lambda: store.apply(lease, "op", ops), at)
    left = await content(store)
    expect(left == after or (left == before and not outcome.finished), f"apply() cut at await {at} left {left}")
    answers = [Applied(*await store.apply(lease, "op", ops)) for _ in range(2)]
    expect_equal(answers[0].versions, (1, 0), f"the versions answered to a retry after a cut at await {at}")
    expect_equal(answers[1], answers[0], f"the second retry after a cut at await {at}")
    await expect_content(store, after, f"a cut at await {at} and retries")
    return outcome


@under_load("a commit cut at any await has published all or nothing, and may be made again")
async def _cut_commits(case: StoreCase) -> None:
    await every_cut(partial(_cut_commit, case))


async def _cut_commit(case: StoreCase, at: int) -> CutOutcome:
    store, lease = await case.opened("a")
    before = await content(store)
    staging = await store.stage(lease)
    await staging.put(STAGED)
    outcome = await cut(lambda: staging.commit(b"digest"), at)
    left = await content(store)
    expect(left == STAGED or (left == before and not outcome.finished), f"commit() cut at await {at} left {left}")
    await staging.commit(b"digest")
    await expect_content(store, STAGED, f"a cut at await {at} and a commit again")
    return outcome


@under_load("an open cut at any await leaves a session that its holder can open")
async def _cut_opens(case: StoreCase) -> None:
    await every_cut(partial(_cut_open, case))


async def _cut_open(case: StoreCase, at: int) -> CutOutcome:
    store = await case.fresh()
    outcome = await cut(lambda: store.open("s", "create", holder="kit"), at)
    lease = await store.open("s", "create", holder="kit")
    expect(not outcome.finished or lease.fence > outcome.answer.fence, f"open() again gave the fence {lease.fence} again")
    await store.apply(lease, None, [Put("a", b"1")])
    await expect_content(store, [Record("a", 0, b"", b"1")], f"a cut at await {at}, an open and a write")
    return outcome


@under_load("a drop cut at any await has dropped all or nothing")
async def _cut_drops(case: StoreCase) -> None:
    await every_cut(partial(_cut_drop, case))


async def _cut_drop(case: StoreCase, at: int) -> CutOutcome:
    store, lease = await case.opened("a")
    before = await content(store)
    outcome = await cut(lambda: store.drop(lease), at)
    left = await content(store)
    expect(left == [] or (left == before and not outcome.finished), f"drop() cut at await {at} left {left}")
    await store.drop(lease)
    try:
        await store.open("s", "resume", holder="kit")
    except SessionNotFound:
        return outcome

    expect(condition=False, happened=f"after a drop cut at await {at}, and one more, the session is still there")
    return outcome
