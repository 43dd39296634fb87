"""What happens, as it happens: `trace` has the operations of one context, `watch_switches` the switches of one or of all."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..context._status import ENDED
from ..telemetry import BackendSwitched, ContextChanged, OperationFailed, SwitchFailed, VariableOperation, subscribe
from ._contexts import context_of, label_of
from ._feed import Feed, Following

if TYPE_CHECKING:
    from ..context import Context

    Operation = VariableOperation | OperationFailed
    Switched = BackendSwitched | SwitchFailed

MAX_WAITING = 1000
"""Records that wait for their reader, unless told."""


class Trace(Following["VariableOperation | OperationFailed"]):
    """The operations of one context: what `trace` gives."""

    __slots__ = ("_context",)

    def __init__(self, context: Context, size: int) -> None:
        super().__init__(size)
        self._context = context

    def __repr__(self) -> str:
        return f"<Trace of {label_of(self._context.id, self._context.name)} [{self.dropped} dropped]>"

    def _listen(self, feed: Feed[Operation]) -> Callable[[], None]:
        inside = self._context._inside
        sink = feed.put
        ends = subscribe(partial(_end_with, feed, inside), only=ContextChanged)
        inside.variables.observe(sink)
        # Asked after the subscription: whoever ends from here on tells it.
        if inside.status in ENDED:
            feed.end()

        return partial(_stop_tracing, inside, sink, ends)


def _end_with(feed: Feed[Any], inside: Any, record: Any) -> None:
    if record.context_id == inside.id and inside.status in ENDED:
        feed.end()


def _stop_tracing(inside: Any, sink: Any, ends: Any) -> None:
    ends.unsubscribe()
    inside.variables.unobserve(sink)


class SwitchWatch(Following["BackendSwitched | SwitchFailed"]):
    """Switches, of one context or of all: what `watch_switches` gives."""

    __slots__ = ("_context",)

    def __init__(self, context: Context | None, size: int) -> None:
        super().__init__(size)
        self._context = context

    def __repr__(self) -> str:
        of = "all contexts" if self._context is None else label_of(self._context.id, self._context.name)
        return f"<SwitchWatch of {of} [{self.dropped} dropped]>"

    def _listen(self, feed: Feed[Switched]) -> Callable[[], None]:
        if self._context is None:
            return subscribe(feed.put, only=(BackendSwitched, SwitchFailed)).unsubscribe

        inside = self._context._inside
        hook = partial(_hear_of, feed, inside)
        listening = subscribe(hook, only=(BackendSwitched, SwitchFailed, ContextChanged))
        if inside.status in ENDED:
            feed.end()

        return listening.unsubscribe


def _hear_of(feed: Feed[Any], inside: Any, record: Any) -> None:
    if isinstance(record, ContextChanged):
        _end_with(feed, inside, record)
    elif record.context_id == inside.id:
        feed.put(record)


def trace(context: Context | str, *, max_waiting: int = MAX_WAITING) -> Trace:
    """
    Every operation of *context* as it happens: a `VariableOperation` or an `OperationFailed` each.

    ::

        async for operation in monitor.trace(ctx):
            print(operation.operation, operation.variables, operation.seconds)

    Also ``async with monitor.trace(ctx) as operations``, which listens from the beginning of the block. It ends when the context ends, and lives
    over its restarts. While it is open this one context is off its fastest path; the others aren't. What the reader itself does on the
    context is told to it as well. It holds no task and no cancel scope, so it is safe inside an async generator, and can be read on another thread.

    Args:
        context: a context, or its name.
        max_waiting: records that wait for their reader. Past that the oldest are dropped, and counted in ``dropped``.

    Raises:
        NameNotFound: no live context has this name.

    """
    return Trace(context_of(context), max_waiting)


def watch_switches(context: Context | str | None = None, *, max_waiting: int = MAX_WAITING) -> SwitchWatch:
    """
    Switches as they happen, of *context* or of all: a `BackendSwitched` or a `SwitchFailed` each.

    ::

        async with monitor.watch_switches() as switches:
            async for switch in switches:
                print(switch.context_id, switch.seconds)

    That of one context ends when it ends; that of all doesn't end by itself. Otherwise as `trace`.

    Args:
        context: a context, or its name. None: all of them, on any thread.
        max_waiting: as in `trace`.

    Raises:
        NameNotFound: no live context has this name.

    """
    return SwitchWatch(None if context is None else context_of(context), max_waiting)
