"""
`DynamicSupervisor`: many children alike, started as they are needed, each restarted alone, all stopped at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from operator import itemgetter
from typing import Any, Self, TypedDict, Unpack

import anyio

from .._exceptions import Overloaded
from ._child import Child, Run
from ._children import Children, check_specs
from ._facts import ChildInfo
from ._spec import ChildSpec, Delays, OnLimit, Restart, Shutdown
from ._stopping import asks_first, patience
from ._supervisor import Nested


class DynamicOptions(TypedDict, total=False):
    """What a `DynamicSupervisor` takes."""

    max_children: int | None
    max_restarts: int
    max_seconds: float
    name: str | None


class DynamicSupervisor(Children):
    """
    Starts children when asked to, as Elixir's ``DynamicSupervisor``. An async context manager.

    Each is restarted alone. One that ended and isn't to be started again is forgotten. All are stopped at once, each with its own time to end.

    Args:
        max_children: how many there may be, those that are being restarted included. None: any number.
        max_restarts: so many restarts in *max_seconds* are fine; with one more it stops its children and raises `RestartLimitReached`.
        max_seconds: the length of that sliding window in seconds.
        name: the first part of its children's paths.

    """

    def __init__(
        self, *, max_children: int | None = None, max_restarts: int = 3, max_seconds: float = 5.0, name: str | None = None
    ) -> None:
        bound: Any = max_children
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int) or bound < 0):
            raise ValueError(f"max_children: expected an int of at least 0 or None, got {bound!r}")

        super().__init__(max_restarts=max_restarts, max_seconds=max_seconds, auto_shutdown="never", name=name)
        self.max_children: int | None = max_children
        self._numbers: dict[str, int] = {}
        self._deadlines: list[tuple[float, Child, Run]] | None = None

    @classmethod
    async def start(cls, **options: Unpack[DynamicOptions]) -> Self:
        """Makes one and starts it beside the caller; `stop` ends it. Both may be called from any task: for the REPL and for fixtures."""
        return await cls(**options)._start_beside()

    @classmethod
    def child_spec(
        cls,
        id: str,  # noqa: A002 - as ChildSpec has it
        *,
        restart: Restart = "permanent",
        shutdown: Shutdown = math.inf,
        significant: bool = False,
        backoff: Delays | None = None,
        on_limit: OnLimit = "escalate",
        **options: Unpack[DynamicOptions],
    ) -> ChildSpec:
        """One as a child of another supervisor: each start makes a new one, without children. Its value is the running one."""
        cls(**options)
        start = Nested(cls, (), dict(options))
        return ChildSpec(id, start, restart=restart, shutdown=shutdown, significant=significant, backoff=backoff, on_limit=on_limit)

    async def start_child(self, spec: ChildSpec) -> ChildInfo:
        """
        Starts a child and returns once it is ready. Of an id that is taken it gets the next free ``id-2``, ``id-3``, ...

        Raises:
            Overloaded: there are *max_children* already.
            StartFailed: it failed; from its own exception. It is not kept, and doesn't count.
            ValueError: it is significant, which means nothing here.
            SupervisorClosed: the supervisor isn't running.

        """
        self._admit()
        check_specs([spec])
        if spec.significant:
            raise ValueError(f"child {spec.id!r} is significant, which means nothing to a dynamic supervisor")

        if self.max_children is not None and len(self._children) >= self.max_children:
            raise Overloaded(what=f"Supervisor {self.path!r}", limit=self.max_children)

        child = self._listed(spec, self._free_id(spec.id))
        await self._started(child, failed="gone")
        return self._info(child, self._counted_now())

    def _free_id(self, wanted: str) -> str:
        if wanted not in self._children:
            return wanted

        number = self._numbers.get(wanted, 1)
        taken = wanted
        while taken in self._children:
            number += 1
            taken = f"{wanted}-{number}"

        self._numbers[wanted] = number
        return taken

    # --- all of them -------------------------------------------------------------------------------------------------------------

    async def _start_children(self) -> None:
        """There are none yet."""

    async def _stop_children(self) -> None:
        """All at once, each with its own time from the same moment."""
        if self._deadlines is None:
            # Those with the least time first: a task for each, to see it out, would be as many again.
            self._deadlines = sorted(self._ask_all(), key=itemgetter(0))

        for deadline, child, run in self._deadlines:
            if not run.over:
                await self._pass(child, run, deadline)

    def _ask_all(self) -> Iterator[tuple[float, Child, Run]]:
        now = anyio.current_time()
        for child in list(self._children.values()):
            run = child.run
            if run is None:
                self._forget(child)
            elif asks_first(child, run) or run.asked or not run.begun:
                self._ask(child, run, "gone")
                yield math.inf, child, run
            else:
                run.ask("gone")
                self._ask_or_cancel(child, run)
                yield now + patience(child), child, run

    async def _pass(self, child: Child, run: Run, deadline: float) -> None:
        with anyio.move_on_at(deadline):
            await run.wait_passed()

        if not run.over and not run.overdue:
            waited = anyio.current_time() - deadline + patience(child)
            self._beside(self._wait_overdue, child, run, waited, name=f"{self._path_of(child)} (its stop)")

    def _keeps(self, child: Child) -> bool:
        return False

    def _kind(self) -> str:
        return "dynamic supervisor"
