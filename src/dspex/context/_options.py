"""
The options of a context: as a type, for those who pass them on; checked; and as the context keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from attrs import frozen

from ..state import BackendSpec
from ..variables import Snapshot, Var

if TYPE_CHECKING:
    from ..bridge import Bridge
    from ._handle import Context

Init: TypeAlias = Callable[["Context"], Any]


class UnnamedOptions(TypedDict, total=False):
    """Keyword options of `Context` but for its name."""

    variables: Iterable[Var[Any]]
    programs: Mapping[str, Any] | Iterable[tuple[str, Any]]
    init: Init | None
    backend: Any
    bridge: Bridge | str | None
    session_id: str | None
    ttl: float | None
    existing_state: Snapshot | None
    mailbox_size: int
    max_container: int


class ContextOptions(UnnamedOptions, total=False):
    """Keyword options of `Context`, which says what each means."""

    name: str | None


@frozen
class Options:
    """
    What a context was asked to be.

    Attributes:
        spec: the backend to begin with.
        bridge: the one it was given, or the name of a sibling under a supervisor that is one.
        given_id: whether its session was named, and so is kept when it stops.
        existing: variables to begin with, exactly as they were.
        variables: defined at the start, unless they are there.
        programs: registered at the start.
        init: awaited at the end of the start.

    """

    spec: BackendSpec
    bridge: Bridge | str | None
    given_id: bool
    existing: Snapshot | None
    variables: tuple[Var[Any], ...]
    programs: tuple[tuple[str, Any], ...]
    init: Init | None


_PAIRS: tuple[type[Any], ...] = (tuple, list)


def check_options(
    *,
    name: Any,
    session_id: Any,
    ttl: Any,
    sizes: Mapping[str, Any],
    existing_state: Any,
    bridge: Any,
    variables: Any,
    programs: Any,
    init: Any,
) -> None:
    """Raises `TypeError` or `ValueError` for an option that can't be, in words."""
    for label, text in (("name", name), ("session_id", session_id)):
        if text is not None and (not isinstance(text, str) or not text):
            raise TypeError(f"{label}: expected a non-empty str or None, got {text!r}")

    if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, (int, float)) or not 0 < ttl < float("inf")):
        raise ValueError(f"ttl: expected a positive, finite number of seconds or None, got {ttl!r}")

    for label, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{label}: expected an int of at least 1, got {size!r}")

    if existing_state is not None and not isinstance(existing_state, Snapshot):
        raise TypeError(f"existing_state: expected a Snapshot (see Snapshot.from_json) or None, got {type(existing_state).__name__}")

    if bridge is not None and not (isinstance(bridge, str) and bridge) and not hasattr(bridge, "store"):
        raise TypeError(f"bridge: expected an open Bridge, the id of one under a supervisor, or None, got {type(bridge).__name__}")

    if init is not None and not callable(init):
        raise TypeError(f"init: expected a function of the context or None, got {init!r}")

    _check_contents(variables, programs)


def _check_contents(variables: Any, programs: Any) -> None:
    vars_asked = "variables: expected a list of Vars"
    for var in _items(variables, vars_asked):
        if not isinstance(var, Var):
            raise TypeError(f"{vars_asked}, got {var!r} in it")

    pairs_asked = "programs: expected a mapping of ids to programs, or pairs of them"
    for pair in () if isinstance(programs, Mapping) else _items(programs, pairs_asked):
        if not isinstance(pair, _PAIRS) or len(pair) != 2:
            raise TypeError(f"{pairs_asked}, got {pair!r} in it")


def _items(given: Any, asked: str) -> tuple[Any, ...]:
    """What is in *given*, where looking doesn't use it up: an iterator is read once, and not here."""
    held: Any = given
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"{asked}, got {given!r}")

    return tuple(held) if isinstance(given, Collection) else ()
