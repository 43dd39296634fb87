"""
The door: a running program's operations, brought to the context it was called for, and to no other.

Whose variables they are is in the host's own record of the call; a frame can't name a session. An operation is served in the reader's
own step if the context's gate is open. If not it is posted, in order, and answered later; the reader goes on reading, so that one
context that is busy never keeps the calls of another waiting. Calls of other programs are no operations on the variables: they are kept
for whoever waits for the program, see `nested`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import anyio.lowlevel

from ..._exceptions import ContextClosed, DspexError, InvalidValue, ProgramFailed
from ...wire import OpReply, Unencodable, error_to_wire
from ...wire.operations import ERRANDS
from .port import GateClosed

if TYPE_CHECKING:
    from ...telemetry._tracing import CallTrace
    from .channel import Channel
    from .port import Answer, Port

# So many operations are served in one step of the loop: about a millisecond's worth.
SLICE: Final = 256
# How the path of an answer's value begins.
_VALUE: Final = "results[0][2]"


class Door:
    """
    One call's way to its context's variables.

    Attributes:
        shut: True once nothing more is answered.
        left: True once the program was asked to end: nothing more is begun for it.
        errands: what the program asked for that is no operation on the variables, in order, until somebody takes it.
        trace: who records the call; None: nobody.

    """

    __slots__ = ("_channel", "_port", "_stream", "errands", "left", "shut", "trace")

    def __init__(self, channel: Channel, stream: int, *, port: Port | None) -> None:
        self._channel = channel
        self._stream = stream
        self._port: Port = NO_PORT if port is None else port
        self.shut: bool = False
        self.left: bool = False
        self.errands: deque[Sequence[Any]] = deque()
        self.trace: CallTrace | None = None

    def watch(self, trace: CallTrace) -> None:
        """Tells *trace* of each operation from now on."""
        from .tracing import TracedPort

        self.trace = trace
        self._port = TracedPort(self._port, trace)

    async def serve(self, ops: Sequence[Sequence[Any]]) -> None:
        """Serves a batch of any size, a slice of it in each step of the loop."""
        for start in range(0, len(ops), SLICE):
            self.serve_nowait(ops[start : start + SLICE])
            self._channel.flush()
            # A batch cut in half would leave the program waiting for the other half.
            await anyio.lowlevel.cancel_shielded_checkpoint()

    def serve_nowait(self, ops: Sequence[Sequence[Any]]) -> None:
        """Serves a batch in this step and queues the answers on the connection; the caller flushes."""
        if len(ops) == 1:
            self._serve_one(ops[0])
            return

        operate = self._port.operate_nowait
        results: list[list[Any]] = []
        for op in ops:
            if op[1] in ERRANDS:
                self.errands.append(op)
                continue

            try:
                results.append([op[0], True, operate(op[1], op[2:])])
            except GateClosed:
                self._reply(results, ops)
                results = []
                self._port.post(op[1], op[2:], self.answer_to(op))
            except Exception as error:  # noqa: BLE001 - the border: whatever an operation raises is the program's to hear
                results.append([op[0], False, error_to_wire(error)])

        self._reply(results, ops)

    def _serve_one(self, op: Sequence[Any]) -> None:
        """As a batch of one, in short: most are."""
        if op[1] in ERRANDS:
            self.errands.append(op)
            return

        try:
            result = [op[0], True, self._port.operate_nowait(op[1], op[2:])]
        except GateClosed:
            self._port.post(op[1], op[2:], self.answer_to(op))
            return
        except Exception as error:  # noqa: BLE001 - the border: whatever an operation raises is the program's to hear
            result = [op[0], False, error_to_wire(error)]

        if not self.shut:
            try:
                self._channel.connection.send_row(self._stream, result)
            except Unencodable:
                self._reply_alone(result, [op])

    def _reply(self, results: list[list[Any]], ops: Sequence[Sequence[Any]]) -> None:
        if not results or self.shut:
            return

        try:
            self._channel.connection.send(self._stream, OpReply(results))
        except Unencodable:
            for result in results:
                self._reply_alone(result, ops)

    def _reply_alone(self, result: list[Any], ops: Sequence[Sequence[Any]]) -> None:
        try:
            self._channel.connection.send(self._stream, OpReply([result]))
        except Unencodable as error:
            op = next(op for op in ops if op[0] == result[0])
            self._channel.connection.send(self._stream, OpReply([[op[0], False, error_to_wire(_cannot_cross(op, error))]]))

    def answer_to(self, op: Sequence[Any]) -> Answer:
        """What answers *op*, once, whenever that is."""

        def answer(result: Any, error: BaseException | None) -> None:
            if self.shut or not self._channel.usable:
                return

            self._reply([[op[0], True, result] if error is None else [op[0], False, error_to_wire(error)]], [op])
            self._channel.flush()

        return answer


def _cannot_cross(op: Sequence[Any], error: Unencodable) -> DspexError:
    if op[1] == "call":
        return _result_cannot_cross(op[2], error)

    variable = op[2] if len(op) > 2 and isinstance(op[2], str) else op[1]
    return InvalidValue(variable, expected="a value that can go to a worker", got=f"{error.type_name} ({error.reason})", path=error.path)


def _result_cannot_cross(program_id: str, error: Unencodable) -> ProgramFailed:
    types = [f"{cls.__module__}.{cls.__qualname__}" for cls in InvalidValue.__mro__ if cls is not object]
    path = f"result{error.path[len(_VALUE) :]}" if error.path.startswith(_VALUE) else "result"
    where = f"at {path}: got {error.type_name} ({error.reason.rstrip('.')}). Return plain data: numbers, text, lists, dicts, records."
    return ProgramFailed(program_id, type=types[0], message=where, types=types, did="returned a value that can't go to a worker")


class _NoPort:
    """The port of a call that was given none: its program has no variables to use."""

    context_id = ""

    def operate_nowait(self, name: str, args: Sequence[Any]) -> Any:
        raise ContextClosed("", status="not there", hint=f"This call was made without a context, so {name!r} has nobody to ask.")

    def post(self, name: str, args: Sequence[Any], answer: Answer) -> None:
        self.operate_nowait(name, args)


NO_PORT: Final = _NoPort()
