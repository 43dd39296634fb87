"""
What must hold of a history, each claim a function to its complaints. An empty list is a pass.

L1 each key is one atomic versioned register. L2 operations on many keys are atomic. L3 no acknowledged write is lost or applied twice.
L4 a refused operation had no effect. L5 every operation ended. L6 one backend serves at a time, and never the old one again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .model import Model, project
from .recorder import MISSING, Client, Op, Outcome, Recorder
from .wgl import Report, Verdict, check_key, search

BUDGET = 200_000  # steps of the search over all keys: about half a second
UNKNOWN = 6  # writes of unknown outcome that it is given at most: what makes it exponential
SMALL = 40  # operations that the whole-object search is given at most; the torn-read tripwire has no such bound


@dataclass(frozen=True, slots=True)
class History:
    """A finished run: what clients saw, the values it began with, and the (version, value) of each key it ended with, if anybody can tell."""

    ops: Sequence[Op]
    initial: Mapping[str, Any]
    final: Mapping[str, tuple[int, Any]] | None
    unanswered: int = 0


def finished(recorder: Recorder, initial: Mapping[str, Any], final: Mapping[str, tuple[int, Any]] | None) -> History:
    """The history, with the last state as a read that comes after everything."""
    unanswered = len(recorder.open)
    recorder.close()
    if final is None:
        return History(tuple(recorder.ops), initial, None, unanswered)

    stamp = recorder.mark("end")
    last = Op(Client(recorder).number, "snapshot", (), stamp, recorder.mark("checked"), Outcome.OK, dict(final))
    return History((*recorder.ops, last), initial, final, unanswered)


def complaints(history: History) -> list[str]:
    """What is wrong with *history*; the search over all keys at once only if nothing else is, as it takes longest to fail."""
    found = [*unanswered(history), *lost_or_doubled(history), *refused_but_seen(history), *torn(history), *backends(history)]
    found += registers(history)
    return found or objects(history)


def _told(claim: str, report: Report) -> list[str]:
    return [] if report.verdict is Verdict.OK else [f"{claim}: {report}"]


def registers(history: History) -> list[str]:
    """L1."""
    found: list[str] = []
    for key, value in history.initial.items():
        last = None if history.final is None else history.final[key][0]
        report = check_key(key, project(history.ops, key), value, final_version=last)
        found += _told(f"L1 {key!r} is no atomic register", report)

    return found


def objects(history: History) -> list[str]:
    """L2, by search over all keys at once."""
    unknown = sum(op.outcome is Outcome.INFO and not op.reads for op in history.ops)
    if len(history.ops) > SMALL or unknown > UNKNOWN:
        return []

    model = Model(tuple(history.initial))
    report = search(model, history.ops, model.initial(history.initial), budget=BUDGET)
    return _told("L2 operations on many keys are not atomic", report)


def torn(history: History) -> list[str]:
    """L2 without a search: where every write gives all keys one number, every read of all keys shows one number."""
    writes = [op for op in history.ops if not op.reads]
    if not all(op.name == "set_many" and len(set(op.args[0].values())) == 1 and len(op.args[0]) == len(history.initial) for op in writes):
        return []

    reads = [op for op in history.ops if op.name in ("snapshot", "list") and op.outcome is Outcome.OK]
    return [f"L2 torn read: {op}" for op in reads if len({cell[0] for cell in op.result.values()}) > 1]


def lost_or_doubled(history: History) -> list[str]:
    """L3: the versions that writers were told are all different, none is above the last one, and only unknown writes fill gaps."""
    final = history.final
    return [told for key in history.initial for told in _versions(key, project(history.ops, key), None if final is None else final[key][0])]


def _versions(key: str, ops: Sequence[Op], final: int | None) -> Iterable[str]:
    told = [op.result for op in ops if op.name == "set" and op.outcome is Outcome.OK and isinstance(op.result, int)]
    if len(set(told)) != len(told):
        yield f"L3 {key!r}: a version was given to two writes: {sorted(told)}"

    if final is None:
        return

    if told and max(told) > final:
        yield f"L3 {key!r}: version {max(told)} was acknowledged, and the last one is {final}"

    most = sum(not op.reads and op.outcome is not Outcome.FAIL for op in ops)
    adds = sum(op.name in ("add", "update") and op.outcome is Outcome.OK for op in ops)
    if not len(told) + adds <= final <= most:
        yield f"L3 {key!r}: the last version is {final}, with {len(told) + adds} acknowledged and at most {most} possible writes"


def refused_but_seen(history: History) -> list[str]:
    """L4."""
    refused = {value for op in history.ops if op.outcome is Outcome.FAIL for value in _written(op)}
    return [
        f"L4 a refused write was read: {op}" for op in history.ops if op.reads and op.outcome is Outcome.OK and refused & set(_read(op))
    ]


def _written(op: Op) -> Iterable[Any]:
    if op.name == "set":
        return [op.args[1]]

    return op.args[0].values() if op.name == "set_many" else []


def _read(op: Op) -> Iterable[Any]:
    if op.result == MISSING:
        return []

    if op.name in ("get", "info"):
        return [op.result if op.name == "get" else op.result[1]]

    return [cell if op.name == "get_many" else cell[1] for cell in op.result.values()]


def unanswered(history: History) -> list[str]:
    """L5."""
    return [f"L5 {history.unanswered} operations never ended"] if history.unanswered else []


def _stage(op: Op) -> tuple[bool, int]:
    return op.facts["kind"] == "bridged", op.facts["switches"]


def backends(history: History) -> list[str]:
    """L6 as far as a client can see it: in time order, the kind of backend and the number of switches only rise."""
    seen = sorted((op for op in history.ops if op.ret != math.inf and op.facts), key=lambda op: op.ret)
    found: list[str] = []
    for before, after in itertools.pairwise(seen):
        if _stage(before) > _stage(after):
            found.append(f"L6 the backend went back: {dict(before.facts)} then {dict(after.facts)} at {after}")

    return found
