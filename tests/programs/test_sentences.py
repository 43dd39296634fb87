"""What is said of a call that can't be, and of one that failed: whole sentences, as their readers meet them."""

from __future__ import annotations

import math

import pytest

from dspex import LM, InvalidInputs, Predict, ProgramFailed, isolated
from dspex.programs._explaining import IMPORTING
from dspex.programs.signature import unquoted


async def shorten(text: str, limit: int = 3) -> str:
    return text[:limit]


SHOWN = "Program 'shorten'(text: str, limit: int = 3) -> str"


async def test_inputs_by_position_are_refused(home):
    bound = await home.bind(shorten, "shorten")
    with pytest.raises(InvalidInputs) as one:
        await bound("a")

    with pytest.raises(InvalidInputs) as two:
        await bound("a", 4)

    assert str(one.value) == f"{SHOWN}: expected inputs by name, got one by position. Inputs are keyword arguments."
    assert str(two.value) == f"{SHOWN}: expected inputs by name, got 2 by position. Inputs are keyword arguments."


async def test_inputs_that_are_no_mapping_are_refused(home):
    bound = await home.bind(shorten, "shorten")
    with pytest.raises(InvalidInputs) as called:
        await bound.call([1])

    with pytest.raises(InvalidInputs) as mapped:
        await bound.map([1, 2])

    told = f"{SHOWN}: expected a mapping of names to inputs, got"
    assert str(called.value) == f"{told} list. Inputs are keyword arguments."
    assert str(mapped.value) == f"{told} int. Inputs are keyword arguments."


@pytest.mark.parametrize("given", [{"a": 1}, 3, "ab"])
async def test_what_is_no_iterable_of_mappings_is_refused(home, given):
    bound = await home.bind(shorten, "shorten")
    with pytest.raises(TypeError) as caught:
        await bound.map(given)

    assert str(caught.value) == (
        f"map: expected an iterable of mappings of inputs, such as [{{'question': 'a'}}, {{'question': 'b'}}], got {type(given).__name__}"
    )


async def test_a_limit_is_an_int(home):
    bound = await home.bind(shorten, "shorten")
    with pytest.raises(TypeError) as caught:
        await bound.map([], "s")

    assert str(caught.value) == "limit: expected an int of at least 1 or None, got 's'."


@pytest.mark.parametrize(("timeout", "kind"), [("s", TypeError), (True, TypeError), (-1, ValueError), (math.nan, ValueError)])
async def test_a_timeout_is_a_number_of_seconds(home, timeout, kind):
    bound = await home.bind(shorten, "shorten")
    with pytest.raises(kind) as caught:
        await bound.call({"text": "a"}, timeout=timeout)

    assert str(caught.value) == f"timeout: expected a number of seconds of at least 0 or None, got {timeout!r}"


async def test_what_a_program_raised_is_named_as_it_is_written(home):
    async def failing():
        raise ValueError("no good")

    bound = await home.bind(failing, "failing")
    with pytest.raises(ProgramFailed) as caught:
        await bound()

    first, _, rest = str(caught.value).partition("\n")
    assert first == "Program 'failing' raised ValueError: no good"
    assert rest.startswith("\nTraceback (most recent call last):\n  File ")


# --- in workers ------------------------------------------------------------------------------------------------------------------


@isolated
def returns_what_stays(n):
    return [n, object()]


@isolated
def returns_too_much(n):
    return b"x" * n


async def test_a_result_that_cant_leave_the_worker_is_no_exception_of_the_programs(bridged_home):
    bound = await bridged_home.bind(returns_what_stays, "p")
    with pytest.raises(ProgramFailed) as caught:
        await bound(n=1)

    assert str(caught.value) == (
        "Program 'p' returned a value that can't leave the worker: at result[1]: got object (this type has no encoded form; use plain "
        "data, a dataclass, an attrs class or a pydantic model). Return plain data: numbers, text, lists, dicts, records."
    )


async def test_nor_is_one_too_large(bridged_home):
    bound = await bridged_home.bind(returns_too_much, "p")
    with pytest.raises(ProgramFailed) as caught:
        await bound(n=257 << 20)

    assert str(caught.value) == (
        "Program 'p' returned a value that can't leave the worker: at result: got data (it takes 269,484,056 bytes, at most 268,435,456 "
        "go in a message). Return plain data: numbers, text, lists, dicts, records."
    )


async def test_a_path_that_doesnt_import_is_told_once_with_what_to_do(bridged_home):
    with pytest.raises(ProgramFailed) as caught:
        await bridged_home.bind("nomod:f", "p")

    assert str(caught.value) == (
        "Program 'p' could not be imported in a worker: ModuleNotFoundError: No module named 'nomod'. A worker of this interpreter has the "
        "sys.path and the working directory of this process; more of it is Pool(path=[...], cwd=...). Check the name, or install what is "
        "missing there."
    )
    assert caught.value.is_a("ImportError")


@pytest.mark.dspy
async def test_nor_is_the_way_to_a_language_model_that_doesnt_import_told_with_frames_of_ours(bridged_home):
    with pytest.raises(ProgramFailed) as missing:
        await bridged_home.bind(Predict("question -> answer", lm=LM(factory="nolm:build")), "p")

    with pytest.raises(ProgramFailed) as misspelt:
        await bridged_home.bind(Predict("question -> answer", lm=LM(factory="textwrap:build")), "p")

    assert str(missing.value) == f"Program 'p' could not be imported in a worker: ModuleNotFoundError: No module named 'nolm'. {IMPORTING}"
    assert str(misspelt.value) == "Program 'p' raised AttributeError: module 'textwrap' has no attribute 'build'"


# --- signatures ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("()", "()"),
        ("(text: 'str') -> 'str'", "(text: str) -> str"),
        ("(a: \"Literal['x']\", /, *b: 'int', **d: 'None') -> 'list[str]'", "(a: Literal['x'], /, *b: int, **d: None) -> list[str]"),
        ("(a: 'str' = \": 'str'\")", "(a: str = \": 'str'\")"),
        ("(ä: 'str' = 'ö', b: 'int' = 1)", "(ä: str = 'ö', b: int = 1)"),
        ("(a: 'str' = <object>)", "(a: 'str' = <object>)"),
    ],
)
def test_annotations_are_shown_as_they_were_written(text, told):
    assert unquoted(text) == told
