"""The build that the bench compares with has no telemetry, and is else the same: or its figure would mean nothing."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from bench.bare import NAME, STRIPPED, built
from dspex import telemetry
from dspex.telemetry import VariableOperation


async def test_it_works_as_the_real_one_does_and_tells_nobody():
    heard = []
    with built() as bare, telemetry.subscribe(heard.append):
        count = bare.Var("count", int, 0)
        async with bare.Context(variables=[count]) as ctx:
            assert await ctx.variables.add(count, 2) == 2
            await ctx.ensure_bridged()
            assert await ctx.variables.set(count, 5) == 2
            assert [variable.value for variable in await ctx.variables.list()] == [5]

    assert heard == []
    assert not [name for name in sys.modules if name.startswith(NAME)]


async def test_nothing_in_it_asks_who_listens():
    with built() as bare:
        root = Path(bare.__file__).parent
        told = {
            f"{file.relative_to(root)}: {line.strip()}"
            for file in root.rglob("*.py")
            if file.relative_to(root).as_posix().startswith(STRIPPED)
            and file.stem not in ("_probe", "_observed", "_switch_told", "_telling")
            for line in file.read_text().splitlines()
            if re.search(r"\.heard\b(?!\()|\.probe\b|TRACING\.|\.untold\b|CONTEXTS\.|tell_status\(\)$", line)
            and not line.strip().startswith('"')
        }
        assert bare.taken > 30
        assert told == set()


async def test_the_real_one_does():
    from dspex import Context, Var

    heard = []
    async with Context(variables=[Var("count", int, 0)]) as ctx:
        with telemetry.subscribe(heard.append, only=VariableOperation):
            await ctx.variables.get("count")

    assert len(heard) == 1
