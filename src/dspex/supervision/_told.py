"""
What a supervisor tells of its children: who they are, how many, in which state; to whom their specs name, and drawn as a tree.

All of it is read in one step, at any time, whatever the supervisor is doing.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Awaitable, Mapping
from types import MappingProxyType
from typing import Any

import anyio

from .._exceptions import ChildNotFound, in_short
from ._block import Block, log
from ._child import Child, Run
from ._facts import ChildCounts, ChildInfo, ChildState
from ._policy import Window
from ._status import SupervisorStatistics
from ._tree import Branch, Tree, branch

_ACTIVE = frozenset({ChildState.RUNNING, ChildState.STOPPING, ChildState.OVERDUE})


class Told(Block):
    """The children that are listed, and what is told of them."""

    def __init__(self, name: str | None, window: Window) -> None:
        super().__init__(name)
        self._window: Window = window
        self._children: dict[str, Child] = {}
        self._untold: list[tuple[Child, str, Awaitable[Any]]] = []
        self._starts = 0
        self._restarts = 0

    def _path_of(self, child: Child) -> str:
        """The ids from the root down to *child*."""
        return f"{self.path}/{child.id}"

    def _find(self, child_id: str) -> Child:
        child = self._children.get(child_id)
        if child is None:
            raise ChildNotFound(child_id, supervisor=self.path, known=list(self._children)[:50])

        return child

    # --- told in the step it happens ------------------------------------------------------------------------------------------------------------

    def _tell(self, child: Child, state: ChildState, error: BaseException | None = None) -> None:
        child.state = state
        if child.spec.on_change is not None:
            self._notify(child, state.value, error)

    def _forget(self, child: Child, error: BaseException | None = None) -> None:
        """This supervisor will never start it again. Told once."""
        if self._children.get(child.id) is not child:
            return

        del self._children[child.id]
        child.state = ChildState.STOPPED
        self._notify(child, "gone", error)

    def _notify(self, child: Child, state: str, error: BaseException | None) -> None:
        if child.spec.on_change is None:
            return

        try:
            answer = child.spec.on_change(state, error)
        except Exception:  # noqa: BLE001 - somebody's function; it is told of in the log
            log.exception("%s: its on_change function failed at %r", self._path_of(child), state)
            return
        except BaseException as interrupt:  # noqa: BLE001 - kept, and raised by the block
            self._end_from_within("error", interrupt)
            return

        if not inspect.isawaitable(answer):
            return

        if self._kids is None:
            self._untold.append((child, state, answer))
        else:
            self._beside(self._finish_telling, child, state, answer, name=f"{self._path_of(child)} ({state})")

    async def _finish_unkept(self) -> None:
        while self._untold:
            await self._finish_telling(*self._untold.pop(0))

    async def _finish_telling(self, child: Child, state: str, answer: Awaitable[Any]) -> None:
        try:
            await answer
        except (Exception, anyio.get_cancelled_exc_class()):  # noqa: BLE001 - the same; also when a stranger cancelled this very task
            log.exception("%s: its on_change function failed at %r", self._path_of(child), state)

    def _running(self, child_id: str) -> Run | None:
        """The life of a child that is up."""
        child = self._children.get(child_id)
        run = child.run if child is not None else None
        return run if run is not None and run.started else None

    def which_child(self, child_id: str) -> ChildInfo:
        """
        What is known of one child.

        Raises:
            ChildNotFound: there is none of this id.

        """
        return self._info(self._find(child_id), self._counted_now())

    def which_children(self) -> tuple[ChildInfo, ...]:
        """What is known of each child, in the order of their start, at this moment."""
        counted = self._counted_now()
        return tuple(self._info(child, counted) for child in self._children.values())

    def count_children(self) -> ChildCounts:
        """How many there are."""
        supervisors = sum(child.is_supervisor for child in self._children.values())
        return ChildCounts(
            specs=len(self._children),
            active=sum(child.state in _ACTIVE for child in self._children.values()),
            supervisors=supervisors,
            workers=len(self._children) - supervisors,
        )

    def statistics(self) -> SupervisorStatistics:
        """What it has done so far."""
        states: Mapping[str, int] = MappingProxyType(dict(Counter(child.state.value for child in self._children.values())))
        return SupervisorStatistics(status=self.status, children=states, starts=self._starts, restarts=self._restarts)

    def tree(self) -> Tree:
        """The live tree from here down, to print: ``str`` of it is text, and it draws itself in colour where rich prints it."""
        return Tree(self.__branch__())

    def __branch__(self) -> Branch:
        window, counted = self._window, self._counted_now()
        facts = {**self._own_facts(), "restarts": counted, "allowed": window.allowed, "seconds": window.seconds}
        note = in_short(self._failure)
        name = self.path.rpartition("/")[2]
        children = tuple(branch(self._info(child, counted), child.last_value) for child in self._children.values())
        return Branch(name, self._kind(), self.status.value, facts, children, note)

    def _kind(self) -> str:
        return "supervisor"

    def _own_facts(self) -> dict[str, Any]:
        return {}

    def __repr__(self) -> str:
        states = Counter(child.state.value for child in self._children.values())
        children = ", ".join(f"{count} {state}" for state, count in states.items()) or "none"
        window = self._window
        restarts = f"{self._counted_now()}/{window.allowed} in {window.seconds:g} s"
        return f"<{type(self).__name__} {self.path!r} [{self.status.value} | children: {children} | restarts: {restarts}]>"

    def _counted_now(self) -> int:
        try:
            return self._window.count(anyio.current_time())
        except Exception:  # noqa: BLE001 - asked where no loop runs, as a repr may be
            return 0

    def _info(self, child: Child, counted: int) -> ChildInfo:
        window = child.window or self._window
        run = child.run
        return ChildInfo(
            id=child.id,
            state=child.state,
            restart=child.spec.restart,
            value=run.value if run is not None else None,
            restarts=counted if child.window is None else child.window.count(anyio.current_time()),
            allowed=window.allowed,
            seconds=window.seconds,
            significant=child.spec.significant,
            kind="supervisor" if child.is_supervisor else "worker",
            error=child.error,
            own_budget=child.window is not None,
            lives=child.lives,
            path=self._path_of(child),
        )
