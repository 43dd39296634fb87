"""
What a tree of supervisors does, told without tasks: a pure model to hold the real one against.

Nothing of dspex is used, and its tables are written again. A supervisor's activities are generators, run by the `World`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from supervision.model_world import FAILS, IGNORES, Chain, Life, Plan, Steps, Wait, Window, World

ACTIVE = {"running", "stopping", "overdue"}
COMES_BACK = {"permanent": {"returned", "crashed"}, "transient": {"crashed"}, "temporary": set()}
STRENGTH = {"restarting": 0, "stopped": 1, "gone": 2}


@dataclass(eq=False)
class Child:
    plan: Plan
    window: Window | None  # of its own budget
    state: str = "new"
    life: Life | None = None
    reigns: Supervisor | None = None
    down: bool = False
    strikes: int = 0


@dataclass(eq=False)
class Supervisor:
    world: World
    plan: Plan
    status: str = "starting"
    ended_by: str = ""
    incidents: deque[Child] = field(default_factory=deque)
    regrouping: bool = False
    turns: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.window = Window(self.world, self.plan.allowed, self.plan.seconds)
        self.last_chain: Chain = []
        self.children: dict[str, Child] = {}
        for plan in self.plan.children or ():
            self.list(plan)

    @property
    def ending(self) -> bool:
        return bool(self.ended_by)

    # --- the whole ---------------------------------------------------------------------------------------------------------------

    def reign(self, asked: Callable[[], bool], chain: Chain, life: Life | None = None) -> Steps:
        """From the first child's start to the last one's end."""
        failed = yield from self.start_all(asked, chain)
        if not failed and not asked() and not self.ending:
            self.status = "running"
            if life is not None:
                life.up, life.since = True, self.world.now

            yield Wait(lambda: self.ending or asked())

        self.end("error" if failed or asked() else "stop", life.chain if life is not None else chain)
        for child in reversed(list(self.children.values())):
            yield from self.stop(child, "gone", self.last_chain)

        yield Wait(lambda: not self.children and not self.regrouping)
        self.status = "closed"

    def start_all(self, asked: Callable[[], bool], chain: Chain) -> Iterator[Wait]:
        turn = yield from self.take_turn()
        failed = False
        for child in list(self.children.values()):
            if child.state != "new" or child.down:
                continue

            life = self.launch(child, chain)
            yield Wait(lambda life=life: life.settled or self.ending or asked())
            if self.ignored(life):
                self.finished(child, life.chain, by_itself=False)
            elif life.over and not life.up:
                failed = True
                child.state = "stopped"

            if failed or self.ending or asked():
                # One that is starting when no more are wanted is stopped first, beside the others.
                if not life.over:
                    self.ask(child, life, "stopped", self.world.chain())

                self.world.begin(self.give_back(turn, life))
                yield Wait(lambda life=life: life.over or life.passed or self.ending)
                return failed

        self.turns.remove(turn)
        return False

    def give_back(self, turn: object, life: Life) -> Steps:
        yield Wait(lambda: life.over or life.passed)
        self.turns.remove(turn)

    def end(self, why: str, chain: Chain) -> None:
        if not self.ending:
            self.ended_by = why
            self.status = "stopping"
            self.last_chain = chain

    # --- one life ----------------------------------------------------------------------------------------------------------------

    def list(self, plan: Plan) -> Child:
        allowed, seconds = plan.budget or (self.plan.allowed, self.plan.seconds)
        own = Window(self.world, allowed, seconds) if plan.budget or plan.parks else None
        child = self.children[plan.id] = Child(plan, own)
        return child

    def forget(self, child: Child) -> None:
        child.state = "gone"
        if self.children.get(child.plan.id) is child:
            del self.children[child.plan.id]

    def launch(self, child: Child, chain: Chain, *, revival: bool = False, pause: float = 0.0) -> Life:
        life = child.life = Life(chain, revival=revival, begins=self.world.now + pause)
        child.state = "restarting" if revival else "starting"
        self.world.begin(self.live(child, life))
        return life

    def live(self, child: Child, life: Life) -> Steps:
        if life.revival:
            yield Wait(lambda: bool(life.leaves), life.begins)
            if life.leaves or self.ending:
                return self.over(child, life, "asked" if life.leaves else "not wanted")

            child.state = "starting"

        how = yield from self.reign_below(child, life) if child.plan.children is not None else self.play(child, life)
        self.over(child, life, how)

    def reign_below(self, child: Child, life: Life) -> Iterator[Wait]:
        child.reigns = below = Supervisor(self.world, child.plan)
        for step in below.reign(lambda: bool(life.leaves), life.chain, life):
            if life.up and child.state == "starting" and not life.leaves:
                child.state = "running"

            yield step

        life.chain = below.last_chain
        return "asked" if life.leaves else "returned" if life.up and below.ended_by == "auto_shutdown" else "crashed"

    def play(self, child: Child, life: Life) -> Iterator[Wait]:
        """One that is no supervisor: how it ended."""
        how = self.world.next_start(child.plan)
        if isinstance(how, float):
            self.say(child, life, "starts")
            yield Wait(lambda: bool(life.leaves), self.world.now + how)
            if life.leaves:
                self.say(child, life, "gives up")
                return "asked"

        if how in (FAILS, IGNORES):
            self.say(child, life, str(how))
            life.cue = str(how)
            return "crashed" if how == FAILS else "returned"

        self.say(child, life, "up")
        life.up, life.since, child.state = True, self.world.now, "running"
        yield Wait(lambda: bool(life.cue or life.leaves))
        if not life.cue:
            yield from self.leave(child, life)
            return "asked"

        self.say(child, life, "returns" if life.cue == "returned" else "crashes")
        return life.cue

    def leave(self, child: Child, life: Life) -> Steps:
        plan, released = child.plan, self.world.released
        if plan.asked is not None:
            self.say(child, life, "asked" if life.leaves == "restarting" else "asked for good")
            yield Wait(lambda: False, life.asked_at + min(plan.asked, plan.shutdown))
            self.say(child, life, "down" if plan.asked < plan.shutdown else "cut")
            return

        if plan.lingers or plan.refuses:
            self.say(child, life, "stopping")
            yield Wait(lambda: False, life.asked_at + plan.lingers)
            yield Wait(lambda: not plan.refuses or plan.id in released)

        self.say(child, life, "down")

    def say(self, child: Child, life: Life, what: str) -> None:
        self.world.say(life.chain, f"{child.plan.id} {what}")

    def over(self, child: Child, life: Life, how: str) -> None:
        life.over = True
        child.life = None
        if life.leaves == "gone":
            self.forget(child)
        elif life.leaves:
            child.state = life.leaves
        elif life.up or life.revival:
            self.ended(child, life, how)

    @staticmethod
    def ignored(life: Life) -> bool:
        return life.cue == IGNORES

    # --- what follows ------------------------------------------------------------------------------------------------------------

    def ended(self, child: Child, life: Life, how: str) -> None:
        proved = 30.0 if child.plan.backoff is None else 8 * child.plan.backoff
        if life.up and self.world.now - life.since > proved:
            child.strikes = 0

        again = how in COMES_BACK[child.plan.restart] if life.up else not self.ignored(life)
        if self.ending or not again:
            self.finished(child, life.chain, by_itself=not self.ignored(life))
        elif self.plan.strategy == "one_for_one":
            if self.allows(child, life.chain):
                self.launch(child, life.chain, revival=True, pause=self.pause_before(child))
        else:
            child.state = "restarting"
            self.incidents.append(child)
            if not self.regrouping:
                self.regrouping = True
                self.world.begin(self.regroup(life.chain))

    def finished(self, child: Child, chain: Chain, *, by_itself: bool) -> None:
        child.state = "stopped"
        if child.plan.restart == "temporary":
            self.forget(child)

        if by_itself and child.plan.significant and not self.ending:
            others = [each for each in self.children.values() if each.plan.significant and each.state not in ("stopped", "parked")]
            if self.plan.auto_shutdown == "any_significant" or (self.plan.auto_shutdown == "all_significant" and not others):
                self.end("auto_shutdown", chain)

    def allows(self, child: Child, chain: Chain) -> bool:
        window = child.window or self.window
        if window.count() < window.allowed:
            window.times.append(self.world.now)
            return True

        child.state = "parked" if child.plan.parks else "stopped"
        if not child.plan.parks:
            self.end("limit", chain)

        return False

    def pause_before(self, child: Child) -> float:
        child.strikes += 1
        return 0.0 if child.plan.backoff is None else child.plan.backoff * min(8, 2 ** (child.strikes - 1))

    def regroup(self, chain: Chain) -> Steps:
        while self.incidents and not self.ending:
            turn = yield from self.take_turn()
            if not self.ending:
                yield from self.restart_with(self.incidents.popleft(), chain)

            self.turns.remove(turn)

        self.regrouping = False

    def restart_with(self, failed: Child, chain: Chain) -> Steps:
        affected = self.affected_by(failed)
        if self.awaits_restart(failed) and self.allows(failed, chain):
            yield from self.stop_group(affected, chain)
            yield Wait(lambda: failed.down or self.ending, self.world.now + self.pause_before(failed))

        for child in affected:
            if self.ending:
                return

            if self.awaits_restart(child):
                life = self.launch(child, chain)
                yield Wait(lambda life=life: life.settled)
                if self.ignored(life):
                    self.finished(child, chain, by_itself=False)
                elif not life.up and not life.leaves:
                    child.state = "restarting"
                    self.incidents.appendleft(child)
                    return

    def affected_by(self, failed: Child) -> list[Child]:
        children = list(self.children.values())
        if failed not in children:
            return []

        return children if self.plan.strategy == "one_for_all" else children[children.index(failed) :]

    def stop_group(self, affected: list[Child], chain: Chain) -> Steps:
        lives = [(child, child.life) for child in affected]
        for child, life in reversed(lives):
            if life is not None:
                yield from self.stop(child, "gone" if child.plan.restart == "temporary" else "restarting", chain)
            elif child.state == "stopped" and not child.down:
                child.state = "restarting"

        yield Wait(lambda: all(life is None or life.over for _, life in lives))

    def awaits_restart(self, child: Child) -> bool:
        return child.state == "restarting" and child.life is None and not child.down and child in self.children.values()

    def take_turn(self) -> Iterator[Wait]:
        """Waits for it no longer than there may be one: when the supervisor ends, who waits is told at once."""
        turn = object()
        self.turns.append(turn)
        yield Wait(lambda: self.turns[0] is turn or self.ending)
        return turn

    # --- stopping ----------------------------------------------------------------------------------------------------------------

    def stop(self, child: Child, leaves: str, chain: Chain) -> Steps:
        """Returns when it is gone, or overdue."""
        life = child.life
        if life is not None:
            self.ask(child, life, leaves, chain)
            yield Wait(lambda: life.over or life.passed)
        elif leaves == "gone":
            self.forget(child)
        elif child.state != "stopped":
            child.state = leaves

    def ask(self, child: Child, life: Life, leaves: str, chain: Chain) -> None:
        if life.leaves:
            life.leaves = max(life.leaves, leaves, key=STRENGTH.__getitem__)
            return

        life.leaves = leaves
        life.asked_at = self.world.now
        life.chain = life.chain if life.cue else chain
        child.state = "stopping"
        if child.plan.children is None:
            self.world.begin(self.watch(child, life))

    def watch(self, child: Child, life: Life) -> Steps:
        asks_first = child.plan.asked is not None and life.up
        yield Wait(lambda: life.over, math.inf if asks_first else life.asked_at + child.plan.shutdown)
        if not life.over:
            child.state = "overdue"
            life.passed = True
            life.chain = self.world.chain()

    # --- asked from outside ------------------------------------------------------------------------------------------------------

    def start_child(self, plan: Plan, call: int) -> Steps:
        if self.ending:
            return self.answer(call, "SupervisorClosed")

        if plan.id in self.children:
            return self.answer(call, "ChildExists")

        child = self.list(plan)
        yield from self.start_by_hand(child, call, "gone")
        if self.world.outcomes[call] != "ok" and child.life is None:
            self.forget(child)

    def restart_child(self, child_id: str, call: int) -> Steps:
        child = self.at_rest(child_id, call)
        if child is not None:
            child.strikes = 0
            if child.window is not None:
                child.window.times.clear()

            yield from self.start_by_hand(child, call, "stopped")

    def start_by_hand(self, child: Child, call: int, failed: str) -> Steps:
        child.down = False
        turn = (yield from self.take_turn()) if self.plan.strategy != "one_for_one" else None
        if self.ending:
            self.answer(call, "SupervisorClosed")
        elif child.down:
            self.answer(call, "StartFailed")
        elif child.plan.id not in self.children:
            self.answer(call, "ChildNotFound")
        elif self.children[child.plan.id] is child and child.life is None:
            yield from self.start_now(child, call, failed)
        else:
            self.answer(call, "ok")

        if turn is not None:
            self.turns.remove(turn)

    def start_now(self, child: Child, call: int, failed: str) -> Steps:
        life = self.launch(child, self.world.chain())
        yield Wait(lambda: life.settled)
        if life.up or self.ignored(life):
            if not life.up:
                self.finished(child, life.chain, by_itself=False)

            self.answer(call, "ok")
        elif life.leaves:
            self.answer(call, "SupervisorClosed" if self.ending else "StartFailed")
        else:
            child.state = failed
            self.answer(call, "StartFailed")

    def terminate_child(self, child_id: str, call: int) -> Steps:
        child = self.find(child_id, call)
        if child is None:
            return

        child.down = True
        life = child.life
        yield from self.stop(child, "gone" if child.plan.restart == "temporary" else "stopped", self.world.chain())
        yield Wait(lambda: life is None or life.over)
        self.answer(call, "ok")

    def delete_child(self, child_id: str, call: int) -> Steps:
        child = self.at_rest(child_id, call)
        if child is not None:
            self.forget(child)
            self.answer(call, "ok")

        yield from ()

    def find(self, child_id: str, call: int) -> Child | None:
        if self.ending or child_id not in self.children:
            self.answer(call, "SupervisorClosed" if self.ending else "ChildNotFound")
            return None

        return self.children[child_id]

    def at_rest(self, child_id: str, call: int) -> Child | None:
        child = self.find(child_id, call)
        if child is not None and child.state not in ("stopped", "parked"):
            self.answer(call, "ChildRunning")
            return None

        return child

    def answer(self, call: int, outcome: str) -> None:
        self.world.outcomes[call] = outcome

    # --- what is seen ------------------------------------------------------------------------------------------------------------

    def seen(self) -> list[Any]:
        """Each child's id, state, restarts that count, and if it is a supervisor that is up, its children."""
        return [
            (child.plan.id, child.state, (child.window or self.window).count(), below.seen() if (below := self.below(child)) else None)
            for child in self.children.values()
            if not (self.ending and child.state == "new")
        ]

    @staticmethod
    def below(child: Child) -> Supervisor | None:
        return child.reigns if child.reigns is not None and child.life is not None and child.life.up else None

    def counts(self) -> tuple[int, int, int, int]:
        supervisors = sum(child.plan.children is not None for child in self.children.values())
        active = sum(child.state in ACTIVE for child in self.children.values())
        return len(self.children), active, supervisors, len(self.children) - supervisors

    def all_below(self) -> Iterator[tuple[Supervisor, Child]]:
        for child in list(self.children.values()):
            yield self, child
            below = self.below(child)
            if below is not None:
                yield from below.all_below()
