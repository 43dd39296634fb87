"""A declared language model in a worker: made once, and copied for each call that binds settings to variables."""

from __future__ import annotations

import importlib
import os
import threading
from collections import OrderedDict
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from .dspy_plain import plain

MAX_MODELS = 16
"""Models kept at once, where ``bind`` chooses the model."""

SAMPLING = ("temperature", "max_tokens", "max_completion_tokens")


class LanguageModel:
    """
    The language model of one declaration. Safe in threads.

    Raises whatever making it raises, at once: a registration fails rather than the first call.
    """

    def __init__(self, dspy: Any, declared: Mapping[str, Any]) -> None:
        self._dspy = dspy
        self._declared = declared
        self._made: OrderedDict[Optional[str], Any] = OrderedDict()
        self._lock = threading.Lock()
        self._model(declared["model"])

    def with_settings(self, bound: Dict[str, Any]) -> Tuple[Any, Dict[str, Any]]:
        """The model with *bound* settings, and the settings it has then, as plain data. *bound* may have the ``model`` itself."""
        settings = dict(bound)
        lm = self._model(settings.pop("model", self._declared["model"]))
        if settings:
            lm = lm.copy(**settings)

        return lm, self._told(lm, settings)

    def _model(self, name: Optional[str]) -> Any:
        with self._lock:
            if name not in self._made:
                self._made[name] = self._make(name)

            self._made.move_to_end(name)
            if len(self._made) > MAX_MODELS:
                self._made.popitem(last=False)

            return self._made[name]

    def _make(self, name: Optional[str]) -> Any:
        declared = self._declared
        settings = {**declared["settings"], **self._key()}
        if declared["factory"] is None:
            return self._dspy.LM(name, cache=declared["cache"], num_retries=declared["num_retries"], **settings)

        made = _imported(declared["factory"])(**({} if name is None else {"model": name}), **settings)
        if not isinstance(made, self._dspy.BaseLM):
            raise TypeError(f"LM factory {declared['factory']!r}: expected it to return a dspy.BaseLM, got {type(made).__name__}")

        return made

    def _key(self) -> Dict[str, str]:
        name = self._declared["api_key_env"]
        if name is None:
            return {}

        if not os.environ.get(name):
            raise ValueError(
                f"LM: the environment variable {name!r}, which its api_key_env names, isn't set in this worker. "
                "Set it before the workers start, or give it to the pool as env={...}."
            )

        return {"api_key": os.environ[name]}

    def _told(self, lm: Any, bound: Dict[str, Any]) -> Dict[str, Any]:
        # Only what was declared or bound is told, and how it samples: the rest of lm.kwargs may hold the key.
        known = getattr(lm, "kwargs", {}) or {}
        sampling = {name: known[name] for name in SAMPLING if known.get(name) is not None}
        told: Dict[str, Any] = plain({"model": lm.model, **self._declared["settings"], **sampling, **bound})
        return told


def _imported(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)

    made: Callable[..., Any] = found
    return made
