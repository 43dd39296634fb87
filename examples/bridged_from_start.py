"""
A context that is bridged before anything needs it: the seed's ``preemptive_bridging``.

Run it with ``python examples/bridged_from_start.py``.
"""

from __future__ import annotations

import anyio

from dspex import Bridge, Context


async def main() -> None:
    """Two ways to be bridged early, and one bridge for several contexts."""
    async with Context() as ctx:
        # If you know that workers will be needed, switch early
        await ctx.ensure_bridged()

        # Now all operations use one backend
        await ctx.variables.define("config", "string", "production")
        print("switched:", ctx.backend.kind, await ctx.variables.get("config"))

    async with Bridge(workers=1) as bridge, Context(bridge=bridge, backend="bridged") as first, Context(bridge=bridge) as second:
        # Bridged from its first operation: it never switched. The second one joins when it needs to.
        await first.variables.define("config", "string", "staging")
        print("from the start:", first.backend.kind, first.backend.switches)
        await second.ensure_bridged()
        print("joined later:", second.backend.kind, second.backend.switches)


if __name__ == "__main__":
    anyio.run(main)
