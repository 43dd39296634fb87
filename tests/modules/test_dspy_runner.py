"""What a declaration becomes in a worker, run here against the real dspy: the runner alone, without a worker around it."""

from __future__ import annotations

import inspect
import os
import sys
import threading

import dspy_parts
import pytest

from dspex import LM, ChainOfThought, Module, Predict, ReAct, Var
from dspex.programs.prediction import answered
from dspex.worker.child.failures import Refused
from dspex.worker.child.modules import dspy_runner

pytestmark = pytest.mark.dspy

TEMPERATURE, MODEL = Var("temperature", float, 0.7), Var("model", str, "scripted/echo")
ECHO = LM("scripted/echo", factory="dspex.testing.scripted_lm:make", max_tokens=99)


def scripted(**options):
    return LM("scripted/echo", factory="dspex.testing.scripted_lm:make", **options)


class Ctx:
    def __init__(self, **values):
        self.values = values
        self.reads = 0

    def get_many(self, names):
        self.reads += 1
        return {name: self.values[name] for name in names if name in self.values}

    def get(self, name):
        raise KeyError(name)


def build(declared):
    return dspy_runner.build(declared.__dspex_program__("p").definition["args"])


def run(declared, **inputs):
    return answered(build(declared)(**inputs))


def test_chain_of_thought_at_the_bound_temperature_in_one_read():
    ctx = Ctx(temperature=0.3, model="scripted/other")
    prediction = run(
        ChainOfThought("question -> answer", lm=ECHO, bind={"temperature": TEMPERATURE, "model": MODEL}), ctx=ctx, question="Why?"
    )
    assert prediction.answer == "answer (temperature=0.3, max_tokens=99): Why?"
    assert set(prediction) == {"reasoning", "answer"}
    assert ctx.reads == 1
    assert prediction.settings == {"model": "scripted/other", "max_tokens": 99, "temperature": 0.3}
    assert prediction.usage["scripted/other"]["total_tokens"] > 0


def test_nothing_is_left_in_dspys_globals():
    import dspy

    program = build(Predict("question -> answer", lm=ECHO))
    traces, history = len(dspy.settings.trace or []), len(dspy.clients.base_lm.GLOBAL_HISTORY)
    for _ in range(3):
        program(question="x")
    assert dspy.settings.lm is None
    assert len(dspy.settings.trace or []) == traces
    assert len(dspy.clients.base_lm.GLOBAL_HISTORY) == history
    assert not os.path.exists(os.environ["DSPY_CACHEDIR"]) or os.listdir(os.environ["DSPY_CACHEDIR"]) == []


def test_threads_have_their_own_settings():
    program = build(Predict("question -> answer", lm=ECHO, bind={"temperature": TEMPERATURE}))
    answers = {}

    def call(n):
        for _ in range(5):
            answers.setdefault(n, set()).add(program(ctx=Ctx(temperature=n / 10), question=str(n))["fields"]["answer"])

    threads = [threading.Thread(target=call, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {n: {f"answer (temperature={n / 10}, max_tokens=99): {n}"} for n in range(1, 5)}


@pytest.mark.parametrize(
    ("declared", "signature", "doc"),
    [
        (
            Predict("question -> answer"),
            "(question: str) -> Prediction(answer)",
            "Given the fields `question`, produce the fields `answer`.",
        ),
        (
            ChainOfThought("n: int, tags: list[str] -> ok: bool", instructions="Judge."),
            "(n: int, tags: list[str]) -> Prediction(reasoning, ok)",
            "Judge.",
        ),
        (Predict(dspy_parts.Summarize), "(text: str, limit: int = 10) -> Prediction(summary)", "Say it in fewer words."),
        (Predict("dspy_parts:Summarize"), "(text: str, limit: int = 10) -> Prediction(summary)", "Say it in fewer words."),
        (
            Predict("question -> answer", lm=ECHO, bind={"temperature": "t"}),
            "(ctx, question: str) -> Prediction(answer)",
            "Given the fields `question`, produce the fields `answer`.",
        ),
        (Module("dspy_parts:TwoSteps"), "(question: 'str', tries: 'int' = 1)", "Two predictors and a field of its own."),
        (
            ReAct("question -> answer", tools=[dspy_parts.search]),
            "(question: str) -> Prediction(answer)",
            "Given the fields `question`, produce the fields `answer`.",
        ),
    ],
    ids=["text", "typed", "class", "path", "bound", "module", "react"],
)
def test_the_signature_is_that_of_the_dspy_program(declared, signature, doc):
    program = build(declared)
    assert str(inspect.signature(program)) == signature
    assert inspect.getdoc(program) == doc


def test_typed_fields_come_as_plain_data():
    lm = scripted(answers={"n": 3, "tags": ["a", "b"], "ok": True})
    prediction = run(Predict("text -> n: int, tags: list[str], ok: bool", lm=lm), text="x")
    assert dict(prediction) == {"n": 3, "tags": ["a", "b"], "ok": True}


def test_react_calls_its_tools_and_tells_its_trajectory():
    steps = [{"tool": "search", "args": {"query": "otp"}}, {"tool": "double", "args": {"n": 4}}]

    def double(n: int) -> int:
        """Twice."""
        return 2 * n

    declared = ReAct(
        "question -> answer", tools=["dspy_parts:search", double], lm=scripted(steps=steps, answers={"answer": "8"}), max_iters=5
    )
    prediction = run(declared, question="What?")
    assert dict(prediction) == {"reasoning": prediction.reasoning, "answer": "8"}
    assert prediction.trajectory["observation_0"] == "3 books about otp"
    assert prediction.trajectory["observation_1"] == 8
    assert prediction.trajectory["tool_name_2"] == "finish"
    assert prediction.usage["scripted/echo"]["total_tokens"] > 0


@pytest.mark.parametrize(
    "module",
    ["dspy_parts:TwoSteps", "dspy_parts:make", "dspy_parts:module", dspy_parts.TwoSteps, dspy_parts.module, dspy_parts.TwoSteps()],
    ids=["class path", "maker path", "object path", "class", "named object", "object"],
)
def test_a_module_of_ones_own(module):
    prediction = run(Module(module, lm=ECHO), question="Why?", tries=2)
    assert prediction.tries == 2
    assert prediction.answer.startswith("answer (max_tokens=99): draft (max_tokens=99): Why?")
    assert prediction.trajectory is None


def test_the_users_own_module_object_is_left_alone():
    build(Module("dspy_parts:module", lm=ECHO))
    dspy_parts.module.set_lm(None)
    built = dspy_runner._module(sys.modules["dspy"], {"program": {"path": "dspy_parts:module"}})
    assert built is not dspy_parts.module


def test_a_module_that_makes_no_prediction_gives_what_it_gives():
    assert run(Module("dspy_parts:Counting"), words=["a", "b"]) == {"count": 2}


def test_what_is_no_module_is_refused():
    with pytest.raises(Refused) as caught:
        build(Module("dspy_parts:no_module"))
    assert str(caught.value) == (
        "Program 'Module': dspy_parts:no_module is or makes int, expected a dspy.Module. For any other callable use register_program."
    )


def test_without_a_language_model_the_call_says_what_to_do():
    with pytest.raises(Refused, match="it was declared without a language model, and the worker's own code has configured none"):
        run(Predict("a -> b"), a="x")


def test_a_missing_variable_is_told():
    with pytest.raises(KeyError, match="temperature"):
        run(Predict("a -> b", lm=ECHO, bind={"temperature": TEMPERATURE}), ctx=Ctx(), a="x")


@pytest.mark.parametrize("how", ["data", "text", "path"])
def test_state_is_the_json_of_module_save(tmp_path, how):
    import json

    import dspy

    saved = dspy.Predict("question -> answer")
    saved.demos = [dspy.Example(question="1+1", answer="2").with_inputs("question")]
    saved.signature = saved.signature.with_instructions("Compiled.")
    path = tmp_path / "state.json"
    saved.save(str(path))
    state = {"data": json.loads(path.read_text()), "text": path.read_text(), "path": path}[how]
    program = build(Predict("question -> answer", lm=ECHO, state=state))
    assert program.__doc__ == "Compiled."
    assert program(question="x")["fields"]["answer"].endswith(": 1+1") or program(question="x")["fields"]["answer"]


def test_the_key_is_read_from_the_environment_and_told_nowhere(monkeypatch):
    monkeypatch.setenv("TEST_LM_KEY", "sk-very-secret-key")
    lm = scripted(api_key_env="TEST_LM_KEY", temperature=0.5)
    declared = Predict("a -> b", lm=lm)
    answer = build(declared)(a="x")
    assert "sk-very-secret-key" not in repr((declared, answer, declared.__dspex_program__("p")))
    assert answer["settings"] == {"model": "scripted/echo", "temperature": 0.5}


def test_a_key_that_isnt_there_fails_at_registration(monkeypatch):
    monkeypatch.delenv("TEST_LM_KEY", raising=False)
    with pytest.raises(ValueError) as caught:
        build(Predict("a -> b", lm=scripted(api_key_env="TEST_LM_KEY")))
    assert str(caught.value) == (
        "LM: the environment variable 'TEST_LM_KEY', which its api_key_env names, isn't set in this worker. "
        "Set it before the workers start, or give it to the pool as env={...}."
    )


def test_a_plain_dspy_lm_is_made_with_neither_cache_nor_retries():
    import dspy

    from dspex.worker.child.modules.dspy_lm import LanguageModel

    made = LanguageModel(dspy, LM("openai/gpt-4o-mini", temperature=0.4).declare())
    lm, settings = made.with_settings({"temperature": 0.9})
    assert (lm.cache, lm.num_retries, lm.kwargs["temperature"]) == (False, 0, 0.9)
    assert settings == {"model": "openai/gpt-4o-mini", "temperature": 0.9}
    assert made.with_settings({})[0].kwargs["temperature"] == 0.4


def test_what_the_model_raises_comes_out():
    with pytest.raises(Exception, match="out of order"):
        run(Predict("a -> b", lm=scripted(fail="out of order")), a="x")


def test_without_dspy_it_says_what_to_install_where(monkeypatch):
    monkeypatch.setitem(sys.modules, "dspy", None)
    with pytest.raises(Refused) as caught:
        dspy_runner.build(Predict("a -> b").__dspex_program__("p").definition["args"])
    assert str(caught.value) == (
        f"The program Predict needs the package 'dspy', which the worker's interpreter {sys.executable} can't import. "
        f"Install it there with: {sys.executable} -m pip install dspy"
    )


def test_a_module_object_whose_model_holds_a_key_isnt_sent():
    import dspy

    from dspex import InvalidProgram
    from dspex.programs import ProgramSpec

    keyed = dspy.Predict("a -> b")
    keyed.set_lm(dspy.LM("openai/gpt-4o-mini", api_key="sk-very-secret-key"))
    for make in (lambda: ProgramSpec.make("p", keyed), lambda: ProgramSpec.make("p", Module(keyed))):
        with pytest.raises(InvalidProgram) as caught:
            make()
        assert str(caught.value).startswith(
            "Program 'p': the language model of its 'self' holds api_key, which looks like a secret. Leave its lm unset"
        )
        assert "very-secret" not in str(caught.value)
