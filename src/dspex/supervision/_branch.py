"""One thing of a live tree as others see it: what `Tree` is made of, and how a supervisor's child becomes one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from attrs import evolve, field, frozen

from .._exceptions import in_short
from ._facts import ChildInfo, ChildState

Fact = str | int | float | bool | None


def _copied(facts: Mapping[str, Fact]) -> Mapping[str, Fact]:
    return dict(facts)


def _counted(others: Mapping[str, int]) -> Mapping[str, int]:
    return dict(others)


def _in_order(children: Iterable[Branch]) -> tuple[Branch, ...]:
    return tuple(children)


@frozen
class Branch:
    """
    What a supervisor, a context, a bridge, a worker process or any other child shows of itself in a tree.

    A value that has more to show than that it runs gives one from its ``__branch__()``. Nothing that is ``sensitive`` belongs in it.
    """

    name: str
    """Any text: a tree makes it safe to show."""
    kind: str = "task"
    """Such as ``"supervisor"``, ``"dynamic supervisor"``, ``"context"``, ``"bridge"``, ``"pool"``, ``"process"``, ``"task"``."""
    state: str = ""
    """Such as ``"running"``: the states of a child, a context or a worker. Empty for what has none."""
    facts: Mapping[str, Fact] = field(default={}, converter=_copied)
    """
    What else there is to know, by name and in the order shown. Some have a shape of their own when they are drawn: ``restarts``,
    ``allowed`` and ``seconds`` (a budget), ``ready`` and ``workers`` (a pool), ``strategy``, ``backend``. Others are drawn with their name.
    """
    children: tuple[Branch, ...] = field(default=(), converter=_in_order)
    note: str = ""
    """One line on what is, or was, wrong."""
    others: Mapping[str, int] = field(default={}, converter=_counted)
    """Children that are not among `children`, because there are too many: how many are in each state."""

    def walk(self) -> Iterator[tuple[str, Branch]]:
        """This branch and all below it, each with its path, a parent before its children."""
        waiting = [(self.name, self)]
        while waiting:
            path, branch = waiting.pop()
            yield path, branch
            waiting += [(f"{path}/{child.name}", child) for child in reversed(branch.children)]


def branch(info: ChildInfo, last: Any = None, *, limit: int | None = None) -> Branch:
    """
    How a supervisor's child looks in a tree, with about *limit* branches below it.

    That is its value's own ``__branch__()`` where it has one, under the child's id. What its supervisor knows of it is added: its state
    when it isn't simply running, its restarts, its last error. *last* is the value of its last life, which draws it while it has none.
    """
    plain = Branch(info.id, "supervisor" if info.kind == "supervisor" else "task")
    own = drawn_by(last if info.value is None else info.value, plain, limit=limit)
    state = own.state if info.state is ChildState.RUNNING and own.state else str(info.state)
    return evolve(own, name=info.id, state=state, facts=_with_restarts(own.facts, info), note=own.note or _after(info))


def drawn_by(value: object, plain: Branch, *, limit: int | None = None) -> Branch:
    """How *value* draws itself; *plain* where it doesn't."""
    draw = _drawing_of(value, limit)
    if draw is None:
        return plain

    try:
        own = draw()
    except Exception as error:  # noqa: BLE001 - a tree is looked at when something is wrong: the rest of it must still show
        return evolve(plain, note=f"__branch__ failed: {in_short(error)}")

    return own if isinstance(own, Branch) else evolve(plain, note=f"__branch__ gave {type(own).__name__}, not Branch")


def _drawing_of(value: object, limit: int | None) -> Callable[[], object] | None:
    kind: Any = type(value)
    if limit is not None and hasattr(kind, "_branch_within"):
        return partial(kind._branch_within, value, limit)

    return partial(kind.__branch__, value) if hasattr(kind, "__branch__") else None


def _with_restarts(facts: Mapping[str, Fact], info: ChildInfo) -> dict[str, Fact]:
    again = {"restarted": info.lives - 1} if info.lives > 1 else {}
    if not info.own_budget or "restarts" in facts:  # what a supervisor has there is its children's budget
        return {**facts, **again}

    return {**facts, "restarts": info.restarts, "allowed": info.allowed, "seconds": info.seconds, **again}


def _after(info: ChildInfo) -> str:
    if info.error is None:
        return ""

    return f"after {in_short(info.error)}" if info.state is ChildState.RUNNING else in_short(info.error)


def as_dict(branch: Branch) -> dict[str, Any]:
    """The branch and all below it as plain data that JSON has words for."""
    return {
        "name": branch.name,
        "kind": branch.kind,
        "state": branch.state,
        "facts": {name: _plain(fact) for name, fact in branch.facts.items()},
        "note": branch.note,
        "children": [as_dict(child) for child in branch.children],
        "others": dict(branch.others),
    }


def _plain(fact: Fact) -> Fact:
    # JSON has no infinity.
    return str(fact) if isinstance(fact, float) and fact - fact != 0 else fact
