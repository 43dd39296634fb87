"""`Bound`: a program on a context. Awaiting it calls the program, wherever it runs."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Never, cast

import anyio
from attrs import evolve, frozen

from dspex._exceptions import CallTimeout, InvalidInputs, InvalidProgram, ProgramFailed, WorkerDied
from dspex.telemetry._hooks import PROGRAM_CALLED
from dspex.telemetry._tracing import TRACING

from ._copying import copied_inputs
from ._explaining import explained_import, explained_result
from ._mapping import map_in_order
from ._restoring import restored_inputs
from ._timeouts import check_timeout
from .chain import link
from .in_host import run_in_task, run_in_thread
from .prediction import Prediction
from .signature import shape_told
from .spec import ProgramSpec, Where

if TYPE_CHECKING:
    from dspex.worker.host.port import WorkerCall

    from ._telling import Notes
    from .home import Home
    from .signature import Kind, Shape

MAP_LIMIT: Final = 16
"""How many calls `Bound.map` has running at once, unless told."""


@frozen
class ProgramInfo:
    """
    What is known of a bound program.

    Attributes:
        id: its id in the context.
        where: ``"host"`` or ``"worker"``.
        kind: ``"sync"`` or ``"async"``; None for one that is only described.
        reasons: why it runs in a worker, in words; empty in the host.
        signature: as text, ``ctx`` left out.
        pool: the pool whose workers run it; None in the host.
        calls: how many calls were begun.
        doc: its docstring.

    """

    id: str
    where: Where
    kind: Kind | None
    reasons: tuple[str, ...]
    signature: str
    pool: str | None
    calls: int
    doc: str | None


class Bound:
    """
    A program on a context.

    Calling it runs the program, wherever that is::

        answer = await bound(question="What is OTP?")
        answers = await bound.map([{"question": q} for q in questions])
    """

    __slots__ = ("_calls", "_home", "spec")

    def __init__(self, home: Home, spec: ProgramSpec) -> None:
        self._home = home
        self._calls = 0
        self.spec: ProgramSpec = spec

    @classmethod
    async def open(cls, home: Home, spec: ProgramSpec) -> Bound:
        """
        Bind *spec*: one that runs in a worker is imported, or made, in one.

        Raises `ProgramFailed` with the worker's traceback when importing fails, `InvalidProgram` for what can't be a program there,
        `MissingExtra` when a package is missing there.
        """
        if spec.where == "worker" and spec.definition is not None and spec.key is not None:
            pool = await home.pool(spec.pool)
            try:
                told = await pool.prepare(program_id=spec.id, key=spec.key, definition=spec.definition)
            except ProgramFailed as failed:
                raise explained_import(failed) from failed.__cause__

            spec = spec.shaped(shape_told(spec.id, kind=told.kind, signature=told.signature, parameters=told.parameters, doc=told.doc))

        return cls(home, spec)

    @property
    def id(self) -> str:
        """The program's id."""
        return self.spec.id

    @property
    def info(self) -> ProgramInfo:
        """What it is, where it runs and why."""
        spec, shape = self.spec, self.spec.shape
        return ProgramInfo(
            id=spec.id,
            where=spec.where,
            kind=None if shape is None else shape.kind,
            reasons=spec.reasons,
            signature="" if shape is None else shape.text,
            pool=spec.pool if spec.where == "worker" else None,
            calls=self._calls,
            doc=None if shape is None else shape.doc,
        )

    def __repr__(self) -> str:
        signature = "" if self.spec.shape is None else self.spec.shape.text
        return f"<Bound {self.spec.id!r}{signature} [{self.spec.describe()} | context {self._home.id!r} | calls: {self._calls}]>"

    async def __call__(self, /, *by_position: Never, **inputs: Any) -> Any:
        """Call the program with *inputs* and give its result. See `call` for what it raises."""
        if by_position:
            many = f"{len(by_position)} by position" if len(by_position) > 1 else "one by position"
            raise self._unfit(f"expected inputs by name, got {many}")

        return await self.call(inputs)

    async def call(self, inputs: Mapping[str, Any] | None = None, /, *, timeout: float | None = None, wait: bool = True) -> Any:
        """
        Call the program with *inputs* and give its result.

        Args:
            inputs: by name. They are checked against the signature, and copied.
            timeout: seconds until `CallTimeout`; the deadline of the caller's own cancel scope holds as well.
            wait: whether to wait for a free slot; otherwise a full pool is `Overloaded`.

        Raises:
            InvalidInputs: they don't fit; the program was not called.
            ProgramFailed: the program raised, in this process (the exception is chained) or in a worker (its traceback is told).
            WorkerDied: its worker ended meanwhile.
            CallTimeout, Overloaded, CallCycle, ContextClosed: as they say.

        """
        notes = None if TRACING.tracer is None and not PROGRAM_CALLED.heard else self._notes()
        try:
            shape = self._shape()
            check_timeout(timeout)
            given = self._given(inputs)
            shape.check(self.spec.id, given)
            with link(self._home.id, self.spec.id) as above:
                async with self._home.enter_call(self.spec.id):
                    self._calls += 1
                    run = self._in_worker if self.spec.where == "worker" else self._in_host
                    result = await run(given, shape, above, timeout=timeout, wait=wait, notes=notes)
        except BaseException as error:
            if notes is not None:
                notes.failed(error)

            raise

        if notes is not None:
            notes.returned(result)

        return result

    async def map(
        self,
        iterable: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        limit: int | None = None,
    ) -> list[Any]:
        """
        Call the program for each mapping of inputs, at most *limit* (16) at once, and give the results in the order of the inputs.

        The first failure cancels the calls that still run and comes out as itself. *iterable* is read as calls begin.
        """
        given: Any = iterable
        if isinstance(given, (Mapping, str)) or not isinstance(given, (Iterable, AsyncIterable)):
            got = type(cast("object", given)).__name__
            raise TypeError(
                f"map: expected an iterable of mappings of inputs, such as [{{'question': 'a'}}, {{'question': 'b'}}], got {got}"
            )

        return await map_in_order(self.call, iterable, MAP_LIMIT if limit is None else limit)

    def _notes(self) -> Notes:
        from ._telling import Notes  # most calls nobody is told of

        return Notes(self._home, self.spec)

    def _given(self, inputs: Any) -> dict[str, Any]:
        if inputs is not None and not isinstance(inputs, Mapping):
            raise self._unfit(f"expected a mapping of names to inputs, got {type(inputs).__name__}")

        return dict(cast("Mapping[str, Any]", inputs or {}))

    def _unfit(self, problem: str) -> InvalidInputs:
        shape = self.spec.shape
        return InvalidInputs(self.spec.id, problem=problem, signature="" if shape is None else shape.text)

    def _shape(self) -> Shape:
        if self.spec.shape is None:
            hint = "Register it again with the key 'program': a function, an object or an import path."
            raise InvalidProgram(self.spec.id, problem="it is only described, there is nothing to call", hint=hint)

        return self.spec.shape

    async def _in_host(
        self, inputs: dict[str, Any], shape: Shape, above: tuple[str, ...], *, timeout: float | None, wait: bool, notes: Notes | None
    ) -> Any:
        with anyio.move_on_after(timeout) as scope:
            return await self._run(copied_inputs(self.spec.id, inputs, shape.text), shape, nested=bool(above), wait=wait, notes=notes)

        assert scope.cancelled_caught
        assert timeout is not None
        raise CallTimeout(what=f"Program {self.spec.id!r}", seconds=timeout)

    async def _run(self, inputs: dict[str, Any], shape: Shape, *, nested: bool, wait: bool, notes: Notes | None) -> Any:
        run = self.spec.run
        assert run is not None
        home = self._home if shape.takes_context else None
        if shape.kind != "async":
            return await run_in_thread(self.spec.id, run, inputs, home, nested=nested, wait=wait, notes=notes)

        if notes is not None:
            notes.placed(None)

        return await run_in_task(self.spec.id, run, inputs, home)

    async def _in_worker(
        self, inputs: dict[str, Any], shape: Shape, above: tuple[str, ...], *, timeout: float | None, wait: bool, notes: Notes | None
    ) -> Any:
        pool = await self._home.pool(self.spec.pool)
        call = self._worker_call(inputs, shape, chain=above, wait=wait, notes=notes)
        until = math.inf if timeout is None else anyio.current_time() + timeout
        try:
            answer = await pool.call(call if timeout is None else evolve(call, timeout=timeout))
        except ProgramFailed as failed:
            raise explained_result(failed) from failed.__cause__
        except WorkerDied:
            if not self.spec.idempotent:
                raise

            left = None if timeout is None else max(0.0, until - anyio.current_time())
            answer = await pool.call(evolve(call, timeout=left))

        return answer if self.spec.convert is None else self.spec.convert(answer)

    async def _call_other(self, program_id: str, inputs: Mapping[str, Any] | None, timeout: float | None) -> Any:
        """What this program, in a worker, calls: a program of its own context, with inputs that came as data."""
        other = self._home.program(program_id)
        answer = await other.call(other._restored(inputs), timeout=timeout)
        return dict(answer) if isinstance(answer, Prediction) else answer

    def _restored(self, inputs: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        run = self.spec.run
        return inputs if run is None or inputs is None else restored_inputs(run, inputs)

    def _worker_call(self, inputs: dict[str, Any], shape: Shape, *, chain: tuple[str, ...], wait: bool, notes: Notes | None) -> WorkerCall:
        from dspex.worker.host.port import WorkerCall  # a context that stays local never loads the workers' floor

        assert self.spec.key is not None
        assert self.spec.definition is not None
        return WorkerCall(
            program_id=self.spec.id,
            key=self.spec.key,
            definition=self.spec.definition,
            inputs=copied_inputs(self.spec.id, inputs, shape.text),
            port=self._home.port,
            call_other=self._call_other,
            kind=shape.kind,
            chain=chain,
            wait=wait,
            progress=notes,
            trace=None if notes is None else notes.travelling,
        )
