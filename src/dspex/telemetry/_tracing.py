"""
What a tracer is asked, at the few places where a span has to begin before its end is known: a call, whose context travels, and a switch.

Everything else a sink makes from records. While there is no tracer these places ask one attribute. What a tracer is asked it does without
raising: nothing of a call or a switch depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ._records import SwitchStep


class CallTrace(Protocol):
    """One call of a program, from before it is queued until its caller has its end."""

    def carrier(self) -> Mapping[str, str]:
        """What travels to the worker: a W3C ``traceparent``, and a ``tracestate`` if there is one. Empty: nobody records this call."""
        ...

    def placed(self, pid: int | None, queued: float) -> None:
        """It has a place to run in, *queued* seconds after it began; *pid* is that of its worker."""
        ...

    def operated(self, operation: str, variable: str | None, began_ns: int, ended_ns: int, error: BaseException | None) -> None:
        """Its program, in a worker, had *operation* of a variable done here. Times are Unix nanoseconds."""
        ...

    def below(self, parent: str) -> None:
        """
        Puts all that the running task does from now on below the span that the worker names, as a traceparent.

        For a call that its program makes of another one.
        """
        ...

    def told(self, spans: Sequence[Any], lost: int) -> Iterator[None]:
        """
        What a worker tells of the spans that ended there, as plain data of any shape, its own first; *lost* more didn't come.

        Once for each worker that was given the call, also when nothing came: ``()``. Possibly after the call has ended for its caller. Goes
        on each time the next item is asked for.
        """
        ...

    def ended(self, outcome: str, error: BaseException | None, usage: Mapping[str, Any]) -> None:
        """It is over for its caller. *outcome* and *usage* are those of `ProgramCalled`."""
        ...


class SwitchTrace(Protocol):
    """One switch, from before it is queued."""

    def ended(self, steps: Sequence[SwitchStep], error: BaseException | None, *, switched: bool) -> None:
        """It is over. Without steps and without an error there was nothing to do."""
        ...


class Tracer(Protocol):
    """Begins spans below whatever is current where it is asked."""

    def call(self, context_id: str, program_id: str, *, where: str, pool: str | None) -> CallTrace | None:
        """A call begins. Its span is current in the calling task until `CallTrace.ended`. None: nobody records it."""
        ...

    def switch(self, context_id: str) -> SwitchTrace | None:
        """Somebody asks for a switch. None: nobody records it."""
        ...


class Tracing:
    """
    Where the tracer is, if there is one.

    Attributes:
        tracer: None while nobody traces.

    """

    __slots__ = ("tracer",)

    def __init__(self) -> None:
        self.tracer: Tracer | None = None


TRACING = Tracing()
