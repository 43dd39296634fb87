"""
The upkeep of a family's contexts: what its `Tenancy` decides is done here, each deed in a task of the household's group.

Every such task is shielded: a cancelled outer scope reaches the body, and the end of the body is what ends the household. The contexts are
children of a supervisor.
"""

from __future__ import annotations

import contextlib
import logging
import math
from _thread import get_ident
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import anyio
from attrs import evolve

from .._exceptions import (
    CallTimeout,
    ChildNotFound,
    ContextClosed,
    ContextCrashed,
    DspexError,
    Overloaded,
    SaveFailed,
    StartFailed,
    SupervisorClosed,
    in_short,
)
from ..supervision import ChildSpec, DynamicSupervisor
from ..variables import Snapshot
from ._farewell import AT_ONCE, Parting, Saver, is_over, part, remains, working_on
from ._handle import Context
from ._life import SETTLE
from ._seat import Seat, Terms
from ._tenancy import Tenancy
from ._tenant import Deed, Stage, Tenant

if TYPE_CHECKING:
    from ..bridge import Bridge
    from ..supervision import Branch
    from ._options import Init
    from ._ways import Load, Ways

# Seconds that each save has at the end.
SAVING = 30.0

log = logging.getLogger(__name__)


class Upkeep:
    """
    The contexts of a household, started and parted with.

    Attributes:
        tenancy: who has which key.
        saver: what saves them.
        closing: whether it takes no newcomers.
        closed: set once nothing of it is left but its group.
        failure: what couldn't be saved at the end.
        last_error: the last that went wrong.
        counts: how often what was done.

    """

    _supervisor: DynamicSupervisor

    def __init__(self, ways: Ways, name: str, *, path: str | None, ended: Callable[[], None]) -> None:
        self._ways = ways
        self._name = name
        self._path = path
        self._ended = ended
        self.tenancy = Tenancy(rooms=ways.max_contexts, idle=ways.idle, refusal=self._no_room, over=is_over)
        self.saver = Saver(ways.save)
        self.closing: bool = False
        self.closed: anyio.Event = anyio.Event()
        self.failure: SaveFailed | None = None
        self.last_error: BaseException | None = None
        self.counts: dict[str, int] = dict.fromkeys(("starts", "evictions", "drops", "crashes", "lost"), 0)
        self._thread = get_ident()
        self._group = anyio.create_task_group()
        self._sweeping = anyio.CancelScope(shield=True)
        self._over = anyio.Event()
        self._founded = anyio.Event()
        self._kept = anyio.Event()
        self._woken = anyio.Event()
        self._due = math.inf
        self._ambient = copy_context()
        self._bridge: Bridge | None = None
        self._tasks = 0
        self._evicting = 0
        self._starts: dict[Tenant, anyio.CancelScope] = {}
        self._still: anyio.Event | None = None
        self._unheld: anyio.Event | None = None
        self._final: deque[Tenant] | None = None
        self._calm_by = 0.0
        self._unsaved: dict[str, Parting] = {}

    def _no_room(self, error: BaseException | None) -> Overloaded:
        refusal = Overloaded(what=f"The family {self._name!r}", limit=self._ways.max_contexts)
        refusal.__cause__ = error
        return refusal

    def drawn(self, family: Branch, limit: int) -> Branch:
        """*family* with what is below it: the private bridge, and so many of the contexts."""
        bridge = () if self._bridge is None else (self._bridge.__branch__(),)
        contexts = self._supervisor._branch_within(limit)
        return evolve(family, children=(*bridge, *contexts.children), others=contexts.others)

    def _facts(self, tenant: Tenant) -> dict[str, Any]:
        """What a line of the log on one of the contexts carries."""
        context = tenant.context
        return {"dspex_family": self._name, "dspex_key": tenant.key, "dspex_context": None if context is None else context.id}

    # --- deeds -------------------------------------------------------------------------------------------------------------------

    def _act(self) -> None:
        """Begins what is to be done. After every step of the tenancy's."""
        deeds, self.tenancy.deeds = self.tenancy.deeds, []
        for deed, tenant in deeds:
            if deed is Deed.TURN_BACK:
                scope = self._starts.get(tenant)
                if scope is not None:
                    scope.cancel()
            elif self._final is not None and deed is Deed.EVICT:
                self._final.append(tenant)
            else:
                self._begin(deed, tenant)

        if self.tenancy.next_due() < self._due and self._evicting < AT_ONCE:
            self._woken.set()

        if self._unheld is not None and not self.tenancy.holds:
            self._unheld.set()

    def _begin(self, deed: Deed, tenant: Tenant) -> None:
        function = {Deed.START: self._start, Deed.EVICT: self._evict, Deed.DROP: self._drop}[deed]
        self._tasks += 1
        self._evicting += deed is Deed.EVICT
        if deed is Deed.START:
            self._starts[tenant] = anyio.CancelScope(shield=True)

        # Not in the context variables of whoever happened to come first.
        begin = partial(self._do, function, deed, tenant)
        self._ambient.copy().run(partial(self._group.start_soon, begin, name=f"{self._name} ({deed.value} {tenant.key})"))

    async def _do(self, function: Callable[[Tenant], Awaitable[None]], deed: Deed, tenant: Tenant) -> None:
        try:
            with anyio.CancelScope(shield=True):
                await function(tenant)
        except Exception:
            # A defect in here: the others go on.
            log.exception("family %r: %s of key %r failed", self._name, deed.value, tenant.key, extra=self._facts(tenant))
        finally:
            self._tasks -= 1
            self._evicting -= deed is Deed.EVICT
            if self._still is not None and not self._tasks:
                self._still.set()

            self._act()

    # --- starting ----------------------------------------------------------------------------------------------------------------

    async def _start(self, tenant: Tenant) -> None:
        context: Context | None = None
        failure: Callable[[], BaseException] | None = None
        try:
            with self._starts[tenant]:
                context = await self._started(tenant)
        except Exception as error:  # noqa: BLE001 - told to all who wait for it
            failure = partial(self._start_failed, tenant.key, error)
        finally:
            del self._starts[tenant]
            now = anyio.current_time()
            if context is not None:
                self.counts["starts"] += 1
                self.tenancy.started(tenant, context, now)
            else:
                self.tenancy.start_failed(tenant, failure, now)

    def _start_failed(self, key: str, error: Exception) -> StartFailed:
        if isinstance(error, StartFailed) and isinstance(error.__cause__, Exception):
            error = error.__cause__

        self.last_error = error
        failed = StartFailed(f"The context {key!r} of family {self._name!r}", problem=in_short(error))
        failed.__cause__ = error
        return failed

    async def _started(self, tenant: Tenant) -> Context:
        ways = self._ways
        existing = tenant.snapshot
        if existing is None and ways.load is not None:
            with working_on(tenant):
                existing = await _loaded(ways.load, tenant.key)

        context = Context(
            variables=ways.variables,
            programs=ways.programs,
            init=partial(self._init, tenant, ways.init) if ways.init is not None else None,
            bridge=ways.bridge,
            existing_state=existing,
        )
        if ways.bridge is None:
            context._inside.lender = self._lend_bridge

        context._inside.call_it(f"{self._name}/{tenant.key}")
        info = await self._supervisor.start_child(self._spec(tenant, context))
        tenant.child = info.id
        tenant.unchanged = context.variables.operations if tenant.snapshot is None else -1
        if is_over(context):
            await self._remove(tenant)
            raise context.variables.refusal()

        return context

    async def _init(self, tenant: Tenant, init: Init, context: Context) -> None:
        with working_on(tenant):
            made = init(context)
            if isawaitable(made):
                await made

    def _spec(self, tenant: Tenant, context: Context) -> ChildSpec:
        seat = context._inside.seat = Seat(context, child_id(tenant.key), Terms(restart="transient", on_limit="park"))
        return evolve(seat.spec(), on_change=partial(self._changed, tenant, context, seat))

    def _changed(self, tenant: Tenant, context: Context, seat: Seat, state: str, error: BaseException | None) -> Awaitable[None] | None:
        """Its supervisor says what becomes of a context."""
        then = seat.on_change(state, error)
        if state == "restarting":
            self.counts["crashes"] += 1
            self.last_error = error
        elif state in ("parked", "stopped", "gone") and tenant.context is context and tenant.stage is Stage.LIVE:
            # It doesn't come back. What there is to save of it, who parts with it finds out.
            self.last_error = error or self.last_error
            self.tenancy.evict(tenant)
            self._act()

        return then

    def _lend_bridge(self) -> Bridge:
        """The bridge of all contexts here, opened in this very step by the first that needs one."""
        if self._bridge is None:
            from ..bridge import Bridge

            self._bridge = Bridge(name=f"bridge of {self._name}")
            self._bridge.open_nowait(self._group)

        return self._bridge

    # --- leaving -----------------------------------------------------------------------------------------------------------------

    async def _drop(self, tenant: Tenant) -> None:
        await self._remove(tenant)
        self.counts["drops"] += 1
        self.tenancy.left(tenant, anyio.current_time())

    async def _evict(self, tenant: Tenant) -> None:
        parting: Parting | None = Parting(gone=False)
        try:
            parting = await self._part(tenant, last=False)
        finally:
            # Also where a stranger cancelled this task: then it stays.
            self._settle(tenant, parting)

    def _settle(self, tenant: Tenant, parting: Parting | None) -> None:
        now = anyio.current_time()
        if parting is None:
            return

        if parting.gone:
            self.counts["evictions"] += 1
            self.tenancy.left(tenant, now)
            return

        self.tenancy.stayed(tenant, now, parting.error)
        if parting.error is not None:
            self.last_error = parting.error
            log.error(
                "family %r: context %r can't be saved (%d in a row). It stays. %s",
                self._name,
                tenant.key,
                tenant.strikes,
                in_short(parting.error),
                exc_info=parting.error,
                extra=self._facts(tenant),
            )

    async def _part(self, tenant: Tenant, *, last: bool) -> Parting | None:
        """Saves and ends it. None: it was lost meanwhile, and what is left of it is a matter of its own."""
        if tenant.snapshot is not None:
            error = await self.saver.save(tenant, tenant.snapshot)
            return Parting(gone=error is None or last, error=error, snapshot=tenant.snapshot)

        context = tenant.context
        assert context is not None
        try:
            parting = await self._part_in_time(tenant, last=last)
        except DspexError as error:
            if not last and not is_over(context):
                return Parting(gone=False, error=error if self._final is not None else None)

            await self._lose(tenant, error)
            return None

        if parting.gone:
            await self._remove(tenant)

        return parting

    async def _lose(self, tenant: Tenant, error: DspexError) -> None:
        """It has ended without having been parted with: what can still be read of it is kept."""
        snapshot, unreadable = await remains(tenant, self.saver, error)
        await self._remove(tenant)
        if unreadable is not None:
            self.last_error = unreadable
            self.counts["lost"] += 1
            told = "family %r: what wasn't saved of context %r is lost: %s"
            log.error(told, self._name, tenant.key, in_short(unreadable), extra=self._facts(tenant))
            if self._final is not None:
                self._unsaved[tenant.key] = Parting(gone=True, error=unreadable)

        self.tenancy.lost(tenant, snapshot, anyio.current_time())

    async def _part_in_time(self, tenant: Tenant, *, last: bool) -> Parting:
        if self._final is None:
            return await part(tenant, self.saver, forced=False, last=False)

        assert tenant.context is not None
        await self._quiet(tenant.context)
        with anyio.move_on_after(SAVING + SETTLE):
            return await self._part_for_sure(tenant, tenant.context, last=last)

        raise CallTimeout(what=f"The context {tenant.key!r}", seconds=SAVING)

    async def _part_for_sure(self, tenant: Tenant, context: Context, *, last: bool) -> Parting:
        while True:
            try:
                return await part(tenant, self.saver, forced=True, last=last)
            except ContextCrashed:
                # It comes back with its state, or too often, and then it is over.
                if is_over(context):
                    raise

    async def _quiet(self, context: Context) -> None:
        """Calls in flight have the time that is left, then are cancelled and told."""
        calls = context._inside.calls
        if not calls:
            return

        with anyio.move_on_at(self._calm_by):
            await calls.wait_idle()

        calls.cancel(ContextClosed(context.id, status="closed", hint=f"Its family {self._name!r} is stopping."))
        with anyio.move_on_after(SETTLE):
            await calls.wait_idle()

    async def _remove(self, tenant: Tenant) -> None:
        """Ends what runs of it, if anything does."""
        with contextlib.suppress(ChildNotFound, SupervisorClosed):
            await self._supervisor.terminate_child(tenant.child)

    async def _sweep(self) -> None:
        """Has those go whose time is up. The one task that looks at the time."""
        with self._sweeping:
            while True:
                self._due = -math.inf
                self.tenancy.evict_due(anyio.current_time(), AT_ONCE - self._evicting)
                self._act()
                self._woken = anyio.Event()
                self._due = self.tenancy.next_due() if self._evicting < AT_ONCE else math.inf
                with anyio.move_on_at(self._due):
                    await self._woken.wait()


def child_id(key: str) -> str:
    """What the supervisor calls the context of *key*: a slash would divide its path."""
    return key.replace("/", "%2F")


async def _loaded(load: Load, key: str) -> Snapshot | None:
    made: Any = load(key)
    if isawaitable(made):
        made = await made

    if made is not None and not isinstance(made, Snapshot):
        raise TypeError(f"load({key!r}): expected a Snapshot (see Snapshot.from_json) or None, got {type(made).__name__}")

    return made
