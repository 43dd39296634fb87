"""
`Contexts`: a family of contexts, each known by its key, for services that have one for each user or chat.

Who has which key is decided in `_tenancy`; `_upkeep` starts the contexts and parts with them, as `_farewell` says how; `_household` is one life of it all.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Self, Unpack

import anyio
from attrs import frozen

from .._exceptions import ContextClosed
from ..supervision import Branch, ChildSpec, HostTask, starting
from ..supervision._spec import check_name
from ..telemetry._live import FAMILIES
from ..variables import Var
from ._handle import Context
from ._household import Household, Opening
from ._tenant import UP, Stage, Wish
from ._ways import FamilyOptions, Ways, check_ways, kept

if TYPE_CHECKING:
    from types import TracebackType

    from anyio.abc import TaskStatus

    from ..bridge import Bridge
    from ..supervision import Delays, OnLimit, Restart, Shutdown
    from ._farewell import Save
    from ._options import Init
    from ._ways import Load

# So many contexts are drawn in a tree; the others are counted.
DRAWN = 50

_numbers = itertools.count(1)


@frozen(kw_only=True)
class FamilyStatistics:
    """
    What a family is doing, and has done since it was entered.

    Attributes:
        status: as `Contexts.status`.
        contexts: how many are up.
        held: how many of them somebody holds.
        holders: by how many blocks in all.
        starting: how many keys wait for theirs to start.
        unsaved: how many keys have none any more, and a state that waits to be saved: they crashed for good.
        waiting: how many wait in ``open()`` or ``drop()``.
        starts: contexts started so far.
        evictions: contexts evicted so far.
        drops: contexts dropped so far.
        crashes: how often one crashed and was restarted.
        saves: snapshots saved so far.
        failed_saves: how often a save failed.
        lost: contexts that crashed for good, or were stopped by somebody else, and whose last changes could not be saved.

    """

    status: str
    contexts: int = 0
    held: int = 0
    holders: int = 0
    starting: int = 0
    unsaved: int = 0
    waiting: int = 0
    starts: int = 0
    evictions: int = 0
    drops: int = 0
    crashes: int = 0
    saves: int = 0
    failed_saves: int = 0
    lost: int = 0


class Contexts:
    """
    A family of contexts, each known by its key: for services that have one for each user or chat.

    ``async with family.open(key) as ctx`` starts the context of that key or joins it: however many ask at once, there is one. Leaving the block
    stops nothing. A context that nobody holds is stopped after *idle* seconds; when there are *max_contexts* the least recently used one makes room.

    *load* and *save* keep its state beyond that. A context is saved before it is stopped, by eviction or with the family, unless nothing has happened
    in it since it was loaded or saved. One that can't be saved goes on, usable as before, and is tried again after pauses that grow to five minutes.
    Without *save*, what a context holds is gone when it is stopped.

    Each is restarted with its state when it crashes, and its holders keep their handle. One that crashes more than three times in five seconds
    is given up: its holders are told, what it held is saved if it can still be read, and the next ``open()`` starts it anew.

    An async context manager; also `start` and `stop`, from any task. It may be entered again after it was left.

    Args:
        bridge: shared by all contexts, or the name of a sibling under a supervisor that is one. Without one the family opens a private one when
            the first context needs it.
        variables: defined in each context at its start, unless they are there already.
        programs: registered in each at its start.
        init: a function of the context, plain or async, called at the end of each start.
        idle: seconds that a context stays when nobody holds it and no program of it runs. ``math.inf``: for ever.
        max_contexts: how many there may be at once.
        load: ``load(key)``, plain or async, gives the `Snapshot` that a context begins with, or None.
        save: ``save(key, snapshot)``, plain or async, keeps it. While it runs the context waits.
        drain: seconds that holders and running programs have to end by themselves when the family stops.
        name: what it is called in errors, task names and logs.

    Raises:
        TypeError: something is not what it should be; says what is expected.
        ValueError: the same, of values.

    """

    def __init__(
        self,
        *,
        bridge: Bridge | str | None = None,
        variables: Iterable[Var[Any]] = (),
        programs: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        init: Init | None = None,
        idle: float = 900.0,
        max_contexts: int = 10_000,
        load: Load | None = None,
        save: Save | None = None,
        drain: float = 10.0,
        name: str | None = None,
    ) -> None:
        if name is not None:
            check_name("name", name)

        check_ways(idle=idle, drain=drain, max_contexts=max_contexts, load=load, save=save)
        variables, programs = kept(variables), kept(programs)
        # What is wrong with these a context says best.
        Context(bridge=bridge, variables=variables, programs=programs, init=init)
        self.name: str = name or f"contexts-{next(_numbers)}"
        self._ways = Ways(
            bridge=bridge,
            variables=variables,
            programs=programs,
            init=init,
            idle=float(idle),
            max_contexts=max_contexts,
            load=load,
            save=save,
            drain=float(drain),
        )
        self._house: Household | None = None
        self._host: HostTask | None = None
        # Whether it belongs to something else, which draws it.
        self._is_part = self._supervised = False
        self._asked: anyio.Event | None = None

    @classmethod
    def child_spec(
        cls,
        id: str,  # noqa: A002 - as ChildSpec has it
        *,
        restart: Restart = "permanent",
        shutdown: Shutdown = math.inf,
        backoff: Delays | None = None,
        significant: bool = False,
        max_restarts: int | None = None,
        max_seconds: float | None = None,
        on_limit: OnLimit = "escalate",
        **options: Unpack[FamilyOptions],
    ) -> ChildSpec:
        """
        One as a child of a supervisor, called *id*. It is one object for all its lives, and the value of each start.

        *shutdown* need not be limited: *drain* is, and so is the time that each of the last saves has. *restart* to *on_limit* are as `ChildSpec`
        has them, *options* as `Contexts` takes them.
        """
        named: dict[str, Any] = {"name": id, **options}
        family = cls(**named)
        family._is_part = family._supervised = True
        return ChildSpec(
            id,
            family._live,
            restart=restart,
            shutdown=shutdown,
            backoff=backoff,
            significant=significant,
            max_restarts=max_restarts,
            max_seconds=max_seconds,
            on_limit=on_limit,
            stop=family._ask,
        )

    # --- keys --------------------------------------------------------------------------------------------------------------------

    def open(self, key: str, *, exclusive: bool = False) -> Opening:
        """
        ``async with family.open(key) as ctx``: starts the context of *key* or joins it, and holds it as long as the block runs.

        What fails while it starts is told to all who wait for that very attempt, and the next one tries again. A start that nobody waits for any
        more is turned back. While it is being saved and stopped one waits, and then starts it anew.

        Args:
            key: a str that isn't empty. Turn other keys into one: ``str(user_id)``.
            exclusive: whether to hold it alone. One waits until it isn't held, and so do all who come after, in their order. Code that holds
                it may open it once more, not exclusively, which waits for nobody.

        Raises:
            TypeError: *key* is no str.
            ValueError: *key* is empty.
            StartFailed: *load*, *init* or the context itself failed; from its cause.
            Overloaded: there are *max_contexts* already, and none of them can be stopped: all are held, or couldn't be saved (from that error).
            ContextClosed: the family isn't running.
            CallCycle: waiting for it would never end.
            WrongThread: called from another thread than the family's.

        """
        return Opening(self._at_home, _key(key), Wish.EXCLUSIVE if exclusive else Wish.JOIN)

    async def drop(self, key: str) -> None:
        """
        Stops the context of *key* and forgets what it holds, unsaved. What *save* has kept of it is its own, and *load*'s to give or not.

        It waits its turn as an exclusive holder does: for those who hold it and those who came before; who comes after gets a new one. A key
        without a context is fine. Once begun it is done, even if the caller is cancelled.

        Raises:
            TypeError: *key* is no str.
            ContextClosed: the family isn't running.
            CallCycle: called by code that holds *key*, or by a program of its context.
            WrongThread: called from another thread than the family's.

        """
        await self._at_home(_key(key)).obtain(key, Wish.DROP)

    def keys(self) -> tuple[str, ...]:
        """The keys whose contexts are up."""
        tenants = self._house.tenancy.tenants if self._house is not None else {}
        return tuple(key for key, tenant in tenants.items() if tenant.stage in UP)

    def __contains__(self, key: object) -> bool:
        tenant = self._house.tenancy.tenants.get(key) if self._house is not None and isinstance(key, str) else None
        return tenant is not None and tenant.stage in UP

    def __len__(self) -> int:
        return len(self._house.tenancy) if self._house is not None else 0

    def __bool__(self) -> bool:
        return True

    def _at_home(self, key: str) -> Household:
        if self._house is None:
            hint = f"Its family {self.name!r} isn't running: enter it with 'async with', or 'await family.start()'."
            raise ContextClosed(key, status="not there", hint=hint)

        return self._house

    # --- what it tells -----------------------------------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """``"new"``, ``"running"``, ``"stopping"`` or ``"closed"``."""
        house = self._house
        if house is None:
            return "new"

        return "closed" if house.closed.is_set() else "stopping" if house.closing else "running"

    @property
    def last_error(self) -> BaseException | None:
        """The last that went wrong: a start or a save that failed, or what a context crashed of."""
        return self._house.last_error if self._house is not None else None

    def statistics(self) -> FamilyStatistics:
        """What it is doing, and has done so far."""
        house = self._house
        if house is None:
            return FamilyStatistics(status=self.status)

        tenancy, saver = house.tenancy, house.saver
        return FamilyStatistics(
            status=self.status,
            contexts=len(tenancy),
            held=tenancy.held,
            holders=tenancy.holds,
            starting=tenancy.stages[Stage.STARTING],
            unsaved=tenancy.stages[Stage.LOST],
            waiting=tenancy.waiting,
            saves=saver.saved,
            failed_saves=saver.failed,
            **house.counts,
        )

    def __repr__(self) -> str:
        told = self.statistics()
        counts = f"contexts: {told.contexts} of {self._ways.max_contexts}, {told.held} held"
        return f"<Contexts {self.name!r} [{self.status} | {counts} | waiting: {told.waiting}]>"

    def __branch__(self) -> Branch:
        """How it looks in a supervisor's tree: below it its private bridge, and of its contexts those in trouble and the first."""
        return self._branch_within(DRAWN)

    def _branch_within(self, limit: int) -> Branch:
        told = self.statistics()
        facts = {"contexts": told.contexts, "held": told.held, "failed saves": told.failed_saves}
        plain = Branch(self.name, "contexts", self.status, facts)
        return plain if self._house is None else self._house.drawn(plain, limit)

    @property
    def _breadth(self) -> int:
        return len(self)

    # --- its life ----------------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self.status in ("running", "stopping"):
            raise RuntimeError(f"The family {self.name!r} is running already.")

        house = Household(self._ways, self.name, path=None if self._supervised else self.name, ended=partial(FAMILIES.leave, self))
        await house.begin()
        self._house = house
        FAMILIES.enter(self)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._house is not None
        try:
            await self._house.end(error)
        finally:
            FAMILIES.leave(self)

    @starting
    async def start(cls, **options: Unpack[FamilyOptions]) -> Self:  # noqa: N805 - a class method, to type checkers too
        """
        Makes a family and enters it in a task of its own, so that any task may stop it. Options as for the class. On a family,
        ``await family.start()`` enters that one.
        """
        return await cls(**options)._start_beside()

    async def _start_beside(self) -> Self:
        host = HostTask(self, f"dspex contexts {self.name}")
        await host.open()
        self._host = host
        return self

    async def stop(self) -> None:
        """
        Stops it, in order: newcomers, and those who wait, are refused; holders and running programs have *drain* seconds; then all contexts
        are saved and stopped, many at a time, each within half a minute; a private bridge closes last. Idempotent: all callers wait for the one end.

        A save that fails is tried once more, after a second. Once nothing could be saved for half a minute, the rest is given up.
        Leaving the block does the same; when an exception leaves it, holders have no time.

        Raises:
            SaveFailed: some contexts could not be saved; with what they held.
            CallCycle: called by code that holds a key, or that loads or saves one.
            WrongThread: called from another thread than the family's.

        """
        house = self._house
        if house is None:
            return

        if not house.closed.is_set():
            house.check_thread()
            house.refuse_holder(f"{self.name}.stop()")

        self._ask(final=True)
        if self._host is not None:
            self._host.release()
            await self._host.closed.wait()
            if self._host.exit_error is not None:
                raise self._host.exit_error
        else:
            await house.stop()

    # --- under a supervisor ------------------------------------------------------------------------------------------------------

    async def _live(self, *, task_status: TaskStatus[Contexts]) -> None:
        """One life of it under a supervisor."""
        self._asked = asked = anyio.Event()
        async with self:
            task_status.started(self)
            await asked.wait()

    def _ask(self, final: bool) -> None:
        if self._asked is not None:
            self._asked.set()


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"key: expected a str, got {key!r}. Turn it into one: str(key).")

    if not key:
        raise ValueError("key: expected a str that isn't empty")

    return key
