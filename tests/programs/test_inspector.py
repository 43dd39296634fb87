"""The seed's detection rules, ported, and what an object may hide: each reason in words."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import types

import pytest

from dspex import isolated
from dspex.programs import reasons
from dspex.programs._walk import MAX_STEPS, find_dspy


def dspy_like() -> type:
    """A class as `dspy.Module` is told apart, by its module and its name, so that these tests need no dspy."""
    return type("Module", (), {"__module__": "dspy.primitives.module"})


class Own(dspy_like()):  # type: ignore[misc]
    pass


def plain(x: int) -> int:
    return x


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (
            {"type": "dspy", "adapter": "PythonAdapter", "requires_python": True},
            ["its requires_python is true", "its adapter is 'PythonAdapter'", "its type is 'dspy'"],
        ),
        ({"requires_bridge": True}, ["its requires_bridge is true"]),
        ({"requires_python": False}, []),
        ({"requires_python": 1}, []),
        ({"type": "python"}, ["its type is 'python'"]),
        ({"type": "elixir", "adapter": "ElixirAdapter"}, []),
        ({"modules": [{"type": "elixir"}, {"type": "dspy"}]}, ["its modules[1] has the type 'dspy'"]),
        ({"modules": [{"class": "DSPy.ChainOfThought"}]}, ["its modules[0] has the class 'DSPy.ChainOfThought'"]),
        ({"modules": "dspy"}, []),
        ({"program": "app.programs:summarize"}, ["its program is given as an import path, 'app.programs:summarize'"]),
        ({"program": isolated(lambda: None)}, ["its program is marked @isolated"]),
        ({"program": plain}, []),
        ({}, []),
    ],
)
def test_a_spec_says_what_it_needs(program, said):
    assert reasons(program) == tuple(said)


def test_an_import_path_runs_in_a_worker():
    assert reasons("app.programs:summarize") == ("it is given as an import path, 'app.programs:summarize'",)


def test_a_plain_function_needs_nothing():
    assert reasons(plain) == ()


@pytest.mark.parametrize("mark", [isolated, isolated(pool="ocr")])
def test_isolated_is_a_reason_and_leaves_the_function_as_it_is(mark):
    def program(x: int) -> int:
        return x

    assert mark(program) is program
    assert program(3) == 3
    assert reasons(program) == ("it is marked @isolated",)
    assert reasons(functools.partial(program, x=1)) == ("it is marked @isolated",)


class Slotted:
    __slots__ = ("empty", "inner")

    def __init__(self, inner):
        self.inner = inner


class Holder:
    def __init__(self, inner):
        self.inner = inner

    def __call__(self, x: int) -> int:
        return x

    def method(self, x: int) -> int:
        return x


class Trap:
    """Running any of this would be a mistake."""

    def __init__(self, inner):
        self.__dict__["inner"] = inner

    def __getattr__(self, name):
        raise AssertionError(name)

    @property
    def loud(self):
        raise AssertionError

    def __iter__(self):
        raise AssertionError

    def __call__(self):
        raise AssertionError


GLOBAL = Own()


def uses_a_global(x: int) -> int:
    return GLOBAL(x)


def uses_one_that_uses_it(x: int) -> int:
    return uses_a_global(x)


def closing_over(inner):
    return lambda: inner


@pytest.mark.parametrize(
    ("program", "where"),
    [
        (Own(), ""),
        (Own, ""),
        (Holder(Own()), ".inner"),
        (Holder(Holder([{"a": (Own(),)}])), ".inner.inner[0]['a'][0]"),
        (Holder(Own()).method, ".__self__.inner"),
        (Slotted(Own()), ".inner"),
        (Trap(Own()), ".inner"),
        ([1, {2: Own()}], "[1][2]"),
        (functools.partial(plain, Own()), ".args[0]"),
        (functools.partial(plain, x=Own()), ".keywords['x']"),
        (closing_over(Own()), " closes over inner"),
        (lambda x=GLOBAL: x, " has the default [0]"),
        (uses_a_global, " uses the global GLOBAL"),
        (uses_one_that_uses_it, " uses the global uses_a_global uses the global GLOBAL"),
        (types.SimpleNamespace(inner=Own()), ".inner"),
    ],
    ids=[
        "itself", "its class", "attribute", "containers", "bound method", "slot", "object with traps", "list", "partial", "partial keyword",
        "closure", "default", "global", "function named", "namespace",
    ],
)  # fmt: skip
def test_a_dspy_module_is_found_anywhere_within(program, where):
    found = find_dspy(program)
    assert found is not None
    assert found.path == where
    assert len(reasons(program)) == 1


def test_the_reason_says_where_the_module_is():
    assert reasons(Holder(Own())) == (f"it holds a DSPy module: it.inner, a {__name__}.Own",)
    assert reasons(Own()) == (f"it is a DSPy module, a {__name__}.Own",)


def test_circles_end():
    one, other = Holder(None), Holder(None)
    one.inner, other.inner = other, one
    loop: list = []
    loop.append(loop)
    assert find_dspy(one) is None
    assert find_dspy(loop) is None


def test_the_walk_is_bounded_and_finds_what_is_near_first():
    deep = Holder([Holder(index) for index in range(MAX_STEPS)])
    deep.near = Own()
    assert find_dspy(deep).path == ".near"
    assert find_dspy([object.__new__(Holder) for _ in range(10 * MAX_STEPS)]) is None


def test_a_class_named_module_of_another_package_is_none():
    assert find_dspy(type("Module", (), {"__module__": "dspyx.module"})()) is None
    assert find_dspy(types) is None


def test_looking_imports_no_dspy():
    code = "import sys; from dspex.programs import reasons; reasons({'type': 'dspy'}); reasons(print); assert 'dspy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
