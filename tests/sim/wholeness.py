"""
L7 and I5: a context is wholly before a switch or wholly after it, what moved is the same, and nothing is left lying about.

Each function looks at a context and its store, and returns complaints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dspex import BridgedState, Context, Variable
from dspex.context import Status
from dspex.state._encoding import cell_of
from dspex.state.bridged import AsyncBridgedState
from dspex.state.stores.memory import MemoryStore

from .far import records
from .subject import Cells, identity


def status(context: Context, kind: str) -> Iterator[str]:
    """It runs, on the old backend of *kind* or on the new one, and says so."""
    told, backend = context.backend, context.variables.backend
    if context.status is not Status.RUNNING:
        yield f"L7 the status is {context.status}"

    bridged = isinstance(backend, (BridgedState, AsyncBridgedState))
    if (told.kind == "bridged") != bridged or told.requires_bridge != bridged or told.switches != int(bridged):
        yield f"L7 it tells {told}, and {type(backend).__name__} serves"

    if not bridged and told.kind != kind:
        yield f"L7 the old backend is {told.kind}, and was {kind}"

    if told.switching:
        yield "L7 it is still switching"

    if context.variables.mailbox.ledger:
        yield f"L5 requests are left in the mailbox: {list(context.variables.mailbox.ledger)}"


def in_store(store: MemoryStore, context: Context, variables: Sequence[Variable], *, littered: bool) -> Iterator[str]:
    """The store has exactly what the context shows, or nothing at all. *littered*: a clean-up was made to fail, its rest may lie there."""
    bridged = context.backend.kind == "bridged"
    sessions = set(store._sessions)
    if sessions - {context.id}:
        yield f"L7 foreign sessions in the store: {sessions}"

    if not bridged and sessions and not littered:
        yield f"L7 the switch was turned back, and the store still has {sessions}"

    if bridged:
        held = {record.id: record.version for record in records(store, context.id)}
        shown = {variable.id: variable.version for variable in variables}
        if held != shown:
            yield f"L3 the store has the versions {held}, and the context shows {shown}"

        kept = stored(store, context.id)
        differing = {variable.name: (kept.get(variable.name), variable.value) for variable in variables}
        yield from (
            f"L3 {name!r}: the store has {there}, and the context shows {value!r}"
            for name, (there, value) in differing.items()
            if there is None or there[1] != value
        )


def stored(store: MemoryStore, session: str) -> Cells:
    """Version and value by name, decoded from what the store has."""
    found = [cell_of(record) for record in records(store, session)]
    return {cell.name: (cell.version, cell.value) for cell in found}


def same(before: Sequence[Variable], after: Sequence[Variable]) -> Iterator[str]:
    """I5: identity, order and metadata of the variables, whatever was written to them meanwhile."""
    if [identity(variable) for variable in before] != [identity(variable) for variable in after]:
        yield f"I5 before: {list(before)}, after: {list(after)}"

    for old, new in zip(before, after, strict=False):
        if type(old.value) is not type(new.value) or old.metadata != new.metadata:
            yield f"I5 {old.name!r}: {old.value!r} with {dict(old.metadata)} became {new.value!r} with {dict(new.metadata)}"

        if old.version == new.version and old.updated_at != new.updated_at:
            yield f"I5 {old.name!r} was not written, and its time changed from {old.updated_at} to {new.updated_at}"


def watched(changes: Sequence[Any], final: Mapping[str, tuple[int, Any]]) -> Iterator[str]:
    """A watch shows rising versions, counts what it skipped, and hands over the latest; to it a switch is no change."""
    for key, (version, value) in final.items():
        mine = [change for change in changes if change.name == key]
        versions = [change.version for change in mine]
        if versions != sorted(set(versions)):
            yield f"watch {key!r}: the versions don't rise: {versions}"

        if version and (not mine or (mine[-1].version, mine[-1].value) != (version, value)):
            yield f"watch {key!r}: the last is {(version, value)}, and it was handed {mine[-1:]}"

        if any(change.kind != "set" for change in mine):
            yield f"watch {key!r}: kinds {[change.kind for change in mine]}"

        told = sum(1 + change.skipped for change in mine)
        if told != version:
            yield f"watch {key!r}: {version} writes, and it accounts for {told}: {[(change.version, change.skipped) for change in mine]}"
