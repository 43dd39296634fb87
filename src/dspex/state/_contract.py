"""What may be given as ``backend=``, checked before anything is opened."""

from __future__ import annotations

import inspect
from typing import Any, Literal, cast

import attrs

from dspex._exceptions import InvalidBackend
from dspex.abc import Capabilities, Mode, SessionStore, StateBackend, SyncStateBackend
from dspex.state.bridged import BridgedState, bridged_over
from dspex.state.local import LocalState

Kind = Literal["local", "bridged", "custom"]

REQUIRED = ("open", "close", "define", "get", "set", "set_many", "delete", "info", "scan")
DERIVED = ("read", "exists", "get_many", "update", "add", "append", "merge", "ids")
SYNC_ONLY = ("open_in_slices",)


@attrs.frozen
class BackendSpec:
    """
    A backend that may be made, and what is known of it before.

    Attributes:
        kind: ``"local"``, ``"bridged"`` or ``"custom"``.
        type: its class.
        sync: whether its methods are plain. That of ``"bridged"`` is known once it is made: it depends on the store.
        requires_bridge: whether it needs a bridge from the start.

    """

    kind: Kind
    type: type[Any]
    sync: bool
    requires_bridge: bool
    capabilities: Capabilities
    instance: Any = attrs.field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.type.__name__

    def make(self, store: SessionStore | None = None, *, holder: str = "", mode: Mode = "any") -> SyncStateBackend | StateBackend:
        """
        The backend, not open yet. ``"bridged"`` needs the *store*.

        A class of the user's own is called without arguments, an instance is handed back. Where it only has the methods, it comes with what
        it lacks of the others.
        """
        if self.kind == "bridged":
            if store is None:
                raise InvalidBackend("'bridged'", problems=["it has no session store: open a Bridge first"])

            return bridged_over(store, holder=holder, mode=mode)

        made = self.type() if self.instance is None else self.instance
        return completed(made, sync=self.sync)


def backend_from(spec: Any) -> BackendSpec:
    """
    What *spec* stands for: ``"local"``, ``"bridged"``, a class or an instance.

    Raises:
        InvalidBackend: with everything that keeps it from being a backend.

    """
    if spec == "local" or spec is LocalState:
        return BackendSpec("local", LocalState, sync=True, requires_bridge=False, capabilities=LocalState.capabilities)

    if spec == "bridged" or spec is BridgedState:
        return BackendSpec(
            "bridged", BridgedState, sync=True, requires_bridge=True, capabilities=Capabilities(atomic_updates=True, distributed=True)
        )

    cls: type[Any] = spec if isinstance(spec, type) else type(spec)
    if isinstance(spec, str) or cls in {int, float, dict, list, tuple, type(None), bool}:
        raise InvalidBackend(repr(spec), problems=["it is neither 'local', 'bridged', a backend class nor an instance of one"])

    problems = [*_missing(cls, spec), *_mixed(cls), *_capability_problems(spec)]
    if problems:
        raise InvalidBackend(cls.__name__, problems=problems)

    return BackendSpec(
        "custom",
        cls,
        sync=not _is_async(cls, "get"),
        requires_bridge=bool(getattr(spec, "requires_bridge", False)),
        capabilities=getattr(spec, "capabilities", Capabilities()),
        instance=None if isinstance(spec, type) else spec,
    )


def completed(backend: Any, *, sync: bool) -> SyncStateBackend | StateBackend:
    """*backend* with all methods of the contract: itself, or a stand-in that has the defaults for those it lacks."""
    if isinstance(backend, (SyncStateBackend, StateBackend)):
        return backend

    contract: type[Any] = SyncStateBackend if sync else StateBackend
    own = {name: getattr(backend, name) for name in (*REQUIRED, *DERIVED, *SYNC_ONLY, "cells") if hasattr(backend, name)}
    facts = {name: getattr(backend, name) for name in ("capabilities", "requires_bridge") if hasattr(backend, name)}
    body = {
        "capabilities": Capabilities(),
        **facts,
        **{name: staticmethod(value) if callable(value) else value for name, value in own.items()},
    }
    return cast("SyncStateBackend | StateBackend", type(type(backend).__name__, (contract,), body)())


def _missing(cls: type[Any], spec: Any) -> list[str]:
    absent = [
        name for name in REQUIRED if not callable(getattr(cls, name, None)) or getattr(getattr(cls, name), "__isabstractmethod__", False)
    ]
    problems = [f"methods missing: {', '.join(absent)}"] if absent else []
    if isinstance(spec, type) and not absent:
        problems += _not_constructible(cls)

    return problems


def _not_constructible(cls: type[Any]) -> list[str]:
    try:
        inspect.signature(cls).bind()
    except TypeError as error:
        return [f"its class can't be called without arguments ({error}): give an instance"]
    except ValueError:
        return []

    return []


def _mixed(cls: type[Any]) -> list[str]:
    shapes = {name: _is_async(cls, name) for name in (*REQUIRED, *DERIVED) if callable(getattr(cls, name, None))}
    waiting = [name for name, is_async in shapes.items() if is_async]
    plain = [name for name, is_async in shapes.items() if not is_async]
    if waiting and plain:
        return [f"methods must be all plain or all coroutines: {', '.join(waiting)} are coroutines, {', '.join(plain)} are plain"]

    return []


def _is_async(cls: type[Any], name: str) -> bool:
    method = inspect.unwrap(inspect.getattr_static(cls, name, None) and getattr(cls, name))
    if name == "scan":
        return inspect.isasyncgenfunction(method) or _returns_async(method)

    return inspect.iscoroutinefunction(method)


def _returns_async(method: Any) -> bool:
    told = str(getattr(method, "__annotations__", {}).get("return", ""))
    return "Async" in told


def _capability_problems(spec: Any) -> list[str]:
    found = getattr(spec, "capabilities", None)
    if found is None or isinstance(found, Capabilities):
        return []

    if isinstance(spec, type) and isinstance(found, property):
        return []

    return [f"capabilities must be a dspex.abc.Capabilities, not {type(found).__name__}"]
