"""What looks like a secret has no place in a declaration, nor in anything else that travels, is compared or may be printed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

from dspex._exceptions import InvalidProgram

_SECRET_NAME: Final = re.compile(
    r"(^|_)(api_?key|access_?key(_id)?|private_?key|secret(_?key)?|client_secret|password|passwd|pwd|authorization|credentials?|bearer|cookie)(_|$)"
    r"|(^|_)token$|^auth(entication)?$"
)
_SECRET_VALUE: Final = re.compile(
    r"(bearer|basic) \S+|(sk|pk|rk|xox[abp]|gh[pousr]|hf|AKIA)[-_][\w-]{8,}|[a-z][\w+.-]*://[^/\s@]*:[^/\s@]+@", re.IGNORECASE
)


def refuse_secrets(whose: str, settings: Mapping[str, Any]) -> None:
    """Raise `ValueError` when something in *settings* looks like a secret, by its name or by its form. The value is never told."""
    for path in _secrets(settings.items(), ""):
        raise ValueError(
            f"{whose}: {path} looks like a secret, and a declaration is no place for one: it travels, is compared and may be printed. "
            "Put it in an environment variable of the worker and name that: api_key_env='OPENAI_API_KEY'. "
            "What needs more than a key belongs in a factory='package.module:function', which runs in the worker."
        )


def is_secret(name: str) -> bool:
    """Whether a setting of this name looks like a secret."""
    return _SECRET_NAME.search(name.lower().replace("-", "_")) is not None


def _secrets(settings: Iterable[tuple[Any, Any]], path: str) -> Iterator[str]:
    for name, value in settings:
        here = f"{path}[{name!r}]" if path else str(name)
        if is_secret(str(name)) or (isinstance(value, str) and _SECRET_VALUE.match(value)):
            yield here
        elif isinstance(value, Mapping):
            yield from _secrets(cast("Mapping[str, Any]", value).items(), here)
        elif isinstance(value, (list, tuple)):
            yield from _secrets(enumerate(cast("list[Any]", value)), here)


def refuse_keyed_models(program_id: str, module: Any) -> None:
    """Raise `InvalidProgram` when a language model inside of *module*, a DSPy module object, holds a key: by value it would travel along."""
    predictors: Any = getattr(module, "named_predictors", None)
    if isinstance(module, type) or predictors is None:
        return

    for name, predictor in predictors():
        settings: Any = getattr(getattr(predictor, "lm", None), "kwargs", None)
        for path in _secrets(cast("Mapping[str, Any]", settings).items(), "") if isinstance(settings, Mapping) else ():
            hint = "Leave its lm unset and give one to dspex.Module: Module(..., lm=LM(..., api_key_env='OPENAI_API_KEY'))."
            raise InvalidProgram(
                program_id, problem=f"the language model of its {name!r} holds {path}, which looks like a secret", hint=hint
            )
