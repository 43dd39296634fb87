"""Random histories to check the checkers with, and a checker too simple to be wrong."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import replace

from .clients import Menu
from .model import Model, State
from .recorder import UNKNOWN, Op, Outcome, Recorder

KINDS = {"get": 3, "info": 2, "set": 4, "cas": 1, "add": 1}
SINGLE = Menu(KINDS)
PLAIN = Menu({"get": 2, "info": 3, "set": 4})
OBJECT = Menu({"set": 2, "set_many": 3, "snapshot": 3, "get": 1, "get_many": 1})


def explained(model: Model, ops: Sequence[Op], state: State) -> bool:
    """Whether *ops* are linearizable, by trying every order of every choice of the unknown ones."""
    known = [op for op in ops if op.outcome is Outcome.OK]
    unknown = [op for op in ops if op.outcome is Outcome.INFO and not op.reads]
    for n in range(len(unknown) + 1):
        for some in itertools.combinations(unknown, n):
            if any(_explains(model, order, state) for order in itertools.permutations([*known, *some])):
                return True

    return False


def _explains(model: Model, order: Sequence[Op], state: State) -> bool:
    latest = -1.0
    for op in order:
        if op.ret < latest:
            return False

        latest = max(latest, op.call)
        state, expected = model.step(state, op)
        if op.result is not UNKNOWN and op.result != expected:
            return False

    return True


def drawn(draw: random.Random, keys: Sequence[str], menu: Menu, *, size: int, unknown: float = 0.0, wrong: float = 0.5) -> list[Op]:
    """
    A history of *size* operations: played in one order, given spans around it that overlap, and with the probability *wrong* made wrong.

    A share *unknown* of them lose their outcome; half of those never happened.
    """
    model, recorder = Model(tuple(keys)), Recorder()
    state = model.initial(dict.fromkeys(keys, 0))
    ops: list[Op] = []
    for at in range(size):
        name, args = menu.line(draw, recorder, keys)
        lost = draw.random() < unknown
        op = Op(at, name, args, 0, 0.0, Outcome.OK)
        if not (lost and draw.random() < 0.5):
            state, result = model.step(state, op)
            op = replace(op, result=result)

        ops.append(replace(op, outcome=Outcome.INFO, result=UNKNOWN) if lost else op)

    spanned = _spanned(draw, ops)
    return _corrupted(draw, spanned) if draw.random() < wrong else spanned


def _spanned(draw: random.Random, ops: Sequence[Op]) -> list[Op]:
    """Spans around the places 0, 1, 2, ... of *ops*: calls up to three places early, returns up to three late."""
    calls = [at - draw.random() * 3 for at in range(len(ops))]
    rets = [at + draw.random() * 3 for at in range(len(ops))]
    order = {time: stamp for stamp, time in enumerate(sorted([*calls, *rets]))}
    return [
        replace(op, call=order[call], ret=math.inf if op.outcome is Outcome.INFO else order[ret])
        for op, call, ret in zip(ops, calls, rets, strict=True)
    ]


def _corrupted(draw: random.Random, ops: list[Op]) -> list[Op]:
    """Give one operation the result of another of its kind: stale, lost or from the future."""
    at = draw.randrange(len(ops))
    same = [op for op in ops if op.name == ops[at].name and op.outcome is Outcome.OK]
    if not same or ops[at].outcome is not Outcome.OK:
        return ops

    return [*ops[:at], replace(ops[at], result=draw.choice(same).result), *ops[at + 1 :]]
