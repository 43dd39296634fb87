"""
Every public error, each owning its sentence.

A call site passes facts, the class words them: what was expected, what came, where, and what to do. The facts stay readable as
attributes, and an error survives pickling and the wire because it is rebuilt from its facts.

Standard library only, and old syntax where it must: worker processes of other interpreters (3.9 and up) load this file too.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, Mapping, Optional, Tuple, Type


class DspexError(Exception):
    """
    The root of everything dspex raises on purpose.

    Attributes:
        applied: whether the operation took effect. ``False``: it never happened. ``True``: it happened, and what failed came after.
            ``None``: unknown, as when a worker dies in the middle of a call.
        facts: what the sentence is made of, by name. The error is rebuilt from them on the other side of a process.

    """

    applied: Optional[bool] = False

    def __init__(self, sentence: str = "", **facts: Any) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.facts: Dict[str, Any] = facts

    def __str__(self) -> str:
        return self.sentence

    def __reduce__(self) -> Tuple[Any, ...]:
        return _rebuild, (type(self), self.facts, self.sentence, self.applied)


def _rebuild(cls: Type[DspexError], facts: Dict[str, Any], sentence: str, applied: Optional[bool]) -> DspexError:
    error = cls.__new__(cls)
    Exception.__init__(error, sentence)
    error.sentence = sentence
    error.facts = dict(facts)
    error.applied = applied
    for name, value in facts.items():
        setattr(error, name, value)

    return error


def _listed(names: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, names))) or "none"


def in_short(error: Optional[BaseException]) -> str:
    """Its type and what it says, on one line; empty for none."""
    if error is None:
        return ""

    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - a foreign __str__ may raise anything, and the sentence must come out all the same
        text = ""

    name = type(error).__name__
    return f"{name}: {text[:200]}" if text else name


# --- variables -------------------------------------------------------------------------------------------------------------------


class VariableNotFound(DspexError, KeyError):
    """An identifier (a name, an id or a `Var`) that the context has no variable for. ``get(v, default)`` is the lenient form."""

    def __init__(self, variable: str, *, known: Iterable[str] = (), context: str = "", close: str = "", operation: str = "") -> None:
        some = sorted(known)[:8]
        where = f" in context {context!r}" if context else ""
        meant = f" Did you mean {close!r}?" if close else ""
        hint = f" Known: {', '.join(some)}." if some else ""
        lenient = ", or pass a default to get()" if operation == "get" else ""
        super().__init__(
            f"No variable {variable!r}{where}.{meant}{hint} Define it with variables.define(){lenient}.",
            variable=variable,
            known=some,
            context=context,
            close=close,
            operation=operation,
        )
        self.variable = variable
        self.known: list[str] = some
        self.context = context
        self.close = close
        self.operation = operation


class VariableExists(DspexError, ValueError):
    """`define` was given a name (or a live id) that is taken. ``exist_ok=True`` and `ensure` accept an equal definition."""

    def __init__(self, variable: str, *, reason: str = "") -> None:
        hint = "Choose another name." if reason else "Use ensure() or exist_ok=True to keep the existing one."
        reason = reason or "a variable of this name exists"
        super().__init__(
            f"Can't define {variable!r}: {reason}. {hint}",
            variable=variable,
            reason=reason,
        )
        self.variable = variable
        self.reason = reason


class DefinitionMismatch(DspexError, TypeError):
    """A `Var` or a definition that differs in type or constraints from the variable that exists under its name."""

    def __init__(self, variable: str, *, expected: str, got: str) -> None:
        super().__init__(
            f"Variable {variable!r} is defined as {expected}, and was declared as {got}. "
            "One name has one definition: use the same Var on both sides, or another name.",
            variable=variable,
            expected=expected,
            got=got,
        )
        self.variable = variable
        self.expected = expected
        self.got = got


class InvalidValue(DspexError, ValueError):
    """A value that doesn't fit its variable's type or constraints. The stored value is unchanged."""

    def __init__(self, variable: str, *, expected: str, got: str, path: str = "") -> None:
        where = f" at {path}" if path else ""
        super().__init__(
            f"Variable {variable!r}{where}: expected {expected}, got {got}.",
            variable=variable,
            expected=expected,
            got=got,
            path=path,
        )
        self.variable = variable
        self.expected = expected
        self.got = got
        self.path = path


class InvalidDefinition(DspexError, ValueError):
    """A definition that can't be: an unknown type or constraint, one the type has no use for, ``min > max``, an initial value that doesn't fit."""

    def __init__(self, variable: str, *, problem: str, hint: str = "") -> None:
        super().__init__(f"Variable {variable!r}: {problem}.{' ' + hint if hint else ''}", variable=variable, problem=problem, hint=hint)
        self.variable = variable
        self.problem = problem
        self.hint = hint


class VersionConflict(DspexError, ValueError):
    """`set` with ``expected_version`` found another version. Read again, decide again."""

    def __init__(self, variable: str, *, expected: int, actual: int) -> None:
        super().__init__(
            f"Variable {variable!r} is at version {actual}, not {expected}: somebody wrote it meanwhile. Read it again and decide anew.",
            variable=variable,
            expected=expected,
            actual=actual,
        )
        self.variable = variable
        self.expected = expected
        self.actual = actual


class BatchError(DspexError, ValueError):
    """
    ``set_many(atomic=False)`` could not set everything.

    Attributes:
        versions: the new version of each variable that was set, by name.
        errors: the error of each that was not, by name.

    """

    applied: Optional[bool] = None

    def __init__(self, *, versions: Mapping[str, int], errors: Mapping[str, DspexError]) -> None:
        first = next(iter(errors.values()), None)
        super().__init__(
            f"{len(versions)} of {len(versions) + len(errors)} variables were set. Not set: {_listed(errors)}. First: {first}",
            versions=dict(versions),
            errors=dict(errors),
        )
        self.versions: Dict[str, int] = dict(versions)
        self.errors: Dict[str, DspexError] = dict(errors)
        self.applied = bool(versions)


class InvalidSnapshot(DspexError, ValueError):
    """A snapshot that is malformed, of a version this library doesn't read, or not a snapshot at all."""

    def __init__(self, *, problem: str, path: str = "") -> None:
        where = f" at {path}" if path else ""
        super().__init__(f"Not a usable snapshot{where}: {problem}.", problem=problem, path=path)
        self.problem = problem
        self.path = path


# --- contexts --------------------------------------------------------------------------------------------------------------------


def _named(context: str, name: str) -> str:
    return f"{name!r} ({context})" if name else repr(context)


class ContextClosed(DspexError, RuntimeError):
    """An operation on a context that is stopping or has stopped, or was never started."""

    def __init__(self, context: str, *, status: str = "closed", hint: str = "", name: str = "") -> None:
        sentence = f"Context {_named(context, name)} is {status}.{' ' + hint if hint else ''}"
        super().__init__(sentence, context=context, status=status, hint=hint, name=name)
        self.context = context
        self.name = name
        self.status = status
        self.hint = hint


class ContextCrashed(DspexError, RuntimeError):
    """The context's backend failed in a way that is no refusal. The cause is chained; `applied` says what is known of the operation."""

    def __init__(self, context: str, *, operation: str = "", applied: Optional[bool] = None, cause: str = "", name: str = "") -> None:
        during = f" while serving {operation!r}" if operation else ""
        why = f": {cause.rstrip('.')}" if cause else ""
        sentence = f"Context {_named(context, name)} crashed{during}{why}."
        super().__init__(sentence, context=context, operation=operation, cause=cause, name=name)
        self.context = context
        self.name = name
        self.operation = operation
        self.cause = cause
        self.applied = applied


class ContextExpired(ContextClosed):
    """The context was unused for longer than its ``ttl`` and has closed (the seed's ``session_expired``)."""

    def __init__(self, context: str, *, ttl: float, name: str = "") -> None:
        who = _named(context, name)
        DspexError.__init__(self, f"Context {who} was unused for more than its ttl of {ttl:g} s and has expired. Open a new one.")
        self.facts: Dict[str, Any] = {"context": context, "ttl": ttl, "name": name}
        self.context = context
        self.name = name
        self.status = "expired"
        self.hint = ""
        self.ttl = ttl


class WrongThread(DspexError, RuntimeError):
    """A context or a bridge was used from a thread, or an event loop, that isn't its own."""

    def __init__(self, context: str, *, what: str = "Context") -> None:
        super().__init__(
            f"{what} {context!r} was used from another thread or event loop than the one it runs in. "
            f"From a thread use anyio.from_thread.run(), and give each event loop a {what.lower()} of its own.",
            context=context,
            what=what,
        )
        self.context: str = context
        self.what: str = what


class SaveFailed(DspexError, RuntimeError):
    """
    A family of contexts has ended, and some of them could not be saved. From the first of the errors.

    Attributes:
        family: its name.
        errors: what kept each from being saved, by key.
        snapshots: what each held then, by key; without those that could not be read.

    """

    applied: Optional[bool] = None

    def __init__(self, family: str, *, errors: Mapping[str, BaseException], snapshots: Mapping[str, Any]) -> None:
        first = next(iter(errors), "")
        told = [repr(key) for key in list(errors)[:8]] + (["..."] if len(errors) > 8 else [])
        why = f" The first: {in_short(errors[first])}" if errors else ""
        super().__init__(
            f"{len(errors)} contexts of family {family!r} could not be saved: {', '.join(told)}. What they held is in this error's "
            f"'snapshots', by key.{why}",
            family=family,
            errors=dict(errors),
            snapshots=dict(snapshots),
        )
        self.family = family
        self.errors: Dict[str, BaseException] = dict(errors)
        self.snapshots: Dict[str, Any] = dict(snapshots)


class CallCycle(DspexError, RuntimeError):
    """Waiting here would wait for itself. *chain* has who waits for whom, outermost first."""

    def __init__(self, *, chain: Iterable[str], problem: str) -> None:
        links = list(chain)
        super().__init__(f"{problem} The chain: {' -> '.join(links) or 'empty'}.", chain=links, problem=problem)
        self.chain = links
        self.problem = problem


class NameTaken(DspexError, ValueError):
    """A name that another live context of this event loop run holds."""

    def __init__(self, name: str, *, holder: str) -> None:
        super().__init__(f"The name {name!r} is held by {holder}. Stop that one first, or choose another name.", name=name, holder=holder)
        self.name = name
        self.holder = holder


class NameNotFound(DspexError, KeyError):
    """`whereis` found nobody of this name in this event loop run."""

    def __init__(self, name: str, *, known: Iterable[str] = (), starting: bool = False) -> None:
        why = "Who is to have that name is still starting." if starting else f"Named: {_listed(known)}."
        super().__init__(f"No context is named {name!r} in this thread's event loop. {why}", name=name, starting=starting)
        self.name = name
        self.starting = starting


# --- backends and the switch -----------------------------------------------------------------------------------------------------


class InvalidBackend(DspexError, TypeError):
    """What was given as ``backend=`` doesn't fulfil the contract of `dspex.abc`. Names everything that is missing."""

    def __init__(self, backend: str, *, problems: Iterable[str]) -> None:
        found = list(problems)
        super().__init__(
            f"{backend} can't be a state backend: {'; '.join(found)}. See dspex.abc.StateBackend and SyncStateBackend.",
            backend=backend,
            problems=found,
        )
        self.backend = backend
        self.problems = found


class BackendInitError(DspexError, RuntimeError):
    """A backend failed to open. The cause is chained; nothing is left running."""

    def __init__(self, backend: str, *, problem: str) -> None:
        super().__init__(f"The backend {backend} failed to open: {problem}", backend=backend, problem=problem)
        self.backend = backend
        self.problem = problem


class BackendSwitchError(DspexError, RuntimeError):
    """
    The switch failed before its commit: the old backend still serves, whole.

    Attributes:
        step: the step that failed: ``"export"``, ``"open"``, ``"stage"``, ``"verify"`` or ``"commit"``.

    """

    def __init__(self, context: str, *, step: str, problem: str) -> None:
        super().__init__(
            f"Context {context!r} could not switch its backend: the step {step!r} failed: {problem} "
            "It goes on with the old backend, nothing is lost.",
            context=context,
            step=step,
            problem=problem,
        )
        self.context = context
        self.step = step
        self.problem = problem


class NotBridgeable(BackendSwitchError, TypeError):
    """Values that have no form outside this process. *variables* maps each name to the reason."""

    def __init__(self, context: str, *, variables: Mapping[str, str]) -> None:
        found = dict(variables)
        told = "; ".join(f"{name!r}: {why}" for name, why in found.items())
        BackendSwitchError.__init__(
            self, context, step="export", problem=f"{len(found)} of its variables can't leave this process: {told}."
        )
        self.facts: Dict[str, Any] = {"context": context, "variables": found}
        self.variables = found


class SessionTaken(DspexError, RuntimeError):
    """The session is held by another live context, or exists where a new one was to be made."""

    def __init__(self, session: str, *, holder: str) -> None:
        super().__init__(f"Session {session!r} is taken: {holder}. A session has one context at a time.", session=session, holder=holder)
        self.session = session
        self.holder = holder


class SessionNotFound(DspexError, KeyError):
    """A session was to be resumed that the store doesn't have, or has no longer."""

    def __init__(self, session: str) -> None:
        super().__init__(
            f"The store has no session {session!r}: it never was, was dropped, or outlived its ttl. Open a new one.", session=session
        )
        self.session = session


class FenceLost(DspexError, RuntimeError):
    """The store gave the session's lease to somebody else: what this holder writes is refused."""

    def __init__(self, session: str) -> None:
        super().__init__(f"The lease on session {session!r} was lost to another holder; writes are refused.", session=session)
        self.session = session


# --- programs and workers --------------------------------------------------------------------------------------------------------


class ProgramNotFound(DspexError, KeyError):
    """No program of this id is registered with the context."""

    def __init__(self, program: str, *, known: Iterable[str] = ()) -> None:
        super().__init__(f"No program {program!r} is registered. Registered: {_listed(known)}.", program=program)
        self.program = program


class ProgramExists(DspexError, ValueError):
    """Another program is registered under this id. An equal one would have been fine."""

    def __init__(self, program: str, *, existing: str) -> None:
        super().__init__(
            f"A different program is registered as {program!r}: {existing}. Unregister it first, or use another id.",
            program=program,
            existing=existing,
        )
        self.program = program
        self.existing = existing


class InvalidProgram(DspexError, TypeError):
    """What was given as a program can't be one, or can't be brought to a worker. The sentence says how to make it so."""

    def __init__(self, program: str, *, problem: str, hint: str = "") -> None:
        super().__init__(f"Program {program!r}: {problem}.{' ' + hint if hint else ''}", program=program, problem=problem, hint=hint)
        self.program = program
        self.problem = problem
        self.hint = hint


class InvalidInputs(DspexError, TypeError):
    """Inputs that don't fit the program's signature. It was not called."""

    def __init__(self, program: str, *, problem: str, signature: str = "") -> None:
        super().__init__(
            f"Program {program!r}{signature}: {problem}. Inputs are keyword arguments.",
            program=program,
            problem=problem,
            signature=signature,
        )
        self.program = program
        self.problem = problem
        self.signature = signature


class ProgramFailed(DspexError, RuntimeError):
    """
    The program raised, in the host or in a worker.

    Attributes:
        type: the qualified name of what it raised, such as ``"builtins.ValueError"``.
        message: its text.
        traceback: the formatted traceback from where it ran.
        types: the qualified names of the exception's class and all its bases, which `is_a` asks.
        did: what it did, where that is not to raise *type*: it "returned a value that can't leave the worker".
        hint: what to do.

    """

    applied: Optional[bool] = None

    def __init__(
        self,
        program: str,
        *,
        type: str,  # noqa: A002
        message: str,
        traceback: str = "",
        types: Iterable[str] = (),
        did: str = "",
        hint: str = "",
    ) -> None:
        # Without a frame, a traceback is one line, and says what the sentence says.
        told = f"\n\n{traceback.rstrip()}" if '  File "' in traceback else ""
        name = type.removeprefix("builtins.")
        ended = f"{message.rstrip('.')}. {hint}" if hint else message
        super().__init__(
            f"Program {program!r} {did or f'raised {name}'}: {ended}{told}",
            program=program,
            type=type,
            message=message,
            traceback=traceback,
            types=list(types),
            did=did,
            hint=hint,
        )
        self.program = program
        self.type = type
        self.message = message
        self.traceback = traceback
        self.did = did
        self.hint = hint
        self.types: list[str] = list(types)

    def is_a(self, name: str) -> bool:
        """Whether what was raised is of the class *name* or of one derived from it: ``"ValueError"`` or ``"package.module.Class"``."""
        return any(known == name or known.rpartition(".")[2] == name for known in (self.type, *self.types))


class WorkerDied(DspexError, RuntimeError):
    """
    The worker process ended while the call was in it.

    Attributes:
        pid: its process id.
        exit_code: its exit code; negative for the signal that ended it.
        last_words: the last lines it wrote to stderr.

    """

    applied: Optional[bool] = None

    def __init__(self, *, pid: int, exit_code: Optional[int], ended: str, last_words: str = "") -> None:
        words = f" Its last words:\n{last_words.rstrip()}" if last_words.strip() else " It said nothing."
        super().__init__(f"Worker {pid} {ended}.{words}", pid=pid, exit_code=exit_code, ended=ended, last_words=last_words)
        self.pid = pid
        self.exit_code = exit_code
        self.ended = ended
        self.last_words = last_words


class PoolNotFound(DspexError, LookupError):
    """The bridge has no pool of this name."""

    def __init__(self, pool: str, *, bridge: str = "", known: Iterable[str] = ()) -> None:
        pools = sorted(known)
        where = f"The bridge {bridge!r}" if bridge else "The bridge"
        super().__init__(
            f"{where} has no pool {pool!r}. Its pools: {_listed(pools)}. Add it to the bridge's pools=.",
            pool=pool,
            bridge=bridge,
            known=pools,
        )
        self.pool = pool
        self.bridge = bridge
        self.known: Tuple[str, ...] = tuple(pools)


class BridgeClosed(DspexError, RuntimeError):
    """The bridge is stopping, has stopped or was never opened."""

    def __init__(self, bridge: str = "", *, status: str = "closed") -> None:
        super().__init__(f"The bridge {bridge or '(unnamed)'} is {status}.", bridge=bridge, status=status)
        self.bridge = bridge
        self.status = status


class Overloaded(DspexError, RuntimeError):
    """A bound was reached and the caller asked not to wait (``wait=False``), or the queue itself is full. Nothing was done."""

    def __init__(self, *, what: str, limit: int) -> None:
        super().__init__(f"{what} is full: its bound of {limit} is reached. Try again later, or raise the bound.", what=what, limit=limit)
        self.what = what
        self.limit = limit


class CallTimeout(DspexError, TimeoutError):
    """``timeout=`` passed before the answer came."""

    applied: Optional[bool] = None

    def __init__(self, *, what: str, seconds: float) -> None:
        super().__init__(f"{what} did not answer within {seconds:g} s.", what=what, seconds=seconds)
        self.what = what
        self.seconds = seconds


class CallCancelled(DspexError, RuntimeError):
    """Raised in a sync program in a worker, at its next use of ``ctx``, once its caller has gone or its deadline has passed."""

    def __init__(self, program: str = "", *, reason: str = "its caller has gone") -> None:
        super().__init__(f"The call of {program or 'this program'} was cancelled: {reason}.", program=program, reason=reason)
        self.program = program
        self.reason = reason


class StartFailed(DspexError, RuntimeError):
    """Something failed to start. The cause is chained; nothing is left running."""

    def __init__(self, what: str, *, problem: str) -> None:
        super().__init__(f"{what} failed to start: {problem}", what=what, problem=problem)
        self.what = what
        self.problem = problem


class RestartLimitReached(DspexError, RuntimeError):
    """A supervisor had to restart its children more often than it may, and gave up: it has stopped them, in order. From the last error."""

    def __init__(self, supervisor: str, *, child: str, allowed: int, seconds: float, problem: str = "") -> None:
        last = f" It ended last with {problem.rstrip('.')}." if problem else ""
        super().__init__(
            f"Supervisor {supervisor!r} gave up: child {child!r} was to be restarted again, and {allowed} in {seconds:g} s are allowed.{last}",
            supervisor=supervisor,
            child=child,
            allowed=allowed,
            seconds=seconds,
            problem=problem,
        )
        self.supervisor = supervisor
        self.child = child
        self.allowed = allowed
        self.seconds = seconds
        self.problem = problem


class ChildNotFound(DspexError, KeyError):
    """A supervisor has no child of this id; or, where one that runs is needed, none that does: ``state`` says in which state it is."""

    def __init__(self, child: str, *, supervisor: str, known: Iterable[str] = (), state: str = "") -> None:
        some = sorted(known)[:8]
        lacks = f"has no child {child!r}. It has: {', '.join(some) or 'none'}."
        if state:
            why = "is not started yet. Children start in order: list it before the one that needs it" if state == "new" else f"is {state}"
            lacks = f"has a child {child!r}, which {why}."

        super().__init__(f"Supervisor {supervisor!r} {lacks}", child=child, supervisor=supervisor, known=some, state=state)
        self.child = child
        self.supervisor = supervisor
        self.known: list[str] = some
        self.state = state


class ChildExists(DspexError, ValueError):
    """`start_child` was given an id that is taken. ``state`` says in which state who has it is."""

    def __init__(self, child: str, *, supervisor: str, state: str) -> None:
        instead = "restart_child() starts it again, delete_child() makes room." if state in ("stopped", "parked") else "Choose another id."
        super().__init__(
            f"Supervisor {supervisor!r} has a child {child!r} already, which is {state}. {instead}",
            child=child,
            supervisor=supervisor,
            state=state,
        )
        self.child = child
        self.supervisor = supervisor
        self.state = state


class ChildRunning(DspexError, RuntimeError):
    """`restart_child` or `delete_child` of a child that isn't stopped."""

    def __init__(self, child: str, *, supervisor: str, state: str) -> None:
        super().__init__(
            f"Child {child!r} of supervisor {supervisor!r} is {state}. Stop it first, with terminate_child().",
            child=child,
            supervisor=supervisor,
            state=state,
        )
        self.child = child
        self.supervisor = supervisor
        self.state = state


class SupervisorClosed(DspexError, RuntimeError):
    """A supervisor that isn't running: not started yet, stopping, or over."""

    def __init__(self, supervisor: str, *, status: str) -> None:
        super().__init__(f"Supervisor {supervisor!r} is {status}.", supervisor=supervisor, status=status)
        self.supervisor = supervisor
        self.status = status


class MissingExtra(DspexError, ImportError):
    """A feature needs a package that isn't installed, here or in the worker's interpreter."""

    def __init__(self, package: str, *, needed_for: str, install: str, where: str = "this interpreter") -> None:
        super().__init__(f"{needed_for} needs the package {package!r}, which {where} can't import. Install it there with: {install}")
        self.facts: Dict[str, Any] = {"package": package, "needed_for": needed_for, "install": install, "where": where}
        self.package = package
        self.needed_for = needed_for
        self.install = install
        self.where = where


class MonitorUnreachable(DspexError, ConnectionError):
    """A running service can't be looked at through its monitor's socket."""

    def __init__(self, path: str, *, problem: str) -> None:
        super().__init__(f"The monitor at {path!r} can't be reached: {problem}.", path=path, problem=problem)
        self.path = path
        self.problem = problem


# --- the wire --------------------------------------------------------------------------------------------------------------------


class ProtocolError(DspexError, RuntimeError):
    """Something on the wire that the protocol doesn't allow."""

    def __init__(self, problem: str, *, code: str = "protocol") -> None:
        super().__init__(problem, problem=problem, code=code)
        self.problem = problem
        self.code = code


class LocalProtocolError(ProtocolError):
    """This side tried to send what it may not: a bug here."""


class RemoteProtocolError(ProtocolError):
    """The other side sent what it may not: its connection is closed, nothing else is touched."""
