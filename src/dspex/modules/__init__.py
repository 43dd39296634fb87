"""DSPy programs, declared without DSPy: this process never imports it, workers do."""

from __future__ import annotations

from dspex.programs import Prediction

from .kinds import ChainOfThought, Module, Predict, ReAct
from .lm import LM

__all__ = ["LM", "ChainOfThought", "Module", "Predict", "Prediction", "ReAct"]
