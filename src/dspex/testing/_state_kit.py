"""The conformance kit of state backends: `check_state_backend`."""

# ruff: noqa: A001, S311 - an id is called id; chance here is seeded, and no secret
from __future__ import annotations

import random
from datetime import timedelta
from functools import partial
from typing import Any

import anyio

from dspex._exceptions import BatchError, DefinitionMismatch, InvalidValue, VariableExists, VariableNotFound, VersionConflict
from dspex.abc import PAGE, appended
from dspex.state import backend_from
from dspex.testing._conformance import ConformanceError, Unmet, each, expect, expect_equal, refused, settled
from dspex.testing._state_case import COUNT, FIRST, Case, Make, any_operation, modelled, one_more, outcome_of, rule
from dspex.testing._state_races import under_load
from dspex.variables import Definition, Var


async def check_state_backend(make: Make) -> None:
    """
    Check that the backends *make* gives fulfil the contract of `dspex.abc`.

    Works on any event loop. *make* gives a new backend, not yet open, at each call; it may be a class, and its result may be awaitable.
    Backends that promise ``atomic_updates`` are also written by many tasks at once and cut at each of their awaits.

    Raises:
        ConformanceError: the first rule that is broken, and what happened instead.
        InvalidBackend: what *make* gives can't be a backend.

    """
    case = Case(make)
    name = type(backend_from(await settled(make())).make()).__name__
    failed: Exception | None = None
    try:
        await rule.hold(name, case)
        await under_load.hold(name, case)
    finally:
        with anyio.CancelScope(shield=True):
            failed = await case.close()

    if failed is not None:
        raise ConformanceError(name, rule="a backend closes without an error", happened=f"it raised {failed!r}") from failed


@rule("a variable that was defined has its value, of the same type, and version 0")
async def _defines(case: Case) -> None:
    subject = await case.fresh(filled=False)
    for definition, value in FIRST:
        id = await subject("define", definition, value)
        expect_equal(await subject("get", definition.name), value, f"the value of {definition.name!r}")
        known = await subject("info", definition.name)
        expect_equal((known.id, known.name, known.version), (id, definition.name, 0), "its id, name and version")
        expect_equal(known.type, definition.kind.label, "its type")


@rule("a name, an id and a Var find the same variable")
async def _finds(case: Case) -> None:
    subject = await case.fresh()
    id = (await subject("info", "ratio")).id
    var = Var("ratio", float, 0.0, min=0.0, max=1000.0)
    await subject("set", "ratio", 2.0)
    for key in ("ratio", id, var):
        expect_equal(await subject("get", key), 2.0, f"the value under {key!r}")
        expect_equal((await subject("info", key)).id, id, f"the id under {key!r}")
        expect(await subject("exists", key), f"exists({key!r}) was false")

    await refused(lambda: subject("get", Var("ratio", int, 0)), DefinitionMismatch, what="a Var of another type")


@rule("an unknown key is refused with VariableNotFound")
async def _unknown(case: Case) -> None:
    subject = await case.fresh()
    calls: tuple[tuple[Any, ...], ...] = (
        ("get", "nobody"), ("set", "nobody", 1), ("delete", "nobody"), ("info", "nobody"), ("read", "nobody"), ("add", "nobody", 1),
        ("append", "nobody", 1), ("merge", "nobody", {}), ("update", "nobody", str), ("set_many", {"nobody": 1, "count": 2}),
    )  # fmt: skip
    for call in calls:
        await refused(partial(subject, *call), VariableNotFound, what=f"{call[0]}() of an unknown name")

    expect(not await subject("exists", "nobody"), "exists() of an unknown name was true")
    await subject.expect_seen(modelled(), "refusals")


@rule("a name that is taken, or is the id of a variable, is refused with VariableExists")
async def _taken(case: Case) -> None:
    subject = await case.fresh()
    id = (await subject("info", "count")).id
    for name in ("count", id):
        again = Definition.make(name, "int")
        await refused(partial(subject, "define", again, 1), VariableExists, what=f"define() of {name!r}")

    await subject.expect_seen(modelled(), "refusals")


@rule("versions rise by one with each write, and are answered")
async def _versions(case: Case) -> None:
    subject = await case.fresh()
    answers = [await subject("set", "count", number) for number in (10, 11, 11)]
    expect_equal(answers, [1, 2, 3], "what set() answered")
    expect_equal(await subject("read", "count"), (11, 3), "what read() answered")
    expect_equal((await subject("info", "title")).version, 0, "the version of another variable")


@rule("a version that isn't the expected one is refused with VersionConflict and nothing is written")
async def _expected(case: Case) -> None:
    subject = await case.fresh()
    expect_equal(await subject("set", "count", 5, None, 0), 1, "set() of the expected version")
    for wrong in (0, 2):
        await refused(partial(subject, "set", "count", 6, None, wrong), VersionConflict, what=f"set() expecting version {wrong} of 1")

    expect_equal(await subject("read", "count"), (5, 1), "what was there after")


@rule("a value that doesn't fit is refused with InvalidValue and nothing is written")
async def _fits(case: Case) -> None:
    subject = await case.fresh()
    for key, value in (("ratio", -1.0), ("ratio", "1"), ("ratio", float("nan")), ("count", True), ("title", "x" * 41), ("notes", [1, "2"])):
        await refused(partial(subject, "set", key, value), InvalidValue, what=f"set({key!r}, {value!r})")

    await refused(lambda: subject("define", Definition.make("other", "int"), "1"), InvalidValue, what="define() with a wrong value")
    changes: tuple[tuple[str, str, Any], ...] = (
        ("add", "title", 1),
        ("append", "count", 1),
        ("merge", "notes", {}),
        ("add", "ratio", -5.0),
    )
    for operation, key, operand in changes:
        await refused(partial(subject, operation, key, operand), InvalidValue, what=f"{operation}({key!r}, {operand!r})")

    await subject.expect_seen(modelled(), "refusals")


@rule("an int given to a float variable is stored as a float")
async def _normalises(case: Case) -> None:
    subject = await case.fresh()
    await subject("set", "ratio", 3)
    expect_equal(await subject("get", "ratio"), 3.0, "the value")


@rule("metadata of writes is merged")
async def _metadata(case: Case) -> None:
    subject = await case.fresh()
    await subject("set", "count", 2, {"by": "a", "why": "test"})
    await subject("set", "count", 3, {"by": "b"})
    await subject("set", "count", 4)
    expect_equal(dict((await subject("info", "count")).metadata), {"by": "b", "why": "test"}, "the metadata")


@rule("containers are copied in")
async def _copies_in(case: Case) -> None:
    subject = await case.fresh()
    given, note = [1, 2], {"tags": ["a"]}
    await subject("set", "notes", given, note)
    given.append(3)
    note["tags"].append("b")
    expect_equal(await subject("get", "notes"), [1, 2], "the value after its giver changed the list")
    expect_equal(dict((await subject("info", "notes")).metadata), {"tags": ["a"]}, "the metadata after its giver changed it")


@rule("containers are copied out")
async def _copies_out(case: Case) -> None:
    subject = await case.fresh()
    (await subject("get", "notes")).append(99)
    (await subject("get_many", ["notes"]))["notes"].append(99)
    (await subject("read", "notes"))[0].append(99)
    (await subject("update", "notes", partial(appended, item=2))).append(99)
    (await subject("info", "notes")).value.append(99)
    (await subject.variables())[3].value.append(99)
    expect_equal(await subject("get", "notes"), [1, 2], "the value after those it was handed to changed theirs")


@rule("an atomic batch writes all or nothing")
async def _batch(case: Case) -> None:
    subject, model = await case.fresh(), modelled()
    versions = await subject("set_many", {"count": 2, "title": "second"}, {"by": "batch"})
    expect_equal(versions, model.set_many({"count": 2, "title": "second"}, {"by": "batch"}), "the versions")
    await refused(
        lambda: subject("set_many", {"count": 3, "ratio": -1.0, "title": "third"}), InvalidValue, what="a batch with a wrong value"
    )
    await subject.expect_seen(model, "a refused batch")


@rule("a best-effort batch writes what fits and tells the rest in a BatchError")
async def _best_effort(case: Case) -> None:
    subject, model = await case.fresh(), modelled()
    updates = {"count": 3, "ratio": -1.0, "nobody": 1, "title": "third"}
    model.apply("set_many", updates, None, False)
    try:
        await subject("set_many", updates, None, atomic=False)
    except BatchError as error:
        expect_equal(error.versions, {"count": 1, "title": 1}, "the versions in the BatchError")
        expect_equal(sorted(error.errors), ["nobody", "ratio"], "the names in the BatchError")
    else:
        raise Unmet("no BatchError was raised")

    await subject.expect_seen(model, "a best-effort batch")


@rule("get_many leaves out what isn't there")
async def _get_many(case: Case) -> None:
    subject = await case.fresh()
    var = Var("ratio", float, 0.0, min=0.0, max=1000.0)
    expect_equal(await subject("get_many", ["count", "nobody", var]), {"count": 1, "ratio": 0.5}, "what it answered")


@rule("what the function of an update raises comes out itself, and nothing is written")
async def _update_raises(case: Case) -> None:
    subject, raised = await case.fresh(), LookupError("from the function")

    def function(_value: Any) -> Any:
        raise raised

    try:
        await subject("update", "count", function)
    except LookupError as error:
        expect(error is raised, f"another exception came out: {error!r}")
    else:
        raise Unmet("update() swallowed it")

    await subject.expect_seen(modelled(), "a function that raised")


@rule("update and add answer the new value, append and merge the new version")
async def _derived(case: Case) -> None:
    subject = await case.fresh()
    expect_equal(await subject("update", "count", one_more), 2, "update()")
    expect_equal(await subject("add", "count", 8), 10, "add()")
    expect_equal(await subject("append", "notes", 2), 1, "append()")
    expect_equal(await subject("merge", "table", {"b": 2}), 1, "merge()")
    expect_equal(
        await subject("get_many", ["count", "notes", "table"]), {"count": 10, "notes": [1, 2], "table": {"a": 1, "b": 2}}, "the values"
    )


@rule("a variable that was deleted is gone, and its name may be used again")
async def _deletes(case: Case) -> None:
    subject = await case.fresh()
    id = (await subject("info", "count")).id
    await subject("get", id)
    await subject("delete", "count")
    for key in ("count", id):
        await refused(partial(subject, "get", key), VariableNotFound, what=f"get({key!r}) after the deletion")
        expect(not await subject("exists", key), f"exists({key!r}) was true after the deletion")

    again = await subject("define", COUNT, 5)
    expect(again != id, f"the id {id!r} was given a second time")
    expect_equal(await subject("read", "count"), (5, 0), "the variable of that name")
    expect_equal((await subject("ids"))[-1], again, "the last id")


@rule("a scan tells all variables in order of definition, in pages of at most 256")
async def _scans(case: Case) -> None:
    subject = await case.fresh(filled=False)
    names = [f"v{number}" for number in range(2 * PAGE + 9)]
    random.Random(7).shuffle(names)
    for name in names:
        await subject("define", Definition.make(name, "int"), 1)

    sizes = [len(page) async for page in each(subject.backend.scan())]
    expect(max(sizes) <= PAGE, f"a page held {max(sizes)}")
    expect_equal([one.name for one in await subject.variables()], names, "the order")
    expect_equal(await subject("ids"), [one.id for one in await subject.variables()], "what ids() answered")


@rule("timestamps are aware, and a write moves only the later one")
async def _timestamps(case: Case) -> None:
    subject = await case.fresh()
    before = await subject("info", "count")
    await subject("set", "count", 2)
    after = await subject("info", "count")
    expect(after.created_at.utcoffset() == timedelta(0), f"created_at was {after.created_at!r}")
    expect_equal(after.created_at, before.created_at, "created_at after a write")
    expect(after.updated_at >= before.updated_at >= before.created_at, "updated_at went back")


@rule("existing variables come in as they are")
async def _existing(case: Case) -> None:
    former = await case.fresh()
    await former("set", "ratio", 9.5, {"by": "former"})
    await former("append", "notes", 2)
    await former("delete", "count")
    told = await former.variables()
    subject = await case.fresh(existing=told)
    expect_equal(await subject.variables(), told, "what it tells of them")
    ids = {one.id for one in told}
    new = await subject("define", COUNT, 1)
    expect(new not in ids, f"the id {new!r} of an existing variable was given again")
    expect_equal(await subject("set", told[0].id, 1.0), told[0].version + 1, "the next version")


@rule("whatever the sequence of operations, it agrees with the model")
async def _agrees(case: Case) -> None:
    for seed in range(3):
        subject, model, chance = await case.fresh(), modelled(), random.Random(seed)
        for _ in range(120):
            operation, args = any_operation(chance, model)
            wanted = model.apply(operation, *args)
            got = await outcome_of(subject, operation, args)
            expect_equal(got, wanted, f"with seed {seed}, {operation}{args!r}")

        await subject.expect_seen(model, f"120 operations with seed {seed}")


@rule("closing twice is no error")
async def _closes(case: Case) -> None:
    subject = await case.fresh()
    await subject("close")
    await subject("close", drop=True)
