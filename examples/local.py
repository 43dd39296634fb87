"""
A context that never leaves the process: the seed's ``pure_elixir_workflow``.

Run it with ``python examples/local.py``.
"""

from __future__ import annotations

import anyio

from dspex import Context, Var

TEMPERATURE = Var("temperature", float, 0.7, min=0.0, max=2.0)


async def main() -> None:
    """Keep two variables, use one."""
    async with Context(variables=[TEMPERATURE]) as ctx:
        # Fast local operations. A variable may be a Var or be defined by name; the seed's type names mean the same types.
        await ctx.variables.define("max_tokens", "integer", 256)

        # Plain Python on a typed value: `temperature` is a float for the type checker too.
        temperature = await ctx.variables.get(TEMPERATURE)
        await ctx.variables.set(TEMPERATURE, min(temperature * 1.1, 2.0))

        print("temperature:", round(await ctx.variables.get(TEMPERATURE), 2))
        print("version:", (await ctx.variables.info(TEMPERATURE)).version)

        # Still using the fast local backend
        print("backend:", ctx.backend.kind)


if __name__ == "__main__":
    anyio.run(main)
