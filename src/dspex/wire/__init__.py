"""
The protocol between the host and its workers, and the encoded form of values. Sans-IO, standard library only, Python 3.9 and up.

    codec.py        the canonical encoded form; _msgpack.py and _msgspec.py write the same bytes, _lowering.py and _raising.py know
                    the types beyond MessagePack, records.py enum members and records
    limits.py       what may come in from a peer that isn't trusted
    framing.py      bytes to frames; _chunks.py long messages under credit
    messages.py     what is said; _state.py by whom, and when; operations.py what a program may ask
    errors.py       errors as data
    connection.py   all of it together, for the owner of a socket

Importing this is a part of a worker's start, so it stays clear of typing, enum, re and the like.
"""

from __future__ import annotations

from . import codec, operations, records
from ._refusals import LimitExceeded, Malformed, Unencodable
from .codec import decode, encode
from .connection import NEED_DATA, Connection
from .errors import error_from_wire, error_to_wire
from .limits import Limits
from .messages import (
    PROTOCOL,
    Call,
    Cancel,
    Changed,
    Channel,
    Close,
    Credit,
    Drain,
    Error,
    Hello,
    Log,
    Message,
    Op,
    OpReply,
    Reply,
)
from .records import Tagged

__all__ = [
    "NEED_DATA",
    "PROTOCOL",
    "Call",
    "Cancel",
    "Changed",
    "Channel",
    "Close",
    "Connection",
    "Credit",
    "Drain",
    "Error",
    "Hello",
    "LimitExceeded",
    "Limits",
    "Log",
    "Malformed",
    "Message",
    "Op",
    "OpReply",
    "Reply",
    "Tagged",
    "Unencodable",
    "codec",
    "decode",
    "encode",
    "error_from_wire",
    "error_to_wire",
    "operations",
    "records",
]
