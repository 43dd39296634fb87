"""`isolated`: the mark that sends a function to a worker process. It leaves the function as it is, so that it still imports by name."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar, overload

MARK: Final = "__dspex_isolated__"

F = TypeVar("F", bound=Callable[..., Any])


class Isolation(NamedTuple):
    """What the mark says: the *pool* whose workers run the program, None for the one named at registration."""

    pool: str | None = None


@overload
def isolated(program: F, /) -> F: ...
@overload
def isolated(*, pool: str | None = None) -> Callable[[F], F]: ...
def isolated(program: F | None = None, /, *, pool: str | None = None) -> F | Callable[[F], F]:
    """
    Mark a function or a class as a program that runs in a worker process, never in this one.

    Called directly it behaves as before. *pool* names the pool of the bridge whose workers run it::

        @isolated
        def parse(document: bytes) -> str: ...


        @isolated(pool="ocr")
        def recognise(page: bytes, ctx: ProgramContext) -> str: ...
    """

    def mark(marked: F) -> F:
        setattr(marked, MARK, Isolation(pool))
        return marked

    return mark if program is None else mark(program)


def isolation_of(program: object) -> Isolation | None:
    """The mark of *program*, or of the class it is an instance of, or of what a partial wraps."""
    import inspect  # a worker that imports a marked function doesn't ask

    function: Any = program
    while isinstance(function, functools.partial):
        function = function.func

    if isinstance(function, types.MethodType):
        function = function.__func__

    found = inspect.getattr_static(function, MARK, None)  # runs no code of the object's
    return found if isinstance(found, Isolation) else None
