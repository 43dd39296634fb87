"""The rules of session stores: leases, records, time."""

# ruff: noqa: A001, S311 - an id is called id; chance here is seeded, and no secret
from __future__ import annotations

import math
import random
from functools import partial
from typing import Any

from dspex._exceptions import DspexError, FenceLost, SessionNotFound, SessionTaken, VersionConflict
from dspex.abc import ABSENT, PAGE, Applied, Delete, Put, Record
from dspex.testing._conformance import Rules, Unmet, expect, expect_equal, refused
from dspex.testing._store_case import StoreCase, content, expect_content

sequential: Rules[StoreCase] = Rules()
timed: Rules[StoreCase] = Rules()


# --- leases ----------------------------------------------------------------------------------------------------------------------


@sequential("a session exists from its first write on")
async def _exists(case: StoreCase) -> None:
    store = await case.fresh()
    lease = await store.open("s", "any", holder="kit")
    expect(not lease.resumed, "a new session was told to be resumed")
    await store.release(lease)
    await refused(lambda: store.open("s", "resume", holder="kit"), SessionNotFound, what="resuming a session that was never written")
    lease = await store.open("s", "create", holder="kit")
    await store.apply(lease, None, [Put("a", b"1")])
    await store.release(lease)
    again = await store.open("s", "resume", holder="other")
    expect(again.resumed, "a session that exists was not told to be resumed")


@sequential("creating a session that exists is refused with SessionTaken")
async def _creates(case: StoreCase) -> None:
    store, lease = await case.opened("a")
    await refused(lambda: store.open("s", "create", holder="kit"), SessionTaken, what="creating it again")
    await store.release(lease)
    await refused(lambda: store.open("s", "create", holder="other"), SessionTaken, what="creating it after its release")
    await expect_content(store, [Record("a", 0, b"h", b"0")], "the refusals")


@sequential("a lease keeps other holders out, who are told its holder")
async def _excludes(case: StoreCase) -> None:
    store, lease = await case.opened("a")
    for mode in ("any", "resume"):
        try:
            await store.open("s", mode, holder="other")
        except SessionTaken as error:
            expect("kit" in error.holder, f"it said {error.holder!r}")
        else:
            raise Unmet(f"another holder opened it in mode {mode!r}")

    await store.release(lease)
    await store.open("s", "resume", holder="other")


@sequential("whoever takes a lease over gets a higher fence, and the former holder's writes are refused with FenceLost")
async def _fences(case: StoreCase) -> None:
    store, former = await case.opened("a")
    staging = await store.stage(former)
    lease = await store.open("s", "resume", holder="kit")
    expect(lease.fence > former.fence, f"the fence went from {former.fence} to {lease.fence}")
    writes: tuple[Any, ...] = (
        partial(store.apply, former, None, [Put("a", b"late")]),
        partial(store.apply, former, "op", [Delete("a")]),
        partial(store.renew, former),
        partial(store.stage, former),
        partial(staging.put, [Record("b", 0, b"", b"")]),
        partial(staging.commit, b"digest"),
    )
    for write in writes:
        await refused(write, FenceLost, what=f"{write.func.__name__}() under a former lease")

    await store.drop(former)
    await expect_content(store, [Record("a", 0, b"h", b"0")], "what was done under a former lease")


@sequential("a lease that was given back writes nothing")
async def _released(case: StoreCase) -> None:
    store, lease = await case.opened("a")
    await store.release(lease)
    await store.release(lease)
    await refused(lambda: store.apply(lease, None, [Put("a", b"late")]), FenceLost, what="apply() after release()")
    await store.drop(lease)
    await expect_content(store, [Record("a", 0, b"h", b"0")], "drop() under a lease given back")


@sequential("a dropped session is gone, and one of its name begins anew")
async def _drops(case: StoreCase) -> None:
    store, lease = await case.opened("a")
    await store.drop(lease)
    await store.drop(lease)
    await refused(lambda: store.apply(lease, None, [Put("a", b"late")]), FenceLost, what="apply() after drop()")
    await refused(lambda: store.open("s", "resume"), SessionNotFound, what="resuming a dropped session")
    new = await store.open("s", "create", holder="other")
    expect(new.fence > lease.fence, f"the fence went from {lease.fence} to {new.fence}")
    await expect_content(store, [], "a drop and a new begin")


@sequential("sessions know nothing of each other")
async def _apart(case: StoreCase) -> None:
    store, _ = await case.opened("a")
    other = await store.open("t", "create", holder="kit")
    await store.apply(other, "op", [Put("a", b"theirs"), Put("b", b"theirs")])
    await expect_content(store, [Record("a", 0, b"h", b"0")], "a write to another session")
    await store.drop(other)
    await expect_content(store, [Record("a", 0, b"h", b"0")], "the end of another session")


# --- records ---------------------------------------------------------------------------------------------------------------------


@sequential("versions begin at 0 and rise by one with each put; the head stays unless it is given")
async def _versions(case: StoreCase) -> None:
    store, lease = await case.opened()
    first = await store.apply(lease, None, [Put("a", b"1", ABSENT, b"head"), Put("b", b"1")])
    second = await store.apply(lease, None, [Put("a", b"2", 0), Delete("b"), Put("a", b"3", 1)])
    expect_equal((tuple(first.versions), tuple(second.versions)), ((0, 0), (1, 2)), "the versions answered")
    expect(second.revision > first.revision, f"the revision went from {first.revision} to {second.revision}")
    await expect_content(store, [Record("a", 2, b"head", b"3")], "the puts")
    await store.apply(lease, None, [Put("a", b"4", None, b"other")])
    await expect_content(store, [Record("a", 3, b"other", b"4")], "a put with a head")


@sequential("a batch whose if_version doesn't hold is refused with VersionConflict and writes nothing")
async def _conflicts(case: StoreCase) -> None:
    store, lease = await case.opened("a", "b")
    batches: tuple[list[Put | Delete], ...] = (
        [Put("a", b"1", 0), Put("b", b"1", 5)],
        [Put("a", b"1"), Put("a", b"2", 0)],
        [Put("c", b"1"), Put("a", b"1", ABSENT)],
        [Delete("a"), Delete("b", 3)],
        [Delete("a"), Put("nobody", b"1", 0)],
    )
    before = (await store.changes("s", 0)).revision
    for number, batch in enumerate(batches):
        await refused(partial(store.apply, lease, f"op{number}", batch), VersionConflict, what=f"the batch {batch!r}")
        await expect_content(store, [Record("a", 0, b"h", b"0"), Record("b", 0, b"h", b"0")], f"the refused batch {batch!r}")

    expect_equal((await store.changes("s", 0)).revision, before, "the revision after refused batches")


@sequential("the same op_id again writes nothing and gives the first answer")
async def _retries(case: StoreCase) -> None:
    store, lease = await case.opened("a")
    ops = [Put("a", b"1", 0), Put("b", b"1", ABSENT)]
    first = await store.apply(lease, "once", ops)
    await store.apply(lease, "then", [Put("a", b"2", 1)])
    expect_equal(Applied(*await store.apply(lease, "once", ops)), Applied(*first), "the second answer")
    await expect_content(store, [Record("a", 2, b"h", b"2"), Record("b", 0, b"", b"1")], "a retry")


@sequential("a deletion removes the record; of one that isn't there it is no error")
async def _deletes(case: StoreCase) -> None:
    store, lease = await case.opened("a", "b")
    await store.apply(lease, None, [Delete("a", 0), Delete("nobody")])
    await expect_content(store, [Record("b", 0, b"h", b"0")], "the deletion")
    await store.apply(lease, None, [Put("a", b"new", ABSENT)])
    await expect_content(store, [Record("b", 0, b"h", b"0"), Record("a", 0, b"", b"new")], "a put under the deleted id")


@sequential("read gives what is there and leaves out what isn't")
async def _reads(case: StoreCase) -> None:
    store, lease = await case.opened("a", "b")
    await store.apply(lease, None, [Put("b", b"1")])
    found = {id: Record(*record) for id, record in (await store.read("s", ["b", "nobody"])).items()}
    expect_equal(found, {"b": Record("b", 1, b"h", b"1")}, "what read() answered")
    expect_equal(await store.read("nowhere", ["b"]), {}, "what read() of an unknown session answered")


@sequential("a scan gives records in the order of their first puts, in pages of at most 256")
async def _orders(case: StoreCase) -> None:
    store, lease = await case.opened()
    ids = [f"id{number}" for number in range(2 * PAGE + 9)]
    random.Random(5).shuffle(ids)
    for start in range(0, len(ids), 100):
        await store.apply(lease, None, [Put(id, b"1") for id in ids[start : start + 100]])

    await store.apply(lease, None, [Put(ids[0], b"2"), Put(ids[300], b"2")])
    sizes = [len(page) async for page in store.scan("s")]
    expect(max(sizes) <= PAGE, f"a page held {max(sizes)}")
    expect_equal([record.id for record in await content(store)], ids, "the order")


@sequential("a scan tells one revision although writes go on")
async def _one_revision(case: StoreCase) -> None:
    ids = [f"id{number}" for number in range(3 * PAGE)]
    store, lease = await case.opened(*ids)
    seen: list[Record] = []
    async for page in store.scan("s"):
        seen += [Record(*record) for record in page]
        await store.apply(lease, None, [Put(ids[-1], b"late"), Put(f"new{len(seen)}", b"late")])
        if len(seen) <= PAGE:
            await store.apply(lease, None, [Put(id, b"late") for id in ids] + [Delete(ids[-2]), Delete(ids[300])])

    wanted = [Record(id, 0, b"h", b"0") for id in ids]
    mixed = [record for record in seen if record not in wanted]
    expect(not mixed, f"it also told {mixed[:2]}")
    expect_equal(len(seen), len(wanted), "the number of records told")


@sequential("changes tell what was written and deleted after a revision")
async def _changes(case: StoreCase) -> None:
    store, lease = await case.opened("a", "b", "c")
    at = (await store.changes("s", 0)).revision
    expect_equal((await store.changes("s", at)).versions, {}, "what changed since the latest revision")
    await store.apply(lease, None, [Put("a", b"1"), Delete("b")])
    applied = await store.apply(lease, None, [Put("a", b"2")])
    told = await store.changes("s", at)
    expect_equal((told.revision, told.complete), (applied.revision, True), "the revision, and whether it was all")
    expect_equal(dict(told.versions), {"a": 2, "b": None}, "what changed")


# --- time ------------------------------------------------------------------------------------------------------------------------


@timed("a session is dropped its ttl after its last use")
async def _expires(case: StoreCase) -> None:
    store = await case.fresh()
    lease = await store.open("s", "create", ttl=60.0, holder="kit")
    await store.apply(lease, None, [Put("a", b"1")])
    await store.release(lease)
    await case.passed(store, 59.0)
    await store.release(await store.open("s", "resume", ttl=60.0, holder="kit"))
    await case.passed(store, 59.0)
    expect_equal(len(await content(store)), 1, "the number of records before the ttl has passed")
    await case.passed(store, 2.0)
    expect_equal(await content(store), [], "what is left after the ttl")
    await refused(lambda: store.open("s", "resume", holder="kit"), SessionNotFound, what="resuming after the ttl")


@timed("a session without a ttl stays")
async def _stays(case: StoreCase) -> None:
    store, lease = await case.opened("a")
    await store.release(lease)
    await case.passed(store, 1e9)
    expect((await store.open("s", "resume", holder="kit")).resumed, "it was gone")


@timed("a lease may be taken when its time is over, not before, and renewing prolongs it")
async def _lapses(case: StoreCase) -> None:
    if math.isinf(case.lease_seconds):
        return

    store, lease = await case.opened("a")
    for _ in range(3):
        await case.passed(store, 0.75 * case.lease_seconds)
        lease = await store.renew(lease)

    await refused(lambda: store.open("s", "any", holder="other"), SessionTaken, what="opening it while the renewed lease holds")
    await case.passed(store, 1.25 * case.lease_seconds)
    await store.apply(lease, None, [Put("a", b"1")])
    await store.open("s", "any", holder="other")
    await refused(lambda: store.apply(lease, None, [Put("a", b"late")]), FenceLost, what="apply() after another took the lease")


@timed("the ttl doesn't run while the lease holds")
async def _held(case: StoreCase) -> None:
    store = await case.fresh()
    lease = await store.open("s", "create", ttl=0.1 * min(case.lease_seconds, 10.0), holder="kit")
    await store.apply(lease, None, [Put("a", b"1")])
    await case.passed(store, 0.5 * min(case.lease_seconds, 10.0))
    try:
        await store.apply(lease, None, [Put("a", b"2")])
    except DspexError as error:
        raise Unmet(f"a write under the lease was refused: {error}") from error
