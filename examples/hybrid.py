"""
A context that starts in the process and switches when a program joins that runs in a worker: the seed's ``hybrid_workflow``.

Run it with ``python examples/hybrid.py``.
"""

from __future__ import annotations

import os

import anyio

from dspex import Context, SyncProgramContext, Var, isolated

PROMPT = Var("prompt", str, "Explain quantum computing")
ANSWERED = Var("answered", int, 0)


@isolated
def answer(question: str, ctx: SyncProgramContext) -> dict[str, object]:
    """Runs in a worker process, and reads and writes the variables of the context that called it."""
    prompt = ctx.get(PROMPT)
    ctx.add(ANSWERED, 1)
    return {"text": f"{question} ({len(prompt)} letters)", "pid": os.getpid()}


async def main() -> None:
    """Start local, add a program, go on as before."""
    async with Context(variables=[PROMPT, ANSWERED]) as ctx:
        # Start with operations in this process
        await ctx.variables.set(PROMPT, "Explain quantum computing to a child")
        print("backend:", ctx.backend.kind)

        # Add a program that must run outside: triggers the switch
        ask = await ctx.register_program("answer", answer)
        print("because:", "; ".join(ask.info.reasons))
        print("backend:", ctx.backend.kind)

        # Variables still accessible, at the version they had
        print("prompt:", await ctx.variables.get(PROMPT))
        print("version:", (await ctx.variables.info(PROMPT)).version)

        # The worker accesses the same variables
        result = await ask(question="How long is the prompt?")
        print("answer:", result["text"])
        print("in another process:", result["pid"] != os.getpid())
        print("answered:", await ctx.variables.get(ANSWERED))


if __name__ == "__main__":
    anyio.run(main)
