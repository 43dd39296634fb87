"""I8, I9 and I11 of the design in short, seen from outside; the other invariants are named in the tests of their rooms."""

from __future__ import annotations

import enum
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from dspex import Bridge, Context, ContextCrashed, Pool, Var
from dspex.context._mailbox import Request
from dspex.state import LocalState

COUNT = Var("count", int, 0)


class Failing(LocalState):
    """A backend whose `merge` fails in a way that is no refusal."""

    def merge(self, key: Any, mapping: Any) -> int:
        raise OSError("the disk has gone")


async def test_i8_an_accepted_request_is_answered_whatever_becomes_of_the_owner() -> None:
    told: list[Any] = []
    with pytest.raises(ContextCrashed):
        async with Context(backend=Failing, variables=[COUNT]) as ctx:
            await ctx.variables.set(COUNT, 7)
            # All three in one step, so that they lie in the mailbox together.
            for name, *args in (("merge", COUNT, {}), ("set", COUNT, 8, None, None), ("get", COUNT)):
                ctx.variables.accept(Request(name, tuple(args), callback=lambda result, error: told.append(error)))

            await anyio.sleep_forever()

    # What was in the owner's hands is unknown, what was queued never happened.
    assert [error.applied for error in told] == [None, False, False]
    assert all(isinstance(error.__cause__, OSError) for error in told)


@pytest.mark.parametrize("walk", ["list", "export_state", "ensure_bridged"])
async def test_i9_a_walk_over_many_variables_lets_others_run(walk: str) -> None:
    async with Context(bridge=Bridge()) as ctx:
        for number in range(5_000):
            await ctx.variables.define(f"v{number}", int, number)

        turns = 0
        done = anyio.Event()

        async def other() -> None:
            nonlocal turns
            while not done.is_set():
                turns += 1
                await checkpoint()

        async with anyio.create_task_group() as group:
            group.start_soon(other)
            await checkpoint()
            before = turns
            await {"list": ctx.variables.list, "export_state": ctx.export_state, "ensure_bridged": ctx.ensure_bridged}[walk]()
            done.set()

        assert turns - before >= 8


async def test_i11_what_comes_from_a_worker_is_data_and_nothing_is_imported_for_it(tmp_path: Path) -> None:
    name = f"only_there_{os.getpid()}"
    code = """
        import enum

        class Color(enum.Enum):
            RED = 1

        def color():
            return Color.RED

        def write(ctx):
            ctx.set("anything", [1, {"deep": (2, b"x")}])
            try:
                ctx.set("anything", Color.RED)
            except Exception as error:
                return [type(error).__name__, ctx.get("anything")]
    """
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(code))
    async with Bridge(pools={"there": Pool(path=(str(tmp_path),))}) as bridge, Context(bridge=bridge) as ctx:
        await ctx.variables.define("anything", Any, None)
        color = await ctx.register_program("color", f"{name}:color", pool="there")
        write = await ctx.register_program("write", f"{name}:write", pool="there")
        came = await color()
        assert not isinstance(came, enum.Enum)
        assert "Color" in repr(came)
        assert await write() == ["InvalidValue", [1, {"deep": (2, b"x")}]]

    assert name not in sys.modules
