"""
What a context has to itself in one run of an event loop: its name, its session and, where the user made it, its backend object.

They are claimed together, in one step, before anything is opened, and given back together when it has ended for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._exceptions import InvalidBackend, NameTaken, SessionTaken
from ..supervision import Names

if TYPE_CHECKING:
    from ._handle import Context

NAMES: Names[Context] = Names()
SESSIONS: Names[Context] = Names()
# Backend objects of users' own that serve a context now, by identity.
_SERVING: dict[int, Context] = {}


def claim(context: Context, *, session: bool, backend: Any) -> None:
    """
    Takes the name of *context*, its *session* if that was named, and its *backend* object if it was given one.

    Raises:
        NameTaken, SessionTaken, InvalidBackend: another live context has it. Nothing is taken.

    """
    if context.name is not None:
        NAMES.reserve(context.name, context)

    try:
        if session:
            SESSIONS.reserve(context.id, context)

        _claim_backend(context, backend)
    except NameTaken as taken:
        give_back(context, backend=backend)
        raise SessionTaken(context.id, holder=f"{taken.holder} has it") from None
    except InvalidBackend:
        give_back(context, backend=backend)
        raise


def _claim_backend(context: Context, backend: Any) -> None:
    if backend is not None and _SERVING.setdefault(id(backend), context) is not context:
        holder = _SERVING[id(backend)]
        problem = f"this object serves {holder!r} already; give each context one of its own"
        raise InvalidBackend(type(backend).__name__, problems=[problem])


def show(context: Context) -> None:
    """It is up: `whereis` finds it."""
    if context.name is not None:
        NAMES.publish(context.name, context)


def give_back(context: Context, *, backend: Any) -> None:
    """It is gone: all that it has is free."""
    if context.name is not None:
        NAMES.release(context.name, context)

    SESSIONS.release(context.id, context)
    if _SERVING.get(id(backend)) is context:
        del _SERVING[id(backend)]
