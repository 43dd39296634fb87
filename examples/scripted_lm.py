"""
A language model that answers from a script, for examples and tests without a network.

It is what ``LM(factory="scripted_lm:build")`` names: imported in the worker, never in the host.
"""

from __future__ import annotations

from typing import Any

import dspy
from dspy.lm15 import Message, Response, Usage

ANSWERS = {"OTP": "A set of libraries and principles for programs that keep running."}


class Scripted:
    """DSPy's engine contract: one request in, one response out."""

    def complete(self, request: Any) -> Response:
        """Answer in the form that DSPy's chat adapter reads."""
        asked = request.messages[-1].text
        answer = next((text for word, text in ANSWERS.items() if word in asked), "I don't know.")
        told = f"{answer} (temperature {request.config.temperature})"
        text = f"[[ ## reasoning ## ]]\nThe script says so.\n\n[[ ## answer ## ]]\n{told}\n\n[[ ## completed ## ]]"
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant(text),
            finish_reason="stop",
            usage=Usage(input_tokens=3, output_tokens=4, total_tokens=7),
        )

    def close(self) -> None:
        """Nothing to close."""


def build(**settings: Any) -> dspy.LM:
    """Called once in each worker with the settings of the declaration."""
    return dspy.LM("local/scripted", engine=Scripted(), cache=False, num_retries=0, **settings)
