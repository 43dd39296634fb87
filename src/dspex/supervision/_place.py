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
    from ._facts import ChildInfo
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
    here = place.get()
    nearest = here.supervisor.path if here is not None else "(none above this code)"
    listed: list[tuple[str, ChildInfo]] = []
    while here is not None:
        found = here.supervisor._running(name)
        if found is not None:
            return found.value

        listed += [(here.supervisor.path, info) for info in here.supervisor.which_children()]
        here = here.above

    for path, info in listed:
        if info.id == name:
            raise ChildNotFound(name, supervisor=path, state=info.state.value)

    raise ChildNotFound(name, supervisor=nearest, known=[info.id for _, info in listed])
