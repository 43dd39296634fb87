"""
A build of the package with its telemetry taken out, to measure what is paid while nobody listens.

Every statement that tells, or asks whether somebody listens, is taken out of a copy of the sources, which is imported beside the real one under
a name of its own.
"""

from __future__ import annotations

import ast
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import dspex

NAME = "dspex_bare"

# What only telemetry has: attributes and names of which one in a condition, or in a statement of its own, makes it telemetry's.
ATTRIBUTES = frozenset({"heard", "probe", "untold", "sinks", "tell_status"})
OF_REQUESTS = frozenset({"since", "taken"})
NAMES = frozenset({"TRACING", "CONTEXTS", "BRIDGES", "FAMILIES", "ROOTS", "RESTARTS", "tell_switch", "probe", "tracer"})


def is_telemetrys(node: ast.AST) -> bool:
    """Whether it is about telemetry."""
    return any(_tells(part) for part in ast.walk(node))


def _tells(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in ATTRIBUTES or (node.attr in OF_REQUESTS and isinstance(node.value, ast.Name) and node.value.id == "request")

    return isinstance(node, ast.Name) and node.id in NAMES


class Stripped(ast.NodeTransformer):
    """
    Takes it out.

    Attributes:
        taken: how many statements.

    """

    def __init__(self) -> None:
        self.taken = 0

    def visit_If(self, node: ast.If) -> Any:
        """Whatever is done only if somebody listens."""
        if not is_telemetrys(node.test):
            return self.generic_visit(node)

        self.taken += 1
        if isinstance(node.test, ast.Compare) and isinstance(node.test.ops[0], ast.Is):  # if there is none: that is the ordinary way
            return [self.visit(statement) for statement in node.body]

        return [self.visit(statement) for statement in node.orelse] or ast.Pass()

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        """Whatever is made only if somebody listens: else there is a constant in its place."""
        if not is_telemetrys(node.test):
            return self.generic_visit(node)

        self.taken += 1
        return next(arm for arm in (node.body, node.orelse) if isinstance(arm, ast.Constant))

    def visit_Expr(self, node: ast.Expr) -> Any:
        """Whatever tells."""
        if isinstance(node.value, ast.Call) and is_telemetrys(node.value.func):
            self.taken += 1
            return ast.Pass()

        return node

    def _visit_assignment(self, node: Any) -> Any:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(is_telemetrys(target) for target in targets):
            self.taken += 1
            return ast.Pass()

        return self.generic_visit(node)

    visit_Assign = visit_AnnAssign = _visit_assignment  # noqa: N815 - ast's spelling


# The one seam that is more than a statement: what `look` puts in place.
SEAM = (
    """        if self.is_observed():
            self._open_eye()
            return

        self.probe = None
        self.eye = self.hub
        self.cells = self.known
        if self.is_observed():
            # Somebody came in another thread, in this very step.
            self._open_eye()
""",
    """        self.eye = self.hub
        self.cells = self.known
""",
)
STRIPPED = ("context", "supervision", "programs", "worker/host", "bridge.py")


@contextmanager
def built() -> Iterator[Any]:
    """The package without telemetry, while the block runs."""
    with tempfile.TemporaryDirectory(prefix="dspex-bare-") as folder:
        root = Path(folder, NAME)
        shutil.copytree(Path(dspex.__file__).parent, root, ignore=shutil.ignore_patterns("__pycache__"))
        taken = sum(strip(file, root) for file in root.rglob("*.py"))
        sys.path.insert(0, folder)
        try:
            module: Any = import_module(NAME)
            module.taken = taken
            yield module
        finally:
            sys.path.remove(folder)
            for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
                del sys.modules[name]


def strip(file: Path, root: Path) -> int:
    """Takes telemetry out of one file. How many statements that were."""
    text = re.sub(r"\b(from|import) dspex\b", rf"\1 {NAME}", file.read_text()).replace(*SEAM)
    stripped = Stripped()
    if file.relative_to(root).as_posix().startswith(STRIPPED):
        tree = ast.fix_missing_locations(stripped.visit(ast.parse(text)))
        text = ast.unparse(tree)

    file.write_text(text)
    return stripped.taken
