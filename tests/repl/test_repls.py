"""At a prompt: the ordinary ones, IPython's, and ours. Everything here is typed into a real terminal and read from its screen."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import pytest
from terminal import Opening, Terminal

NOISE = re.compile(r"Traceback|Warning|Error|was destroyed|never|ignored", re.IGNORECASE)
PATIENT = "import asyncio; asyncio.get_running_loop().slow_callback_duration = 60"  # in its debug mode, which says more, it counts the ms
LOOPS = [pytest.param((), id="asyncio"), pytest.param(("--trio",), id="trio")]


@pytest.fixture(params=["asyncio", "ipython"])
def prompt(request: pytest.FixtureRequest, open_terminal: Opening, tmp_path: Path) -> Terminal:
    """The prompts that know nothing of dspex, each with what the story needs imported."""
    if request.param == "asyncio":
        terminal = open_terminal("-X", "dev", "-m", "asyncio")
        terminal.ask(PATIENT)
    else:
        pytest.importorskip("IPython")
        quiet = ("--no-banner", "--no-confirm-exit", "--colors=nocolor", "--HistoryManager.enabled=False")
        terminal = open_terminal("-m", "IPython", *quiet, prompt=r"In \[\d+\]: ", farewell="exit\n", IPYTHONDIR=str(tmp_path))

    terminal.ask("import os, anyio; from dspex import *")
    return terminal


def nobody_is_left(terminal: Terminal) -> None:
    """A killed process may take a moment."""
    until = time.monotonic() + 5
    while left := terminal.running():
        assert time.monotonic() < until, f"still running: {left}"
        os.sched_yield()


def number(text: str) -> int:
    return int(text.rstrip().rpartition("\n")[2].rpartition(" ")[2])


def use_a_context(terminal: Terminal) -> int:
    """Starts a context and has a function of the prompt run in a worker. Gives the worker's pid."""
    terminal.ask("ctx = await Context.start(name='scratch', variables=[Var('count', int, 0)])")
    assert number(terminal.ask("await ctx.variables.add('count', 5)")) == 5
    if "IPython" in terminal.process.args or sys.version_info[:3] == (3, 13, 0):
        # IPython answers each line of a block with one of its own; and the asyncio prompt of 3.13.0, without its line editor,
        # takes each line for a whole statement.
        terminal.ask("double = isolated(lambda n, ctx: [ctx.add('count', n), os.getpid()][1])")
    else:
        terminal.define("@isolated", "def double(n, ctx):", "    ctx.add('count', n)", "    return os.getpid()")

    terminal.ask("bound = await ctx.register_program('double', double)")
    worker = number(terminal.ask("await bound(n=2)"))
    assert number(terminal.ask("await ctx.variables.get('count')")) == 7
    assert worker in terminal.running()
    return worker


def start_a_tree(terminal: Terminal) -> int:
    """A supervisor with a task, a bridge, and below it a group with a context on that bridge. Gives the pid of its worker."""
    terminal.ask("tick = ChildSpec('tick', anyio.sleep_forever)")
    terminal.ask("group = Supervisor.child_spec('group', [tick, Context.child_spec('chat', bridge='shared')], strategy='one_for_all')")
    terminal.ask("sup = await Supervisor.start([tick, Bridge.child_spec('shared'), group], name='app')")
    terminal.ask("pid = await whereis('chat').register_program('pid', isolated(lambda: os.getpid()))")
    worker = number(terminal.ask("await pid()"))
    assert worker in terminal.running()
    return worker


def test_at_any_prompt_contexts_and_supervisors_start_work_and_stop(prompt: Terminal) -> None:
    workers = {use_a_context(prompt), start_a_tree(prompt)}
    prompt.ask("await sup.stop()")
    prompt.ask("await ctx.stop()")
    assert prompt.ask("print(sup.status.value, ctx.status.value)").strip().endswith("closed closed")
    assert not workers & prompt.running()

    assert not NOISE.search(prompt.leave()), prompt.said
    assert not NOISE.search(prompt.said), prompt.said
    assert prompt.process.returncode == 0


def test_leaving_any_prompt_without_stopping_leaves_no_process_and_says_nothing(prompt: Terminal) -> None:
    use_a_context(prompt)
    start_a_tree(prompt)
    assert not NOISE.search(prompt.leave()), prompt.said
    assert not NOISE.search(prompt.said), prompt.said
    assert prompt.process.returncode == 0
    nobody_is_left(prompt)


def test_what_is_left_at_a_prompt_is_stopped_in_order_the_youngest_first(prompt: Terminal) -> None:
    prompt.ask(
        "told = lambda id: ChildSpec(id, anyio.sleep_forever, on_change=lambda state, _: print(id, 'gone') if state == 'gone' else None)"
    )
    prompt.ask("one = await Supervisor.start([told('first'), told('second')]); two = await Supervisor.start([told('third')])")
    assert re.findall(r"(\w+) gone\n", prompt.leave()) == ["third", "second", "first"]
    assert prompt.process.returncode == 0


# --- ours ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_our_prompt_has_all_at_hand_and_takes_what_the_ordinary_one_takes(loop: tuple[str, ...], open_terminal: Opening) -> None:
    repl = open_terminal("-m", "dspex", "repl", *loop)
    assert f"on {'trio' if loop else 'asyncio'}, Python" in repl.said
    assert repl.ask("ctx.status, supervisor.status.value") == "(<Status.RUNNING: 'running'>, 'running')"
    assert repl.ask("import anyio; anyio.get_cancelled_exc_class().__module__").startswith("'trio" if loop else "'asyncio")

    repl.ask('await ctx.variables.define("count", int, 0)')
    assert repl.ask('await ctx.variables.add("count", 4)') == "4"
    assert repl.ask("_ + 1") == "5"
    assert repl.define("async with Context() as other:", "    print(other.status.value)") == "running"
    assert repl.ask("other.status.value") == "'closed'"
    watch = "async with ctx.variables.watch('count', include_initial=True) as changes:"
    assert repl.define(watch, "    async for change in changes:", "        break") == ""
    assert repl.ask("change.value") == "4"

    repl.define("@isolated", "def note(n, ctx):", "    return [ctx.add('count', n), __import__('os').getpid()]")
    repl.ask("bound = await ctx.register_program('note', note)")
    assert number(repl.ask("print(*await bound(n=2))")) in repl.running() - {repl.process.pid}
    assert repl.ask('await ctx.variables.get("count")') == "6"

    repl.ask("import decimal; decimal.getcontext().prec = 3")
    assert repl.ask("decimal.Decimal(1) / 3") == "Decimal('0.333')"
    assert not NOISE.search(repl.said), repl.said
    assert repl.leave() == "\n"
    assert repl.process.returncode == 0
    nobody_is_left(repl)


@pytest.mark.parametrize("loop", LOOPS)
def test_our_prompt_shows_errors_from_the_line_on_and_goes_on(loop: tuple[str, ...], open_terminal: Opening) -> None:
    repl = open_terminal("-m", "dspex", "repl", *loop)
    repl.define("async def fails():", "    raise LookupError('lost')")
    shown = repl.ask("await fails()")
    assert re.findall(r'File "(.*?)", line (\d+), in (.*)', shown) == [("<input 2>", "1", "<module>"), ("<input 1>", "2", "fails")]
    assert "raise LookupError('lost')" in shown
    assert shown.endswith("LookupError: lost")
    assert repl.ask("1 +").endswith("SyntaxError: invalid syntax")
    assert re.search(r"expected .*int", repl.ask("await ctx.variables.define('n', int, 'many')"))
    assert repl.ask("ctx.variables.get('n')").startswith("<coroutine object")
    assert "was never awaited" in repl.ask("2")
    assert repl.ask("3") == "3"

    repl.ask("ctx.variables.get('n')")
    assert not NOISE.search(repl.leave("exit(7)\n")), repl.said
    assert repl.process.returncode == 7


@pytest.mark.parametrize("loop", LOOPS)
def test_ctrl_c_ends_the_line_that_runs_and_at_the_prompt_the_one_being_typed(loop: tuple[str, ...], open_terminal: Opening) -> None:
    repl = open_terminal("-m", "dspex", "repl", *loop)
    repl.define(
        "async def waits():", "    try:", "        print('waits'); await anyio.sleep_forever()", "    finally:", "        print('leaves')"
    )

    def interrupt(typed: str, until: str) -> str:
        since = len(repl.said)
        repl.type(typed)
        repl.wait_for(until, since)
        return repl.interrupt(since) if typed.endswith("\n") else repl.interrupt_typing(since)

    assert interrupt("await waits()\n", "\nwaits\n").endswith("leaves\n\nKeyboardInterrupt")
    repl.define("def spins():", "    print('spins')", "    while True: pass")
    assert interrupt("spins()\n", "\nspins\n").endswith("\nKeyboardInterrupt")
    assert interrupt("half of a", "half of a").endswith("half of a\nKeyboardInterrupt")
    assert interrupt("def half():\n    x = [", "x = [").endswith("x = [\nKeyboardInterrupt")

    # A program in a worker ends with the line that waits for it, and the next one is served.
    repl.ask("slow = await ctx.register_program('slow', isolated(lambda s: __import__('time').sleep(s)))")
    repl.define("async def calls():", "    print('calls'); await slow(s=60)")
    assert interrupt("await calls()\n", "\ncalls\n").endswith("\nKeyboardInterrupt")
    assert repl.ask("await slow(s=0)") == ""
    assert repl.ask("ctx.status.value") == "'running'"
    assert repl.leave() == "\n"
    assert repl.process.returncode == 0
    nobody_is_left(repl)


def test_our_prompt_completes_names_and_what_they_have(open_terminal: Opening) -> None:
    pytest.importorskip("readline")
    repl = open_terminal("-m", "dspex", "repl")

    def completed(typed: str, expected: str) -> None:
        since = len(repl.said)
        repl.type(f"{typed}\t")
        repl.wait_for(expected, since)
        repl.interrupt_typing(since)

    completed("await ctx.variables.upd", "ctx.variables.update(")
    completed("superv", "supervisor")
    completed("ctx.ensure_br", "ctx.ensure_bridged(")
    repl.type("ctx.variables.\t\t")
    listed = repl.wait_for("watch(", len(repl.said))
    assert "get_many(" in listed and "mailbox" not in listed
    repl.interrupt_typing(len(repl.said))
    repl.leave()


def test_in_a_terminal_with_colours_the_banner_and_a_tree_are_drawn_in_them(open_terminal: Opening) -> None:
    repl = open_terminal("-m", "dspex", "repl", TERM="xterm-256color")
    title, _, rest = repl.raw.partition("\n")
    assert "\x1b[1;36m" in title
    assert "\x1b[" in rest
    to_try = re.findall(r"^  (await \S.*|\w+ = await .*|supervisor\.\w+\(.*)$", repl.said, re.MULTILINE)
    assert to_try
    for line in to_try:
        assert "Traceback" not in repl.ask(line), repl.said  # what it says to try works

    drawn = repl.ask("supervisor.tree()")
    assert "kept" in drawn and "running" in drawn
    repl.leave()


@pytest.mark.parametrize("loop", LOOPS)
def test_leaving_our_prompt_stops_what_is_left_in_order_and_leaves_no_process(loop: tuple[str, ...], open_terminal: Opening) -> None:
    repl = open_terminal("-X", "dev", "-m", "dspex", "repl", *loop)
    if not loop:
        repl.ask(PATIENT)
        repl.ask("pending = asyncio.create_task(anyio.sleep(600))")

    repl.ask("await ctx.variables.define('n', int, 0)")
    repl.ask("bound = await ctx.register_program('count', isolated(lambda ctx: ctx.add('n', 1)))")
    assert repl.ask("await bound()") == "1"
    repl.ask(
        "told = lambda id: ChildSpec(id, anyio.sleep_forever, on_change=lambda state, _: print(id, 'gone') if state == 'gone' else None)"
    )
    for child in ("first", "second"):
        repl.ask(f"info = await supervisor.start_child(told({child!r}))")

    repl.ask("more = await Supervisor.start([told('third')])")
    left = repl.leave()
    assert left.split("\n") == ["", "third gone", "second gone", "first gone", ""]
    assert repl.process.returncode == 0
    nobody_is_left(repl)
