"""A context looked at: what is told of it, how it is drawn, and that looking disturbs nothing."""

from __future__ import annotations

import datetime as dt
import io
import json
import threading

import anyio
import pytest
from attrs import evolve
from context.fragile import COUNT, FACTS, ByHand, Fragile, Gone, Slow
from rich.console import Console

from dspex import (
    BridgedState,
    Context,
    ContextCrashed,
    ContextStatistics,
    LocalState,
    NameNotFound,
    SwitchReport,
    Var,
    WrongThread,
    monitor,
)
from dspex.abc import Capabilities
from dspex.context import BackendInfo
from dspex.monitor import ContextReport
from dspex.monitor._report import VariableFacts
from dspex.programs import ProgramInfo

SECRET = Var("secret", str, "hunter2", sensitive=True)
NOON = dt.datetime(2024, 5, 1, 12, 0, 0, 250_000, tzinfo=dt.UTC)
LATER = dt.datetime(2024, 5, 1, 13, 30, tzinfo=dt.UTC)

REPORT = ContextReport(
    at=LATER,
    id="ctx_1",
    name="chat",
    status="running",
    resumed=False,
    backend=BackendInfo(
        kind="bridged",
        type=BridgedState,
        requires_bridge=True,
        capabilities=Capabilities(atomic_updates=True, distributed=True),
        switching=False,
        switches=1,
        history=((LocalState, NOON), (BridgedState, LATER)),
        last_switch=SwitchReport(seconds=0.0012, variables=1205, bytes=65_536),
    ),
    counts=ContextStatistics(operations=12_345, queued=3, pending=1, mailbox_size=1024, calls=2, watches=0, switches=1, lives=1),
    variables=(
        VariableFacts(name="temperature", type="float", version=1234, value="0.7", sensitive=False, updated_at=LATER),
        VariableFacts(name="名前", type="str", version=0, value="'naïve'", sensitive=False, updated_at=NOON),
        VariableFacts(name="key", type="str", version=0, value="********", sensitive=True, updated_at=NOON),
    ),
    more_variables=1202,
    programs=(ProgramInfo(id="qa", where="worker", kind="sync", reasons=(), signature="(q)", pool="default", calls=7, doc=None),),
    more_programs=0,
    error="",
    note="",
)

TEXT = """\
DSPex Context Inspection
========================
ID: ctx_1
Name: chat
Status: running
Backend: BridgedState
Type: bridged
Requires Bridge: yes
Switches: 1
Last Switch: 1.2 ms, 1,205 variables, 65,536 bytes

Capabilities:
  - atomic_updates: yes
  - streaming: no
  - persistent: no
  - distributed: yes

History:
  - LocalState at 2024-05-01 12:00:00.250 UTC
  - BridgedState at 2024-05-01 13:30:00.000 UTC

Counts:
  operations 12,345, queued 3, pending 1 of 1,024, calls 2, watches 0, lives 1

Variables: 1,205
  name         type   version  updated                      value
  temperature  float    1,234  2024-05-01 13:30:00.000 UTC  0.7
  名前         str          0  2024-05-01 12:00:00.250 UTC  'naïve'
  key          str          0  2024-05-01 12:00:00.250 UTC  ********
  … and 1,202 more

Programs: 1
  id  where   pool     calls
  qa  worker  default      7"""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def coloured(report, *, columns=100):
    console = Console(record=True, file=io.StringIO(), width=columns, force_terminal=True, color_system="standard")
    console.print(report)
    return console.export_text(styles=True)


def plain(report, *, columns=100):
    console = Console(record=True, file=io.StringIO(), width=columns)
    console.print(report)
    return "\n".join(line.rstrip() for line in console.export_text().splitlines())


# --- the report ------------------------------------------------------------------------------------------------------------------


def test_a_report_is_plain_text():
    assert str(REPORT) == TEXT


def test_rich_shows_the_same_words():
    assert plain(REPORT) == TEXT


def test_in_colours():
    lines = coloured(REPORT).splitlines()
    assert lines[0] == "\x1b[1mDSPex Context Inspection\x1b[0m"
    assert lines[4] == "\x1b[36mStatus: \x1b[0m\x1b[32mrunning\x1b[0m"
    assert coloured(evolve(REPORT, status="crashed")).splitlines()[4] == "\x1b[36mStatus: \x1b[0m\x1b[1;31mcrashed\x1b[0m"


def test_on_a_narrow_terminal_a_line_stays_a_line():
    lines = plain(REPORT, columns=40).splitlines()
    assert len(lines) == len(TEXT.splitlines())
    assert max(map(len, lines)) <= 40


def test_nothing_in_it_is_taken_for_markup_or_harms_a_terminal():
    named = evolve(REPORT, name="[bold]a[/]\x1b[31m\n", error="[red]no\x07\nyes")
    assert "Name: [bold]a[/]\\x1b[31m\\n" in str(named)
    assert plain(named) == str(named)
    assert "Error: [red]no\\x07 yes" in str(named)


def test_what_there_is_not_is_not_drawn():
    bare = evolve(
        REPORT, name=None, variables=(), more_variables=0, programs=(), backend=evolve(REPORT.backend, history=(), last_switch=None)
    )
    text = str(bare)
    assert "Name" not in text
    assert "Last Switch" not in text
    assert "Programs" not in text
    assert text.endswith("Variables: none")
    assert "History:\n  - none\n" in text
    assert str(evolve(bare, note="it has ended: it is closed")).endswith("Variables: not read\n  it has ended: it is closed")
    assert str(evolve(REPORT, more_variables=None, programs=())).endswith("********\n  … and more")


def test_as_dict_is_plain_data():
    told = REPORT.as_dict()
    assert json.loads(json.dumps(told)) == told
    assert told["backend"] == {
        "kind": "bridged",
        "type": "BridgedState",
        "requires_bridge": True,
        "capabilities": {"atomic_updates": True, "streaming": False, "persistent": False, "distributed": True},
        "switching": False,
        "switches": 1,
        "history": [["LocalState", "2024-05-01T12:00:00.250000+00:00"], ["BridgedState", "2024-05-01T13:30:00+00:00"]],
        "last_switch": {"seconds": 0.0012, "variables": 1205, "bytes": 65_536},
    }
    assert told["variables"][0] == {
        "name": "temperature",
        "type": "float",
        "version": 1234,
        "value": "0.7",
        "sensitive": False,
        "updated_at": "2024-05-01T13:30:00+00:00",
    }
    assert told["programs"] == [{"id": "qa", "where": "worker", "pool": "default", "calls": 7}]
    assert (told["id"], told["name"], told["status"], told["more_variables"], told["error"]) == ("ctx_1", "chat", "running", 1202, None)


def test_it_tells_what_it_is():
    assert repr(REPORT) == "<ContextReport of 'chat' [running | bridged | variables: 1,205]>"
    assert repr(evolve(REPORT, more_variables=None)) == "<ContextReport of 'chat' [running | bridged | variables: 3+]>"


# --- where it is drawn -----------------------------------------------------------------------------------------------------------


async def test_a_file_gets_plain_text_and_a_terminal_colours(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    file, terminal = io.StringIO(), Terminal()
    async with Context() as ctx:
        report = await monitor.inspect_context(ctx, file=file)
        await monitor.inspect_context(ctx, file=terminal)

    assert file.getvalue() == f"{report}\n"
    assert "\x1b[" in terminal.getvalue()


async def test_without_rich_a_terminal_gets_plain_text(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "rich.console", None)
    terminal = Terminal()
    async with Context() as ctx:
        report = await monitor.inspect_context(ctx, file=terminal)

    assert terminal.getvalue() == f"{report}\n"


async def test_described_it_is_not_drawn(capsys):
    async with Context(name="chat") as ctx:
        report = await monitor.describe_context("chat")

    assert report.id == ctx.id
    assert capsys.readouterr().out == ""


# --- the variables ---------------------------------------------------------------------------------------------------------------


def lines(report):
    return [(each.name, each.type, each.version, each.value) for each in report.variables]


@pytest.mark.parametrize("backend", ["local", "bridged", Fragile, Slow])
async def test_variables_have_types_versions_and_values_and_sensitive_ones_are_masked(backend):
    async with Context(backend=backend() if backend in (Fragile, Slow) else backend, variables=[COUNT, SECRET]) as ctx:
        await ctx.variables.set(COUNT, 5)
        await ctx.variables.define("text", str, "x" * 200)
        info = await ctx.variables.info(COUNT)
        report = await monitor.describe_context(ctx)

    assert lines(report) == [("count", "int", 1, "5"), ("secret", "str", 0, "********"), ("text", "str", 0, "'" + "x" * 78 + "…")]
    assert report.more_variables == 0
    assert report.variables[0].updated_at == info.updated_at
    assert "hunter2" not in str(report) + json.dumps(report.as_dict()) + repr(report)


@pytest.mark.parametrize("backend", ["local", Slow])
async def test_of_many_the_first_are_told(backend):
    async with Context(backend=backend() if backend is Slow else backend) as ctx:
        for number in range(300):
            await ctx.variables.define(f"v{number}", int, number)

        report = await monitor.describe_context(ctx)
        few = await monitor.describe_context(ctx, max_variables=2)
        none = await monitor.describe_context(ctx, max_variables=0)
        every = await monitor.describe_context(ctx, max_variables=300)

    assert [each.name for each in report.variables] == [f"v{number}" for number in range(100)]
    assert [each.name for each in few.variables] == ["v0", "v1"]
    assert none.variables == ()
    assert (len(every.variables), every.more_variables) == (300, 0)
    # Whoever has to be asked for each isn't asked for all.
    assert [each.more_variables for each in (report, few, none)] == ([200, 298, 300] if backend == "local" else [None] * 3)


async def test_a_large_value_is_cut_without_being_written_down():
    async with Context() as ctx:
        await ctx.variables.define("many", list[int], list(range(100_000)))
        await ctx.variables.define("blob", bytes, bytes(10_000_000))
        report = await monitor.describe_context(ctx)

    assert [len(each.value) for each in report.variables] == [80, 80]


async def test_others_run_between_slices():
    ran = 0

    async def count_turns():
        nonlocal ran
        while True:
            await anyio.lowlevel.checkpoint()
            ran += 1

    async with Context() as ctx, anyio.create_task_group() as tasks:
        for number in range(2000):
            await ctx.variables.define(f"v{number}", int, number)

        tasks.start_soon(count_turns)
        await anyio.lowlevel.checkpoint()
        before = ran
        await monitor.describe_context(ctx, max_variables=2000)
        turns = ran - before
        tasks.cancel_scope.cancel()

    assert turns >= 2000 / 64 - 1


@pytest.mark.parametrize("bridged", [False, True])
async def test_looking_is_no_operation(bridged):
    async with Context(variables=[COUNT], backend="bridged" if bridged else "local") as ctx:
        before = ctx.statistics()
        report = await monitor.describe_context(ctx)
        assert ctx.statistics() == before == report.counts


# --- in any state ----------------------------------------------------------------------------------------------------------------


async def test_one_that_has_not_started():
    ctx = Context(name="later")
    report = await monitor.describe_context(ctx)
    assert (report.status, report.variables, report.note, report.backend.history) == ("new", (), "it hasn't been started", ())


async def test_one_that_is_closed():
    async with Context(variables=[COUNT]) as ctx:
        pass

    report = await monitor.describe_context(ctx)
    assert (report.status, report.variables, report.note) == ("closed", (), "it has ended: it is closed")
    assert [kind for kind, _ in report.backend.history] == [LocalState]


async def test_one_that_has_crashed():
    with pytest.raises(ContextCrashed):
        async with Context(backend=Fragile(), variables=[FACTS]) as ctx:
            await ctx.variables.merge(FACTS, {"a": 1})

    report = await monitor.describe_context(ctx)
    assert (report.status, report.error, report.note) == ("crashed", "Gone: the disk has gone", "it has ended: it is crashed")
    assert "\nError: Gone: the disk has gone\n" in str(report)


async def parked(group, backend):
    spec = Context.child_spec("x", variables=[COUNT], backend=backend)
    hand = ByHand(spec, group)
    ctx = await hand.start()
    await ctx.variables.set(COUNT, 7)
    hand.scope.cancel()
    await hand.ended()
    await hand.tell("parked", Gone("no disk"))
    return ctx, hand


async def test_one_that_is_parked_shows_the_state_it_keeps():
    async with anyio.create_task_group() as group:
        ctx, hand = await parked(group, "local")
        report = await monitor.describe_context(ctx)
        assert (report.status, lines(report), report.note) == ("parked", [("count", "int", 1, "7")], "")
        assert report.error
        await hand.tell("gone")


async def test_one_that_is_parked_cannot_ask_a_backend_of_its_users():
    async with anyio.create_task_group() as group:
        ctx, hand = await parked(group, Slow)
        report = await monitor.describe_context(ctx)
        assert (report.status, lines(report), report.note) == ("parked", [], "only while it runs: it is parked")
        await hand.tell("gone")


async def test_a_backend_that_cannot_tell_its_variables_crashes_nothing():
    class Mute(Slow):
        async def scan(self):
            raise Gone("no list today")
            yield

    async with Context(backend=Mute(), variables=[COUNT]) as ctx:
        report = await monitor.describe_context(ctx)
        assert report.note == "Gone: no list today"
        assert await ctx.variables.get(COUNT) == 0


async def test_a_backend_that_hangs_as_it_tells_them_is_given_back_to_others():
    class Silent(Slow):
        async def scan(self):
            await anyio.sleep_forever()
            yield

    async with Context(backend=Silent, variables=[COUNT]) as ctx:
        report = await monitor.describe_context(ctx, timeout=0.01)
        assert report.note.startswith("not within 0.01 s: they have to be asked of its owner")
        assert await ctx.variables.get(COUNT) == 0


async def test_from_another_thread_it_is_refused():
    refused = []

    async def look(ctx):
        with pytest.raises(WrongThread) as info:
            await monitor.describe_context(ctx)

        refused.append(info.value)

    async with Context() as ctx:
        thread = threading.Thread(target=anyio.run, args=(look, ctx))
        thread.start()
        await anyio.to_thread.run_sync(thread.join)

    assert len(refused) == 1


@pytest.mark.parametrize(
    ("given", "options", "error"),
    [
        ("nobody", {}, NameNotFound),
        (5, {}, TypeError),
        (None, {}, TypeError),
        ("chat", {"max_variables": -1}, ValueError),
        ("chat", {"max_variables": 1.5}, TypeError),
        ("chat", {"timeout": "1"}, TypeError),
    ],
)
async def test_what_cannot_be_looked_at(given, options, error):
    async with Context(name="chat"):
        with pytest.raises(error):
            await monitor.inspect_context(given, **options)
