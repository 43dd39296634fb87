"""
`Context`: the handle a user holds, one for ever.

It joins the parts: the variables with their entry, the programs, the life that runs the owner, and the switch. What a part does is in the
part's own file.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType, MethodType, TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

from .._exceptions import CallCycle, ContextClosed
from ..state import backend_from
from ..variables import Snapshot, Var
from ._inside import NAMES, Inside, Options
from ._life import Life
from ._options import ContextOptions
from ._seed_names import SeedNames
from ._status import BackendInfo, CloseReason, ContextStatistics, Status
from ._switch import Progress
from ._variables import Variables

if TYPE_CHECKING:
    from ..bridge import Bridge
    from ..programs import Bound

_numbers = itertools.count(1)
_NO_PROGRAMS: Mapping[str, Bound] = MappingProxyType({})

Init = Callable[["Context"], Any]


def whereis(name: str) -> Context:
    """
    The live context called *name* in this event loop run.

    Raises:
        NameNotFound: there is none, or it is still starting.

    """
    return NAMES.whereis(name)


if TYPE_CHECKING:
    _starting = classmethod
else:

    class _starting:  # noqa: N801 - a decorator
        """A class method that, asked of a context rather than of the class, starts that context."""

        def __init__(self, function):
            self._function = function
            self.__doc__ = function.__doc__

        def __get__(self, context, cls):
            return MethodType(self._function, cls) if context is None else context._inside.start


class Context(SeedNames):
    """
    One task that owns named, typed variables and the programs that use them.

    It starts on a local backend, inside this process. When a program joins that must run outside of it, the context moves its whole state
    to a bridged backend that worker processes share, in one awaited switch. The caller's code doesn't change.

    ``async with Context() as ctx: ...`` is the structured form. `start` and `stop` may be called from any task.

    Args:
        name: for `whereis`, unique in this event loop run.
        variables: defined at the start, unless they are there already.
        programs: registered at the start, by id. Those that need the bridge make the context switch before it is up.
        init: a function of the context, plain or async, called at the end of the start.
        backend: ``"local"``, ``"bridged"``, or a backend of your own: a class or an object with the methods of `dspex.abc`.
        bridge: a shared, open `Bridge`; without one the context opens a private one when it first needs it.
        session_id: the key of its session, kept when it stops; generated if not given, and then dropped with it.
        ttl: seconds without any use after which it expires, within a quarter more. None: never.
        existing_state: variables to begin with, exactly as they were.
        mailbox_size: requests that may wait for the owner before callers wait for room.
        max_container: the largest container that is taken, in encoded bytes.

    Raises:
        InvalidBackend: *backend* doesn't fulfil the contract; names everything that is missing.

    """

    __slots__ = ("_inside", "id", "name", "ttl", "variables")

    def __init__(  # noqa: PLR0913 - a context is one call, its options keywords
        self,
        *,
        name: str | None = None,
        variables: Iterable[Var[Any]] = (),
        programs: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        init: Init | None = None,
        backend: Any = "local",
        bridge: Bridge | None = None,
        session_id: str | None = None,
        ttl: float | None = None,
        existing_state: Snapshot | None = None,
        mailbox_size: int = 1024,
        max_container: int = 16 << 20,
    ) -> None:
        _check_options(
            name=name,
            session_id=session_id,
            ttl=ttl,
            sizes={"mailbox_size": mailbox_size, "max_container": max_container},
            existing_state=existing_state,
            bridge=bridge,
            variables=variables,
            programs=programs,
            init=init,
        )
        pairs = cast("Mapping[str, Any]", programs).items() if isinstance(programs, Mapping) else programs
        options = Options(
            spec=backend_from(backend),
            bridge=bridge,
            given_id=session_id is not None,
            existing=existing_state,
            variables=tuple(variables),
            programs=tuple(pairs),
            init=init,
        )
        self.id: str = session_id or f"ctx_{next(_numbers)}_{os.urandom(4).hex()}"
        self.name: str | None = name
        self.ttl: float | None = ttl
        self.variables: Variables = Variables(self.id, mailbox_size=mailbox_size, max_container=max_container)
        self.variables.ttl = ttl or 0.0
        self._inside = Inside(self, options)

    def __repr__(self) -> str:
        label = f"{self.name!r} " if self.name else ""
        return f"<Context {label}{self.id} [{self.status} | {self._inside.kind} | operations: {self.variables.operations}]>"

    # --- what it tells -----------------------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """Where it is in its life."""
        return self.variables.status

    @property
    def backend(self) -> BackendInfo:
        """What is known of the backend that serves now."""
        return self._inside.backend_info()

    @property
    def resumed(self) -> bool:
        """Whether its session was found in the store."""
        return self._inside.resumed

    @property
    def programs(self) -> Mapping[str, Bound]:
        """The registered programs, by id."""
        programs = self._inside.programs
        return programs.view if programs is not None else _NO_PROGRAMS

    def statistics(self) -> ContextStatistics:
        """Counts, read from plain integers."""
        entry = self.variables
        return ContextStatistics(
            operations=entry.operations,
            queued=entry.queued,
            pending=len(entry.mailbox.ledger),
            mailbox_size=entry.mailbox.size,
            calls=len(self._inside.calls or ()),
            watches=len(entry.hub) if entry.hub is not None else 0,
            switches=self._inside.switches,
        )

    # --- its life ----------------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self.status is not Status.NEW:
            raise ContextClosed(self.id, status=self.status.value, hint="A context is started once: make a new one.")

        self._inside.life = life = Life(self._inside)
        await life.begin()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        assert self._inside.life is not None
        await self._inside.life.end(kind, error, traceback)

    @_starting
    async def start(cls, **options: Unpack[ContextOptions]) -> Self:  # noqa: N805 - a class method, to type checkers too
        """
        Makes a context and starts it beside the caller; `stop` ends it. Options as for the class. On a context, ``await ctx.start()``
        starts that one.

        For the REPL and for fixtures: both may be called from any task. In code that has a block to hold it, use ``async with``.
        """
        context = cls(**options)
        await context._inside.start()
        return context

    async def stop(self) -> None:
        """
        Stops it, in order: newcomers are refused, calls in flight have time to end and may still use it, then are cancelled; the mailbox is
        served; watches end; the backend closes, then a bridge of its own. Idempotent: all callers wait for the one end.

        Raises:
            CallCycle: called by one of its own programs, which it would wait for.

        """
        inside = self._inside
        if inside.life is not None and inside.close_reason is None:
            self.variables.on_thread()

        if inside.calls is not None and (chain := inside.calls.own_chain()):
            raise CallCycle(chain=[*chain, "stop()"], problem=f"Context {self.id!r} can't be stopped by a program of its own.")

        if inside.life is None:
            if self.status is Status.NEW:
                self.variables.finish(Status.CLOSED)

            return

        if inside.host is not None:
            inside.host.release()
            inside.life.turn_back()
            await inside.host.closed.wait()
        else:
            await inside.life.stop()

    async def wait_closed(self) -> CloseReason:
        """Waits until it has ended, and tells how."""
        if self._inside.life is not None and self._inside.close_reason is None:
            self.variables.on_thread()
            await self._inside.life.closed.wait()

        return self._inside.close_reason or CloseReason(self.status)

    # --- the bridge --------------------------------------------------------------------------------------------------------------

    async def ensure_bridged(self, *, timeout: float | None = None, on_progress: Progress | None = None) -> None:
        """
        Switches to a bridged backend, unless the one that serves needs a bridge already. Idempotent.

        Args:
            timeout: seconds until the switch is given up, if it hasn't committed by then.
            on_progress: a plain function of (variables moved, variables in all or None), called now and then.

        Raises:
            NotBridgeable: names every variable whose value has no form outside this process.
            BackendSwitchError: a step failed; from its cause. The context goes on with the old backend.
            CallTimeout: *timeout* passed; the old backend goes on.

        """
        await self._inside.ensure_bridged(timeout, on_progress)

    # --- programs ----------------------------------------------------------------------------------------------------------------

    async def register_program(self, program_id: str, program: Any, *, pool: str = "default", idempotent: bool = False) -> Bound:
        """
        Registers *program* and returns it bound to this context.

        What must run outside this process makes the context switch first, and is imported in a worker before this returns. Registering an
        equal program again is fine.

        Args:
            program_id: its id in this context.
            program: a function, a class, an import path ``"module:qualname"``, a DSPy module, or a mapping with the seed's keys.
            pool: the worker pool it runs in.
            idempotent: whether it may be called again when a worker died in it.

        Raises:
            ProgramExists: a different one has this id.
            InvalidProgram: it can't be a program, or can't be brought to a worker.
            BackendSwitchError: the switch it needs failed; it is not registered, and the context goes on.
            ProgramFailed: importing it in a worker failed; with the worker's traceback.

        """
        return await self._inside.registry.register(program_id, program, pool=pool, idempotent=idempotent)

    async def unregister_program(self, program_id: str) -> None:
        """
        Forgets a program. Calls in flight go on.

        Raises:
            ProgramNotFound: none has this id.

        """
        self.variables.admit()
        self._inside.registry.unregister(program_id)

    async def call(
        self, program_id: str, inputs: Mapping[str, Any] | None = None, *, timeout: float | None = None, wait: bool = True
    ) -> Any:
        """
        Calls a registered program.

        Args:
            program_id: its id.
            inputs: its keyword arguments.
            timeout: seconds for the whole call.
            wait: False to be refused with `Overloaded` rather than to wait for a place in the pool.

        Raises:
            ProgramNotFound: none has this id.
            InvalidInputs: the inputs don't fit its signature; it was not called.
            ProgramFailed: it raised.
            WorkerDied: the worker it ran in ended.
            CallTimeout: *timeout* passed.

        """
        return await self._inside.registry.find(program_id).call(inputs or {}, timeout=timeout, wait=wait)

    # --- state as a whole --------------------------------------------------------------------------------------------------------

    async def export_state(self) -> Snapshot:
        """All variables with everything that is known of them, as of one moment."""
        found: Any = await self.variables.list()
        return Snapshot(session_id=self.id, variables=found)


_PAIRS: tuple[type[Any], ...] = (tuple, list)


def _check_options(
    *,
    name: Any,
    session_id: Any,
    ttl: Any,
    sizes: Mapping[str, Any],
    existing_state: Any,
    bridge: Any,
    variables: Any,
    programs: Any,
    init: Any,
) -> None:
    for label, text in (("name", name), ("session_id", session_id)):
        if text is not None and (not isinstance(text, str) or not text):
            raise TypeError(f"{label}: expected a non-empty str or None, got {text!r}")

    if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, (int, float)) or not 0 < ttl < float("inf")):
        raise ValueError(f"ttl: expected a positive, finite number of seconds or None, got {ttl!r}")

    for label, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{label}: expected an int of at least 1, got {size!r}")

    if existing_state is not None and not isinstance(existing_state, Snapshot):
        raise TypeError(f"existing_state: expected a Snapshot (see Snapshot.from_json) or None, got {type(existing_state).__name__}")

    if bridge is not None and not hasattr(bridge, "store"):
        raise TypeError(f"bridge: expected an open Bridge or None, got {type(bridge).__name__}")

    if init is not None and not callable(init):
        raise TypeError(f"init: expected a function of the context or None, got {init!r}")

    _check_contents(variables, programs)


def _check_contents(variables: Any, programs: Any) -> None:
    vars_asked = "variables: expected a list of Vars"
    for var in _items(variables, vars_asked):
        if not isinstance(var, Var):
            raise TypeError(f"{vars_asked}, got {var!r} in it")

    pairs_asked = "programs: expected a mapping of ids to programs, or pairs of them"
    for pair in () if isinstance(programs, Mapping) else _items(programs, pairs_asked):
        if not isinstance(pair, _PAIRS) or len(pair) != 2:
            raise TypeError(f"{pairs_asked}, got {pair!r} in it")


def _items(given: Any, asked: str) -> tuple[Any, ...]:
    """What is in *given*, where looking doesn't use it up: an iterator is read once, and not here."""
    held: Any = given
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"{asked}, got {given!r}")

    return tuple(held) if isinstance(given, Collection) else ()
