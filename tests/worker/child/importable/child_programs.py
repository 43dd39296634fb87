"""Programs for the tests, importable in workers of any interpreter from 3.9 up."""

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading
import time


class Named:
    """Like a Var: it has a name."""

    def __init__(self, name):
        self.name = name


def echo(value=None):
    """Gives what it got."""
    return value


def total(*, x: int, y: int = 10) -> int:
    return x + y


def shaped(first, /, text: str, limit: int = 10, *rest, ctx, strict: bool = False, **more) -> str:
    """What it does."""
    return text


async def async_total(x, y=10):
    await asyncio.sleep(0)
    return x + y


def counting(n):
    yield from range(n)


async def async_counting(n):
    for number in range(n):
        yield number


class Outer:
    class Inner:
        @staticmethod
        def deep():
            return "deep"


class Kept:
    """A class: made once, called many times."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return self.calls


class AsyncKept:
    async def __call__(self, ctx):
        return await ctx.get("x")


not_callable = 42


def raises():
    def deeper():
        raise ValueError("not today")

    try:
        deeper()
    except ValueError as error:
        raise LookupError("none of it") from error


def exits():
    sys.exit("enough")


def interrupts():
    raise KeyboardInterrupt


async def async_exits():
    sys.exit("enough")


async def async_exits_in_a_task():
    async def leave():
        sys.exit("from a task")

    task = asyncio.ensure_future(leave())
    try:
        await task
    except SystemExit as error:
        return str(error)


class Aborted(BaseException):
    pass


def aborts():
    raise Aborted("below Exception")


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def raises_unspeakable():
    raise Unspeakable


def recursive(n=0):
    return recursive(n + 1)


def dies(code=3):
    os._exit(code)


def returns_unencodable():
    return {"rows": [1, {"handle": object()}]}


def returns_too_deep():
    value = []
    for _ in range(500):
        value = [value]
    return value


def returns_itself():
    value = []
    value.append(value)
    return value


def returns_odd_keys():
    return {(1, 2): 3}


def reads(name, ctx):
    return ctx.get(name)


async def async_reads(name, ctx):
    return await ctx.get(name)


async def reads_many_at_once(names, ctx):
    return list(await asyncio.gather(*(ctx.get(name) for name in names)))


def catches_missing(ctx):
    from dspex._exceptions import VariableNotFound

    try:
        ctx.get("nope")
    except VariableNotFound as error:
        return str(error)


def catches_missing_as_key_error(ctx):
    try:
        ctx.get("nope")
    except KeyError as error:
        return [type(error).__name__, ctx.get("nope", "a default")]


def uses_all(ctx):
    v = Named("x")
    info = ctx.info(v)
    return {
        "id": ctx.id,
        "set": ctx.set(v, 2.0, metadata={"why": "test"}),
        "update": ctx.update("x", lambda value: value * 4),
        "add": ctx.add("x", 1.5),
        "append": ctx.append("rows", 3),
        "merge": ctx.merge("table", {"b": 2}),
        "get_many": ctx.get_many([v, "rows", "nope"]),
        "set_many": ctx.set_many({v: 1.0}),
        "define": ctx.define("fresh", float, 0.5, min=0.0),
        "delete": ctx.delete("fresh"),
        "exists": [ctx.exists("x"), ctx.exists("fresh")],
        "info": [info.name, info.version, info.metadata],
        "list": [variable.name for variable in ctx.list()],
    }


async def async_uses_all(ctx):
    v = Named("x")
    info = await ctx.info(v)
    return {
        "id": ctx.id,
        "set": await ctx.set(v, 2.0, metadata={"why": "test"}),
        "update": await ctx.update("x", lambda value: value * 4),
        "add": await ctx.add("x", 1.5),
        "append": await ctx.append("rows", 3),
        "merge": await ctx.merge("table", {"b": 2}),
        "get_many": await ctx.get_many([v, "rows", "nope"]),
        "set_many": await ctx.set_many({v: 1.0}),
        "define": await ctx.define("fresh", float, 0.5, min=0.0),
        "delete": await ctx.delete("fresh"),
        "exists": [await ctx.exists("x"), await ctx.exists("fresh")],
        "info": [info.name, info.version, info.metadata],
        "list": [variable.name for variable in await ctx.list()],
    }


def sets(value, ctx):
    return ctx.set("x", value)


async def async_sets_two(ctx):
    """One of two operations of the same tick can't be encoded."""
    results = await asyncio.gather(ctx.set("x", object()), ctx.set("x", 5), return_exceptions=True)
    return [str(result) for result in results]


def adds_oddly(ctx):
    return ctx.add("x", "one")


def reads_forever(ctx):
    while True:
        ctx.get("x")


def notices_cancel(ctx):
    """Busy until told by the variable, then uses ctx and tells what it got."""
    try:
        while True:
            ctx.get("x")
    except RuntimeError as error:
        return [type(error).__name__, str(error), error.applied]


async def waits_forever():
    await asyncio.Event().wait()


async def cleans_up(ctx):
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await ctx.set("x", "cleaned up")
        raise


def busy():
    while True:
        pass


def holds_the_interpreter():
    pow(3, 3**16 * 1000)


def starts_a_child(seconds="1000"):
    return subprocess.Popen(["sleep", seconds]).pid


def starts_a_child_and_is_busy(ctx):
    ctx.set("x", subprocess.Popen(["sleep", "1000"]).pid)
    busy()


def starts_a_child_and_holds_the_interpreter(ctx):
    ctx.set("x", subprocess.Popen(["sleep", "1000"]).pid)
    holds_the_interpreter()


kept = []


def leaves_a_thread(ctx):
    """Its thread goes on using ctx after the return; what it got is asked for by `left_behind`."""
    go = threading.Event()

    def later():
        go.wait()
        try:
            kept.append(ctx.get("x"))
        except Exception as error:
            kept.append([type(error).__name__, str(error)])

    worker = threading.Thread(target=later)
    worker.start()
    kept[:] = [go, worker]
    return "left"


def left_behind():
    go, worker = kept[:2]
    go.set()
    worker.join()
    return kept[2]


def leaves_a_waiting_thread(ctx):
    """Its thread waits for an answer when it returns."""
    asking = threading.Event()

    def wait():
        asking.set()
        try:
            kept.append(ctx.get("slow"))
        except Exception as error:
            kept.append([type(error).__name__, str(error)])

    worker = threading.Thread(target=wait)
    kept[:] = [asking, worker]
    worker.start()
    asking.wait()
    while not ctx._call._reading.locked():
        time.sleep(0)
    return "left"


def uses_threads(ctx, names):
    """Many threads share one ctx."""
    found = {}

    def read(name):
        found[name] = [ctx.get(name) for _ in range(20)]

    threads = [threading.Thread(target=read, args=[name]) for name in names]
    for worker in threads:
        worker.start()
    for worker in threads:
        worker.join()
    return {name: values[0] for name, values in found.items() if all(value == values[0] for value in values)}


async def uses_ctx_off_the_loop(ctx):
    def elsewhere():
        try:
            ctx.get("x").send(None)
        except Exception as error:
            return type(error).__name__

    return await asyncio.get_running_loop().run_in_executor(None, elsewhere)


def forks(ctx):
    """A fork that uses ctx gets an error and harms nobody."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            told = repr(ctx.get("x"))
        except Exception as error:
            told = type(error).__name__
        os.write(writing, told.encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writing)
    told = os.read(reading, 1000).decode()
    os.close(reading)
    return [told, ctx.get("x")]


def open_descriptors_of_a_child():
    code = "import os; print(*[f for f in map(int, os.listdir('/proc/self/fd')) if f > 2 and os.path.exists(f'/proc/self/fd/{f}')])"
    return subprocess.run([sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE, check=False).stdout.decode().split()


def signal_dispositions_of_a_child():
    code = "import _signal as s; print(s.getsignal(s.SIGINT) is s.default_int_handler, s.getsignal(s.SIGTERM) == s.SIG_DFL)"
    return subprocess.run([sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE, check=False).stdout.decode().split()


def current_context():
    """A helper, however deep, finds the running call."""
    current = sys.modules["_dspex_child.worker.child.call"].current
    return current.get().id


leaking = contextvars.ContextVar("leaking", default="clean")


def leaks_a_context_variable():
    before = leaking.get()
    leaking.set("dirty")
    return before


def where_am_i():
    return {
        "cwd": os.getcwd(),
        "path": sys.path,
        "main": sys.modules["__main__"].__file__,
        "dspex": sorted(name for name in sys.modules if name.split(".")[0] == "dspex"),
        "argv": sys.argv,
        "pgid": os.getpgrp(),
        "ignored": os.environ.get("IGNORED"),
    }


def prints_and_dies():
    print("to stdout")
    print("to stderr", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGKILL)


def kind_of(value):
    return [type(value).__module__, type(value).__qualname__, repr(value)]


def waits_for_an_answer(ctx):
    return ctx.get("never answered")


def updates(name, ctx):
    return ctx.update(name, lambda value: value * 2)


def sets_unencodable(ctx):
    ctx.set("x", {"rows": [1, object()]})


def terminates_a_fork():
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, b"!")
        while True:
            signal.pause()
    os.read(reading, 1)
    os.kill(pid, signal.SIGTERM)
    return os.WTERMSIG(os.waitpid(pid, 0)[1])


async def async_current_context():
    return current_context()


async def async_current_context_later(ctx):
    await ctx.get("x")
    return current_context()


def catches_cancel_and_returns(ctx):
    try:
        while True:
            ctx.get("x")
    except RuntimeError:
        return "returned anyway"


async def ignores_cancel():
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "returned anyway"


async def cancels_itself():
    raise asyncio.CancelledError


async def leaves_a_task(ctx):
    async def later():
        await asyncio.sleep(0)
        try:
            kept.append(await ctx.get("x"))
        except Exception as error:
            kept.append([type(error).__name__, str(error)])

    kept[:] = [asyncio.ensure_future(later())]
    return "left"


async def task_left_behind():
    await kept[0]
    return kept[1]


def starts_two_generations(ctx):
    """A child that has a child of its own, both tell their ids."""
    code = "import subprocess, os, time; p = subprocess.Popen(['sleep', '1000']); print(os.getpid(), p.pid, flush=True); time.sleep(1000)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    return list(map(int, child.stdout.readline().split()))


def forks_and_stays():
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    return pid


def _told(path, error):
    with open(path + ".new", "w") as file:
        file.write(type(error).__name__)
    os.rename(path + ".new", path)


def tells_a_file_how_it_ended(path, ctx):
    try:
        while True:
            ctx.get("x")
    except BaseException as error:
        _told(path, error)
        raise


async def async_tells_a_file_how_it_ended(path, ctx):
    try:
        await ctx.get("x")
    except BaseException as error:
        _told(path, error)
        raise


def waits_for_file(path):
    for _ in range(2000):
        if os.path.exists(path):
            with open(path) as file:
                return file.read()
        time.sleep(0.005)
    return None


def calls(ctx, program, inputs=None, timeout=None):
    return ctx.call(program, inputs, timeout=timeout)


async def async_calls(ctx, program, inputs=None, timeout=None):
    return await ctx.call(program, inputs, timeout=timeout)


def calls_in_a_thread_and_reads(ctx):
    """It waits for a program in one thread and reads in another."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(ctx.call("other")))
    thread.start()
    while not ctx._call._reading.locked():
        time.sleep(0)

    answers.append(ctx.get("x"))
    thread.join()
    return answers


async def gives_up_a_call(ctx):
    """It asks for a program and cancels that, once before it was sent and once after."""
    import asyncio

    for rounds in (1, 2):
        task = asyncio.ensure_future(ctx.call("other", {"rounds": rounds}))
        for _ in range(rounds):
            await asyncio.sleep(0)

        if rounds == 2:
            await ctx.get("x")

        task.cancel()
        await asyncio.wait([task])

    return await ctx.get("x")
