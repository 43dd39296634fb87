"""What is particular to the store in memory: bounds, time, leaving nothing."""

from __future__ import annotations

import gc
import sys

import pytest
from state.broken_stores import Clocked

from dspex import FenceLost, VersionConflict
from dspex.abc import ABSENT, Delete, Put, Record
from dspex.state.stores._session import ANSWERS, LOG
from dspex.state.stores.memory import MemoryStore


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def lease(store):
    return store.open_nowait("s", holder="h")


def test_a_writer_is_apply_of_one_put(store, lease):
    store.apply_nowait(lease, None, [Put("a", b"0", ABSENT, b"head")])
    write = store.writer_nowait(lease)
    assert [write("a", b"1", 0), write("a", b"2", 1)] == [1, 2]
    assert store.read_nowait("s", ["a"]) == {"a": Record("a", 2, b"head", b"2")}
    assert store.changes_nowait("s", 1).versions == {"a": 2}
    with pytest.raises(VersionConflict):
        write("a", b"3", 1)

    with pytest.raises(VersionConflict):
        write("nobody", b"3", 1)


def test_a_writer_leaves_a_scan_what_it_replaces(store, lease):
    store.apply_nowait(lease, None, [Put("a", b"0"), Put("b", b"0")])
    write = store.writer_nowait(lease)
    scan = store.scan_nowait("s")
    write("a", b"1", 0)
    first = next(scan)
    write("b", b"1", 0)
    assert first == [Record("a", 1, b"", b"1"), Record("b", 0, b"", b"0")]
    scan.close()
    other = store.scan_nowait("s")
    pages = [next(other)]
    write("a", b"2", 1)
    assert pages[0][0].data == b"1"


def test_a_writer_ends_with_its_lease(store, lease):
    store.apply_nowait(lease, None, [Put("a", b"0")])
    write = store.writer_nowait(lease)
    store.open_nowait("s", holder="h")
    with pytest.raises(FenceLost):
        write("a", b"1", 0)


def test_changes_are_bounded_and_say_so(store, lease):
    for number in range(LOG + 5):
        store.apply_nowait(lease, None, [Put(f"id{number % 7}", b"")])

    assert store.changes_nowait("s", LOG).complete
    assert len(store.changes_nowait("s", LOG).versions) == 5
    assert not store.changes_nowait("s", 4).complete
    assert store.changes_nowait("s", 5).complete


def test_answers_are_kept_for_the_last_operations_only(store, lease):
    first = store.apply_nowait(lease, "op", [Put("a", b"")])
    for number in range(ANSWERS - 1):
        store.apply_nowait(lease, f"op{number}", [Put("a", b"")])

    assert store.apply_nowait(lease, "op", [Put("a", b"")]) == first
    store.apply_nowait(lease, "one more", [Put("a", b"")])
    assert store.apply_nowait(lease, "op", [Put("a", b"")]) != first


def test_a_batch_sees_its_own_earlier_writes(store, lease):
    applied = store.apply_nowait(lease, None, [Put("a", b"0", ABSENT), Put("a", b"1", 0), Delete("a", 1), Put("a", b"2", ABSENT)])
    assert applied.versions == (0, 1, 0)


def test_a_scan_that_is_given_up_costs_no_more(store, lease):
    store.apply_nowait(lease, None, [Put("a", b"0")])
    scan = store.scan_nowait("s")
    next(scan)
    records = store.held(lease).records
    assert records.hot == {}
    del scan
    gc.collect()
    assert "a" in records.hot


def test_expired_sessions_are_swept_without_being_asked_for():
    store = Clocked()
    for number in range(200):
        lease = store.open_nowait(f"s{number}", ttl=1.0, holder="h")
        store.apply_nowait(lease, None, [Put("a", b"")])
        store.release_nowait(lease)
        store.time += 10

    assert len(store._sessions) <= 65


def test_records_are_not_tracked_by_the_garbage_collector(store, lease):
    store.apply_nowait(lease, None, [Put(f"id{number}", b"x" * 50) for number in range(1000)])
    gc.collect()
    rows = store.held(lease).records.hot
    assert not any(gc.is_tracked(row) for row in rows.values())
    assert sys.getsizeof(next(iter(rows.values()))) < 100


def test_staging_that_was_superseded_is_freed(store, lease):
    import weakref

    class Watched(list):
        pass

    staging = store.stage_nowait(lease)
    staging.put_nowait([Record("a", 0, b"", b"")])
    records = weakref.ref(staging)
    del staging
    store.stage_nowait(lease)
    gc.collect()
    assert records() is None
