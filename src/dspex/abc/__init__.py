"""
The contracts: what a state backend and a session store must be.

A *backend* holds the variables of one context and is used by one owner at a time. Its methods are all plain (`SyncStateBackend`) or
all coroutines (`StateBackend`), with the same names. Nine are required, the others have defaults made of these. A class of one's own
may derive from either, or just have the methods: `dspex.state.backend_from` checks it and names everything that is missing.

A *session store* keeps the encoded form of sessions: it knows bytes, ids, versions and revisions, and no types.

What a backend or a store raises is read so: a `DspexError` is a refusal, goes to the caller and has changed nothing; anything else is
a crash of the backend.

The conformance kits in `dspex.testing` hold these rules: `check_state_backend` and `check_session_store`.
"""

from dspex.abc._backends import Capabilities as Capabilities, StateBackend as StateBackend, SyncStateBackend as SyncStateBackend
from dspex.abc._operands import Key as Key, appended as appended, combined as combined, merged as merged, named as named, summed as summed
from dspex.abc._stores import (
    ABSENT as ABSENT,
    PAGE as PAGE,
    Applied as Applied,
    Changes as Changes,
    Delete as Delete,
    Lease as Lease,
    Mode as Mode,
    Put as Put,
    Record as Record,
    SessionStore as SessionStore,
    Staging as Staging,
)
