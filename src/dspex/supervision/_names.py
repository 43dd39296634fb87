"""
Who is called what, in one run of an event loop.

Names are ``str`` and unique; a holder is visible from the moment it is up and until it is gone for good.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from .._exceptions import NameNotFound, NameTaken
from ._hosting import running

T = TypeVar("T")


class Names(Generic[T]):
    """A table of names for each event loop run. Reserving and releasing are plain steps that nothing interleaves."""

    def __init__(self) -> None:
        self._tables: WeakKeyDictionary[Any, dict[str, tuple[T, bool]]] = WeakKeyDictionary()

    def _held(self) -> dict[str, tuple[T, bool]]:
        # Not a RunVar of anyio's: that wants a task, and a line without await at the asyncio prompt runs in a callback.
        return self._tables.setdefault(running(), {})

    def reserve(self, name: str, holder: T) -> None:
        """
        Takes *name* for *holder*, not yet visible to `whereis`.

        Raises:
            NameTaken: with who holds it.

        """
        held = self._held()
        if name in held:
            raise NameTaken(name, holder=repr(held[name][0]))

        held[name] = (holder, False)

    def publish(self, name: str, holder: T) -> None:
        """Makes a reserved name visible."""
        self._held()[name] = (holder, True)

    def release(self, name: str, holder: T) -> None:
        """Gives *name* back, if *holder* still has it."""
        held = self._held()
        if name in held and held[name][0] is holder:
            del held[name]

    def whereis(self, name: str) -> T:
        """
        Who is called *name*.

        Raises:
            NameNotFound: nobody, or somebody who is still starting.

        """
        held = self._held()
        holder, visible = held.get(name, (None, False))
        if holder is None or not visible:
            raise NameNotFound(name, known=[known for known, (_, up) in held.items() if up], starting=holder is not None)

        return holder
