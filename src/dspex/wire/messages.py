"""
What the two ends of a connection say to each other: one class a message, and the table of their numbers.

The payload of a message is the encoded list of its fields. Fields are only ever appended: a longer list from a newer peer is read as
far as it is known, a shorter one from an older peer takes the defaults.
"""

from __future__ import annotations

from ._refusals import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Optional

    from typing_extensions import Self, TypeAlias

    Fields: TypeAlias = tuple[tuple[str, tuple[type, ...], Any], ...]

PROTOCOL = 1
_REQUIRED = object()
_ANY = object
_NONE = type(None)


class Message:
    """
    One message. Two of the same class with equal fields are equal.

    Attributes:
        number: its type on the wire.
        fields: each field as (name, the types accepted, default); a mutable default is a class to call.
        names: those of the fields.

    """

    __slots__ = ()
    number: ClassVar[int] = 0
    fields: ClassVar[Fields] = ()
    names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls.names = tuple([name for name, _, _ in cls.fields])
        TYPES[cls.number] = cls

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.values() == other.values()

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={getattr(self, name)!r:.80}" for name in self.names)
        return f"{type(self).__name__}({told})"

    def values(self) -> list[Any]:
        """The fields, in the order of the wire."""
        return [getattr(self, name) for name in self.names]

    @classmethod
    def from_values(cls, values: list[Any]) -> Self:
        """The message of these fields as they came. Raises `Malformed` on one that is missing or of another type."""
        if type(values) is not list:
            raise Malformed(f"{cls.__name__}: expected a list of fields, got {type(values).__name__}.")

        known = cls.fields
        if len(values) < len(known):
            values = values + [_default(cls, name, default) for name, _, default in known[len(values) :]]

        message = cls.__new__(cls)
        for (name, kinds, default), value in zip(known, values):
            if type(value) not in kinds and _ANY not in kinds:
                raise Malformed(f"{cls.__name__}.{name}: expected {_words(kinds)}, got {type(value).__name__}.")

            setattr(message, name, default() if value is None and type(default) is type else value)

        return message


def _default(cls: type, name: str, default: Any) -> Any:
    if default is _REQUIRED:
        raise Malformed(f"{cls.__name__}: the field {name} is missing.")

    return default() if type(default) is type else default


def _words(kinds: tuple[type, ...]) -> str:
    return " or ".join("None" if kind is _NONE else kind.__name__ for kind in kinds)


TYPES: dict[int, type[Message]] = {}


class Hello(Message):
    """
    The first message each way on a control connection.

    From the host *config* has what the worker needs to begin: ``path``, ``cwd``, ``imports``. From the worker it has ``pid``,
    ``implementation`` and ``ready_ns``. *limits* are what the sender accepts.
    """

    __slots__ = ("codec", "config", "limits", "protocol", "python", "version")
    number = 1
    fields: ClassVar[Fields] = (
        ("protocol", (int,), _REQUIRED),
        ("version", (str,), ""),
        ("python", (list, _NONE), list),
        ("codec", (str,), ""),
        ("limits", (dict, _NONE), dict),
        ("config", (dict, _NONE), dict),
    )

    def __init__(
        self,
        protocol: int = PROTOCOL,
        version: str = "",
        *,
        python: Optional[list[int]] = None,
        codec: str = "",
        limits: Optional[dict[str, int]] = None,
        config: Optional[dict[str, Any]] = None,
    ) -> None:
        self.protocol: int = protocol
        self.version: str = version
        self.python: list[int] = python or []
        self.codec: str = codec
        self.limits: dict[str, int] = limits or {}
        self.config: dict[str, Any] = config or {}


class Call(Message):
    """
    Run a program. *program* is ``[key, definition or None]``; the stream is the call's id on its connection.

    *deadline_us* is what remains, in microseconds (clocks differ). *chain* has the calls on whose behalf this one is made, outermost
    first. With ``meta["prepare"]`` true the program is imported and described, not run. Of a traced call *meta* has a W3C ``traceparent``
    and, if there is one, a ``tracestate``.
    """

    __slots__ = ("chain", "deadline_us", "inputs", "meta", "program")
    number = 2
    fields: ClassVar[Fields] = (
        ("program", (list,), _REQUIRED),
        ("inputs", (dict,), _REQUIRED),
        ("deadline_us", (int, _NONE), None),
        ("chain", (list, _NONE), list),
        ("meta", (dict, _NONE), dict),
    )

    def __init__(
        self,
        program: list[Any],
        inputs: dict[str, Any],
        *,
        deadline_us: Optional[int] = None,
        chain: Optional[list[str]] = None,
        meta: Optional[dict[str, Any]] = None,
    ) -> None:
        self.program: list[Any] = program
        self.inputs: dict[str, Any] = inputs
        self.deadline_us: Optional[int] = deadline_us
        self.chain: list[str] = chain or []
        self.meta: dict[str, Any] = meta or {}


class Reply(Message):
    """What the program returned. Ends its call. *meta* has the ``seconds`` it took and, of a traced call, what `Error` has there."""

    __slots__ = ("meta", "value")
    number = 3
    fields: ClassVar[Fields] = (("value", (_ANY,), _REQUIRED), ("meta", (dict, _NONE), dict))

    def __init__(self, value: Any, meta: Optional[dict[str, Any]] = None) -> None:
        self.value: Any = value
        self.meta: dict[str, Any] = meta or {}


class Error(Message):
    """
    How the call failed, see `dspex.wire.errors`. Ends its call.

    Of a traced call *meta* has what the worker recorded: ``spans``, a list of encoded spans, encoded itself, and ``unsent``, how many more
    there were.
    """

    __slots__ = ("applied", "code", "facts", "meta", "sentence")
    number = 4
    fields: ClassVar[Fields] = (
        ("code", (str,), _REQUIRED),
        ("facts", (dict, _NONE), dict),
        ("sentence", (str,), ""),
        ("applied", (bool, _NONE), None),
        ("meta", (dict, _NONE), dict),
    )

    def __init__(
        self,
        code: str,
        facts: Optional[dict[str, Any]] = None,
        sentence: str = "",
        applied: Optional[bool] = None,
        *,
        meta: Optional[dict[str, Any]] = None,
    ) -> None:
        self.code: str = code
        self.facts: dict[str, Any] = facts or {}
        self.sentence: str = sentence
        self.applied: Optional[bool] = applied
        self.meta: dict[str, Any] = meta or {}


class Op(Message):
    """What a program asks of its context, one or more at a time: ``[[op_id, name, *arguments], ...]``, see `dspex.wire.operations`."""

    __slots__ = ("ops",)
    number = 5
    fields: ClassVar[Fields] = (("ops", (list,), _REQUIRED),)

    def __init__(self, ops: list[list[Any]]) -> None:
        self.ops: list[list[Any]] = ops


class OpReply(Message):
    """The answers, in any order: ``[op_id, True, value]`` or ``[op_id, False, [code, facts, sentence, applied]]``."""

    __slots__ = ("results",)
    number = 6
    fields: ClassVar[Fields] = (("results", (list,), _REQUIRED),)

    def __init__(self, results: list[list[Any]]) -> None:
        self.results: list[list[Any]] = results


class Changed(Message):
    """Variables changed since they were read: ``[[name, version, kind], ...]``."""

    __slots__ = ("changes",)
    number = 7
    fields: ClassVar[Fields] = (("changes", (list,), _REQUIRED),)

    def __init__(self, changes: list[list[Any]]) -> None:
        self.changes: list[list[Any]] = changes


class Cancel(Message):
    """
    The caller has gone.

    On a loop channel the stream says which call. A thread that runs a program doesn't read its channel, so a sync call is cancelled
    on the control connection, by the index of its channel and its stream there.
    """

    __slots__ = ("channel", "reason", "stream")
    number = 8
    fields: ClassVar[Fields] = (("reason", (str,), ""), ("channel", (int, _NONE), None), ("stream", (int, _NONE), None))

    def __init__(self, reason: str = "", channel: Optional[int] = None, stream: Optional[int] = None) -> None:
        self.reason: str = reason
        self.channel: Optional[int] = channel
        self.stream: Optional[int] = stream


class Log(Message):
    """A record of the worker's logging, *level* as in `logging`."""

    __slots__ = ("facts", "level", "logger", "text")
    number = 9
    fields: ClassVar[Fields] = (("level", (int,), _REQUIRED), ("logger", (str,), ""), ("text", (str,), ""), ("facts", (dict, _NONE), dict))

    def __init__(self, level: int, logger: str = "", text: str = "", facts: Optional[dict[str, Any]] = None) -> None:
        self.level: int = level
        self.logger: str = logger
        self.text: str = text
        self.facts: dict[str, Any] = facts or {}


class Drain(Message):
    """Take no more calls, end those you have. From the worker: it was asked to stop, send no more."""

    __slots__ = ()
    number = 10


class Close(Message):
    """The last message of a connection. An empty *code* is an ordinary end."""

    __slots__ = ("code", "reason")
    number = 11
    fields: ClassVar[Fields] = (("code", (str,), ""), ("reason", (str,), ""))

    def __init__(self, code: str = "", reason: str = "") -> None:
        self.code: str = code
        self.reason: str = reason


class Credit(Message):
    """The receiver has taken *size* more bytes of this stream's chunks. The connection's own: it never comes out as an event."""

    __slots__ = ("size",)
    number = 12
    fields: ClassVar[Fields] = (("size", (int,), _REQUIRED),)

    def __init__(self, size: int) -> None:
        self.size: int = size


class Channel(Message):
    """A new channel. Its descriptor travels beside the message (SCM_RIGHTS). *kind* is ``"thread"`` or ``"loop"``."""

    __slots__ = ("index", "kind")
    number = 13
    fields: ClassVar[Fields] = (("kind", (str,), _REQUIRED), ("index", (int,), _REQUIRED))

    def __init__(self, kind: str, index: int) -> None:
        self.kind: str = kind
        self.index: int = index
