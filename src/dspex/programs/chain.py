"""On whose behalf a call is made: the ids of the calls it is nested in, outermost first. It follows the task, and into host threads."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from dspex._exceptions import CallCycle

MAX_DEPTH = 16
"""Calls nested deeper than this are taken for a circle."""

_chain: ContextVar[tuple[str, ...]] = ContextVar("dspex_call_chain", default=())


def current_chain() -> tuple[str, ...]:
    """The running calls this code was called by, outermost first, each as ``"context id/program id"``. Empty outside of programs."""
    return _chain.get()


def _suspicion(chain: tuple[str, ...]) -> str:
    """What may be behind so long a *chain*: as far as the last call comes back, that is a circle."""
    before = next((links for links in range(1, len(chain)) if chain[-1 - links] == chain[-1]), None)
    if before is None:
        return "each program calls another"

    if before == 1:
        return f"{chain[-1]} seems to call itself"

    return f"programs seem to call each other in a circle, {' -> '.join(chain[-1 - before :])}"


@contextmanager
def on_behalf_of(chain: tuple[str, ...]) -> Generator[None, None, None]:
    """Call by the last of *chain* while the block runs, also in a thread or a task that knows nothing of it."""
    token = _chain.set(chain)
    try:
        yield
    finally:
        _chain.reset(token)


@contextmanager
def link(context_id: str, program_id: str) -> Generator[tuple[str, ...], None, None]:
    """Add a link while the block runs, and give the links above it. Raises `CallCycle` past `MAX_DEPTH`."""
    above = _chain.get()
    here = f"{context_id}/{program_id}"
    if len(above) >= MAX_DEPTH:
        raise CallCycle(chain=[*above, here], problem=f"Calls are nested deeper than {MAX_DEPTH}: {_suspicion((*above, here))}.")

    token = _chain.set((*above, here))
    try:
        yield above
    finally:
        _chain.reset(token)
