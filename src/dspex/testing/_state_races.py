"""The rules of state backends under load: many writers at once, and operations cut at their awaits."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from dspex.testing._conformance import CutOutcome, Rules, cut, every_cut, expect, expect_equal
from dspex.testing._model import Model
from dspex.testing._state_case import Case, Subject, modelled, one_more, outcome_of, written

under_load: Rules[Case] = Rules()


@under_load("of many writers at once none loses a write")
async def _concurrent(case: Case) -> None:
    subject = await case.fresh()
    if not subject.atomic:
        return

    versions: list[int] = []

    async def write(number: int) -> None:
        for step in range(5):
            await subject("add", "count", 1)
            await checkpoint()
            versions.append(await subject("append", "notes", 10 * number + step))

    async with anyio.create_task_group() as writers:
        for number in range(4):
            writers.start_soon(write, number)

    expect_equal(await subject("read", "count"), (21, 20), "the sum, and its version")
    expect_equal(sorted(versions), list(range(1, 21)), "the versions answered")
    kept = [10 * number + step for number in range(4) for step in range(5)]
    expect_equal(sorted(await subject("get", "notes")), sorted([1, *kept]), "what was appended")


@under_load("a batch is never seen in halves")
async def _whole(case: Case) -> None:
    subject = await case.fresh()
    if not subject.atomic:
        return

    torn: list[dict[str, Any]] = []
    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(_write_alike, subject, 100 * number)
            tasks.start_soon(_look_for_torn, subject, torn)

    expect(not torn, f"a reader saw {torn[:1]}")


async def _write_alike(subject: Subject, start: int) -> None:
    for number in range(start + 1, start + 8):
        await subject("set_many", {"count": number, "notes": [number], "table": {"a": number}})
        await checkpoint()


async def _look_for_torn(subject: Subject, torn: list[dict[str, Any]]) -> None:
    for _ in range(10):
        found = await subject("get_many", ["count", "notes", "table"])
        if not found["count"] == found["notes"][0] == found["table"]["a"]:
            torn.append(found)

        await checkpoint()


WRITES: tuple[tuple[Any, ...], ...] = (
    ("define", "extra", 7),
    ("set", "count", 2, {"by": "kit"}),
    ("set_many", {"count": 2, "title": "second", "ratio": 1.5}, {"by": "kit"}),
    ("delete", "count"),
    ("update", "count", one_more),
    ("add", "ratio", 1.5),
    ("append", "notes", 2),
    ("merge", "table", {"b": 2}),
)


@under_load("an operation cut at any await has either happened or not")
async def _cuts(case: Case) -> None:
    for operation, *args in WRITES:
        after = modelled()
        after.apply(operation, *args)
        subject = await case.fresh()
        if not (subject.atomic and subject.waits):
            return

        await every_cut(partial(_cut_once, case, operation, args, after))


async def _cut_once(case: Case, operation: str, args: list[Any], after: Model, at: int) -> CutOutcome:
    subject, before = await case.fresh(), modelled()
    outcome = await cut(lambda: written(subject, operation, args), at)
    told = f"{operation}() cut at await {at}"
    seen = await subject.seen()
    if outcome.finished:
        expect_equal(seen, after.seen(), f"{told} answered, and the content")
    else:
        expect(seen in (before.seen(), after.seen()), f"{told} left it in between: {seen}")

    await _still_whole(subject, told)
    model = after.copy() if seen == after.seen() else before
    expect_equal(await outcome_of(subject, operation, args), model.apply(operation, *args), f"{told}, and once more, the answer")
    await subject.expect_seen(model, f"{told}, and once more,")
    return outcome


async def _still_whole(subject: Subject, told: str) -> None:
    """All ways of looking tell the same."""
    for one in await subject.variables():
        expect_equal(await subject("read", one.name), (one.value, one.version), f"{told}, and then read({one.name!r})")
        expect_equal((await subject("info", one.id)).name, one.name, f"{told}, and then the name under {one.id!r}")
