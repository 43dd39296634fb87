"""
The bridge: what a context needs to live outside its process, as one thing to open.

It has a session store, where the encoded values are kept, and pools of worker processes, where programs run. Opening it waits for no
worker: they start in the background. It may be shared by any number of contexts of one event loop.
"""

from __future__ import annotations

import enum
import itertools
import os
from _thread import get_ident
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

import anyio
from anyio.abc import TaskGroup, TaskStatus
from attrs import frozen

from ._exceptions import BridgeClosed, PoolNotFound, WrongThread
from .supervision import HostTask
from .worker.host import Pool, PoolStatistics, WorkerPool
from .worker.host.options import refuse_unknown

if TYPE_CHECKING:
    from .abc import SessionStore
    from .worker.host.options import PoolOptions

__all__ = ["Bridge", "BridgeStatistics", "Pool"]

DEFAULT_POOL: Final = "default"
_numbers = itertools.count(1)


class _Status(enum.Enum):
    NEW = "new"
    RUNNING = "running"
    STOPPING = "stopping"
    CLOSED = "closed"


@frozen(kw_only=True)
class BridgeStatistics:
    """What a bridge is doing: its status, and the statistics of each pool by name."""

    status: str
    pools: Mapping[str, PoolStatistics]


class Bridge:
    """
    A session store and pools of workers. An async context manager; also `start` and `stop`, from any task.

    One handle may be opened again after it has closed: with new workers, on the same store.

    Args:
        store: where sessions are kept: ``"memory://"`` (it lives and dies with this bridge) or a session store.
        pools: further pools of workers, by name.
        drain: seconds that calls in flight have to end when the bridge stops.
        name: what it is called in errors and reprs.
        default_pool_options: the options of the pool ``"default"``, as `Pool` takes them.

    Raises:
        RuntimeError: on Windows, where there is no bridge.
        TypeError, ValueError: an option is of the wrong type or out of its range.

    """

    def __init__(
        self,
        *,
        store: str | SessionStore = "memory://",
        pools: Mapping[str, Pool] | None = None,
        drain: float = 30.0,
        name: str | None = None,
        **default_pool_options: Unpack[PoolOptions],
    ) -> None:
        _refuse_windows()
        _refuse_unknown(default_pool_options)
        if not drain >= 0:
            raise ValueError(f"drain: expected seconds, 0 or more, got {drain!r}.")

        self.name: str = name if name is not None else f"bridge_{next(_numbers)}"
        self.drain = drain
        self.store: SessionStore = _store_of(store)
        self._options = _options_of(pools or {}, default_pool_options)
        self._status = _Status.NEW
        self._pools: dict[str, WorkerPool] = {}
        self._failure: Exception | None = None
        self._group: TaskGroup | None = None
        self._host: HostTask | None = None
        self._hurried = False
        self._thread = 0

    def __repr__(self) -> str:
        return f"<Bridge {self.name!r} [{self.status} | store: {type(self.store).__name__} | pools: {', '.join(sorted(self._options))}]>"

    @property
    def status(self) -> str:
        """``"new"``, ``"running"``, ``"stopping"`` or ``"closed"``."""
        return self._status.value

    @property
    def ready(self) -> bool:
        """Whether every pool has at least one worker that takes calls."""
        return self._status is _Status.RUNNING and all(pool.ready for pool in self._pools.values())

    async def wait_ready(self) -> None:
        """
        Returns once `ready`.

        Raises:
            StartFailed: a pool can't start its workers.
            BridgeClosed: the bridge is not running, or stopped meanwhile.

        """
        self._check_running()
        for pool in self._pools.values():
            await pool.wait_ready()

    def statistics(self) -> BridgeStatistics:
        """What it is doing now."""
        return BridgeStatistics(status=self.status, pools={name: pool.statistics() for name, pool in self._pools.items()})

    def pool(self, name: str = DEFAULT_POOL) -> WorkerPool:
        """
        The running pool called *name*.

        Raises:
            PoolNotFound: there is none of this name. It is a LookupError.
            BridgeClosed: the bridge is not running.

        """
        if name not in self._options:
            raise PoolNotFound(name, bridge=self.name, known=self._options)

        self._check_running()
        return self._pools[name]

    def _check_running(self) -> None:
        # While it stops, programs that still run may call others.
        if self._status not in {_Status.RUNNING, _Status.STOPPING}:
            raise BridgeClosed(repr(self.name), status="not open yet" if self._status is _Status.NEW else self.status) from self._failure

    # --- its life ------------------------------------------------------------------------------------------------------------

    async def serve(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """
        Opens the bridge, says so by *task_status*, and runs it until `stop` is called or this task is cancelled.

        When it returns, no process, no task and no descriptor of the bridge's is left. It raises nothing of its workers'.

        """
        self._begin()
        await self._serve(task_status)

    def open_nowait(self, group: TaskGroup) -> None:
        """
        Opens the bridge in this very step, to run as a task of *group* until `stop` is called.

        The task is shielded: it is for an owner that always stops it, and whose other tasks may use it until then.
        """
        self._begin()
        group.start_soon(self._serve_shielded, name=f"dspex {self.name}")

    async def _serve_shielded(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._serve(anyio.TASK_STATUS_IGNORED)

    async def _serve(self, task_status: TaskStatus[None]) -> None:
        try:
            await self._run(task_status)
        except Exception as error:  # noqa: BLE001 - a defect in here ends this bridge, and is told to whoever uses or leaves it
            self._failure = _single(error)
        finally:
            self._status = _Status.CLOSED
            self._closed.set()

    def _begin(self) -> None:
        if self._status in {_Status.RUNNING, _Status.STOPPING}:
            raise RuntimeError(f"The bridge {self.name!r} is open already.")

        self._pools = {name: WorkerPool(name, options) for name, options in self._options.items()}
        self._failure = None
        self._hurried = False
        self._stop = anyio.Event()
        self._closed = anyio.Event()
        self._status = _Status.RUNNING
        self._thread = get_ident()
        for pool in self._pools.values():
            pool.open()

    async def _run(self, task_status: TaskStatus[None]) -> None:
        async with anyio.create_task_group() as tasks:
            for pool in self._pools.values():
                tasks.start_soon(pool.run)

            task_status.started()
            try:
                await self._stop.wait()
                await self._drain()
            finally:
                self._begin_stop()
                with anyio.CancelScope(shield=True):
                    await self._each_pool(WorkerPool.dismiss)

                tasks.cancel_scope.cancel()

    def _begin_stop(self) -> None:
        if self._status is _Status.RUNNING:
            self._status = _Status.STOPPING
            for pool in self._pools.values():
                pool.refuse_newcomers()

        self._stop.set()

    async def _drain(self) -> None:
        if not self._hurried:
            with anyio.move_on_after(self.drain):
                await self._each_pool(WorkerPool.drain)

    async def _each_pool(self, action: Any) -> None:
        async with anyio.create_task_group() as tasks:
            for pool in self._pools.values():
                tasks.start_soon(action, pool)

    async def __aenter__(self) -> Self:
        if self._status in {_Status.RUNNING, _Status.STOPPING}:
            raise RuntimeError(f"The bridge {self.name!r} is open already.")

        group = anyio.create_task_group()
        await group.__aenter__()
        try:
            await group.start(self.serve)
        except BaseException:
            group.cancel_scope.cancel()
            await group.__aexit__(None, None, None)
            raise

        self._group = group
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        group, self._group = self._group, None
        assert group is not None
        self._begin_stop()
        if error is not None:
            # The body's own exception must come out as itself, so that nothing may be raised here, and nobody waits for a drain.
            self._hurried = True
            group.cancel_scope.shield = True

        # Left empty-handed: whatever the body raised is none of the group's business.
        await group.__aexit__(None, None, None)
        if error is None and self._failure is not None:
            raise self._failure

    async def start(self) -> Self:
        """Opens the bridge in a task of its own, so that any task may stop it. Returns the bridge."""
        host = HostTask(self, f"dspex bridge {self.name}")
        await host.open()
        self._host = host
        return self

    async def stop(self) -> None:
        """
        Stops the bridge and returns once nothing of it is left. Idempotent; all who call it wait for the one end.

        Raises:
            WrongThread: called from another thread, or event loop, than the one it runs in.

        """
        if self._status is _Status.NEW:
            return

        if self._status is not _Status.CLOSED and get_ident() != self._thread:
            raise WrongThread(self.name, what="Bridge")

        self._begin_stop()
        if self._host is not None:
            self._host.release()
            await self._host.closed.wait()
            if self._failure is not None:
                raise self._failure
        else:
            await self._closed.wait()


def _refuse_windows() -> None:
    if os.name == "nt":
        raise RuntimeError(
            "There is no Bridge on Windows: it needs Unix sockets and process groups. Contexts stay local here, or run under WSL."
        )


def _store_of(store: str | SessionStore) -> SessionStore:
    if not isinstance(store, str):
        return store

    if store == "memory://":
        # Loaded with the first bridge: a context that stays local has no use for it.
        from .state.stores.memory import MemoryStore

        return MemoryStore()

    raise ValueError(f"store: expected 'memory://' or a session store, got {store!r}.")


def _options_of(pools: Mapping[str, Pool], default: Mapping[str, Any]) -> dict[str, Pool]:
    for name, pool in pools.items():
        if not isinstance(pool, Pool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"pools: expected each to be a Pool, got {pool!r} under {name!r}.")

    if DEFAULT_POOL in pools and default:
        raise TypeError(f"The pool {DEFAULT_POOL!r} is given twice: in pools= and by {', '.join(sorted(default))}=.")

    return {DEFAULT_POOL: Pool(**default), **pools} if DEFAULT_POOL not in pools else dict(pools)


def _refuse_unknown(default: Mapping[str, Any]) -> None:
    if default:
        refuse_unknown(default, of="Bridge", others=("store", "pools", "drain", "name"))


def _single(error: Exception) -> Exception:
    inner: tuple[Exception, ...] = getattr(error, "exceptions", ())
    return _single(inner[0]) if len(inner) == 1 else error
