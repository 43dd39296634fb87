"""DSPy programs as declarations: no context, no I/O, no dspy, no secret."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dspex import LM, ChainOfThought, InvalidProgram, Module, Predict, Prediction, ProgramExists, ReAct, Var
from dspex.programs import ProgramSpec
from dspex.wire.codec import decode, encode

TEMPERATURE = Var("temperature", float, 0.7)


def spec(program, program_id="p"):
    return ProgramSpec.make(program_id, program)


def test_a_declaration_is_data_and_says_why_it_needs_the_bridge():
    qa = ChainOfThought("question -> answer", lm="openai/gpt-4o-mini", bind={"temperature": TEMPERATURE})
    made = spec(qa)
    assert made.where == "worker"
    assert made.reasons == (
        "it is a DSPy program, ChainOfThought('question -> answer', lm=LM('openai/gpt-4o-mini'), bind={'temperature': 'temperature'})",
    )
    assert made.definition["factory"] == "modules.dspy_runner:build"
    assert decode(encode(made.definition["args"])) == made.definition["args"]


def test_equal_declarations_are_equal_programs_with_one_id():
    one, other = Predict("a -> b", lm="m"), Predict("a -> b", lm="m")
    assert spec(one).same_as(spec(other))
    assert one.default_id() == other.default_id()
    assert one.default_id().startswith("predict_")
    assert ChainOfThought("a -> b").default_id().startswith("chain_of_thought_")
    assert not spec(one).same_as(spec(Predict("a -> c", lm="m")))
    assert one.default_id() != Predict("a -> b", lm="n").default_id()


def test_declaring_imports_no_dspy():
    code = (
        "import sys; from dspex import *; from dspex import ChainOfThought, ReAct, Module, LM;"
        "ChainOfThought('a -> b', lm=LM('m', temperature=1.0)).__dspex_program__('p'); Module('app:qa'); ReAct('a -> b', tools=['app:search']);"
        "assert 'dspy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"api_key": "sk-abcdefghijkl"}, "api_key"),
        ({"apikey": "x"}, "apikey"),
        ({"azure_ad_token": "x"}, "azure_ad_token"),
        ({"password": "x"}, "password"),
        ({"aws_secret_access_key": "x"}, "aws_secret_access_key"),
        ({"extra_headers": {"Authorization": "x"}}, "extra_headers['Authorization']"),
        ({"extra_headers": {"x-api-key": "x"}}, "extra_headers['x-api-key']"),
        ({"vertex_credentials": "{}"}, "vertex_credentials"),
        ({"whatever": "sk-abcdefghijklmnop"}, "whatever"),
        ({"extra_headers": {"X-Custom": "Bearer abcdef"}}, "extra_headers['X-Custom']"),
        ({"fallbacks": [{"api_key": "x"}]}, "fallbacks[0]['api_key']"),
        ({"api_base": "https://me:abcdef@example.org/v1"}, "api_base"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_setting_that_looks_like_a_secret_is_refused_and_not_repeated(settings, named):
    with pytest.raises(ValueError) as caught:
        LM("openai/gpt-4o-mini", **settings)
    told = str(caught.value)
    assert told.startswith(f"LM: {named} looks like a secret, and a declaration is no place for one")
    assert "api_key_env='OPENAI_API_KEY'" in told
    assert "sk-" not in told
    assert "abcdef" not in told


def test_ordinary_settings_are_no_secrets():
    lm = LM(
        "m",
        temperature=0.2,
        max_tokens=10,
        max_completion_tokens=5,
        stop=["a"],
        api_base="http://localhost",
        logit_bias={"1": 2},
        top_p=0.5,
    )
    assert lm.settings["max_tokens"] == 10
    assert repr(LM("m", api_key_env="KEY", temperature=0.2)) == "LM('m', api_key_env='KEY', temperature=0.2)"
    assert LM("m", temperature=0.2) == LM("m", temperature=0.2) != LM("m")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: LM(), "LM: expected a model such as 'openai/gpt-4o-mini', or factory='package.module:function'; got neither."),
        (lambda: LM(factory="nonsense"), "LM: factory: expected an import path such as 'package.module:function', got 'nonsense'."),
        (
            lambda: LM(factory="app:lm", weird={"a": [1, object()]}),
            "LM: weird['a'][1]: expected plain data, which travels to a worker, got object (this type has no encoded form; use plain data, a dataclass, an attrs class or a pydantic model). What is no plain data belongs in a factory='package.module:function', which runs in the worker.",
        ),
        (
            lambda: Predict("question"),
            "Program 'Predict': expected a signature such as 'question -> answer', got 'question'. Inputs, an arrow, outputs.",
        ),
        (
            lambda: Predict("-> answer"),
            "Program 'Predict': expected a signature such as 'question -> answer', got '-> answer'. Inputs, an arrow, outputs.",
        ),
        (
            lambda: Predict(3),
            "Program 'Predict': expected a signature, got int. Write 'question -> answer', or give a class derived from dspy.Signature.",
        ),
        (
            lambda: Predict("a -> b", bind={"temperature": TEMPERATURE}),
            "Program 'Predict': bind= sets what the language model is called with, and there is none. Give lm=.",
        ),
        (
            lambda: Predict("a -> b", lm="m", bind={"api_key": "key"}),
            "Program 'Predict': bind: 'api_key' looks like a secret, and variables are stored and shown. Use LM(..., api_key_env='NAME'): the worker reads it from its environment.",
        ),
        (
            lambda: Predict("a -> b", lm="m", bind={"cache": "c"}),
            "Program 'Predict': bind: 'cache' belongs to the declaration. Set it in LM(...).",
        ),
        (
            lambda: Predict("a -> b", state="saved.pkl"),
            "Program 'Predict': state: expected the JSON that module.save wrote, or its path, got 'saved.pkl'. Save it with module.save('name.json'). Pickles and whole programs are not loaded: they are code.",
        ),
        (
            lambda: ReAct("a -> b", tools=[3]),
            "Program 'ReAct': tools: got int, which can't be called. A tool is a function, a dspy.Tool or the import path of one.",
        ),
        (lambda: ReAct("a -> b", max_iters=0), "Program 'ReAct': max_iters: expected at least 1, got 0."),
        (lambda: Module(3), "Program 'Module': got int, which can't be called. Give a dspy.Module, or the import path of one."),
    ],
)
def test_a_declaration_that_cant_be_says_what_to_do(make, sentence):
    with pytest.raises((InvalidProgram, ValueError)) as caught:
        make()
    assert str(caught.value) == sentence


def test_a_prediction_reads_as_attributes_and_as_a_mapping():
    prediction = Prediction(
        {"answer": 42, "usage": "a field of this name"}, usage={"m": {"total_tokens": 3}}, settings={"temperature": 0.2}
    )
    assert prediction.answer == prediction["answer"] == 42
    assert dict(prediction) == {"answer": 42, "usage": "a field of this name"}
    assert prediction.usage == {"m": {"total_tokens": 3}}
    assert prediction.settings == {"temperature": 0.2}
    assert prediction.trajectory is None
    assert repr(prediction) == "Prediction(answer=42, usage='a field of this name')"
    assert "answer" in dir(prediction)
    with pytest.raises(AttributeError, match=r"This prediction has no field 'anser'\. Its fields: answer, usage\."):
        prediction.anser  # noqa: B018


def test_a_prediction_survives_pickling_and_copying():
    import copy
    import pickle

    prediction = Prediction({"answer": 42}, usage={"m": {}}, settings={"a": 1}, trajectory={"thought_0": "x"})
    for again in (pickle.loads(pickle.dumps(prediction)), copy.deepcopy(prediction)):
        assert again == prediction
        assert (again.usage, again.settings, again.trajectory) == (prediction.usage, prediction.settings, prediction.trajectory)


async def test_attach_registers_it_and_create_does_both(anyio_backend):
    class Registry:
        def __init__(self):
            self.registered = []

        async def register_program(self, program_id, program):
            self.registered.append((program_id, program))
            return program_id

    context = Registry()
    qa = Predict("a -> b")
    assert await qa.attach(context) == qa.default_id()
    assert await qa.attach(context, "named") == "named"
    assert await Predict.create(context, "a -> b", lm="m", program_id="made") == "made"
    assert [program.kind for _, program in context.registered] == ["Predict"] * 3
    assert issubclass(ProgramExists, ValueError)
