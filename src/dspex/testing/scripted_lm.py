"""
A language model that answers from a script: offline, deterministic, without state. For tests, examples and demos of DSPy programs.

Declare it by its import path; it is made in the worker, where dspy is::

    LM("scripted", factory="dspex.testing.scripted_lm:make", answers={"answer": "42"})

A field without a scripted answer is answered with an echo of how the model was called, ``"answer (temperature=0.7): What is OTP?"``,
so that one sees which settings reached it. For `ReAct`, *steps* are what the model decides in each round; after the last it finishes.

dspy is imported when the model is made, and this module imports nothing else of dspex.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

OUTPUTS: Final = re.compile(r"^\d+\. `(\w+)` \((.*?)\)", re.MULTILINE)
HEADER: Final = re.compile(r"\[\[ ## (\w+) ## \]\]")
SHOWN: Final = ("temperature", "max_tokens", "top_p")

ECHOED: Final[Mapping[str, Any]] = {"int": 1, "float": 1.0, "bool": True, "list": [], "dict": {}, "NoneType": None}
"""What a field of another type than text is answered with, by how its type begins."""


def make(
    model: str = "scripted/echo",
    *,
    answers: Mapping[str, Any] | None = None,
    steps: Sequence[Mapping[str, Any]] = (),
    fail: str | None = None,
    **settings: Any,
) -> Any:
    """
    Make the language model.

    Args:
        model: its name, as usage is counted under.
        answers: what a field is answered with, by the field's name.
        steps: the rounds of a `ReAct` program, each with ``tool``, and where needed ``args`` and ``thought``.
        fail: raise a `RuntimeError` with this text instead of answering.
        **settings: as for `dspy.LM`: ``temperature``, ``max_tokens``, ...

    """
    import dspy

    language_model: Any = dspy.LM
    settings.pop("api_key", None)  # an engine of one's own takes none
    script = Script(answers or {}, steps, fail)
    return language_model(model, engine=Engine(script), async_engine=AsyncEngine(script), **{"cache": False, "num_retries": 0, **settings})


class Script:
    """From a request to the text of the answer, by nothing but what the request says."""

    def __init__(self, answers: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], fail: str | None) -> None:
        self._answers = dict(answers)
        self._steps = list(steps)
        self._fail = fail

    def answer(self, request: Any) -> str:
        """The answer, in the form that dspy's chat adapter reads."""
        if self._fail is not None:
            raise RuntimeError(self._fail)

        asked = request.messages[-1].text
        answers = {**self._answers, **self._step(asked)}
        told = [f"[[ ## {name} ## ]]\n{self._text(answers, name, kind, request)}" for name, kind in _outputs(request.system or asked)]
        return "\n\n".join([*told, "[[ ## completed ## ]]"])

    def _step(self, asked: str) -> dict[str, Any]:
        """What the model decides in this round of a `ReAct` program: the round is told by the observations it has been shown."""
        taken = len(re.findall(r"\[\[ ## observation_\d+ ## \]\]", asked))
        step: Mapping[str, Any] = self._steps[taken] if taken < len(self._steps) else {"tool": "finish"}
        arguments: dict[str, Any] = step.get("args", {})
        thought = step.get("thought", f"Round {taken + 1}.")
        return {"next_thought": thought, "next_tool_name": step["tool"], "next_tool_args": arguments}

    def _text(self, answers: Mapping[str, Any], name: str, kind: str, request: Any) -> str:
        if name in answers:
            value = answers[name]
            return value if isinstance(value, str) else json.dumps(value)

        if kind == "str":
            return f"{name} ({_settings(request)}): {_first_input(request.messages[-1].text)}"

        return json.dumps(next((value for start, value in ECHOED.items() if kind.startswith(start)), name))


def _outputs(system: str) -> Iterator[tuple[str, str]]:
    """The names and types of the fields asked for, as the chat adapter lists them."""
    _, _, outputs = system.partition("Your output fields are:")
    listed, _, _ = outputs.partition("All interactions will be structured")
    for found in OUTPUTS.finditer(listed):
        yield found[1], found[2]


def _first_input(asked: str) -> str:
    parts = HEADER.split(asked.partition("\n\nRespond with the corresponding output fields")[0])
    return parts[2].strip() if len(parts) > 2 else parts[0].strip()


def _settings(request: Any) -> str:
    config = request.config
    shown = {name: getattr(config, name, None) for name in SHOWN}
    return ", ".join(f"{name}={value}" for name, value in shown.items() if value is not None) or "defaults"


class Engine:
    """dspy's engine contract: one request in, one response out."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def complete(self, request: Any) -> Any:
        """Answer *request*. Tokens are counted as words."""
        from dspy.lm15 import Message, Response, Usage

        text = self._script.answer(request)
        read = sum(len(message.text.split()) for message in request.messages)
        usage = Usage(input_tokens=read, output_tokens=len(text.split()), total_tokens=read + len(text.split()))
        return Response(id=None, model=request.model, message=Message.assistant(text), finish_reason="stop", usage=usage)

    def close(self) -> None:
        """Nothing to close."""


class AsyncEngine:
    """The same for dspy's async calls."""

    def __init__(self, script: Script) -> None:
        self._engine = Engine(script)

    async def complete(self, request: Any) -> Any:
        """Answer *request*."""
        return self._engine.complete(request)

    async def aclose(self) -> None:
        """Nothing to close."""
