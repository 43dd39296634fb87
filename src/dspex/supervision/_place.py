"""
Where in a tree some code runs: it follows the task, by a context variable.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from .._exceptions import ChildNotFound

if TYPE_CHECKING:
    from ._child import Run
    from ._told import Told


@frozen(eq=False)
class Place:
    """
    A child's place.

    Attributes:
        supervisor: whose child this code runs in.
        path: the ids from the root down to the child, with slashes between.
        run: the life of the child that this code belongs to.
        above: the place that the supervisor itself runs in.

    """

    supervisor: Told = field(repr=False)
    path: str
    run: Run = field(repr=False)
    above: Place | None = field(repr=False)


place: ContextVar[Place | None] = ContextVar("dspex_place", default=None)


def current_path() -> str:
    """The path of the child that this code runs in; empty outside of a tree."""
    here = place.get()
    return here.path if here is not None else ""


def way_down_from(supervisor: object) -> tuple[list[str], Run] | None:
    """The paths from the child of *supervisor* that this code runs in, or below, down to this code; and that child's life. None outside of it."""
    here = place.get()
    chain: list[str] = []
    while here is not None:
        chain.insert(0, here.path)
        if here.supervisor is supervisor:
            return chain, here.run

        here = here.above

    return None


def sibling(name: str) -> Any:
    """
    What the running child *name* gave as its value: of the nearest supervisor above this code that has such a child.

    Raises:
        ChildNotFound: none above has one that runs.

    """
    above = _supervisors_above()
    for supervisor in above:
        found = supervisor._running(name)
        if found is not None:
            return found.value

    raise _not_found(name, above)


def _supervisors_above() -> list[Told]:
    """Those above this code, the nearest first."""
    above: list[Told] = []
    here = place.get()
    while here is not None:
        above.append(here.supervisor)
        here = here.above

    return above


def _not_found(name: str, above: list[Told]) -> ChildNotFound:
    # By its id and not by looking at each: the nearest may be a family of very many, all of which ask for the same.
    for supervisor in above:
        child = supervisor._children.get(name)
        if child is not None:
            return ChildNotFound(name, supervisor=supervisor.path, state=child.state.value)

    nearest = above[0].path if above else "(none above this code)"
    return ChildNotFound(name, supervisor=nearest, known=[child_id for supervisor in above for child_id in supervisor._children])
