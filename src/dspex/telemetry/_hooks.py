"""
Who listens to which records. While nobody does, a place that would tell asks one attribute, and makes no record.

A hook is called on the thread where it happened, once what happened is over: an operation is answered and the gate open again. What it raises is
logged, once a hook, and hurts nobody else. One that may block belongs in a thread of its own (``thread=True``).
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from ._records import Record
    from ._thread import HookThread

Hook = Callable[[Any], object]
Follower = Callable[[], None]

log = logging.getLogger(__name__)

# Whoever tells looks at one tuple, and needs no lock; those who come and go at the same time, from several threads, do.
_turnstile = threading.Lock()


class Channel:
    """
    One kind of record, and who listens to it.

    Attributes:
        name: the class of its records.
        heard: those who listen; empty, and so false, while nobody does.

    """

    __slots__ = ("_followers", "heard", "name")

    def __init__(self, name: str) -> None:
        self.name: str = name
        self.heard: tuple[Subscription, ...] = ()
        self._followers: list[Follower] = []

    def __repr__(self) -> str:
        return f"<Channel {self.name} [{len(self.heard)} listening]>"

    def tell(self, record: Record) -> None:
        """Calls each hook with *record*."""
        for subscription in self.heard:
            subscription.call(record)

    def follow(self, follower: Follower) -> None:
        """Has *follower* called whenever the first one comes to listen, or the last one goes."""
        self._followers.append(follower)

    def join(self, subscription: Subscription) -> None:
        """Tells *subscription* from now on."""
        with _turnstile:
            turned = not self.heard
            self.heard = (*self.heard, subscription)

        if turned:
            self._tell_followers()

    def leave(self, subscription: Subscription) -> None:
        """No longer."""
        with _turnstile:
            left = tuple(other for other in self.heard if other is not subscription)
            turned = bool(self.heard) and not left
            self.heard = left

        if turned:
            self._tell_followers()

    def _tell_followers(self) -> None:
        for follower in self._followers:
            follower()


BACKEND_SWITCHED = Channel("BackendSwitched")
SWITCH_FAILED = Channel("SwitchFailed")
VARIABLE_OPERATION = Channel("VariableOperation")
OPERATION_FAILED = Channel("OperationFailed")
PROGRAM_CALLED = Channel("ProgramCalled")
WORKER_STARTED = Channel("WorkerStarted")
WORKER_ENDED = Channel("WorkerEnded")
CHILD_CHANGED = Channel("ChildChanged")
CONTEXT_CHANGED = Channel("ContextChanged")
OWNER_STUCK = Channel("OwnerStuck")
LOOP_HELD = Channel("LoopHeld")

CHANNELS: dict[str, Channel] = {
    channel.name: channel
    for channel in (
        BACKEND_SWITCHED,
        SWITCH_FAILED,
        VARIABLE_OPERATION,
        OPERATION_FAILED,
        PROGRAM_CALLED,
        WORKER_STARTED,
        WORKER_ENDED,
        CHILD_CHANGED,
        CONTEXT_CHANGED,
        OWNER_STUCK,
        LOOP_HELD,
    )
}


class Subscription:
    """
    One hook, listening. As a context manager it listens as long as the block runs.

    ::

        with telemetry.subscribe(records.append, only=telemetry.WorkerEnded):
            ...

    Attributes:
        dropped: records that its thread had no room for; 0 without ``thread=True``.

    """

    __slots__ = ("_channels", "_hook", "_thread", "_told")

    def __init__(self, hook: Hook, channels: Iterable[Channel], thread: HookThread | None) -> None:
        self._hook: Hook = hook
        self._channels: tuple[Channel, ...] = tuple(channels)
        self._thread = thread
        self._told = False
        for channel in self._channels:
            channel.join(self)

    def __repr__(self) -> str:
        state = ", ".join(channel.name for channel in self._channels) or "unsubscribed"
        return f"<Subscription of {_name_of(self._hook)} [{state}]>"

    @property
    def active(self) -> bool:
        """Whether it listens."""
        return bool(self._channels)

    @property
    def dropped(self) -> int:
        """Records that its thread had no room for."""
        return 0 if self._thread is None else self._thread.dropped

    def call(self, record: Record) -> None:
        """Hands *record* to the hook, unless it listens no longer: another hook of the same record may have seen to that."""
        if not self._channels:
            return

        if self._thread is not None:
            self._thread.put(record)
        else:
            self.run(record)

    def run(self, record: Record) -> None:
        """Calls the hook."""
        try:
            self._hook(record)
        except Exception:
            if not self._told:
                self._told = True
                name = _name_of(self._hook)
                log.exception("The hook %s failed; of its further failures nothing is said", name, extra={"dspex_hook": name})

    def unsubscribe(self) -> None:
        """Listens no longer. What its thread was handed before is still told, and this waits for that, 5 seconds at most. Idempotent."""
        channels, self._channels = self._channels, ()
        for channel in channels:
            channel.leave(self)

        if channels and self._thread is not None:
            self._thread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.unsubscribe()


def subscribe(hook: Hook, *, only: Any = None, thread: bool = False) -> Subscription:
    """
    Has *hook* called with each record of what happens from now on.

    Args:
        hook: a plain function of one record. It is called where it happened, once that is over, on the event loop's own thread: it should be
            quick. What it raises is logged once and goes no further.
        only: a class of records, or several; all of them unless told. Listening to `VariableOperation` or `OperationFailed` takes every
            context off its fastest path, so ask for what you need.
        thread: call it in a thread of its own, in order. It may block there; past 10,000 records that wait, further ones are dropped and
            counted in ``dropped``.

    Raises:
        TypeError: *hook* is async or can't be called, or *only* names something that isn't a class of records.
        ValueError: *only* names nothing.

    """
    called: Any = hook
    if not callable(called) or any(inspect.iscoroutinefunction(function) for function in (called, type(called).__call__)):
        raise TypeError(f"hook: expected a plain function of one record, got {called!r}. It is called where nothing may wait.")

    channels = _chosen(only)
    if not thread:
        return Subscription(hook, channels, None)

    from ._thread import HookThread

    keeper = HookThread(_name_of(hook))
    subscription = Subscription(hook, channels, keeper)
    keeper.start(subscription.run)
    return subscription


def _chosen(only: Any) -> list[Channel]:
    if only is None:
        return list(CHANNELS.values())

    from . import _records

    kinds: list[Any] = [*only] if isinstance(only, Iterable) and not isinstance(only, str) else [only]
    if not kinds:
        raise ValueError(
            f"only: expected at least one class of records, got {only!r}, with which it hears nothing. Leave it out to hear all."
        )

    for kind in kinds:
        name = getattr(kind, "__name__", None)
        if name not in CHANNELS or kind is not getattr(_records, name):
            raise TypeError(f"only: expected classes of records, got {kind!r}. There are: {', '.join(CHANNELS)}.")

    return [CHANNELS[name] for name in dict.fromkeys(kind.__name__ for kind in kinds)]


def _name_of(hook: Hook) -> str:
    # Not its repr: that may fail as well, and may have what it was made with.
    return str(getattr(hook, "__qualname__", type(hook).__qualname__))
