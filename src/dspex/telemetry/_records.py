"""
What happened, as frozen records: one class a kind of event.

Durations are in seconds, on a clock that only goes forward; `at` is Unix time in seconds. Values of variables are in none of them, so that nothing
`sensitive` can be; errors mask such values themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import time
from typing import Any, Literal

from attrs import field, frozen

Backend = Literal["local", "bridged", "custom"]
"""What serves a context, in a word."""


@frozen(kw_only=True)
class Record:
    """What all have."""

    at: float = field(factory=time)
    """When it had happened: Unix time in seconds."""


@frozen(kw_only=True)
class OfContext(Record):
    """What all have that are about one context."""

    context_id: str
    """Its id, which is its session's."""
    context_name: str | None = None
    """The name that `whereis` finds it by, if it has one. Of a context of a family, the family's name and its key: ``"users/ada"``."""


# --- the switch --------------------------------------------------------------------------------------------------------------------


@frozen
class SwitchStep:
    """One step of a switch."""

    name: str
    """``"open"``, ``"stage"``, ``"verify"``, ``"commit"``, ``"clean up"`` or ``"roll back"``."""
    at: float
    """When it had ended: Unix time in seconds."""
    seconds: float
    """How long it took."""
    ok: bool = True
    """Whether it succeeded."""


@frozen(kw_only=True)
class BackendSwitched(OfContext):
    """A context moved its whole state from one backend to another. Told once the old one is cleaned up."""

    source: str
    """The class of the backend it had: ``"LocalState"``."""
    target: str
    """The class of the one it has now: ``"BridgedState"``."""
    seconds: float
    """From the beginning to the commit, for which its other requests waited."""
    variables: int
    """How many moved."""
    bytes: int
    """The encoded size of what moved."""
    steps: tuple[SwitchStep, ...] = ()
    """What it did, in order."""


@frozen(kw_only=True)
class SwitchFailed(OfContext):
    """A switch was rolled back: the backend that served goes on, nothing is lost."""

    source: str
    """The class of the backend that still serves."""
    step: str
    """The step that failed, as in `SwitchStep.name`."""
    error: BaseException | None
    """Why; None where whoever asked for it has gone, or ran out of time."""
    seconds: float
    """From the beginning to the end of the roll back."""
    steps: tuple[SwitchStep, ...] = ()
    """What it did, in order."""


# --- variables ---------------------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class VariableOperation(OfContext):
    """An operation was served."""

    backend: Backend
    """What served it."""
    operation: str
    """``"get"``, ``"set"``, ``"update"``, ``"add"``, ``"append"``, ``"merge"``, ``"get_many"``, ``"set_many"``, ``"define"``, ``"delete"``, ``"list"``, ..."""
    variables: tuple[str, ...]
    """The names of those it was about; empty for all of them."""
    version: int | None = None
    """The version that a write of one variable made, where that is known without asking."""
    seconds: float
    """How long the backend took."""
    waited: float = 0.0
    """Seconds that it waited in the mailbox before."""
    direct: bool = True
    """Whether it was delivered directly, without the mailbox."""


@frozen(kw_only=True)
class OperationFailed(OfContext):
    """An operation was refused, or the backend failed in it, which is a crash."""

    backend: Backend
    """What served it."""
    operation: str
    """As in `VariableOperation`."""
    variables: tuple[str, ...]
    """The names of those it was about."""
    error: BaseException
    """What its caller gets."""
    seconds: float
    """How long the backend took to refuse it."""
    waited: float = 0.0
    """Seconds that it waited in the mailbox before."""
    direct: bool = True
    """Whether it was delivered directly, without the mailbox."""


# --- programs ----------------------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class ProgramCalled(OfContext):
    """A call of a program has ended."""

    program_id: str
    """Which."""
    where: Literal["host", "worker"]
    """Whether it ran in this process."""
    pool: str | None = None
    """The pool whose worker ran it; None in the host."""
    worker_pid: int | None = None
    """The process that ran it; None in the host, and where none got it."""
    queued: float
    """Seconds until it had a place to run in."""
    seconds: float
    """Seconds from then until it had ended for its caller, the way to the worker and back included."""
    outcome: Literal["returned", "failed", "died", "timeout", "cancelled", "refused"]
    """``"failed"``: the program raised. ``"died"``: its worker did. ``"refused"``: it was not called."""
    error: BaseException | None = None
    """What its caller got instead of a result."""
    usage: Mapping[str, Any] = field(factory=dict[str, Any])
    """For a DSPy program: what its language models used, by model, as DSPy tells it."""


# --- workers -----------------------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class WorkerStarted(Record):
    """A worker is ready: it has said hello and imported its pool's ``imports``."""

    bridge: str
    """What its bridge is called."""
    pool: str
    """What its pool is called."""
    pid: int
    """Its process id."""
    seconds: float
    """From the start of its process until it was ready."""


@frozen(kw_only=True)
class WorkerEnded(Record):
    """A worker's process has ended, and nothing of it is left."""

    bridge: str
    """What its bridge is called."""
    pool: str
    """What its pool is called."""
    pid: int
    """Its process id."""
    ending: Literal["drained", "killed", "died", "never started"]
    """``"drained"``: it was asked to leave. ``"killed"``: here, for a program that would not end. ``"died"``: by itself, or by somebody's signal."""
    exit_code: int | None
    """What its process returned; None where a signal ended it."""
    signal: str | None
    """The signal that ended it: ``"SIGKILL"``."""
    last_words: str
    """The end of what it wrote to stdout and stderr, at most 8 KiB."""
    seconds: float
    """How long its process ran."""
    served: int
    """Calls it was given, and programs to look at as they were registered."""


# --- children ----------------------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class ChildChanged(Record):
    """A supervisor's child is in another state."""

    path: str
    """The ids from the root down to it: ``"app/ingest/chat"``. Also the name of its task."""
    state: str
    """One of `ChildState`: ``"starting"``, ``"running"``, ``"restarting"``, ``"parked"``, ``"stopped"``, ...; ``"gone"``: its supervisor has forgotten it."""
    previous: str
    """The one before."""
    kind: Literal["supervisor", "worker"]
    """A supervisor has children of its own."""
    error: BaseException | None = None
    """Why, if it failed."""
    lives: int = 0
    """How often its start was called."""


# --- contexts ----------------------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class ContextChanged(OfContext):
    """A context opened, or ended: for good or until its next life."""

    status: str
    """``"running"``: it opened. ``"restarting"`` and ``"parked"``: it crashed, under a supervisor. ``"crashed"``, ``"expired"``, ``"closed"``: for good."""
    backend: Backend
    """What serves it, or did."""
    error: BaseException | None = None
    """What it crashed of."""
    lives: int = 1
    """How often its owner came up."""


# --- slow and stuck ----------------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class OwnerStuck(OfContext):
    """An owner has been in one operation for longer than the watchdog's bound. Told once an operation."""

    operation: str
    """Which."""
    seconds: float
    """How long already."""
    stack: str
    """Where it waits, or what it is doing: the innermost frame last."""


@frozen(kw_only=True)
class LoopHeld(Record):
    """An event loop has not run for longer than the watchdog's bound. Told once each time."""

    thread: str
    """The name of its thread."""
    seconds: float
    """How long already."""
    stack: str
    """What the thread is doing: the innermost frame last."""
