"""A tree with no more branches than one has the time to build: those in trouble first, and of the others how many are in which state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from ._branch import Branch, drawn_by
from ._drawing import line_on

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._child import Child
    from ._standing import Standing

# So many children are asked whether there is trouble below them, and of all that are further down so many are looked at.
_LOOKS: Final = 2000


def bounded(thing: object, limit: int = 200) -> Branch:
    """
    What *thing* shows of itself in a tree, with about *limit* branches below it; those that are left out are counted in ``others``.

    However many there are: of a hundred thousand children it takes a few milliseconds. What can't be drawn says so in its ``note``.
    """
    return drawn_by(thing, Branch(type(thing).__name__), limit=limit)


def others_line(branch: Branch) -> str:
    """One line on the children of *branch* that are left out: ``"… and 1,204 more: 1,200 running, 4 restarting"``. Empty when there are none."""
    return line_on(branch.others)


def first_of(children: Mapping[str, Child], standing: Standing, limit: int) -> Collection[Child]:
    """So many of *children* to draw: those somebody should look at, those below which there is trouble, then the first. All, if there is room."""
    if len(children) <= limit:
        return children.values()

    return dict.fromkeys(islice(dict.fromkeys(_by_urgency(children, standing, limit)), limit))


def _by_urgency(children: Mapping[str, Child], standing: Standing, limit: int) -> Iterator[Child]:
    looks = iter(range(_LOOKS))
    below = (child for child in islice(children.values(), _LOOKS) if child.is_supervisor and _trouble_below(child, looks))
    return chain(islice(standing.urgent(), limit), below, islice(children.values(), 2 * limit))


def _trouble_below(child: Child, looks: Iterator[int]) -> bool:
    supervisor: Any = child.run and child.run.value
    standing: Standing | None = getattr(supervisor, "_standing", None)
    if standing is None:
        return False

    further = zip(supervisor._children.values(), looks, strict=False)
    return standing.troubled or any(each.is_supervisor and _trouble_below(each, looks) for each, _ in further)


def within(limit: int, children: Collection[Child], draw: Callable[[Child, int], Branch]) -> tuple[Branch, ...]:
    """*children*, each drawn with its share of what they leave of *limit*. What those with few below them don't need, the others have."""
    left = limit - len(children)
    branches: dict[Child, Branch] = {}
    for number, child in enumerate(sorted(children, key=_breadth)):
        branches[child] = drawn = draw(child, max(0, left) // (len(children) - number))
        left -= _size(drawn) - 1

    return tuple(branches[child] for child in children)


def _breadth(child: Child) -> int:
    value = child.last_value if child.run is None or child.run.value is None else child.run.value
    return getattr(value, "_breadth", 0)


def _size(branch: Branch) -> int:
    return 1 + sum(map(_size, branch.children))
