"""docs/monitor.md names everything that a monitor sends, and no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from monitor.lookers import folder

import dspex
from dspex import Bridge, Context, Contexts, Supervisor, Var, monitor

PAGE = (Path(dspex.__file__).parents[2] / "docs" / "monitor.md").read_text()
COMMON = {"path", "kind", "name", "state", "facts", "note"}


def doubled(x: float) -> float:
    return 2 * x


def named(beginning: str) -> set[str]:
    """The names in the part of the page that begins so."""
    part = re.search(rf"^{re.escape(beginning)}.*?(?=\n\n|\n- |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert part is not None, beginning
    return set(re.findall(r"`([a-z_0-9]+)`", part.group()))


def keys(told) -> set[str]:
    """All keys in *told*, but those below these, which are told elsewhere or are data."""
    if isinstance(told, list):
        return set().union(*map(keys, told))

    if not isinstance(told, dict):
        return set()

    below = [keys(value) for key, value in told.items() if key not in {"facts", "capabilities", "counts", "others", "last_switch"}]
    return set(told).union(*below)


@pytest.fixture
async def told(anyio_backend):
    with folder() as made:
        children = [
            Context.child_spec("chat", variables=[Var("x", float, 0.5)]),
            Bridge.child_spec("bridge"),
            Contexts.child_spec("users"),
            monitor.child_spec(f"{made}/monitor.sock"),
        ]
        async with Supervisor(children, name="app") as app, monitor.connect(f"{made}/monitor.sock") as service:
            await app.which_child("bridge").value.wait_ready()
            await app.which_child("chat").value.register_program("program", doubled)
            async with service.watch(every=0.1, selected="chat") as snapshots:
                names = ("app", "bridge", "bridge/default", "worker-1", "users", "/")
                yield service.hello, await anext(snapshots), {name: await service.inspect(name) for name in names}


async def test_the_page_names_what_is_sent(told):
    hello, snapshot, details = told
    assert set(hello) == named("JSON, a line each.")
    assert set(snapshot) - {"selected", "events", "dropped"} == named("**An overview**") - set(snapshot["totals"])
    assert set(snapshot["totals"]) <= named("**An overview**")
    assert {"selected", "events", "dropped"} == named("**A snapshot**")
    node = next(child for child in snapshot["tree"]["children"][0]["children"] if child["kind"] == "context")
    assert set(node) == named("**A node**")
    assert set(snapshot["events"][0]) == named("**An event**") - {"info", "warning", "error"}
    assert named("**A detail**") == COMMON
    assert keys(snapshot["selected"]) - COMMON == named("- a context") - COMMON
    assert set(details["users"]) - COMMON == named("- a family")
    assert set(details["bridge"]) - COMMON == named("- a bridge")
    assert set(details["bridge/default"]) - COMMON == named("- a pool")
    assert set(details["worker-1"]) - COMMON == named("- a worker's process")
    assert set(details["app"]) - COMMON == named("- a supervisor")
    assert set(details["/"]) - COMMON == named("- the process itself")
