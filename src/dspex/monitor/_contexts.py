"""Which context is meant: the context itself, or the name that `whereis` finds it by."""

from __future__ import annotations

from typing import Any

from ..context import Context, whereis


def context_of(given: Context | str) -> Context:
    """
    The context that is meant.

    Raises:
        NameNotFound: no live context has this name in this event loop run.
        TypeError: it is neither a context nor a name.

    """
    if isinstance(given, str):
        return whereis(given)

    other: Any = given
    if not isinstance(other, Context):
        raise TypeError(f"context: expected a Context or the name of one, got {other!r}")

    return given


def label_of(context_id: str, name: str | None) -> str:
    """How a context is called in a line."""
    from ..supervision._drawing import safe

    return f"{safe(name)!r} ({safe(context_id)})" if name else safe(context_id)
