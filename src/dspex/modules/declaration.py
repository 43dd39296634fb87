"""What the DSPy programs have in common: declared once, without a context and without I/O; attached to as many contexts as one likes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, cast

from dspex._exceptions import InvalidProgram
from dspex.programs import Declaration, definition
from dspex.programs.prediction import answered
from dspex.programs.secrets import is_secret
from dspex.programs.spec import DSPY_FACTORY
from dspex.variables import Var

from .lm import LM

if TYPE_CHECKING:
    from dspex.context import Context
    from dspex.programs import Bound

Binding: TypeAlias = Mapping[str, Var[Any] | str]
"""Which setting of the language model is read from which variable at each call."""

State: TypeAlias = Mapping[str, Any] | str | os.PathLike[str]
"""What ``dspy.Module.save("x.json")`` wrote: the parsed JSON, its text, or the path of the file as the worker sees it."""


class DSPyProgram:
    """
    A DSPy program, declared. See `Predict`, `ChainOfThought`, `ReAct` and `Module`.

    It runs in workers, which need dspy; this process doesn't. A worker keeps one instance a declaration and calls it from several
    threads at once. It touches no global setting of dspy, keeps no history, no cache unless asked, and repeats nothing unless asked.
    """

    kind: ClassVar[str] = ""

    def __init__(self, *, lm: LM | str | None = None, bind: Binding | None = None, state: State | None = None) -> None:
        self.lm: LM | None = LM(lm) if isinstance(lm, str) else lm
        self.bind: Mapping[str, str] = self._bound(bind or {})
        self.state: Mapping[str, Any] | str | None = self._checked_state(state)
        self._hidden = [setting for setting, variable in (bind or {}).items() if isinstance(variable, Var) and variable.sensitive]

    async def attach(self, context: Context, program_id: str | None = None) -> Bound:
        """
        Register this program with *context*, which switches to the bridge if it hasn't yet, and give what one calls.

        *program_id* is made from the kind and the declaration when not given, so that attaching an equal declaration again gives the
        same program. Raises `MissingExtra` when the worker has no dspy.
        """
        return await context.register_program(program_id or self.default_id(), self)

    @classmethod
    async def create(cls, context: Context, *args: Any, program_id: str | None = None, **options: Any) -> Bound:
        """Declare and attach in one: ``await ChainOfThought.create(ctx, "question -> answer", lm=...)``."""
        return await cls(*args, **options).attach(context, program_id)

    def default_id(self) -> str:
        """The id it gets when none is given, such as ``"chain_of_thought_4f2a91c0"``."""
        key = definition.key_of(self._definition(self.kind))
        return f"{_snake(self.kind)}_{key[:8]}"

    def __dspex_program__(self, program_id: str, /) -> Declaration:
        """Say to the context how this becomes a program."""
        reason = f"it is a DSPy program, {self!r}"
        return Declaration(self._definition(program_id), (reason,), repr(self), answered)

    def _definition(self, program_id: str) -> definition.Definition:
        args = {
            "kind": self.kind,
            "lm": None if self.lm is None else self.lm.declare(),
            "bind": dict(self.bind),
            "state": self.state,
            **({"hidden": self._hidden} if self._hidden else {}),
            **self._declare(program_id),
        }
        return definition.by_factory(DSPY_FACTORY, args)

    def _declare(self, program_id: str) -> dict[str, Any]:
        """What the kind adds to the declaration, as plain data."""
        raise NotImplementedError

    def _shown(self) -> list[str]:
        """What the kind adds to the repr."""
        raise NotImplementedError

    def __repr__(self) -> str:
        shown = self._shown()
        shown += [f"lm={self.lm!r}"] if self.lm is not None else []
        shown += [f"bind={dict(self.bind)!r}"] if self.bind else []
        shown += ["state=..."] if self.state is not None else []
        return f"{self.kind}({', '.join(shown)})"

    def _bound(self, bind: Binding) -> dict[str, str]:
        if bind and self.lm is None:
            raise InvalidProgram(
                self.kind, problem="bind= sets what the language model is called with, and there is none", hint="Give lm=."
            )

        return {setting: self._bound_name(setting, variable) for setting, variable in bind.items()}

    def _bound_name(self, setting: str, variable: Var[Any] | str) -> str:
        if is_secret(setting):
            hint = "Use LM(..., api_key_env='NAME'): the worker reads it from its environment."
            raise InvalidProgram(self.kind, problem=f"bind: {setting!r} looks like a secret, and variables are stored and shown", hint=hint)

        if setting in _UNBINDABLE:
            raise InvalidProgram(self.kind, problem=f"bind: {setting!r} belongs to the declaration", hint="Set it in LM(...).")

        return variable.name if isinstance(variable, Var) else variable

    def _checked_state(self, state: State | None) -> Mapping[str, Any] | str | None:
        if state is None or isinstance(state, Mapping):
            return None if state is None else dict(state)

        told = os.fspath(state)
        if not told.lstrip().startswith("{") and not told.endswith(".json"):
            hint = "Save it with module.save('name.json'). Pickles and whole programs are not loaded: they are code."
            raise InvalidProgram(
                self.kind, problem=f"state: expected the JSON that module.save wrote, or its path, got {told[:80]!r}", hint=hint
            )

        return told


_UNBINDABLE = frozenset({"cache", "num_retries", "factory", "engine", "async_engine", "callbacks"})


def definitions_of(owner: str, tools: Sequence[Any]) -> list[dict[str, Any]]:
    """How each of *tools* travels: import paths and importable functions by name, others by value."""
    return [dict(_definition_of(owner, tool)) for tool in tools]


def _definition_of(owner: str, tool: Any) -> definition.Definition:
    if isinstance(tool, str):
        return definition.by_path(owner, tool)

    if not callable(tool):
        hint = "A tool is a function, a dspy.Tool or the import path of one."
        raise InvalidProgram(owner, problem=f"tools: got {type(tool).__name__}, which can't be called", hint=hint)

    return definition.of(owner, tool)


def signature_of(owner: str, signature: Any, instructions: str | None) -> dict[str, Any]:
    """A signature as plain data: its text, or where the worker finds the class."""
    if isinstance(signature, str):
        return {"text": _checked_text(owner, signature), "instructions": instructions}

    if not isinstance(signature, type):
        hint = "Write 'question -> answer', or give a class derived from dspy.Signature."
        raise InvalidProgram(owner, problem=f"expected a signature, got {type(signature).__name__}", hint=hint)

    if instructions is not None:
        raise InvalidProgram(
            owner, problem="instructions= goes with a signature written as text", hint="The class's docstring is its instructions."
        )

    return {"code": dict(definition.of(owner, signature)), "instructions": None}


def _checked_text(owner: str, text: str) -> str:
    inputs, arrow, outputs = text.partition("->")
    if not arrow or not inputs.strip() or not outputs.strip():
        raise InvalidProgram(
            owner, problem=f"expected a signature such as 'question -> answer', got {text!r}", hint="Inputs, an arrow, outputs."
        )

    return text


def shown_signature(signature: Any) -> str:
    """A signature, for reprs."""
    return repr(signature) if isinstance(signature, str) else cast("type", signature).__qualname__


def _snake(name: str) -> str:
    return "".join(
        f"_{letter.lower()}" if letter.isupper() and index and not name[index - 1].isupper() else letter.lower()
        for index, letter in enumerate(name)
    )
