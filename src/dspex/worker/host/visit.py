"""
A call's visit to one worker: begun, waited for, and, when its caller leaves first, ended all the same.

The place it holds is free only when its program has really ended. A program that was asked to end and won't is ended with its process.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.lowlevel

from ..._exceptions import CallCancelled, DspexError, InvalidInputs, ProgramNotFound, RemoteProtocolError, StartFailed
from ...wire import Call, Error, Reply, Unencodable, error_from_wire
from .channel import Ended

if TYPE_CHECKING:
    from .conversation import LoopTalk, Outcome, ThreadTalk
    from .port import WorkerCall
    from .worker import Worker

_REASON: Final = "its caller has gone"
# Seconds by which the worker's clock may be ahead of the host's about one deadline.
_CLOCK_SLACK: Final = 0.05


async def visit(worker: Worker, call: WorkerCall, *, kill_after: float) -> Any:
    """
    Runs *call* in *worker* and returns its program's result.

    Raises:
        NotTaken: the worker was gone already and the call has not begun.
        DspexError: whatever became of it instead.

    """
    deadline = await _deadline()
    outcome = await _converse(worker, call, deadline=deadline, kill_after=kill_after)
    if isinstance(outcome, Error) and outcome.code == ProgramNotFound.__name__ and call.key in worker.known:
        # It has forgotten what it once had: it is told again.
        worker.known.discard(call.key)
        outcome = await _converse(worker, call, deadline=deadline, kill_after=kill_after)

    if isinstance(outcome, Reply):
        worker.known.add(call.key)
        return outcome.value

    raise await _failure(outcome, deadline)


async def _deadline() -> float:
    """When the caller's scopes end the call, on the loop's clock. One that has been cancelled already goes no further."""
    deadline = anyio.current_effective_deadline()
    if deadline <= anyio.current_time():
        await anyio.lowlevel.checkpoint()

    return deadline


async def _converse(worker: Worker, call: WorkerCall, *, deadline: float, kill_after: float) -> Outcome:
    talk = _begin(worker, call, deadline)
    try:
        return await talk.outcome()
    except anyio.get_cancelled_exc_class():
        await _end(worker, talk, kill_after)
        raise
    except (Ended, RemoteProtocolError) as error:
        raise await worker.explain(error) from None
    finally:
        worker.finish(talk)


def _begin(worker: Worker, call: WorkerCall, deadline: float) -> ThreadTalk | LoopTalk:
    try:
        return worker.begin(_message(worker, call, deadline), kind=call.kind, port=call.port)
    except Unencodable as error:
        where = f" at {error.path}" if error.path else ""
        raise InvalidInputs(call.program_id, problem=f"an input can't go to a worker{where}: {error.type_name} ({error.reason})") from None
    except OSError as error:
        raise StartFailed(f"A channel to worker {worker.process.pid}", problem=f"{error}.") from error


def _message(worker: Worker, call: WorkerCall, deadline: float) -> Call:
    return Call(
        [call.key, None if call.key in worker.known else dict(call.definition)],
        dict(call.inputs),
        deadline_us=None if deadline == math.inf else max(1, int((deadline - anyio.current_time()) * 1e6)),
        chain=list(call.chain),
        meta={"program": call.program_id, "context": "" if call.port is None else call.port.context_id, **call.meta},
    )


async def _end(worker: Worker, talk: ThreadTalk | LoopTalk, kill_after: float) -> None:
    try:
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + kill_after):
            talk.cancel(worker.control, _REASON)
            await _last(worker, talk)
    finally:
        # Also when a second native cancel of asyncio's, which no shield stops, comes meanwhile.
        if not talk.over:
            worker.kill()


async def _last(worker: Worker, talk: ThreadTalk | LoopTalk) -> None:
    try:
        await talk.outcome()
    except (Ended, RemoteProtocolError) as error:
        await worker.explain(error)


async def _failure(outcome: Error, deadline: float) -> DspexError:
    error = error_from_wire([outcome.code, outcome.facts, outcome.sentence, outcome.applied])
    if isinstance(error, CallCancelled) and deadline < math.inf:
        # The worker saw the deadline first. The caller's own scope tells the caller.
        await anyio.sleep_until(deadline + _CLOCK_SLACK)

    return error
