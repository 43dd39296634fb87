"""DSPy programs end to end: declared here, attached to a context, run in its workers by the real dspy."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import dspy_parts
import pytest

from dspex import (
    LM,
    ChainOfThought,
    Context,
    InvalidInputs,
    InvalidProgram,
    MissingExtra,
    Module,
    Predict,
    Prediction,
    ProgramFailed,
    ReAct,
    Var,
)
from dspex.bridge import Bridge

pytestmark = pytest.mark.dspy

TEMPERATURE = Var("temperature", float, 0.7, min=0.0, max=2.0)


def scripted(**options):
    return LM("scripted/echo", factory="dspex.testing.scripted_lm:make", **options)


async def test_the_example_of_the_design(anyio_backend):
    qa = ChainOfThought("question -> answer", bind={"temperature": TEMPERATURE}, lm=scripted())
    async with Context(variables=[TEMPERATURE]) as ctx:
        assert ctx.backend.kind == "local"
        ask = await qa.attach(ctx)
        assert ctx.backend.kind == "bridged"
        prediction = await ask(question="What is OTP?")
        assert isinstance(prediction, Prediction)
        assert prediction.answer == "answer (temperature=0.7): What is OTP?"
        assert await ctx.variables.get(TEMPERATURE) == 0.7
        await ctx.variables.set(TEMPERATURE, 0.25)
        prediction = await ask(question="What is OTP?")
        assert prediction.answer == "answer (temperature=0.25): What is OTP?"
        assert prediction.settings["temperature"] == 0.25
        assert prediction.usage["scripted/echo"]["total_tokens"] > 0
        assert (await ctx.variables.info(TEMPERATURE)).version == 1


async def test_one_declaration_serves_many_contexts_and_many_calls(anyio_backend):
    qa = Predict("question -> answer", bind={"temperature": TEMPERATURE}, lm=scripted())
    async with (
        Bridge() as bridge,
        Context(variables=[TEMPERATURE], bridge=bridge) as one,
        Context(variables=[TEMPERATURE], bridge=bridge) as other,
    ):
        await other.variables.set(TEMPERATURE, 1.5)
        ask_one, ask_other = await qa.attach(one), await qa.attach(other)
        assert (await ask_one(question="x")).answer == "answer (temperature=0.7): x"
        assert (await ask_other(question="x")).answer == "answer (temperature=1.5): x"
        answers = await ask_one.map([{"question": str(n)} for n in range(12)], limit=6)
        assert [answer.answer for answer in answers] == [f"answer (temperature=0.7): {n}" for n in range(12)]
        assert await qa.attach(one) is ask_one


async def test_what_it_takes_and_what_fails(anyio_backend):
    async with Context() as ctx:
        ask = await ChainOfThought.create(ctx, "question, context -> answer", lm=scripted(), program_id="qa")
        assert ask.info.signature == "(question: str, context: str) -> Prediction(reasoning, answer)"
        with pytest.raises(InvalidInputs, match="missing 'context'; unexpected 'contxt'"):
            await ask(question="x", contxt="y")

        broken = await Predict("a -> b", lm=scripted(fail="out of order")).attach(ctx)
        with pytest.raises(ProgramFailed) as caught:
            await broken(a="x")
        assert "out of order" in caught.value.message
        with pytest.raises(ProgramFailed, match="TEST_NO_SUCH_KEY"):
            await Predict("a -> b", lm=scripted(api_key_env="TEST_NO_SUCH_KEY")).attach(ctx)


async def test_modules_and_tools_of_ones_own(anyio_backend):
    async with Context() as ctx:
        two = await Module("dspy_parts:TwoSteps", lm=scripted()).attach(ctx, "two")
        assert (await two(question="Why?")).tries == 1
        given = await ctx.register_program("given", dspy_parts.Counting())
        assert given.info.where == "worker"
        assert given.info.reasons == ("it is a DSPy module, a dspy_parts.Counting",)
        assert await given(words=["a"]) == {"count": 1}
        react = await ReAct(
            "question -> answer", tools=[dspy_parts.search], lm=scripted(steps=[{"tool": "search", "args": {"query": "q"}}])
        ).attach(ctx)
        assert (await react(question="What?")).trajectory["observation_0"] == "3 books about q"


@pytest.mark.parametrize("state", [{"x": 1}, "/no/such/file.json", "{nothing"], ids=["foreign", "absent", "malformed"])
async def test_a_state_that_cant_be_loaded_says_what_is_one(anyio_backend, state):
    async with Context() as ctx:
        with pytest.raises(InvalidProgram, match=r"its state can't be loaded \(.*Give what module\.save\('name\.json'\)"):
            await Predict("a -> b", lm=scripted(), state=state).attach(ctx)


async def test_a_setting_bound_to_a_sensitive_variable_is_not_told(anyio_backend):
    user = Var("user", str, "hush", sensitive=True)
    async with Context(variables=[TEMPERATURE, user]) as ctx:
        ask = await Predict("a -> b", lm=scripted(), bind={"user": user, "temperature": TEMPERATURE}).attach(ctx)
        prediction = await ask(a="x")
        assert dict(prediction.settings) == {"model": "scripted/echo", "temperature": 0.7}


BARE = os.path.realpath(sys.executable)


@pytest.mark.skipif(
    sys.executable == BARE or not Path(sys.prefix, "pyvenv.cfg").exists(), reason="needs an interpreter without dspy: the one under a venv"
)
async def test_an_interpreter_without_dspy_says_what_to_install_there(anyio_backend):
    async with Bridge(python=BARE) as bridge, Context(bridge=bridge) as ctx:
        with pytest.raises(MissingExtra) as caught:
            await Predict("a -> b").attach(ctx)
        assert f"{BARE} -m pip install dspy" in str(caught.value)
