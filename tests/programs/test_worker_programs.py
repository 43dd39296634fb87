"""The same programs in worker processes: by name, by path, by value; what comes back, and what fails there."""

from __future__ import annotations

import dataclasses
import os
import signal

import pytest
from program_home import COUNT, TEMPERATURE

from dspex import InvalidInputs, InvalidProgram, ProgramFailed, WorkerDied, isolated


@dataclasses.dataclass
class Point:
    x: int
    y: list[int]


def use(n: int, ctx) -> dict:
    ctx.set("temperature", 1.25)
    return {"pid": os.getpid(), "count": ctx.add("count", n), "temperature": ctx.get("temperature"), "id": ctx.id}


async def use_async(n: int, ctx) -> dict:
    await ctx.set("temperature", 1.25)
    return {"pid": os.getpid(), "count": await ctx.add("count", n), "temperature": await ctx.get("temperature"), "id": ctx.id}


@pytest.mark.parametrize("program", [use, use_async])
async def test_marking_a_program_isolated_changes_no_other_line(bridged_home, program):
    here = await bridged_home.bind(program, "here")
    apart = await bridged_home.bind({"requires_bridge": True, "program": program}, "apart")
    assert apart.info.where == "worker"
    assert apart.info.kind == here.info.kind
    first, second = await here(n=2), await apart(n=3)
    assert (first.pop("pid"), second.pop("pid") != os.getpid()) == (os.getpid(), True)
    assert first == {"count": 2, "temperature": 1.25, "id": "ctx_1_home"}
    assert second == {"count": 5, "temperature": 1.25, "id": "ctx_1_home"}
    assert bridged_home.state.get(COUNT) == 5
    assert bridged_home.state.get(TEMPERATURE) == 1.25


async def test_a_closure_travels_by_value(bridged_home):
    offset = 40

    @isolated
    def program(n):
        return n + offset

    bound = await bridged_home.bind(program)
    assert await bound(n=2) == 42
    assert bound.info.signature == "(n)"
    assert bound.info.reasons == ("it is marked @isolated",)


async def test_an_import_path_is_imported_in_the_worker_only(bridged_home):
    bound = await bridged_home.bind("textwrap:shorten", "shorten")
    assert await bound(text="one two three", width=9) == "one [...]"
    with pytest.raises(InvalidInputs) as caught:
        await bound(text="one")
    assert str(caught.value) == "Program 'shorten'(text, width, **kwargs): missing 'width'. Inputs are keyword arguments."


async def test_records_come_back_as_what_the_annotation_says(bridged_home):
    bound = await bridged_home.bind({"requires_bridge": True, "program": swap}, "swap")
    assert await bound(point=Point(1, [2])) == Point(2, [1])


def swap(point: Point) -> Point:
    return Point(point.y[0], [point.x])


async def test_a_path_that_doesnt_import_fails_at_registration(bridged_home):
    with pytest.raises(ProgramFailed) as caught:
        await bridged_home.bind("no.such.module:f", "lost")
    assert caught.value.is_a("ModuleNotFoundError")
    with pytest.raises(InvalidProgram, match=r"has no attribute 'shortn'\. Did you mean 'shorten'\?"):
        await bridged_home.bind("textwrap:shortn", "lost")


async def test_generators_are_no_programs_there_either(bridged_home):
    with pytest.raises(InvalidProgram, match="it is a generator function, and a program is a function that returns"):
        await bridged_home.bind("concurrent.futures:as_completed")


def fail(n: int):
    return [][n]


async def test_what_it_raises_comes_with_the_workers_traceback(bridged_home):
    bound = await bridged_home.bind({"requires_bridge": True, "program": fail}, "fail")
    with pytest.raises(ProgramFailed) as caught:
        await bound(n=3)
    assert (caught.value.type, caught.value.message) == ("builtins.IndexError", "list index out of range")
    assert "return [][n]" in caught.value.traceback
    assert caught.value.is_a("LookupError")


async def test_an_input_that_cant_go_there_says_where_it_is(bridged_home):
    bound = await bridged_home.bind({"requires_bridge": True, "program": fail}, "fail")
    with pytest.raises(InvalidInputs) as caught:
        await bound(n={"a": [1, object()]})
    assert "inputs['n']['a'][1]" in str(caught.value)


async def test_a_result_that_cant_come_back_says_where_it_is(bridged_home):
    @isolated
    def program():
        return {"a": [1, object()]}

    with pytest.raises(ProgramFailed, match=r"\['a'\]\[1\]"):
        await (await bridged_home.bind(program))()


async def test_a_worker_that_dies_takes_its_calls_and_an_idempotent_program_is_called_again(bridged_home, tmp_path):
    marker = str(tmp_path / "died")

    @isolated
    def once(marker):
        if not os.path.exists(marker):
            open(marker, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return "alive"

    with pytest.raises(WorkerDied) as caught:
        await (await bridged_home.bind(once, "once"))(marker=marker)
    assert caught.value.exit_code == -signal.SIGKILL

    os.remove(marker)
    assert await (await bridged_home.bind(once, "again", idempotent=True))(marker=marker) == "alive"


async def test_map_uses_the_worker(bridged_home):
    @isolated
    def program(n):
        return n * n

    assert await (await bridged_home.bind(program)).map(({"n": n} for n in range(20)), limit=4) == [n * n for n in range(20)]
