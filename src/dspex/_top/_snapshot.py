"""What a service tells of itself, read once from the JSON that its monitor sends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from ..supervision._drawing import LOOKS

Fact = str | int | float | bool | None
Detail = Mapping[str, Any]
"""The numbers of the selected node, as sent: its keys depend on its kind."""


@frozen
class Service:
    """Who is at the other end."""

    title: str
    """What it was started as."""
    pid: int
    """Its process id."""
    dspex: str
    """The version of this library there."""
    python: str
    """The version of its interpreter."""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Service:
        """From the greeting."""
        return cls(title=str(data["title"]), pid=int(data["pid"]), dspex=str(data["dspex"]), python=str(data["python"]))


@frozen(eq=False)
class Node:
    """One thing of the tree, and all below it."""

    id: str
    """Its path, which no other node of the tree has."""
    name: str
    """Any text."""
    kind: str
    """``"supervisor"``, ``"context"``, ``"pool"``, ``"process"``, ..."""
    state: str
    """One of the states in `LOOKS`, or any other; empty for what has none."""
    facts: Mapping[str, Fact]
    """What else there is to know, in the order shown."""
    note: str
    """One line on what is wrong."""
    children: tuple[Node, ...]
    """What is below it."""
    more: str
    """A line on children that were left out; empty if all are there."""
    operations: int | None = None
    """Operations that a context has served; None for everything else."""
    found: bool = False
    """Whether it is here because somebody asked for it by name: the service draws a part of its siblings only."""

    @classmethod
    def found_as(cls, detail: Detail) -> Node:
        """One that isn't drawn, from its numbers."""
        path, name, kind = (str(detail[key]) for key in ("path", "name", "kind"))
        return cls(path, name, kind, str(detail.get("state", "")), detail.get("facts", {}), str(detail.get("note", "")), (), "", found=True)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Node:
        """From one node as sent."""
        return cls(
            data["id"],
            data["name"],
            data["kind"],
            data["state"],
            data["facts"],
            data["note"],
            tuple(map(cls.of, data["children"])),
            data["more"],
            data.get("operations"),
        )

    @property
    def look(self) -> str:
        """What its state means: ``"well"``, ``"busy"``, ``"bad"`` or ``"over"``; empty for a state that is neither good nor bad."""
        return LOOKS.get(self.state, "")

    @property
    def is_in_trouble(self) -> bool:
        """Whether somebody should look at it."""
        return self.look == "bad" or (self.look == "busy" and bool(self.note))

    def walk(self) -> Iterator[Node]:
        """This one and all below it, a parent before its children."""
        waiting: list[Node] = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))


@frozen
class Event:
    """Something that happened."""

    at: float
    """When: Unix time in seconds."""
    path: str
    """The id of the node that it is about; empty if there is none."""
    kind: str
    """What kind of record told of it, such as ``"ProgramCalled"``."""
    level: str
    """``"info"``, ``"warning"`` or ``"error"``."""
    text: str
    """What, in a line."""

    @property
    def is_trouble(self) -> bool:
        """Whether somebody should know."""
        return self.level != "info"

    @property
    def is_usual(self) -> bool:
        """Whether it is a call that went well, of which a busy service has very many."""
        return self.kind == "ProgramCalled" and not self.is_trouble

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Event:
        """From one event as sent."""
        return cls(float(data["at"]), data["path"], data["kind"], data["level"], data["text"])


@frozen(eq=False)
class Snapshot:
    """All of it, at one moment."""

    at: float
    """Unix time in seconds, there."""
    uptime: float
    """Seconds since the service started."""
    tree: Node
    """The process, and below it all that is under way in it."""
    totals: Mapping[str, int]
    """Counts over all of it."""
    selected: Detail | None
    """The numbers of what was asked for."""
    events: tuple[Event, ...]
    """What happened since the snapshot before, oldest first."""
    dropped: int
    """How many events didn't fit."""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Snapshot:
        """
        From one answer as sent.

        Raises:
            ValueError: it is no snapshot; the message says what is missing in it, or wrong.

        """
        try:
            events = tuple(map(Event.of, data["events"]))
            times = float(data["at"]), float(data["uptime"])
            return cls(*times, Node.of(data["tree"]), data["totals"], data["selected"], events, data["dropped"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"what came is no snapshot of a service: {type(error).__name__}: {error}") from error
