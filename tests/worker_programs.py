"""What the tests run in workers. Standard library only, and the syntax of 3.9: other interpreters run it too."""

import os
import signal
import subprocess
import sys
import threading


def nothing():
    return None


def echo(value):
    return value


async def echo_async(value):
    return value


def pid():
    return os.getpid()


async def pid_async():
    return os.getpid()


def version():
    return list(sys.version_info[:2])


def environment(name):
    return os.environ.get(name)


def place():
    return os.getcwd()


def read(ctx, v):
    return ctx.get(v)


async def read_async(ctx, v):
    return await ctx.get(v)


def read_all(ctx, vs):
    return [ctx.get(v) for v in vs]


def write(ctx, v, value):
    return ctx.set(v, value)


async def read_many_at_once(ctx, v, n):
    import asyncio

    return await asyncio.gather(*(ctx.get(v) for _ in range(n)))


def meet(ctx, v):
    """Says that it runs, by asking for *v*, and goes on once it is answered."""
    ctx.get(v)
    return os.getpid()


async def meet_async(ctx, v):
    await ctx.get(v)
    return os.getpid()


def fail(text):
    raise ValueError(text)


def die(signal_name):
    os.kill(os.getpid(), getattr(signal, signal_name))
    threading.Event().wait()


async def die_async(signal_name):
    die(signal_name)


def leave(code):
    os._exit(code)


def say_and_die(text, lines):
    for _ in range(lines):
        print(text)
    print("and this is the end", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGKILL)


def print_a_lot(lines):
    for _ in range(lines):
        print("x" * 200)
    return lines


def never_end(ctx, v):
    """Says that it runs, by asking for *v*, and ignores whatever comes of it."""
    try:
        ctx.get(v)
    except Exception:
        pass

    threading.Event().wait()


async def never_end_async(ctx, v):
    import asyncio

    asking = ctx.get(v)
    while True:
        try:
            await asking
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            asking = asyncio.sleep(0)


def _sockets(control):
    """The descriptor of the control connection, or those of all other sockets."""
    with open("/proc/self/cmdline") as arguments:
        inherited = int(arguments.read().split("\0")[-3])

    found = []
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith("socket:") and (fd == inherited) == control:
                found.append(fd)
        except OSError:
            pass

    return found


def scribble(data, control=False):
    for fd in _sockets(control):
        os.write(fd, data)

    threading.Event().wait()


def hang_up(ctx, v):
    """Shuts every socket but the control connection."""
    import socket

    ctx.get(v)
    for fd in _sockets(False):
        socket.socket(fileno=os.dup(fd)).shutdown(socket.SHUT_RDWR)

    threading.Event().wait()


def with_grandchild(ctx, v):
    """Starts a process that outlives its parent, and tells its id by setting *v*."""
    child = subprocess.Popen([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(3600)"], stdout=subprocess.PIPE)
    child.stdout.readline()
    ctx.set(v, child.pid)
    threading.Event().wait()


def sleep_on(ctx, v):
    """Says that it runs, by setting *v*, and looks at nothing any more."""
    ctx.set(v, os.getpid())
    threading.Event().wait()


def has_loaded(name):
    return name in sys.modules


def warn(text, configured=False):
    import logging

    if configured:
        logging.getLogger().addHandler(logging.NullHandler())

    logging.getLogger("app.ocr").info("not this")
    logging.getLogger("app.ocr").warning("%s", text)


def grow(size):
    global _grown
    _grown = bytearray(size)
    return len(_grown)


class Unknown:
    pass


def unencodable():
    return Unknown()


def calls(ctx, named, inputs=None):
    return ctx.call(named, inputs)


async def calls_async(ctx, named, inputs=None):
    return await ctx.call(named, inputs)


async def calls_many_async(ctx, n):
    import asyncio

    answers = await asyncio.gather(*[ctx.call("other", {"n": i}) for i in range(n)], return_exceptions=True)
    return [str(answer) if isinstance(answer, Exception) else answer for answer in answers]


def calls_by_hand(ctx, operations):
    """Asks *operations* as they are, past all that is checked here; then reads x."""
    from _dspex_child.wire import Op

    ctx._call._link.send(ctx._call.stream, Op(operations))
    return ctx.get("x")
