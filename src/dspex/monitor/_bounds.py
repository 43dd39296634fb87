"""Bounds, as arguments."""

from __future__ import annotations

from typing import Any


def check_seconds(name: str, given: Any, *, least: float = 0.0, optional: bool = True) -> None:
    """
    Whether *given* can be a bound.

    Raises:
        TypeError, ValueError: it can't; with *name*.

    """
    wrong = (
        f"{name}: expected a number of seconds{f' of at least {least:g}' if least else ''}{' or None' if optional else ''}, got {given!r}"
    )
    if given is None and optional:
        return

    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise TypeError(wrong)

    if not given >= least:
        raise ValueError(wrong)


def check_count(name: str, given: Any, *, least: int = 1) -> None:
    """
    Whether *given* can be a number of things.

    Raises:
        TypeError, ValueError: it can't; with *name*.

    """
    wrong = f"{name}: expected a whole number of at least {least}, got {given!r}"
    if isinstance(given, bool) or not isinstance(given, int):
        raise TypeError(wrong)

    if given < least:
        raise ValueError(wrong)
