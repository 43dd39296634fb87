"""What is logged, at which level and with which facts; and that nothing is while nobody asked."""

from __future__ import annotations

import logging

import anyio
import pytest
from attrs import evolve
from context.fragile import COUNT, FACTS, Fragile

from dspex import Context, ContextCrashed, InvalidValue, ProgramFailed, Var, VariableNotFound, VersionConflict, WorkerDied, monitor
from dspex.telemetry import BackendSwitched, ContextChanged, OperationFailed, ProgramCalled, SwitchFailed, VariableOperation
from dspex.telemetry._hooks import CHANNELS, OPERATION_FAILED, VARIABLE_OPERATION

SECRET = Var("secret", str, "hunter2", sensitive=True, max_length=20)


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.DEBUG)
    yield lambda: [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "dspex.monitor"]
    monitor.detach()


def tell(record):
    CHANNELS[type(record).__name__].tell(record)


SWITCHED = BackendSwitched(
    context_id="ctx_1", context_name="chat", source="LocalState", target="BridgedState", seconds=0.05, variables=2, bytes=99
)
FAILED = SwitchFailed(context_id="ctx_1", source="LocalState", step="stage", error=OSError("no room"), seconds=0.25)
READ = VariableOperation(context_id="ctx_1", backend="local", operation="get_many", variables=tuple("abcdef"), seconds=0.01)
REFUSED = OperationFailed(context_id="ctx_1", backend="local", operation="get", variables=("a",), error=VariableNotFound("a"), seconds=1e-6)
CALLED = ProgramCalled(context_id="ctx_1", program_id="qa", where="worker", queued=0.1, seconds=0.4, outcome="failed")
DIED = WorkerDied(pid=4242, exit_code=-9, ended="was killed by SIGKILL", last_words="the key is hunter2")
CHANGED = ContextChanged(context_id="ctx_1", status="crashed", backend="local", error=OSError("the disk has gone"))


# --- the words -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "level", "words"),
    [
        (
            SWITCHED,
            "INFO",
            "Context backend switch: context 'chat' (ctx_1), from LocalState to BridgedState, duration 50 ms, 2 variables, 99 bytes",
        ),
        (
            evolve(SWITCHED, seconds=1.5),
            "WARNING",
            "Slow context backend switch: context 'chat' (ctx_1), from LocalState to BridgedState, duration 1,500 ms, 2 variables, 99 bytes",
        ),
        (
            FAILED,
            "ERROR",
            "Context error: context ctx_1, operation switch (step 'stage', after 250 ms), error OSError: no room. It goes on with its LocalState",
        ),
        (
            evolve(FAILED, error=None),
            "WARNING",
            "Context backend switch given up: context ctx_1, operation switch (step 'stage', after 250 ms), error none: whoever asked for it has gone, or ran out of time. It goes on with its LocalState",
        ),
        (
            evolve(READ, seconds=0.2),
            "WARNING",
            "Slow variable operation: context ctx_1, operation get_many of 'a', 'b', 'c', 'd', and 2 more, duration 200 ms",
        ),
        (
            evolve(READ, variables=("a",), waited=3.0),
            "WARNING",
            "Slow variable operation: context ctx_1, operation get_many of 'a', duration 10 ms after waiting 3,000 ms for its turn",
        ),
        (
            evolve(REFUSED, error=InvalidValue("a", expected="an int", got="'x' (str)")),
            "ERROR",
            "Context error: context ctx_1, operation get of 'a', error InvalidValue: Variable 'a': expected an int, got 'x' (str).",
        ),
        (
            evolve(CALLED, error=ProgramFailed("qa", type="builtins.ValueError", message="hunter2")),
            "ERROR",
            "Context error: context ctx_1, operation call of program 'qa', error ProgramFailed: it raised builtins.ValueError, after 500 ms",
        ),
        (
            evolve(CALLED, outcome="died", error=DIED),
            "ERROR",
            "Context error: context ctx_1, operation call of program 'qa', error WorkerDied: worker 4242 was killed by SIGKILL, after 500 ms",
        ),
        (CHANGED, "ERROR", "Context error: context ctx_1 crashed and is closed, error OSError: the disk has gone"),
        (
            evolve(CHANGED, status="restarting"),
            "ERROR",
            "Context error: context ctx_1 crashed and is being restarted, error OSError: the disk has gone",
        ),
        (evolve(CHANGED, status="parked"), "ERROR", "Context error: context ctx_1 crashed and is parked, error OSError: the disk has gone"),
    ],
)
def test_a_record_is_one_line(log, record, level, words):
    monitor.attach()
    tell(record)
    ((its, message),) = log()
    assert its == level
    assert "\n" not in message
    assert message == words


@pytest.mark.parametrize(
    "record",
    [
        READ,
        evolve(CALLED, outcome="returned"),
        evolve(CALLED, outcome="cancelled"),
        evolve(CALLED, outcome="refused"),
        evolve(CHANGED, status="running", error=None),
        evolve(CHANGED, status="closed", error=None),
        evolve(CHANGED, status="expired", error=None),
    ],
)
def test_what_is_as_it_should_be_is_not_logged(log, record):
    monitor.attach()
    tell(record)
    assert log() == []


@pytest.mark.parametrize("error", [VariableNotFound("a"), VersionConflict("a", expected=1, actual=2)])
def test_a_refusal_that_is_an_answer_is_no_error(log, error):
    monitor.attach()
    tell(evolve(REFUSED, error=error))
    assert [level for level, _ in log()] == ["DEBUG"]


def test_which_refusals_are_answers_can_be_said(log):
    monitor.attach(ordinary=())
    tell(REFUSED)
    monitor.attach(ordinary=InvalidValue)
    tell(REFUSED)
    tell(evolve(REFUSED, error=InvalidValue("a", expected="an int", got="a str")))
    assert [level for level, _ in log()] == ["ERROR", "ERROR", "DEBUG"]


async def test_a_get_with_a_default_and_an_ensure_are_no_errors(log):
    monitor.attach()
    async with Context(variables=[COUNT]) as ctx:
        assert await ctx.variables.get("nobody", 5) == 5
        await ctx.variables.ensure(COUNT)

    assert {level for level, _ in log()} == {"DEBUG"}


def test_a_line_has_its_facts(log, caplog):
    monitor.attach()
    tell(evolve(READ, seconds=0.25, waited=0.5))
    (record,) = caplog.records
    assert (record.dspex_context, record.dspex_name, record.dspex_operation, record.dspex_variables) == (
        "ctx_1",
        None,
        "get_many",
        tuple("abcdef"),
    )
    assert (record.dspex_seconds, record.dspex_waited, record.dspex_backend) == (0.25, 0.5, "local")


@pytest.mark.parametrize("record", [SWITCHED, FAILED, evolve(READ, seconds=1.0), REFUSED, CHANGED, evolve(CALLED, error=DIED)])
def test_every_line_says_which_context(log, caplog, record):
    monitor.attach()
    tell(record)
    assert [told.dspex_context for told in caplog.records] == ["ctx_1"]


def test_names_cannot_write_lines_of_their_own(log):
    monitor.attach()
    tell(evolve(SWITCHED, context_name="a\nERROR all is lost\x1b[31m", context_id="b\r\n"))
    tell(evolve(READ, variables=("x\ny",), seconds=1.0))
    for _, message in log():
        assert message.isprintable()


# --- the bounds ------------------------------------------------------------------------------------------------------------------


def test_bounds_can_be_set(log):
    monitor.attach(slow_switch=0.01, slow_operation=0.001)
    tell(SWITCHED)
    tell(READ)
    assert [level for level, _ in log()] == ["WARNING", "WARNING"]


def test_without_a_bound_nothing_is_slow(log):
    monitor.attach(slow_switch=None)
    tell(evolve(SWITCHED, seconds=1000.0))
    assert [level for level, _ in log()] == ["INFO"]


def test_operations_are_left_alone_where_none_is_slow(log):
    with monitor.attach(slow_operation=None):
        assert not VARIABLE_OPERATION.heard
        assert not OPERATION_FAILED.heard

    with monitor.attach():
        assert VARIABLE_OPERATION.heard
        assert OPERATION_FAILED.heard


def test_another_logger_can_be_named(caplog):
    with monitor.attach(logger="app.monitor"):
        tell(evolve(SWITCHED, seconds=1.0))

    with monitor.attach(logger=logging.getLogger("app.other")):
        tell(evolve(SWITCHED, seconds=1.0))

    assert [record.name for record in caplog.records] == ["app.monitor", "app.other"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"slow_switch": -1}, ValueError, "slow_switch: expected a number of seconds or None, got -1"),
        ({"slow_switch": float("nan")}, ValueError, "slow_switch: expected a number of seconds or None, got nan"),
        ({"slow_operation": True}, TypeError, "slow_operation: expected a number of seconds or None, got True"),
        ({"ordinary": ("KeyError",)}, TypeError, "ordinary: expected classes of errors, got 'KeyError'"),
        ({"logger": 5}, TypeError, "logger: expected a logging.Logger, the name of one, or None, got 5"),
        ({"watchdog": 0.5}, TypeError, "watchdog: expected True, False or a Watchdog, got 0.5"),
    ],
)
def test_what_cannot_be_is_refused_and_what_was_attached_stays(options, error, words):
    with monitor.attach() as attached:
        with pytest.raises(error) as refused:
            monitor.attach(**options)

        assert str(refused.value) == words
        assert attached.active


# --- attaching and detaching -----------------------------------------------------------------------------------------------------


def listeners():
    return {name: len(channel.heard) for name, channel in CHANNELS.items()}


def test_attaching_again_replaces(log):
    before = listeners()
    first = monitor.attach()
    once = listeners()
    second = monitor.attach()
    assert listeners() == once
    assert (first.active, second.active) == (False, True)
    tell(SWITCHED)
    assert len(log()) == 1

    first.detach()
    assert second.active
    monitor.detach()
    monitor.detach()
    assert not second.active
    assert listeners() == before
    tell(SWITCHED)
    assert len(log()) == 1


def test_as_a_context_manager_it_is_detached_at_the_end():
    before = listeners()
    with monitor.attach() as attached:
        assert attached.active

    assert not attached.active
    assert listeners() == before


def test_it_tells_what_it_does():
    with monitor.attach(slow_operation=None) as attached:
        assert repr(attached) == "<Attachment [attached | slow_switch: 0.05 s | slow_operation: off | watchdog: off]>"

    assert repr(attached) == "<Attachment [detached | slow_switch: 0.05 s | slow_operation: off | watchdog: off]>"


# --- real ones -------------------------------------------------------------------------------------------------------------------


def test_a_slow_backend_is_warned_of(run_virtually, log):
    """Virtual time doesn't count: what is slow is measured on a clock of its own. So the bound is nothing at all."""
    from context.fragile import Slow

    async def main():
        monitor.attach(slow_operation=0)
        async with Context(backend=Slow()) as ctx:
            await ctx.variables.define(COUNT)
            await ctx.variables.set(COUNT, 5)

    run_virtually(main)
    assert [message.partition(", duration")[0].partition(", operation ")[2] for _, message in log()] == [
        "define of 'count'",
        "set of 'count'",
    ]


async def test_a_crash_says_what_was_done_and_what_becomes_of_the_context(log):
    monitor.attach()
    with pytest.raises(ContextCrashed):
        async with Context(backend=Fragile(), variables=[FACTS]) as ctx:
            await ctx.variables.merge(FACTS, {"a": 1})

    assert sorted(entry for entry in log() if entry[0] == "ERROR") == [
        ("ERROR", f"Context error: context {ctx.id} crashed and is closed, error Gone: the disk has gone"),
        ("ERROR", f"Context error: context {ctx.id}, operation merge of 'facts', error Gone: the disk has gone"),
    ]


async def test_a_crash_is_told_too_where_operations_are_left_alone(log):
    monitor.attach(slow_operation=None)
    with pytest.raises(ContextCrashed):
        async with Context(backend=Fragile(), variables=[FACTS]) as ctx:
            await ctx.variables.merge(FACTS, {"a": 1})

    assert log() == [("ERROR", f"Context error: context {ctx.id} crashed and is closed, error Gone: the disk has gone")]


async def test_what_is_sensitive_is_in_no_line(log, caplog):
    def telling(value):
        raise RuntimeError(f"can't do anything with {value}")

    monitor.attach(slow_operation=0, slow_switch=0, ordinary=())
    async with Context(variables=[SECRET]) as ctx:
        await ctx.variables.set(SECRET, "hunter3")
        await ctx.ensure_bridged()
        with pytest.raises(InvalidValue):
            await ctx.variables.set(SECRET, "hunter4" * 10)

        with pytest.raises(RuntimeError):
            await ctx.variables.update(SECRET, telling)

    assert [level for level, _ in log()].count("ERROR") == 2
    assert all("hunter" not in str(vars(record)) for record in caplog.records if record.name == "dspex.monitor")


async def test_nothing_is_logged_while_nobody_asked(log):
    async with Context(variables=[COUNT]) as ctx:
        await ctx.ensure_bridged()
        with pytest.raises(InvalidValue):
            await ctx.variables.set(COUNT, "x")

        await anyio.lowlevel.checkpoint()

    assert log() == []
