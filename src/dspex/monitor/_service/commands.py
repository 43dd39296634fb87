"""`dspex tree` and `dspex inspect`: what a service's monitor tells, once, on paper: for scripts as plain text or JSON, in colours where a person looks."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any, TextIO

import anyio

from ..._exceptions import MonitorUnreachable
from ...supervision import Branch, Tree
from .._shown import one_line
from . import sheet as drawn_sheet
from .client import MonitoredService, connect

_LONGEST_ERROR = 1000


def tree(path: str, *, as_json: bool) -> int:
    """Prints the tree of the service at *path*. Returns the exit code."""
    return _tell(path, MonitoredService.tree, _print_json if as_json else _print_tree)


def inspect(path: str, name: str, *, as_json: bool) -> int:
    """Prints all there is to say of what is called *name* in the service at *path*. Returns the exit code."""
    return _tell(path, partial(MonitoredService.inspect, name=name), _print_json if as_json else _print_detail)


def branch_of(node: Mapping[str, Any]) -> Branch:
    """A node of a snapshot as what trees are drawn of."""
    return Branch(
        node["name"],
        node["kind"],
        node["state"],
        node["facts"],
        [branch_of(child) for child in node.get("children", ())],
        node["note"],
        node.get("others", {}),
    )


def _tell(path: str, ask: Callable[[MonitoredService], Awaitable[Any]], show: Callable[[Mapping[str, Any], Any], None]) -> int:
    try:
        hello, answer = anyio.run(_asked, path, ask)
    except (MonitorUnreachable, LookupError) as error:
        print(one_line(str(error), _LONGEST_ERROR), file=sys.stderr)
        return 1

    try:
        show(hello, answer)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head`, say. Python flushes stdout once more as it ends, and must find something that takes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1

    return 0


async def _asked(path: str, ask: Callable[[MonitoredService], Awaitable[Any]]) -> tuple[Mapping[str, Any], Any]:
    async with connect(path) as service:
        return service.hello, await ask(service)


def _print_json(hello: Mapping[str, Any], answer: Any) -> None:
    print(json.dumps({"service": hello, **answer}, indent=2))


def _print_tree(hello: Mapping[str, Any], answer: Any) -> None:
    told = {name: count for name, count in answer["totals"].items() if count}
    node = {**answer["tree"], "facts": {"pid": hello["pid"], **told}}
    drawn = Tree(branch_of(node))
    if _is_looked_at(sys.stdout):
        from rich.console import Console

        Console(soft_wrap=True).print(drawn)
    else:
        print(drawn)


def _print_detail(hello: Mapping[str, Any], answer: Any) -> None:
    sheet = drawn_sheet.of(answer)
    if _is_looked_at(sys.stdout):
        from rich.console import Console

        Console(soft_wrap=True).print(drawn_sheet.as_rich(sheet))
    else:
        print(drawn_sheet.as_text(sheet))


def _is_looked_at(stream: TextIO) -> bool:
    return stream.isatty() and find_spec("rich") is not None
