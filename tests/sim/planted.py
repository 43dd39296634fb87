"""
Bugs planted in the real switch, each as a patch of the library for the time of a run.

They are those of the toy, where dspex has the place for them, and some of its own. A scenario that finds none of them proves little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from inspect import isawaitable
from typing import Any
from unittest.mock import patch

import anyio
from anyio.lowlevel import checkpoint

from dspex.context import SwitchReport
from dspex.context._entry import BUDGET, Entry
from dspex.context._inside import Inside
from dspex.context._switch import ACTIONS, NEXT, REVOCABLE, Revoked, Step, Switch
from dspex.state._encoding import ops_of
from dspex.state.bridged import AsyncBridgedState, BridgedState

from .failpoints import Injected


def _action(step: Step, action: Callable[[Switch], Any]) -> AbstractContextManager[Any]:
    return patch.dict(ACTIONS, {step: action})


def early_swap() -> AbstractContextManager[Any]:
    """The new backend serves while it is still being filled."""

    async def stage(switch: Any) -> None:
        move, entry = switch._move, switch._ground.variables
        move._table = switch._old.table
        switch._ground.install(BridgedState.adopt(move.store, move._lease, move._table))
        entry.gate = BUDGET
        await move.stage(switch._old, None)
        entry.gate = 0

    return _action(Step.STAGE, stage)


def writes_not_held() -> AbstractContextManager[Any]:
    """The gate stays open while the old backend is being copied."""

    async def stage(switch: Any) -> None:
        entry = switch._ground.variables
        entry.gate = BUDGET
        await switch._move.stage(switch._old, None)
        entry.gate = 0

    return _action(Step.STAGE, stage)


def reads_bypass() -> AbstractContextManager[Any]:
    """Reads don't wait for their turn."""
    original = Entry.enqueue

    async def enqueue(entry: Entry, name: str, *args: Any) -> Any:
        if name in ("get", "info", "get_many"):
            result = getattr(entry.backend, name)(*args)
            return await result if isawaitable(result) else result

        return await original(entry, name, *args)

    return patch.object(Entry, "enqueue", enqueue)


def backend_chosen_early() -> AbstractContextManager[Any]:
    """A queued operation keeps the backend that served when it was queued."""
    original = Entry.enqueue

    async def enqueue(entry: Entry, name: str, *args: Any) -> Any:
        if name == "run":
            return await original(entry, name, *args)

        backend = entry.backend

        async def chosen(_: Any, *args: Any) -> Any:
            result = getattr(backend, name)(*args)
            return await result if isawaitable(result) else result

        return await original(entry, "run", chosen, *args)

    return patch.object(Entry, "enqueue", enqueue)


def no_rollback() -> AbstractContextManager[Any]:
    """A failed switch just stops."""
    return patch.dict(NEXT, {(step, False): Step.KEPT for step in (Step.OPEN, Step.STAGE, Step.VERIFY, Step.COMMIT)})


def _running(*open_steps: Step) -> AbstractContextManager[Any]:
    """`Switch.run`, with *open_steps* in the scope that a caller who gives up cancels, without a shield."""

    async def run(switch: Any, request: Any) -> bool:
        try:
            with anyio.CancelScope() as request.scope:
                await _until_settled(switch, open_steps)
        finally:
            request.scope = None

        if switch.step in REVOCABLE:
            switch._fail(Revoked())

        if switch.step in open_steps:
            switch.step = NEXT[switch.step, False]

        await switch._settle()
        if switch.error is not None and not isinstance(switch.error, Revoked):
            raise switch._told(switch.error)

        return switch.error is None

    return patch.object(Switch, "run", run)


async def _until_settled(switch: Any, open_steps: tuple[Step, ...]) -> None:
    try:
        while switch.step in REVOCABLE:
            await switch._do()
    except BaseException:
        switch._fail(Revoked())
        if switch.step in open_steps:
            await switch._do()

        raise

    with anyio.CancelScope(shield=True):
        while switch.step is Step.COMMIT:
            await switch._do()

    while switch.step in open_steps:
        await switch._do()


def no_bug() -> AbstractContextManager[Any]:
    """Nothing: what the next two are patched with must be right but for their bug."""
    return _running()


def unshielded_rollback() -> AbstractContextManager[Any]:
    """A cancellation cuts the roll back short."""
    return _running(Step.ROLL_BACK)


def unshielded_cleanup() -> AbstractContextManager[Any]:
    """A cancellation after the commit leaves the old backend open."""
    return _running(Step.CLEAN_UP)


def lost_queued_calls() -> AbstractContextManager[Any]:
    """Whoever waited for a switch that failed is forgotten."""
    original = Inside._switch

    async def switch(context: Any, request: Any, *args: Any) -> None:
        try:
            await original(context, request, *args)
        except Exception:
            mailbox = context.variables.mailbox
            while mailbox.receive_nowait() is not None:
                pass

            for left in [other for other in mailbox.ledger if other is not request]:
                del mailbox.ledger[left]

            raise

    return patch.object(Inside, "_switch", switch)


def burst_drops_the_next() -> AbstractContextManager[Any]:
    """The owner fetches one request more than it serves in a burst."""

    async def serve(entry: Any) -> None:
        try:
            while True:
                request = await entry.mailbox.receive()
                for _ in range(2):
                    if request is None:
                        break

                    await entry._serve(request)
                    request = entry.mailbox.receive_nowait()
        except anyio.EndOfStream:
            return

    return patch.object(Entry, "serve", serve)


def version_reset() -> AbstractContextManager[Any]:
    """What moved begins at version 0."""
    original = Inside.install_switched

    def install(context: Any, backend: Any, report: Any) -> None:
        for cell in {id(cell): cell for cell in backend.cells.values()}.values():
            cell.version = 0

        original(context, backend, report)

    return patch.object(Inside, "install_switched", install)


def double_apply() -> AbstractContextManager[Any]:
    """A write whose reply was lost is sent again, as a new one."""
    original = AsyncBridgedState._apply

    async def apply(backend: Any, plan: Any) -> None:
        try:
            await original(backend, plan)
        except Injected:
            ops = [op._replace(if_version=None) for op in ops_of(plan, backend.table)]
            await backend.store.apply(backend.lease, None, ops)
            backend._doubted = ()

    return patch.object(AsyncBridgedState, "_apply", apply)


def old_closed_first() -> AbstractContextManager[Any]:
    """The old backend is cleaned up before the new one is committed."""

    async def commit(switch: Any) -> None:
        closing = switch._old.close(drop=True)
        if closing is not None:
            await closing

        await Switch._commit(switch)

    return _action(Step.COMMIT, commit)


@contextmanager
def torn_commit() -> Iterator[None]:
    """Something is awaited between publishing and installing, where a cancellation still turns the switch back."""

    async def verify(switch: Any) -> None:
        move = switch._move
        await move.verify()
        switch.published = move.commit_nowait() if move.nowait else await move.commit()
        await checkpoint()

    async def commit(switch: Any) -> None:
        report = SwitchReport(0.0, 0, 0)
        switch._ground.install_switched(switch.published, report)

    with patch.dict(ACTIONS, {Step.VERIFY: verify, Step.COMMIT: commit}):
        yield


def gate_opened_early() -> AbstractContextManager[Any]:
    """The gate opens although requests are still queued: what comes now overtakes them."""

    def open_gate(entry: Any) -> None:
        if entry.gate == 0 and entry.status == "running" and entry.synchronous:
            entry.gate = BUDGET
            entry._budgeted += BUDGET

    return patch.object(Entry, "open_gate", open_gate)
