"""The move of a whole state into a store: nothing seen before the commit, nothing lost, nothing left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from state.awaited_store import AwaitedStore
from state.broken_backends import Slow
from state.broken_stores import Clocked

from dspex import BackendSwitchError, NotBridgeable, SessionTaken, Var
from dspex.abc import Put, Record
from dspex.state import AsyncBridgedState, BridgedState, LocalState, Move
from dspex.state._encoding import PIECE, Digest
from dspex.state.stores.memory import MemoryStaging, MemoryStore
from dspex.testing._conformance import CutOutcome, cut, every_cut
from dspex.variables import Definition, same

RATIO = Var("ratio", float, 0.5, min=0.0, max=1.0)


def filled(count=3):
    backend = LocalState()
    backend.open("s")
    backend.define(RATIO.definition, 0.5)
    for number in range(count):
        backend.define(Definition.make(f"v{number}", "list[int]", metadata={"n": number}), [number])

    backend.set(RATIO, 0.25, {"by": "local"})
    backend.delete("v1")
    return backend


def told(backend):
    return [one for page in backend.scan() for one in page]


async def moved(move, backend):
    await move.open()
    await move.stage(backend)
    await move.verify()
    return move.commit_nowait() if move.nowait else await move.commit()


@pytest.mark.parametrize("make", [MemoryStore, AwaitedStore])
async def test_everything_arrives_as_it_was(make, anyio_backend):
    local = filled(600)
    before = told(local)
    store = make()
    move = Move(store, "s")
    bridged = await moved(move, local)
    after = [one for page in bridged.scan() for one in page] if move.nowait else [one async for page in bridged.scan() for one in page]
    assert after == before
    assert all(same(one.value, other.value) for one, other in zip(after, before, strict=True))
    assert (move.step, move.variables) == ("done", 600)
    assert move.bytes > 600 * 50
    assert [record.id async for page in store.scan("s") for record in page][1:] == [one.id for one in before]


async def test_large_values_arrive_and_are_verified_piece_by_piece(anyio_backend):
    local = filled()
    local.define(Definition.make("blob", "bytes"), bytes(range(256)) * 20_000)
    store = MemoryStore()
    move = Move(store, "s")
    bridged = await moved(move, local)
    assert move.bytes > 5_000_000
    bridged.close()
    again = BridgedState(store)
    again.open("s")
    assert again.get("blob") == local.get("blob")


def test_a_digest_does_not_depend_on_pages():
    records = [Record("a", 1, b"h", b"x" * 10), Record("b", 2, b"", b"y" * (3 * PIECE + 5)), Record("c", 3, b"h", b"z")]
    digests = set()
    for sizes in ((3,), (1, 2), (2, 1), (1, 1, 1)):
        digest, start = Digest(), 0
        for size in sizes:
            assert len(list(digest.update(records[start : start + size]))) in {0, 4}
            start += size

        digests.add(digest.value())

    assert len(digests) == 1
    other = Digest()
    list(other.update([records[0], records[1]._replace(data=b"y" * (3 * PIECE + 4) + b"?"), records[2]]))
    assert other.value() not in digests


async def test_what_a_failed_clean_up_left_is_dropped_by_the_next_attempt(anyio_backend):
    store = AwaitedStore()
    former = Move(store, "s", holder="ctx")
    await moved(former, filled())
    with pytest.raises(SessionTaken):
        await Move(store, "s", holder="ctx").open()

    bridged = await moved(Move(store, "s", holder="ctx", garbage=True), filled())
    assert len(bridged.table) == 3


async def test_the_cells_are_shared_so_that_reads_stay_what_they_were(anyio_backend):
    local = filled()
    local.get(RATIO)
    cells, cell = local.cells, local.cells[RATIO]
    bridged = await moved(Move(MemoryStore(), "s"), local)
    assert isinstance(bridged, BridgedState)
    assert bridged.cells is cells
    assert bridged.cells[RATIO] is cell
    local.close()
    assert bridged.set(RATIO, 0.75) == 2
    assert bridged.get(RATIO) == 0.75


async def test_what_was_moved_can_be_resumed_by_another(anyio_backend):
    store = MemoryStore()
    bridged = await moved(Move(store, "s"), filled())
    bridged.set(RATIO, 0.75)
    before = told(bridged)
    bridged.close()
    again = BridgedState(store, mode="resume")
    again.open("s")
    assert told(again) == before
    assert again.define(Definition.make("v1", "int"), 1) == "var_v1_5"


@pytest.mark.parametrize("make", [MemoryStore, AwaitedStore])
async def test_a_backend_of_the_users_own_moves_too(make, anyio_backend):
    source = Slow()
    await source.open("s", existing=told(filled(300)))
    bridged = await moved(Move(make(), "s"), source)
    after = (
        [one for page in bridged.scan() for one in page]
        if isinstance(bridged, BridgedState)
        else [one async for page in bridged.scan() for one in page]
    )
    assert after == [one async for page in source.scan() for one in page]


async def test_all_that_has_no_encoded_form_is_named_with_its_reason(anyio_backend):
    class Local:
        pass

    local = filled(400)
    for name in ("v300", "v7"):
        local.table.find(name).value = [1, Local()]

    store = MemoryStore()
    move = Move(store, "s", context="ctx_1")
    await move.open()
    with pytest.raises(NotBridgeable) as caught:
        await move.stage(local)

    await move.abort()
    assert set(caught.value.variables) == {"v7", "v300"}
    assert all("Local" in reason for reason in caught.value.variables.values())
    assert "ctx_1" in str(caught.value)
    assert repr(store) == "<MemoryStore [0 sessions]>"
    assert local.set(RATIO, 0.5) == 2


async def test_progress_rises_to_the_whole(anyio_backend):
    seen: list[tuple[int, int]] = []
    move = Move(MemoryStore(), "s")
    await move.open()
    await move.stage(filled(600), lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (600, 600)
    await move.abort()


async def test_a_session_that_exists_is_refused_and_stays(anyio_backend):
    store = MemoryStore()
    (await moved(Move(store, "s"), filled())).close()
    for holder in ("s", "other"):
        move = Move(store, "s", holder=holder)
        with pytest.raises(SessionTaken):
            await move.open()

        await move.abort()

    assert [len(page) for page in store.scan_nowait("s")] == [4]


class _Corrupting(MemoryStaging):
    """Gives back something else than it was given."""

    async def scan(self) -> AsyncIterator[list[Record]]:
        for page in self.scan_nowait():
            yield [record._replace(data=record.data[:-1] + b"?") if record.id.startswith("var_v2") else record for record in page]


class Corrupting(MemoryStore):
    def stage_nowait(self, lease: Any) -> MemoryStaging:
        session = self.held(lease)
        session.staging = staging = _Corrupting(self, lease)
        return staging


async def test_a_store_that_gives_back_something_else_is_found_out(anyio_backend):
    store = Corrupting()
    move = Move(store, "s")
    await move.open()
    await move.stage(filled())
    with pytest.raises(BackendSwitchError) as caught:
        await move.verify()

    assert caught.value.step == "verify"
    await move.abort()
    assert repr(store) == "<MemoryStore [0 sessions]>"


async def test_an_attempt_that_died_leaves_nothing_to_the_next(anyio_backend):
    store = MemoryStore()
    local = filled()
    for _ in range(3):
        move = Move(store, "s", holder="ctx")
        await move.open()
        await move.stage(local)

    bridged = await moved(Move(store, "s", holder="ctx"), local)
    assert [len(page) for page in store.scan_nowait("s")] == [4]
    assert bridged.lease.fence == 4


async def test_aborting_after_the_commit_changes_nothing(anyio_backend):
    move = Move(MemoryStore(), "s")
    bridged = await moved(move, filled())
    await move.abort()
    assert bridged.set(RATIO, 1.0) == 2


@pytest.mark.parametrize("make", [MemoryStore, AwaitedStore])
async def test_cut_at_any_await_it_is_before_or_after_and_can_be_tried_again(make, anyio_backend):
    async def whole(move: Move, local: LocalState) -> Any:
        try:
            return await moved(move, local)
        except BaseException:
            await move.abort()
            raise

    async def attempt(at: int) -> CutOutcome:
        store, local = make(), filled()
        before = told(local)
        outcome = await cut(partial(whole, Move(store, "s"), local), at)
        assert told(local) == before
        if not outcome.finished:
            left = [record async for page in store.scan("s") for record in page]
            bridged = await moved(Move(store, "s"), local)
            assert left == []
        else:
            bridged = outcome.answer

        assert isinstance(bridged, (BridgedState, AsyncBridgedState))
        assert bridged.table.ids() == [one.id for one in before]
        return outcome

    await every_cut(attempt)


async def test_a_plain_commit_needs_a_store_that_never_waits(anyio_backend):
    move = Move(AwaitedStore(), "s")
    await move.open()
    await move.stage(filled())
    assert not move.nowait
    with pytest.raises(RuntimeError, match="await commit"):
        move.commit_nowait()

    await move.abort()


async def test_the_ttl_goes_with_the_session(anyio_backend):
    store = Clocked()
    (await moved(Move(store, "s", ttl=60.0), filled())).close()
    store.time += 61
    lease = store.open_nowait("s", "create", holder="other")
    store.apply_nowait(lease, None, [Put("a", b"")])
