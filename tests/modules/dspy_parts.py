"""What the DSPy programs of the tests import in their worker."""

from __future__ import annotations

import dspy


class Summarize(dspy.Signature):
    """Say it in fewer words."""

    text: str = dspy.InputField()
    limit: int = dspy.InputField(default=10)
    summary: str = dspy.OutputField()


class TwoSteps(dspy.Module):
    """Two predictors and a field of its own."""

    def __init__(self):
        super().__init__()
        self.draft = dspy.Predict("question -> draft")
        self.final = dspy.ChainOfThought("draft -> answer")

    def forward(self, question: str, tries: int = 1):
        draft = self.draft(question=question).draft
        return dspy.Prediction(answer=self.final(draft=draft).answer, tries=tries)


class Counting(dspy.Module):
    """Returns no prediction."""

    def forward(self, words: list):
        return {"count": len(words)}


module = TwoSteps()


def make():
    return TwoSteps()


def no_module():
    return 3


def search(query: str, limit: int = 3) -> str:
    """Search the library."""
    return f"{limit} books about {query}"
