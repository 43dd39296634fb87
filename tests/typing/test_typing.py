"""What type checkers say about declarations and their use: the files beside this one, under mypy strict and pyright strict."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CASES = [HERE / "declaring.py", HERE / "using.py"]


@pytest.fixture(scope="module")
def mypy_errors() -> set[tuple[str, int]]:
    command = [
        "mypy",
        "--strict",
        "--follow-imports=silent",
        "--no-error-summary",
        "--config-file=",
        "--cache-dir",
        str(ROOT / ".mypy_cache" / "cases"),
    ]
    told = run([*command, *map(str, CASES)])
    return {(Path(name).name, int(line)) for name, line in re.findall(r"^(.+?):(\d+): error:", told, re.MULTILINE)}


@pytest.fixture(scope="module")
def pyright_errors() -> set[tuple[str, int]]:
    told = json.loads(run(["pyright", "--outputjson", "--pythonpath", sys.executable, *map(str, CASES)]))
    found = [each for each in told["generalDiagnostics"] if each["severity"] == "error"]
    return {(Path(each["file"]).name, each["range"]["start"]["line"] + 1) for each in found}


def run(command: list[str]) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env={**os.environ, "MYPYPATH": str(ROOT / "src")}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert ended.returncode in {0, 1}, ended.stdout + ended.stderr
    return ended.stdout


def expected_errors() -> set[tuple[str, int]]:
    lines = [(case.name, number, line) for case in CASES for number, line in enumerate(case.read_text().splitlines(), 1)]
    return {(name, number) for name, number, line in lines if line.endswith("# error")}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_type_checkers_find_the_marked_errors_and_no_others(checker: str, request: pytest.FixtureRequest) -> None:
    found = request.getfixturevalue(f"{checker}_errors")
    assert found == expected_errors()
