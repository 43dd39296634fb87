"""
The options of a context as a type, for those who pass them on: `Context.start` and code that makes contexts for others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from ..bridge import Bridge
    from ..variables import Snapshot, Var
    from ._handle import Context


class ContextOptions(TypedDict, total=False):
    """Keyword options of `Context`, which says what each means."""

    name: str | None
    variables: Iterable[Var[Any]]
    programs: Mapping[str, Any] | Iterable[tuple[str, Any]]
    init: Callable[[Context], Any] | None
    backend: Any
    bridge: Bridge | None
    session_id: str | None
    ttl: float | None
    existing_state: Snapshot | None
    mailbox_size: int
    max_container: int
