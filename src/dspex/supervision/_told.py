"""
What a supervisor tells of its children: who they are, how many, in which state; to whom their specs name, and drawn as a tree.

All of it is read in one step, at any time, whatever the supervisor is doing.
"""

from __future__ import annotations

import inspect
import logging
from collections import Counter
from collections.abc import Awaitable, Collection, Mapping
from types import MappingProxyType
from typing import Any

import anyio

from .._exceptions import ChildNotFound, in_short
from ..telemetry._hooks import CHILD_CHANGED
from ._block import Block
from ._bounded import first_of, within
from ._child import Child, Run
from ._facts import ChildCounts, ChildInfo, ChildState
from ._policy import Window
from ._standing import Standing
from ._status import SupervisorStatistics
from ._tree import Branch, Tree, branch

_ACTIVE = frozenset({ChildState.RUNNING, ChildState.STOPPING, ChildState.OVERDUE})

log = logging.getLogger(__name__)


class Told(Block):
    """The children that are listed, and what is told of them."""

    def __init__(self, name: str | None, window: Window) -> None:
        super().__init__(name)
        self._window: Window = window
        self._children: dict[str, Child] = {}
        self._standing = Standing()
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
        previous = child.state
        self._standing.move(child, state)
        if child.spec.on_change is not None:
            self._notify(child, state.value, error)

        if CHILD_CHANGED.heard:
            self._publish(child, state.value, previous, error)

    def _forget(self, child: Child, error: BaseException | None = None) -> None:
        """This supervisor will never start it again. Told once."""
        if self._children.get(child.id) is not child:
            return

        del self._children[child.id]
        self._standing.leave(child)
        previous, child.state = child.state, ChildState.STOPPED
        if child.spec.on_change is not None:
            self._notify(child, "gone", error)

        if CHILD_CHANGED.heard:
            self._publish(child, "gone", previous, error)

    def _publish(self, child: Child, state: str, previous: ChildState, error: BaseException | None) -> None:
        from ..telemetry._records import ChildChanged

        path, kind = self._path_of(child), child.kind
        try:
            CHILD_CHANGED.tell(ChildChanged(path=path, state=state, previous=previous.value, kind=kind, error=error, lives=child.lives))
        except BaseException as interrupt:  # noqa: BLE001 - an interrupt out of somebody's hook: kept, and raised by the block
            self._end_from_within("error", interrupt)

    def _notify(self, child: Child, state: str, error: BaseException | None) -> None:
        assert child.spec.on_change is not None
        try:
            answer = child.spec.on_change(state, error)
        except Exception as failure:  # noqa: BLE001 - somebody's function; it is told of in the log
            self._report_hook(child, state, failure)
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
        except (Exception, anyio.get_cancelled_exc_class()) as error:  # noqa: BLE001 - the same; also when a stranger cancelled this very task
            self._report_hook(child, state, error)

    def _report_hook(self, child: Child, state: str, error: BaseException) -> None:
        path = self._path_of(child)
        facts = {"dspex_child": path, "dspex_state": state}
        log.error("%s: its on_change function failed at %r", path, state, exc_info=error, extra=facts)

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
        states: Mapping[str, int] = MappingProxyType(self._in_states())
        return SupervisorStatistics(status=self.status, children=states, starts=self._starts, restarts=self._restarts)

    def _in_states(self) -> dict[str, int]:
        return {state.value: count for state, count in self._standing.counts(len(self._children)).items()}

    def tree(self, *, limit: int | None = None) -> Tree:
        """
        The live tree from here down, to print: ``str`` of it is text, and it draws itself in colour where rich prints it.

        It has everything, which takes its time where there are very many: some 10 us each. With *limit* it has about so many branches, those
        in trouble first, and counts of the others.
        """
        return Tree(self.__branch__() if limit is None else self._branch_within(limit))

    def __branch__(self) -> Branch:
        counted = self._counted_now()
        return self._drawn(tuple(branch(self._info(child, counted), child.last_value) for child in self._children.values()), {})

    def _branch_within(self, limit: int) -> Branch:
        """The same with about *limit* branches below it."""
        counted = self._counted_now()
        chosen = first_of(self._children, self._standing, limit)
        children = within(limit, chosen, lambda child, share: branch(self._info(child, counted), child.last_value, limit=share))
        return self._drawn(children, self._others(chosen))

    def _others(self, chosen: Collection[Child]) -> dict[str, int]:
        others = Counter(self._in_states())
        others.subtract(child.state.value for child in chosen)
        return {state: count for state, count in others.items() if count}

    def _drawn(self, children: tuple[Branch, ...], others: Mapping[str, int]) -> Branch:
        window = self._window
        budget = {"restarts": self._counted_now(), "allowed": window.allowed, "seconds": window.seconds}
        facts = {**self._own_facts(), **budget}
        name = self.path.rpartition("/")[2]
        return Branch(name, self._kind(), self.status.value, facts, children, in_short(self._failure), others)

    @property
    def _breadth(self) -> int:
        """How many children it would draw."""
        return len(self._children)

    def _kind(self) -> str:
        return "supervisor"

    def _own_facts(self) -> dict[str, Any]:
        return {}

    def __repr__(self) -> str:
        children = ", ".join(f"{count} {state}" for state, count in self._in_states().items()) or "none"
        window = self._window
        restarts = f"{self._counted_now()}/{window.allowed} in {window.seconds:g} s"
        return f"<{type(self).__name__} {self.path!r} [{self.status.value} | children: {children} | restarts: {restarts}]>"

    def _counted_now(self) -> int:
        return _counted(self._window)

    def _info(self, child: Child, counted: int) -> ChildInfo:
        window = child.window or self._window
        run = child.run
        return ChildInfo(
            id=child.id,
            state=child.state,
            restart=child.spec.restart,
            value=run.value if run is not None else None,
            restarts=counted if child.window is None else _counted(child.window),
            allowed=window.allowed,
            seconds=window.seconds,
            significant=child.spec.significant,
            kind=child.kind,
            error=child.error,
            own_budget=child.window is not None,
            lives=child.lives,
            path=self._path_of(child),
        )


def _counted(window: Window) -> int:
    try:
        return window.count(anyio.current_time())
    except Exception:  # noqa: BLE001 - asked where no loop runs, as a repr may be
        return 0
