"""What a user may ask of a pool of workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypedDict

from attrs import Attribute, field, fields, frozen


def _count(minimum: int) -> Callable[[Any, Attribute[Any], Any], None]:
    def check(_: Any, attribute: Attribute[Any], value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{attribute.name}: expected an int, got {value!r}.")

        if value < minimum:
            raise ValueError(f"{attribute.name}: expected at least {minimum}, got {value}.")

    return check


def _optional_count(_: Any, attribute: Attribute[Any], value: Any) -> None:
    if value is not None:
        _count(1)(_, attribute, value)


def _seconds(_: Any, attribute: Attribute[Any], value: float) -> None:
    if not value >= 0:
        raise ValueError(f"{attribute.name}: expected seconds, 0 or more, got {value!r}.")


def _interpreter(value: str | os.PathLike[str] | None) -> str | None:
    return _path(value, "python: expected the path of an interpreter, or its name on PATH")


def _directory(value: str | os.PathLike[str] | None) -> str | None:
    return _path(value, "cwd: expected the path of a directory")


def _path(value: str | os.PathLike[str] | None, expected: str) -> str | None:
    if value is not None and not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{expected}, got {value!r}.")

    return None if value is None else os.fspath(value)


def _texts(values: Iterable[str | os.PathLike[str]]) -> tuple[str, ...]:
    given: object = values
    if isinstance(given, (str, bytes, os.PathLike)):
        raise TypeError(f"Expected a sequence of texts, got one: {values!r}. Put it in a list.")

    return tuple(os.fspath(value) for value in values)


def _variables(given: Mapping[Any, Any] | None) -> dict[str, str]:
    for name, text in (given or {}).items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError(f"env: expected names and values of type str, got {name!r}: {text!r}.")

    return dict(given or {})


def _names_alone(env: Mapping[str, str]) -> str:
    """The environment for a repr: its values may be keys."""
    return repr(dict.fromkeys(env, "..."))


@frozen(kw_only=True)
class Pool:
    """
    The options of a pool: how many workers, of what kind, and what bounds them.

    Args:
        workers: how many processes, all kept running.
        concurrency: how many calls at once in each of them.
        queue: how many calls may wait for a place; one more is refused with `Overloaded`.
        python: the interpreter, 3.9 or newer, by path or by a name on PATH. It needs nothing of ours installed. None: this one.
        env: environment variables to set in the workers, beside those of this process.
        cwd: the workers' working directory. None: this process's.
        path: directories put first on the workers' ``sys.path``.
        imports: modules that workers import before they are asked to.
        kill_after: seconds that a program whose call was cancelled has to end, before its process is killed and replaced.
        max_calls: how many calls a worker serves before it is replaced. None: any number.
        max_rss: bytes of resident memory past which a worker is replaced once its calls have ended (on Linux). None: any amount.

    Raises:
        TypeError, ValueError: an option is of the wrong type or out of its range.

    """

    workers: int = field(default=1, validator=_count(1))
    concurrency: int = field(default=16, validator=_count(1))
    queue: int = field(default=1024, validator=_count(0))
    python: str | None = field(default=None, converter=_interpreter)
    env: dict[str, str] = field(default=None, converter=_variables, repr=_names_alone)
    cwd: str | None = field(default=None, converter=_directory)
    path: tuple[str, ...] = field(default=(), converter=_texts)
    imports: tuple[str, ...] = field(default=(), converter=_texts)
    kill_after: float = field(default=1.0, validator=_seconds)
    max_calls: int | None = field(default=None, validator=_optional_count)
    max_rss: int | None = field(default=None, validator=_optional_count)


class PoolOptions(TypedDict, total=False):
    """The arguments of `Pool`, for those who pass them on."""

    workers: int
    concurrency: int
    queue: int
    python: str | os.PathLike[str] | None
    env: Mapping[str, str] | None
    cwd: str | os.PathLike[str] | None
    path: Iterable[str | os.PathLike[str]]
    imports: Iterable[str | os.PathLike[str]]
    kill_after: float
    max_calls: int | None
    max_rss: int | None


def refuse_unknown(options: Iterable[str], *, of: str, others: Iterable[str]) -> None:
    """Raises a TypeError for the first of *options* that `Pool` has not; it names those it has, and the *others* that *of* takes itself."""
    known = sorted([*others, *(attribute.name for attribute in fields(Pool))])
    for option in options:
        if option not in known:
            close = get_close_matches(option, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"{of}: unknown option {option!r}.{hint} It takes {', '.join(known)}.")
