"""What the codec refuses: a value that has no encoded form, and bytes that are no value."""

from __future__ import annotations


class Unencodable(ValueError):
    """
    A value that can't leave this process, or holds one that can't.

    Attributes:
        path: where in the value, such as ``"['rows'][3].name"``; empty for the value itself.
        type_name: the type of what can't be encoded.
        reason: why, as a clause.

    """

    def __init__(self, path: str, type_name: str, reason: str) -> None:
        where = f" at {path}" if path else ""
        super().__init__(f"A value of type {type_name}{where} can't be encoded: {reason}")
        self.path = path
        self.type_name = type_name
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.path, self.type_name, self.reason)


class Malformed(ValueError):
    """Bytes that are not the encoded form of a value. *code* is what a peer is told."""

    code = "malformed"


class LimitExceeded(Malformed):
    """Bytes that would decode to more than the limits allow."""

    code = "limit"
