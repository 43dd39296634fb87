"""What the documents claim: the README's code works as far as it can alone, its files exist, SECURITY.md tells the limits that hold."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=[f"block {number}" for number, _ in enumerate(BLOCKS, 1)])
def test_a_block_is_python_and_its_imports_work(block):
    tree = compile(block, "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    exec(compile(ast.Module(imports, []), "README.md", "exec"), {})


def test_every_link_leads_to_a_file():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_extras_it_names_exist():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    told = re.search(r"the extras\s+are (.*?)\.\n", README, re.DOTALL).group(1)
    assert set(re.findall(r"`(\w+)`", told)) == set(extras)

    installed = re.search(r"pip install -q '\.\[(.*)\]'", README).group(1)
    assert set(installed.split(",")) <= set(extras)


def test_its_test_command_is_what_ci_runs():
    command = re.search(r"```sh\n(.*pip install -q nox.*)\n```", README).group(1)
    assert command.split(" && ")[-1].strip() == ".venv/bin/nox"
    assert re.search(r"^\.venv/bin/python -m nox\b", (ROOT / ".ci/run").read_text(), re.MULTILINE)


def test_the_security_table_tells_the_limits_that_hold():
    from dspex.wire.limits import Limits

    limits = Limits()
    told = (ROOT / "SECURITY.md").read_text()
    assert f"Frames of at most {limits.frame >> 10} KiB" in told
    assert f"messages of at most {limits.message >> 20} MiB" in told
    assert f"nesting of at most {limits.depth}" in told
    assert f"at most {limits.containers:,} containers a message" in told
    assert f"integers of at most {limits.int_bytes >> 10} KiB" in told
