"""A language model that answers from a script, so that the demo needs no network and no key. Imported in workers only."""

from __future__ import annotations

from typing import Any

import dspy
from dspy.lm15 import Message, Response, Usage

ANSWER = "OTP is a set of libraries and principles for programs that keep running."


class Scripted:
    """DSPy's engine contract: one request in, one response out."""

    def complete(self, request: Any) -> Any:
        """Answer in the form that DSPy's chat adapter reads."""
        text = f"[[ ## reasoning ## ]]\nThe script says so.\n\n[[ ## answer ## ]]\n{ANSWER}\n\n[[ ## completed ## ]]"
        usage = Usage(input_tokens=3, output_tokens=4, total_tokens=7)
        return Response(id=None, model=request.model, message=Message.assistant(text), finish_reason="stop", usage=usage)

    def close(self) -> None:
        """Nothing to close."""


def build(**settings: Any) -> Any:
    """The language model, with the settings of the declaration."""
    return dspy.LM("local/scripted", engine=Scripted(), **{"cache": False, "num_retries": 0, **settings})
