"""What a terminal has over a pipe: line editing, completion, colours."""

from __future__ import annotations

import builtins
import sys
from importlib.util import find_spec
from typing import Any


def is_terminal() -> bool:
    """Whether somebody types, and sees what is printed."""
    return not sys.stdin.closed and sys.stdin.isatty() and sys.stdout.isatty()  # exit() closes stdin, and may be caught


def has_colours() -> bool:
    """Whether what is printed is drawn with rich."""
    return sys.stdout.isatty() and find_spec("rich") is not None


def complete_names_of(namespace: dict[str, Any]) -> None:
    """Has TAB complete names in *namespace* and their attributes, where readline is there."""
    try:
        import readline
    except ImportError:
        return

    from ._completer import ListedCompleter

    readline.set_completer(ListedCompleter(namespace).complete)
    uses_libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if uses_libedit else "tab: complete")


def display(value: Any) -> None:
    """Shows what an expression came to, as the ordinary prompt does; but what can draw itself is drawn, unless that was just done."""
    if not hasattr(value.__class__, "__rich__") or getattr(value, "drawn", False) is True:
        sys.__displayhook__(value)
        return

    builtins.__dict__["_"] = value
    if has_colours():
        from rich import print as draw

        draw(value)
    else:
        print(value)
