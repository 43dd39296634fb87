"""
The bridge: what a context needs to live outside its process, as one thing to open.

It has a session store, where the encoded values are kept, and pools of worker processes, where programs run. Opening it waits for no
worker: they start in the background. It may be shared by any number of contexts of one event loop.

Under a supervisor (`Bridge.child_spec`) it is one handle for ever, over any number of lives. Between two of them the store goes on serving, and
calls that have not begun wait for the next one: each pool is kept, and holds them back.
"""

from __future__ import annotations

import enum
import itertools
import logging
import os
from _thread import get_ident
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

import anyio
from anyio.abc import TaskGroup, TaskStatus
from attrs import frozen

from ._exceptions import BridgeClosed, PoolNotFound, WrongThread
from .supervision import ChildSpec, HostTask, current_path, starting, unwrapped
from .telemetry._live import BRIDGES
from .worker.host import Pool, PoolStatistics, WorkerPool
from .worker.host.options import PoolOptions, refuse_unknown
from .worker.host.worker import CLOSE_GRACE

if TYPE_CHECKING:
    from .abc import SessionStore
    from .supervision import Branch
    from .supervision._spec import Delays, OnLimit, Restart, Shutdown

__all__ = ["Bridge", "BridgeStatistics", "Pool"]

DEFAULT_POOL: Final = "default"
# Seconds beyond those that workers are given, until a bridge that is being stopped has left nothing.
_MARGIN: Final = 1.0
_numbers = itertools.count(1)

log: logging.Logger = logging.getLogger(__name__)


class BridgeOptions(PoolOptions, total=False):
    """The arguments of `Bridge`, for those who pass them on."""

    store: str | SessionStore
    pools: Mapping[str, Pool] | None
    drain: float
    name: str | None


class _Status(enum.Enum):
    NEW = "new"
    RUNNING = "running"
    STOPPING = "stopping"
    RESTARTING = "restarting"
    PARKED = "parked"
    CLOSED = "closed"


# In these there are pools to ask. While it stops, programs that still run may call others.
_ALIVE: Final = frozenset({_Status.RUNNING, _Status.STOPPING})
_USABLE: Final = _ALIVE | {_Status.RESTARTING}

# What its supervisor says of a child that is not to be started again, and where that leaves the bridge.
_ENDS: Final = {"stopped": _Status.CLOSED, "gone": _Status.CLOSED, "parked": _Status.PARKED}


@frozen(kw_only=True)
class BridgeStatistics:
    """
    What a bridge is doing.

    Attributes:
        status: as `Bridge.status`.
        starts: how many times it was opened, restarts by its supervisor included.
        pools: the statistics of each pool by name.

    """

    status: str
    starts: int
    pools: Mapping[str, PoolStatistics]


class Bridge:
    """
    A session store and pools of workers. An async context manager; also `start` and `stop`, from any task.

    One handle may be opened again after it has closed: with new workers, on the same store. As a child of a supervisor (`child_spec`) it is
    started and stopped by that.

    Args:
        store: where sessions are kept: ``"memory://"`` (it lives and dies with this handle, over all restarts) or a session store.
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
        self._failure: BaseException | None = None
        self._group: TaskGroup | None = None
        self._host: HostTask | None = None
        self._hurried = False
        self._supervised = False
        # Whether it belongs to something else, which draws it.
        self._is_part = False
        self._starts = 0
        self._thread = 0

    @classmethod
    def child_spec(
        cls,
        id: str,  # noqa: A002 - as ChildSpec has it
        *,
        restart: Restart = "permanent",
        shutdown: Shutdown | None = None,
        backoff: Delays | None = None,
        significant: bool = False,
        max_restarts: int | None = None,
        max_seconds: float | None = None,
        on_limit: OnLimit = "escalate",
        **options: Unpack[BridgeOptions],
    ) -> ChildSpec:
        """
        One as a child of a supervisor, called *id*. The bridge is one handle for all its lives, and the value of each start.

        Between two lives its status is ``"restarting"``. Its store is kept, so that the variables of contexts go on. Calls that have not begun
        wait, within their deadlines, and are served by the next life's workers. Those that were running have `drain` seconds to end when it is
        stopped in order to be started again, with its group; then, and at once when it has crashed, they fail with `WorkerDied`. When it is not
        to be started again, or is parked, everyone who waits gets `BridgeClosed`.

        It has *shutdown* seconds to end; of a number `drain` gets no more than its workers, to leave, may not need. None: all that both may take.
        *restart* to *on_limit* are as `ChildSpec` has them, *options* as `Bridge` takes them.
        """
        options.setdefault("name", id)
        bridge = cls(**options)
        bridge._supervised = bridge._is_part = True
        leaving = bridge._seconds_to_leave()
        if isinstance(shutdown, (int, float)):
            bridge.drain = min(bridge.drain, max(0.0, shutdown - leaving))

        return ChildSpec(
            id,
            bridge._live,
            restart=restart,
            shutdown=bridge.drain + leaving if shutdown is None else shutdown,
            backoff=backoff,
            significant=significant,
            max_restarts=max_restarts,
            max_seconds=max_seconds,
            on_limit=on_limit,
            stop=bridge._begin_stop,
            on_change=bridge._changed,
        )

    def __repr__(self) -> str:
        return f"<Bridge {self.name!r} [{self.status} | store: {type(self.store).__name__} | pools: {', '.join(sorted(self._options))}]>"

    @property
    def status(self) -> str:
        """
        ``"new"``, ``"running"``, ``"stopping"`` or ``"closed"``.

        Under a supervisor also ``"restarting"`` (calls wait) and ``"parked"`` (they don't: it has crashed too often).
        """
        return self._status.value

    @property
    def ready(self) -> bool:
        """Whether every pool has at least one worker that takes calls."""
        return self._status is _Status.RUNNING and all(pool.ready for pool in self._pools.values())

    async def wait_ready(self) -> None:
        """
        Returns once `ready`. While it restarts that is waited for.

        Raises:
            StartFailed: a pool can't start its workers.
            BridgeClosed: the bridge is not running, or stopped meanwhile.

        """
        self._check_usable()
        for pool in self._pools.values():
            await pool.wait_ready()

    def statistics(self) -> BridgeStatistics:
        """What it is doing now."""
        pools = {name: pool.statistics() for name, pool in self._pools.items()}
        return BridgeStatistics(status=self.status, starts=self._starts, pools=pools)

    def _count_workers(self) -> dict[tuple[str, str], int]:
        return {(name, state): count for name, pool in self._pools.items() for state, count in pool.count_workers().items()}

    def __branch__(self) -> Branch:
        """How it looks in a supervisor's tree: below it its pools, and below those their workers."""
        from .supervision import Branch

        pools = tuple(pool.__branch__() for pool in self._pools.values())
        return Branch(self.name, "bridge", self.status, {"store": type(self.store).__name__}, pools)

    def pool(self, name: str = DEFAULT_POOL) -> WorkerPool:
        """
        The pool called *name*. That of a bridge which restarts is there too, and its calls wait.

        Raises:
            PoolNotFound: there is none of this name. It is a LookupError.
            BridgeClosed: the bridge is not running.

        """
        if name not in self._options:
            raise PoolNotFound(name, bridge=self.name, known=self._options)

        self._check_usable()
        return self._pools[name]

    def _check_usable(self) -> None:
        if self._status not in _USABLE:
            raise BridgeClosed(repr(self.name), status="not open yet" if self._status is _Status.NEW else self.status) from self._failure

    # --- its life ------------------------------------------------------------------------------------------------------------

    async def serve(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """
        Opens the bridge, says so by *task_status*, and runs it until `stop` is called or this task is cancelled.

        When it returns, no process, no task and no descriptor of the bridge's is left. It raises nothing of its workers'.

        """
        self._refuse_owned()
        self._begin()
        await self._serve(task_status)

    def open_nowait(self, group: TaskGroup) -> None:
        """
        Opens the bridge in this very step, to run as a task of *group* until `stop` is called.

        The task is shielded: it is for an owner that always stops it, and whose other tasks may use it until then.
        """
        self._refuse_owned()
        self._is_part = True
        self._begin()
        group.start_soon(self._serve_shielded, name=f"dspex {self.name}")

    async def _serve_shielded(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._serve(anyio.TASK_STATUS_IGNORED)

    async def _serve(self, task_status: TaskStatus[None]) -> None:
        try:
            await self._run(task_status, None)
        except Exception as error:  # noqa: BLE001 - a defect in here ends this bridge, and is told to whoever uses or leaves it
            self._end(_Status.CLOSED, unwrapped(error))
        finally:
            self._settle()

    async def _live(self, *, task_status: TaskStatus[Bridge]) -> None:
        """One life of it under a supervisor."""
        self._refuse_second()
        self._begin()
        failure: Exception | None = None
        try:
            await self._run(task_status, self)
        except Exception as error:  # noqa: BLE001 - raised below, bare
            failure = unwrapped(error)
        finally:
            self._settle()

        if failure is not None:
            raise failure

    def _refuse_owned(self) -> None:
        if self._supervised:
            raise RuntimeError(f"The bridge {self.name!r} is opened by its supervisor alone.")

        self._refuse_second()

    def _refuse_second(self) -> None:
        if self._status in _ALIVE:
            raise RuntimeError(f"The bridge {self.name!r} is open already.")

    def _begin(self) -> None:
        if self._status is not _Status.RESTARTING:
            self._pools = self._new_pools()

        self._failure = None
        self._hurried = False
        self._stop = anyio.Event()
        self._closed = anyio.Event()
        self._status = _Status.RUNNING
        self._starts += 1
        self._thread = get_ident()
        for pool in self._pools.values():
            pool.open()

    def _new_pools(self) -> dict[str, WorkerPool]:
        return {name: WorkerPool(name, options, bridge=self.name) for name, options in self._options.items()}

    async def _run(self, task_status: TaskStatus[Any], value: Bridge | None) -> None:
        abrupt = True
        BRIDGES.enter(self)
        log.info("Bridge %r is open", self.name, extra={"dspex_bridge": self.name, "dspex_starts": self._starts})
        async with anyio.create_task_group() as tasks:
            for name, pool in self._pools.items():
                tasks.start_soon(pool.run, name=f"{current_path() or self.name}/{name}")

            task_status.started(value)
            try:
                await self._stop.wait()
                await self._drain()
                abrupt = False
            finally:
                # Not asked to stop, it has crashed, and its supervisor says what is next.
                self._begin_stop(final=not self._supervised)
                with anyio.CancelScope(shield=True):
                    await self._each_pool(partial(WorkerPool.dismiss, abrupt=abrupt))

        if abrupt:
            raise RuntimeError(f"A task of bridge {self.name!r} was cancelled by nobody we know.")

    def _begin_stop(self, final: bool = True) -> None:
        if self._status is _Status.RUNNING:
            self._status = _Status.STOPPING if final else _Status.RESTARTING
            for pool in self._pools.values():
                if final:
                    pool.refuse_newcomers()
                else:
                    pool.hold()

        self._stop.set()

    def _settle(self) -> None:
        """Nothing of this life is left. One that restarts holds its calls back."""
        if self._status is not _Status.RESTARTING:
            self._end(_Status.CLOSED, self._failure)

        self._closed.set()

    def _end(self, status: _Status, failure: BaseException | None) -> None:
        self._status = status
        self._failure = failure
        for pool in self._pools.values():
            pool.close(parked=status is _Status.PARKED, error=failure)

        if status is _Status.CLOSED and self in BRIDGES:
            BRIDGES.leave(self)
            log.info("Bridge %r is closed", self.name, extra={"dspex_bridge": self.name})

    def _changed(self, state: str, error: BaseException | None) -> None:
        """Its supervisor says what is to become of it, once a life has ended. What is said of any other is none of its business."""
        if self._status in _ALIVE:
            return

        if state in _ENDS:
            self._end(_ENDS[state], error if error is not None else self._failure)
        elif state == "restarting" and self._status is not _Status.RESTARTING:
            # It was stopped by whoever has it, and is started again all the same.
            self._status = _Status.RESTARTING
            for pool in self._pools.values():
                pool.hold()

    async def _drain(self) -> None:
        if not self._hurried:
            with anyio.move_on_after(self.drain):
                await self._each_pool(WorkerPool.drain)

    def _seconds_to_leave(self) -> float:
        """How long it may take once nothing is waited for any more: programs end, then workers leave or are ended."""
        return max(pool.kill_after for pool in self._options.values()) + 2 * CLOSE_GRACE + _MARGIN

    async def _each_pool(self, action: Any) -> None:
        async with anyio.create_task_group() as tasks:
            for pool in self._pools.values():
                tasks.start_soon(action, pool)

    async def __aenter__(self) -> Self:
        self._refuse_owned()
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

    @starting
    async def start(cls, **options: Unpack[BridgeOptions]) -> Self:  # noqa: N805 - a class method, to type checkers too
        """
        Makes a bridge and opens it in a task of its own, so that any task may stop it. Options as for the class. On a bridge,
        ``await bridge.start()`` opens that one.
        """
        return await cls(**options)._start_beside()

    async def _start_beside(self) -> Self:
        host = HostTask(self, f"dspex bridge {self.name}")
        await host.open()
        self._host = host
        return self

    async def stop(self) -> None:
        """
        Stops the bridge and returns once nothing of it is left. Idempotent; all who call it wait for the one end.

        To its supervisor that is an end by itself: a permanent one is started again. `terminate_child` stops it for good.

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
