"""What the documents claim: the README's code works as far as it can alone, its files exist, SECURITY.md tells the limits that hold."""

from __future__ import annotations

import argparse
import ast
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import anyio
import pytest
import test_examples

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
PICTURES = ROOT / "docs" / "pictures"
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SEEING_INSIDE = README[README.index("### Seeing inside") : README.index("### At a prompt")]


@pytest.mark.parametrize("block", BLOCKS, ids=[f"block {number}" for number, _ in enumerate(BLOCKS, 1)])
def test_a_block_is_python_and_its_imports_work(block):
    tree = compile(block, "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    exec(compile(ast.Module(imports, []), "README.md", "exec"), {})


def links_in(text: str) -> list[str]:
    return re.findall(r"\]\((?!https?:)([^)#]+)\)", text)


@pytest.mark.parametrize("document", ["README.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")))])
def test_every_link_leads_to_a_file(document):
    file = ROOT / document
    assert [link for link in links_in(file.read_text()) if not (file.parent / link).exists()] == []


def test_every_example_and_every_page_is_linked():
    wanted = {f"examples/{file.name}" for file in (ROOT / "examples").glob("*.py")} | {
        f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")
    }
    assert wanted <= set(links_in(README))


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


def test_the_security_table_tells_what_a_monitor_gives():
    from dspex.monitor._service.lines import MAX_REQUEST
    from dspex.monitor._service.serving import CLIENTS
    from dspex.monitor._service.slices import PART
    from dspex.monitor._shown import LONGEST

    told = (ROOT / "SECURITY.md").read_text()
    assert f"Lines of at most {MAX_REQUEST >> 10} KiB, {CLIENTS} clients at once" in told
    assert f"each cut to {LONGEST} characters" in told
    assert PART == 0.1
    assert "at most a tenth of the loop's time for all trees, and as much for all searches" in told


class TestSeeingInside:
    @pytest.mark.parametrize("text", [README, CHANGELOG], ids=["README", "CHANGELOG"])
    def test_what_it_names_is_there(self, text):
        from dspex import monitor, telemetry

        for module, name in re.findall(r"\b(monitor|telemetry)\.(?!md\b|svg\b)([a-zA-Z_]+)", text):
            assert name in {"monitor": monitor, "telemetry": telemetry}[module].__all__, f"{module}.{name}"

    @pytest.mark.parametrize("text", [README, CHANGELOG], ids=["README", "CHANGELOG"])
    def test_its_commands_are_understood(self, text):
        from dspex.__main__ import _parser

        commands = next(action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)).choices
        told = re.findall(r"\b(?:-m )?dspex (top|tree|inspect|demo|repl)\b", text)
        assert {"top", "tree", "inspect"} <= set(told)
        assert set(told) <= set(commands)

    def test_a_line_of_the_sh_block_is_one_that_can_be_typed(self):
        from dspex.__main__ import _parser

        (block,) = re.findall(r"```sh\n(.*?)```", SEEING_INSIDE, re.DOTALL)
        lines = [line.partition("#")[0].split() for line in block.splitlines()]
        assert [_parser().parse_args(line[1:]).path for line in lines] == ["/run/app/dspex.sock"] * 3

    def test_the_lines_of_the_log_are_as_the_examples_print_them(self):
        (block,) = re.findall(r"```text\n(.*?)```", SEEING_INSIDE, re.DOTALL)
        printed = [line for name in ("watching", "stuck") for line in test_examples.PRINTS[name].splitlines()]
        lines = [line for line in block.splitlines() if not line.startswith("  ")]
        assert len(lines) == 3
        for line in lines:
            assert any(test_examples.matches(one, line) for one in printed), line

    def test_what_it_says_of_the_watchdogs_bounds_holds(self):
        from dspex import monitor

        watchdog = monitor.Watchdog()
        assert (watchdog.owner, watchdog.loop) == (1.0, 0.25)
        assert "longer than a second, an event loop that somebody holds for a quarter of one" in SEEING_INSIDE

    def test_the_bench_has_the_rows_it_speaks_of(self):
        from bench.__main__ import THEMES

        assert {"nobody listens", "heard", "calling, traced", "a reader of metrics"} <= {name for name, _, _ in THEMES}


class TestPictures:
    @pytest.fixture
    def make(self, monkeypatch):
        import importlib

        monkeypatch.syspath_prepend(str(PICTURES))
        return importlib.import_module("make")

    def test_there_is_a_file_for_each_and_the_readme_shows_it(self, make):
        shown = set(re.findall(r"!\[[^\]]+\]\((\S+)\)", README))
        assert (
            {f"docs/pictures/{name}.svg" for name in make.PICTURES}
            == shown
            == {f"docs/pictures/{file.name}" for file in PICTURES.glob("*.svg")}
        )

    @pytest.mark.parametrize("name", ["top", "trace"])
    def test_it_is_an_image_that_needs_nothing_from_elsewhere(self, name):
        text = (PICTURES / f"{name}.svg").read_text()
        assert ET.fromstring(text).tag.endswith("svg")
        assert re.findall(r"(?:href|src|url)\s*[=(]\s*[\"']?https?:", text) == []

    def test_the_picture_of_a_trace_is_made_of_a_real_one(self, make, monkeypatch, tmp_path, capsys):
        monkeypatch.setattr(make, "FOLDER", tmp_path)
        make.PICTURES["trace"]()
        drawn = words_of(tmp_path / "trace.svg")
        assert [word for word in drawn if re.match(r"request|dspex\.|think", word)] == [
            "request",
            "dspex.switch",
            "dspex.call  answer",
            "dspex.run  answer",
            "dspex.operation  get style",
            "think",
            "dspex.operation  add answered",
        ]
        assert any(word.endswith(" ms: open, stage, verify, commit, clean up") for word in drawn)
        undated = re.compile(r"[\d.,]+ (?:ms|µs)")
        kept = {undated.sub("", word) for word in words_of(PICTURES / "trace.svg")}
        assert {undated.sub("", word) for word in drawn} == kept

    def test_a_bar_is_where_its_span_was(self, make):
        from traced_request import record
        from waterfall import LEFT, in_order, x

        lines = {line.name: line for line in in_order(anyio.run(record))}
        request, call, run = lines["request"], lines["dspex.call"], lines["dspex.run"]
        assert (request.start, x(request.start, request.end)) == (0, LEFT)
        assert request.start <= lines["dspex.switch"].start < call.start <= run.start < run.end <= call.end <= request.end
        assert [lines[name].depth for name in ("request", "dspex.switch", "dspex.call", "dspex.run", "think")] == [0, 1, 1, 2, 3]
        assert [lines[name].place for name in ("dspex.call", "dspex.run", "think", "dspex.operation")] == [
            "this process",
            "the worker process",
            "the worker process",
            "this process",
        ]


def words_of(file: Path) -> list[str]:
    return ["".join(text.itertext()).strip() for text in ET.parse(file).iter("{http://www.w3.org/2000/svg}text")]
