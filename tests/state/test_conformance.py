"""The kits: our own backends and stores pass, and each broken one fails by the rule it breaks."""

from __future__ import annotations

from typing import Any

import pytest
from state import broken_backends, broken_stores
from state.awaited_store import AwaitedStore
from state.broken_stores import Clocked, advance

from dspex import InvalidBackend
from dspex.abc import SessionStore
from dspex.state import AsyncBridgedState, BridgedState, LocalState
from dspex.state.stores.memory import MemoryStore
from dspex.testing import ConformanceError, check_session_store, check_state_backend

OURS = {
    "LocalState": LocalState,
    "BridgedState": lambda: BridgedState(MemoryStore()),
    "AsyncBridgedState": lambda: AsyncBridgedState(AwaitedStore()),
    "a correct one of a user's": broken_backends.Slow,
}


@pytest.mark.parametrize("name", OURS)
async def test_ours_fulfil_the_contract_of_backends(name, anyio_backend):
    await check_state_backend(OURS[name])


async def test_an_awaitable_backend_is_awaited(anyio_backend):
    async def make() -> Any:
        return LocalState()

    await check_state_backend(make)


@pytest.mark.parametrize(("backend", "rule"), broken_backends.BROKEN, ids=lambda one: getattr(one, "__name__", None))
async def test_a_broken_backend_fails_by_the_rule_it_breaks(backend, rule, anyio_backend):
    with pytest.raises(ConformanceError) as caught:
        await check_state_backend(backend)

    assert caught.value.rule == rule
    assert caught.value.subject == backend.__name__
    assert str(caught.value) == f"{backend.__name__} breaks the rule: {rule}. What happened: {caught.value.happened}"


def test_a_backend_that_never_answers_is_told_so(run_virtually):
    async def main() -> None:
        await check_state_backend(broken_backends.Hangs)

    with pytest.raises(ConformanceError, match="did not end within 10 s"):
        run_virtually(main)


async def test_what_is_no_backend_is_refused_before_any_rule(anyio_backend):
    class Incomplete:
        def get(self, key: str) -> Any: ...

    with pytest.raises(InvalidBackend, match="methods missing: open, close, define"):
        await check_state_backend(Incomplete)


class LessPromised(broken_backends.WritesBatchesOneByOne):
    from dspex.abc import Capabilities

    capabilities = Capabilities(atomic_updates=False)


async def test_what_a_backend_does_not_promise_is_not_asked_of_it(anyio_backend):
    await check_state_backend(LessPromised)


async def test_the_memory_store_fulfils_the_contract_of_stores(anyio_backend):
    await check_session_store(Clocked, advance=advance, lease_seconds=30.0)


async def test_an_awaited_store_fulfils_it_too(anyio_backend):
    def make() -> SessionStore:
        return AwaitedStore(Clocked())

    await check_session_store(make, advance=lambda store, seconds: advance(store.inner, seconds), lease_seconds=30.0)


@pytest.mark.parametrize(("store", "rule"), broken_stores.BROKEN, ids=lambda one: getattr(one, "__name__", None))
async def test_a_broken_store_fails_by_the_rule_it_breaks(store, rule, anyio_backend):
    with pytest.raises(ConformanceError) as caught:
        await check_session_store(store, advance=advance, lease_seconds=30.0)

    assert caught.value.rule == rule


def test_a_conformance_error_survives_pickling():
    import pickle

    error = pickle.loads(pickle.dumps(ConformanceError("Mine", rule="a rule", happened="another thing")))
    assert (error.subject, error.rule, error.happened) == ("Mine", "a rule", "another thing")
