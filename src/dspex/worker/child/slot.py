"""
A slot for one sync program at a time: a thread with a blocking connection of its own.

The thread waits for a Call, runs it, and answers. Meanwhile the program's operations travel on the same connection, so that a read costs
one round trip between two processes and no hop between threads.
"""

from __future__ import annotations

import contextvars
import threading
import time
from typing import Any, Optional, Tuple

from ...wire import Call, Close, OpReply, Reply, Unencodable
from .call import PAST_DEADLINE, RunningCall, checked, current, refused_value, told
from .failures import result_failed
from .labels import resolve
from .link import Gone, Link
from .outcome import Outcome
from .programs import Programs, arguments, invoke
from .shape import CONTEXT, describe
from .warming import Warming


class Slot:
    """
    One thread and its connection.

    Args:
        fd: the connected socket, owned by the slot.
        programs: the worker's programs.
        warming: what to wait for before the first call.

    """

    def __init__(self, fd: int, programs: Programs, warming: Warming) -> None:
        self.closed: bool = False
        self._link = Link(fd, "thread", resolve=resolve)
        self._programs = programs
        self._warming = warming
        self._running: Optional[SyncCall] = None
        self._cancellation: Tuple[int, str] = (0, "")

    def start(self, name: str) -> None:
        """Start serving, in a thread of that *name*."""
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    def cancel(self, stream: int, reason: str) -> None:
        """
        Cancel the call *stream*, from another thread. One that has ended is left alone.

        It may have yet to be read by the slot's thread, since it comes another way. So that none is lost between the two threads, this one
        writes down the cancellation before it looks for the call, the other one the call before it looks for a cancellation.
        """
        self._cancellation = (stream, reason)
        running = self._running
        if running is not None and running.stream == stream:
            running.cancel(reason)

    def abandon(self) -> None:
        """Let go of the connection, in a fork of this process."""
        self._link.close()

    def _serve(self) -> None:
        self._warming.wait()
        try:
            while True:
                self._serve_one()
        except Gone:
            self.closed = True
        finally:
            self.closed = True
            self._link.close()

    def _serve_one(self) -> None:
        event = self._link.read()
        if event is None:
            return

        stream, message = event
        if isinstance(message, Close):
            raise Gone

        if isinstance(message, Call):
            self._answer(stream, message)

    def _answer(self, stream: int, message: Any) -> None:
        self._running = running = SyncCall(self._link, stream, message)
        if self._cancellation[0] == stream:
            running.cancelled = self._cancellation[1]

        outcome, began = Outcome(), time.monotonic()
        with outcome:
            outcome.value = contextvars.copy_context().run(self._run, running, message)

        running.end()
        self._running = None
        if outcome.error is not None:
            self._link.send(stream, running.failure(outcome.error))
        else:
            self._reply(running, Reply(outcome.value, {"seconds": time.monotonic() - began}))

    def _run(self, running: SyncCall, message: Any) -> Any:
        running.check()
        key, definition = message.program
        program = self._programs.get(running.program, key, definition)
        if message.meta.get("prepare"):
            return describe(program)

        given = arguments(running.program, program, "sync", message.inputs)
        context = running.lend()
        if program.takes_context:
            given[CONTEXT] = context

        return invoke(running.program, program, given)

    def _reply(self, running: SyncCall, reply: Reply) -> None:
        # The border to the user's code: a result's own properties may run, and raise anything, while it is encoded.
        outcome = Outcome()
        with outcome:
            self._link.send(running.stream, reply)

        if isinstance(outcome.error, Gone):
            raise outcome.error

        if outcome.error is not None:
            self._link.send(running.stream, result_failed(running.program, outcome.error))


class SyncCall(RunningCall):
    """
    A call in a slot. The program's own threads may use it too: one operation at a time, under a lock.
    """

    cancelled: Optional[str]

    def __init__(self, link: Link, stream: int, message: Any) -> None:
        super().__init__(stream, message)
        self._link = link
        self._lock = threading.Lock()

    def lend(self) -> Any:
        """The program's context, also as `current`."""
        from .blocking_context import BlockingContext

        self.began = True
        context = BlockingContext(self)
        current.set(context)
        return context

    def ask(self, name: str, *args: Any) -> Any:
        """
        Have the host do an operation, and give its result.

        Raises what the host answers, `CallCancelled`, `ContextClosed` once the program has returned, or `InvalidValue` for arguments
        that can't be encoded.
        """
        with self._lock:
            self.check()
            operation = checked([self.next_operation(), name, *args])
            try:
                self._link.send_row(self.stream, operation)
                return self._result(operation[0])
            except Unencodable as error:
                raise refused_value(operation, error) from None
            except Gone:
                raise self.refusal(applied=None) from None

    def cancel(self, reason: str) -> None:
        """Refuse every further operation, and wake the one that waits. Called by another thread."""
        self.cancelled = reason
        self._link.ring()

    def end(self) -> None:
        """The program has returned: close the call to the threads it left behind, waking one that waits."""
        self._returned = True
        if not self._lock.acquire(blocking=False):
            self._link.ring()
            self._lock.acquire()

        self._lock.release()

    def _result(self, number: int) -> Any:
        while True:
            event = self._link.read(self.deadline)
            if event is None:
                self._look_up()
            elif type(event[1]) is OpReply:
                for found, fine, value in event[1].results:
                    if found == number:
                        return _given(fine, value)
            elif type(event[1]) is Close:
                raise Gone

    def _look_up(self) -> None:
        """Woken while waiting for an answer: stop waiting if the call is no longer open. The operation may have happened."""
        if self._returned:
            raise self.over()

        if self.cancelled is None and self.deadline is not None and time.monotonic() >= self.deadline:
            self.cancelled = PAST_DEADLINE

        if self.cancelled is not None:
            raise self.refusal(applied=None)


def _given(fine: bool, value: Any) -> Any:
    if fine:
        return value

    raise told(value)
