"""What a test may not leave behind: tasks on its loop, entries among what lives, child processes, open file descriptors."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.lowlevel
import trio

from dspex.telemetry import _live

TASKS = Path("/proc/self/task")
DESCRIPTORS = Path("/proc/self/fd")


def tasks() -> dict[int, str]:
    """Every task of the running loop that isn't done, by identity, in words."""
    if trio.lowlevel.in_trio_run():
        root = trio.lowlevel.current_root_task()
        return {id(task): repr(task) for task in (_below(root) if root else ())}

    return {id(task): repr(task) for task in asyncio.all_tasks() if not _of_the_plugin(task)}


def _of_the_plugin(task: asyncio.Task[object]) -> bool:
    """Whether anyio's pytest plugin made it, one for each time it has something to run."""
    return getattr(task.get_coro(), "__qualname__", "").startswith("TestRunner.")


def _below(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield child
            yield from _below(child)


@asynccontextmanager
async def leaving_no_task() -> AsyncIterator[None]:
    """Fails when tasks run on the loop at the end of the block that didn't at its start, or something is told to live that didn't then."""
    before, lived = tasks(), living()
    yield

    # A task that has just ended is still listed until the loop has come round, and so is one that closes an async generator.
    for _ in range(3):
        await anyio.lowlevel.checkpoint()

    left = [words for task, words in tasks().items() if task not in before]
    assert not left, f"the test left {len(left)} tasks running: {left}"

    undead = [words for thing, words in living().items() if thing not in lived]
    assert not undead, f"the test left {len(undead)} things that are said to live: {undead}"


LIVING: tuple[_live.Living[Any], ...] = (_live.CONTEXTS, _live.BRIDGES, _live.FAMILIES, _live.ROOTS)


def living() -> dict[int, str]:
    """Every context, bridge, family and supervisor that this process is told to have, by identity, in words."""
    return {id(thing): repr(getattr(thing, "handle", thing)) for living in LIVING for thing in living}


def forget_former_lives() -> None:
    """Those whose loop was given up before they could end."""
    for living in LIVING:
        for thing in living:
            living.leave(thing)


def children() -> dict[int, str]:
    """The command line of every child process of this one, zombies included, by pid. Empty where there is no /proc."""
    found: dict[int, str] = {}
    for thread in TASKS.glob("*/children"):
        try:
            pids = thread.read_text().split()
        except OSError:  # the thread has ended meanwhile
            continue

        found.update({int(pid): _command(pid) for pid in pids})

    return found


def _command(pid: str) -> str:
    try:
        return Path("/proc", pid, "cmdline").read_text().replace("\0", " ").strip() or "(zombie)"
    except OSError:
        return "(gone)"


def descriptors(ignored: str) -> set[tuple[str, str]]:
    """Every open file descriptor and what it points to, but for files below the folder *ignored*. Empty where there is no /proc."""
    found: set[tuple[str, str]] = set()
    for entry in os.listdir(DESCRIPTORS) if DESCRIPTORS.exists() else ():
        try:
            target = os.readlink(DESCRIPTORS / entry)
        except OSError:  # the one the listing itself had open
            continue

        if not target.startswith(ignored):
            found.add((entry, target))

    return found


def check_nothing_is_left(ignored: str) -> Iterator[None]:
    """The body of the fixture that looks before a test and after it."""
    processes, files = children(), descriptors(ignored)
    yield

    left = {pid: command for pid, command in children().items() if pid not in processes}
    assert not left, f"the test left child processes: {left}"

    if descriptors(ignored) - files:
        gc.collect()  # an object in a cycle closes its file now; one that should have been closed warns, and warnings are errors

    opened = descriptors(ignored) - files
    assert not opened, f"the test left open files: {sorted(opened)}"
