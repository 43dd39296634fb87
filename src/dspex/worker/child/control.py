"""
A worker's main thread: the greeting, then the control connection until its end.

It opens channels, passes on cancellations, and is the one who notices that the host is gone. Programs never run here.
"""

from __future__ import annotations

import os
import sys
import time

from ...wire import Cancel, Channel, Close, Drain, Hello, Log
from .link import ControlLink, Garbage, Gone
from .orphans import guard, kill_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Any, Callable, Dict, List, NoReturn, Optional, Type, Union

    from .loop import LoopChannel
    from .slot import Slot
    from .warming import Warming
else:
    import _signal  # see orphans.py

EXIT_PROTOCOL = 70
"""The exit code after garbage on the control connection (``EX_SOFTWARE``)."""

EXIT_FULL = 71
"""The exit code when the system has no room for another channel (``EX_OSERR``)."""

EXIT_TERMINATED = 143
"""The exit code after a second SIGTERM, or one before the greeting: what shells report for it."""


def run(control: int, lifeline: Optional[int]) -> NoReturn:
    """Serve the host on the descriptor *control* until it closes it. Ends the process."""
    guard(lifeline)
    link = ControlLink(control)
    _heed_signals(link)
    try:
        code = _serve(link)
    except Garbage:
        code = EXIT_PROTOCOL
    except Gone:
        kill_group()
        code = EXIT_PROTOCOL
    except OSError as error:
        say(f"The worker can't open another channel: {error}\n")
        code = EXIT_FULL

    leave(code)


def say(text: str) -> None:
    """Write last words, past whatever a program has made of ``sys.stderr``."""
    try:
        os.write(2, text.encode())
    except OSError:
        """Nobody can be told."""


def leave(code: int) -> NoReturn:
    """
    End the process as a normal exit would, but without waiting for threads.

    Finalizing the interpreter under running program threads can abort it, and the host has asked us to end.
    """
    import atexit

    _try(atexit._run_exitfuncs)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            _try(stream.flush)

    os._exit(code)


def _try(last: Callable[[], object]) -> None:
    # The border to the user's code: it registered what runs at exit, and may have closed or replaced the streams.
    try:
        last()
    except Exception as error:
        say(f"At the worker's end: {type(error).__name__}: {error}\n")


def _heed_signals(link: ControlLink) -> None:
    """
    Ignore SIGINT, drain on SIGTERM.

    By functions, not by SIG_IGN: an ignored signal would stay ignored in every program that a program here executes. A fork without
    exec gets the default behaviour back.
    """
    worker = os.getpid()

    def terminate(*_: object) -> None:
        if os.getpid() != worker:  # a fork that was hit before `forked` ran in it
            os._exit(EXIT_TERMINATED)

        _signal.signal(_signal.SIGTERM, leave_at_once)
        link.ring()

    def leave_at_once(*_: object) -> None:
        os._exit(EXIT_TERMINATED)

    def ignore(*_: object) -> None:
        """The host decides about that."""

    def forked() -> None:
        _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
        link.close()

    _signal.signal(_signal.SIGTERM, terminate)
    _signal.signal(_signal.SIGINT, ignore)
    os.register_at_fork(after_in_child=forked)


def _serve(link: ControlLink) -> int:
    try:
        hello = _greeting(link)
    except StartRefused as error:
        link.send(0, Close("start_failed", str(error)))
        return EXIT_PROTOCOL

    return Control(link, hello.config).serve()


def _greeting(link: ControlLink) -> Any:
    """Read the host's hello, settle down where it says, and answer. Raises `StartRefused` if we can't."""
    event = link.read()
    if event is None:
        os._exit(EXIT_TERMINATED)

    hello = event[1]
    _settle(hello.config)
    about = {
        "pid": os.getpid(),
        "python": ".".join(map(str, sys.version_info[:3])),
        "implementation": sys.implementation.name,
        "ready_ns": time.monotonic_ns(),
    }
    link.send(0, Hello(hello.protocol, hello.version, python=list(sys.version_info[:3]), codec="pure", config=about))
    return hello


class StartRefused(Exception):
    """The host's configuration can't be followed."""


def _settle(config: Dict[str, Any]) -> None:
    path: List[str] = config.get("path") or []
    sys.path[:] = [*path, *(entry for entry in sys.path if entry not in path)]
    if config.get("cwd"):
        try:
            os.chdir(config["cwd"])
        except OSError as error:
            raise StartRefused(f"the worker can't use {config['cwd']!r} as its working directory: {error}") from error

    # Pipes are block buffered otherwise, and what a killed worker printed last would be lost.
    if sys.stdout is not None:
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


class Control:
    """The worker after the greeting: its channels by index, and the answer to each control message."""

    def __init__(self, link: ControlLink, config: Dict[str, Any]) -> None:
        # Imported in the main thread, and only now: threading remembers the thread that imports it as the main one.
        from .programs import Programs
        from .warming import Warming

        self.link = link
        self.channels: Dict[int, Union[Slot, LoopChannel]] = {}
        self.warming: Warming = Warming(config, self._tell)
        self.programs: Programs = Programs()
        self._open = True
        os.register_at_fork(after_in_child=self._forked)

    def serve(self) -> int:
        """Serve control messages until the host closes the connection politely. The exit code."""
        from .logs import relay_logs

        relay_logs(self._log)
        self.warming.start()
        while self._open:
            event = self.link.read()
            if event is None:
                self.link.send(0, Drain())
            else:
                HANDLERS[type(event[1])](self, event[1])

        return 0

    def _tell(self, level: int, text: str, facts: Dict[str, Any]) -> None:
        self.link.send(0, Log(level, "dspex.worker", text, facts))

    def _log(self, level: int, logger: str, text: str, facts: Dict[str, Any]) -> None:
        # Under our own name only the worker itself speaks: the host acts on what that says.
        self.link.send(0, Log(level, logger if logger != "dspex.worker" else "root", text, facts))

    def _open_channel(self, message: Any) -> None:
        self.channels = {index: channel for index, channel in self.channels.items() if not channel.closed}
        if not self.link.descriptors:
            raise OSError("it has as many open files as it may. Close those that programs leave open, or raise the limit (ulimit -n).")

        opened = CHANNELS[message.kind](self.link.descriptors.popleft(), self)
        self.channels[message.index] = opened
        opened.start(f"dspex-{message.kind}-{message.index}")

    def _cancel(self, message: Any) -> None:
        channel = self.channels.get(message.channel)
        if channel is not None:
            channel.cancel(message.stream, message.reason)

    def _close(self, _message: Any) -> None:
        self._open = False

    def _ignore(self, _message: Any) -> None:
        """The host drains by sending us nothing more: there is nothing to do."""

    def _forked(self) -> None:
        for channel in self.channels.values():
            channel.abandon()


def _slot(fd: int, control: Control) -> Slot:
    from .slot import Slot

    return Slot(fd, control.programs, control.warming)


def _loop(fd: int, control: Control) -> LoopChannel:
    from .loop import LoopChannel

    return LoopChannel(fd, control.programs, control.warming)


CHANNELS: Dict[str, Callable[[int, Control], Union[Slot, LoopChannel]]] = {"thread": _slot, "loop": _loop}

HANDLERS: Dict[Type[Any], Callable[[Control, Any], None]] = {
    Channel: Control._open_channel,
    Cancel: Control._cancel,
    Close: Control._close,
    Drain: Control._ignore,
}
