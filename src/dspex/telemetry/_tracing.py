"""
What a tracer is asked, at the few places where a span has to begin before its end is known: a call, whose context travels, and a switch.

Everything else a sink makes from records. While there is no tracer these places ask one attribute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ._records import SwitchStep


class CallTrace(Protocol):
    """One call of a program, from before it is queued until its caller has its end."""

    def carrier(self) -> Mapping[str, str]:
        """What travels to the worker: a W3C ``traceparent``, and a ``tracestate`` if there is one."""
        ...

    def placed(self, pid: int | None) -> None:
        """It has a place to run in; *pid* is that of its worker."""
        ...

    def operated(self, operation: str, key: str, began_ns: int, ended_ns: int, error: BaseException | None) -> None:
        """Its program, in a worker, had *operation* of a variable done here. Times are Unix nanoseconds."""
        ...

    def told(self, spans: Sequence[Any]) -> None:
        """What its worker tells of the spans that ended there, as plain data. Not to be trusted further than that."""
        ...

    def ended(self, error: BaseException | None) -> None:
        """It is over."""
        ...


class SwitchTrace(Protocol):
    """One switch, from before it is queued."""

    def ended(self, steps: Sequence[SwitchStep], error: BaseException | None, *, switched: bool) -> None:
        """It is over."""
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
