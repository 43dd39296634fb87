"""
One worker: its process, its control connection, its channels, and the calls that are in it.

It ends exactly once, whatever the cause; everyone who was in it is told how, and whoever runs it collects why.
"""

from __future__ import annotations

import enum
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import anyio

from ..._exceptions import DspexError, RemoteProtocolError, StartFailed
from ..._version import __version__
from ...supervision import current_path
from ...wire import PROTOCOL, Call, Close, Drain, Hello, Log, codec
from .channel import Channel, Ended
from .channels import Channels
from .conversation import LoopChannel, LoopTalk, ThreadChannel, ThreadTalk
from .journal import relay
from .process import WorkerProcess
from .restarts import Ending

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from .chronicle import Chronicle
    from .launch import Launch
    from .port import Port

_logger = logging.getLogger(__name__)

# Seconds. A worker says hello after some 20 ms; one that hasn't by then runs something that isn't a worker.
START_TIMEOUT: Final = 30.0
# Seconds between an end of the connection and the end of the process that is behind most of them.
_DEATH_GRACE: Final = 1.0
# Seconds that a worker without calls has to leave by itself, then those it has after SIGTERM.
CLOSE_GRACE: Final = 1.0


class NotTaken(Exception):
    """The worker was gone before it had begun with the call: another may have it."""


CouldNotImport = Callable[[str, str], None]


class Standing(enum.Enum):
    """Where in its life a worker is."""

    STARTING = "starting"
    READY = "ready"
    RETIRING = "retiring"
    LEAVING = "leaving"
    GONE = "gone"


class Worker:
    """
    A worker process and what is known of it.

    Attributes:
        standing: only a ready one is given calls; a retiring one leaves after its last.
        running: calls that hold a place in it, now.
        lingering: those of them whose callers have left, and whose programs go on.
        taken: calls it was given, ever.
        known: the keys of the programs it has confirmed to have built.
        ended: set once the process has ended and was reaped.
        ready_at: when it had imported what it is to import, on the loop's clock. No program begins before.
        settled: set then, or once it has ended.
        greeted: whether it has said hello.
        problem: what it was ended for, or said that it ended for, in words; empty if nobody knows.
        cut_short: whether it had to be killed when it was no longer needed.

    """

    def __init__(self, launch: Launch, chronicle: Chronicle, *, changed: Callable[[], None], could_not_import: CouldNotImport) -> None:
        self.process: WorkerProcess = WorkerProcess(launch)
        self.standing: Standing = Standing.STARTING
        self.running: int = 0
        self.lingering: int = 0
        self.taken: int = 0
        self.known: set[str] = set()
        self.ended: anyio.Event = anyio.Event()
        self.ready_at: float | None = None
        self.settled: anyio.Event = anyio.Event()
        self._path = f"worker {self.process.pid}"
        self._launch = launch
        self._chronicle = chronicle
        self._changed = changed
        self._could_not_import = could_not_import
        self._ending = Ending.DIED
        self.greeted: bool = False
        self.problem: str = ""
        self.cut_short: bool = False
        self._talks: set[ThreadTalk | LoopTalk] = set()
        self._tasks: TaskGroup | None = None
        self.control: Channel = Channel(self.process.control, "control", spawn=self._spawn)
        self._channels = Channels(self.control, spawn=self._spawn)

    def __repr__(self) -> str:
        return f"<Worker {self.process.pid} [{self.standing.value} | calls: {self.running} now, {self.taken} ever]>"

    @property
    def runs(self) -> bool:
        """Whether its process has not been seen to end."""
        return self.standing is not Standing.GONE

    @property
    def serves(self) -> bool:
        """Whether it takes calls and begins with them at once."""
        return self.standing is Standing.READY and self.ready_at is not None

    @property
    def load(self) -> tuple[bool, int]:
        """What makes another worker the better one, most important first."""
        return self.lingering > 0, self.running

    # --- its life ------------------------------------------------------------------------------------------------------------

    async def run(self) -> Ending:
        """
        Sees the process through to its end and says why it ended. However this is left, the process is gone and nothing is open.

        Raises:
            StartFailed: it ended, or was ended, before it was ready, and nobody had asked for that.

        """
        # Calls come from anywhere, and what they make it do is done here.
        self._path = current_path() or self._path
        try:
            async with anyio.create_task_group() as self._tasks:
                self._greet()
                for task in (self.process.drain_output, self._read_control, self._watch_start):
                    self._spawn(task)

                try:
                    await self.process.wait()
                except BaseException:
                    # What would read for it ends now: nothing more may begin in it.
                    self.kill()
                    raise

                self._bury()
                self._tasks.cancel_scope.cancel()
        finally:
            await self._leave_nothing()

        if self.ready_at is None and (self._ending is Ending.DIED or self.problem):
            raise StartFailed(self._launch.name, problem=self.problem or self._why_not_started())

        return self._ending

    def _greet(self) -> None:
        python = list(sys.version_info[:3])
        hello = Hello(PROTOCOL, __version__, python=python, codec=codec.name(), config=dict(self._launch.config))
        self.control.connection.send(0, hello)
        self.control.flush()

    async def _watch_start(self) -> None:
        await anyio.sleep(START_TIMEOUT)
        if self.standing is Standing.STARTING:
            self.problem = f"it said nothing for {START_TIMEOUT:g} s. Is {self._launch.interpreter!r} a Python interpreter?"
            self.kill()

    async def _leave_nothing(self) -> None:
        with anyio.CancelScope(shield=True):
            self.process.kill()
            await self.process.wait()

        self._bury()
        self._channels.close()
        self.control.close()
        self.process.close()

    def _bury(self) -> None:
        self._hear_the_rest()
        # Whoever reads one of its channels is woken, although a process that it started may hold the other end open.
        self.standing = Standing.GONE
        self.ended.set()
        self.settled.set()
        self.control.hang_up()
        self._channels.hang_up()
        self._changed()

    def _why_not_started(self) -> str:
        process = self.process
        words = f" Its last words:\n{process.last_words.rstrip()}" if process.last_words.strip() else " It said nothing."
        if self.greeted:
            imports = self._launch.config.get("imports")
            during = f"while it imported the modules of its pool's imports= ({', '.join(imports)})" if imports else "before it was ready"
            return f"it {process.ended} {during}.{words}"

        return f"it {process.ended} before it was ready.{self._launch.advice}{words}"

    def _spawn(self, function: Any) -> None:
        if self._tasks is not None and self.standing is not Standing.GONE:
            self._tasks.start_soon(function, name=f"{self._path} ({function.__name__.strip('_').replace('_', ' ')})")

    # --- the control connection ----------------------------------------------------------------------------------------------

    async def _read_control(self) -> None:
        try:
            while True:
                await self.control.receive()
                self._hear_all()
                self.control.flush()
        except RemoteProtocolError as error:
            self._condemn(error)
        except Ended:
            pass

        # Without its control connection a worker can't be used, and would not know when to end.
        if self.standing is not Standing.LEAVING:
            self.process.kill()

    def _hear_all(self) -> None:
        while (event := self.control.connection.next_event()) is not None:
            self._hear(event[1])

    def _hear_the_rest(self) -> None:
        """What it had said before it ended, which tells how far it had come."""
        try:
            while not self.control.broken:
                self.control.receive_nowait()
                self._hear_all()
        except (Ended, BlockingIOError):
            pass
        except RemoteProtocolError as error:
            self._condemn(error)

    def _condemn(self, error: RemoteProtocolError) -> None:
        # What it said before it had read our goodbye is no offence.
        if self.standing not in {Standing.LEAVING, Standing.GONE}:
            self.problem = str(error)
            facts = self._chronicle.facts(self)
            _logger.warning("Worker %d is killed for what came on its control connection: %s", self.process.pid, error, extra=facts)

    def _hear(self, message: object) -> None:
        if isinstance(message, Hello):
            self.greeted = True
            if self.standing is Standing.STARTING:
                self.standing = Standing.READY

            self._changed()
        elif isinstance(message, Log):
            if not self._has_imported(message):
                relay(message, pid=self.process.pid)
        elif isinstance(message, Drain):
            self._stop_giving()
        elif isinstance(message, Close):
            self.problem = self.problem or message.reason

    def _has_imported(self, message: Log) -> bool:
        """Whether this is the worker's report that it has imported what it was to import; if so, it is heard."""
        if self.ready_at is not None or (message.logger, message.text) != ("dspex.worker", "imported"):
            return False

        self.ready_at = anyio.current_time()
        self.settled.set()
        failed: Any = message.facts.get("failed")
        for module, trace in failed.items() if hasattr(failed, "items") else ():
            self._could_not_import(str(module), str(trace))

        self._changed()
        self._chronicle.ready(self)
        return True

    # --- its end, asked for --------------------------------------------------------------------------------------------------

    def retire(self) -> None:
        """Gives it no more calls and lets it end after its last."""
        if self.standing is Standing.READY:
            # One that dies of its imports has not been retired by the one call it may have been for.
            self._ending = self._ending if self.ready_at is None else Ending.RETIRED
            self._stop_giving()

    def _stop_giving(self) -> None:
        if self.standing is Standing.READY:
            self.standing = Standing.RETIRING
            self._changed()
            self._close_if_empty()

    def _close_if_empty(self) -> None:
        if self.standing is Standing.RETIRING and self.running == 0:
            self._spawn(self.close)

    async def close(self) -> None:
        """Asks it to leave, politely, then by SIGTERM, then without asking. One that isn't ready yet isn't asked."""
        if self.standing in {Standing.READY, Standing.RETIRING}:
            self.standing = Standing.LEAVING
            self._ending = Ending.RETIRED
            self._say_goodbye()
            await self._wait_for_end()
            self.process.terminate()

        if self.standing is not Standing.STARTING:
            await self._wait_for_end()

        if self.runs:
            self.cut_short = True
            self.process.kill()

    async def _wait_for_end(self) -> None:
        with anyio.move_on_after(CLOSE_GRACE):
            await self.ended.wait()

    def _say_goodbye(self) -> None:
        if self.control.usable:
            self.control.connection.send(0, Close("", "no longer needed"))
            self.control.flush()

    def cut(self, reason: str) -> None:
        """Asks every program that runs in it to end."""
        for talk in list(self._talks):
            talk.cancel(self.control, reason)

    def kill(self, ending: Ending = Ending.KILLED, *, reason: str = "") -> None:
        """Ends it now. Calls in it fail with `WorkerDied`, which tells the *reason*."""
        if self.standing is not Standing.GONE:
            self.standing = Standing.LEAVING
            self._ending = ending
            self.process.killed_for = self.process.killed_for or reason
            self.process.kill()

    # --- its calls -------------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """Takes a place for one call."""
        self.running += 1
        self.taken += 1

    def leave(self) -> None:
        """Gives the place back: the call's program has ended, or its process has."""
        self.running -= 1
        self._close_if_empty()

    def begin(self, call: Call, *, kind: str, port: Port | None) -> ThreadTalk | LoopTalk:
        """
        Sends *call* to a thread of the worker that is free, or to its event loop. `finish` must follow.

        Raises:
            Unencodable: its inputs can't cross. Nothing was sent.
            NotTaken: the worker is gone and has not seen the call.

        """
        if self.standing in {Standing.LEAVING, Standing.GONE}:
            raise NotTaken

        channel: ThreadChannel | LoopChannel = self._channels.thread() if kind == "sync" else self._channels.loop()
        try:
            talk = channel.begin(call, port)
        except BaseException:
            self._put_back(channel, reusable=True)
            raise

        if channel.broken or self.control.broken:
            self.finish(talk)
            self.kill(Ending.DIED)
            raise NotTaken

        self._talks.add(talk)
        return talk

    def finish(self, talk: ThreadTalk | LoopTalk) -> None:
        """The call has ended, or nobody waits for it any more: nothing is answered for it from here on."""
        self._talks.discard(talk)
        reusable = talk.over
        talk.abandon()
        self._put_back(talk.channel, reusable=reusable)

    def _put_back(self, channel: ThreadChannel | LoopChannel, *, reusable: bool) -> None:
        if isinstance(channel, ThreadChannel):
            self._channels.put_back(channel, reusable=reusable)

    async def explain(self, error: Exception) -> DspexError | NotTaken:
        """
        What to tell a caller whose channel ended with *error*: nearly always that the worker has died, and how.

        `NotTaken` if it has died before any program began in it.
        """
        told = error if isinstance(error, RemoteProtocolError) else None
        if told is None:
            with anyio.move_on_after(_DEATH_GRACE):
                await self.ended.wait()

        if self.ended.is_set():
            return NotTaken() if self.ready_at is None else self.process.obituary()

        # A program that closes or scribbles on its own channel has harmed nobody else, but its process is not to be trusted further.
        self.retire()
        told = told or RemoteProtocolError(f"Worker {self.process.pid} closed the channel of a call that had not ended.")
        told.applied = None
        return told
