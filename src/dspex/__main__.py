"""``python -m dspex``, and the ``dspex`` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ._version import __version__

TREE = Path(__file__).parents[2]
"""Where the source tree would be, if this package runs from one."""


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command line.

    Args:
        arguments: what stands behind the command; ``sys.argv[1:]`` by default.

    Returns:
        The exit code: 0, or 1 when the command failed.

    """
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.run is None:
        parser.print_help()
        return 0

    run: Callable[[argparse.Namespace], int] = chosen.run
    return run(chosen)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dspex", description="Contexts of typed variables, and the programs that use them.")
    parser.add_argument("--version", action="version", version=f"dspex {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="command")

    demo = commands.add_parser("demo", help="watch a context move from this process to worker processes")
    demo.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio", help="the event loop to run on")
    demo.set_defaults(run=_demo)

    repl = commands.add_parser("repl", help="a prompt with await, a supervisor and a context ready")
    loop = repl.add_mutually_exclusive_group()
    for name in ("trio", "uvloop"):
        loop.add_argument(f"--{name}", dest="loop", action="store_const", const=name, default="asyncio", help=f"on {name}, not asyncio")

    repl.set_defaults(run=_repl)

    # The bench belongs to the source tree and isn't installed: it is offered where it is.
    if Path(TREE, "bench", "__main__.py").exists():
        bench = commands.add_parser("bench", help="what things cost, as ratios in one run")
        bench.add_argument("--quick", action="store_true", help="a smoke run: fewer rounds, smaller states")
        bench.set_defaults(run=_bench)

    return parser


def _demo(chosen: argparse.Namespace) -> int:
    from ._demo import run

    return run(chosen.backend)


def _repl(chosen: argparse.Namespace) -> int:
    from ._repl import run

    return run(chosen.loop)


def _bench(chosen: argparse.Namespace) -> int:
    from importlib import import_module

    sys.path.insert(0, str(TREE))
    code: int = import_module("bench.__main__").main(["--quick"] if chosen.quick else [])
    return code


if __name__ == "__main__":
    sys.exit(main())
