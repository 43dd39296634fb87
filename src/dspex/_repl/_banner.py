"""What the prompt says first: where you are, what is there, and what to try."""

from __future__ import annotations

import sys

from .._version import __version__
from ._terminal import has_colours

READY = {
    "ctx": "a context named 'scratch', for variables and programs",
    "supervisor": "a supervisor without children yet; any async function can be one, contexts and bridges too",
}
TRY = [
    'await ctx.variables.define("count", int, 0)',
    'await ctx.variables.add("count", 1)',
    'shout = await ctx.register_program("shout", isolated(lambda text: text.upper()))',
    'await shout(text="from a worker process")',
    'info = await supervisor.start_child(Context.child_spec("kept"))',
    "supervisor.tree()",
]
HOW = "Await at the prompt. TAB completes, Ctrl-C ends a line that runs, Ctrl-D leaves. All that dspex exports is imported, and anyio."


def show_banner(loop: str) -> None:
    """On stdout, in colours where rich is installed."""
    title = f"dspex {__version__} on {loop}, Python {sys.version.split()[0]}"
    if has_colours():
        _show_rich(title)
    else:
        _show_plain(title)


def _show_plain(title: str) -> None:
    print(title)
    print(HOW)
    for name, what in READY.items():
        print(f"  {name:<12}{what}")

    print("Try:")
    for line in TRY:
        print(f"  {line}")


def _show_rich(title: str) -> None:
    from rich.console import Console
    from rich.syntax import Syntax
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    console.print(Text(title, style="bold cyan"))
    console.print(Text(HOW, style="dim"))
    for name, what in READY.items():
        console.print(Text.assemble("  ", (f"{name:<12}", "bold"), what))

    console.print(Text("Try:"))
    colours = Syntax("", "python", theme="ansi_dark", background_color="default")
    for line in TRY:
        console.print(Text("  ") + colours.highlight(line), end="")
