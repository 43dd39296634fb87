"""Variables encoded in a store: what is kept there, what comes back, and what a failing store leaves."""

from __future__ import annotations

import enum
import gc
import weakref
from dataclasses import dataclass
from typing import Any

import pytest
from state.awaited_store import AwaitedStore

from dspex import DefinitionMismatch, FenceLost, InvalidSnapshot, InvalidValue, SessionTaken, Var
from dspex._exceptions import SessionNotFound
from dspex.abc import Put
from dspex.state import AsyncBridgedState, BridgedState, LocalState, bridged_over
from dspex.state._encoding import MARK
from dspex.state.stores.memory import MemoryStore
from dspex.variables import Definition, same
from dspex.wire.codec import encode


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass
class Point:
    x: int
    label: str


RATIO = Var("ratio", float, 0.5, min=0.0, max=1.0)
COLOR = Var("color", Color, Color.RED)
POINT = Var("point", Point, Point(1, "a"))
ANY = Var("any", Any, None)
VARS = (RATIO, COLOR, POINT, ANY, Var("notes", list[int], [1]), Var("blob", bytes, b"\x00"), Var("big", int, 2**80))


def filled(store, *, holder="h", mode="any"):
    backend = BridgedState(store, holder=holder, mode=mode)
    backend.open("s")
    for var in VARS:
        backend.define(var.definition, var.initial)

    return backend


def told(backend):
    return [one for page in backend.scan() for one in page]


def test_a_session_is_resumed_with_everything_it_had():
    store = MemoryStore()
    former = filled(store)
    former.set(RATIO, 0.25, {"by": "former"})
    former.set_many({COLOR: Color.BLUE, "any": {"k": [1, 2.0, None]}}, {"n": 1})
    former.append("notes", 2)
    former.delete("blob")
    before = told(former)
    former.close()

    backend = BridgedState(store, mode="resume")
    backend.open("s")
    assert backend.resumed
    for var in (RATIO, COLOR, POINT):
        backend.get(var)

    after = told(backend)
    assert [(one.id, one.name, one.type, one.version, one.metadata, one.created_at, one.updated_at) for one in after] == [
        (one.id, one.name, one.type, one.version, one.metadata, one.created_at, one.updated_at) for one in before
    ]
    assert all(same(one.value, other.value) for one, other in zip(before, after, strict=True))


def test_classes_are_known_again_once_their_var_attaches():
    store = MemoryStore()
    filled(store).close()
    backend = BridgedState(store)
    backend.open("s")
    with pytest.raises(DefinitionMismatch):
        backend.get("point")

    assert backend.get(POINT) == Point(1, "a")
    assert backend.get("point") == Point(1, "a")
    assert backend.set("point", Point(2, "b")) == 1


def test_ids_of_deleted_variables_are_not_given_again_after_resuming():
    store = MemoryStore()
    backend = filled(store)
    last = backend.define(Definition.make("last", "int"), 1)
    backend.delete("last")
    backend.close()
    again = BridgedState(store)
    again.open("s")
    assert again.define(Definition.make("last", "int"), 1) != last


def test_the_store_has_every_write_when_it_is_answered():
    store = MemoryStore()
    backend = filled(store)
    id = backend.info(RATIO).id
    for write in (
        lambda: backend.set(RATIO, 0.1),
        lambda: backend.set_many({RATIO: 0.2}),
        lambda: backend.add(RATIO, 0.1),
        lambda: backend.write(backend.cells[RATIO], 0.9),
    ):
        write()
        record = store.read_nowait("s", [id])[id]
        assert record.version == backend.info(RATIO).version
        assert record.data[16:] == encode(backend.get(RATIO))


@pytest.mark.parametrize(
    ("type", "value"),
    [
        ("int", 0),
        ("int", -(2**63)),
        ("int", 2**64),
        ("int", -(2**200)),
        ("str", ""),
        ("str", "\ud800x"),
        ("str", "é" * 300),
        ("bytes", b"\x00" * 70_000),
        ("bool", True),
        ("float", -0.0),
        ("float", float("inf")),
    ],
)
def test_scalars_are_kept_in_canonical_form(type, value):
    store = MemoryStore()
    backend = BridgedState(store)
    backend.open("s")
    id = backend.define(Definition.make("v", type), value)
    backend.set("v", value)
    backend.set("v", value, {"note": 1})
    backend.set("v", value)
    data = store.read_nowait("s", [id])[id].data
    assert data[16:] == encode(value) + encode({"note": 1})
    backend.close()
    again = BridgedState(store)
    again.open("s")
    assert same(again.get("v"), value)
    assert again.info("v").metadata == {"note": 1}


def test_a_value_without_an_encoded_form_is_refused_and_nothing_is_written():
    class Local:
        pass

    backend = filled(MemoryStore())
    sneaky = Var("sneaky", list[Any], [])
    backend.define(sneaky.definition, [])
    cell = backend.table.find(sneaky)
    with pytest.raises(InvalidValue, match="a value that can leave this process"):
        backend.write(cell, [Local()])

    assert backend.read(sneaky) == ([], 0)


def test_writing_under_a_lost_lease_is_refused_and_nothing_is_committed():
    store = MemoryStore()
    former, heir = filled(store), BridgedState(store, holder="h")
    heir.open("s")
    for write in (lambda: former.set(RATIO, 0.1), lambda: former.delete(RATIO), lambda: former.set_many({RATIO: 0.1})):
        with pytest.raises(FenceLost):
            write()

    assert former.read(RATIO) == (0.5, 0)
    former.close(drop=True)
    assert heir.set("ratio", 0.2) == 1


def test_many_variables_are_written_as_few_are():
    store = MemoryStore()
    backend = BridgedState(store)
    backend.open("s")
    for number in range(9000):
        backend.define(Definition.make(f"v{number}", "float"), 0.0)

    assert [backend.set("v8999", 1.0), backend.set("v0", 1.0), backend.set("v0", 2.0)] == [1, 1, 2]
    assert sum(len(page) for page in store.scan_nowait("s")) == 9001


@pytest.mark.parametrize(("mode", "exists", "error"), [("create", True, SessionTaken), ("resume", False, SessionNotFound)])
def test_modes_of_opening_refuse(mode, exists, error):
    store = MemoryStore()
    if exists:
        filled(store).close()

    with pytest.raises(error):
        BridgedState(store, mode=mode).open("s")


def test_existing_variables_are_refused_for_a_session_that_has_its_own_and_it_stays():
    store = MemoryStore()
    former = filled(store)
    existing = told(former)
    former.close()
    with pytest.raises(SessionTaken, match="others were given for it"):
        BridgedState(store).open("s", existing=existing)

    again = BridgedState(store)
    again.open("s")
    assert len(told(again)) == len(existing)


def test_another_holder_is_told_who_has_the_session():
    store = MemoryStore()
    filled(store, holder="ctx_1")
    with pytest.raises(SessionTaken, match="it is held by ctx_1"):
        BridgedState(store, holder="ctx_2").open("s")


def test_a_session_of_another_format_is_refused_and_let_go():
    store = MemoryStore()
    lease = store.open_nowait("s", holder="h")
    store.apply_nowait(lease, None, [Put(MARK, encode({"format": 99, "counter": 0}))])
    store.release_nowait(lease)
    with pytest.raises(InvalidSnapshot, match="written in format 99"):
        BridgedState(store).open("s")

    store.open_nowait("s", holder="other")


def test_closing_keeps_the_session_and_dropping_leaves_nothing():
    store = MemoryStore()
    filled(store).close()
    backend = BridgedState(store)
    backend.open("s")
    assert backend.resumed
    backend.close(drop=True)
    assert repr(store) == "<MemoryStore [0 sessions]>"


def test_a_store_that_is_let_go_is_gone_with_all_it_kept():
    store = MemoryStore()
    backend = filled(store)
    seen = weakref.ref(store)
    backend.close()
    del store, backend
    gc.collect()
    assert seen() is None


def test_a_closed_backend_writes_nothing():
    backend = filled(MemoryStore())
    backend.close()
    for write in (lambda: backend.set(RATIO, 0.1), lambda: backend.set_many({RATIO: 0.1})):
        with pytest.raises(RuntimeError, match="isn't open"):
            write()


def test_the_kind_of_backend_follows_the_store():
    assert isinstance(bridged_over(MemoryStore()), BridgedState)
    assert isinstance(bridged_over(AwaitedStore()), AsyncBridgedState)
    assert bridged_over(MemoryStore()).requires_bridge
    assert not LocalState().requires_bridge


# --- over a store that is awaited ------------------------------------------------------------------------------------------------


@pytest.fixture
async def awaited(anyio_backend):
    backend = AsyncBridgedState(AwaitedStore())
    await backend.open("s")
    for var in VARS:
        await backend.define(var.definition, var.initial)

    yield backend
    await backend.close()


async def test_it_tells_and_resumes_the_same_over_an_awaited_store(awaited):
    await awaited.set(RATIO, 0.25, {"by": "former"})
    before = [one async for page in awaited.scan() for one in page]
    await awaited.close()
    again = AsyncBridgedState(awaited.store, mode="resume")
    await again.open("s")
    assert again.resumed
    assert [(one.id, one.version, one.updated_at) async for page in again.scan() for one in page] == [
        (one.id, one.version, one.updated_at) for one in before
    ]
    await again.close(drop=True)


@pytest.mark.parametrize(("lost", "value", "version"), [("request", 0.5, 0), ("reply", 0.75, 1)])
async def test_after_a_failure_the_next_operation_goes_by_what_the_store_has(awaited, lost, value, version):
    awaited.store.lose = lost
    with pytest.raises(ConnectionError):
        await awaited.set(RATIO, 0.75)

    assert await awaited.read(RATIO) == (value, version)
    assert await awaited.set(RATIO, 1.0) == version + 1


@pytest.mark.parametrize("lost", ["request", "reply"])
async def test_a_definition_or_deletion_of_unknown_outcome_is_settled_too(awaited, lost):
    awaited.store.lose = lost
    with pytest.raises(ConnectionError):
        await awaited.define(Definition.make("new", "int"), 1)

    assert await awaited.exists("new") == (lost == "reply")
    awaited.store.lose = lost
    with pytest.raises(ConnectionError):
        await awaited.delete("point")

    assert await awaited.exists("point") == (lost == "request")


async def test_what_could_not_be_opened_is_let_go(anyio_backend):
    store = AwaitedStore()
    lease = await store.open("s", holder="h")
    await store.apply(lease, None, [Put(MARK, encode({"format": 99, "counter": 0}))])
    await store.release(lease)
    with pytest.raises(InvalidSnapshot):
        await AsyncBridgedState(store).open("s")

    await store.release(await store.open("s", holder="other"))


async def test_existing_variables_come_in_over_an_awaited_store(awaited):
    existing = [one async for page in awaited.scan() for one in page]
    other = AsyncBridgedState(AwaitedStore())
    await other.open("t", existing=existing)
    assert [one async for page in other.scan() for one in page] == existing
    await other.close()
