"""Numbers in words that are short enough for a column, and rows of them as a line of bars."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇"
"""Not up to the full height: bars of two lines, one above the other, stay apart."""
NONE = "–"
_STEPS = ((1.0, "s", 1), (1e-3, "ms", 1e3), (1e-6, "µs", 1e6), (0.0, "ns", 1e9))
_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")


def of_seconds(seconds: float | None) -> str:
    """A short time: ``"1.24 ms"``. Above a minute as `of_span` says it."""
    if seconds is None:
        return NONE

    if seconds >= 60 or seconds == 0:
        return of_span(seconds)

    unit, factor = next((unit, factor) for least, unit, factor in _STEPS if seconds >= least)
    return f"{_three_digits(seconds * factor)} {unit}"


def of_span(seconds: float) -> str:
    """A long time in two units at most: ``"3 d 4 h"``."""
    left = max(0, int(seconds))
    told: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            told.append(f"{count} {unit}")

    return " ".join(told[:2]) or "0 s"


def of_bytes(size: float | None) -> str:
    """``"41.2 MB"``, by thousands."""
    if size is None:
        return NONE

    power = 0
    while size >= 999.5 and power < len(_SIZES) - 1:
        size, power = size / 1000, power + 1

    return f"{_three_digits(size)} {_SIZES[power]}"


def of_rate(rate: float | None) -> str:
    """Times a second: ``"12.4k/s"``."""
    return NONE if rate is None else f"{of_many(rate)}/s"


def of_many(count: float) -> str:
    """A count where three digits are enough: ``"12.4k"``."""
    for least, unit in ((999.5e6, "G"), (999.5e3, "M"), (999.5, "k")):
        if count >= least:
            return f"{_three_digits(count / {'G': 1e9, 'M': 1e6, 'k': 1e3}[unit])}{unit}"

    return _three_digits(count)


def of_count(count: float | None) -> str:
    """A count to the last one: ``"1,204"``."""
    return NONE if count is None else f"{count:,.0f}"


def of_time(at: float) -> str:
    """The time of day here: ``"12:04:33"``."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def of_ago(seconds: float) -> str:
    """How long ago."""
    return "now" if seconds < 1 else f"{of_span(seconds)} ago"


def _three_digits(number: float) -> str:
    if number == 0 or number >= 99.95:
        return f"{number:.0f}"

    text = f"{number:.1f}" if number >= 9.995 else f"{number:.2f}"
    return text.rstrip("0").rstrip(".")


def of_columns(values: Sequence[float | None], columns: int, *, before: int = 0) -> list[float | None]:
    """
    *values* gathered to at most *columns*, the last one at the end; of several in one column the largest stands.

    *before* is how many values there were before the first: columns begin at multiples of what one gathers, so that they don't
    flicker as values go by.
    """
    each = max(1, math.ceil((len(values) + 1) / columns)) if len(values) > columns else 1
    gathered: dict[int, float | None] = {}
    for number, value in enumerate(values, before):
        former = gathered.get(number // each)
        gathered[number // each] = value if former is None else max(former, former if value is None else value)

    return list(gathered.values())[-columns:]


def of_bars(values: Sequence[float | None], least: float = 0.0) -> str:
    """One bar a value, from zero up to the highest of them, or *least* if that is higher; nothing where there was none."""
    top = max((value for value in values if value is not None and value > least), default=least)
    return "".join(_bar(value, top) for value in values)


def _bar(value: float | None, top: float) -> str:
    if value is None:
        return " "

    return BARS[min(len(BARS) - 1, int(value / top * len(BARS)))] if top > 0 else BARS[0]
