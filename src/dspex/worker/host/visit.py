"""
A call's visit to one worker: begun, waited for, and, when its caller leaves first, seen out all the same.

A caller that leaves is kept by nobody. The place is free only when the program has really ended: until then somebody else sees it out. A
program that was asked to end and won't is ended with its process.
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
    from collections.abc import Callable

    from ...telemetry._tracing import CallTrace
    from .conversation import LoopTalk, Outcome, ThreadTalk
    from .port import WorkerCall
    from .worker import Worker

_REASON: Final = "its caller has gone"
# Seconds by which the worker's clock may be ahead of the host's about one deadline.
_CLOCK_SLACK: Final = 0.05


async def visit(worker: Worker, call: WorkerCall, *, hand_over: Callable[[LoopTalk | ThreadTalk], None]) -> Any:
    """
    Runs *call* in *worker* and returns its program's result.

    Cancelled, it asks the program to end and leaves at once: *hand_over* gets what is left, for `see_out`.

    Raises:
        NotTaken: the worker was gone already and the call has not begun.
        DspexError: whatever became of it instead.

    """
    deadline = await _deadline()
    outcome = await _converse(worker, call, deadline=deadline, hand_over=hand_over)
    if isinstance(outcome, Error) and outcome.code == ProgramNotFound.__name__ and call.key in worker.known:
        # It has forgotten what it once had: it is told again.
        worker.known.discard(call.key)
        outcome = await _converse(worker, call, deadline=deadline, hand_over=hand_over)

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


async def _converse(
    worker: Worker,
    call: WorkerCall,
    *,
    deadline: float,
    hand_over: Callable[[LoopTalk | ThreadTalk], None],
) -> Outcome:
    talk = _begin(worker, call, deadline)
    if call.trace is not None:
        talk.door.watch(call.trace)

    left = False
    outcome: Outcome | None = None
    try:
        outcome = await talk.outcome(call.call_other)
        return outcome
    except (Ended, RemoteProtocolError) as error:
        raise await worker.explain(error) from None
    except BaseException:
        left = not talk.over and worker.runs
        raise
    finally:
        if left:
            talk.cancel(worker.control, _REASON)
            hand_over(talk)
        else:
            worker.finish(talk)
            if call.trace is not None:
                await _tell(call.trace, outcome)


async def _tell(trace: CallTrace, outcome: Outcome | None) -> None:
    from .tracing import tell  # most calls aren't traced

    await tell(trace, outcome)


def _begin(worker: Worker, call: WorkerCall, deadline: float) -> ThreadTalk | LoopTalk:
    try:
        return worker.begin(_message(worker, call, deadline), kind=call.kind, port=call.port)
    except Unencodable as error:
        where = f" at {error.path}" if error.path else ""
        raise InvalidInputs(call.program_id, problem=f"an input can't go to a worker{where}: {error.type_name} ({error.reason})") from None
    except OSError as error:
        raise StartFailed(f"A channel to worker {worker.process.pid}", problem=f"{error}.") from error


def _message(worker: Worker, call: WorkerCall, deadline: float) -> Call:
    meta = {"program": call.program_id, "context": "" if call.port is None else call.port.context_id, **call.meta}
    if call.trace is not None:
        meta.update(call.trace.carrier())

    return Call(
        [call.key, None if call.key in worker.known else dict(call.definition)],
        dict(call.inputs),
        deadline_us=None if deadline == math.inf else max(1, int((deadline - anyio.current_time()) * 1e6)),
        chain=list(call.chain),
        meta=meta,
    )


async def see_out(worker: Worker, talk: ThreadTalk | LoopTalk, *, program_id: str, kill_after: float) -> None:
    """Waits, *kill_after* seconds at most, for the end of a program that was asked to end. Then there is neither it nor its process."""
    outcome: Outcome | None = None
    try:
        # Nothing can end before the worker has imported what it is to import; the program has yet to begin then.
        await worker.settled.wait()
        with anyio.move_on_after(kill_after):
            outcome = await _last(worker, talk)
    finally:
        if not talk.over:
            worker.kill(reason=f"program {program_id!r} ignored its cancellation for {kill_after:g} s")

        worker.finish(talk)
        if talk.door.trace is not None:
            await _tell(talk.door.trace, outcome)


async def _last(worker: Worker, talk: ThreadTalk | LoopTalk) -> Outcome | None:
    try:
        return await talk.outcome()
    except (Ended, RemoteProtocolError) as error:
        await worker.explain(error)
        return None


async def _failure(outcome: Error, deadline: float) -> DspexError:
    error = error_from_wire([outcome.code, outcome.facts, outcome.sentence, outcome.applied])
    if isinstance(error, CallCancelled) and deadline < math.inf:
        # The worker saw the deadline first. The caller's own scope tells the caller.
        await anyio.sleep_until(deadline + _CLOCK_SLACK)

    return error
