"""A traced call, between a worker and the tracer: which operations its program asks for, and what the worker tells of its own spans."""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import anyio.lowlevel

from ...wire import Limits, Malformed, codec
from .port import GateClosed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...telemetry._tracing import CallTrace
    from .conversation import Outcome
    from .port import Answer, Port

# What a worker sends of its spans: no more of it is looked at.
MAX_SPANS: Final = 512
MAX_BYTES: Final = 1 << 18
# Of so many one step of the loop makes data.
SLICE: Final = 32
_LIMITS: Final = Limits(depth=8, containers=4096)
# Characters of what a worker calls a variable.
_MAX_NAME: Final = 256


class TracedPort:
    """A context's port that tells *trace* of each operation."""

    __slots__ = ("_port", "_trace")

    def __init__(self, port: Port, trace: CallTrace) -> None:
        self._port = port
        self._trace = trace

    @property
    def context_id(self) -> str:
        """Whose variables these are."""
        return self._port.context_id

    def operate_nowait(self, name: str, args: Sequence[Any]) -> Any:
        """As `Port.operate_nowait`."""
        began = time_ns()
        try:
            result = self._port.operate_nowait(name, args)
        except GateClosed:
            raise
        except Exception as error:
            self._trace.operated(name, variable_of(name, args), began, time_ns(), error)
            raise

        self._trace.operated(name, variable_of(name, args), began, time_ns(), None)
        return result

    def post(self, name: str, args: Sequence[Any], answer: Answer) -> None:
        """As `Port.post`."""
        began = time_ns()

        def answered(result: Any, error: BaseException | None) -> None:
            self._trace.operated(name, variable_of(name, args), began, time_ns(), error)
            answer(result, error)

        self._port.post(name, args, answered)


def variable_of(name: str, args: Sequence[Any]) -> str | None:
    """What the one variable is called that the operation *name* with *args* is about; None for several, or all."""
    first: Any = args[0] if args else None
    if name == "define":
        first = first.get("name")

    return first[:_MAX_NAME] if isinstance(first, str) else None


async def tell(trace: CallTrace, outcome: Outcome | None) -> None:
    """Tells *trace* what the worker recorded of its call, when that has ended as *outcome*; None: nobody knows how."""
    rows, lost = ([], 0) if outcome is None else _received(outcome.meta)
    spans: list[Any] = []
    for row in rows:
        spans.append(_decoded(row))
        if not len(spans) % SLICE:
            await anyio.lowlevel.cancel_shielded_checkpoint()

    for _ in trace.told(spans, lost):
        # Many spans are no reason to hold up others, and a cancelled call has them too.
        await anyio.lowlevel.cancel_shielded_checkpoint()


def _received(meta: Mapping[Any, Any]) -> tuple[list[Any], int]:
    """What may be spans in *meta*, each encoded, and how many more there were."""
    blob, unsent = meta.get("spans"), meta.get("unsent")
    lost = unsent if type(unsent) is int and 0 <= unsent < 1 << 32 else 0
    rows: Any = _decoded(blob) if type(blob) is bytes and len(blob) <= MAX_BYTES else None
    if not _is_list(rows):
        return [], lost + (blob is not None)

    return rows[:MAX_SPANS], lost + len(rows[MAX_SPANS:])


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _decoded(data: Any) -> Any:
    """What *data* holds; None for what is no encoded value."""
    try:
        return codec.decode(data, limits=_LIMITS) if type(data) is bytes else None
    except Malformed:
        return None
