"""
The project's chores. Plain `nox` is what every change has to pass: style, types and the tests on the Python that runs it.

nox -s tests        the tests on 3.11, 3.12 and 3.13, as far as they are installed
nox -s bench        what things cost, as ratios in one run, into bench/results.json (`-- --quick` for a smoke run)
nox -s explore      the tests in random orders, with many more random examples and schedules
nox -s coverage     the tests with branch coverage
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nox

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13"]
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"

# Interpreters that pyenv has but doesn't put on the path; what is on the path already comes first.
os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *(str(found) for found in Path.home().glob(".pyenv/versions/3.1*/bin"))])

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", f"tests-{RUNNING}" if RUNNING in PYTHONS else "tests"]


def _install(session: nox.Session, *, editable: bool = True) -> None:
    """The package from this tree with all that its tests need. The group is unfolded here: pip reads groups only since 25.1."""
    wanted = [found for found in nox.project.dependency_groups(PROJECT, "dev") if not found.startswith("dspex[")]
    session.install("-q", *(["-e"] if editable else []), ".[cli,dspy,numpy,otel,top,trio,uvloop]", *wanted)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, by ruff."""
    session.install("-q", *(found for found in nox.project.dependency_groups(PROJECT, "dev") if found.startswith("ruff")))
    session.run("ruff", "check", "--output-format=concise")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Types, by mypy and pyright, both strict; and that all of what the package exports has one, as whoever installs it sees it."""
    _install(session, editable=False)  # --verifytypes looks into site-packages only
    session.run("mypy")
    session.run("pyright", "--pythonpath", str(Path(session.bin, "python")))
    session.run("pyright", "--verifytypes", "dspex", "--ignoreexternal")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests, on asyncio, uvloop and trio."""
    _install(session)
    session.run("pytest", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """The tests with branch coverage of what runs in the host."""
    _install(session)
    session.run("pytest", "--cov", "--cov-report=term", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """What things cost, each beside what it is compared with."""
    _install(session)
    session.run("python", "-m", "bench", *session.posargs)


@nox.session
def explore(session: nox.Session) -> None:
    """The tests three times over, each in another random order, with many random examples and schedules."""
    _install(session)
    many = {"HYPOTHESIS_PROFILE": "explore", "DSPEX_EXPLORE": "2000"}
    for _ in range(3):
        session.run("pytest", "--shuffle=new", "--timeout=900", *session.posargs, env=many)
