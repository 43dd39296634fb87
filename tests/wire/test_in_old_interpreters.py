"""The wire in the interpreters a worker may have: no msgspec, no dspex installed, and Python 3.9."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "dspex"

# Loaded as a worker loads it: under a private name, from the package's folder, without what is installed.
LOADED = f"""
import sys, types
package = types.ModuleType("_worker")
package.__path__ = [{str(PACKAGE)!r}]
sys.modules["_worker"] = package
before = set(sys.modules)
import _worker.wire as wire
loaded = set(sys.modules) - before
"""

LIGHT = (
    LOADED
    + """
heavy = {name for name in loaded if name.partition(".")[0] not in ("_worker", "struct", "_struct", "__future__", "operator", "_operator")}
assert not heavy, heavy
"""
)

ROUND_TRIP = (
    LOADED
    + """
import dataclasses, datetime as dt, decimal, enum, uuid

class Color(enum.Enum):
    RED = 1

@dataclasses.dataclass
class Point:
    x: int
    y: tuple

values = [
    None, True, 1, -(1 << 63), 1 << 64, -0.0, float("inf"), "text", chr(0xD800), b"bytes", [1, (2, [3])], {"a": {True: 1}}, {1, (2,)},
    frozenset([frozenset()]), 1j, dt.datetime(2020, 1, 1, fold=1), dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc), dt.date(1, 1, 1),
    dt.time(1, 2), dt.timedelta(-1, 5), decimal.Decimal("sNaN1"), uuid.UUID(int=5), wire.Tagged("enum", "a:B", "C"),
]
for value in values:
    back = wire.decode(wire.encode(value), limits=wire.Limits())
    assert type(back) is type(value) and repr(back) == repr(value), (back, value)

known = {wire.records.label(cls): cls for cls in (Color, Point)}
back = wire.decode(wire.encode([Color.RED, Point(1, (2,))]), resolve=lambda label, kind: known[label])
assert back == [Color.RED, Point(1, (2,))], back

try:
    wire.encode({"a": [object()]})
except wire.Unencodable as error:
    assert error.path == "['a'][0]"
else:
    raise AssertionError("encoded an object")

host, worker = wire.Connection("host", "thread"), wire.Connection("worker", "thread")
host.send(1, wire.Call(["key", None], {"x": b"x" * 3000000}))
call = None
while call is None:
    worker.receive(host.data_to_send())
    call = worker.next_event()
    host.receive(worker.data_to_send())
    assert host.next_event() is None

worker.send(1, wire.Op([[1, "get", "t"]]))
host.receive(worker.data_to_send())
assert host.next_event() == (1, wire.Op([[1, "get", "t"]]))
error = wire.error_from_wire(["ProgramFailed", {"type": "builtins.ValueError", "types": ["builtins.ValueError"]}, "No.", None])
assert error.is_a("ValueError") and wire.error_to_wire(error)[0] == "ProgramFailed"
worker.send(1, wire.Error(*wire.error_to_wire(error)))
host.receive(worker.data_to_send())
assert host.next_event()[1].code == "ProgramFailed"
host.receive(bytes([255]) * 50)
try:
    host.next_event()
except Exception as error:
    assert type(error).__name__ == "RemoteProtocolError", error

assert wire.codec.name() == "pure"
print("ok")
"""
)


def _interpreters() -> list[str]:
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    installed = [str(path) for minor in ("3.9", "3.10", "3.12", "3.13") for path in sorted(versions.glob(f"{minor}.*/bin/python"))[-1:]]
    on_path = [path for minor in ("3.9", "3.10") if (path := shutil.which(f"python{minor}"))]
    return [sys.executable, *(installed or on_path)]


@pytest.mark.parametrize("python", _interpreters())
def test_values_messages_and_errors_cross_in_plain_python(python: str) -> None:
    done = subprocess.run([python, "-I", "-S", "-c", ROUND_TRIP], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("ok\n", "")


@pytest.mark.parametrize("python", _interpreters())
def test_importing_the_wire_loads_next_to_nothing(python: str) -> None:
    done = subprocess.run([python, "-I", "-S", "-c", LIGHT], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
