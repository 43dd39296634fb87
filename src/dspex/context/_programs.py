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
    """By id. An id is reserved while its program is on its way."""

    __slots__ = ("_bound", "_coming", "_context", "view")

    def __init__(self, context: Inside) -> None:
        self._context = context
        self._bound: dict[str, Bound] = {}
        self._coming: dict[str, anyio.Event] = {}
        self.view: Mapping[str, Bound] = MappingProxyType(self._bound)

    @property
    def begun(self) -> int:
        """Calls begun, over all programs registered now."""
        return sum(bound.info.calls for bound in self._bound.values())

    async def register(self, program_id: str, program: Any, *, pool: str = "default", idempotent: bool = False) -> Bound:
        """See `Context.register_program`."""
        context = self._context
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
        try:
            if spec.requires_bridge:
                await context.ensure_bridged()

            bound = await Bound.open(context, spec)
            self._bound[program_id] = bound
            return bound
        finally:
            del self._coming[program_id]
            came.set()

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
