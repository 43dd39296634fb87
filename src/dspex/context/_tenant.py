"""
One key of a family, as plain data: a `Tenant`, its stage, and the claims on it.

A `Claim` is somebody's wish for the key: waiting in the tenant's line, then among its holds.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..variables import Snapshot
    from ._handle import Context


class Wish(enum.Enum):
    """What a claim is for."""

    JOIN = "join"
    EXCLUSIVE = "exclusive"
    DROP = "drop"


class Stage(enum.Enum):
    """Where a key is; see `_tenancy`."""

    ABSENT = "absent"
    STARTING = "starting"
    LIVE = "live"
    LEAVING = "leaving"
    LOST = "lost"


class Deed(enum.Enum):
    """What has to be done about a tenant."""

    START = "start"
    TURN_BACK = "turn back"
    EVICT = "evict"
    DROP = "drop"


# In these a key has a context that is up.
UP = (Stage.LIVE, Stage.LEAVING)


class Claim:
    """
    Somebody's wish for a key.

    Attributes:
        wish: what for.
        flow: what the same code holds already, outermost first.
        settled: whether it was granted or refused.
        error: why it was refused.
        context: the one it was granted.
        pending: claims that wait while this one is held, made by the code that holds it.

    """

    __slots__ = ("context", "error", "flow", "pending", "settled", "tenant", "wake", "wish")

    def __init__(self, wish: Wish, *, flow: tuple[Claim, ...] = (), wake: Callable[[], object] = bool) -> None:
        self.wish: Wish = wish
        self.flow: tuple[Claim, ...] = flow
        self.wake: Callable[[], object] = wake
        self.settled: bool = False
        self.error: BaseException | None = None
        self.tenant: Tenant | None = None
        self.context: Context | None = None
        self.pending: set[Claim] | None = None

    def settle(self, error: BaseException | None = None) -> None:
        """It waits no more."""
        self.settled = True
        self.error = error
        for held in self.flow:
            if held.pending is not None:
                held.pending.discard(self)

        self.wake()

    def wait(self) -> None:
        """It has to wait, and so do those for whom its code holds something."""
        for held in self.flow:
            if held.pending is None:
                held.pending = set()

            held.pending.add(self)


class Tenant:
    """
    One key.

    Attributes:
        key: the key.
        stage: where it is.
        context: the one that serves.
        child: what the supervisor of the contexts calls it.
        snapshot: of a context that is gone: what it held and nobody has saved.
        holds: the claims that have it now.
        exclusive: whether they have it for themselves.
        line: the claims that wait, first come first.
        room: whether it has one.
        heir: who gets the room when this one has left.
        heir_of: whose room this one waits for.
        tries: how many contexts couldn't make room for it.
        strikes: how often in a row it couldn't be saved.
        retry_at: when that is to be tried again, on the loop's clock.
        unchanged: the count of its context's operations that tells that nothing has happened since it was loaded or saved.

    """

    __slots__ = (
        "child",
        "context",
        "exclusive",
        "heir",
        "heir_of",
        "holds",
        "key",
        "line",
        "retry_at",
        "room",
        "snapshot",
        "stage",
        "strikes",
        "tries",
        "unchanged",
    )

    def __init__(self, key: str) -> None:
        self.key: str = key
        self.stage: Stage = Stage.ABSENT
        self.context: Context | None = None
        self.child: str = ""
        self.snapshot: Snapshot | None = None
        self.holds: dict[Claim, None] | None = None
        self.exclusive: bool = False
        self.line: OrderedDict[Claim, None] | None = None
        self.room: bool = False
        self.heir: Tenant | None = None
        self.heir_of: Tenant | None = None
        self.tries: int = 0
        self.strikes: int = 0
        self.retry_at: float | None = None
        self.unchanged: int = -1

    def __repr__(self) -> str:
        return f"<Tenant {self.key!r} [{self.stage.value} | holds: {len(self.holds or ())} | waiting: {len(self.line or ())}]>"

    @property
    def first(self) -> Claim | None:
        """Who is first in line."""
        return next(iter(self.line)) if self.line else None

    def admits(self, claim: Claim) -> bool:
        """Whether those who hold it leave room for *claim*."""
        if not self.holds or self.is_again(claim):
            return True

        return not self.exclusive and claim.wish is Wish.JOIN

    def is_again(self, claim: Claim) -> bool:
        """Whether *claim* is to join what its own code holds."""
        return claim.wish is Wish.JOIN and any(held in (self.holds or ()) for held in claim.flow)

    def queue(self, claim: Claim) -> None:
        """Puts *claim* in line: at the end, unless it is of code that those in line wait for."""
        claim.tenant = self
        if self.line is None:
            self.line = OrderedDict()

        self.line[claim] = None
        if self.is_again(claim):
            self.line.move_to_end(claim, last=False)

    def unqueue(self, claim: Claim) -> None:
        """Takes *claim* out of the line."""
        if self.line is not None:
            self.line.pop(claim, None)
            self.line = self.line or None

    def hold(self, claim: Claim) -> None:
        """*claim* has it."""
        if self.holds is None:
            self.holds = {}

        self.holds[claim] = None
        self.exclusive = self.exclusive or claim.wish is Wish.EXCLUSIVE

    def let_go(self, claim: Claim) -> None:
        """*claim* has it no longer."""
        if self.holds is not None:
            self.holds.pop(claim, None)
            self.holds = self.holds or None

        if self.holds is None:
            self.exclusive = False
