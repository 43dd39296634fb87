"""`LM`: a language model as a declaration. It is made in workers; this process never imports dspy, and never sees a key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from dspex.programs.secrets import refuse_secrets
from dspex.wire.codec import Unencodable, encode

_PATH: Final = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")


class LM:
    """
    A language model, declared. Each worker makes its own from it, once a program.

    Args:
        model: the model as dspy (and litellm) names it, such as ``"openai/gpt-4o-mini"``.
        factory: the import path of a function, of the worker's, that makes the `dspy.BaseLM`. It is called with *model* (when given), the
            settings, and ``api_key`` when *api_key_env* is given, all by name.
        api_key_env: the name of the environment variable in which the worker finds the key. The key itself never passes through here.
        cache: whether answers are kept, in memory and on the worker's disk.
        num_retries: how often a request that failed for the moment is made again.
        **settings: anything else `dspy.LM` takes: ``temperature``, ``max_tokens``, ``api_base``, ... Plain data.

    Raises:
        ValueError: neither *model* nor *factory*, a setting that looks like a secret, or one that is no plain data.

    """

    __slots__ = ("api_key_env", "cache", "factory", "model", "num_retries", "settings")

    def __init__(
        self,
        model: str | None = None,
        *,
        factory: str | None = None,
        api_key_env: str | None = None,
        cache: bool = False,
        num_retries: int = 0,
        **settings: Any,
    ) -> None:
        if not model and factory is None:
            raise ValueError("LM: expected a model such as 'openai/gpt-4o-mini', or factory='package.module:function'; got neither.")

        if factory is not None and not _PATH.fullmatch(factory):
            raise ValueError(f"LM: factory: expected an import path such as 'package.module:function', got {factory!r}.")

        refuse_secrets("LM", settings)
        _refuse_what_stays(settings)
        self.model: str | None = model
        self.factory: str | None = factory
        self.api_key_env: str | None = api_key_env
        self.cache: bool = cache
        self.num_retries: int = num_retries
        self.settings: Mapping[str, Any] = MappingProxyType(settings)

    def declare(self) -> dict[str, Any]:
        """The declaration as plain data, for a worker."""
        return {
            "model": self.model,
            "factory": self.factory,
            "api_key_env": self.api_key_env,
            "cache": self.cache,
            "num_retries": self.num_retries,
            "settings": dict(self.settings),
        }

    def __eq__(self, other: object) -> bool:
        return self.declare() == other.declare() if isinstance(other, LM) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.model, self.factory, self.api_key_env))

    def __repr__(self) -> str:
        told = {"factory": self.factory, "api_key_env": self.api_key_env, "cache": self.cache, "num_retries": self.num_retries}
        shown = [repr(self.model)] if self.model else []
        shown += [f"{name}={value!r}" for name, value in {**told, **self.settings}.items() if value]
        return f"LM({', '.join(shown)})"


def _refuse_what_stays(settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        try:
            encode(value)
        except Unencodable as error:
            where = f"{name}{error.path.removeprefix('value')}"
            raise ValueError(
                f"LM: {where}: expected plain data, which travels to a worker, got {error.type_name} ({error.reason.rstrip('.')}). "
                "What is no plain data belongs in a factory='package.module:function', which runs in the worker."
            ) from None
