"""``python -m dspex``, and the ``dspex`` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
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

    _add_monitor(commands)

    # The bench belongs to the source tree and isn't installed: it is offered where it is.
    if Path(TREE, "bench", "__main__.py").exists():
        bench = commands.add_parser("bench", help="what things cost, as ratios in one run")
        bench.add_argument("--quick", action="store_true", help="a smoke run: fewer rounds, smaller states")
        bench.set_defaults(run=_bench)

    return parser


def _add_monitor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The commands that look at a running service, through the socket that it opens with `monitor.serve`."""
    top = commands.add_parser("top", help="watch a running service: its tree, its contexts, its workers")
    top.add_argument("path", nargs="?", metavar="PATH", help="the socket that the service has opened with monitor.serve(PATH)")
    top.add_argument("--demo", action="store_true", help="watch a busy service made up for this, to try it")
    top.add_argument("--every", type=float, default=0.5, metavar="SECONDS", help="seconds between two looks, 0.1 to 3600 (default 0.5)")
    top.set_defaults(run=partial(_top, top))

    tree = commands.add_parser("tree", help="print the tree of a running service")
    inspect = commands.add_parser("inspect", help="print all there is to say of one thing in a running service")
    for command in (tree, inspect):
        command.add_argument("path", metavar="PATH", help="the socket that the service has opened with monitor.serve(PATH)")

    name = "a path in the tree or its end, the name or id of a context, the process id of a worker"
    inspect.add_argument("name", metavar="NAME", help=name)
    for command in (tree, inspect):
        command.add_argument("--json", action="store_true", help="as JSON, for machines")

    tree.set_defaults(run=_tree)
    inspect.set_defaults(run=_inspect)


def _top(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> int:
    if chosen.demo and chosen.path is not None:
        parser.error("expected the PATH of a service's socket or --demo, not both")

    if not 0.1 <= chosen.every <= 3600:
        parser.error(f"--every: expected 0.1 to 3600 seconds, got {chosen.every:g}")

    from ._top import run

    return run(chosen.path, demo=chosen.demo, every=chosen.every)


def _tree(chosen: argparse.Namespace) -> int:
    from .monitor._service.commands import tree

    return tree(chosen.path, as_json=chosen.json)


def _inspect(chosen: argparse.Namespace) -> int:
    from .monitor._service.commands import inspect

    return inspect(chosen.path, chosen.name, as_json=chosen.json)


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
