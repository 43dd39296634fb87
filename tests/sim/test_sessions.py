"""A switch onto a session that somebody else has, and contexts side by side on one store."""

from __future__ import annotations

import anyio
import pytest

from dspex import Context, Var
from dspex._exceptions import BackendSwitchError
from dspex.abc import Put

from .choosers import Walk
from .explore import BACKENDS
from .failpoints import Failpoints
from .far import FarStore, FlakyStore, OpenBridge, records
from .loops import run

pytestmark = [pytest.mark.parametrize("backend", BACKENDS), pytest.mark.parametrize("kind", [FlakyStore, FarStore])]
X = Var("x", int, 1)


def test_a_session_that_appears_meanwhile_is_refused_and_left_alone(backend, kind):
    async def main():
        store = kind(Failpoints())
        async with Context(variables=[X], bridge=OpenBridge(store), session_id="s") as context:
            lease = await store.open("s", "create", holder="another")
            await store.apply(lease, None, [Put("theirs", b"data")])
            for _ in range(2):
                with pytest.raises(BackendSwitchError, match="taken"):
                    await context.ensure_bridged()

                assert (context.backend.kind, await context.variables.set(X, 5)) == ("local", 1)
                await context.variables.delete(X)
                await context.variables.define(X)

            assert [record.id for record in records(store.kept, "s")] == ["theirs"]
            await store.drop(lease)
            await context.ensure_bridged()
            return context.backend.kind, await context.variables.get(X)

    for seed in range(10):
        ran = run(main, backend, Walk(seed))
        assert ran.error is None, ran.error
        assert ran.value == ("bridged", 1)


def test_contexts_that_switch_at_once_on_one_store_keep_apart(backend, kind):
    async def live(store, number, ended):
        async with Context(variables=[X], bridge=OpenBridge(store)) as context:
            await context.variables.set(X, number)
            await context.ensure_bridged()
            await context.variables.add(X, 100)
            await anyio.sleep(1)
            versions = {record.version for record in records(store.kept, context.id)}
            ended.append((await context.variables.get(X) - number, versions, len(store.kept._sessions)))

    async def main():
        store, ended = kind(Failpoints()), []
        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(live, store, number, ended)

        return ended, dict(store.kept._sessions)

    for seed in range(20):
        ran = run(main, backend, Walk(seed))
        assert ran.error is None, ran.error
        ended, left = ran.value
        assert [(value, versions) for value, versions, _ in ended] == [(100, {2})] * 5
        assert ended[0][2] == 5
        assert left == {}
