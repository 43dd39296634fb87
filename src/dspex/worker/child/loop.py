"""
All async programs of a worker: one thread with an asyncio loop, one connection, a stream for each call.

asyncio itself, since the worker has the standard library only and async programs need some loop; it is loaded when the first channel of this
kind is opened.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, Dict, List, Optional, Set

from ...wire import Call, Cancel, Close, Op, OpReply, Reply, Unencodable
from .call import PAST_DEADLINE, RunningCall, checked, current, refused_value, told
from .failures import home
from .loop_link import LoopLink
from .outcome import Outcome
from .programs import Programs, arguments, invoke
from .shape import CONTEXT, Program, describe
from .warming import Warming


class LoopChannel:
    """
    The thread, its loop, and the calls that run on it.

    Args:
        fd: the connected socket, owned by the channel.
        programs: the worker's programs.
        warming: what to wait for before the first call.

    """

    def __init__(self, fd: int, programs: Programs, warming: Warming) -> None:
        self.closed: bool = False
        self._link = LoopLink(fd, self._deliver, gone=self._gone, prepare=self._send_operations)
        self._programs = programs
        self._warming = warming
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._calls: Dict[int, AsyncCall] = {}
        self._tasks: Set[asyncio.Task[None]] = set()
        self._asking: Set[AsyncCall] = set()

    def start(self, name: str) -> None:
        """Start serving, in a thread of that *name*."""
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    def cancel(self, stream: int, reason: str) -> None:
        """Cancel the call *stream*, from another thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel, stream, reason)

    def abandon(self) -> None:
        """Let go of the connection, in a fork of this process."""
        self._link.abandon()

    def _serve(self) -> None:
        self._warming.wait()
        self._loop = loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        self._link.open(loop)
        while not self.closed:
            # A SystemExit or KeyboardInterrupt in a task that a program started leaves the loop. It ends that task, not the worker.
            with Outcome():
                loop.run_forever()

    def _deliver(self, stream: int, message: Any) -> None:
        if isinstance(message, Call):
            self._begin(stream, message)
        elif isinstance(message, OpReply):
            call = self._calls.get(stream)
            if call is not None:
                call.answered(message.results)
        elif isinstance(message, Cancel):
            self._cancel(stream, message.reason)
        elif isinstance(message, Close):
            self._link.close()

    def _cancel(self, stream: int, reason: str) -> None:
        call = self._calls.get(stream)
        if call is not None:
            call.cancel(reason)

    def _gone(self) -> None:
        for call in list(self._calls.values()):
            call.cancel("its connection to the host is closed")

        self._end_if_done()

    def _begin(self, stream: int, message: Any) -> None:
        assert self._loop is not None
        call = self._calls[stream] = AsyncCall(stream, message, self)
        task = self._loop.create_task(self._run(call, message))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._loop is not None and self._link.closed and not self._tasks:
            self.closed = True
            self._loop.stop()

    async def _run(self, call: AsyncCall, message: Any) -> None:
        outcome, began = Outcome(), time.monotonic()
        with outcome:
            call.begin()
            outcome.value = await self._answer(call, message)

        call.end()
        del self._calls[call.stream]
        if outcome.error is not None:
            self._link.send(call.stream, call.failure(outcome.error))
        else:
            self._reply(call, Reply(outcome.value, call.meta(began)))

    async def _answer(self, call: AsyncCall, message: Any) -> Any:
        program = await self._program(call, message)
        if message.meta.get("prepare"):
            return describe(program)

        if call.trace is not None and call.trace.unprepared():
            # What spans are collected with takes 50 ms to import, once: not on the loop.
            await asyncio.get_running_loop().run_in_executor(None, call.trace.prepare)

        given = arguments(call.program, program, "async", message.inputs)
        context = call.lend()
        if program.takes_context:
            given[CONTEXT] = context

        if call.trace is not None:
            call.trace.enter()

        return await invoke(call.program, program, given)

    async def _program(self, call: AsyncCall, message: Any) -> Program:
        key, definition = message.program
        found = self._programs.find(key)
        if found is not None:
            return found

        # Importing takes as long as it takes: not on the loop.
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, self._programs.get, call.program, key, definition)

    def _reply(self, call: AsyncCall, reply: Reply) -> None:
        # The border to the user's code: a result's own properties may run, and raise anything, while it is encoded.
        outcome = Outcome()
        with outcome:
            self._link.send(call.stream, reply)

        if outcome.error is not None:
            self._link.send(call.stream, call.result_failure(outcome.error))

    def ask_soon(self, call: AsyncCall) -> None:
        """Send what *call* has to ask, together with what others ask in this tick."""
        self._asking.add(call)
        self._link.write_soon()

    def _send_operations(self) -> None:
        asking, self._asking = self._asking, set()
        for call in asking:
            operations, call.unsent = call.unsent, []
            self._send(call, operations)

    def _send(self, call: AsyncCall, operations: List[List[Any]]) -> None:
        if call.stream not in self._calls:
            return

        try:
            self._link.send(call.stream, Op(operations))
        except Unencodable as error:
            self._send_one_by_one(call, operations, error)

    def _send_one_by_one(self, call: AsyncCall, operations: List[List[Any]], error: Unencodable) -> None:
        """Find the operation that can't be encoded; the others go."""
        if len(operations) == 1:
            call.refuse(operations[0][0], refused_value(operations[0], error))
            return

        for operation in operations:
            self._send(call, [operation])


class AsyncCall(RunningCall):
    """A call on the loop: its task, and the operations that wait for an answer, by number."""

    cancelled: Optional[str]

    def __init__(self, stream: int, message: Any, channel: LoopChannel) -> None:
        super().__init__(stream, message)
        self.unsent: List[List[Any]] = []
        self._channel = channel
        self._waiting: Dict[int, asyncio.Future[Any]] = {}
        self._thread = threading.get_ident()
        self._task: Optional[asyncio.Task[Any]] = None
        self._timer: Optional[asyncio.TimerHandle] = None

    def begin(self) -> None:
        """The task runs. Raises if the call was cancelled before it did: a task that is cancelled unstarted would never answer."""
        self.check()
        self._task = asyncio.current_task()
        if self.deadline is not None:
            left = self.deadline - time.monotonic()
            self._timer = asyncio.get_running_loop().call_later(left, self.cancel, PAST_DEADLINE)

    def lend(self) -> Any:
        """The program's context, also as `current`."""
        from .async_context import AsyncContext

        self.began = True
        context = AsyncContext(self)
        current.set(context)
        return context

    async def ask(self, name: str, *args: Any) -> Any:
        """
        Have the host do an operation, and give its result.

        Raises what the host answers, `ContextClosed` once the program has returned, `WrongThread` off the loop, or `InvalidValue` for
        arguments that can't be encoded. A cancelled call's awaits are cancelled.
        """
        if threading.get_ident() != self._thread:
            raise home().WrongThread(self.context)

        self.check()
        operation = checked([self.next_operation(), name, *args])
        number = operation[0]
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self.unsent.append(operation)
        self._channel.ask_soon(self)
        try:
            return await future
        except asyncio.CancelledError:
            if name == "call" and not self._returned:
                self._give_up(operation)

            raise
        finally:
            del self._waiting[number]

    def _give_up(self, operation: List[Any]) -> None:
        """Nobody waits for the program that *operation* calls: it is cancelled, or never begun."""
        unsent = [other for other in self.unsent if other is not operation]
        if len(unsent) < len(self.unsent):
            self.unsent = unsent
        else:
            self.unsent.append([self.next_operation(), "cancel", operation[0]])
            self._channel.ask_soon(self)

    def answered(self, results: List[Any]) -> None:
        """Give the host's answers to those who wait; one nobody waits for any more is dropped."""
        for number, fine, value in results:
            future = self._waiting.get(number)
            if future is not None and not future.done():
                if fine:
                    future.set_result(value)
                else:
                    future.set_exception(told(value))

    def refuse(self, number: int, error: Exception) -> None:
        """Fail the operation *number* without asking the host."""
        future = self._waiting.get(number)
        if future is not None and not future.done():
            future.set_exception(error)

    def cancel(self, reason: str) -> None:
        """Cancel the program where it awaits. The first reason stays."""
        if self.cancelled is None:
            self.cancelled = reason
            if self._task is not None:
                self._task.cancel()

    def end(self) -> None:
        """The program has returned: close the call to the tasks it left behind."""
        self._returned = True
        self._task = None
        if self._timer is not None:
            self._timer.cancel()

        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self.over())
