"""
A context watched by a person: the seed's "Monitoring and Debugging", as one uses it at a prompt or while a bug is looked for.

Run it with ``python examples/watching.py``.
"""

from __future__ import annotations

import logging
import sys
import time

import anyio

from dspex import Context, InvalidValue, SyncProgramContext, Var, isolated, monitor
from dspex.telemetry import BackendSwitched, OperationFailed, VariableOperation

TEMPERATURE = Var("temperature", float, 0.7, min=0.0, max=2.0)
ASKED = Var("asked", int, 0)
API_KEY = Var("api_key", str, "sk-4711", sensitive=True)


@isolated
def ask(question: str, ctx: SyncProgramContext) -> str:
    """Runs in a worker process: it reads one variable, and writes another."""
    return f"{question} At {ctx.get(TEMPERATURE)}, and for the {ctx.add(ASKED, 1)}. time."


def cool_down(temperature: float) -> float:
    """A function for `update` should be quick: nobody else gets at the context meanwhile. This one isn't."""
    time.sleep(0.15)
    return temperature / 2


def show(operation: VariableOperation | OperationFailed) -> None:
    """What a trace has of one operation."""
    version = f" -> version {operation.version}" if isinstance(operation, VariableOperation) and operation.version else ""
    print(f"{operation.operation} {', '.join(operation.variables)}{version}, {operation.seconds * 1e3:.3f} ms")


async def main() -> None:
    """Have it logged, have it drawn, follow it."""
    # What of the log is shown is yours to say, as always. Here: this, on stdout.
    logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
    logging.getLogger("dspex.monitor").setLevel(logging.INFO)

    # From here on switches, slow operations and errors are logged. `with`, or monitor.detach() later.
    with monitor.attach():
        async with Context(name="chat", variables=[TEMPERATURE, ASKED, API_KEY]) as ctx:
            # A switch is logged, and told to whoever watches for switches.
            async with monitor.watch_switches(ctx) as switches:
                bound = await ctx.register_program("ask", ask)
                switch = await anext(switches)
                if isinstance(switch, BackendSwitched):
                    print("steps:", ", ".join(step.name for step in switch.steps))

            # An operation that takes longer than 100 ms is warned of.
            await ctx.variables.update(TEMPERATURE, cool_down)

            # What a caller got as an error is logged as one.
            try:
                await ctx.variables.set(TEMPERATURE, 9.0)
            except InvalidValue:
                print("refused")

            # Every operation as it happens, those of programs in workers among them.
            async with monitor.trace(ctx) as operations:
                print(await bound(question="How warm is it?"))
                show(await anext(operations))
                show(await anext(operations))

            # All there is to know of it. In a terminal that has rich, in colours.
            report = await monitor.inspect_context(ctx)

    # The same facts for machines, where print() would be of no use.
    print(report.as_dict()["variables"][2]["value"])


if __name__ == "__main__":
    anyio.run(main)
