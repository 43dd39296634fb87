"""Programs that make trouble, for the tests of workers. Standard library only, and the syntax of 3.9."""

import dataclasses
import os
import threading


@dataclasses.dataclass
class Trap:
    """A record that can't be read without the worst happening."""

    x: int = 0
    worst: type = SystemExit

    def __getattribute__(self, name):
        raise KeyboardInterrupt if name == "x" else SystemExit


def trap():
    return Trap()


async def trap_async():
    return Trap()


class Mute(Exception):
    def __str__(self):
        raise KeyboardInterrupt


def mute():
    raise Mute


async def mute_async():
    raise Mute


def close_stream(fd):
    os.close(fd)
    return fd


def close_sys_streams():
    import sys

    sys.stdout.close()
    sys.stderr = None


def say(text, ctx):
    """Prints to a descriptor that may be closed, and asks for a variable."""
    try:
        print(text, flush=True)
    except OSError:
        pass

    return ctx.get("x")


def allow_files(count):
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def meet(ctx, v):
    return ctx.get(v)


def forks(ctx):
    """The child returns from the program as if it were the parent; the parent waits for it."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)

    ctx.get("x")
    return os.getpid()


def storm(ctx):
    for _ in range(20):
        ctx.add("count", 1)


async def storm_async(ctx):
    for _ in range(20):
        await ctx.add("count", 1)


def use_later(ctx):
    """Leaves a thread behind that uses *ctx* until it is refused, and tells nothing of it."""
    told.clear()
    threading.Thread(target=_use_on, args=(ctx,), daemon=True).start()


def how_it_went():
    ended.wait(20)
    return told


told = []
ended = threading.Event()


def _use_on(ctx):
    try:
        while True:
            ctx.get("x")
    except Exception as error:
        told.append([type(error).__name__, str(error)])
        ended.set()


def secret_record(ctx):
    return repr(ctx.info("password")) + repr(ctx.list())
