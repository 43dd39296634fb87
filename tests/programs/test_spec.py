"""What is registered: where it runs, how it travels, and when two are the same."""

from __future__ import annotations

import functools
import json
import sys
import textwrap
import threading

import pytest

from dspex import InvalidProgram, isolated
from dspex.programs import ProgramSpec
from dspex.programs.definition import importable_path, key_of


def host(text: str, limit: int = 10, ctx=None) -> str:
    """Shorten."""
    return text[:limit]


@isolated
def apart(x: int) -> int:
    return x


@isolated(pool="ocr")
class Reader:
    def __call__(self, page: bytes) -> str:
        return page.decode()


class Callable:
    def __init__(self, greeting: str = "hello") -> None:
        self.greeting = greeting

    async def __call__(self, name: str) -> str:
        return f"{self.greeting} {name}"


class Needy:
    def __init__(self, needed):
        pass

    def __call__(self):
        pass


def make(program, **options):
    return ProgramSpec.make("p", program, **options)


def test_a_plain_function_runs_in_the_host():
    spec = make(host)
    assert (spec.where, spec.reasons, spec.definition, spec.requires_bridge) == ("host", (), None, False)
    assert spec.shape.text == "(text: str, limit: int = 10) -> str"
    assert (spec.shape.kind, spec.shape.takes_context, spec.shape.doc) == ("sync", True, "Shorten.")


def test_an_instance_and_a_class_are_called():
    assert make(Callable("hi")).shape.kind == "async"
    spec = make(Callable)
    assert isinstance(spec.run, Callable)
    assert spec.shape.text == "(name: str) -> str"


def test_an_importable_function_travels_by_name():
    spec = make(apart)
    assert spec.where == "worker"
    assert spec.definition == {"path": f"{__name__}:apart"}


def test_a_class_travels_by_name_to_the_pool_its_mark_names():
    spec = make(Reader)
    assert spec.definition == {"path": f"{__name__}:Reader"}
    assert spec.pool == "ocr"
    assert make(Reader, pool="gpu").pool == "gpu"


def test_naming_a_pool_asks_for_a_worker():
    spec = make(host, pool="ocr")
    assert spec.reasons == ("it is registered for the pool 'ocr'",)
    assert spec.definition == {"path": f"{__name__}:host"}


@pytest.mark.parametrize(
    "program", [isolated(lambda x: x), functools.partial(apart, x=1), isolated(Callable())], ids=["lambda", "partial", "instance"]
)
def test_what_has_no_name_travels_by_value(program):
    definition = make(program, pool="other").definition
    assert set(definition) == {"pickle", "python"}
    assert definition["python"] == list(sys.version_info[:2])


def test_main_is_never_imported_by_name():
    function = lambda: None  # noqa: E731
    function.__module__, function.__qualname__ = "__main__", "function"
    assert importable_path(function) is None


def test_a_name_that_means_something_else_by_now_is_no_name():
    def stray():
        pass

    stray.__qualname__ = "apart"
    assert importable_path(stray) is None
    assert importable_path(json.dumps) == "json:dumps"


def test_what_cant_be_pickled_says_to_move_it():
    lock = threading.Lock()
    with pytest.raises(InvalidProgram) as caught:
        make(isolated(lambda: lock))
    assert "can't be imported by name, and can't be pickled either" in str(caught.value)
    assert "Move it to a module that the worker can import, and give it by name." in str(caught.value)


def test_equal_definitions_have_equal_keys():
    assert make(apart).key == make(f"{__name__}:apart").key
    assert key_of({"path": "a:b"}) != key_of({"path": "a:c"})


def test_the_same_program_again_is_the_same():
    assert make(host).same_as(make(host))
    assert make(apart).same_as(make(apart))
    assert make({"type": "dspy"}).same_as(make({"type": "dspy"}))
    unnamed = isolated(lambda x: x)
    assert make(unnamed).same_as(make(unnamed))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (make(host), make(apart)),
        (make(apart), make(apart, pool="ocr")),
        (make(apart), make(apart, idempotent=True)),
        (make({"type": "dspy"}), make({"type": "python"})),
    ],
    ids=["code", "pool", "idempotent", "mapping"],
)
def test_a_different_program_is_not(one, other):
    assert not one.same_as(other)


def test_a_mapping_may_only_describe():
    spec = make({"type": "dspy", "adapter": "PythonAdapter", "requires_python": True})
    assert spec.requires_bridge
    assert not spec.is_callable
    assert spec.metadata["type"] == "dspy"
    assert spec.describe() == "a mapping, described only"


def test_a_mapping_may_hold_what_is_called():
    spec = make({"type": "python", "program": host})
    assert spec.where == "worker"
    assert spec.definition == {"path": f"{__name__}:host"}
    assert make({"program": host}).where == "host"


def generator():
    yield 1


async def async_generator():
    yield 1


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        (
            3,
            "Program 'p': got int, which can't be called. Expected a function, an object with __call__, an import path 'module:name', a DSPy module or a mapping.",
        ),
        (
            "app.programs",
            "Program 'p': expected an import path such as 'package.module:function', got 'app.programs'. The colon parts module and name.",
        ),
        ("app:", "Program 'p': expected an import path such as 'package.module:function', got 'app:'. The colon parts module and name."),
        (
            generator,
            "Program 'p': it is a generator function, and a program is a function that returns. Return a list, or write the parts to a variable.",
        ),
        (
            async_generator,
            "Program 'p': it is an async generator function, and a program is a function that returns. Return a list, or write the parts to a variable.",
        ),
        (type("Mute", (), {}), "Program 'p': the class Mute has no __call__. Give it one, or give a function."),
        (
            Needy,
            "Program 'p': Needy() raised TypeError: Needy.__init__() missing 1 required positional argument: 'needed'. A class is made once, without arguments: give an instance instead.",
        ),
        (
            lambda x, /: x,
            "Program 'p': its parameter 'x' can be given by position only. Inputs are keyword arguments: remove the '/' or wrap it in a function.",
        ),
    ],
    ids=["int", "no colon", "no name", "generator", "async generator", "no call", "constructor", "positional"],
)
def test_what_cant_be_a_program_says_why(program, sentence):
    with pytest.raises(InvalidProgram) as caught:
        make(program)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("program_id", ["", None, 3])
def test_an_id_is_a_name(program_id):
    with pytest.raises(InvalidProgram, match="expected an id that is a non-empty str"):
        ProgramSpec.make(program_id, host)


def test_describe_is_one_line():
    assert make(host).describe() == f"function {__name__}:host in this process"
    assert make("app.programs:f").describe() == "app.programs:f in a worker of the pool 'default'"
    assert textwrap.shorten(repr(make(host)), 40)
