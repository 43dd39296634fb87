"""Where a task or a thread is, in the words of the reports of overdue children: a line a frame, the innermost last."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

from ...supervision._stopping import _frames

DEEPEST: Final = 50
"""Frames that are told; of more, the outermost are counted."""


def stack_of_task(coroutine: Any, thread: int) -> str:
    """Where the task of *coroutine* waits; where it is running just now, what *thread*, on which it runs, is doing."""
    if getattr(coroutine, "cr_running", False):
        return stack_of_thread(thread)

    return _told(list(_frames(coroutine)))


def stack_of_thread(thread: int) -> str:
    """What the thread of the id *thread* is doing."""
    return _told([*_outwards(sys._current_frames().get(thread))][::-1])


def _outwards(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        yield f"  {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
        frame = frame.f_back


def _told(lines: list[str]) -> str:
    left_out = len(lines) - DEEPEST
    if left_out > 0:
        lines = [f"  … {left_out:,} more", *lines[left_out:]]

    return "\n".join(lines) or "  (nowhere: it has ended)"
