"""``python -m dspex repl``: a prompt on a running event loop, with a supervisor and a context ready."""

from __future__ import annotations

import builtins
import sys
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import anyio
from anyio.from_thread import start_blocking_portal

from .._exceptions import MissingExtra
from ._banner import show_banner
from ._console import Console
from ._ready import start_what_is_ready, stop_what_is_left
from ._terminal import complete_names_of, display, is_terminal

LOOPS: dict[str, tuple[str, dict[str, Any]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}


def run(loop: str) -> int:
    """
    Open the prompt on *loop*: ``"asyncio"``, ``"uvloop"`` or ``"trio"``.

    Returns the exit code: 1 where that loop isn't installed, 130 where whoever left didn't wait for what was still stopping.

    Raises:
        SystemExit: somebody typed ``exit()``.

    """
    if find_spec(loop) is None:
        print(MissingExtra(loop, needed_for=f"The prompt on {loop}", install=f"pip install 'dspex[{loop}]'"), file=sys.stderr)
        return 1

    module = _as_main(loop)
    sys.displayhook = display
    try:
        _at_the_prompt(loop, vars(module))
    except KeyboardInterrupt:
        return 130

    return 0


def _at_the_prompt(loop: str, namespace: dict[str, Any]) -> None:
    # The console has the main thread, which is the one that Ctrl-C reaches while it reads, and the loop a thread of its own.
    backend, options = LOOPS[loop]
    with start_blocking_portal(backend, options, name="loop") as portal:
        try:
            namespace.update(portal.call(start_what_is_ready))
            if is_terminal():
                complete_names_of(namespace)
                show_banner(loop)

            Console(portal, namespace).interact()
        finally:
            # An exit() in another task than a line's ends the loop itself, and all that ran on it.
            with suppress(RuntimeError):
                portal.call(stop_what_is_left)


def _as_main(loop: str) -> ModuleType:
    """
    An empty ``__main__`` with all that dspex exports.

    What is defined in it goes to workers as what is defined at any prompt does; and dataclasses and pickle find its classes.
    """
    module = ModuleType("__main__")
    dspex = import_module(__name__.partition(".")[0])
    exported = {name: getattr(dspex, name) for name in dspex.__all__ if not name.startswith("_")}
    vars(module).update(exported, dspex=dspex, anyio=anyio, __builtins__=builtins)
    if loop != "uvloop":
        vars(module)[loop] = import_module(loop)

    sys.modules["__main__"] = module
    return module
