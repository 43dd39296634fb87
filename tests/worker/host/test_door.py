"""The door: operations served in the reader's step, posted when the gate is closed, and refused as the program's own errors."""

from __future__ import annotations

import anyio
import pytest
from worker_desk import STORE, Desk, call

from dspex._exceptions import ContextClosed, ProgramFailed
from dspex.bridge import Bridge
from dspex.wire import Connection
from dspex.wire.messages import Call, Op
from dspex.worker.host.channel import Channel
from dspex.worker.host.door import SLICE, Door


class Line(Channel):
    """A channel without a socket: what is written can be read by the worker's end of the protocol."""

    __slots__ = ("told", "worker")

    def __init__(self):
        self.connection = Connection("host", "thread")
        self.worker = Connection("worker", "thread")
        self.broken = False
        self.told = []
        self.connection.send(1, Call(["key", None], {}))
        self.flush()

    def flush(self):
        self.worker.receive(self.connection.data_to_send())
        while (event := self.worker.next_event()) is not None:
            if hasattr(event[1], "results"):
                self.told.extend(event[1].results)


def through(desk):
    line = Line()
    return line, Door(line, 1, port=desk)


def ask(line, door, *ops):
    line.worker.send(1, Op([[number, *op] for number, op in enumerate(ops, 1)]))
    line.connection.receive(line.worker.data_to_send())
    door.serve_nowait(line.connection.next_event()[1].ops)
    line.flush()


def test_operations_of_a_batch_are_answered_each_by_its_id():
    line, door = through(Desk(x=1, y=2))
    ask(line, door, ["get", "x"], ["get", "y"], ["get", "z"])
    assert line.told[:2] == [[1, True, 1], [2, True, 2]]
    number, fine, (code, facts, _, applied) = line.told[2]
    assert (number, fine, code, facts["variable"], applied) == (3, False, "VariableNotFound", "z", False)


def test_what_the_gate_does_not_let_through_is_posted_in_order_and_nothing_overtakes_it():
    desk = Desk(x=1, y=2)
    desk.held.add("x")
    line, door = through(desk)
    ask(line, door, ["get", "y"], ["get", "x"], ["get", "y"])
    assert line.told == [[1, True, 2]]
    assert [(name, args) for name, args, _ in desk.posted] == [("get", ("x",)), ("get", ("y",))]
    desk.answer(10)
    desk.answer(error=ContextClosed("ctx_test"))
    assert line.told[1] == [2, True, 10]
    assert line.told[2][2][0] == "ContextClosed"


def test_a_failure_that_is_no_refusal_is_told_to_the_program_and_goes_no_further():
    class Broken(Desk):
        def operate_nowait(self, name, args):
            raise ZeroDivisionError("by accident")

    line, door = through(Broken())
    ask(line, door, ["get", "x"])
    assert line.told[0][:2] == [1, False]
    assert "by accident" in line.told[0][2][2]


def test_a_value_that_cannot_cross_spoils_no_other_answer():
    line, door = through(Desk(x=1, y=[object()]))
    ask(line, door, ["get", "x"], ["get", "y"])
    assert line.told[0] == [1, True, 1]
    assert line.told[1][2][0] == "InvalidValue"
    assert line.told[1][2][1]["variable"] == "y"


def test_an_answer_that_comes_after_the_call_has_ended_is_dropped():
    desk = Desk(x=1)
    desk.held.add("x")
    line, door = through(desk)
    ask(line, door, ["get", "x"])
    door.shut = True
    desk.answer(1)
    assert line.told == []


async def test_a_large_batch_is_served_in_slices_and_all_of_it():
    line, door = through(Desk(x=1))
    ops = [[number, "get", "x"] for number in range(1, 3 * SLICE + 2)]
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        await door.serve(ops)
        tasks.cancel_scope.cancel()

    assert len(line.told) == len(ops)
    assert turns >= 3


async def test_a_busy_context_keeps_nobody_else_waiting():
    busy, free = Desk(x=1), Desk(x=2)
    busy.held.add("x")
    async with Bridge(store=STORE) as bridge, anyio.create_task_group() as tasks:
        tasks.start_soon(bridge.pool().call, call("read_async", port=busy, v="x"))
        await busy.asked("x")
        assert await bridge.pool().call(call("read_async", port=free, v="x")) == 2
        busy.answer(1)


async def test_many_operations_at_once_of_an_async_program_are_all_answered():
    desk = Desk(x=3)
    async with Bridge(store=STORE) as bridge:
        assert await bridge.pool().call(call("read_many_at_once", port=desk, v="x", n=1000)) == [3] * 1000


async def test_a_call_without_a_context_has_nobody_to_ask():
    async with Bridge(store=STORE) as bridge:
        with pytest.raises(ProgramFailed, match="made without a context"):
            await bridge.pool().call(call("read", v="x"))
