"""The house stands as src/dspex/__init__.py draws it: imports go down, rooms keep to their means, names come out once."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dspex

ROOT = Path(dspex.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# From the ground up. A file belongs to the longest prefix that fits, and imports from its own floor or a lower one.
FLOORS = [
    "_version",
    "_exceptions",
    "telemetry",
    "wire",
    "variables",
    "abc",
    "state",
    "supervision",
    "worker.child",
    "worker.host",
    "bridge",
    "programs",
    "context",
    "modules",
    "testing",
    "monitor",
    "_top",
    "_demo",
    "_repl",
    "__main__",
]

# What may be imported from dspex by a room that keeps to less than everything below it.
KEEPS_TO = {
    "_exceptions": set(),
    "wire": {"wire", "_exceptions"},
    "variables": {"variables", "wire", "_exceptions"},
    "telemetry": {"telemetry", "_exceptions", "_version"},
    "supervision": {"supervision", "telemetry", "_exceptions"},
    "worker.child": {"worker.child", "wire", "_exceptions"},
}

# Modules of others that a room may not import, or that only some files may. The reason is why the file needs the loop's own.
NO_LOOP = {"_exceptions", "wire", "variables"}
LOOPS_OWN: dict[str, str] = {
    "worker.child": "a worker has an asyncio loop and the standard library, nothing else",
}
WORKERS_MAY_IMPORT = {"msgspec", "msgpack", "cloudpickle", "dspy", "numpy", "pydantic", "attr", "attrs", "dspex"}


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str | None:
    fitting = [floor for floor in FLOORS if module == floor or module.startswith(floor + ".")]
    return max(fitting, key=len, default=None)


def imports(file: Path, *, for_types: bool = True) -> Iterator[tuple[int, str]]:
    """Every module a file imports, in functions and unless told otherwise for types too, as (line, name); ours begin with ``dspex.``."""
    package = list(file.relative_to(ROOT).parent.parts)
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree if for_types else _WithoutTypes().visit(tree)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, node.module or ""
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1]
            base = ".".join(["dspex", *above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


class _WithoutTypes(ast.NodeTransformer):
    def visit_If(self, node: ast.If) -> Any:
        return [self.visit(other) for other in node.orelse] if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def ours(file: Path) -> Iterator[tuple[int, str]]:
    """The rooms a file imports from."""
    for line, name in imports(file):
        if name.startswith("dspex."):
            room = room_of(name.removeprefix("dspex."))
            assert room, f"{file}:{line} imports {name}, which is on no floor"
            yield line, room


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_imports_go_down(file):
    room = room_of(module_of(file))
    if file == ROOT / "__init__.py":
        return

    assert room or not [*imports(file)], f"{file} is on no floor: draw it in src/dspex/__init__.py and name it here"
    if room is None:
        return  # a folder that only holds rooms

    height = FLOORS.index(room)
    upward = [f"{file}:{line} imports {other}" for line, other in ours(file) if FLOORS.index(other) > height]
    assert upward == []


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_no_room_goes_through_the_front_door(file):
    """Not even the demo: a room that imported from `dspex` itself would wait for all the others."""
    assert [f"{file}:{line}" for line, name in imports(file) if name == "dspex"] == []


@pytest.mark.parametrize("room", KEEPS_TO)
def test_a_plain_room_keeps_to_its_means(room):
    strays = [
        f"{file}:{line} imports {other}"
        for file in FILES
        if room_of(module_of(file)) == room
        for line, other in ours(file)
        if other not in KEEPS_TO[room]
    ]
    assert strays == []


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_loops_are_anyios_business(file):
    module = module_of(file)
    banned = {"asyncio", "trio", "uvloop", "sniffio"} | ({"anyio"} if room_of(module) in NO_LOOP else set())
    if any(module == allowed or module.startswith(allowed + ".") for allowed in LOOPS_OWN):
        banned -= {"asyncio"}

    found = [f"{file}:{line} imports {name}" for line, name in imports(file) if name.partition(".")[0] in banned]
    assert found == []


def test_only_its_sink_imports_opentelemetry():
    elsewhere = [file for file in FILES if not module_of(file).startswith("telemetry._otel")]
    assert [f"{file}:{line}" for file in elsewhere for line, name in imports(file) if name.partition(".")[0] == "opentelemetry"] == []


def test_the_sink_needs_opentelemetrys_api_only():
    """Its SDK is for whoever makes a provider."""
    assert [f"{file}:{line}" for file in FILES for line, name in imports(file) if name.startswith("opentelemetry.sdk")] == []


def test_the_host_never_imports_dspy():
    assert [
        f"{file}:{line}"
        for file in FILES
        if room_of(module_of(file)) != "worker.child" and module_of(file) != "testing.scripted_lm"  # which workers import
        for line, name in imports(file)
        if name.partition(".")[0] == "dspy"
    ] == []


def test_a_worker_needs_the_standard_library_only():
    allowed = WORKERS_MAY_IMPORT | set(sys.stdlib_module_names)
    rooms = {"worker.child", "wire", "_exceptions"}
    strays = {
        f"{file}:{line} imports {name}"
        for file in FILES
        if room_of(module_of(file)) in rooms
        for line, name in imports(file, for_types=False)
        if name.partition(".")[0] not in allowed
    }
    assert strays == set()


IN_WORKERS = [file for file in FILES if room_of(module_of(file)) in {"worker.child", "wire", "_exceptions"}]


@pytest.mark.parametrize("file", IN_WORKERS, ids=module_of)
def test_what_a_worker_loads_finds_its_neighbours_relatively(file):
    """It is loaded under a private name, so that a program's own `import dspex` finds the real one, or none."""
    nodes = ast.walk(_WithoutTypes().visit(ast.parse(file.read_text())))
    absolute = [
        node.lineno for node in nodes if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").startswith("dspex")
    ]
    assert absolute == []


@pytest.mark.parametrize("file", IN_WORKERS, ids=module_of)
def test_what_a_worker_loads_is_python_3_9(file):
    ast.parse(file.read_text(), feature_version=(3, 9))


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_a_file_is_named_for_what_is_in_it(file):
    vague = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}
    assert vague.isdisjoint({part.strip("_") for part in file.with_suffix("").relative_to(ROOT).parts})


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_functions_are_short(file):
    long = [
        f"{file}:{node.lineno} {node.name}"
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and _lines_of_code(node) > 50
    ]
    assert long == []


def _lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno is not None
    docstring = function.body[0] if ast.get_docstring(function, clean=False) is not None else None
    told = docstring.end_lineno - docstring.lineno + 1 if docstring and docstring.end_lineno else 0
    return function.end_lineno - function.lineno + 1 - told


def exported() -> list[str]:
    """The public names of the front door, as often as they are written there."""
    tree = ast.parse((ROOT / "__init__.py").read_text())
    bound = [alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    return [name for name in bound if not name.startswith("_") and name not in {"annotations", "Any", "TYPE_CHECKING"}] + _lazily()


def _lazily() -> list[str]:
    return [name for names in dspex._ROOMS.values() for name in names]


def test_type_checkers_see_what_is_fetched_at_first_use():
    tree = ast.parse((ROOT / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = Counter((node.module, alias.asname) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names)
    assert seen == Counter((room, name) for room, names in dspex._ROOMS.items() for name in names)


def test_what_is_fetched_at_first_use_is_listed():
    assert set(_lazily()) <= set(dir(dspex))


def test_each_public_name_is_exported_once():
    assert [name for name, times in Counter(exported()).items() if times > 1] == []


@pytest.mark.parametrize("name", exported())
def test_a_public_name_leads_somewhere(name):
    assert getattr(dspex, name) is not None


def test_every_public_error_is_exported():
    from dspex import _exceptions

    errors = {name for name, value in vars(_exceptions).items() if isinstance(value, type) and not name.startswith("_")}
    defined = {name for name in errors if getattr(_exceptions, name).__module__ == _exceptions.__name__}
    assert defined - set(exported()) == set()


def test_the_map_names_every_room():
    drawn = (ROOT / "__init__.py").read_text()
    top = {path.name + ("/" if path.is_dir() else "") for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert {name for name in top - {"__init__.py", "_version.py"} if not re.search(rf"#.*\b{re.escape(name)}", drawn)} == set()


def test_import_is_light():
    """What a program that only keeps local state never pays for."""
    heavy = [
        "asyncio",
        "cattrs",
        "cloudpickle",
        "dspy",
        "multiprocessing",
        "numpy",
        "opentelemetry",
        "pydantic",
        "rich",
        "sqlite3",
        "textual",
        "trio",
        "uvloop",
    ]
    code = f"import sys, json, dspex; dspex.__version__; print(json.dumps(sorted(set(sys.modules) & set({heavy!r}))))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent)}
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment).stdout
    assert json.loads(loaded) == []
