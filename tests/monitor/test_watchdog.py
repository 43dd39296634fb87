"""
What doesn't end is told of, with where it is; once, and its end too.

A loop that is held here is held until the watchdog has told of it: nothing is measured, and nothing depends on how fast the machine is.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from contextlib import contextmanager

import anyio
import pytest
from anyio.lowlevel import current_token
from context.fragile import COUNT, Fragile, Slow

from dspex import Context, monitor, telemetry
from dspex.monitor import Watchdog
from dspex.monitor._loops import Loop
from dspex.monitor._watchdog import owners as _owners
from dspex.monitor._watchdog.heartbeat import Heartbeat
from dspex.monitor._watchdog.owners import Owners
from dspex.telemetry import LoopHeld, OwnerStuck
from dspex.telemetry._hooks import CHANNELS

LOG = logging.getLogger("dspex.monitor")


class Ear(logging.Handler):
    """Keeps what is logged, from any thread."""

    def __init__(self):
        super().__init__()
        self.heard = queue.SimpleQueue()

    def emit(self, record):
        self.heard.put(record)

    async def wait_for(self, words):
        """The next record that says *words*."""
        while words not in (record := await anyio.to_thread.run_sync(self.heard.get, True, 30)).getMessage():
            pass

        return record


@pytest.fixture
def ear():
    handler, level = Ear(), LOG.level
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    yield handler
    LOG.removeHandler(handler)
    LOG.setLevel(level)


@pytest.fixture(autouse=True)
def no_watchdog_is_left():
    before = {name: len(channel.heard) for name, channel in CHANNELS.items()}
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name == "dspex watchdog"] == []
    assert {name: len(channel.heard) for name, channel in CHANNELS.items()} == before


@contextmanager
def hearing(kind, about):
    """Records of *kind* whose stack is *about* something, and an event that is set with the first."""
    told, records = threading.Event(), []

    def hear(record):
        if about in record.stack:
            records.append(record)
            told.set()

    with telemetry.subscribe(hear, only=kind):
        yield told, records


def hold_the_loop(until):
    assert until.wait(30)


# --- a loop that is held ---------------------------------------------------------------------------------------------------------


async def test_a_held_loop_is_told_with_the_stack_of_who_holds_it(ear):
    with hearing(LoopHeld, "hold_the_loop") as (told, records), monitor.watchdog(owner=None, loop=0.02):
        hold_the_loop(told)
        logged = await ear.wait_for("in hold_the_loop")
        ended = await ear.wait_for("runs again")

    (record,) = records
    assert record.thread == threading.current_thread().name
    assert record.seconds >= 0.02
    assert record.stack.splitlines()[-1].startswith("  ")
    assert f"{__file__}:" in record.stack
    assert "test_a_held_loop_is_told_with_the_stack_of_who_holds_it" in record.stack
    assert (logged.levelname, ended.levelname) == ("WARNING", "INFO")
    assert logged.dspex_stack == record.stack
    assert ended.dspex_seconds >= record.seconds


async def test_what_holds_it_may_be_a_backend_of_plain_methods():
    class Blocking(Fragile):
        def merge(self, key, mapping):
            hold_the_loop(told)
            return 1

    with hearing(LoopHeld, "hold_the_loop") as (told, records), monitor.watchdog(owner=None, loop=0.02):
        async with Context(backend=Blocking, variables=[COUNT]) as ctx:
            await ctx.variables.merge(COUNT, {})

    (record,) = records
    assert "Blocking.merge" in record.stack


def test_a_loop_of_another_thread_is_watched_once_a_context_opens_there():
    async def hold():
        async with Context():
            hold_the_loop(told)

    with hearing(LoopHeld, "hold_the_loop") as (told, records), monitor.watchdog(owner=None, loop=0.02):
        thread = threading.Thread(target=anyio.run, args=(hold,), name="another thread")
        thread.start()
        thread.join()

    assert [record.thread for record in records] == ["another thread"]


def test_a_loop_of_another_thread_is_watched_on_which_a_context_lives_already():
    idle, watched = threading.Event(), threading.Event()

    async def hold():
        async with Context():
            idle.set()
            hold_the_loop(watched)
            hold_the_loop(told)

    thread = threading.Thread(target=anyio.run, args=(hold,), name="another thread")
    with hearing(LoopHeld, "hold_the_loop") as (told, records):
        thread.start()
        assert idle.wait(30)
        with monitor.watchdog(owner=None, loop=0.02):
            watched.set()
            thread.join()

    assert [record.thread for record in records] == ["another thread"]


def test_the_loop_of_a_callback_is_watched():
    """A line without ``await`` at the prompt of ``python -m asyncio`` runs in one."""

    def hold():
        try:
            with monitor.watchdog(owner=None, loop=0.02):
                hold_the_loop(told)
        finally:
            called.set()

    async def call():
        asyncio.get_running_loop().call_soon(hold)
        await called.wait()

    called = asyncio.Event()
    with hearing(LoopHeld, "hold_the_loop") as (told, records):
        asyncio.run(call())

    assert len(records) == 1


async def test_what_is_told_to_nobody_is_logged_all_the_same(ear):
    released = threading.Event()

    class Releasing(logging.Handler):
        def emit(self, record):
            if "in hold_the_loop" in record.getMessage():
                released.set()

    releasing = Releasing()
    LOG.addHandler(releasing)
    try:
        with monitor.watchdog(loop=0.02):
            hold_the_loop(released)
    finally:
        LOG.removeHandler(releasing)


class ByHand:
    """A loop that comes round when it is told to."""

    def __init__(self):
        self.thread = threading.get_ident()
        self.is_running = True
        self.ended = False
        self.asked = []

    @property
    def has_ended(self):
        return self.ended

    def soon(self, function):
        self.asked.append(function)
        return not self.ended

    def come_round(self):
        asked, self.asked = self.asked, []
        for function in asked:
            function()


def said(ear):
    found = []
    while not ear.heard.empty():
        found.append(ear.heard.get().getMessage().partition(" has ")[0].partition(", after")[0])

    return found


HELD = "The event loop of thread '{}'"
AGAIN = "The event loop of thread '{}' runs again"


@pytest.fixture
def words():
    name = threading.current_thread().name
    return HELD.format(name), AGAIN.format(name)


@pytest.fixture
def pulse():
    return Heartbeat(ByHand(), 1.0, LOG)


def test_a_hold_is_told_once_and_its_end_once(ear, pulse, words):
    held, again = words
    for now in (0.0, 0.5, 0.99):
        pulse.look(now)

    assert said(ear) == []
    for now in (1.0, 1.5, 100.0):
        pulse.look(now)

    assert said(ear) == [held]
    pulse.loop.come_round()
    pulse.look(101.0)
    assert said(ear) == [again]
    pulse.look(101.5)
    assert said(ear) == []
    pulse.look(102.0)
    assert said(ear) == [held]


def test_a_loop_that_comes_round_is_not_held(ear, pulse):
    for now in range(100):
        pulse.look(float(now))
        pulse.loop.come_round()

    assert said(ear) == []
    assert len(pulse.loop.asked) == 0


def test_a_loop_is_asked_once_at_a_time(pulse):
    for now in range(100):
        pulse.look(float(now))

    assert len(pulse.loop.asked) == 1


def test_a_loop_that_is_stopped_is_not_held(ear, pulse, words):
    pulse.look(0.0)
    pulse.loop.is_running = False
    pulse.look(50.0)
    pulse.look(100.0)
    assert said(ear) == []

    pulse.loop.is_running = True
    pulse.look(100.5)
    assert said(ear) == []
    pulse.look(101.0)
    assert said(ear) == [words[0]]


def test_time_that_the_process_did_not_have_does_not_count(ear, pulse, words):
    pulse.look(0.0)
    pulse.forgive(100.0)
    pulse.look(100.9)
    assert said(ear) == []
    pulse.look(101.0)
    assert said(ear) == [words[0]]


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("tells", [False, True])
def test_a_loop_that_has_ended_is_dropped(ear, pulse, asked, tells):
    """Also with a question that it never came to; one of asyncio's says that it doesn't run, one of trio's doesn't."""
    if asked:
        pulse.look(0.0)

    pulse.loop.ended = True
    pulse.loop.is_running = not tells
    pulse.look(0.5 if tells else 100.0)
    assert pulse.over
    assert said(ear) == []


def test_a_thread_that_nobody_let_run_says_how_long_it_was_not_its_fault():
    class Late:
        def wait(self, pause):
            return threading.Event().wait(pause + 0.02)

    class Owed:
        seconds = None

        def forgive(self, seconds):
            self.seconds = seconds

    owed = Owed()
    assert Watchdog()._rest(Late(), 0.001, owed) is False
    assert owed.seconds >= 0.015


# --- loops as other threads see them ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"backend": "asyncio"}, {"backend": "asyncio", "backend_options": {"use_uvloop": True}}, {"backend": "trio"}]
)
def test_a_loop_that_has_ended_says_so(options):
    async def here():
        loop = Loop.here()
        assert loop.is_running
        assert not loop.has_ended
        assert loop.thread == threading.get_ident()
        came = anyio.Event()
        assert loop.soon(came.set)
        await came.wait()
        return loop

    ended = anyio.run(here, **options)
    assert ended.has_ended
    assert not ended.soon(lambda: None)
    assert Loop.here() is None


def test_a_loop_that_is_stopped_and_run_again():
    async def here():
        return Loop.here()

    plain = asyncio.new_event_loop()
    loop = plain.run_until_complete(here())
    assert not loop.is_running
    assert not loop.has_ended
    assert loop.soon(lambda: None)
    plain.close()
    assert loop.has_ended


def test_loops_that_have_ended_are_forgotten():
    async def open_one():
        async with Context():
            opened.append(current_token().native_token)
            assert opened[-1] in dog._pulses

    opened = []
    dog = monitor.watchdog(loop=0.002)
    with dog:
        for backend in ("asyncio", "trio"):
            anyio.run(open_one, backend=backend)
            while opened[-1] in dog._pulses:
                threading.Event().wait(0.001)


# --- an owner that is stuck ------------------------------------------------------------------------------------------------------


async def test_a_stuck_owner_is_told_with_the_operation_and_where_it_is(ear):
    backend = Slow()
    with hearing(OwnerStuck, "Slow._do") as (told, records), monitor.watchdog(owner=0.02, loop=None):
        async with Context(backend=backend, name="chat", variables=[COUNT]) as ctx, anyio.create_task_group() as tasks:
            backend.hold()
            tasks.start_soon(ctx.variables.set, COUNT, 5)
            assert await anyio.to_thread.run_sync(told.wait, 30)
            logged = await ear.wait_for("Slow._do")
            backend.go_on()
            ended = await ear.wait_for("is out of")

    (record,) = records
    assert (record.context_id, record.context_name, record.operation) == (ctx.id, "chat", "set")
    assert record.seconds >= 0.02
    frames = [line.rpartition(" in ")[2] for line in record.stack.splitlines()]
    assert frames[0] == "Life._own"
    assert frames[frames.index("Slow.set") + 1] == "Slow._do"
    assert logged.getMessage().startswith(f"The owner of context 'chat' ({ctx.id}) has been in 'set' for ")
    assert (logged.levelname, logged.dspex_context, logged.dspex_operation, logged.dspex_stack) == ("WARNING", ctx.id, "set", record.stack)
    assert ended.getMessage().startswith(f"The owner of context 'chat' ({ctx.id}) is out of 'set', after ")
    assert (ended.levelname, ended.dspex_context) == ("INFO", ctx.id)


async def test_one_that_holds_the_loop_as_well_is_told_with_what_its_thread_does():
    class Blocking(Slow):
        async def set(self, *args):
            hold_the_loop(told)
            return await super().set(*args)

    with hearing(OwnerStuck, "hold_the_loop") as (told, records), monitor.watchdog(owner=0.02, loop=None):
        async with Context(backend=Blocking, variables=[COUNT]) as ctx:
            await ctx.variables.set(COUNT, 5)

    assert [record.operation for record in records] == ["set"]


async def test_a_switch_that_hangs_is_a_stuck_owner():
    class Silent(Slow):
        async def scan(self):
            await released.wait()
            async for page in super().scan():
                yield page

    released = anyio.Event()
    with hearing(OwnerStuck, "Silent.scan") as (told, records), monitor.watchdog(owner=0.02, loop=None):
        async with Context(backend=Silent, variables=[COUNT]) as ctx, anyio.create_task_group() as tasks:
            tasks.start_soon(ctx.ensure_bridged)
            assert await anyio.to_thread.run_sync(told.wait, 30)
            released.set()

    assert [record.operation for record in records] == ["switch"]


async def taken_by(backend, name):
    """Waits until *backend* is in one more operation *name*."""
    while not any(taken == name for taken, _ in backend.taken):
        await anyio.lowlevel.checkpoint()

    backend.taken.clear()


@pytest.fixture
async def busy(anyio_backend):
    """A context whose owner is in an operation, and its backend."""
    backend = Slow()
    async with Context(backend=backend, variables=[COUNT]) as ctx, anyio.create_task_group() as tasks:
        backend.hold()
        tasks.start_soon(ctx.variables.set, COUNT, 5)
        await taken_by(backend, "set")
        yield ctx, backend
        if backend._held is not None:
            backend.go_on()


async def test_an_operation_is_told_once_and_its_end_once(ear, busy):
    ctx, backend = busy
    owners = Owners(1.0, LOG)
    for now in (0.0, 0.5, 0.9):
        assert owners.look(now)

    assert said(ear) == []
    for now in (1.2, 1.5, 100.0):
        owners.look(now)

    assert said(ear) == [f"The owner of context {ctx.id}"]
    backend.go_on()
    while ctx.statistics().pending:
        await anyio.lowlevel.checkpoint()

    owners.look(101.0)
    assert said(ear) == [f"The owner of context {ctx.id} is out of 'set'"]
    owners.look(102.0)
    assert said(ear) == []


async def test_an_owner_that_gets_on_is_not_stuck(ear, busy):
    ctx, backend = busy
    owners = Owners(1.0, LOG)
    async with anyio.create_task_group() as tasks:
        for number in range(5):
            owners.look(number * 0.9)
            tasks.start_soon(ctx.variables.set, COUNT, number)
            backend.go_on()
            backend.hold()
            await taken_by(backend, "set")

        assert said(ear) == []
        backend.go_on()


async def test_idle_owners_are_not_stuck(ear):
    async with Context(), Context(name="x"):
        owners = Owners(1.0, LOG)
        for now in range(10):
            assert owners.look(float(now))

    assert said(ear) == []


async def test_time_that_the_process_did_not_have_is_no_owners_fault(ear, busy):
    owners = Owners(1.0, LOG)
    owners.look(0.0)
    owners.forgive(100.0)
    owners.look(100.9)
    assert said(ear) == []
    owners.look(101.2)
    assert len(said(ear)) == 1


async def test_the_end_of_a_context_is_the_end_of_its_operation(ear):
    backend = Slow()
    owners = Owners(1.0, LOG)
    async with anyio.create_task_group() as tasks, Context(backend=backend, variables=[COUNT]) as ctx:
        backend.hold()
        tasks.start_soon(ctx.variables.set, COUNT, 5)
        await taken_by(backend, "set")
        owners.look(0.0)
        owners.look(2.0)
        backend.go_on()

    owners.look(4.0)
    assert said(ear) == [f"The owner of context {ctx.id}", f"The owner of context {ctx.id} is out of 'set'"]


async def test_many_are_looked_at_in_portions(monkeypatch, ear, busy):
    monkeypatch.setattr(_owners, "PORTION", 2)
    async with Context(), Context(), Context(), Context():
        owners = Owners(1.0, LOG)
        rounds = [[owners.look(now) for _ in range(3)] for now in (0.0, 2.0)]
        assert rounds == [[False, False, True]] * 2
        assert not any(owners.look(4.0) for _ in range(2))

    assert len(said(ear)) == 1


# --- turning it on and off -------------------------------------------------------------------------------------------------------


def watching():
    return [thread.name for thread in threading.enumerate() if thread.name == "dspex watchdog"]


def test_it_is_off_unless_asked_for():
    with monitor.attach() as attached:
        assert attached.watchdog is None
        assert watching() == []


def test_one_argument_turns_it_on():
    with monitor.attach(watchdog=True) as attached:
        assert watching() == ["dspex watchdog"]
        assert repr(attached.watchdog) == "<Watchdog [watching | owner: 1 s | loop: 0.25 s]>"

    assert watching() == []
    assert repr(attached.watchdog) == "<Watchdog [off | owner: 1 s | loop: 0.25 s]>"


def test_with_bounds_of_ones_own():
    monitor.attach(watchdog=Watchdog(owner=5.0, loop=None))
    monitor.attach(watchdog=Watchdog(owner=None, loop=2))
    assert watching() == ["dspex watchdog"]
    monitor.detach()
    assert watching() == []


def test_starting_and_stopping_are_idempotent():
    dog = Watchdog()
    dog.stop()
    for _ in range(2):
        dog.start()
        dog.start()
        assert (dog.active, len(watching())) == (True, 1)
        dog.stop()
        dog.stop()
        assert (dog.active, len(watching())) == (False, 0)


async def test_a_hook_may_turn_it_off():
    def hear(record):
        dog.stop()
        told.set()

    told, dog = threading.Event(), monitor.watchdog(loop=0.02)
    with telemetry.subscribe(hear, only=LoopHeld), dog:
        hold_the_loop(told)

    while watching():
        await anyio.lowlevel.checkpoint()


async def test_a_look_that_fails_is_told_once_and_does_not_end_it(ear, monkeypatch):
    looked = threading.Semaphore(0)

    def fail(self, now):
        looked.release()
        raise RuntimeError("the ledger changed")

    monkeypatch.setattr(Owners, "look", fail)
    with monitor.watchdog(owner=0.004, loop=None):
        for _ in range(3):
            assert await anyio.to_thread.run_sync(looked.acquire, True, 30)

    assert said(ear) == ["The watchdog could not look; of its further failures nothing is said"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"owner": 0}, ValueError, "owner: expected a number of seconds of at least 0.001 or None, got 0"),
        ({"loop": "1"}, TypeError, "loop: expected a number of seconds of at least 0.001 or None, got '1'"),
        (
            {"owner": None, "loop": None},
            ValueError,
            "owner, loop: expected at least one bound, got None for both. There is nothing to look for.",
        ),
    ],
)
def test_bounds_that_cannot_be(options, error, words):
    with pytest.raises(error) as refused:
        Watchdog(**options)

    assert str(refused.value) == words
