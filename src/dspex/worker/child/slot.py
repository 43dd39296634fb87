"""
A slot for one sync program at a time: a thread with a blocking connection of its own.

The thread waits for a Call, runs it, and answers. Meanwhile the program's operations travel on the same connection, so that a read costs
one round trip between two processes and no hop between threads.
"""

from __future__ import annotations

import contextvars
import threading
import time
from typing import Any, Dict, List, Optional, Tuple

from ...wire import Call, Close, OpReply, Reply, Unencodable
from .call import PAST_DEADLINE, RunningCall, checked, current, refused_value, told
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
            self._reply(running, Reply(outcome.value, running.meta(began)))

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

        if running.trace is not None:
            running.trace.prepare()
            running.trace.enter()

        return invoke(running.program, program, given)

    def _reply(self, running: SyncCall, reply: Reply) -> None:
        # The border to the user's code: a result's own properties may run, and raise anything, while it is encoded.
        outcome = Outcome()
        with outcome:
            self._link.send(running.stream, reply)

        if isinstance(outcome.error, Gone):
            raise outcome.error

        if outcome.error is not None:
            self._link.send(running.stream, running.result_failure(outcome.error))


class SyncCall(RunningCall):
    """
    A call in a slot. The program's own threads may use it too.

    Of those that wait for an answer one reads the connection, for all. When it has its own answer, or gives up, another one reads: each
    that fails to become the reader is on the list of those who wait by then, and the reader wakes them after it has let go. So nobody
    waits unread, and a program that one thread calls keeps no other thread from its variables.
    """

    cancelled: Optional[str]

    def __init__(self, link: Link, stream: int, message: Any) -> None:
        super().__init__(stream, message)
        self._link = link
        self._reading = threading.Lock()
        self._joining = threading.Lock()
        self._waiting: Dict[int, Waiting] = {}

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
        operation = checked([self.next_operation(), name, *args])
        if not self._reading.acquire(blocking=False):
            return self._ask_beside(operation)

        try:
            self.check()
            self._send(operation)
            return self._read_answer(operation[0])
        finally:
            self._stop_reading()

    def _send(self, operation: List[Any]) -> None:
        try:
            self._link.send_row(self.stream, operation)
        except Unencodable as error:
            raise refused_value(operation, error) from None
        except Gone:
            raise self.refusal(applied=None) from None

    def _ask_beside(self, operation: List[Any]) -> Any:
        """The same while another thread reads."""
        number = operation[0]
        with self._joining:
            self.check()
            waiting = self._waiting[number] = Waiting()
            try:
                self._send(operation)
            except BaseException:
                del self._waiting[number]
                raise

        try:
            return self._wait(number, waiting)
        finally:
            del self._waiting[number]

    def _wait(self, number: int, waiting: Waiting) -> Any:
        while True:
            waiting.woken.clear()
            if waiting.answer is not None:
                return _given(*waiting.answer)

            self._look_up()
            if self._reading.acquire(blocking=False):
                try:
                    return self._read_on(number, waiting)
                finally:
                    self._stop_reading()

            waiting.woken.wait()

    def _read_on(self, number: int, waiting: Waiting) -> Any:
        # The last reader may have had the answer just before it let go, and may have been woken in this one's place.
        if waiting.answer is not None:
            return _given(*waiting.answer)

        self._look_up()
        return self._read_answer(number)

    def _stop_reading(self) -> None:
        self._reading.release()
        if self._waiting:
            self._wake_all()

    def _wake_all(self) -> None:
        for waiting in list(self._waiting.values()):
            waiting.woken.set()

    def cancel(self, reason: str) -> None:
        """Refuse every further operation, and wake those that wait. Called by another thread."""
        self.cancelled = reason
        self._link.ring()

    def end(self) -> None:
        """The program has returned: close the call to the threads it left behind, waking those that wait. None reads from here on."""
        with self._joining:
            self._returned = True

        if not self._reading.acquire(blocking=False):
            self._link.ring()
            self._reading.acquire()

        self._wake_all()

    def _read_answer(self, number: int) -> Any:
        """Read until the operation *number* is answered."""
        while True:
            event = self._read()
            if event is None:
                self._look_up()
            elif type(event[1]) is OpReply:
                answer = self._hand_out(event[1].results, number)
                if answer is not None:
                    return _given(*answer)
            elif type(event[1]) is Close:
                raise self.refusal(applied=None)

    def _read(self) -> Any:
        try:
            return self._link.read(self.deadline)
        except Gone:
            raise self.refusal(applied=None) from None

    def _hand_out(self, results: List[Any], number: int) -> Optional[Tuple[bool, Any]]:
        """Give the answers to those who wait; that of *number* comes back."""
        mine = None
        for found, fine, value in results:
            waiting = self._waiting.get(found)
            if found == number:
                mine = (fine, value)
            elif waiting is not None:
                waiting.answer = (fine, value)
                waiting.woken.set()

        return mine

    def _look_up(self) -> None:
        """Woken while waiting for an answer: stop waiting if the call is no longer open. The operation may have happened."""
        if self._returned:
            raise self.over()

        if self.cancelled is None and self.deadline is not None and time.monotonic() >= self.deadline:
            self.cancelled = PAST_DEADLINE

        if self.cancelled is not None:
            raise self.refusal(applied=None)


class Waiting:
    """A thread that waits for an answer which another one will read."""

    def __init__(self) -> None:
        self.woken: threading.Event = threading.Event()
        self.answer: Optional[Tuple[bool, Any]] = None


def _given(fine: bool, value: Any) -> Any:
    if fine:
        return value

    raise told(value)
