"""Calls that programs in workers make of others, as the host sees them: what is begun, how many at once, and what is refused."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest
from worker_desk import STORE, Desk, call, idle

from dspex import Bridge, ContextClosed, Overloaded, ProgramFailed
from dspex.worker.host import nested

BOTH = pytest.mark.parametrize("suffix", ["", "_async"], ids=["sync", "async"])


class Others:
    """The other programs of a context: each runs until `doors` are open, and tells its inputs."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.running = 0
        self.most = 0
        self.came = anyio.Event()
        self.doors = anyio.Event()
        self.doors.set()

    async def __call__(self, program_id: str, inputs: Any, timeout: float | None) -> Any:
        self.begun.append((program_id, inputs, timeout))
        self.running += 1
        self.most = max(self.most, self.running)
        self.came.set()
        try:
            await self.doors.wait()
            return inputs
        finally:
            self.running -= 1


@BOTH
async def test_a_call_is_made_with_what_came_and_answered_with_what_it_gives(suffix):
    others = Others()
    async with Bridge(store=STORE) as bridge:
        assert await bridge.pool().call(call("calls" + suffix, call_other=others, named="other", inputs={"n": (1, 2)})) == {"n": (1, 2)}

    assert others.begun == [("other", {"n": (1, 2)}, None)]


@BOTH
async def test_a_call_made_without_a_context_has_nobody_to_ask(suffix):
    async with Bridge(store=STORE) as bridge:
        with pytest.raises(ProgramFailed, match="so there are no programs to call") as caught:
            await bridge.pool().call(call("calls" + suffix, named="other"))

    assert caught.value.is_a(ContextClosed.__name__)


async def test_a_program_has_so_many_calls_at_once_and_the_rest_in_their_turn():
    others = Others()
    many = 3 * nested.AT_ONCE
    async with Bridge(store=STORE) as bridge:
        assert await bridge.pool().call(call("calls_many_async", call_other=others, n=many)) == [{"n": i} for i in range(many)]

    assert sorted(inputs["n"] for _, inputs, _ in others.begun) == [*range(many)]
    assert others.most == nested.AT_ONCE


async def test_what_a_program_asks_for_beyond_is_refused(monkeypatch):
    monkeypatch.setattr(nested, "AT_ONCE", 2)
    monkeypatch.setattr(nested, "WAITING", 3)
    others = Others()
    others.doors = anyio.Event()
    answers: list[Any] = []
    async with Bridge(store=STORE) as bridge, anyio.create_task_group() as tasks:

        async def calls():
            answers.extend(await bridge.pool().call(call("calls_many_async", call_other=others, n=8)))

        tasks.start_soon(calls)
        await others.came.wait()  # all eight came in one message
        others.doors.set()

    refusal = str(Overloaded(what="One running program, with the calls it makes of others", limit=5))
    assert answers == [*({"n": i} for i in range(5)), *[refusal] * 3]


async def test_a_number_that_a_program_gives_twice_harms_nobody():
    others, desk = Others(), Desk(x=1)
    operations = [[7, "call", "other"], [7, "call", "other"], [8, "cancel", 7], [9, "cancel", 7], [9, "call", "other"], [10, "cancel", 99]]
    async with Bridge(store=STORE) as bridge:
        asked = call("calls_by_hand", port=desk, call_other=others, operations=operations)
        assert await bridge.pool().call(asked) == 1
        await idle(bridge.pool())

    assert others.running == 0


async def test_a_call_that_is_given_up_before_its_turn_never_begins(monkeypatch):
    monkeypatch.setattr(nested, "AT_ONCE", 1)
    others, desk = Others(), Desk(x=1)
    others.doors = anyio.Event()
    desk.held.add("x")
    operations = [[7, "call", "other", {"n": 1}], [8, "call", "other", {"n": 2}], [9, "cancel", 8], [10, "call", "other", {"n": 3}]]
    async with Bridge(store=STORE) as bridge, anyio.create_task_group() as tasks:
        tasks.start_soon(bridge.pool().call, call("calls_by_hand", port=desk, call_other=others, operations=operations))
        await desk.asked("x")
        await others.came.wait()
        others.doors.set()
        while len(others.begun) < 2 or others.running:
            await anyio.lowlevel.checkpoint()

        desk.held.clear()
        desk.answer(1)

    assert [inputs for _, inputs, _ in others.begun] == [{"n": 1}, {"n": 3}]


@BOTH
async def test_the_bridge_goes_on_serving_others_meanwhile(suffix):
    others = Others()
    others.doors = anyio.Event()
    async with Bridge(store=STORE) as bridge, anyio.create_task_group() as tasks:
        tasks.start_soon(bridge.pool().call, call("calls" + suffix, call_other=others, named="other"))
        await others.came.wait()
        assert await bridge.pool().call(call("read" + suffix, port=Desk(x=3), v="x")) == 3
        others.doors.set()


@BOTH
async def test_a_bridge_that_closes_ends_the_program_and_what_it_calls(suffix):
    others = Others()
    others.doors = anyio.Event()
    failures: list[Exception] = []
    async with anyio.create_task_group() as tasks, Bridge(store=STORE, drain=0) as bridge:

        async def calls():
            try:
                await bridge.pool().call(call("calls" + suffix, call_other=others, named="other"))
            except Exception as error:
                failures.append(error)

        tasks.start_soon(calls)
        await others.came.wait()

    assert [type(error).__name__ for error in failures] == ["BridgeClosed"]
    assert others.running == 0
