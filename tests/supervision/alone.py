"""
Scenes that play in a process of their own, where signals and exit codes are the real ones: ``python alone.py SCENE LOOP``.

`tell` plays one and gives its story.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import anyio

ROOT = Path(__file__).parents[2]
LOOPS = {
    "asyncio": {"backend": "asyncio"},
    "uvloop": {"backend": "asyncio", "backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}


class Story(NamedTuple):
    events: list[str]
    code: int
    last_words: str


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}", "PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"}


def tell(scene: str, loop: str, *signals: str) -> Story:
    """Plays *scene* on *loop*, sends it the *signals*, each when it says that it is ready for one, and waits for its end."""
    command = [sys.executable, __file__, scene, loop]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    events: list[str] = []
    with subprocess.Popen(command, env=environment(), text=True, start_new_session=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            for line in process.stdout:
                events.append(line.strip())
                if events[-1].startswith("ready") and signals:
                    first, *signals = signals  # type: ignore[assignment]
                    process.send_signal(getattr(signal, first))

            last_words = process.stderr.read().strip()
            return Story(events, process.wait(30), last_words)
        finally:
            process.kill()


# --- the other side -------------------------------------------------------------------------------------------------------------------


def say(words: str) -> None:
    print(words, flush=True)


def child(id: str, *, ends: Callable[[], Awaitable[None]] = anyio.sleep_forever, lingers: float = 0.0, **options: Any) -> Any:
    from dspex import ChildSpec

    async def start() -> None:
        say(f"{id} up")
        try:
            await ends()
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await anyio.sleep(lingers)

            say(f"{id} down")
            raise

    return ChildSpec(id, start, **options)


async def exits() -> None:
    await anyio.sleep(0.01)
    say("b exits")
    raise SystemExit(3)


async def crashes() -> None:
    await anyio.sleep(0.01)
    raise OSError("no disk")


async def returns() -> None:
    await anyio.sleep(0.01)
    say("b returns")


async def refuses() -> None:
    try:
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class():
        say("ready for another")
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.3)

        raise


async def patient(bell: anyio.Event) -> None:
    await bell.wait()
    say("ready for another")
    await anyio.sleep(3600)


def ready() -> Any:
    """The last child: up when all others are."""

    async def tells() -> None:
        say("ready")
        await anyio.sleep_forever()

    return child("last", ends=tells)


class Scenes:
    @staticmethod
    async def block() -> None:
        from dspex import Supervisor

        async with Supervisor([child("a"), child("b"), child("c")]):
            say("ready")
            await anyio.sleep_forever()

    @staticmethod
    async def takes_its_time() -> None:
        from dspex import Supervisor

        async with Supervisor([child("a"), child("b", ends=refuses)]):
            say("ready")
            await anyio.sleep_forever()

    @staticmethod
    async def exits() -> None:
        from dspex import Supervisor

        async with Supervisor([child("a"), child("b", ends=exits), child("c")]):
            await anyio.sleep_forever()

    @staticmethod
    async def left_behind() -> None:
        from dspex import Supervisor

        await Supervisor.start([child("a"), child("b"), child("c")])
        say("ready")

    @staticmethod
    async def serve() -> None:
        from dspex import Supervisor, serve

        inner = Supervisor.child_spec("inner", [child("b"), child("c")])
        await serve([child("a"), inner, child("d"), ready()], name="app")
        say("the end")

    @staticmethod
    async def serve_signalled_while_starting() -> None:
        from dspex import serve

        async def slow(*, task_status: Any) -> None:
            try:
                say("ready")
                await anyio.sleep_forever()
            finally:
                say("slow gives up")

        from dspex import ChildSpec

        await serve([child("a"), ChildSpec("slow", slow), child("z")], name="app")
        say("the end")

    @staticmethod
    async def serve_and_crash() -> None:
        from dspex import serve

        await serve([child("a"), child("b", ends=crashes)], max_restarts=0, name="app")

    @staticmethod
    async def serve_what_does_not_start() -> None:
        from dspex import ChildSpec, serve

        async def broken(*, task_status: Any) -> None:
            raise OSError("no disk")

        await serve([child("a"), ChildSpec("b", broken)], name="app")

    @staticmethod
    async def serve_workers() -> None:
        from dspex import Bridge, Context, serve

        async def knock() -> None:
            import dspex

            say(f"worker {await dspex.whereis('chat').call('pid')}")
            say("ready")
            await anyio.sleep_forever()

        pid = {"requires_bridge": True, "program": "worker_programs:pid"}
        chat = Context.child_spec("chat", bridge="bridge", programs={"pid": pid})
        await serve([Bridge.child_spec("bridge"), chat, child("knock", ends=knock)])
        say("the end")

    @staticmethod
    async def serve_until_done() -> None:
        from dspex import serve

        children = [child("a"), child("b", ends=returns, restart="temporary", significant=True)]
        await serve(children, auto_shutdown="any_significant")
        say("the end")

    @staticmethod
    async def serve_the_patient() -> None:
        from dspex import serve

        bell = anyio.Event()
        asked = child("b", ends=lambda: patient(bell), stop=lambda final: bell.set(), shutdown=3600.0)
        await serve([child("a"), asked, ready()])
        say("the end")

    @staticmethod
    async def serve_the_patient_below() -> None:
        from dspex import Supervisor, serve

        bell = anyio.Event()
        asked = child("b", ends=lambda: patient(bell), stop=lambda final: bell.set(), shutdown=3600.0)
        await serve([child("a"), Supervisor.child_spec("inner", [asked]), ready()])
        say("the end")


if __name__ == "__main__":
    anyio.run(getattr(Scenes, sys.argv[1]), **LOOPS[sys.argv[2]])  # type: ignore[arg-type]
