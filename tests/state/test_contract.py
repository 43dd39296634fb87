"""What may be given as backend=, and what is said of the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from dspex import InvalidBackend
from dspex.abc import Capabilities, StateBackend, SyncStateBackend
from dspex.state import AsyncBridgedState, BridgedState, LocalState, backend_from
from dspex.state.stores.memory import MemoryStore
from dspex.variables import Definition


class Duck:
    """Has the nine methods and nothing else."""

    def __init__(self) -> None:
        self.inner = LocalState()

    def open(self, session_id: str, *, ttl: Any = None, existing: Any = None) -> None:
        self.inner.open(session_id, existing=existing)

    def close(self, *, drop: bool = False) -> None: ...

    def define(self, definition: Definition, value: Any) -> str:
        return self.inner.define(definition, value)

    def get(self, key: Any) -> Any:
        return self.inner.get(key)

    def set(self, key: Any, value: Any, metadata: Any = None, expected_version: Any = None) -> int:
        return self.inner.set(key, value, metadata, expected_version)

    def set_many(self, updates: Any, metadata: Any = None, atomic: bool = True) -> dict[str, int]:
        return self.inner.set_many(updates, metadata, atomic)

    def delete(self, key: Any) -> None:
        self.inner.delete(key)

    def info(self, key: Any) -> Any:
        return self.inner.info(key)

    def scan(self) -> Any:
        return self.inner.scan()


class AsyncDuck:
    """The same, awaited."""

    async def open(self, session_id: str, *, ttl: Any = None, existing: Any = None) -> None: ...
    async def close(self, *, drop: bool = False) -> None: ...
    async def define(self, definition: Definition, value: Any) -> str: ...
    async def get(self, key: Any) -> Any: ...
    async def set(self, key: Any, value: Any, metadata: Any = None, expected_version: Any = None) -> int: ...
    async def set_many(self, updates: Any, metadata: Any = None, atomic: bool = True) -> dict[str, int]: ...
    async def delete(self, key: Any) -> None: ...
    async def info(self, key: Any) -> Any: ...
    async def scan(self) -> AsyncIterator[list[Any]]:
        yield []


class Mixed(Duck):
    async def get(self, key: Any) -> Any: ...

    async def delete(self, key: Any) -> None: ...


class WrongCapabilities(Duck):
    capabilities = ("atomic_updates",)


class NeedsArguments(Duck):
    def __init__(self, url: str) -> None: ...


class HalfDerived(SyncStateBackend):
    capabilities = Capabilities()

    def get(self, key: Any) -> Any: ...


def test_names_and_classes_of_ours():
    assert backend_from("local").kind == backend_from(LocalState).kind == "local"
    assert isinstance(backend_from("local").make(), LocalState)
    assert backend_from("bridged").requires_bridge
    assert isinstance(backend_from("bridged").make(MemoryStore()), BridgedState)
    assert isinstance(backend_from(BridgedState).make(MemoryStore()), BridgedState)


def test_bridged_without_a_store_is_refused():
    with pytest.raises(InvalidBackend, match="it has no session store"):
        backend_from("bridged").make()


def test_every_missing_method_is_named():
    class Empty:
        pass

    with pytest.raises(InvalidBackend) as caught:
        backend_from(Empty)

    assert caught.value.backend == "Empty"
    assert str(caught.value) == (
        "Empty can't be a state backend: methods missing: open, close, define, get, set, set_many, delete, info, scan. "
        "See dspex.abc.StateBackend and SyncStateBackend."
    )


def test_abstract_methods_left_open_are_missing_ones():
    with pytest.raises(InvalidBackend) as caught:
        backend_from(HalfDerived)

    missing = next(problem for problem in caught.value.problems if problem.startswith("methods missing: "))
    assert "set" in missing.removeprefix("methods missing: ").split(", ")
    assert "get" not in missing.removeprefix("methods missing: ").split(", ")


def test_plain_and_awaited_methods_may_not_be_mixed():
    with pytest.raises(InvalidBackend, match=r"methods must be all plain or all coroutines: get, delete are coroutines, open, close, "):
        backend_from(Mixed)


def test_wrong_capabilities_are_named():
    with pytest.raises(InvalidBackend, match=r"capabilities must be a dspex\.abc\.Capabilities, not tuple"):
        backend_from(WrongCapabilities)


def test_a_class_that_needs_arguments_must_come_as_an_instance():
    with pytest.raises(InvalidBackend, match="can't be called without arguments"):
        backend_from(NeedsArguments)

    assert backend_from(NeedsArguments("x")).kind == "custom"


@pytest.mark.parametrize("spec", ["locall", "", 7, None, [], {}, True, lambda: None], ids=repr)
def test_what_is_no_backend_at_all_is_refused(spec):
    with pytest.raises(InvalidBackend):
        backend_from(spec)


def test_several_problems_are_told_at_once():
    class Several:
        capabilities = 7

        def open(self) -> None: ...
        async def get(self) -> None: ...

    with pytest.raises(InvalidBackend) as caught:
        backend_from(Several)

    assert str(caught.value) == (
        "Several can't be a state backend: methods missing: close, define, set, set_many, delete, info, scan; "
        "methods must be all plain or all coroutines: get are coroutines, open are plain; "
        "capabilities must be a dspex.abc.Capabilities, not int. See dspex.abc.StateBackend and SyncStateBackend."
    )


def test_a_duck_gets_what_it_lacks_from_the_contract():
    spec = backend_from(Duck)
    assert (spec.kind, spec.sync, spec.requires_bridge, spec.name) == ("custom", True, False, "Duck")
    backend = spec.make()
    backend.open("s")
    backend.define(Definition.make("n", "int"), 1)
    backend.define(Definition.make("notes", "list[int]"), [1])
    assert backend.add("n", 2) == 3
    assert backend.append("notes", 2) == 1
    assert backend.get_many(["n", "nobody"]) == {"n": 3}
    assert backend.ids() == ["var_n_1", "var_notes_2"]
    assert backend.capabilities == Capabilities()


def test_an_instance_is_used_as_it_is():
    duck = Duck()
    backend_from(duck).make().open("s")
    duck.inner.define(Definition.make("n", "int"), 1)
    assert backend_from(duck).make().get("n") == 1
    local = LocalState()
    assert backend_from(local).make() is local


def test_awaited_ducks_are_told_apart():
    spec = backend_from(AsyncDuck)
    assert not spec.sync
    assert isinstance(spec.make(), StateBackend)
    assert not backend_from(AsyncBridgedState(MemoryStore())).sync


def test_a_subclass_of_ours_is_ones_own():
    class Mine(LocalState):
        requires_bridge = True

    spec = backend_from(Mine)
    assert (spec.kind, spec.name, spec.requires_bridge, spec.capabilities.atomic_updates) == ("custom", "Mine", True, True)
