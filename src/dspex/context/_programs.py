"""
The programs of one context: registering one switches the context if the program needs the bridge, and imports it in a worker first.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import anyio

from .._exceptions import ProgramExists, ProgramNotFound
from ..programs import Bound, ProgramSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._inside import Inside


class Programs:
    """
    By id. An id is reserved while its program is on its way.

    Attributes:
        forgotten: the ids that a restart with a new state has dropped and nobody has registered again.

    """

    __slots__ = ("_bound", "_coming", "_context", "_resets", "forgotten", "view")

    def __init__(self, context: Inside) -> None:
        self._context = context
        self._bound: dict[str, Bound] = {}
        self._coming: dict[str, anyio.Event] = {}
        self._resets = 0
        self.forgotten: set[str] = set()
        self.view: Mapping[str, Bound] = MappingProxyType(self._bound)

    @property
    def begun(self) -> int:
        """Calls begun, over all programs registered now."""
        return sum(bound.info.calls for bound in self._bound.values())

    async def register(self, program_id: str, program: Any, *, pool: str = "default", idempotent: bool = False) -> Bound:
        """See `Context.register_program`."""
        context = self._context
        context.variables.admit()
        if context.seat is not None:
            await context.seat.wait_up(at_work=context.variables.inflight())
            context.variables.admit()

        spec = ProgramSpec.make(program_id, program, pool=pool, idempotent=idempotent)
        while (coming := self._coming.get(program_id)) is not None:
            await coming.wait()

        existing = self._bound.get(program_id)
        if existing is not None:
            if not existing.spec.same_as(spec):
                raise ProgramExists(spec.id, existing=existing.spec.describe())

            return existing

        self._coming[program_id] = came = anyio.Event()
        resets = self._resets
        try:
            if spec.requires_bridge:
                await context.ensure_bridged()

            bound = await Bound.open(context, spec)
            if resets == self._resets:
                self._bound[program_id] = bound
                self.forgotten.discard(program_id)
                return bound
        finally:
            if self._coming.get(program_id) is came:
                del self._coming[program_id]

            came.set()

        # Another state has begun meanwhile: once more, for that one.
        return await self.register(program_id, program, pool=pool, idempotent=idempotent)

    def reset(self) -> None:
        """Another state begins, with no programs yet. What is on its way belongs to the former."""
        self._resets += 1
        self.forgotten.update(self._bound)
        self._bound.clear()
        for came in self._coming.values():
            came.set()

        self._coming.clear()

    def unregister(self, program_id: str) -> None:
        """See `Context.unregister_program`."""
        self.find(program_id)
        del self._bound[program_id]

    def find(self, program_id: str) -> Bound:
        """
        The program of this id.

        Raises:
            ContextClosed: the context isn't running, whatever it has.
            ProgramNotFound: there is none.

        """
        self._context.variables.admit()
        bound = self._bound.get(program_id)
        if bound is None:
            raise ProgramNotFound(program_id, known=self._bound)

        return bound
