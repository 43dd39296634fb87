"""
A DSPy module joins a context, and the context switches: the example of the README, offline.

The language model comes from ``dspex.testing`` and answers by telling how it was called; a real one is ``LM("openai/gpt-4o-mini")``.
Run it with ``python examples/dspy_module.py``; dspy must be installed.
"""

from __future__ import annotations

import anyio

from dspex import LM, ChainOfThought, Context, Var

TEMPERATURE = Var("temperature", float, 0.7, min=0.0, max=2.0)

# Declared once, without a context: nothing is imported and nothing runs yet.
lm = LM("scripted", factory="dspex.testing.scripted_lm:make")
qa = ChainOfThought("question -> answer", bind={"temperature": TEMPERATURE}, lm=lm)


async def main() -> None:
    """Ask at one temperature, then at another."""
    async with Context(variables=[TEMPERATURE]) as ctx:
        print("backend:", ctx.backend.kind)

        ask = await qa.attach(ctx)  # a DSPy module joins: the context switches
        print("backend:", ctx.backend.kind)  # every value kept

        prediction = await ask(question="What is OTP?")  # ran in a worker process, at the bound temperature
        print("answer:", prediction.answer)

        await ctx.variables.set(TEMPERATURE, 0.2)
        prediction = await ask(question="What is OTP?")
        print("answer:", prediction.answer)
        print("temperature:", prediction.settings["temperature"])


if __name__ == "__main__":
    anyio.run(main)
