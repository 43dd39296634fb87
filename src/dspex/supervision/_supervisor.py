"""
`Supervisor`: children in an order, each restarted alone, with all others, or with those after it.

*One group restart at a time.* A child that ended and is to come back with others is an incident. Incidents are worked off one by one by a task of
their own: those affected are stopped, in reverse, then started, in order. A start that fails is the next incident, so it counts and is tried again. An incident
whose child was started meanwhile, with another's group, is none any more. While a group is on its way, `start_child` and `restart_child` wait for
their turn; `terminate_child` doesn't: it takes the child out of the plan.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import Any, Self, TypedDict, Unpack

import anyio
import anyio.lowlevel
from anyio.abc import TaskStatus

from .._exceptions import CallCycle, ChildExists, StartFailed, SupervisorClosed
from ._child import Child, Run
from ._children import Children, check_specs
from ._facts import ChildInfo, ChildState
from ._place import place, way_down_from
from ._policy import AFFECTED, ENDS_ITSELF, AutoShutdown, EndedBy, Strategy
from ._spec import ChildSpec, Delays, OnLimit, Restart, Shutdown, check_choice


class SupervisorOptions(TypedDict, total=False):
    """What a `Supervisor` takes besides its children."""

    strategy: Strategy
    max_restarts: int
    max_seconds: float
    auto_shutdown: AutoShutdown
    name: str | None


class Supervisor(Children):
    """
    Starts children in order, restarts those that fail, and stops them in reverse order, as OTP's ``supervisor``. An async context manager.

    An exception in the body, an outer cancellation, a timeout around it: the children are stopped in order, and it comes out as itself.

    Args:
        children: `ChildSpec`s, in the order of their start.
        strategy: who is restarted with a child that failed: ``"one_for_one"`` nobody, ``"one_for_all"`` all others, ``"rest_for_one"`` those
            started after it.
        max_restarts: so many restarts in *max_seconds* are fine; with one more it stops its children and raises `RestartLimitReached`. One for
            each incident, however many children it takes; each restart that fails counts too.
        max_seconds: the length of that sliding window in seconds.
        auto_shutdown: whether it ends when significant children have ended by themselves: ``"never"``, ``"any_significant"``,
            ``"all_significant"``. The block ends then, without an exception.
        name: the first part of its children's paths, which are the names of their tasks.

    Attributes:
        status: ``"new"``, ``"starting"``, ``"running"``, ``"stopping"`` or ``"closed"``.
        ended_by: ``"stop"``, ``"auto_shutdown"``, ``"limit"`` or ``"error"``; None while nothing has ended it.
        name: as it was given.
        path: its place in the tree; of one that is no child, its name.

    Raises:
        TypeError: of what is given something isn't what it should be.
        ValueError: the same, of values; two children of one id.

    """

    def __init__(
        self,
        children: Iterable[ChildSpec] = (),
        *,
        strategy: Strategy = "one_for_one",
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        auto_shutdown: AutoShutdown = "never",
        name: str | None = None,
    ) -> None:
        check_choice("strategy", strategy, tuple(AFFECTED))
        check_choice("auto_shutdown", auto_shutdown, tuple(ENDS_ITSELF))
        super().__init__(max_restarts=max_restarts, max_seconds=max_seconds, auto_shutdown=auto_shutdown, name=name)
        self.strategy: Strategy = strategy
        self._turn: anyio.Lock = anyio.Lock()
        self._lined_up: dict[anyio.CancelScope, Run | None] = {}
        self._incidents: deque[Child] = deque()
        self._regrouping = False
        for spec in check_specs(children):
            self._check_significance(spec)
            self._listed(spec, spec.id)

    @classmethod
    async def start(cls, children: Iterable[ChildSpec] = (), **options: Unpack[SupervisorOptions]) -> Self:
        """
        Makes a supervisor and starts it beside the caller; `stop` ends it. Both may be called from any task: for the REPL and for fixtures.

        Raises:
            StartFailed: a child failed to start; those before it are stopped again. From the child's own exception.

        """
        return await cls(children, **options)._start_beside()

    @classmethod
    def child_spec(
        cls,
        id: str,  # noqa: A002 - as ChildSpec has it
        children: Iterable[ChildSpec] = (),
        *,
        restart: Restart = "permanent",
        shutdown: Shutdown = math.inf,
        significant: bool = False,
        backoff: Delays | None = None,
        on_limit: OnLimit = "escalate",
        **options: Unpack[SupervisorOptions],
    ) -> ChildSpec:
        """A supervisor as a child of another: each start makes a new one, from the same specs. Its value is the running `Supervisor`."""
        specs = tuple(children)
        cls(specs, **options)
        start = Nested(cls, (specs,), dict(options))
        return ChildSpec(id, start, restart=restart, shutdown=shutdown, significant=significant, backoff=backoff, on_limit=on_limit)

    # --- all of them -------------------------------------------------------------------------------------------------------------

    async def _start_children(self) -> None:
        async with self._turn:
            for child in list(self._children.values()):
                if child.state is ChildState.NEW and not child.down and not self._is_ending:
                    await self._start_unless_over(child)

    async def _start_unless_over(self, child: Child) -> None:
        try:
            await self._started(child, failed="stopped")
        except SupervisorClosed:
            if self.ended_by != "auto_shutdown":
                raise

    async def _stop_children(self) -> None:
        for child in self._children.values():
            child.recall()

        for child in reversed(list(self._children.values())):
            await self._stopped(child, "gone")

    # --- group restarts ----------------------------------------------------------------------------------------------------------

    def _failed(self, child: Child, error: BaseException | None) -> None:
        if self.strategy == "one_for_one":
            super()._failed(child, error)
            return

        assert self._kids is not None
        child.error = error
        self._tell(child, ChildState.RESTARTING, error)
        self._incidents.append(child)
        if not self._regrouping:
            self._regrouping = True
            self._beside(self._regroup, name=f"{self.path} (a restart)")

    async def _regroup(self) -> None:
        try:
            while self._incidents and not self._ending.is_set():
                # Never a restart without a checkpoint before it. Who was alone in the loop's queue has now been joined by those who failed with it.
                await anyio.lowlevel.checkpoint()
                async with self._turn:
                    if not self._is_ending:
                        await self._work_off(self._incidents.popleft())
        finally:
            self._regrouping = False

    async def _work_off(self, failed: Child) -> None:
        affected = self._affected_by(failed)
        if self._awaits_restart(failed) and self._allows(failed, failed.error):
            await self._stop_group(affected)
            await self._pause(failed)

        # It may be parked, or stopped by hand, after its group was stopped for it: the others come back all the same.
        for child in affected:
            if self._is_ending:
                return

            if self._awaits_restart(child) and not await self._came_back(child):
                self._incidents.appendleft(child)
                return

    def _affected_by(self, failed: Child) -> list[Child]:
        children = list(self._children.values())
        if self._lists(failed):
            return list(AFFECTED[self.strategy](children, failed))

        # It was deleted before its turn came, and those may be left that were stopped for it, or come after it in a restart that stopped short.
        return [child for child in children if child not in self._incidents]

    def _lists(self, child: Child) -> bool:
        return self._children.get(child.id) is child

    def _awaits_restart(self, child: Child) -> bool:
        return child.state is ChildState.RESTARTING and child.run is None and not child.down and self._lists(child)

    async def _stop_group(self, affected: list[Child]) -> None:
        runs = [(child, child.run) for child in affected]
        for child, run in reversed(runs):
            if run is not None:
                self._send_home(run)
                await self._stopped(child, "restarting" if self._keeps(child) else "gone")
            elif child.state is ChildState.STOPPED and not child.down and self._lists(child):
                # One that finished is started again with its group, as in OTP; one that was stopped by hand is not.
                self._tell(child, ChildState.RESTARTING)

        for _, run in runs:
            if run is not None:
                # Overdue ones included: nothing starts while a former life of it runs.
                await run.wait_gone()

    async def _pause(self, failed: Child) -> None:
        seconds = self._pause_before(failed)
        failed.recalled = anyio.Event()
        with anyio.move_on_after(seconds):
            if seconds and not failed.down:
                await failed.recalled.wait()

        failed.recalled = None

    async def _came_back(self, child: Child) -> bool:
        run = self._launch(child, failed="restarting")
        await self._settled(child, run)
        return run.started or run.asked or run.error is None

    # --- asked from outside ------------------------------------------------------------------------------------------------------

    async def start_child(self, spec: ChildSpec) -> ChildInfo:
        """
        Starts one more child, the last in order, and returns once it is ready. While a group is being restarted, its backoff included, it waits.

        Raises:
            ChildExists: there is one of this id; its ``state`` says in which state.
            StartFailed: it failed; from its own exception. It is not kept, and doesn't count.
            SupervisorClosed: the supervisor isn't running.
            CallCycle: called by a child that isn't ready yet, for which the others wait.

        """
        self._admit()
        check_specs([spec])
        self._check_significance(spec)
        if spec.id in self._children:
            raise ChildExists(spec.id, supervisor=self.path, state=self._children[spec.id].state.value)

        child = self._listed(spec, spec.id)
        try:
            await self._start_by_hand(child, failed="gone")
        except BaseException:
            if child.run is None:
                self._forget(child)

            raise

        return self._info(child, self._counted_now())

    async def _start_by_hand(self, child: Child, *, failed: str) -> None:
        self._refuse_whom_others_wait_for(child)
        child.down = False
        if self.strategy != "one_for_one":
            await self._take_turn(child)

        try:
            self._admit()
            if child.down:
                raise StartFailed(f"The child {self._path_of(child)!r}", problem="it was stopped before it was ready")

            if self._find(child.id) is child and child.run is None:
                await self._started(child, failed=failed)
        finally:
            if self.strategy != "one_for_one":
                self._turn.release()

    async def _take_turn(self, child: Child) -> None:
        """Waits for the turn, and no longer than there may be one: who waits in vain is told at once."""
        inside = way_down_from(self)
        with anyio.CancelScope() as waiting:
            self._lined_up[waiting] = inside[1] if inside is not None else None
            try:
                await self._turn.acquire()
            finally:
                del self._lined_up[waiting]

        if waiting.cancelled_caught:
            self._admit()
            await anyio.lowlevel.checkpoint_if_cancelled()
            self._refuse_whom_others_wait_for(child)

    def _send_home(self, run: Run) -> None:
        """*run* is to be stopped by who has the turn: what waits in it for the turn, in a shield, would wait for itself."""
        for waiting, waits_in in tuple(self._lined_up.items()):
            if waits_in is run:
                waiting.cancel()

    def _end(self, why: EndedBy) -> None:
        super()._end(why)
        for waiting in tuple(self._lined_up):
            waiting.cancel()

    def _refuse_whom_others_wait_for(self, child: Child) -> None:
        inside = way_down_from(self)
        if inside is None or self.strategy == "one_for_one":
            return

        chain, run = inside
        if not run.started or (run.asked and self._regrouping):
            why = "is being stopped with its group" if run.started else "isn't ready"
            raise CallCycle(
                chain=[*chain, self._path_of(child)],
                problem=f"Child {chain[0]!r} {why}, and with {self.strategy} no other child starts before that is over.",
            )

    def _check_significance(self, spec: ChildSpec) -> None:
        if spec.significant and self._auto_shutdown == "never":
            raise ValueError(f"child {spec.id!r} is significant, which means nothing to a supervisor with auto_shutdown='never'")

    def _own_facts(self) -> dict[str, Any]:
        return {"strategy": self.strategy}


class Nested:
    """The start function of a supervisor that is a child of another."""

    makes_supervisor = True

    def __init__(self, cls: type[Children], args: tuple[Any, ...], options: dict[str, Any]) -> None:
        self._cls = cls
        self._args = args
        self._options = options

    def __repr__(self) -> str:
        return f"<start of a {self._cls.__name__}>"

    async def __call__(self, *, task_status: TaskStatus[Any]) -> None:
        made: Any = self._cls(*self._args, **self._options)
        here = place.get()
        if here is not None:
            here.run.below = made

        async with made as supervisor:
            task_status.started(supervisor)
            await supervisor.wait()
