"""``timeout=``, checked before anything is done."""

from __future__ import annotations

from typing import Any


def check_timeout(timeout: Any) -> None:
    """Raise `TypeError` or `ValueError` unless *timeout* is a number of seconds from 0 up, or None."""
    if timeout is None:
        return

    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout: expected a number of seconds of at least 0 or None, got {timeout!r}")

    if not timeout >= 0:
        raise ValueError(f"timeout: expected a number of seconds of at least 0 or None, got {timeout!r}")
