"""
The options of a family: as a type, for those who pass them on; as the family keeps them; checked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from attrs import frozen

from ..variables import Snapshot, Var

if TYPE_CHECKING:
    from ..bridge import Bridge
    from ._farewell import Save
    from ._options import Init

Load = Callable[[str], Awaitable[Snapshot | None] | Snapshot | None]


class FamilyOptions(TypedDict, total=False):
    """What `Contexts` takes."""

    bridge: Bridge | str | None
    variables: Iterable[Var[Any]]
    programs: Mapping[str, Any] | Iterable[tuple[str, Any]]
    init: Init | None
    idle: float
    max_contexts: int
    load: Load | None
    save: Save | None
    drain: float
    name: str | None


@frozen(kw_only=True)
class Ways:
    """How a family keeps its contexts; see `Contexts`."""

    bridge: Bridge | str | None
    variables: Iterable[Var[Any]]
    programs: Mapping[str, Any] | Iterable[tuple[str, Any]]
    init: Init | None
    idle: float
    max_contexts: int
    load: Load | None
    save: Save | None
    drain: float


def check_ways(*, idle: Any, drain: Any, max_contexts: Any, load: Any, save: Any) -> None:
    """Raises `TypeError` or `ValueError` for an option that can't be, in words."""
    for label, seconds in (("idle", idle), ("drain", drain)):
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise TypeError(f"{label}: expected a number of seconds, got {seconds!r}")

        if not seconds >= 0:
            raise ValueError(f"{label}: expected 0 seconds or more, got {seconds!r}")

    if isinstance(max_contexts, bool) or not isinstance(max_contexts, int) or max_contexts < 1:
        raise ValueError(f"max_contexts: expected an int of at least 1, got {max_contexts!r}")

    for label, function in (("load", load), ("save", save)):
        if function is not None and not callable(function):
            raise TypeError(f"{label}: expected a function or None, got {function!r}")


def kept(given: Any) -> Any:
    """What there is in *given* now, to be read as often as contexts are started. What can't be read is left to be refused."""
    held: Any = given
    if isinstance(given, Mapping):
        return dict(held)

    return tuple(held) if isinstance(given, Iterable) and not isinstance(given, str) else given
