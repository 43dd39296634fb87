"""
Where things are: from the roots down to a worker, what is below what, and by which path each is known.

A path is the ids from a root down, with slashes between: of a supervisor's child the same that names its task. A slash within an id is written ``%2F``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from attrs import frozen

from ...bridge import Bridge
from ...context import Context
from ...context._family import Contexts
from ...supervision._child import Child
from ...supervision._told import Told
from ...telemetry._live import BRIDGES, CONTEXTS, FAMILIES, ROOTS
from ...worker.host.pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable

TOP = "/"
"""The path of the process itself, which all roots are below."""


# So many children are listed in a tenth of a slice.
_BROAD = 1000


@frozen(eq=False)
class Spot:
    """
    One thing of the live tree.

    Attributes:
        path: where it is.
        thing: a supervisor, a context, a family, a bridge, a pool, a seat of a pool, or whatever else a supervisor keeps.
        child: what the supervisor above knows of it; None where there is none.
        above: what it is below; None for a root.

    """

    path: str
    thing: Any
    child: Child | None = None
    above: Spot | None = None

    @property
    def is_broad(self) -> bool:
        """Whether listing what is below it takes long enough to count."""
        return getattr(self.thing, "_breadth", 0) > _BROAD

    def below(self) -> Iterator[Spot]:
        """What is right below it."""
        for base, walk, _ in _WAYS:
            if isinstance(self.thing, base):
                return (self._at(part, thing) for part, thing in walk(self.thing))

        return iter(())

    def at(self, part: str) -> Spot | None:
        """What is right below it under the id *part*, as a path has it."""
        for base, _, find in _WAYS:
            if isinstance(self.thing, base):
                found = find(self.thing, part)
                return None if found is None else self._at(part, found)

        return None

    def _at(self, part: str, thing: Any) -> Spot:
        child = thing if isinstance(thing, Child) else None
        return Spot(f"{self.path}/{escaped(part)}", thing if child is None else _value_of(child), child, self)


def escaped(part: str) -> str:
    """An id as a part of a path."""
    return part.replace("/", "%2F")


def is_live(thing: Any) -> bool:
    """Whether the root *thing* is still there."""
    if isinstance(thing, Context):
        return thing._inside in CONTEXTS

    return thing in ROOTS or thing in BRIDGES or thing in FAMILIES


def _value_of(child: Child) -> Any:
    run = child.run
    if run is None:
        value = child.last_value
    else:
        value = run.below if run.value is None else run.value

    return child if value is None else value


# --- what is below what ------------------------------------------------------------------------------------------------------------


def _children(supervisor: Told) -> Iterator[tuple[str, Any]]:
    return ((child.id, child) for child in _one_by_one(supervisor._children.values()))


def _child(supervisor: Told, part: str) -> Any:
    return supervisor._children.get(part)


def _one_by_one(things: Iterable[Any]) -> Iterator[Any]:
    """What there is now, let go one by one: at the end, all at once, that would take a slice."""
    waiting = list(things)
    waiting.reverse()
    while waiting:
        yield waiting.pop()


def _members(family: Contexts) -> Iterator[tuple[str, Any]]:
    house = family._house
    if house is None:
        return

    if house._bridge is not None:
        yield house._bridge.name, house._bridge

    for tenant in _one_by_one(house.tenancy.tenants.values()):
        if tenant.context is not None:
            yield tenant.key, tenant.context


def _member(family: Contexts, part: str) -> Any:
    house = family._house
    if house is None:
        return None

    tenants = house.tenancy.tenants
    tenant = tenants.get(part) or tenants.get(part.replace("%2F", "/"))
    if tenant is not None and tenant.context is not None:
        return tenant.context

    bridge = house._bridge
    return bridge if bridge is not None and escaped(bridge.name) == escaped(part) else None


def _private(context: Context) -> Iterator[tuple[str, Any]]:
    bridge = context._inside.private
    if bridge is not None:
        yield bridge.name, bridge


def _named(walk: Callable[[Any], Iterator[tuple[str, Any]]]) -> Callable[[Any, str], Any]:
    return lambda thing, part: next((below for name, below in walk(thing) if escaped(name) == escaped(part)), None)


def _pools(bridge: Bridge) -> Iterator[tuple[str, Any]]:
    return iter(list(bridge._pools.items()))


def _seats(pool: WorkerPool) -> Iterator[tuple[str, Any]]:
    return pool._seats._named()


_WAYS: tuple[tuple[type, Callable[[Any], Iterator[tuple[str, Any]]], Callable[[Any, str], Any]], ...] = (
    (Told, _children, _child),
    (Contexts, _members, _member),
    (Context, _private, _named(_private)),
    (Bridge, _pools, _named(_pools)),
    (WorkerPool, _seats, _named(_seats)),
)


# --- the roots ---------------------------------------------------------------------------------------------------------------------


def roots() -> Iterator[Any]:
    """What stands alone, but for contexts: those may be very many."""
    yield from ROOTS
    yield from (family for family in FAMILIES if not family._is_part)
    yield from (bridge for bridge in BRIDGES if not bridge._is_part)


def stands_alone(inside: Any) -> bool:
    """Whether a context is below nothing."""
    return inside.seat is None


class RootNames:
    """What each root is called in paths: the same as long as it lives, and no two alike."""

    __slots__ = ("_names", "_things")

    def __init__(self) -> None:
        self._names: dict[Any, str] = {}
        self._things: dict[str, Any] = {}

    def spot(self, thing: Any) -> Spot:
        """The root *thing*."""
        name = self._names.get(thing)
        if name is None:
            name = self._names[thing] = self._free(escaped(_own_name(thing)))
            self._things[name] = thing

        return Spot(name, thing)

    def find(self, name: str) -> Spot | None:
        """The root called *name*, if it is still there."""
        thing = self._things.get(name)
        return Spot(name, thing) if thing is not None and is_live(thing) else None

    def forget(self) -> None:
        """Those that have gone."""
        for name, thing in list(self._things.items()):
            if not is_live(thing):
                del self._things[name], self._names[thing]

    def _free(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self._things:
            number += 1
            name = f"{wanted}~{number}"

        return name


def _own_name(thing: Any) -> str:
    if isinstance(thing, Told):
        return thing.path

    return str(thing.name or thing.id)
