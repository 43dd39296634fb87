"""
What a supervisor is told of a child: how to start it, when to start it again, how to stop it. Frozen, and checked when it is made.
"""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

from attrs import field, fields, frozen

Start: TypeAlias = Callable[..., Awaitable[Any]]
Restart: TypeAlias = Literal["permanent", "transient", "temporary"]
Shutdown: TypeAlias = float | Literal["brutal_kill"]
OnLimit: TypeAlias = Literal["escalate", "park"]

RESTART_TYPES: Final = ("permanent", "transient", "temporary")
ON_LIMIT: Final = ("escalate", "park")

_RANDOM: Final = random.Random()  # noqa: S311 - jitter


@runtime_checkable
class Delays(Protocol):
    """What says how long a restart waits."""

    def delay(self, strikes: int, /) -> float:
        """Seconds before the restart number *strikes* in a row. Starts at 1."""
        ...


@frozen
class Backoff:
    """
    Restarts that follow one another ever more slowly.

    The restarts of a child in a row are counted, and forgotten once it has run for longer than *maximum*.

    Args:
        initial: seconds before the first restart.
        factor: by which each delay is longer than the one before it.
        maximum: seconds, however many there were.
        jitter: by which fraction a delay is longer or shorter, at random, so that many children don't come back in step.

    Raises:
        ValueError: a number is out of its range.

    """

    initial: float = 0.1
    factor: float = 2.0
    maximum: float = 30.0
    jitter: float = 0.2

    def __attrs_post_init__(self) -> None:
        bounds = {"initial": (0.0, math.inf), "factor": (1.0, math.inf), "maximum": (self.initial, math.inf), "jitter": (0.0, 1.0)}
        for name, (low, high) in bounds.items():
            number = getattr(self, name)
            if not _is_number(number) or not low <= number <= high or number == math.inf:
                raise ValueError(f"{name}: expected a finite number from {low:g} to {high:g}, got {number!r}")

    def delay(self, strikes: int) -> float:
        """Seconds before the restart number *strikes* in a row. Starts at 1."""
        # Beyond the exponent of a float there is nothing but the maximum.
        steady = min(self.maximum, self.initial * self.factor ** min(strikes - 1, 64))
        return steady * (1 + self.jitter * (2 * _RANDOM.random() - 1))


@frozen
class ChildSpec:
    """
    One child of a supervisor, as OTP's child specification.

    Args:
        id: unique among its siblings; the last part of its path.
        start: an async callable without arguments (see `functools.partial`), run in a task of the child's own. It may take a keyword
            ``task_status``, anyio's: then the child is ready when it calls ``task_status.started(value)``, and its siblings wait for that.
            Returning before that means that there is nothing to do: the child is listed as stopped, a temporary one not at all.
        restart: ``"permanent"``: started again however it ended. ``"transient"``: unless it returned. ``"temporary"``: never.
        shutdown: seconds that it has to end when it is asked to. ``math.inf``: as long as it takes. ``"brutal_kill"``: cancelled at once, and
            not waited for. A task can't be killed: past its time a child is *overdue*, is reported with its stack, and tracked until it is gone.
        significant: its end may end the supervisor, as ``auto_shutdown`` says. Not for permanent children, which never end.
        backoff: how long its restarts wait. None: not at all.
        max_restarts: a budget of its own, apart from its siblings'; so many restarts in *max_seconds*.
        max_seconds: the window of that budget in seconds.
        on_limit: past its budget ``"escalate"`` makes the supervisor give up; ``"park"`` leaves this child parked and visible and its siblings
            running. A child that may be parked always has a budget of its own, by default of its supervisor's size.
        stop: ``stop(final)`` asks it to end by itself, and may be async. Then it has *shutdown* seconds before it is cancelled; without it,
            it is cancelled at once. *final* is False when it is to be started again, with its group.
        on_change: a function of (state, error), called in the very step in which its state changes: ``"starting"``, ``"running"``,
            ``"stopping"``, ``"overdue"``, ``"restarting"``, ``"parked"``, ``"stopped"``, and ``"gone"`` when this supervisor will never start it
            again. A coroutine that it returns is run by the supervisor before it ends.

    Raises:
        TypeError: something is not what it should be; says what is expected.
        ValueError: the same, of values and of combinations.

    """

    id: str
    start: Start
    restart: Restart = field(default="permanent", kw_only=True)
    shutdown: Shutdown = field(default=5.0, kw_only=True)
    significant: bool = field(default=False, kw_only=True)
    backoff: Delays | None = field(default=None, kw_only=True)
    max_restarts: int | None = field(default=None, kw_only=True)
    max_seconds: float | None = field(default=None, kw_only=True)
    on_limit: OnLimit = field(default="escalate", kw_only=True)
    stop: Callable[[bool], Any] | None = field(default=None, kw_only=True, repr=False)
    on_change: Callable[[str, BaseException | None], Any] | None = field(default=None, kw_only=True, repr=False)
    says_when_ready: bool = field(init=False, repr=False, eq=False, default=False)

    def __attrs_post_init__(self) -> None:
        check_name("id", self.id)
        check_choice("restart", self.restart, RESTART_TYPES)
        check_choice("on_limit", self.on_limit, ON_LIMIT)
        _check_shutdown(self.shutdown)
        _check_callables(self)
        object.__setattr__(self, "says_when_ready", _takes_task_status(self.start))
        if not isinstance(self.significant, bool):
            raise TypeError(f"significant: expected a bool, got {self.significant!r}")

        if self.significant and self.restart == "permanent":
            raise ValueError("significant: a permanent child never ends for good. Make it transient or temporary.")

        if self.max_restarts is not None:
            check_restarts(self.max_restarts)

        if self.max_seconds is not None:
            check_seconds(self.max_seconds)

    @property
    def has_own_budget(self) -> bool:
        """Whether its restarts are counted apart from its siblings'."""
        return self.on_limit == "park" or self.max_restarts is not None or self.max_seconds is not None

    def with_start(self, start: Start) -> ChildSpec:
        """The same with another start, which isn't looked at: it is never called. `copy.copy` takes twice as long."""
        changed = object.__new__(ChildSpec)
        for name in _FIELDS:
            object.__setattr__(changed, name, getattr(self, name))

        object.__setattr__(changed, "start", start)
        return changed


_FIELDS: Final = tuple(each.name for each in fields(ChildSpec))


def check_name(label: str, name: Any) -> None:
    """Raises unless *name* can be a part of a path."""
    text: Any = name
    if not isinstance(text, str):
        why = " Other keys can be turned into one: 1, 1.0 and True would be the same id." if label == "id" else ""
        raise TypeError(f"{label}: expected a str, got {name!r}.{why}")

    if not name or "/" in name:
        raise ValueError(f"{label}: expected a str that isn't empty and has no '/', which divides paths, got {name!r}")


def check_restarts(number: Any) -> None:
    """Raises unless *number* can be a count of restarts."""
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"max_restarts: expected an int of at least 0, got {number!r}")

    if number < 0:
        raise ValueError(f"max_restarts: expected an int of at least 0, got {number!r}")


def check_seconds(seconds: Any) -> None:
    """Raises unless *seconds* can be the length of a window."""
    if not _is_number(seconds):
        raise TypeError(f"max_seconds: expected a positive, finite number of seconds, got {seconds!r}")

    if not 0 < seconds < math.inf:
        raise ValueError(f"max_seconds: expected a positive, finite number of seconds, got {seconds!r}")


def check_choice(label: str, choice: Any, choices: tuple[str, ...]) -> None:
    """Raises unless *choice* is one of *choices*."""
    if choice not in choices:
        raise ValueError(f"{label}: expected one of {', '.join(map(repr, choices))}, got {choice!r}")


def _check_shutdown(shutdown: Any) -> None:
    expected = "shutdown: expected a number of seconds of at least 0, math.inf or 'brutal_kill'"
    if shutdown == "brutal_kill":
        return

    if not isinstance(shutdown, str) and not _is_number(shutdown):
        raise TypeError(f"{expected}, got {shutdown!r}")

    if isinstance(shutdown, str) or not shutdown >= 0:
        raise ValueError(f"{expected}, got {shutdown!r}")


def _check_callables(spec: ChildSpec) -> None:
    if not callable(spec.start):
        raise TypeError(f"start: expected an async function without arguments, or with task_status, got {spec.start!r}. Don't call it.")

    for label, given in (("stop", spec.stop), ("on_change", spec.on_change)):
        if given is not None and not callable(given):
            raise TypeError(f"{label}: expected a callable or None, got {given!r}")

    if spec.backoff is not None and not isinstance(spec.backoff, Delays):
        raise TypeError(f"backoff: expected a Backoff, or something with delay(strikes), or None, got {spec.backoff!r}")


def _takes_task_status(start: Start) -> bool:
    code = getattr(getattr(start, "__func__", start), "__code__", None)
    if code is not None and not hasattr(start, "__wrapped__"):
        # The names of its arguments come first. A signature takes thirty times as long.
        return "task_status" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

    try:
        return "task_status" in inspect.signature(start).parameters
    except (TypeError, ValueError):
        return False


def _is_number(number: Any) -> bool:
    return isinstance(number, (int, float)) and not isinstance(number, bool)
