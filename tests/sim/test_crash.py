"""A backend that fails under a body with tasks of its own: everything is left in order, and the body's own error comes out."""

from __future__ import annotations

import anyio
import pytest

from dspex import Context, Var
from dspex._exceptions import ContextCrashed
from dspex.context import Status

from .choosers import Walk
from .explore import BACKENDS
from .failpoints import Failpoints, Fault, Kind
from .far import Far
from .loops import run

pytestmark = pytest.mark.parametrize("backend", BACKENDS)
X = Var("x", int, 1)


def told(error):
    """What came out, by class: groups as lists."""
    return [told(inner) for inner in error.exceptions] if isinstance(error, BaseExceptionGroup) else type(error)


@pytest.mark.parametrize("raised", [ContextCrashed, ValueError])
def test_a_body_whose_tasks_are_half_cancelled_and_half_failed(backend, raised):
    async def failing(context):
        try:
            await context.variables.set(X, 5)
        except ContextCrashed as error:
            if raised is ContextCrashed:
                raise

            raise raised from error

    async def main():
        points = Failpoints(Fault("backend.set", Kind.BEFORE))
        context = Context(variables=[X], backend=Far(points))
        try:
            async with context, anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
                group.start_soon(failing, context)
        except BaseExceptionGroup as error:
            return told(error), context.status

    for seed in range(40):
        ran = run(main, backend, Walk(seed))
        assert ran.error is None, ran.error
        assert ran.value == ([raised], Status.CRASHED)


def test_a_body_that_only_waits_is_cancelled_and_the_crash_comes_out_bare(backend):
    async def main():
        points = Failpoints(Fault("backend.set", Kind.AFTER))
        async with Context(variables=[X], backend=Far(points)) as context, anyio.create_task_group() as group:
            group.start_soon(_swallowing, context)
            await anyio.sleep_forever()

    for seed in range(40):
        assert type(run(main, backend, Walk(seed)).error) is ContextCrashed


async def _swallowing(context):
    try:
        await context.variables.set(X, 5)
    except ContextCrashed:
        pass
