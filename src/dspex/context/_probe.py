"""
What tells of each operation of a context, while somebody listens.

A context that nobody observes has no probe, and its `get` and `set` find their cells without asking. One that is observed shows them no cells, so
that everything goes the general way, where the probe looks on in the place of the watches, and hands on to them.

A record of what the owner did in its turn is told when the turn is over: its caller is answered, and the gate is open again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ..state import AsyncBridgedState, BridgedState, LocalState
from ..telemetry._hooks import OPERATION_FAILED, VARIABLE_OPERATION, Channel
from ..variables import Var

if TYPE_CHECKING:
    from ..telemetry import OperationFailed, Record, VariableOperation
    from ..telemetry._records import Backend
    from ._mailbox import Request
    from ._outlook import Outlook

Sink = Callable[["VariableOperation | OperationFailed"], object]

# Which identifiers the arguments of an operation name. The others are about no variable in particular.
_ABOUT: dict[str, Callable[[Any], Sequence[Any]]] = {
    "define": lambda definition: (getattr(definition, "name", definition),),
    "get_many": tuple,
    "set_many": tuple,
    **dict.fromkeys(("get", "set", "update", "add", "append", "merge", "delete", "exists", "info"), lambda key: (key,)),
}
_WRITES_ONE = frozenset({"set", "update", "add", "append", "merge"})


class Probe:
    """
    The probe of one context. Its operations never overlap: a direct one needs an open gate, and the owner serves one at a time.
    """

    __slots__ = ("_began", "_direct", "_entry", "_names", "_turn")

    def __init__(self, entry: Any) -> None:
        self._entry: Outlook = entry
        self._began = 0.0
        self._direct = True
        self._names: tuple[str, ...] = ()
        self._turn: Request | None = None

    # --- the owner's turn --------------------------------------------------------------------------------------------------------

    def begin_turn(self, request: Request) -> None:
        """The owner takes *request*."""
        self._turn = request
        request.taken = perf_counter()

    def end_turn(self) -> None:
        """The turn is over."""
        self._turn = None

    # --- an operation ------------------------------------------------------------------------------------------------------------

    def begin(self, name: str, args: Sequence[Any]) -> None:
        """An operation begins."""
        entry = self._entry
        if not entry.is_observed():
            # Whoever listened has gone, and could not say so here from a thread of its own.
            entry.look()

        about = _ABOUT.get(name)
        keys = () if about is None or not args else about(args[0])
        self._names = tuple(map(self._name_of, keys))
        # The owner may have been in its turn already when somebody came to listen.
        self._direct = self._turn is None and not entry.mailbox.ledger
        self._began = perf_counter()

    def _name_of(self, key: Any) -> str:
        try:
            return self._entry.name_of(key)
        except Exception:  # noqa: BLE001 - a worker's key may be anything, and a backend may fail when it is asked: no operation ends of that
            return key if isinstance(key, str) else key.name if isinstance(key, Var) else type(key).__name__

    def observe(self, name: str, args: Sequence[Any], method: Callable[..., Any]) -> Any:
        """Runs an operation of a synchronous backend; the watches see it too."""
        hub = self._entry.hub
        self.begin(name, args)
        result = method(*args) if hub is None else hub.observe(name, args, method)
        self.succeeded(name, args, result)
        return result

    async def observe_async(self, name: str, args: Sequence[Any], method: Callable[..., Any]) -> Any:
        """The same of an asynchronous one."""
        hub = self._entry.hub
        self.begin(name, args)
        result = await (method(*args) if hub is None else hub.observe_async(name, args, method))
        self.succeeded(name, args, result)
        return result

    def succeeded(self, name: str, args: Sequence[Any] = (), result: Any = None) -> None:
        """It has ended well."""
        from ..telemetry import VariableOperation

        facts = self._facts(name)
        self._tell(VARIABLE_OPERATION, VariableOperation(version=self._version(name, args, result), **facts))

    def failed(self, name: str, args: Sequence[Any], error: BaseException) -> None:
        """It has ended with *error*, for whoever asked."""
        from ..telemetry import OperationFailed

        if not self._began:
            self.begin(name, args)

        self._tell(OPERATION_FAILED, OperationFailed(error=error, **self._facts(name)))

    def _facts(self, name: str) -> dict[str, Any]:
        began, self._began = self._began, 0.0
        entry, turn = self._entry, self._turn
        return {
            "context_id": entry.context_id,
            "context_name": entry.context_name or None,
            "backend": kind_of(entry.backend),
            "operation": name,
            "variables": self._names,
            "seconds": perf_counter() - began,
            "waited": turn.taken - turn.since if turn is not None and turn.since else 0.0,
            "direct": self._direct,
        }

    def _version(self, name: str, args: Sequence[Any], result: Any) -> int | None:
        if name not in _WRITES_ONE:
            return None

        cell = self._entry.known.get(args[0])
        if cell is not None:
            return cell.version

        return result if name not in ("update", "add") and isinstance(result, int) else None

    def _tell(self, channel: Channel, record: Record) -> None:
        if self._direct:
            self._entry.tell_operation(channel, record)
        else:
            self._entry.tell_after_turn(channel, record)


def kind_of(backend: Any) -> Backend:
    """What *backend* is, in a word."""
    if isinstance(backend, (BridgedState, AsyncBridgedState)):
        return "bridged"

    return "local" if type(backend) is LocalState else "custom"
