"""Who listens is told what happened, in order; a hook that fails, blocks or leaves hurts nobody else."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dspex import telemetry
from dspex.telemetry import ChildChanged, LoopHeld, Record, WorkerStarted
from dspex.telemetry._hooks import CHANNELS, Channel
from dspex.telemetry._thread import MAX_WAITING

LONG = 5.0


def started(pid: int = 1) -> WorkerStarted:
    return WorkerStarted(bridge="bridge", pool="default", pid=pid, seconds=0.1)


def held() -> LoopHeld:
    return LoopHeld(thread="MainThread", seconds=0.1, stack="")


def changed() -> ChildChanged:
    return ChildChanged(path="app/chat", state="running", previous="starting", kind="worker")


def tell(*records: Record) -> None:
    """What a place that tells does."""
    for record in records:
        channel = CHANNELS[type(record).__name__]
        if channel.heard:
            channel.tell(record)


@pytest.fixture(autouse=True)
def nobody_listens_after() -> Iterator[None]:
    before = {name: channel.heard for name, channel in CHANNELS.items()}
    threads = set(threading.enumerate())
    yield
    assert {name: channel.heard for name, channel in CHANNELS.items()} == before
    assert set(threading.enumerate()) <= threads


# --- being told --------------------------------------------------------------------------------------------------------------------


def test_a_hook_gets_every_record_in_order() -> None:
    told: list[Record] = []
    records = [started(), held(), changed(), started(2)]
    with telemetry.subscribe(told.append):
        tell(*records)

    assert told == records


def test_only_what_is_asked_for_is_told() -> None:
    told: list[Record] = []
    with telemetry.subscribe(told.append, only=WorkerStarted):
        tell(held(), one := started(), changed())

    assert told == [one]
    with telemetry.subscribe(told.append, only=[WorkerStarted, LoopHeld]):
        tell(changed(), two := held(), three := started())

    assert told == [one, two, three]


def test_asked_for_twice_it_is_told_once() -> None:
    told: list[Record] = []
    with telemetry.subscribe(told.append, only=[WorkerStarted, WorkerStarted]):
        tell(one := started())

    assert told == [one]


def test_nobody_is_asked_to_tell_what_nobody_listens_to() -> None:
    with telemetry.subscribe(print, only=WorkerStarted):
        assert [name for name, channel in CHANNELS.items() if channel.heard] == ["WorkerStarted"]

    assert [name for name, channel in CHANNELS.items() if channel.heard] == []


def test_hooks_are_called_in_the_order_they_came() -> None:
    told: list[str] = []
    with telemetry.subscribe(lambda _: told.append("first")), telemetry.subscribe(lambda _: told.append("second")):
        tell(started())

    assert told == ["first", "second"]


def test_the_same_hook_may_listen_twice() -> None:
    told: list[Record] = []
    with telemetry.subscribe(told.append), telemetry.subscribe(told.append):
        tell(one := started())

    assert told == [one, one]


def test_every_kind_of_record_has_a_channel() -> None:
    classes = {name for name in telemetry.__all__ if isinstance(kind := getattr(telemetry, name), type) and issubclass(kind, Record)}
    assert set(CHANNELS) == classes - {"Record"}


# --- leaving -----------------------------------------------------------------------------------------------------------------------


def test_who_has_left_is_told_no_more() -> None:
    told: list[Record] = []
    subscription = telemetry.subscribe(told.append)
    assert subscription.active
    subscription.unsubscribe()
    subscription.unsubscribe()
    tell(started())
    assert not subscription.active
    assert told == []


def test_a_hook_may_leave_when_it_has_heard_enough() -> None:
    told: list[Record] = []

    def once(record: Record) -> None:
        told.append(record)
        subscription.unsubscribe()

    subscription = telemetry.subscribe(once)
    others: list[Record] = []
    with telemetry.subscribe(others.append):
        tell(one := started(), two := started(2))

    assert told == [one]
    assert others == [one, two]


def test_who_is_sent_away_by_another_hook_is_not_told_that_record_either() -> None:
    told: list[Record] = []
    with telemetry.subscribe(lambda _: later.unsubscribe()):
        later = telemetry.subscribe(told.append)
        tell(started())

    assert told == []


def test_a_hook_may_have_others_listen_and_they_are_told_from_the_next_record_on() -> None:
    told: list[Record] = []
    more: list[Any] = []

    def hook(_: Record) -> None:
        if not more:
            more.append(telemetry.subscribe(told.append))

    with telemetry.subscribe(hook):
        tell(started(), two := started(2))

    more[0].unsubscribe()
    assert told == [two]


def test_those_who_come_and_go_in_many_threads_at_once_lose_nobody() -> None:
    def come_and_go() -> None:
        for _ in range(300):
            telemetry.subscribe(print, only=LoopHeld).unsubscribe()

    told: list[Record] = []
    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()

    stayed = [telemetry.subscribe(told.append, only=WorkerStarted) for _ in range(300)]
    for thread in threads:
        thread.join()

    tell(started())
    for subscription in stayed:
        subscription.unsubscribe()

    assert len(told) == 300


def test_a_place_that_has_to_know_is_told_when_the_first_comes_and_the_last_goes() -> None:
    turns: list[int] = []
    channel = Channel("WorkerStarted")
    channel.follow(lambda: turns.append(len(channel.heard)))
    first: Any = object()
    second: Any = object()
    channel.join(first)
    channel.join(second)
    channel.leave(first)
    channel.leave(first)
    channel.leave(second)
    channel.leave(second)
    assert turns == [1, 0]


# --- failing -----------------------------------------------------------------------------------------------------------------------


def test_a_hook_that_raises_is_logged_once_and_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Record] = []

    def broken(record: Record) -> None:
        raise ValueError("no disk")

    with telemetry.subscribe(broken), telemetry.subscribe(told.append):
        tell(one := started(), two := started(2))

    assert told == [one, two]
    (entry,) = caplog.records
    assert (entry.name, entry.levelno) == ("dspex.telemetry._hooks", logging.ERROR)
    assert entry.getMessage().endswith(".broken failed; of its further failures nothing is said")
    assert entry.exc_info is not None and "no disk" in str(entry.exc_info[1])


class Hopeless:
    """A hook that can't even be shown."""

    def __repr__(self) -> str:
        raise ValueError("half made")

    def __call__(self, record: Record) -> None:
        raise ValueError("no disk")


def test_one_that_cant_even_be_shown_hurts_nobody_either(caplog: pytest.LogCaptureFixture) -> None:
    with telemetry.subscribe(Hopeless()) as subscription:
        tell(started())
        assert repr(subscription).startswith("<Subscription of Hopeless [BackendSwitched, ")

    assert [entry.getMessage() for entry in caplog.records] == ["The hook Hopeless failed; of its further failures nothing is said"]


@pytest.mark.parametrize("thread", [False, True])
def test_it_goes_on_listening(thread: bool) -> None:
    calls: list[Record] = []

    def moody(record: Record) -> None:
        calls.append(record)
        if len(calls) == 1:
            raise ValueError

    with telemetry.subscribe(moody, thread=thread):
        tell(one := started(), two := started(2))

    assert calls == [one, two]


async def an_async_hook(record: Record) -> None: ...


class AnAsyncHook:
    async def __call__(self, record: Record) -> None: ...


@pytest.mark.parametrize("hook", [None, "print", an_async_hook, functools.partial(an_async_hook), AnAsyncHook()])
def test_what_is_no_plain_function_is_refused(hook: Any) -> None:
    with pytest.raises(TypeError) as raised:
        telemetry.subscribe(hook)

    assert str(raised.value) == f"hook: expected a plain function of one record, got {hook!r}. It is called where nothing may wait."


class LookAlike: ...


LookAlike.__name__ = "LoopHeld"


def test_a_name_where_a_class_is_expected_is_told_as_it_came() -> None:
    with pytest.raises(TypeError, match=r"^only: expected classes of records, got 'LoopHeld'\."):
        telemetry.subscribe(print, only="LoopHeld")


@pytest.mark.parametrize("only", [int, "LoopHeld", ["LoopHeld"], 5, Record, LookAlike, [LoopHeld, None]])
def test_what_is_no_kind_of_record_is_refused_and_nobody_listens(only: Any) -> None:
    with pytest.raises(
        TypeError, match=r"only: expected classes of records, got .*\. There are: BackendSwitched, SwitchFailed, "
    ) as raised:
        telemetry.subscribe(print, only=only)

    assert str(raised.value).endswith("LoopHeld.")


@pytest.mark.parametrize("only", [[], (), set[type[Record]](), iter(())])
def test_one_that_would_hear_nothing_is_refused(only: Any) -> None:
    with pytest.raises(ValueError, match=r"^only: expected at least one class of records, got .*\. Leave it out to hear all\.$"):
        telemetry.subscribe(print, only=only)


def test_a_subscription_says_who_listens_to_what() -> None:
    def show(record: Record) -> None: ...

    with telemetry.subscribe(show, only=[WorkerStarted, LoopHeld]) as subscription:
        assert repr(subscription).endswith(".show [WorkerStarted, LoopHeld]>")

    assert repr(subscription).endswith(".show [unsubscribed]>")


# --- in a thread of its own --------------------------------------------------------------------------------------------------------


class Blocking:
    """A hook that blocks until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.told: list[Record] = []
        self.threads: set[str] = set()

    def __call__(self, record: Record) -> None:
        self.entered.set()
        assert self.gate.wait(LONG)
        self.told.append(record)
        self.threads.add(threading.current_thread().name)


def test_a_hook_that_blocks_in_its_thread_holds_nobody_and_misses_nothing() -> None:
    hook = Blocking()
    records = [started(pid) for pid in range(100)]
    with telemetry.subscribe(hook, thread=True) as subscription:
        tell(*records)
        assert hook.entered.wait(LONG)
        assert hook.told == []
        hook.gate.set()

    assert hook.told == records
    assert subscription.dropped == 0
    assert {name.startswith("dspex hook ") for name in hook.threads} == {True}


def test_what_there_is_no_room_for_is_dropped_and_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    hook = Blocking()
    with telemetry.subscribe(hook, only=WorkerStarted, thread=True) as subscription:
        tell(first := started())
        assert hook.entered.wait(LONG)
        waiting = [started(pid) for pid in range(MAX_WAITING)]
        tell(*waiting, *(started() for _ in range(7)))
        assert subscription.dropped == 7
        hook.gate.set()

    assert hook.told == [first, *waiting]
    (entry,) = caplog.records
    assert entry.levelno == logging.WARNING
    assert entry.getMessage().endswith("is too slow: 10000 records wait for it, and what comes on top is dropped")


def test_a_hook_may_leave_in_its_own_thread() -> None:
    told: list[Record] = []
    left = threading.Event()

    def once(record: Record) -> None:
        told.append(record)
        subscription.unsubscribe()
        left.set()

    subscription = telemetry.subscribe(once, thread=True)
    tell(one := started())
    assert left.wait(LONG)
    tell(started(2))
    assert told == [one]
    _wait_for_the_end_of(subscription)


def _wait_for_the_end_of(subscription: Any) -> None:
    thread = subscription._thread._thread
    thread.join(LONG)
    assert not thread.is_alive()


def test_several_hooks_have_a_thread_each() -> None:
    slow, quick = Blocking(), Blocking()
    quick.gate.set()
    with telemetry.subscribe(slow, thread=True):
        with telemetry.subscribe(quick, thread=True):
            tell(one := started())

        assert quick.told == [one]
        assert slow.told == []
        slow.gate.set()
